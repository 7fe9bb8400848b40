//! What may be asked: only visible fields may be named, and a query's parameters come from one place.

use std::collections::HashSet;

use super::pin::json;
use crate::json::{Object, Value};
use crate::policy::{Lens, Selector, SelectorError};
use crate::refusal::Refusal;
use crate::route::Query;
use crate::route::query::{ChangesQuery, ViewQuery};

/// Why a query that names hidden fields is refused.
const HIDDEN: &str = "the query names a field that is not open to you";

/// Why one is refused that asks for documents without a field.
const ABSENT: &str =
    "the query asks for the absence of a field in whose place something may be hidden from you";

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
    let mut view = list(&shared, Some(one))?;
    // One key alone is a range there: without a row where nothing has it.
    if let Some(keys) = &view.keys
        && let Ok(Value::Array(keys)) = Value::parse(keys.as_bytes())
        && let [key] = keys.as_slice()
    {
        (view.key, view.keys) = (Some(key.to_string()), None);
    }
    Ok(view)
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

/// A client's selector: its operators are known, its fields are open to them.
pub(crate) fn selector(lens: &Lens, selector: &Value) -> Result<(), Refusal> {
    may_choose(lens, &client(selector).map_err(|error| malformed(&error))?)
}

/// Refuses a client's selector that tells of what may be hidden in some document.
pub(crate) fn may_choose(lens: &Lens, selector: &Selector) -> Result<(), Refusal> {
    may_name_all(lens, &selector.named_fields())?;
    for path in selector.absent_fields() {
        if !lens.may_miss(&path.iter().map(String::as_str).collect::<Vec<_>>()) {
            return Err(Refusal::Forbidden(ABSENT));
        }
    }
    Ok(())
}

pub(crate) fn client(selector: &Value) -> Result<Selector, SelectorError> {
    Selector::client(selector)
}

fn malformed(error: &SelectorError) -> Refusal {
    Refusal::Malformed(error.to_string())
}

/// The most fields that one query names. What CouchDB does to choose an index grows with their square.
const MOST_FIELDS: usize = 1000;

fn may_name_all(lens: &Lens, named: &[Vec<String>]) -> Result<(), Refusal> {
    if named.len() > MOST_FIELDS && named.iter().collect::<HashSet<_>>().len() > MOST_FIELDS {
        return Err(Refusal::BadRequest("the query names more than 1000 fields"));
    }
    may_name(
        lens,
        named.iter().map(|path| path.iter().map(String::as_str)),
    )
}

/// `_changes` as it may be asked.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) query: ChangesQuery,
    /// The body that is sent on.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) looks_at: LooksAt,
}

/// What a filter of `_changes` chooses by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LooksAt {
    /// What every row shows.
    Row,
    /// What stands in the documents: only those that may be read can be chosen.
    Document,
}

/// Why a filter function is refused.
const FUNCTION: &str = "filter functions see fields that are not open to you";

/// `_changes` as it may be asked by a caller who reads documents through this lens.
///
/// Security: a row that is chosen by what its document holds tells it, whoever may see the row.
/// (`a_feed_is_no_oracle_for_what_may_not_be_read`)
pub(crate) fn changes(
    docs: &Lens,
    query: &Query,
    body: Option<&Value>,
) -> Result<Changes, Refusal> {
    let mut query = query.changes()?;
    // Every row must have its sequence, and counts of what is not shown are left out.
    query.seq_interval = None;
    let mut looks_at = LooksAt::Row;
    let body = match query.filter.as_deref() {
        None | Some("" | "_design") => None,
        Some("_doc_ids") => doc_ids(&query, body)?,
        Some("_selector") => {
            let wanted = body.and_then(|body| body.get("selector"));
            let wanted =
                wanted.ok_or(Refusal::BadRequest("`selector` must be given in the body"))?;
            looks_at = chosen_by(docs, &query, wanted)?;
            Some(member("selector", wanted))
        }
        // The built-in `_view` is one, too.
        Some(_) => {
            let leaves = query.conflicts && docs.tells_leaves_apart();
            if !docs.shows_whole_documents() || leaves {
                return Err(Refusal::Forbidden(FUNCTION));
            }
            looks_at = LooksAt::Document;
            None
        }
    };
    Ok(Changes {
        query,
        body,
        looks_at,
    })
}

/// What a selector of `_changes` chooses by, if all that it names is open to the caller.
fn chosen_by(docs: &Lens, query: &ChangesQuery, wanted: &Value) -> Result<LooksAt, Refusal> {
    let wanted = client(wanted).map_err(|error| malformed(&error))?;
    let named = wanted.named_fields();
    let in_row = |path: &Vec<String>| match path.as_slice() {
        [name] => match name.as_str() {
            "_id" | "_rev" => true,
            // Which leaves are tombstones no row says.
            "_deleted" => !query.style_all_docs,
            _ => false,
        },
        _ => false,
    };
    if named.iter().all(in_row) {
        return Ok(LooksAt::Row);
    }
    may_choose(docs, &wanted)?;
    Ok(LooksAt::Document)
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
