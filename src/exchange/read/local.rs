//! `_local` documents and their lists, each caller's under names of their own.
//!
//! Invariant: CouchDB is asked for names of the caller's space only, and every name in an answer is the one that
//! they know.

use std::sync::Arc;

use bytes::Bytes;

use super::lists;
use super::lists::{one, take_window};
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::errors;
use crate::exchange::local_names::{Locals, Space};
use crate::exchange::redact::RowOutcome;
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rows::filter::RowFilter;
use crate::exchange::rows::list_row::{ListRow, absent};
use crate::exchange::rows::multi_query;
use crate::exchange::rows::stream::Prepared;
use crate::exchange::write::answer::whole;
use crate::intake::json_body;
use crate::json::{JsonError, Row, Value, quote, string};
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;
use crate::route::{Call, DatabaseCall, Method};

/// `_local/ID`: read, written, copied or deleted under the caller's private names.
pub(crate) async fn document(
    context: Context,
    locals: &Locals,
    sent: Bytes,
) -> Result<Answer, Refusal> {
    let permit = &context.permit;
    let space = locals.space(permit.caller())?;
    let body = match permit.route().method {
        Method::Put | Method::Post => Some(renamed(&space, &permit.route().call, &sent)?),
        Method::Get | Method::Head | Method::Delete | Method::Copy => None,
    };
    let outbound = context
        .rewrite
        .local(permit, |id| space.private(id), body)?;
    let upstream = context.upstream.send(outbound).await?;
    let status = upstream.status();
    if !status.is_success() {
        return Err(errors::refusal(upstream).await);
    }
    let mut share = context.share();
    let bytes = whole(upstream.into_body(), &mut share).await?;
    if bytes.is_empty() {
        return Ok(Answer::with(status, bytes));
    }
    const UNREADABLE: Refusal = Refusal::BadGateway("the answer of the database can't be read");
    let mut answer = Value::parse(&bytes).map_err(|_| UNREADABLE)?;
    publish(&space, &mut answer).ok_or(UNREADABLE)?;
    let mut bytes = answer.to_bytes();
    bytes.push(b'\n');
    Ok(Answer::with(status, bytes))
}

/// The document that is written, under its private name.
fn renamed(space: &Space, call: &Call, sent: &Bytes) -> Result<Vec<u8>, Refusal> {
    let Value::Object(mut document) = json_body::value(sent)? else {
        return Err(Refusal::BadRequest("Document must be a JSON object"));
    };
    let Call::Database {
        call: DatabaseCall::Local(id),
        ..
    } = call
    else {
        return Err(Refusal::Internal("a call that is none of a local document"));
    };
    let private = space.private(id)?;
    document.insert("_id", format!("_local/{}", private.as_str()));
    Ok(Value::Object(document).to_bytes())
}

/// Puts the names that the caller knows in place of the private ones; none where there is another's.
fn publish(space: &Space, answer: &mut Value) -> Option<()> {
    let object = answer.as_object_mut()?;
    for name in ["_id", "id"] {
        if let Some(value) = object.get_mut(name) {
            *value = Value::from(space.public(value.as_str()?)?);
        }
    }
    Some(())
}

/// `_local_docs`: those of the caller's own space.
pub(crate) async fn list(
    context: Context,
    locals: &Locals,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let space = locals.space(context.permit.caller())?;
    let query = lists::asked(&context, body)?;
    one(Arc::new(context), prepare(&space, query)?).await
}

/// `_local_docs/queries`
pub(crate) async fn queries(
    context: Context,
    locals: &Locals,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let space = locals.space(context.permit.caller())?;
    let queries = lists::each(&context, body)?;
    let prepared = queries.into_iter().map(|query| prepare(&space, query));
    multi_query::answer(context, prepared.collect::<Result<_, _>>()?).await
}

fn prepare(space: &Space, mut query: ViewQuery) -> Result<Prepared, Refusal> {
    let window = take_window(&mut query);
    let by_keys = query.keys.is_some();
    let docs = query.include_docs;
    let ranges = space.narrow(query)?.into_iter().collect();
    let filter = LocalRows {
        space: space.clone(),
        docs,
    };
    Ok(lists::prepare(ranges, !by_keys, window, filter))
}

/// How the rows of `_local_docs` are shown.
#[derive(Debug)]
pub(crate) struct LocalRows {
    space: Space,
    /// Whether the client asked for `include_docs`.
    docs: bool,
}

impl RowFilter for LocalRows {
    fn row(
        &mut self,
        row: Row<'_>,
        _known: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let parts = ListRow::read(row)?;
        let key = parts
            .key
            .ok_or(JsonError::Expected("a row of this endpoint"))?;
        let Some(name) = self.space.public(&string(key)?) else {
            return Ok(RowOutcome::Hidden);
        };
        let mut public = Vec::new();
        quote(&name, &mut public);
        let (false, Some(value)) = (parts.error, &parts.value) else {
            absent(&public, out);
            return Ok(RowOutcome::Shown);
        };
        for (label, bytes) in [
            (&b"{\"id\":"[..], public.as_slice()),
            (b",\"key\":", &public),
            (b",\"value\":", value.value),
        ] {
            out.extend_from_slice(label);
            out.extend_from_slice(bytes);
        }
        if self.docs {
            out.extend_from_slice(b",\"doc\":");
            let doc = parts.doc.map(|doc| Value::parse(doc.value)).transpose()?;
            let mut doc = doc.unwrap_or(Value::Null);
            if let Some(object) = doc.as_object_mut() {
                object.insert("_id", name);
            }
            doc.write(out);
        }
        out.push(b'}');
        Ok(RowOutcome::Shown)
    }

    fn is_of_two_moments(&self) -> bool {
        false
    }
}
