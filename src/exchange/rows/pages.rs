//! From which requests to CouchDB one answer is made: a pinned view is several ranges, a page whose rows were
//! hidden is filled from the next one, a feed that ends by a clock reads what there is before it waits, a long poll
//! that woke for something hidden goes on waiting.
//!
//! Invariant: every part asks for the same call as the permit; only query and body differ.

use std::collections::VecDeque;

use super::cursor::Tail;
use super::frame::Layout;
use super::limit::Window;
use super::sort_order::SortOrder;
use crate::exchange::read::bookmark::Position;
use crate::json::{Frame, JsonError, Object, Value};
use crate::route::query::{ChangesQuery, Feed, Heartbeat, ViewQuery};
use crate::route::{Method, Query};

/// The largest page that is asked for when earlier pages held too few visible rows.
const LARGEST_PAGE: u64 = 10_000;
/// The smallest page after a first one that did not suffice.
const SECOND_PAGE: u64 = 100;
/// The smallest page of `_changes`, at first and after one that did not suffice.
const FIRST_CHANGES: u64 = 100;
const NEXT_CHANGES: u64 = 500;

/// One request to CouchDB: what differs from the client's own.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) body: Option<Vec<u8>>,
}

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
#[derive(Debug)]
pub(crate) enum Pages {
    /// One upstream answer is the whole.
    Single,
    /// A view or a list of documents.
    Lists(ListPages),
    /// `_find`.
    Find(FindPages),
    /// `_changes`.
    Changes(ChangesPages),
}

impl Pages {
    /// Whether the last rows of each page must be remembered.
    pub(crate) fn remembers_rows(&self) -> bool {
        match self {
            Self::Lists(pages) => pages.size.is_some(),
            Self::Single | Self::Find(_) | Self::Changes(_) => false,
        }
    }

    /// The request after a page that has ended; none when the answer is complete.
    pub(crate) fn next(
        &mut self,
        window: Window,
        shown: u64,
        end: &PageEnd,
    ) -> Result<Option<Part>, JsonError> {
        if window.is_full() {
            return Ok(None);
        }
        match self {
            Self::Single => Ok(None),
            Self::Lists(pages) => pages.next(window, end),
            Self::Find(pages) => Ok(pages.next(window, end)),
            Self::Changes(pages) => pages.next(window, shown, end),
        }
    }

    /// The frame of the page that is being read.
    pub(crate) fn frame(&self, layout: Layout) -> Frame {
        match self {
            Self::Changes(pages) if pages.phase == Phase::CatchingUp => {
                Layout::Rows("results").upstream()
            }
            Self::Single | Self::Lists(_) | Self::Find(_) | Self::Changes(_) => layout.upstream(),
        }
    }

    /// Whether the page that is being read waits for what is still to come.
    pub(crate) fn waits(&self) -> bool {
        match self {
            Self::Single | Self::Lists(_) | Self::Find(_) => false,
            Self::Changes(pages) => pages.phase == Phase::Waiting,
        }
    }

    /// The rows at the begin of the page that is being read which stood on the page before.
    pub(crate) fn overlap(&mut self) -> Option<&mut Tail> {
        match self {
            Self::Lists(pages) => pages.overlap.as_mut(),
            Self::Single | Self::Find(_) | Self::Changes(_) => None,
        }
    }

    /// What was shown of the rows that come, where pages hold rows of those before them.
    pub(crate) fn cursor(&mut self) -> Option<(&mut Position, &mut SortOrder)> {
        match self {
            Self::Find(pages) => pages.hides.then_some((&mut pages.cursor, &mut pages.order)),
            Self::Single | Self::Lists(_) | Self::Changes(_) => None,
        }
    }

    /// Whether a page is read to its end although nothing more is wanted: that says where the next one begins.
    pub(crate) fn read_to_their_ends(&self) -> bool {
        match self {
            Self::Find(pages) => pages.hides,
            Self::Single | Self::Lists(_) | Self::Changes(_) => false,
        }
    }

    /// The range of a view that is being read.
    pub(crate) fn range(&self) -> Option<&ViewQuery> {
        match self {
            Self::Lists(pages) => Some(&pages.current),
            Self::Single | Self::Find(_) | Self::Changes(_) => None,
        }
    }

    /// How many ranges are still to be asked for.
    pub(crate) fn ranges(&self) -> usize {
        match self {
            Self::Lists(pages) => pages.ranges.len(),
            Self::Single | Self::Find(_) | Self::Changes(_) => 0,
        }
    }

