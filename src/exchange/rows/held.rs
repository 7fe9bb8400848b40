//! Rows that wait, and what becomes of those whose documents have changed since CouchDB wrote them.
//!
//! Where rows and documents are of two moments, all rows of a batch wait: their documents are read, then what has
//! changed since the rows were asked for, and what has changed is asked for again.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::again;
use super::again::{Means, RowPlace};
use super::cursor::Tail;
use super::filter::{RowFilter, broken};
use super::list_row::ListRow;
use super::meanwhile::{Meanwhile, Moment};
use super::pages::{PageEnd, Pages};
use super::reply::{Arrived, Reply};
use crate::body::Cut;
use crate::exchange::context::Context;
use crate::exchange::redact::RowOutcome;
use crate::exchange::revisions::RevisionCache;
use crate::json::{JsonError, Row, Splitter, members, string};
use crate::route::query::ViewQuery;

/// How many bytes of rows are judged together, and how long they wait for more.
const BATCH: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_millis(3);
/// Documents that are found are judged page by page, if that is not longer.
const PAGE: usize = 1024 * 1024;
const PATIENCE_OF_PAGE: Duration = Duration::from_secs(1);
/// How often a page is asked for again.
const ATTEMPTS: usize = 4;

/// A row that waits.
#[derive(Debug)]
pub(crate) struct Held {
    /// None, if it has been left out.
    pub(crate) row: Option<Vec<u8>>,
    /// How many rows of CouchDB's page it stands for.
    pub(crate) stands_for: u64,
    /// The document that it is judged by, where that is watched.
    id: String,
    /// When it was asked for.
    asked: Moment,
    /// How many rows with its key and its document stand before it.
    before: u64,
}

impl Held {
    pub(crate) fn row(row: Row<'_>) -> Self {
        Self {
            row: Some(row.bytes().to_vec()),
            stands_for: 1,
            id: String::new(),
            asked: Moment::default(),
            before: 0,
        }
    }
}

/// What is known of the moments of rows.
#[derive(Debug)]
pub(crate) struct Watch {
    meanwhile: Meanwhile,
    /// When the page was asked for that is being read.
    asked: Moment,
    /// The last rows with one key and one document.
    tail: Option<Tail>,
}

impl Watch {
    pub(crate) fn new(meanwhile: Meanwhile) -> Self {
        Self {
            asked: meanwhile.now(),
            meanwhile,
            tail: None,
        }
    }

    /// A row waits, and so does its document where the row does not hold it.
    pub(crate) fn hold(
        &mut self,
        row: Row<'_>,
        filter: &dyn RowFilter,
        cache: &mut RevisionCache,
    ) -> Result<Held, JsonError> {
        let id = filter.source(row, cache)?;
        if filter.is_more_than_a_document() {
            self.tail = Tail::with(self.tail.take(), row)?;
        }
        let rows = self.tail.as_ref().map_or(1, Tail::rows);
        Ok(Held {
            id,
            asked: self.asked,
            before: rows.saturating_sub(1),
            ..Held::row(row)
        })
    }

    /// The next page is asked for.
    pub(crate) fn turn(&mut self) {
        self.asked = self.meanwhile.now();
    }
}

/// The rows that wait, with all that they are judged by.
pub(crate) struct Waiting<'a> {
    pub(crate) context: &'a Context,
    pub(crate) filter: &'a mut dyn RowFilter,
    pub(crate) cache: &'a mut RevisionCache,
    pub(crate) held: &'a mut Vec<Held>,
    pub(crate) pages: &'a dyn Pages,
    /// Whether they are all rows of their page.
    pub(crate) are_whole_page: bool,
    pub(crate) end: &'a mut PageEnd,
}

/// Waits a moment for more rows: each batch costs CouchDB two requests.
pub(crate) async fn gather(
    pages: &dyn Pages,
    is_watched: bool,
    reply: &mut Reply,
    splitter: &mut Splitter,
    mut bytes: usize,
) -> Result<(), Cut> {
    let (most, patience) = match is_watched && pages.shows_once() {
        true => (PAGE, PATIENCE_OF_PAGE),
        false => (BATCH, PATIENCE),
    };
    let until = Instant::now() + patience;
    while bytes < most {
        match timeout_at(until, reply.next()).await {
            Ok(Ok(Arrived::Data(data))) => {
                bytes = bytes.saturating_add(data.len());
                splitter.push(&data);
            }
            Ok(Ok(Arrived::Head)) => {}
            Ok(Ok(Arrived::End)) => {
                reply.end();
                break;
            }
            Ok(Err(cut)) => return Err(cut),
            Err(_) => break,
        }
    }
    Ok(())
}

