//! Bodies of several parts, from those whom no rule binds: read and written anew, like everybody's, so that CouchDB
//! gets what was read here and nothing else. In tombstones the fields that rules decide by are kept.
//!
//! Invariant: no byte goes on as it came but those of attachments, within the lengths that the document names.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderName, IF_MATCH, REFERER};

use super::answer::whole;
use super::attachments::{check, following, put as attach, tells_a_digest};
use super::form::{Form, is_from_here};
use super::leaves::far_revisions;
use super::stored::may_follow;
use super::tombstones::keep;
use super::written::Written;
use crate::body::full;
use crate::client::Answered;
use crate::config::Limits;
use crate::exchange::context::Context;
use crate::exchange::doc_locks::{DocLocks, Mode};
use crate::exchange::errors;
use crate::exchange::parts::related::Related;
use crate::exchange::rewrite::Subrequest;
use crate::intake::json_body;
use crate::intake::{Inbound, Intake};
use crate::json::{FieldPath, Value};
use crate::refusal::Refusal;
use crate::route::query::DocumentQuery;
use crate::route::{DocId, Method, Rev};

const BAD_REV: Refusal = Refusal::BadRequest("Invalid rev format");

/// `PUT` of a document with its attachments behind it, which stream on.
pub(crate) async fn related(
    context: &Context,
    fields: &[FieldPath],
    (turns, limits): (&DocLocks, &Limits),
    mut intake: Intake,
) -> Result<Response<Answered>, Refusal> {
    let (id, query) = asked(context)?;
    let forced = query.new_edits == Some(false);
    let (kind, if_match) = (text(&intake, &CONTENT_TYPE), text(&intake, &IF_MATCH));
    let body = std::mem::replace(&mut intake.body, Inbound::empty());
    // What CouchDB does not check keeps its turn while it is sent, so it must all be here.
    let body = match forced {
        true => (full(body.collect(limits.body).await?), None),
        false => body.stream_with_share(),
    };
    let (sent, parts) = Related::read(body, &kind.unwrap_or_default(), limits.body).await?;
    let document = readable(&sent)?;
    follows(context, (&query, if_match.as_deref()), &document).await?;
    let turn = match forced {
        true => {
            let ids = [id.as_str()].into_iter();
            Some(turns.take(context.db.as_str(), ids, Mode::Exclusive).await)
        }
        false => None,
    };
    let document = kept(context, fields, (&query, if_match.as_deref()), document).await?;
    let outgoing = parts.behind(&following(&document), &document)?;
    let pairs = sent_query(query).pairs();
    let again = turns.later(&context.db, id.as_str());
    if !outgoing.has_parts() {
        // CouchDB would wait for parts that do not come.
        outgoing.drain().await?;
        let intake = intake.with_body(document.to_bytes().into(), limits);
        let outbound = context.rewrite.as_put(&context.permit, pairs, intake)?;
        let turn = match turn {
            Some(turn) => turn,
            None => again.await,
        };
        return context.upstream.send_in(turn, outbound).await;
    }
    let tail = outgoing.tail();
    let claims = tells_a_digest(&document) && !context.permit.caller().is_administrator();
    let (permit, rewrite) = (&context.permit, &context.rewrite);
    let outbound = rewrite.as_put_in_parts(permit, pairs, intake, outgoing)?;
    let answer = match turn {
        Some(turn) => context.upstream.send_in(turn, outbound).await?,
        None => context.upstream.send_late(again, tail, outbound).await?,
    };
    errors::of_parts(answer, claims).await
}

