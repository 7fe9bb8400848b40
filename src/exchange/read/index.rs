//! `_index` and `_explain` under a lens: indexes over hidden fields are left out, and can be neither made, replaced
//! nor deleted.
//!
//! Invariant: a caller is shown an index only if every field that it is about is open to them in every document. What an
//! index is about is read whole, or it is taken for one over hidden fields.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::find::{Find, named, parameters};
use super::query::selector;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::rewrite::Subrequest;
use crate::exchange::write::answer::{object, whole};
use crate::intake::json_body;
use crate::json::{Object, Value};
use crate::policy::Lens;
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, Method, Query};

const UNREADABLE: Refusal = Refusal::BadGateway("the answer of the database can't be read");

/// `_index` and what is below it.
pub(crate) async fn index(context: Context, lens: Lens, body: Bytes) -> Result<Answer, Refusal> {
    let Call::Database { db: _, call } = context.permit.route().call.clone() else {
        return Err(Refusal::Internal("a call that is none of indexes"));
    };
    if let DatabaseCall::IndexNamed { ddoc, kind, name } = call {
        let id = ddoc.id();
        let wanted = [id.as_str(), kind.as_str(), name.as_str()];
        return delete(&context, &lens, wanted).await;
    }
    match (call, context.permit.route().method) {
        (DatabaseCall::IndexBulkDelete, _) => delete_many(&context, &lens, &body).await,
        (_, Method::Post) => create(&context, &lens, &body).await,
        (_, _) => list(&context, &lens).await,
    }
}

async fn list(context: &Context, lens: &Lens) -> Result<Answer, Refusal> {
    let query = &context.permit.route().query;
    let number = |name: &str| match query.value(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<usize>()
            .map(Some)
            .map_err(|_| Refusal::BadQuery(format!("`{name}` is not a positive integer"))),
    };
    let (limit, skip) = (number("limit")?, number("skip")?);
    if limit == Some(0) {
        return Err(Refusal::BadQuery(
            "`limit` is not a positive integer".to_owned(),
        ));
    }
    if let Some((name, _)) = query
        .iter()
        .find(|(name, _)| !matches!(*name, "limit" | "skip"))
    {
        return Err(Refusal::Malformed(format!(
            "unknown query parameter `{name}`"
        )));
    }
    let indexes = context.couch.indexes(&context.db).await?;
    let seen: Vec<Value> = indexes
        .into_iter()
        .filter(|index| is_visible(lens, index))
        .collect();
    let total = seen.len() as u64;
    let rows = seen
        .into_iter()
        .skip(skip.unwrap_or(0))
        .take(limit.unwrap_or(usize::MAX));
    Ok(answer(&object([
        ("total_rows", total.into()),
        ("indexes", Value::Array(rows.collect())),
    ])))
}

/// Security: what is written into a design document replaces an index of the same name there, seen or not.
/// (`nobody_replaces_an_index_that_he_does_not_see`)
async fn create(context: &Context, lens: &Lens, body: &[u8]) -> Result<Answer, Refusal> {
    let body = json_body::value(body)?;
    if let Some(ddoc) = created(lens, &body)? {
        let indexes = context.couch.indexes(&context.db).await?;
        let hidden = |index: &&Value| is_of(index, ddoc) && !is_visible(lens, index);
        if indexes.iter().any(|index| hidden(&index)) {
            return Err(Refusal::Forbidden(
                "this design document is not open to you",
            ));
        }
    }
    pass(context, Method::Post, Some(body.to_bytes())).await
}

async fn delete(
    context: &Context,
    lens: &Lens,
    [ddoc, kind, name]: [&str; 3],
) -> Result<Answer, Refusal> {
    let indexes = context.couch.indexes(&context.db).await?;
    let found = indexes.iter().find(|index| {
        is_of(index, ddoc) && text(index, "type") == Some(kind) && text(index, "name") == Some(name)
    });
    match found {
        Some(index) if is_visible(lens, index) => pass(context, Method::Delete, None).await,
        Some(_) | None => Err(Refusal::Missing),
    }
}

