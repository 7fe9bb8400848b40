//! Writes: judged, sent on with the revision that was judged, answered as CouchDB answers.

use std::iter::empty;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ETAG, LOCATION};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use super::attachments::{following, in_order, tells_a_digest};
use super::batch::SentBatch;
use super::bulk::{Batch, Judged, body};
use super::judge::settle;
use super::refused::{LONG_ID, Refused};
use super::stored::stored;
use super::written::Written;
use crate::budget::Share;
use crate::caller::UserName;
use crate::client::Answered;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::doc_locks::{DocGuard, DocLocks, Mode};
use crate::exchange::errors;
use crate::exchange::head::tag;
use crate::exchange::local_names::Locals;
use crate::exchange::parts::related::Related;
use crate::intake::json_body;
use crate::json::{Object, Value};
use crate::policy::WriteRules;
use crate::refusal::Refusal;
use crate::route::DocId;
use crate::route::query::DocumentQuery;
use crate::route::{Call, DatabaseCall, Method};

/// The longest answer to a write that is read.
const LONGEST: usize = 64 * 1024 * 1024;

/// `PUT`, `POST` or `DELETE` of one document. `is_free` says whether an account may be opened by a name.
pub(crate) async fn document<F>(
    context: Context,
    rules: &WriteRules,
    (turns, is_free): (&DocLocks, impl FnOnce(UserName) -> F),
    if_match: Option<&str>,
    sent: Bytes,
) -> Result<Answer, Refusal>
where
    F: Future<Output = Result<bool, Refusal>>,
{
    let route = context.permit.route();
    let mut query = route.query.document()?;
    // As in CouchDB: nothing but a `PUT` can go without the check.
    if route.method != Method::Put {
        query.new_edits = None;
    }
    let id = route.document();
    let written = match id {
        Some(id) if route.method == Method::Delete => Written::tombstone(id, &query, if_match)?,
        _ => sent_as(&query, read(id, &query, if_match, &sent))?,
    };
    let opened = context.permit.signs_up(&written.id);
    drop(sent);
    let (document, turn) = judged(&context, rules, turns, written, query.new_edits).await?;
    // Security: whoever signs up under a name that was another's would be taken for them.
    // (`nobody_signs_up_under_a_name_that_is_or_was_anothers`)
    if let Some(name) = opened
        && !is_free(name).await?
    {
        return Err(Refusal::Conflict);
    }
    let upstream = put(&context, turn, &query, &document).await?;
    sent_as(&query, answer(&context, rules, upstream).await)
}

fn read(
    id: Option<&DocId>,
    query: &DocumentQuery,
    if_match: Option<&str>,
    sent: &Bytes,
) -> Result<Written, Refusal> {
    Written::read(id, query, if_match, json_body::value(sent)?)
}

/// What was made of a document, in the words that a replicator knows if one has sent it.
fn sent_as<T>(query: &DocumentQuery, made: Result<T, Refusal>) -> Result<T, Refusal> {
    match query.new_edits {
        Some(false) => made.map_err(Refusal::of_replicated_document),
        Some(true) | None => made,
    }
}

