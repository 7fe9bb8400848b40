//! `_find` under a lens: what may be asked, and of each document that is found the verdict, which is on all of it, and the
//! `fields` that were asked for, which are cut here.

use std::sync::Arc;

use bytes::Bytes;

use super::bookmark::{Bookmarks, Position};
use super::query::{client, may_choose, may_name};
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::read::find_pages::FindPages;
use crate::exchange::redact::{Piece, RowOutcome, show};
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rows::answer::rows_answer;
use crate::exchange::rows::filter::{RowFilter, member};
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::stream::Recipe;
use crate::intake::json_body;
use crate::json::{JsonError, Object, Row, Value};
use crate::policy::{
    Lens, Needs, SelectorError, combines_nothing, field_steps, holds_empty_combination,
};
use crate::refusal::Refusal;
use crate::route::Query;
use crate::secret::Seal;

/// Documents that match the client's selector and that they may see.
pub(crate) async fn find(
    context: Context,
    lens: Lens,
    seal: Arc<Seal>,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let Find {
        mut query,
        limit,
        skip,
        bookmark,
        fields,
    } = Find::read(&lens, &json_body::value(&body)?)?;
    let parameters = parameters(&context.permit.route().query)?;
    let partition = parameters
        .value("partition")
        .map_or(Value::Null, Value::from);
    let mut text = Vec::new();
    query.write(&mut text);
    partition.write(&mut text);
    let fingerprint = lens.fingerprint();
    let bookmarks = Bookmarks::new(seal, context.db.as_str(), &fingerprint.bytes(), &text);
    let cursor = match bookmark {
        Some(bookmark) => bookmarks.open(&bookmark).ok_or_else(|| {
            Refusal::BadFind("invalid_bookmark", "Invalid bookmark value.".to_owned())
        })?,
        None => Position::start(),
    };
    let window = Window {
        skip,
        left: Some(limit),
    };
    let hides = match lens.needs_document() {
        Needs::Document => {
            // Security: what an old index has seen is not what is judged.
            // (`a_found_document_does_not_stand_where_a_hidden_version_stood`)
            for name in ["stale", "update", "stable"] {
                query.remove(name);
            }
            true
        }
        Needs::Id => true,
        Needs::Nothing => false,
    };
    let needed = limit.saturating_add(skip);
    let pages = FindPages::begin((query, parameters), (cursor, bookmarks), hides, needed);
    let part = pages.ask();
    let fields = fields.as_ref().and_then(Projection::read);
    let filter = FindRows { lens, fields };
    let recipe = Recipe::new(pages, filter, Layout::Rows("docs"), window);
    rows_answer(Arc::new(context), part, recipe).await
}

/// How the rows of `_find` are shown.
#[derive(Debug)]
pub(crate) struct FindRows {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// The `fields` of the query.
    pub(crate) fields: Option<Projection>,
}

impl RowFilter for FindRows {
    fn row(
        &mut self,
        row: Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let Some(projection) = &self.fields else {
            return show(&self.lens, Piece::Whole(row.bytes()), cache, out);
        };
        let mut whole = Vec::with_capacity(row.bytes().len());
        let seen = show(&self.lens, Piece::Whole(row.bytes()), cache, &mut whole)?;
        if seen == RowOutcome::Shown {
            projection.apply(&*cache.parse(&whole)?).write(out);
        }
        Ok(seen)
    }
    fn documents(&self) -> Option<&Lens> {
        Some(&self.lens)
    }

    fn is_of_two_moments(&self) -> bool {
        self.lens.needs_document() == Needs::Document
    }

    fn source(&self, row: Row<'_>, _known: &mut RevisionCache) -> Result<String, JsonError> {
        member(row, "_id")
    }
}

/// How many documents CouchDB returns when it is not told.
const DEFAULT_LIMIT: u64 = 25;

/// What is asked, and what is to be asked of CouchDB.
#[derive(Debug)]
pub(crate) struct Find {
    /// The query for CouchDB, without `limit`, `skip`, `bookmark` and `fields`.
    pub(crate) query: Object,
    /// `limit`
    pub(crate) limit: u64,
    /// `skip`
    pub(crate) skip: u64,
    /// `bookmark`, as the client has it.
    pub(crate) bookmark: Option<String>,
    /// `fields`
    pub(crate) fields: Option<Value>,
}