    /// How many rows the page that is being read can hold at most.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Single => None,
            Self::Lists(pages) => pages.size,
            Self::Find(pages) => Some(pages.size()),
            Self::Changes(pages) => pages.size,
        }
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
    ) -> Option<(Part, Self)> {
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

    fn ask(&mut self, needed: Option<u64>) -> Part {
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

    fn next(&mut self, window: Window, end: &PageEnd) -> Result<Option<Part>, JsonError> {
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
}

/// Keys travel in a body: a query string may be too short for them.
pub(crate) fn list_part(query: &ViewQuery) -> Part {
    let mut query = query.clone();
    match query.keys.take() {
        None => Part {
            method: Method::Get,
            query: query.pairs(),
            body: None,
        },
        Some(keys) => {
            let body = format!("{{\"keys\":{keys}}}").into_bytes();
            Part {
                method: Method::Post,
                query: query.pairs(),
                body: Some(body),
            }
        }
    }
}

/// The most rows of a page of found documents that have not been looked at, where rows may be hidden.
const MOST_FOUND: u64 = 64;

/// `_find`, page after page by CouchDB's bookmarks.
#[derive(Debug)]
pub(crate) struct FindPages {
    /// The query without `limit`, `skip` and `bookmark`.
    pub(crate) query: Object,
    /// What stands in the query string.
    pub(crate) parameters: Query,
    /// Where the page that is being read begins, and what has been looked at behind that before.
    pub(crate) cursor: Position,
    /// Whether rows may be hidden: pages then begin before the place to go on from.
    pub(crate) hides: bool,
    /// How many rows are new of the page that is being read.
    pub(crate) new: u64,
    /// In which order documents are shown.
    order: SortOrder,
}

impl FindPages {
    /// The pages that begin there, if so many documents are needed.
    pub(crate) fn begin(
        (query, parameters): (Object, Query),
        cursor: Position,
        hides: bool,
        needed: u64,
    ) -> Self {
        let most = if hides { MOST_FOUND } else { u64::MAX };
        Self {
            order: SortOrder::of(&query),
            query,
            parameters,
            cursor,
            hides,
            new: needed.clamp(1, most),
        }
    }

    /// `limit` of the page that is being read.
    fn size(&self) -> u64 {
        match self.hides {
            true => self.new.saturating_add(self.cursor.rows),
            false => self.new,
        }
    }

    /// The place to go on from, after so many rows of this page, which has ended there if its bookmark is known.
    pub(crate) fn place(&self, passed: u64, bookmark: Option<Value>) -> Position {
        let mut place = self.cursor.clone();
        match (self.hides, bookmark) {
            (false, _) => place.rows = place.rows.saturating_add(passed),
            (true, Some(bookmark)) => place.reach(bookmark, passed),
            (true, None) => place.rows = place.rows.max(passed),
        }
        place
    }

    /// The request for the page that begins where this value says.
    pub(crate) fn ask(&self) -> Part {
        let mut page = Object::new();
        page.insert("limit", self.size());
        page.insert("skip", if self.hides { 0 } else { self.cursor.rows });
        if !self.cursor.begin.is_null() {
            page.insert("bookmark", self.cursor.begin.clone());
        }
        // A query may be long, so it is not copied but written in front of these.
        let mut body = Vec::new();
        self.query.write(&mut body);
        body.pop();
        if !self.query.is_empty() {
            body.push(b',');
        }
        let mut rest = Vec::new();
        page.write(&mut rest);
        body.extend(rest.into_iter().skip(1));
        Part {
            method: Method::Post,
            query: self.parameters.clone(),
            body: Some(body),
        }
    }

    fn next(&mut self, window: Window, end: &PageEnd) -> Option<Part> {
        let bookmark = end.bookmark().filter(|_| end.rows >= self.size())?;
        let needed = window.needed().unwrap_or(SECOND_PAGE).max(1);
        let double = self.new.saturating_mul(2);
        match self.hides {
            true => {
                self.cursor.reach(bookmark, end.rows);
                self.new = double.clamp(needed.min(MOST_FOUND), MOST_FOUND);
            }
            false => {
                self.cursor.leap(bookmark);
                self.new = double.clamp(needed, LARGEST_PAGE.max(needed));
            }
        }
        Some(self.ask())
    }
}

/// `_changes`: what there is, page by page, and then what is still to come.
///
/// Invariant: CouchDB never ends a page that waits but for a row: its clock begins anew at rows that nobody sees.
#[derive(Debug)]
pub(crate) struct ChangesPages {
    /// The query of the page that is being read.
    query: ChangesQuery,
    /// The body of the client's POST, checked.
    body: Option<Vec<u8>>,
    /// What the client asked for.
    feed: Feed,
    phase: Phase,
    /// How often CouchDB shows that it is alive while it waits.
    heartbeat: Heartbeat,
    /// `limit` of the page that is being read.
    size: Option<u64>,
    /// How many rows the pages before that one held, hidden ones included.
    read: u64,
}

/// What a page of `_changes` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What there is: it ends by itself.
    CatchingUp,
    /// What is still to come, too.
    Waiting,
}

impl ChangesPages {
    /// The pages for a client's query. A feed that ends by a clock must know when it begins to wait; one with a
    /// heartbeat need not.
    pub(crate) fn new(query: ChangesQuery, body: Option<Vec<u8>>, heartbeat: Heartbeat) -> Self {
        let feed = query.feed;
        let ends = query.heartbeat.is_none() || feed == Feed::Normal || query.descending;
        // Only a page that ends by itself can be filled from the next one; a feed without end is cut here.
        let paged = matches!(feed, Feed::Normal | Feed::Longpoll) && !query.descending;
        // Where rows may be hidden, more than a client asks for by a small limit.
        let size = query.limit.filter(|_| paged);
        Self {
            query,
            body,
            feed,
            phase: match ends {
                true => Phase::CatchingUp,
                false => Phase::Waiting,
            },
            heartbeat,
            size: size.map(|limit| limit.max(FIRST_CHANGES)),
            read: 0,
        }
    }

    /// The same of a feed that has caught up.
    #[cfg(test)]
    pub(crate) fn waiting(query: ChangesQuery, heartbeat: Heartbeat) -> Self {
        Self {
            phase: Phase::Waiting,
            ..Self::new(query, None, heartbeat)
        }
    }

    /// The request for the page that begins where the query says.
    pub(crate) fn ask(&mut self) -> Part {
        self.query.limit = self.size;
        self.query.timeout = None;
        (self.query.feed, self.query.heartbeat) = match self.phase {
            Phase::CatchingUp => (Feed::Normal, None),
            Phase::Waiting => (self.feed, Some(self.heartbeat)),
        };
        let method = if self.body.is_some() {
            Method::Post
        } else {
            Method::Get
        };
        Part {
            method,
            query: self.query.pairs(),
            body: self.body.clone(),
        }
    }

    fn next(
        &mut self,
        window: Window,
        shown: u64,
        end: &PageEnd,
    ) -> Result<Option<Part>, JsonError> {
        let page_was_full = self.size.is_some_and(|size| end.rows >= size);
        let has_told = self.feed == Feed::Longpoll && shown > 0;
        let waits = self.feed != Feed::Normal && !self.query.descending && !has_told;
        let goes_on = match self.phase {
            Phase::CatchingUp => waits,
            Phase::Waiting => waits && end.rows > 0,
        };
        let last_seq = end.last_seq.as_deref();
        let Some(last_seq) = last_seq.filter(|_| page_was_full || goes_on) else {
            return Ok(None);
        };
        self.phase = match (self.phase, page_was_full) {
            // What has something to tell waits for nothing more.
            _ if has_told => Phase::CatchingUp,
            (Phase::CatchingUp, true) => Phase::CatchingUp,
            (Phase::CatchingUp, false) | (Phase::Waiting, _) => Phase::Waiting,
        };
        self.query.since = Some(sequence(last_seq)?);
        self.read = self.read.saturating_add(end.rows);
        if let (Some(_), Some(needed)) = (self.size, window.needed()) {
            self.size = Some(enough(needed, self.read, shown));
        }
        Ok(Some(self.ask()))
    }
}

/// How large a page of `_changes` must be to hold the rows that are still needed, if as many of them are
/// visible as of those that have been read. A quarter is added, so that the next one is seldom needed.
fn enough(needed: u64, read: u64, shown: u64) -> u64 {
    let expected = needed.saturating_mul(read) / shown.max(1);
    let size = expected.saturating_add(expected / 4);
    size.clamp(NEXT_CHANGES, LARGEST_PAGE).max(needed)
}

/// A sequence as the text that `since` takes.
fn sequence(json: &[u8]) -> Result<String, JsonError> {
    let sequence = Value::parse(json)?;
    Ok(sequence
        .as_str()
        .map_or_else(|| sequence.to_string(), str::to_owned))
}