/// `PUT` of one document with its attachments behind it. Where CouchDB will not check it, all of it must be here.
pub(crate) async fn related(
    context: Context,
    rules: &WriteRules,
    turns: &DocLocks,
    if_match: Option<&str>,
    (sent, parts): (Bytes, Related),
) -> Result<Answer, Refusal> {
    // Security: an account is opened by a plain document only, after its name was looked up.
    // (`nobody_signs_up_under_a_name_that_is_or_was_anothers`)
    let route = context.permit.route();
    let opens = |id: &DocId| context.permit.signs_up(id.as_str()).is_some();
    if route.document().is_some_and(opens) {
        return Err(Refusal::UnsupportedMedia("an account is plain JSON"));
    }
    let query = route.query.document()?;
    // It stays until the answer is made, and what it is parsed to stays counted.
    let read = read(route.document(), &query, if_match, &sent);
    let mut written = sent_as(&query, read)?;
    written.follows = true;
    let announced = following(&written.document);
    let (mut document, turn) = judged(&context, rules, turns, written, query.new_edits).await?;
    in_order(&mut document, &announced);
    let (claims, outgoing) = (
        tells_a_digest(&document),
        parts.behind(&announced, &document)?,
    );
    // What CouchDB checks gives its turn back while the parts are still to come.
    let turn = (query.new_edits == Some(false)).then_some(turn);
    let again = turns.later(&context.db, id_of(&document));
    if !outgoing.has_parts() {
        // CouchDB would wait for parts that do not come.
        outgoing.drain().await?;
        let turn = match turn {
            Some(turn) => turn,
            None => again.await,
        };
        let upstream = put(&context, turn, &query, &document).await?;
        return sent_as(&query, answer(&context, rules, upstream).await);
    }
    let (pairs, tail) = (sent_query(&query).pairs(), outgoing.tail());
    let outbound = context.rewrite.related(&context.permit, pairs, outgoing)?;
    let upstream = match turn {
        Some(turn) => context.upstream.send_in(turn, outbound).await?,
        None => context.upstream.send_late(again, tail, outbound).await?,
    };
    let upstream = errors::of_parts(upstream, claims).await?;
    sent_as(&query, answer(&context, rules, upstream).await)
}

fn id_of(document: &Value) -> &str {
    let id = document.get("_id").and_then(Value::as_str);
    id.unwrap_or_default()
}

/// What policy makes of one write, and its turn: until the write is stored, none that is not checked by CouchDB
/// passes.
pub(crate) async fn judged(
    context: &Context,
    rules: &WriteRules,
    turns: &DocLocks,
    written: Written,
    new_edits: Option<bool>,
) -> Result<(Value, DocGuard), Refusal> {
    if !written.can_be_asked_for() {
        return Err(Refusal::Forbidden(LONG_ID));
    }
    let forced = new_edits == Some(false);
    let pass = match forced {
        true => Mode::Exclusive,
        false => Mode::Shared,
    };
    let id = [written.id.as_str()];
    let turn = turns.take(context.db.as_str(), id.into_iter(), pass).await;
    let mut stored = stored(&context.couch, &context.db, rules, &written, forced).await?;
    let document = settle(
        &context.couch,
        &context.db,
        rules,
        written,
        &mut stored,
        empty(),
    )
    .await?;
    Ok((document.map_err(Refused::into_refusal)?, turn))
}

/// Sends one judged document, in its turn.
pub(crate) async fn put(
    context: &Context,
    turn: DocGuard,
    query: &DocumentQuery,
    document: &Value,
) -> Result<Response<Answered>, Refusal> {
    let unnamed = matches!(
        context.permit.route().call,
        Call::Database {
            call: DatabaseCall::Itself,
            ..
        }
    );
    let method = if unnamed { Method::Post } else { Method::Put };
    context
        .write(turn, method, sent_query(query).pairs(), document.to_bytes())
        .await
}

/// What remains of a write's parameters: the revision is in the document.
fn sent_query(query: &DocumentQuery) -> DocumentQuery {
    DocumentQuery {
        new_edits: query.new_edits,
        w: query.w,
        ..Default::default()
    }
}