impl Find {
    /// Reads the body of `_find`. Whatever it names must be open to the caller.
    pub(crate) fn read(lens: &Lens, body: &Value) -> Result<Self, Refusal> {
        let body = body
            .as_object()
            .ok_or(Refusal::BadRequest("the body must be a JSON object"))?;
        let mut find = Self {
            query: Object::new(),
            limit: DEFAULT_LIMIT,
            skip: 0,
            bookmark: None,
            fields: None,
        };
        for (name, value) in body.iter() {
            match name {
                "selector" => {
                    let named = client(value).map_err(|error| bad_selector(&error))?;
                    may_choose(lens, &named)?;
                    may_combine(lens, value)?;
                    let index = Index::of(body);
                    find.query.insert("selector", pushed(lens, value, index));
                }
                "sort" => {
                    sort(lens, value)?;
                    find.query.insert("sort", value.clone());
                }
                "fields" => find.fields = fields(lens, value)?,
                "limit" => find.limit = natural(name, value)?,
                "skip" => find.skip = natural(name, value)?,
                "bookmark" => find.bookmark = bookmark(value)?,
                "use_index" if !lens.hides_fields() => {
                    find.query.insert(name, value.clone());
                }
                // An index of its own choosing could order rows by what it must not know.
                "use_index" => return Err(Refusal::Forbidden("`use_index` is not open to you")),
                "r" | "stable" | "update" | "stale" | "allow_fallback" => {
                    find.query.insert(name, value.clone());
                }
                // Counts what was looked at, hidden or not.
                "execution_stats" => {}
                // Each leaf that a document names is judged by itself.
                "conflicts" if value.as_bool().is_some() => {
                    find.query.insert(name, value.clone());
                }
                _ => {
                    let reason = format!("Invalid key {name} for this request.");
                    return Err(Refusal::BadFind("invalid_key", reason));
                }
            }
        }
        let selector = find.query.get("selector");
        if lens.hides_fields() && selector.is_some_and(combines_nothing) {
            // It finds nothing, whatever index would serve it.
            find.query.remove("sort");
            find.query.remove("allow_fallback");
        }
        match find.query.get("selector") {
            Some(_) => Ok(find),
            None => Err(bad(
                "missing_required_key",
                "Missing required key: selector",
            )),
        }
    }
}

/// What may stand in the query string: the partition, which CouchDB takes from there too.
pub(crate) fn parameters(query: &Query) -> Result<Query, Refusal> {
    let mut passed = Query::default();
    for (name, value) in query.iter() {
        match name {
            "partition" => passed.set(name, value),
            "_nonce" | "_" => {}
            _ => {
                let reason = format!("unknown query parameter `{name}`");
                return Err(Refusal::Malformed(reason));
            }
        }
    }
    Ok(passed)
}

/// Who chooses the index.
#[derive(Debug, Clone, Copy)]
enum Index {
    /// CouchDB: any that serves.
    Any,
    /// The client's own words: whether there is one at all is part of the answer.
    Asked,
}

impl Index {
    fn of(body: &Object) -> Self {
        let names = ["sort", "use_index", "allow_fallback"];
        match names.into_iter().any(|name| body.contains(name)) {
            true => Self::Asked,
            false => Self::Any,
        }
    }
}

fn bad(word: &'static str, reason: &str) -> Refusal {
    Refusal::BadFind(word, reason.to_owned())
}

/// The words of `mango_error`.
fn bad_selector(error: &SelectorError) -> Refusal {
    let word = match error {
        SelectorError::NotAnObject => "invalid_selector_json",
        SelectorError::MissingField(_) => "invalid_selector",
        SelectorError::BadArgument(_) | SelectorError::Regex(_) => "bad_arg",
        SelectorError::InvalidOperator(_) => "invalid_operator",
        SelectorError::InvalidField(_) => "invalid_field_name",
        SelectorError::Capture(_) | SelectorError::Pattern(_) | SelectorError::TooLarge => {
            "bad_request"
        }
    };
    Refusal::BadFind(word, error.to_string())
}

