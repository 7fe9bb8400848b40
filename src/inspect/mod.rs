//! What a request's body asks for, judged before anything is sent.
//!
//! `query` and `find` say what may be asked, `view` narrows it to a pin; `document` judges one write,
//! `forced` one without `new_edits`, `bulk` a batch of them; `attachments` compares what hangs on them;
//! `revisions` looks at those that nothing else reads.
//!
//! Invariant: a body is parsed strictly and once; what is sent on is written from what was judged.

pub(crate) mod attachments;
pub(crate) mod bulk;
pub(crate) mod document;
pub(crate) mod find;
pub(crate) mod forced;
pub(crate) mod form;
pub(crate) mod index;
pub(crate) mod local;
pub(crate) mod multipart;
pub(crate) mod query;
pub(crate) mod related;
pub(crate) mod revisions;
pub(crate) mod stored;
pub(crate) mod turns;
pub(crate) mod view;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::json::{JsonError, MAX_DEPTH, Shallow, Value};
use crate::refusal::Refusal;
use crate::route::query::QueryError;

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parse(reason) => Self::BadQuery(reason),
            QueryError::Bad(reason) => Self::Malformed(reason),
        }
    }
}

/// What takes some milliseconds to read, in bytes.
const LONG: usize = 1024 * 1024;

/// How deep what a client sends may nest: so much less than what is read that a document written here can be
/// read in any frame.
const DEPTH: usize = MAX_DEPTH - 8;

/// Reads a body as JSON. Two members of one name are an error: two readers could take different ones.
pub(crate) fn value(body: &[u8]) -> Result<Value, Refusal> {
    aside(body, || parse(body))
}

/// The same for a batch. Of what nests too deeply the rest is read, and told is where something is missing: the member
/// of the body, and the element of that.
pub(crate) fn batch(body: &[u8]) -> Result<(Value, Vec<(usize, usize)>), Refusal> {
    aside(body, || match parse(body) {
        Err(JsonError::TooDeep) => {
            let shallow = Shallow::of(body, DEPTH);
            Ok((parse(&shallow.text)?, shallow.cut))
        }
        read => Ok((read?, Vec::new())),
    })
}

fn parse(body: &[u8]) -> Result<Value, JsonError> {
    let value = Value::parse(body)?;
    match value.depth() > DEPTH {
        true => Err(JsonError::TooDeep),
        false => Ok(value),
    }
}

fn aside<T>(body: &[u8], read: impl FnOnce() -> Result<T, JsonError>) -> Result<T, Refusal> {
    // A worker that is busy for long leaves its other requests to the rest of them.
    let waits = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    let value = match body.len() > LONG && waits {
        true => block_in_place(read),
        false => read(),
    };
    value.map_err(|error| Refusal::BadJson(format!("invalid UTF-8 JSON: {error}")))
}

#[cfg(test)]
mod tests;
