//! `_all_docs`, `_design_docs` and views under a lens, alone or as several `queries`.

use crate::exchange::redact::{Piece, Seen, Sight, judge_wanted, see, see_id, show};
use crate::exchange::revisions::{Known, Wanted};
use crate::exchange::rows::answer::{rows, rows_answer, streamed};
use crate::exchange::rows::filter::RowFilter;
use crate::exchange::rows::list_row::{ListRow, absent};
use crate::exchange::rows::stream::{MOST_HELD, Prepared};
use crate::json::{JsonError, Row, string};
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::design::Designs;
use super::pin;
use super::pin_check;
use super::query as query_of;
use super::reduce::{Grouping, Groups, Reducer};
use super::views::ViewRows;
use crate::body::Cut;
use crate::exchange::answer::Answer;
use crate::exchange::context::Asker;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::multi_query;
use crate::exchange::rows::pages::ListPages;
use crate::exchange::rows::stream::Recipe;
use crate::intake::json_body;
use crate::json::Value;
use crate::policy::{Lens, Needs, ViewLens};
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;
use crate::route::{Call, DatabaseCall, DesignName, FunctionName};

/// `_all_docs` and `_design_docs`: rows judged by their documents.
pub(crate) async fn documents(
    asker: Asker,
    lens: Lens,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let query = asked(&asker, body)?;
    one(Arc::new(asker), prepare_documents(&lens, query)?).await
}

/// The same, several times over.
pub(crate) async fn documents_queries(
    asker: Asker,
    lens: Lens,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let queries = each(&asker, body)?;
    let prepared = queries
        .into_iter()
        .map(|query| prepare_documents(&lens, query));
    let prepared = prepared.collect::<Result<_, _>>()?;
    Box::pin(multi_query::answer(asker, prepared)).await
}

fn prepare_documents(lens: &Lens, mut query: ViewQuery) -> Result<Prepared, Refusal> {
    agree(&query, None)?;
    if !pin::ids_in_order(&query)? {
        return Ok(None);
    }
    let window = take_window(&mut query);
    let docs = query.include_docs;
    // Documents that are read to be judged come without the bytes of their attachments.
    query.attachments &= docs;
    query.include_docs |= lens.needs_document() == Needs::Document;
    let by_keys = query.keys.is_some();
    let filter = DocumentRows {
        lens: lens.clone(),
        docs,
        by_keys,
    };
    Ok(prepare(VecDeque::from([query]), !by_keys, window, filter))
}

/// Which view is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) ddoc: &'a DesignName,
    pub(crate) view: &'a FunctionName,
    pub(crate) designs: &'a Designs,
}

/// A view: narrowed to the caller's pin before CouchDB runs it, every row checked again.
pub(crate) async fn view(
    asker: Asker,
    lens: ViewLens,
    named: Named<'_>,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let query = asked(&asker, body)?;
    let asker = Arc::new(asker);
    let Some((part, recipe)) = prepare_view(&asker, &lens, named, query).await? else {
        return one(asker, None).await;
    };
    if !recipe.filter.adds_up() {
        return rows_answer(asker, part, recipe).await;
    }
    let mut rows = rows(asker, part, recipe).await?;
    // The head waits until what was looked at is what has been added up, and until it is known that it can be.
    let gathered = rows.gather_answer(MOST_HELD).await;
    gathered.map_err(Cut::refusal)?;
    Ok(streamed(rows))
}

/// The same, several times over.
pub(crate) async fn view_queries(
    asker: Asker,
    lens: ViewLens,
    named: Named<'_>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let mut prepared = Vec::new();
    for query in each(&asker, body)? {
        prepared.push(prepare_view(&asker, &lens, named, query).await?);
    }
    multi_query::answer(asker, prepared).await
}