/// Security: what CouchDB finds by a combination of nothing in a selector is what stands in the index that it takes, which
/// may be any; alone it finds nothing. (`no_index_over_a_hidden_field_is_found_by_a_combination_of_nothing`)
fn may_combine(lens: &Lens, selector: &Value) -> Result<(), Refusal> {
    let any_index = holds_empty_combination(selector) && !combines_nothing(selector);
    match any_index && lens.hides_fields() {
        true => Err(Refusal::Forbidden(
            "what is found by a combination of nothing is not open to you",
        )),
        false => Ok(()),
    }
}

/// The client's selector and-ed with a selector that no visible document fails.
fn pushed(lens: &Lens, selector: &Value, index: Index) -> Value {
    // To CouchDB it selects nothing, and-ed it would select everything.
    if combines_nothing(selector) {
        return selector.clone();
    }
    let ours = match index {
        Index::Any => lens.prefilter(),
        Index::Asked => lens.prefilter_without_index(),
    };
    let Some(ours) = ours else {
        return selector.clone();
    };
    if selector.as_object().is_some_and(Object::is_empty) {
        // Inside `$and` an empty selector would match empty documents only.
        return ours;
    }
    let mut both = Object::new();
    both.insert("$and", Value::Array(vec![selector.clone(), ours]));
    Value::Object(both)
}

/// `["a", {"b": "desc"}]`
fn sort(lens: &Lens, sort: &Value) -> Result<(), Refusal> {
    let shape = || bad("invalid_sort_json", "`sort` must be a list of fields");
    for entry in sort.as_array().ok_or_else(shape)? {
        match entry {
            Value::String(field) => named(lens, field)?,
            Value::Object(object) => {
                for (field, _) in object.iter() {
                    named(lens, field)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(bad("invalid_sort_field", "`sort` must be a list of fields"));
            }
        }
    }
    Ok(())
}

fn fields(lens: &Lens, fields: &Value) -> Result<Option<Value>, Refusal> {
    let shape = || bad("invalid_fields", "`fields` must be a list of texts");
    if fields.as_str() == Some("all_fields") {
        return Ok(None);
    }
    let list = fields.as_array().ok_or_else(shape)?;
    for field in list {
        named(lens, field.as_str().ok_or_else(shape)?)?;
    }
    // An empty list means all fields.
    Ok(Some(fields.clone()).filter(|_| !list.is_empty()))
}

/// A field that is named as Mango names it.
pub(crate) fn named(lens: &Lens, field: &str) -> Result<(), Refusal> {
    let steps = field_steps(field).map_err(|error| Refusal::Malformed(error.to_string()))?;
    may_name(lens, [steps.iter().map(String::as_str)])
}

fn natural(name: &str, value: &Value) -> Result<u64, Refusal> {
    let number = value.as_number().and_then(crate::json::Number::as_u64);
    number.ok_or_else(|| {
        let reason = format!("`{name}` is not an integer greater than or equal to zero");
        Refusal::BadFind("invalid_non_neg_integer", reason)
    })
}

fn bookmark(value: &Value) -> Result<Option<String>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() || text == "nil" => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(bad("invalid_bookmark", "Invalid bookmark value."))
        }
    }
}

/// The `fields` parameter of `_find`: paths with dots, `\.` for a dot in a name.
#[derive(Debug, Clone)]
pub(crate) struct Projection(Vec<Vec<String>>);

impl Projection {
    /// Reads the list; anything but texts is `None`.
    pub(crate) fn read(fields: &Value) -> Option<Self> {
        let list = fields.as_array()?;
        list.iter()
            .map(|field| field_steps(field.as_str()?).ok())
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// Only the listed fields of a document, nested as they were.
    pub(crate) fn apply(&self, document: &Value) -> Value {
        let mut shown = Value::Object(Object::new());
        for path in &self.0 {
            if let Some(found) = field(document, path) {
                put(&mut shown, path, found.clone());
            }
        }
        shown
    }
}

fn field<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

fn put(target: &mut Value, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *target = value;
        return;
    };
    let Value::Object(object) = target else {
        return;
    };
    if rest.is_empty() {
        object.insert(first.clone(), value);
        return;
    }
    if object.get(first).is_none() {
        object.insert(first.clone(), Value::Object(Object::new()));
    }
    if let Some(inner) = object.get_mut(first) {
        put(inner, rest, value);
    }
}
