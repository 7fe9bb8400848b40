//! `PUT` and `DELETE` of an attachment: an update of its document, or the making of one.
//!
//! The document is judged as it will be; the bytes then stream to CouchDB under the revision that was judged.
//!
//! Invariant: an attachment that the caller does not see can't be replaced, removed or noticed.

use super::attachments::{of, put, remove};
use super::edit::{if_may_win, judge};
use super::refused::{Refused, refused};
use super::stored::{Stored, stored};
use super::written::Written;
use crate::budget::Counted;
use crate::exchange::context::Context;
use crate::json::{Object, Value};
use crate::policy::WriteRules;
use crate::refusal::Refusal;
use crate::route::{AttachmentName, Call, DatabaseCall, DocId, Method};

/// What an attachment is where the client does not say.
const UNTYPED: &str = "application/octet-stream";

/// Judges the document as it will be. Gives the revision that must be replaced, if any.
pub(crate) async fn judge_attachment(
    context: &Context,
    rules: &WriteRules,
    if_match: Option<&str>,
    content_type: Option<&str>,
) -> Result<Option<String>, Refusal> {
    let route = context.permit.route();
    let (id, name) = named(&route.call).ok_or(Refusal::Internal("a call without an attachment"))?;
    let query = route.query.document()?;
    let mut written = Written::read(Some(id), &query, if_match, Value::Object(Object::new()))?;
    let replaced = match stored(&context.couch, &context.db, rules, &written, false).await? {
        Stored::Replaced(replaced) => replaced,
        Stored::Leaves(_) | Stored::Unreadable { .. } => return Err(Refusal::Missing),
    };
    let stored = replaced.document.as_deref();
    let name = name.as_str();
    let rev = written.rev.clone();
    let view = stored.and_then(|stored| rules.view(stored));
    let deletes = route.method == Method::Delete;
    if let (Some(_), None) = (&rev, &view) {
        let moved_on = |winner: &Counted<Value>| stored.is_none() && rules.knows(winner);
        return Err(match replaced.winner.as_ref().is_some_and(moved_on) {
            true => Refusal::Conflict,
            false => Refusal::Missing,
        });
    }
    if deletes && of(view.as_ref(), name).is_none() {
        return Err(Refusal::Missing);
    }
    let document = match (&rev, view) {
        (Some(_), Some(view)) => view,
        (None, _) | (_, None) => written.document,
    };
    written.document = changed(document, name, (!deletes).then_some(content_type));
    let judged = match (&rev, stored) {
        (Some(_), Some(stored)) => if_may_win(rules, &replaced, stored, false).and_then(|()| {
            let document = rules.judge(Some(stored), written.document);
            document.map(drop).map_err(|denied| refused(denied, false))
        }),
        (Some(_) | None, _) => judge(rules, written, &replaced, None).map(drop),
    };
    judged.map_err(Refused::into_refusal)?;
    Ok(rev)
}

/// The document with the attachment set, or taken away.
fn changed(mut document: Value, name: &str, set: Option<Option<&str>>) -> Value {
    match set {
        None => remove(&mut document, name),
        Some(content_type) => {
            let mut attachment = Object::new();
            attachment.insert("content_type", content_type.unwrap_or(UNTYPED));
            attachment.insert("data", "");
            put(&mut document, name, Value::Object(attachment));
        }
    }
    document
}

fn named(call: &Call) -> Option<(&DocId, &AttachmentName)> {
    let Call::Database {
        call: DatabaseCall::Attachment { doc, name },
        ..
    } = call
    else {
        return None;
    };
    Some((doc, name))
}
