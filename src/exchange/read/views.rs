//! Views under a lens, alone or as several `queries`: of each row the key is inside the caller's pin, the row is judged by
//! its rule, and the document by itself.

use std::sync::Arc;

use bytes::Bytes;

use super::design::Designs;
use super::lists::{agree, asked, each, one, prepare, take_window};
use super::pin;
use super::pin_check;
use super::reduce::{Grouping, Groups, Reducer};
use crate::body::Cut;
use crate::budget::Counted;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::redact::{Piece, RowOutcome, show};
use crate::exchange::revisions::{Lookup, RevisionCache, RevisionRef};
use crate::exchange::rows::answer::{rows, rows_answer, streamed};
use crate::exchange::rows::filter::{RowFilter, member};
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::list_row::ListRow;
use crate::exchange::rows::multi_query;
use crate::exchange::rows::stream::{MOST_HELD, Prepared};
use crate::json;
use crate::json::{Fields, JsonError, Kind, Value, string};
use crate::policy::Lens;
use crate::policy::{self, Needs, ViewLens};
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;
use crate::route::{Call, DatabaseCall, DesignName, FunctionName};

/// Which view is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) ddoc: &'a DesignName,
    pub(crate) view: &'a FunctionName,
    pub(crate) designs: &'a Designs,
}

/// A view: narrowed to the caller's pin before CouchDB runs it, every row checked again.
pub(crate) async fn view(
    context: Context,
    lens: ViewLens,
    named: Named<'_>,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let query = asked(&context, body)?;
    let context = Arc::new(context);
    let Some((part, recipe)) = prepare_view(&context, &lens, named, query).await? else {
        return one(context, None).await;
    };
    if !recipe.filter.adds_up() {
        return rows_answer(context, part, recipe).await;
    }
    let mut rows = rows(context, part, recipe).await?;
    // The head waits until what was looked at is what has been added up, and until it is known that it can be.
    let gathered = rows.gather_answer(MOST_HELD).await;
    gathered.map_err(Cut::refusal)?;
    Ok(streamed(rows))
}

/// Several queries of a view.
pub(crate) async fn view_queries(
    context: Context,
    lens: ViewLens,
    named: Named<'_>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let mut prepared = Vec::new();
    for query in each(&context, body)? {
        prepared.push(prepare_view(&context, &lens, named, query).await?);
    }
    multi_query::answer(context, prepared).await
}

async fn prepare_view(
    context: &Context,
    lens: &ViewLens,
    named: Named<'_>,
    mut query: ViewQuery,
) -> Result<Prepared, Refusal> {
    let window = take_window(&mut query);
    if lens.needs_document() != Needs::Nothing {
        // Security: a row of yesterday must not be judged by the document of today.
        (query.stale, query.update, query.stable) = (None, None, None);
        // Rows that have one key and one document in common stand together.
        query.sorted = None;
    }
    // What is outside the pin is refused before CouchDB is asked for anything.
    pin::narrow(query.clone(), lens)?;
    let reducer = match query.reduce {
        Some(false) => None,
        None | Some(true) => {
            let Named {
                ddoc,
                view,
                designs,
            } = named;
            designs
                .reducer(&context.couch, &context.db, (ddoc, view))
                .await?
        }
    };
    agree(&query, reducer)?;
    match reducer {
        Some(reducer) => {
            let inside = query.partition.is_some() || is_of_partition(context);
            match reduced(lens, query.clone(), window, reducer)? {
                // It looks for the keys of a partition among groups that are told without it, and finds none
                // (`fabric_view:reduce_take`).
                Some(_) if inside && query.keys.as_deref().is_some_and(|keys| !is_one(keys)) => {
                    Ok(None)
                }
                prepared => Ok(prepared),
            }
        }
        None => {
            let by_keys = query.keys.is_some();
            let docs = query.include_docs;
            let ranges = pin::narrow(query, lens)?;
            let filter = ViewRows {
                lens: lens.clone(),
                docs,
            };
            Ok(prepare(ranges, !by_keys, window, filter))
        }
    }
}

fn reduced(
    lens: &ViewLens,
    mut query: ViewQuery,
    window: Window,
    reducer: Reducer,
) -> Result<Prepared, Refusal> {
    if !lens.reduce_allowed() {
        return Err(Refusal::Forbidden(
            "sums over this view are not open to you",
        ));
    }
    // `_sum` and the like are made from rows here; CouchDB has no documents beside sums either.
    for (asked, name) in [
        (query.include_docs, "include_docs"),
        (query.conflicts, "conflicts"),
    ] {
        if asked {
            return Err(Refusal::BadQuery(format!("`{name}` is invalid for reduce")));
        }
    }
    let grouping = grouping(&query)?;
    if reducer == Reducer::Other && grouping != Grouping::Exact {
        return Err(Refusal::Forbidden(
            "this view is open to you with `group=true` only",
        ));
    }
    query.group_level = None;
    // Groups stand in their order, whatever is said.
    query.sorted = None;
    if reducer == Reducer::Other {
        query.group = Some(true);
        pin_check::pin_down(&mut query);
    } else {
        (query.reduce, query.group) = (Some(false), None);
    }
    let by_keys = query.keys.is_some();
    // Groups of keys that are named stand in their order, backwards too.
    query.descending &= !by_keys;
    let mut ranges = pin::narrow(query, lens)?;
    if by_keys && reducer != Reducer::Other {
        ranges = ranges.into_iter().flat_map(pin::once_each).collect();
    }
    let filter = Groups {
        lens: lens.clone(),
        reducer,
        grouping,
        open: None,
        by_keys,
        begins_anew: false,
    };
    Ok(prepare(ranges, false, window, filter))
}