impl Watch {
    /// Takes new rows for those whose documents have changed since the page was asked for, or leaves them out.
    pub(crate) async fn renew(&mut self, waiting: Waiting<'_>) -> Result<(), Cut> {
        let Waiting {
            context,
            filter,
            cache,
            held,
            pages,
            are_whole_page,
            end,
        } = waiting;
        let meanwhile = &mut self.meanwhile;
        again::catch_up(context, meanwhile).await?;
        let changed = |held: &Held| meanwhile.has_changed(&held.id, held.asked);
        let any = leave_out_hidden(held, changed, &mut *filter, cache);
        if !any.map_err(|error| broken(&error))? {
            return Ok(());
        }
        let Some(lens) = filter.documents() else {
            return Err(broken(&JsonError::Expected("rows with documents")));
        };
        let means = Means { context, lens };
        if let Some(range) = pages.range() {
            return rows_again(means, range, held, meanwhile, cache).await;
        }
        // Security: where a document stands tells the values that it is sorted by, so it can't be put where its
        // earlier version stood. (`a_found_document_does_not_stand_where_a_hidden_version_stood`)
        if are_whole_page && let Some(part) = pages.page_again() {
            for _ in 0..ATTEMPTS {
                let asked = meanwhile.now();
                let Some(page) = again::page(means, part.clone(), PAGE).await? else {
                    break;
                };
                again::catch_up(context, meanwhile).await?;
                *held = found_again(page.documents, asked).map_err(|error| broken(&error))?;
                *end = page.end;
                if !leave_out(held, meanwhile) {
                    return Ok(());
                }
            }
        }
        leave_out(held, meanwhile);
        Ok(())
    }
}

/// Takes new rows of a view for those that have changed.
async fn rows_again(
    means: Means<'_>,
    query: &ViewQuery,
    held: &mut [Held],
    meanwhile: &mut Meanwhile,
    cache: &mut RevisionCache,
) -> Result<(), Cut> {
    let changed = |held: &Held| meanwhile.has_changed(&held.id, held.asked);
    let places = take_places(held, changed).map_err(|error| broken(&error))?;
    let (ranges, places): (Vec<_>, Vec<_>) = places.into_iter().unzip();
    let found = again::places(means, query, &places, meanwhile, cache).await?;
    for (first, rows) in ranges.into_iter().zip(found) {
        let rows = rows.into_iter().flat_map(|rows| rows.rows);
        for (held, row) in held.iter_mut().skip(first).zip(rows) {
            held.row = Some(row);
        }
    }
    Ok(())
}

/// Leaves out what has changed and is hidden anyway; whether there is more that has changed.
///
/// Security: nothing is asked for again because of what is hidden. (`hidden_documents_are_not_asked_for_again`)
fn leave_out_hidden(
    held: &mut [Held],
    changed: impl Fn(&Held) -> bool,
    filter: &mut dyn RowFilter,
    cache: &mut RevisionCache,
) -> Result<bool, JsonError> {
    let (mut more, mut scratch) = (false, Vec::new());
    for held in held.iter_mut().filter(|held| changed(held)) {
        let Some(row) = &held.row else { continue };
        scratch.clear();
        match filter.row(Row::aside(row), cache, &mut scratch)? {
            RowOutcome::Hidden => held.row = None,
            RowOutcome::Shown | RowOutcome::Pending => more = true,
        }
    }
    Ok(more)
}

/// Leaves out what has changed; whether there was any.
fn leave_out(held: &mut [Held], meanwhile: &Meanwhile) -> bool {
    let mut any = false;
    for held in held {
        if meanwhile.has_changed(&held.id, held.asked) {
            held.row = None;
            any = true;
        }
    }
    any
}

fn found_again(documents: Vec<Option<Vec<u8>>>, asked: Moment) -> Result<Vec<Held>, JsonError> {
    let held = documents.into_iter().map(|row| {
        let id = row.as_deref().map(id_of).transpose()?;
        Ok(Held {
            row,
            stands_for: 1,
            id: id.unwrap_or_default(),
            asked,
            before: 0,
        })
    });
    held.collect()
}

fn id_of(document: &[u8]) -> Result<String, JsonError> {
    for member in members(document) {
        let member = member?;
        if member.key == "_id" {
            return Ok(string(member.value)?.into_owned());
        }
    }
    Err(JsonError::Expected("the id of a document"))
}

/// Leaves changed rows of a view out, and tells where they stood: the index of the first one, and its place.
fn take_places(
    held: &mut [Held],
    changed: impl Fn(&Held) -> bool,
) -> Result<Vec<(usize, RowPlace)>, JsonError> {
    let mut places: Vec<(usize, RowPlace)> = Vec::new();
    for (at, held) in held.iter_mut().enumerate() {
        if !changed(held) {
            continue;
        }
        let Some(row) = held.row.take() else { continue };
        let key = ListRow::read(Row::aside(&row))?.key.unwrap_or_default();
        let key = String::from_utf8_lossy(key).into_owned();
        if let Some((first, place)) = places.last_mut()
            && place.id == held.id
            && held.before > 0
            && place.before.saturating_add(place.count) == held.before
            && usize::try_from(place.count).is_ok_and(|count| first.saturating_add(count) == at)
        {
            place.count = place.count.saturating_add(1);
            continue;
        }
        let place = RowPlace {
            id: held.id.clone(),
            key,
            before: held.before,
            count: 1,
        };
        places.push((at, place));
    }
    Ok(places)
}