/// What is not there for them is answered as CouchDB answers what is not there.
async fn delete_many(context: &Context, lens: &Lens, body: &[u8]) -> Result<Answer, Refusal> {
    let body = json_body::value(body)?;
    let (named, mut rest) = deleted(&body)?;
    let indexes = context.couch.indexes(&context.db).await?;
    let open = |ddoc: &str| {
        let mut own = indexes.iter().filter(|index| is_of(index, ddoc)).peekable();
        own.peek().is_some() && own.all(|index| is_visible(lens, index))
    };
    let (open, absent): (Vec<&str>, Vec<&str>) = named.into_iter().partition(|ddoc| open(ddoc));
    let (mut success, mut fail) = (Vec::new(), Vec::new());
    if !open.is_empty() {
        let listed = open.into_iter().map(Value::from).collect();
        rest.insert("docids", Value::Array(listed));
        let part = Subrequest {
            method: Method::Post,
            query: Query::default(),
            body: Some(Value::Object(rest).to_bytes()),
        };
        let mut share = context.share();
        let told = whole(context.first(part).await?, &mut share).await?;
        let told = Value::parse(&told).map_err(|_| UNREADABLE)?;
        let rows = |name| told.get(name).and_then(Value::as_array).ok_or(UNREADABLE);
        success.extend_from_slice(rows("success")?);
        fail.extend_from_slice(rows("fail")?);
    }
    fail.extend(
        absent
            .into_iter()
            .rev()
            .map(|ddoc| object([("id", full(ddoc).into()), ("error", "not_found".into())])),
    );
    Ok(answer(&object([
        ("success", Value::Array(success)),
        ("fail", Value::Array(fail)),
    ])))
}

/// `_explain`: of the client's own selector, as if indexes over hidden fields were not there. Partial ones neither:
/// their selectors hold values, of documents that they may not see.
pub(crate) async fn explain(context: Context, lens: Lens, body: Bytes) -> Result<Answer, Refusal> {
    let body = json_body::value(&body)?;
    let find = Find::read(&lens, &body)?;
    let mut asked = body.as_object().cloned().unwrap_or_default();
    for name in ["sort", "allow_fallback"] {
        if !find.query.contains(name) {
            asked.remove(name);
        }
    }
    // A sealed one is none of CouchDB's, and it would be told back.
    asked.remove("bookmark");
    let part = Subrequest {
        method: Method::Post,
        query: parameters(&context.permit.route().query)?,
        body: Some(Value::Object(asked).to_bytes()),
    };
    let mut share = context.share();
    let told = whole(context.first(part).await?, &mut share).await?;
    let told = Value::parse(&told).map_err(|_| UNREADABLE)?;
    let shown = explained(&lens, &told).ok_or(UNREADABLE)?;
    Ok(answer(&Value::Object(shown)))
}

/// What follows from the query alone, and from indexes that they see.
fn explained(lens: &Lens, told: &Value) -> Option<Object> {
    let mut shown = Object::new();
    // Security: whoever may find need not know by what values indexes were cut.
    // (`no_answer_shows_anybody_what_he_may_not_see`)
    let open = |index: &Value| is_visible(lens, index) && !is_partial(index);
    let index = told.get("index").filter(|index| open(index));
    for (name, value) in told.as_object()?.iter() {
        match name {
            "dbname" | "partitioned" | "selector" | "opts" | "limit" | "skip" | "fields"
            | "selector_hints" => {
                shown.insert(name, value.clone());
            }
            "index" => {
                shown.insert(name, index.cloned().unwrap_or(Value::Null));
            }
            "mrargs" | "range" | "covering" if index.is_some() => {
                shown.insert(name, value.clone());
            }
            "index_candidates" => {
                let candidates = value.as_array()?.iter().filter(|candidate| {
                    let index = candidate.get("index");
                    index.is_some_and(open)
                });
                let candidates = ranked_anew(candidates.cloned().collect());
                shown.insert(name, Value::Array(candidates));
            }
            _ => {}
        }
    }
    Some(shown)
}

/// Ranks without gaps: one would tell of an index that is not shown.
fn ranked_anew(mut candidates: Vec<Value>) -> Vec<Value> {
    let rank = |candidate: &Value| {
        let rank = candidate.get("analysis")?.get("ranking")?;
        rank.as_number()?.as_u64()
    };
    let ranks: BTreeSet<u64> = candidates.iter().filter_map(rank).collect();
    for candidate in &mut candidates {
        let place = rank(candidate).map(|own| ranks.range(..=own).count() as u64);
        let analysis = candidate.as_object_mut();
        let analysis = analysis.and_then(|members| members.get_mut("analysis"));
        if let (Some(place), Some(analysis)) = (place, analysis.and_then(Value::as_object_mut)) {
            analysis.insert("ranking", place);
        }
    }
    candidates
}

