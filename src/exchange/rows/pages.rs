//! From which requests to CouchDB one answer is made: a pinned view is several ranges, a page whose rows were
//! hidden is filled from the next one, a feed that ends by a clock reads what there is before it waits, a long poll
//! that woke for something hidden goes on waiting.
//!
//! Invariant: every part asks for the same call as the permit; only query and body differ.

use std::collections::VecDeque;
use std::fmt;

use super::cursor::Tail;
use super::frame::Layout;
use super::limit::Window;
use crate::exchange::rewrite::Subrequest;
use crate::json::{Frame, JsonError, Row, Value};
use crate::route::Method;
use crate::route::query::ViewQuery;

/// The largest page that is asked for when earlier pages held too few visible rows.
pub(crate) const LARGEST_PAGE: u64 = 10_000;
/// The smallest page after a first one that did not suffice.
pub(crate) const SECOND_PAGE: u64 = 100;

/// What one upstream answer has told, besides its rows.
#[derive(Debug, Default)]
pub(crate) struct PageEnd {
    /// How many rows it held, hidden ones included.
    pub(crate) rows: u64,
    /// Its last rows, if somebody asked to remember them.
    pub(crate) tail: Option<Tail>,
    /// `bookmark`, as JSON.
    pub(crate) bookmark: Option<Vec<u8>>,
    /// `last_seq`, as JSON.
    pub(crate) last_seq: Option<Vec<u8>>,
}

impl PageEnd {
    /// CouchDB's bookmark behind its last row.
    pub(crate) fn bookmark(&self) -> Option<Value> {
        let bookmark = Value::parse(self.bookmark.as_deref()?).ok()?;
        (bookmark.as_str() != Some("nil")).then_some(bookmark)
    }

    /// Notes a member that stands beside the rows.
    pub(crate) fn note(&mut self, key: &str, value: &[u8]) -> Result<(), JsonError> {
        match key {
            "bookmark" => self.bookmark = Some(value.to_vec()),
            "last_seq" => self.last_seq = Some(value.to_vec()),
            "error" => return Err(JsonError::ErrorInside),
            _ => {}
        }
        Ok(())
    }
}

/// Where the next part of an answer comes from.
pub(crate) trait Pages: fmt::Debug + Send + Sync {
    /// The request after a page that has ended, where more is wanted; none when the answer is complete.
    fn next(
        &mut self,
        window: Window,
        shown: u64,
        end: &PageEnd,
    ) -> Result<Option<Subrequest>, JsonError>;

    /// How many rows the page that is being read can hold at most.
    fn size(&self) -> Option<u64> {
        None
    }

    /// The frame of the page that is being read.
    fn frame(&self, layout: Layout) -> Frame {
        layout.upstream()
    }

    /// Whether the page that is being read waits for what is still to come.
    fn waits(&self) -> bool {
        false
    }

    /// Whether the last rows of each page must be remembered.
    fn remembers_rows(&self) -> bool {
        false
    }

    /// Whether this row stood on the page before.
    fn has_come(&mut self, _row: Row<'_>) -> Result<bool, JsonError> {
        Ok(false)
    }

    /// Whether pages hold rows of those before them that are told apart when they are shown, by [`Self::is_new`].
    fn shows_once(&self) -> bool {
        false
    }

    /// Whether a visible row has not been shown yet; it is from now on.
    fn is_new(&mut self, _id: &str, _row: Row<'_>) -> Result<bool, JsonError> {
        Ok(true)
    }

    /// Whether a page is read to its end although nothing more is wanted: that says where the next one begins.
    fn read_to_their_ends(&self) -> bool {
        false
    }

    /// The range of a view that is being read.
    fn range(&self) -> Option<&ViewQuery> {
        None
    }

    /// How many ranges are still to be asked for.
    fn ranges(&self) -> usize {
        0
    }

    /// The request for the page that is being read, where it can be asked for again as a whole.
    fn page_again(&self) -> Option<Subrequest> {
        None
    }

    /// The member behind the rows, where the client may go on. `passed`: how many rows of the page lie behind the last
    /// one that was looked at.
    fn member_behind(&self, _passed: u64, _end: &PageEnd) -> Option<(&'static str, String)> {
        None
    }
}

