//! A body that is JSON, read strictly and once: what is sent on is written from what was judged.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::json::{JsonError, MAX_DEPTH, Value};
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
pub(crate) const DEPTH: usize = MAX_DEPTH - 8;

/// Reads a body as JSON. Two members of one name are an error: two readers could take different ones.
pub(crate) fn value(body: &[u8]) -> Result<Value, Refusal> {
    let value = aside(body.len(), || match Value::parse(body) {
        Ok(value) if value.depth() > DEPTH => Err(JsonError::TooDeep),
        read => read,
    });
    value.map_err(|error| bad_json(&error))
}

pub(crate) fn bad_json(error: &JsonError) -> Refusal {
    Refusal::BadJson(format!("invalid UTF-8 JSON: {error}"))
}

/// Reads so many bytes.
pub(crate) fn aside<T>(length: usize, read: impl FnOnce() -> T) -> T {
    // A worker that is busy for long leaves its other requests to the rest of them.
    let waits = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    match length > LONG && waits {
        true => block_in_place(read),
        false => read(),
    }
}
