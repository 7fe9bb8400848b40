//! What may be asked: only visible fields may be named, and a query's parameters come from one place.

use crate::inspect::view::json;
use crate::json::{Object, Value};
use crate::policy::{Lens, Selector};
use crate::refusal::Refusal;
use crate::route::Query;
use crate::route::query::{ChangesQuery, Feed, ViewQuery};

/// Why a query that names hidden fields is refused.
const HIDDEN: &str = "the query names a field that is not open to you";

/// The parameters of a view or list, from the query string and the body of a POST together.
pub(crate) fn list(query: &Query, body: Option<&Value>) -> Result<ViewQuery, Refusal> {
    let mut view = query.view()?;
    if let Some(body) = body {
        let members = body
            .as_object()
            .ok_or(Refusal::BadRequest("Request body must be a JSON object"))?;
        for (name, value) in members.iter() {
            view.absorb(name, &value.to_string())?;
        }
    }
    // What tells of rows that are not shown, and what would be the newest sequence.
    view.update_seq = false;
    Ok(view)
}

/// The most queries in one request: each is judged before the first one is sent.
const MOST_QUERIES: usize = 1000;

/// The several queries of a request. What stands in the query string holds for each that does not say
/// otherwise; here, other than for one query, the body wins (`couch_mrview_http:parse_params`).
pub(crate) fn lists(query: &Query, body: &Value) -> Result<Vec<ViewQuery>, Refusal> {
    let members = body
        .as_object()
        .ok_or(Refusal::BadRequest("Request body must be a JSON object"))?;
    if let Some((name, _)) = members.iter().find(|(name, _)| *name != "queries") {
        return Err(Refusal::Malformed(format!("`{name}` is not known here")));
    }
    let queries = members.get("queries").ok_or(Refusal::BadRequest(
        "POST body must include `queries` parameter.",
    ))?;
    let queries = queries
        .as_array()
        .ok_or(Refusal::BadRequest("`queries` member must be an array."))?;
    if queries.len() > MOST_QUERIES {
        return Err(Refusal::BadRequest("there are more than 1000 queries"));
    }
    queries.iter().map(|one| inner(query, one)).collect()
}

fn inner(shared: &Query, one: &Value) -> Result<ViewQuery, Refusal> {
    let mut shared = shared.clone();
    for name in ["keys", "group", "group_level"] {
        shared.remove(name);
    }
    let members = one
        .as_object()
        .ok_or(Refusal::BadRequest("Request body must be a JSON object"))?;
    for (name, _) in members.iter() {
        shared.remove(ViewQuery::canonical(name));
    }
    list(&shared, Some(one))
}

/// Refuses field paths that may be hidden in some document.
pub(crate) fn may_name<'a, P, S>(lens: &Lens, paths: P) -> Result<(), Refusal>
where
    P: IntoIterator<Item = S>,
    S: IntoIterator<Item = &'a str>,
{
    for path in paths {
        let path: Vec<&str> = path.into_iter().collect();
        if !lens.may_name(&path) || !path.iter().all(|step| has_one_spelling(step)) {
            return Err(Refusal::Forbidden(HIDDEN));
        }
    }
    Ok(())
}

/// Security: to CouchDB `arr.00` and `arr.+0` are the first element too; a rule names `arr.0`.
fn has_one_spelling(step: &str) -> bool {
    let digits = step.strip_prefix(['+', '-']).unwrap_or(step);
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    !number || step == "0" || step.starts_with(|first: char| ('1'..='9').contains(&first))
}

/// A client's selector: its operators are known, its fields are open to him.
pub(crate) fn selector(lens: &Lens, selector: &Value) -> Result<(), Refusal> {
    let selector =
        Selector::client(selector).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let named = selector.named_fields();
    may_name(
        lens,
        named.iter().map(|path| path.iter().map(String::as_str)),
    )
}

/// `_changes` as it may be asked under a lens; the body is what is sent on.
pub(crate) fn changes(
    lens: &Lens,
    query: &Query,
    body: Option<&Value>,
) -> Result<(ChangesQuery, Option<Vec<u8>>), Refusal> {
    let mut changes = query.changes()?;
    // Every row must have its sequence, and counts of what is not shown are left out.
    changes.seq_interval = None;
    let body = match changes.filter.as_deref() {
        None | Some("" | "_design") => None,
        Some("_doc_ids") => doc_ids(&changes, body)?,
        Some("_selector") => {
            let wanted = body.and_then(|body| body.get("selector"));
            let wanted =
                wanted.ok_or(Refusal::BadRequest("`selector` must be given in the body"))?;
            selector(lens, wanted)?;
            Some(member("selector", wanted))
        }
        Some(_) if lens.hides_fields() => {
            return Err(Refusal::Forbidden(
                "filter functions see fields that are not open to you",
            ));
        }
        Some(_) => None,
    };
    if changes.feed == Feed::Normal {
        changes.heartbeat = None;
        changes.timeout = None;
    }
    Ok((changes, body))
}

fn doc_ids(changes: &ChangesQuery, body: Option<&Value>) -> Result<Option<Vec<u8>>, Refusal> {
    match (&changes.doc_ids, body.and_then(|body| body.get("doc_ids"))) {
        (Some(ids), _) => json("doc_ids", ids).map(|_| None),
        (None, Some(ids)) => Ok(Some(member("doc_ids", ids))),
        (None, None) => Err(Refusal::BadRequest("`doc_ids` must be given")),
    }
}

fn member(name: &str, value: &Value) -> Vec<u8> {
    let mut object = Object::new();
    object.insert(name, value.clone());
    Value::Object(object).to_bytes()
}