async fn pass(context: &Context, method: Method, body: Option<Vec<u8>>) -> Result<Answer, Refusal> {
    let query = context.permit.route().query.clone();
    let part = Subrequest {
        method,
        query,
        body,
    };
    let mut share = context.share();
    let told = whole(context.first(part).await?, &mut share).await?;
    Ok(Answer::json(told))
}

fn answer(value: &Value) -> Answer {
    let mut bytes = value.to_bytes();
    bytes.push(b'\n');
    Answer::json(bytes)
}

fn text<'v>(index: &'v Value, name: &str) -> Option<&'v str> {
    index.get(name).and_then(Value::as_str)
}

fn is_partial(index: &Value) -> bool {
    let definition = index.get("def");
    let selector = definition.and_then(|definition| definition.get("partial_filter_selector"));
    selector.is_some_and(|selector| {
        selector
            .as_object()
            .is_none_or(|members| !members.is_empty())
    })
}

fn is_of(index: &Value, ddoc: &str) -> bool {
    text(index, "ddoc").is_some_and(|own| own == full(ddoc))
}

/// The prefix may be left out.
fn full(ddoc: &str) -> String {
    match ddoc.starts_with("_design/") {
        true => ddoc.to_owned(),
        false => format!("_design/{ddoc}"),
    }
}

/// Whether an index, as `_index` lists it, is over visible fields only.
pub(crate) fn is_visible(lens: &Lens, index: &Value) -> bool {
    let kind = index.get("type").and_then(Value::as_str);
    match (kind, index.get("def")) {
        // Every database has this one.
        (Some("special"), _) => true,
        (Some("json"), Some(definition)) => judge(lens, definition).is_ok(),
        // Indexes of text may be over every field.
        _ => false,
    }
}

/// The body of a `POST` to `_index`, and the design document that it names.
pub(crate) fn created<'b>(lens: &Lens, body: &'b Value) -> Result<Option<&'b str>, Refusal> {
    let members = body
        .as_object()
        .ok_or(Refusal::BadRequest("the body must be a JSON object"))?;
    let mut ddoc = None;
    for (name, value) in members.iter() {
        match (name, value) {
            ("index", definition) => judge(lens, definition)?,
            ("type", Value::String(kind)) if kind == "json" => {}
            ("type", _) => {
                return Err(Refusal::Forbidden("only `json` indexes are open to you"));
            }
            ("ddoc", Value::String(name)) => ddoc = Some(name.as_str()),
            ("name", Value::String(_)) | ("partitioned" | "w", _) => {}
            _ => return Err(Refusal::Malformed(format!("`{name}` is not known here"))),
        }
    }
    match members.contains("index") {
        true => Ok(ddoc),
        false => Err(Refusal::BadRequest("Missing required key: index")),
    }
}

/// `{"fields":[…],"partial_filter_selector":{…}}`
fn judge(lens: &Lens, definition: &Value) -> Result<(), Refusal> {
    const SHAPE: Refusal = Refusal::BadRequest("`index` must be an object of `fields`");
    for (name, value) in definition.as_object().ok_or(SHAPE)?.iter() {
        match name {
            "fields" => fields(lens, value.as_array().ok_or(SHAPE)?)?,
            "partial_filter_selector" => selector(lens, value)?,
            _ => return Err(Refusal::Malformed(format!("`{name}` is not known here"))),
        }
    }
    Ok(())
}

fn fields(lens: &Lens, fields: &[Value]) -> Result<(), Refusal> {
    for field in fields {
        match field {
            Value::String(field) => named(lens, field)?,
            Value::Object(object) => {
                for (field, _) in object.iter() {
                    named(lens, field)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(Refusal::BadRequest("`fields` must be a list of fields"));
            }
        }
    }
    Ok(())
}

/// The design documents that a `POST` to `_index/_bulk_delete` names, and the rest of its body.
pub(crate) fn deleted(body: &Value) -> Result<(Vec<&str>, Object), Refusal> {
    const SHAPE: Refusal = Refusal::BadRequest("`docids` must be a list of texts");
    let mut rest = body
        .as_object()
        .ok_or(Refusal::BadRequest("the body must be a JSON object"))?
        .clone();
    rest.remove("docids");
    if let Some((name, _)) = rest.iter().find(|(name, _)| *name != "w") {
        return Err(Refusal::Malformed(format!("`{name}` is not known here")));
    }
    let listed = body.get("docids").and_then(Value::as_array);
    let listed = listed.ok_or(SHAPE)?.iter();
    let named: Option<Vec<&str>> = listed.map(Value::as_str).collect();
    Ok((named.ok_or(SHAPE)?, rest))
}
