//! A form that writes a document, as a write like any other.

use std::mem;

use bytes::Bytes;

use super::answer::{answer, judged, put};
use super::attachments::put as attach;
use super::doc_locks::Turns;
use super::document::Written;
use super::form::Form;
use super::stored::{Stored, stored};
use crate::exchange::answer::Answer;
use crate::exchange::context::Asker;
use crate::intake::json_body;
use crate::json::{Object, Value};
use crate::policy::WriteRules;
use crate::refusal::Refusal;

/// `POST /db/doc` as `multipart/form-data`.
pub(crate) async fn form(
    asker: Asker,
    rules: &WriteRules,
    turns: &Turns,
    content_type: &str,
    sent: Bytes,
) -> Result<Answer, Refusal> {
    let mut form = Form::read(sent, content_type, asker.share()).await?;
    let mut written = written(&asker, rules, &form).await?;
    for (name, file) in mem::take(&mut form.files) {
        attach(&mut written.document, &name, file);
    }
    let mut query = asker.permit.route().query.document()?;
    query.new_edits = None;
    let (document, turn) = judged(&asker, rules, turns, written, None).await?;
    let upstream = put(&asker, turn, &query, &document).await?;
    answer(&asker, rules, upstream).await
}

/// The document of the form, or the stored one as its writer sees it.
async fn written(asker: &Asker, rules: &WriteRules, form: &Form) -> Result<Written, Refusal> {
    let route = asker.permit.route();
    let mut query = route.query.document()?;
    query.new_edits = None;
    if let Some(document) = &form.document {
        return Written::read(route.document(), &query, None, json_body::value(document)?);
    }
    let mut named = Object::new();
    let rev = form.rev.as_deref().ok_or(Refusal::BadRequest(
        "the form needs `_doc`, or `_rev` of a stored document",
    ))?;
    named.insert("_rev", rev);
    let mut written = Written::read(route.document(), &query, None, Value::Object(named))?;
    let stored = match stored(&asker.couch, &asker.db, rules, &written, false).await? {
        Stored::Replaced(replaced) => replaced.document,
        Stored::Leaves(_) | Stored::Unreadable { .. } => None,
    };
    let view = stored.and_then(|stored| rules.view(&stored));
    written.document = view.ok_or(Refusal::Missing)?;
    Ok(written)
}
