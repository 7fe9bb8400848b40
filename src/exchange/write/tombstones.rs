//! The deletes of an administrator whom no rule binds, where rules decide by fields: CouchDB's own in
//! everything, but that each tombstone keeps those fields, so that whoever saw the document learns of its end.
//!
//! Invariant: what ends no stored document, or can't be read in one way, passes as it came, if it is JSON; so do
//! CouchDB's answers.

use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;
use http::header::IF_MATCH;

use super::leaves::Leaves;
use super::written::{Written, named_rev};
use crate::budget::{Counted, Share};
use crate::config::Limits;
use crate::couch::{CouchError, Pace};
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::doc_locks::{DocLocks, Mode};
use crate::intake::Intake;
use crate::json::{FieldPath, Value};
use crate::policy::keep_fields;
use crate::refusal::Refusal;
use crate::route::query::DocumentQuery;
use crate::route::{Call, DatabaseCall, DocId, Method, Route};

/// A write that may hold tombstones.
struct Sent {
    documents: Vec<Value>,
    /// The batch around them.
    batch: Option<Value>,
    forced: bool,
}

/// Passes a write on, which comes with the whole of its body, and what that has of the budget.
pub(crate) async fn tombstones(
    context: &Context,
    fields: &[FieldPath],
    turns: &DocLocks,
    (intake, body, mut share): (Intake, Bytes, Option<Share>),
    limits: &Limits,
) -> Result<Answer, Refusal> {
    let route = context.permit.route();
    let permit = &context.permit;
    let deletes = route.method == Method::Delete;
    let if_match = intake.header(&IF_MATCH).map(str::to_owned);
    let mut sent = Sent::read(route, if_match.as_deref(), &body);
    let pass = match sent.as_ref().is_some_and(|sent| sent.forced) {
        true => Mode::Exclusive,
        false => Mode::Shared,
    };
    // Security: what ends nothing takes its turn too. (`no_way_to_write_lets_a_forged_history_roll_it_back`)
    let named = route.document().map(DocId::as_str);
    let ids = sent.iter().flat_map(Sent::ids).chain(named);
    let turn = turns.take(context.db.as_str(), ids, pass).await;
    let kept = match &mut sent {
        Some(sent) if sent.ends_something() => {
            // A body that is written anew is beside the one that was sent.
            if let Some(share) = &mut share {
                share.add(body.len())?;
            }
            sent.keep(context, fields).await?
        }
        Some(_) | None => false,
    };
    let body = match sent {
        Some(sent) if kept => sent.into_body().into(),
        Some(_) | None => body,
    };
    let intake = intake.with_body(body, limits);
    if !(kept && deletes) {
        let outbound = context.rewrite.verbatim(permit, None, intake)?;
        let upstream = context.upstream.send_in(turn, outbound).await?;
        return Ok(Answer::verbatim(upstream, true, None));
    }
    let query = route.query.document()?;
    let query = DocumentQuery {
        rev: query.rev,
        w: query.w,
        ..Default::default()
    };
    let outbound = context.rewrite.as_put(permit, query.pairs(), intake)?;
    let upstream = context.upstream.send_in(turn, outbound).await?;
    Ok(Answer::verbatim(upstream, true, None).without_place())
}

/// One document that may be a tombstone, with what rules decide by.
pub(crate) async fn keep(
    context: &Context,
    fields: &[FieldPath],
    document: Value,
    forced: bool,
) -> Result<Value, CouchError> {
    let mut sent = Sent::one(document, forced);
    sent.keep(context, fields).await?;
    Ok(sent.documents.pop().unwrap_or(Value::Null))
}

impl Sent {
    /// What is written; `None` where it can't be read.
    fn read(route: &Route, if_match: Option<&str>, body: &Bytes) -> Option<Self> {
        let Some(id) = route.document() else {
            let value = Value::parse(body).ok()?;
            return match is_batch(route) {
                true => Self::several(value),
                false => Some(Self::one(value, false)),
            };
        };
        let query = route.query.document().ok()?;
        if route.method == Method::Delete {
            let written = Written::tombstone(id, &query, if_match).ok()?;
            return Some(Self::one(written.document, false));
        }
        let value = Value::parse(body).ok()?;
        let written = Written::read(Some(id), &query, if_match, value).ok()?;
        let forced = route.method == Method::Put && query.new_edits == Some(false);
        Some(Self::one(written.document, forced))
    }