/// A form, as the write of the document that it stands for.
pub(crate) async fn form(
    context: &Context,
    fields: &[FieldPath],
    (turns, limits): (&DocLocks, &Limits),
    mut intake: Intake,
) -> Result<Response<Answered>, Refusal> {
    // Security: a browser sends forms of other pages too, with what it logs in by.
    // (`a_form_is_taken_from_a_page_of_this_host_only`)
    is_from_here(intake.header(&REFERER), &intake.host)?;
    let (id, query) = asked(context)?;
    // As in CouchDB: a form can't go without the check.
    let query = DocumentQuery {
        new_edits: None,
        ..query
    };
    let (kind, if_match) = (text(&intake, &CONTENT_TYPE), text(&intake, &IF_MATCH));
    let body = std::mem::replace(&mut intake.body, Inbound::empty());
    let body = body.collect(limits.body).await?;
    let mut form = Form::read(body, &kind.unwrap_or_default(), context.share()).await?;
    let mut document = match (&form.document, &form.rev) {
        (Some(document), _) => json_body::value(document)?,
        (None, Some(rev)) => stored(context, rev).await?,
        (None, None) => {
            return Err(Refusal::BadRequest(
                "the form needs `_doc`, or `_rev` of a stored document",
            ));
        }
    };
    for (name, file) in std::mem::take(&mut form.files) {
        attach(&mut document, &name, file);
    }
    check(&document)?;
    follows(context, (&query, if_match.as_deref()), &document).await?;
    let ids = [id.as_str()].into_iter();
    let turn = turns.take(context.db.as_str(), ids, Mode::Shared).await;
    let document = kept(context, fields, (&query, if_match.as_deref()), document).await?;
    let intake = intake.with_body(document.to_bytes().into(), limits);
    let pairs = sent_query(query).pairs();
    let outbound = context.rewrite.as_put(&context.permit, pairs, intake)?;
    context.upstream.send_in(turn, outbound).await
}

fn asked(context: &Context) -> Result<(&DocId, DocumentQuery), Refusal> {
    let route = context.permit.route();
    let id = route
        .document()
        .ok_or(Refusal::Internal("a call without a document"))?;
    Ok((id, route.query.document()?))
}

fn text(intake: &Intake, name: &HeaderName) -> Option<String> {
    intake.header(name).map(str::to_owned)
}

/// Whether the generation that it names can have been reached, where its writer is no administrator.
async fn follows(
    context: &Context,
    (query, if_match): (&DocumentQuery, Option<&str>),
    document: &Value,
) -> Result<(), Refusal> {
    if context.permit.caller().is_administrator() {
        return Ok(());
    }
    let (id, _) = asked(context)?;
    let forced = query.new_edits == Some(false);
    let far = far_revisions(Some(document), &[query.rev.as_ref()], if_match, forced)?;
    may_follow(&context.couch, (&context.db, id), &far, forced).await
}

/// The document in front of its attachments.
fn readable(sent: &Bytes) -> Result<Value, Refusal> {
    let document = json_body::value(sent)?;
    check(&document)?;
    Ok(document)
}

/// The parameters that CouchDB reads of such a write.
fn sent_query(query: DocumentQuery) -> DocumentQuery {
    DocumentQuery {
        rev: query.rev,
        new_edits: query.new_edits,
        w: query.w,
        ..Default::default()
    }
}

/// The stored revision that a form changes, as the caller reads it: the attachments are stubs.
async fn stored(context: &Context, rev: &str) -> Result<Value, Refusal> {
    let query = DocumentQuery {
        rev: Some(Rev::parse(rev).map_err(|_| BAD_REV)?),
        ..Default::default()
    };
    let part = Subrequest {
        method: Method::Get,
        query: query.pairs(),
        body: None,
    };
    let answer = context.ask(part).await?;
    if !answer.status().is_success() {
        return Err(errors::refusal(answer).await);
    }
    let bytes = whole(answer.into_body(), &mut context.share()).await?;
    Value::parse(&bytes)
        .map_err(|_| Refusal::BadGateway("the answer of the database can't be read"))
}

/// The document, with what rules decide by where it ends a stored one.
async fn kept(
    context: &Context,
    fields: &[FieldPath],
    (query, if_match): (&DocumentQuery, Option<&str>),
    document: Value,
) -> Result<Value, Refusal> {
    let deletes = document.get("_deleted").and_then(Value::as_bool) == Some(true);
    if fields.is_empty() || !deletes {
        return Ok(document);
    }
    let written = Written::read(context.permit.route().document(), query, if_match, document)?;
    let forced = query.new_edits == Some(false);
    Ok(keep(context, fields, written.document, forced).await?)
}