/// CouchDB's answer to one write, with those headers that CouchDB gives to a write of this kind (`chttpd_db`). The
/// tag is the one that the caller gets when they read the document, so that they can name it in `If-Match`.
pub(crate) async fn answer(
    context: &Context,
    rules: &WriteRules,
    upstream: Response<Answered>,
) -> Result<Answer, Refusal> {
    let status = upstream.status();
    if !status.is_success() {
        return Err(errors::refusal(upstream).await);
    }
    let place = upstream.headers().get(LOCATION).cloned();
    let mut share = context.share();
    let body = whole(upstream.into_body(), &mut share).await?;
    let written = Value::parse(&body).ok();
    let text = |name: &str| written.as_ref()?.get(name)?.as_str();
    let tag = text("id")
        .zip(text("rev"))
        .and_then(|(id, rev)| tag(id, rev, rules.reads()));
    let route = context.permit.route();
    let posted = route.is_of_a_database();
    let placed = match route.method {
        Method::Put | Method::Copy => true,
        // Not where a form is sent to a document.
        Method::Post => posted,
        Method::Get | Method::Head | Method::Delete => false,
    };
    let mut answer = Answer::with(status, body);
    if let Some(tag) = tag.filter(|_| !posted) {
        answer = answer.header(ETAG, tag);
    }
    if let Some(place) = place.filter(|_| placed) {
        answer = answer.header(LOCATION, place);
    }
    Ok(answer)
}

/// `_bulk_docs`: denied rows in their place, the rest passed on, part by part.
pub(crate) async fn bulk(
    context: Context,
    rules: &WriteRules,
    turns: &DocLocks,
    locals: &Locals,
    mut sent: SentBatch,
) -> Result<Answer, Refusal> {
    let caller = context.permit.caller();
    sent.check(context.share(), locals, caller)?;
    let (mut status, mut rows) = (StatusCode::CREATED, Vec::new());
    while let Some((batch, _share)) = sent.next(context.share(), locals, caller)? {
        let (stored, told) = match batch.new_edits {
            true => checked(&context, rules, turns, batch).await?,
            false => forced(&context, rules, turns, batch).await?,
        };
        status = status.max(stored);
        rows.extend(told);
    }
    let denied = rows
        .iter()
        .filter(|row| row.get("error").and_then(Value::as_str) == Some("forbidden"));
    let denied = denied
        .filter_map(|row| row.get("id")?.as_str().map(str::to_owned))
        .collect();
    let mut bytes = Value::Array(rows).to_bytes();
    bytes.push(b'\n');
    Ok(Answer::with(status, bytes).denying(denied))
}

/// A batch whose revisions travel with it. Only what passed waits for its turn, and no longer than CouchDB takes.
async fn checked(
    context: &Context,
    rules: &WriteRules,
    turns: &DocLocks,
    batch: Batch,
) -> Result<(StatusCode, Vec<Value>), Refusal> {
    let judged = batch.judge(&context.couch, &context.db, rules).await?;
    let passed = judged.rows.iter().filter_map(|judged| match judged {
        Judged::Sent { id, .. } => Some(id.as_str()),
        Judged::Answered(_) => None,
    });
    let db = context.db.as_str();
    let turn = turns.take(db, passed, Mode::Shared).await;
    store(context, turn, judged.rows, true).await
}

/// A batch that CouchDB does not check: what passes is judged again and stored in its turn, part by part.
async fn forced(
    context: &Context,
    rules: &WriteRules,
    turns: &DocLocks,
    batch: Batch,
) -> Result<(StatusCode, Vec<Value>), Refusal> {
    let (couch, db) = (&context.couch, &context.db);
    let (parts, refused) = batch.screen(couch, db, rules).await?;
    let (mut status, mut all) = (StatusCode::CREATED, Vec::new());
    for part in parts {
        let turn = turns.take(db.as_str(), part.ids(), Mode::Exclusive).await;
        let judged = part.judge(couch, db, rules).await?;
        let (stored, rows) = store(context, turn, judged.rows, false).await?;
        status = status.max(stored);
        all.extend(rows);
    }
    all.extend(appended(refused, Vec::new()));
    Ok((status, all))
}