    fn one(document: Value, forced: bool) -> Self {
        Self {
            documents: vec![document],
            batch: None,
            forced,
        }
    }

    fn several(mut batch: Value) -> Option<Self> {
        let forced = batch.get("new_edits").and_then(Value::as_bool) == Some(false);
        let docs = batch.as_object_mut()?.get_mut("docs")?;
        let Value::Array(documents) = mem::replace(docs, Value::Null) else {
            return None;
        };
        Some(Self {
            documents,
            batch: Some(batch),
            forced,
        })
    }

    fn ends_something(&self) -> bool {
        self.documents.iter().any(ends_something)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.documents.iter().filter_map(id)
    }

    /// Puts into each tombstone what rules decide by. Was anything put in?
    async fn keep(&mut self, context: &Context, fields: &[FieldPath]) -> Result<bool, CouchError> {
        let deletes = context.permit.route().method == Method::Delete;
        let mut kept = false;
        // Those that end one revision, or without `new_edits` one document, are laid beside the same leaves.
        let mut ends: BTreeMap<(String, Option<String>), Vec<&mut Value>> = BTreeMap::new();
        for document in self
            .documents
            .iter_mut()
            .filter(|document| ends_something(document))
        {
            let Some(id) = id(document).map(str::to_owned) else {
                continue;
            };
            let rev = document
                .as_object()
                .and_then(|object| named_rev(object).ok())
                .flatten();
            if rev.is_some() {
                let named = (id, rev.filter(|_| !self.forced));
                ends.entry(named).or_default().push(document);
            }
        }
        let mut ends: Vec<_> = ends.into_iter().collect();
        let (mut done, mut pace) = (0, Pace::default());
        while let Some(rest) = ends.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let wanted = rest
                .iter()
                .map(|((id, rev), _)| (id.as_str(), rev.as_deref()));
            let wanted: Vec<_> = wanted.collect();
            let found = context
                .couch
                .read_some_revisions(&context.db, &wanted, &mut pace);
            let found = found.await?;
            done += found.len();
            for (((id, _), documents), found) in rest.iter_mut().zip(found) {
                let leaves = found.and_then(Leaves::stored);
                let mut leaves = leaves.ok_or(CouchError::Unreadable("leaves"))?;
                for at in 0..documents.len() {
                    let stored = match self.forced {
                        true => Box::pin(ended(context, id, &mut leaves, documents, at)).await?,
                        // CouchDB answers the delete of what is deleted with 404.
                        false => {
                            let leaf = leaves.last().filter(|leaf| leaf.is_alive() || !deletes);
                            leaf.map(|leaf| leaf.document.clone())
                        }
                    };
                    if let (Some(stored), Some(document)) = (stored, documents.get_mut(at)) {
                        let before = document.clone();
                        keep_fields(fields, &stored, document);
                        kept |= **document != before;
                    }
                }
            }
        }
        Ok(kept)
    }

    fn into_body(self) -> Vec<u8> {
        let mut documents = self.documents;
        match self.batch {
            Some(mut batch) => {
                if let Some(batch) = batch.as_object_mut() {
                    batch.insert("docs", Value::Array(documents));
                }
                batch.to_bytes()
            }
            None => documents
                .pop()
                .map(|one| one.to_bytes())
                .unwrap_or_default(),
        }
    }
}

/// What one of these tombstones of a document ends, which come without `new_edits`.
async fn ended(
    context: &Context,
    id: &str,
    leaves: &mut Leaves,
    documents: &[&mut Value],
    at: usize,
) -> Result<Option<Counted<Value>>, CouchError> {
    let mut documents = documents.iter().skip(at).map(|document| &**document);
    let Some(document) = documents.next() else {
        return Ok(None);
    };
    let fork = leaves.read_fork(&context.couch, (&context.db, id), document, documents);
    if let Some((Some(body), _)) = fork.await? {
        return Ok(Some(body));
    }
    let leaf = leaves.ended(document);
    Ok(leaf.map(|leaf| leaf.document.clone()))
}

fn ends_something(document: &Value) -> bool {
    let local = id(document).is_some_and(|id| id.starts_with("_local/"));
    document.get("_deleted").and_then(Value::as_bool) == Some(true) && !local
}

fn id(document: &Value) -> Option<&str> {
    document.get("_id")?.as_str()
}

fn is_batch(route: &Route) -> bool {
    matches!(
        route.call,
        Call::Database {
            call: DatabaseCall::BulkDocs,
            ..
        }
    )
}