async fn prepare_view(
    asker: &Asker,
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
                .reducer(&asker.couch, &asker.db, (ddoc, view))
                .await?
        }
    };
    agree(&query, reducer)?;
    match reducer {
        Some(reducer) => {
            let inside = query.partition.is_some() || is_of_partition(asker);
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

fn is_of_partition(asker: &Asker) -> bool {
    matches!(
        &asker.permit.route().call,
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

/// Parameters that can't be together, in CouchDB's words. It would say so too, but of several queries only the
/// first is asked before the answer begins.
fn agree(query: &ViewQuery, reducer: Option<Reducer>) -> Result<(), Refusal> {
    let grouped = query.group == Some(true) || query.group_level.is_some_and(|level| level > 0);
    let reason = match reducer {
        None if query.reduce == Some(true) => "Reduce is invalid for map-only views.",
        None if grouped => "Invalid use of grouping on a map view.",
        Some(_) if query.group == Some(false) && grouped => {
            "Can't specify group=false and group_level>0 at the same time"
        }
        Some(_) if query.include_docs => "`include_docs` is invalid for reduce",
        None | Some(_) => return Ok(()),
    };
    Err(Refusal::BadQuery(reason.to_owned()))
}

/// The one query of a request.
pub(crate) fn asked(asker: &Asker, body: Option<Bytes>) -> Result<ViewQuery, Refusal> {
    let body = body.map(|body| json_body::value(&body)).transpose()?;
    query_of::list(&asker.permit.route().query, body.as_ref())
}

/// The several queries of a request.
pub(crate) fn each(asker: &Asker, body: &[u8]) -> Result<Vec<ViewQuery>, Refusal> {
    query_of::lists(&asker.permit.route().query, &json_body::value(body)?)
}

/// `skip` and `limit` are counted on what is shown, so they stay here.
pub(crate) fn take_window(query: &mut ViewQuery) -> Window {
    let window = Window {
        skip: query.skip,
        left: query.limit,
    };
    query.skip = 0;
    query.limit = None;
    window
}

/// What is asked for these ranges, and how it is answered.
pub(crate) fn prepare(
    ranges: VecDeque<ViewQuery>,
    paged: bool,
    window: Window,
    filter: impl RowFilter + 'static,
) -> Prepared {
    let (part, pages) = ListPages::begin(ranges, paged, window)?;
    let recipe = Recipe {
        pages: Box::new(pages),
        filter: Box::new(filter),
        layout: Layout::Rows("rows"),
        window,
        pulse: None,
        lease: None,
    };
    Some((part, recipe))
}

/// The answer to one query.
pub(crate) async fn one(asker: Arc<Asker>, prepared: Prepared) -> Result<Answer, Refusal> {
    match prepared {
        Some((part, recipe)) => rows_answer(asker, part, recipe).await,
        None => Ok(Answer::json(multi_query::NOTHING.to_vec())),
    }
}

/// How the rows of `_all_docs` are shown.
#[derive(Debug)]
pub(crate) struct DocumentRows {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// Whether the client asked for `include_docs`.
    pub(crate) docs: bool,
    /// Whether the client named keys: a hidden document is then answered as an absent one.
    pub(crate) by_keys: bool,
}

impl RowFilter for DocumentRows {
    fn row(
        &mut self,
        row: Row<'_>,
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        let parts = ListRow::read(row)?;
        let Some(key) = parts.key else {
            return Err(JsonError::Expected("a row of this endpoint"));
        };
        // CouchDB makes one text of a key that is a list of texts, and finds the document.
        let is_id = parts.id.is_some_and(|id| id.starts_with(b"\""));
        let (false, true, Some(id), Some(value)) = (parts.error, is_id, parts.id, parts.value)
        else {
            absent(key, out);
            return Ok(Seen::Shown);
        };
        let name = string(id)?;
        let mark = out.len();
        for (label, bytes) in [
            (&b"{\"id\":"[..], id),
            (b",\"key\":", key),
            (b",\"value\":", value.value),
        ] {
            out.extend_from_slice(label);
            out.extend_from_slice(bytes);
        }
        let seen = match (&parts.doc, self.docs) {
            (Some(doc), true) => {
                out.extend_from_slice(b",\"doc\":");
                show(&self.lens, Piece::Member(row, doc), known, out)?
            }
            (Some(doc), false) => as_seen(&see(&self.lens, &name, doc.value, known)?),
            (None, docs) => {
                if docs {
                    out.extend_from_slice(b",\"doc\":null");
                }
                as_seen(&self.see(&name, value.value, known)?)
            }
        };
        match seen {
            Seen::Shown => out.push(b'}'),
            Seen::Later => out.truncate(mark),
            Seen::Hidden => {
                out.truncate(mark);
                if self.by_keys {
                    absent(key, out);
                    return Ok(Seen::Shown);
                }
            }
        }
        Ok(seen)
    }

    fn documents(&self) -> Option<&Lens> {
        Some(&self.lens)
    }

    fn is_more_than_a_document(&self) -> bool {
        true
    }
}

impl DocumentRows {
    /// Judges a document that is not in the row.
    ///
    /// Security: by the revision that the row names; the winner may be another one by now.
    /// (`a_row_of_a_tombstone_is_judged_by_that_tombstone`)
    fn see(&self, id: &str, value: &[u8], known: &mut Known) -> Result<Sight, JsonError> {
        match self.lens.needs_document() {
            Needs::Nothing | Needs::Id => Ok(see_id(&self.lens, id)),
            Needs::Document => {
                let value = Value::parse(value)?;
                let rev = value.get("rev").and_then(Value::as_str);
                let rev = rev.ok_or(JsonError::Expected("the revision of a row"))?;
                let wanted = Wanted::Revision(id.to_owned(), rev.to_owned());
                Ok(judge_wanted(&self.lens, id, &wanted, known))
            }
        }
    }
}

fn as_seen(sight: &Sight) -> Seen {
    match sight {
        Sight::Visible(_) => Seen::Shown,
        Sight::Invisible => Seen::Hidden,
        Sight::Later => Seen::Later,
    }
}