/// How rows are grouped, as CouchDB reads it.
fn grouping(query: &ViewQuery) -> Result<Grouping, Refusal> {
    Ok(match (query.group, query.group_level) {
        (Some(true), None) => Grouping::Exact,
        // Keys that are named are grouped one by one, as CouchDB demands; one alone is a range.
        (_, _) if query.keys.as_deref().is_some_and(|keys| !is_one(keys)) => {
            return Err(Refusal::BadQuery(
                "Multi-key fetches for reduce views must use `group=true`".to_owned(),
            ));
        }
        (_, Some(0)) => Grouping::None,
        (_, Some(level)) => Grouping::Level(usize::try_from(level).unwrap_or(usize::MAX)),
        (Some(false) | None, None) => Grouping::None,
    })
}

fn is_of_partition(context: &Context) -> bool {
    matches!(
        &context.permit.route().call,
        Call::Database {
            call: DatabaseCall::PartitionView { .. },
            ..
        }
    )
}

fn is_one(keys: &str) -> bool {
    let keys = Value::parse(keys.as_bytes());
    keys.is_ok_and(|keys| keys.as_array().is_some_and(|keys| keys.len() == 1))
}

/// How the rows of a view are shown.
#[derive(Debug)]
pub(crate) struct ViewRows {
    /// Which rows may be seen, and what of them.
    pub(crate) lens: ViewLens,
    /// Whether the client asked for `include_docs`.
    pub(crate) docs: bool,
}

impl RowFilter for ViewRows {
    fn row(
        &mut self,
        row: json::Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let parts = ListRow::read(row)?;
        let (Some(id), Some(key), Some(value)) = (parts.id, parts.key, &parts.value) else {
            return Err(JsonError::Expected("a row of a view"));
        };
        if parts.error {
            return Err(JsonError::ErrorInside);
        }
        let name = string(id)?;
        let key_read = cache.parse(key)?;
        let value_read = if self.lens.needs_value() {
            cache.parse(value.value)?
        } else {
            Counted::free(Value::Null)
        };
        let mut row_read = policy::Row {
            id: Some(&name),
            key: &key_read,
            value: &value_read,
            doc: None,
        };
        let fields = match self.lens.needs_document() {
            Needs::Nothing | Needs::Id => {
                let source = self.lens.source(Some(&name), None);
                self.lens.judge(&row_read, &source)
            }
            Needs::Document => match cache.look(RevisionRef::Winner(name.clone().into_owned())) {
                Lookup::Pending => return Ok(RowOutcome::Pending),
                Lookup::Absent => return Ok(RowOutcome::Hidden),
                Lookup::Found(stored) => {
                    row_read.doc = Some(&stored.document);
                    let source = stored.source(|doc| self.lens.source(Some(&name), Some(doc)));
                    self.lens.judge(&row_read, source)
                }
            },
        };
        let Some(fields) = fields else {
            return Ok(RowOutcome::Hidden);
        };
        let mark = out.len();
        for (label, bytes) in [(&b"{\"id\":"[..], id), (b",\"key\":", key)] {
            out.extend_from_slice(label);
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(b",\"value\":");
        row.cut(value, &fields, Kind::Plain, out)?;
        if self.docs {
            out.extend_from_slice(b",\"doc\":");
            let doc = parts.doc.as_ref().map(|doc| Piece::Member(row, doc));
            if self.doc(doc, &fields, cache, out)? == RowOutcome::Pending {
                out.truncate(mark);
                return Ok(RowOutcome::Pending);
            }
        }
        out.push(b'}');
        Ok(RowOutcome::Shown)
    }

    fn documents(&self) -> Option<&Lens> {
        Some(self.lens.documents())
    }

    fn rows_share_documents(&self) -> bool {
        true
    }

    fn is_of_two_moments(&self) -> bool {
        self.lens.needs_document() == Needs::Document
    }

    fn is_more_than_a_document(&self) -> bool {
        true
    }

    fn source(&self, row: json::Row<'_>, cache: &mut RevisionCache) -> Result<String, JsonError> {
        let id = member(row, "id")?;
        cache.look(RevisionRef::Winner(id.clone()));
        Ok(id)
    }
}

impl ViewRows {
    /// The document of a row, its own or a linked one: as `read` shows it, less what the view's rules hide.
    fn doc(
        &self,
        doc: Option<Piece<'_>>,
        fields: &Fields,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let mut read = Vec::new();
        let seen = match doc {
            Some(doc) => show(self.lens.documents(), doc, cache, &mut read)?,
            None => RowOutcome::Hidden,
        };
        match seen {
            RowOutcome::Shown => fields.cut(&read, Kind::Document, out)?,
            RowOutcome::Hidden => out.extend_from_slice(b"null"),
            RowOutcome::Pending => {}
        }
        Ok(seen)
    }
}
