//! `COPY`: what the caller sees of one document is written to another, like any write of theirs.
//!
//! Invariant: nothing that is hidden in the source reaches the target, and nothing that is hidden in the target
//! is lost.

use super::answer::{answer, judged, put};
use super::attachments::{names, of, put as attach, remove, with_bytes};
use super::written::Written;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::doc_locks::DocLocks;
use crate::json::{Kind, Value};
use crate::policy::WriteRules;
use crate::refusal::{Limit, Refusal};
use crate::route::query::DocumentQuery;
use crate::route::{Call, DatabaseCall, DocId};

/// What belongs to the source alone.
const OWN: [&str; 7] = [
    "_id",
    "_rev",
    "_revisions",
    "_revs_info",
    "_conflicts",
    "_deleted_conflicts",
    "_local_seq",
];

/// `COPY /db/from` to the document of the header `Destination`.
pub(crate) async fn copy(
    context: Context,
    rules: &WriteRules,
    turns: &DocLocks,
    if_match: Option<&str>,
) -> Result<Answer, Refusal> {
    let route = context.permit.route();
    let Call::Database {
        call: DatabaseCall::CopyDocument { from, to, to_rev },
        ..
    } = &route.call
    else {
        return Err(Refusal::Internal("a call that is no copy"));
    };
    let query = route.query.document()?;
    let source = source(&context, rules, from, &query, if_match).await?;
    let target = DocumentQuery {
        rev: to_rev.clone(),
        ..Default::default()
    };
    let written = Written::read(Some(to), &target, None, source)?;
    let (document, turn) = judged(&context, rules, turns, written, None).await?;
    let upstream = put(&context, turn, &DocumentQuery::default(), &document).await?;
    answer(&context, rules, upstream).await
}

/// The document to be copied, as far as the caller sees it, its attachments inside.
async fn source(
    context: &Context,
    rules: &WriteRules,
    from: &DocId,
    query: &DocumentQuery,
    if_match: Option<&str>,
) -> Result<Value, Refusal> {
    let empty = Value::Object(crate::json::Object::new());
    let rev = Written::read(Some(from), query, if_match, empty)?.rev;
    let stored = match &rev {
        None => context.couch.read_one(&context.db, from).await?,
        Some(rev) => {
            let wanted = [(from.as_str(), Some(rev.as_str()))];
            let found = context.couch.read_revisions(&context.db, &wanted).await?;
            found.into_iter().flatten().next()
        }
    };
    let stored = stored.ok_or(Refusal::Missing)?;
    let fields = rules.reads().judge(from.as_str(), Some(&stored));
    let fields = fields.ok_or(Refusal::Missing)?;
    let mut document = fields.cut_value(&stored, Kind::Document);
    let attached = names(&document);
    if !attached.is_empty() {
        let rev = stored
            .get("_rev")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let whole = with_bytes(&context.couch, &context.db, from.as_str(), rev).await?;
        let whole = whole.ok_or(Refusal::TooLarge(Limit::Body))?;
        for name in attached {
            let whole = of(Some(&whole), &name);
            match whole.filter(|_| fields.shows_attachment(&name)) {
                Some(attachment) => attach(&mut document, &name, attachment.clone()),
                None => remove(&mut document, &name),
            }
        }
    }
    if let Some(document) = document.as_object_mut() {
        for own in OWN {
            document.remove(own);
        }
    }
    Ok(document)
}