/// Sends on what passed, if anything did, and gives the rows that answer all. Where CouchDB refuses a batch for one of
/// its documents, each half is sent by itself, down to that one.
async fn store(
    context: &Context,
    turn: DocGuard,
    judged: Vec<Judged>,
    new_edits: bool,
) -> Result<(StatusCode, Vec<Value>), Refusal> {
    let turn = Arc::new(turn);
    let (mut status, mut all) = (StatusCode::CREATED, Vec::new());
    let mut parts = vec![judged];
    while let Some(mut part) = parts.pop() {
        let mut rows = Vec::new();
        if let Some(body) = body(&part, new_edits) {
            let upstream = context.write_batch(Arc::clone(&turn), body).await?;
            if is_for_a_document(upstream.status(), new_edits) {
                let sent = part.iter().filter(|judged| judged.is_sent()).count();
                if sent > 1 {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                    continue;
                }
                part = part.into_iter().map(Judged::not_taken).collect();
            } else if !upstream.status().is_success() {
                return Err(errors::refusal(upstream).await);
            } else {
                status = status.max(upstream.status());
                rows = answered(context, upstream).await?;
            }
        }
        all.extend(match new_edits {
            true => in_place(part, rows)?,
            false => appended(part, rows),
        });
    }
    Ok((status, all))
}

/// Whether CouchDB refuses a batch like this for one of its documents: it is too long (`max_document_size`), has an id or
/// a member that CouchDB does not take, or a stub of nothing. That one a shard may find out when another has stored its
/// documents; with `new_edits` these would be conflicts if they were sent again.
fn is_for_a_document(status: StatusCode, new_edits: bool) -> bool {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => true,
        StatusCode::PRECONDITION_FAILED => !new_edits,
        _ => false,
    }
}

/// CouchDB's rows.
async fn answered(context: &Context, upstream: Response<Answered>) -> Result<Vec<Value>, Refusal> {
    let mut share = context.share();
    match Value::parse(&whole(upstream.into_body(), &mut share).await?) {
        Ok(Value::Array(rows)) => Ok(rows),
        Ok(_) | Err(_) => Err(Refusal::BadGateway(
            "the answer of the database can't be read",
        )),
    }
}

/// One row for each document, in the client's order.
fn in_place(judged: Vec<Judged>, rows: Vec<Value>) -> Result<Vec<Value>, Refusal> {
    let mut rows = rows.into_iter();
    let mut all = Vec::with_capacity(judged.len());
    for judged in judged {
        all.push(match judged {
            Judged::Answered(row) => row,
            Judged::Sent { id, .. } => {
                let row = rows.next();
                clean(
                    row.ok_or(Refusal::BadGateway(
                        "the database left a document unanswered",
                    ))?,
                    &id,
                )
            }
        });
    }
    Ok(all)
}

/// Without `new_edits` CouchDB answers errors only.
fn appended(judged: Vec<Judged>, rows: Vec<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = rows
        .into_iter()
        .map(|row| {
            let id = row
                .get("id")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            clean(row, &id)
        })
        .collect();
    all.extend(judged.into_iter().filter_map(|judged| match judged {
        Judged::Answered(row) => Some(row),
        Judged::Sent { .. } => None,
    }));
    all
}

/// A row under the id that the client knows, errors in words of ours.
fn clean(row: Value, id: &str) -> Value {
    let Value::Object(mut row) = row else {
        return Value::Null;
    };
    row.insert("id", id);
    let error = row.get("error").and_then(Value::as_str).map(errors::row);
    if let Some((error, reason)) = error {
        row.insert("error", error);
        row.insert("reason", reason);
    }
    Value::Object(row)
}

/// The whole of a small answer. The share counts it, and what it is parsed to.
pub(crate) async fn whole(mut upstream: Answered, share: &mut Share) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) = upstream.frame().await {
        let frame = frame.map_err(crate::body::Cut::refusal)?;
        let data = frame.into_data().unwrap_or_default();
        share.count(&data)?;
        bytes.extend_from_slice(&data);
        if bytes.len() > LONGEST {
            return Err(Refusal::BadGateway(
                "the answer of the database is too long",
            ));
        }
    }
    Ok(bytes)
}

/// An empty object to build on.
pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut object = Object::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    Value::Object(object)
}