/// One upstream answer is the whole.
#[derive(Debug)]
pub(crate) struct OnePage;

impl Pages for OnePage {
    fn next(&mut self, _: Window, _: u64, _: &PageEnd) -> Result<Option<Subrequest>, JsonError> {
        Ok(None)
    }
}

/// A view or a list, range after range, page after page.
#[derive(Debug)]
pub(crate) struct ListPages {
    /// The ranges that have not been asked for yet.
    pub(crate) ranges: VecDeque<ViewQuery>,
    /// The range that is being read.
    pub(crate) current: ViewQuery,
    /// The rows behind which the page that is being read began; none at the begin of a range.
    pub(crate) begun_at: Option<Tail>,
    /// Those of them that may still come.
    overlap: Option<Tail>,
    /// Whether the answer is paged at all: a limit is asked for, and rows are not named by keys.
    pub(crate) paged: bool,
    /// `limit` of the page that is being read.
    pub(crate) size: Option<u64>,
}

impl ListPages {
    /// The first part, and the rest; none where there is no range at all.
    pub(crate) fn begin(
        mut ranges: VecDeque<ViewQuery>,
        paged: bool,
        window: Window,
    ) -> Option<(Subrequest, Self)> {
        let current = ranges.pop_front()?;
        let mut pages = Self {
            ranges,
            current,
            paged,
            size: None,
            begun_at: None,
            overlap: None,
        };
        let part = pages.ask(window.needed());
        Some((part, pages))
    }

    fn ask(&mut self, needed: Option<u64>) -> Subrequest {
        self.size = needed.filter(|_| self.paged).map(|needed| needed.max(1));
        self.overlap.clone_from(&self.begun_at);
        let overlap = self.overlap.as_ref().map_or(0, Tail::rows);
        self.current.limit = self.size.map(|size| size.saturating_add(overlap));
        if self.size.is_some() {
            // The next page goes on behind the last row of this one.
            self.current.sorted = None;
        }
        list_part(&self.current)
    }
}

impl Pages for ListPages {
    fn next(
        &mut self,
        window: Window,
        _shown: u64,
        end: &PageEnd,
    ) -> Result<Option<Subrequest>, JsonError> {
        let full = self.size.filter(|size| end.rows >= *size);
        if let (Some(size), Some(tail)) = (full, &end.tail) {
            // One document may emit a key more than once; those rows can only be counted. They are not skipped: by
            // then they may stand elsewhere, and others at their place.
            // (`a_hidden_row_that_moves_between_two_pages_takes_no_other_with_it`)
            let begun = self.begun_at.take();
            let earlier = begun.filter(|begun| tail.rows() == end.rows && begun.is_like(tail));
            self.current.endkey = self.current.endkey.take().or(self.current.key.take());
            self.current.startkey = Some(tail.key());
            self.current.startkey_docid = Some(tail.id()?);
            let earlier = earlier.as_ref().map_or(0, Tail::rows);
            self.begun_at = Some(tail.clone().and_before(earlier));
            let size = size.saturating_mul(2).clamp(SECOND_PAGE, LARGEST_PAGE);
            return Ok(Some(self.ask(Some(size))));
        }
        let Some(range) = self.ranges.pop_front() else {
            return Ok(None);
        };
        self.current = range;
        self.begun_at = None;
        Ok(Some(self.ask(window.needed())))
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    fn remembers_rows(&self) -> bool {
        self.size.is_some()
    }

    fn has_come(&mut self, row: Row<'_>) -> Result<bool, JsonError> {
        match &mut self.overlap {
            Some(overlap) => overlap.take(row),
            None => Ok(false),
        }
    }

    fn range(&self) -> Option<&ViewQuery> {
        Some(&self.current)
    }

    fn ranges(&self) -> usize {
        self.ranges.len()
    }
}

/// Keys travel in a body: a query string may be too short for them.
pub(crate) fn list_part(query: &ViewQuery) -> Subrequest {
    let mut query = query.clone();
    match query.keys.take() {
        None => Subrequest {
            method: Method::Get,
            query: query.pairs(),
            body: None,
        },
        Some(keys) => {
            let body = format!("{{\"keys\":{keys}}}").into_bytes();
            Subrequest {
                method: Method::Post,
                query: query.pairs(),
                body: Some(body),
            }
        }
    }
}
