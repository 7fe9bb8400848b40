//! The pages of `_changes`: a feed that ends by a clock reads what there is before it waits, and a long poll that woke
//! for something hidden goes on waiting.

use crate::exchange::rewrite::Subrequest;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::pages::{LARGEST_PAGE, PageEnd, Pages};
use crate::json::{Frame, JsonError, Value};
use crate::route::Method;
use crate::route::query::{ChangesQuery, Feed, Heartbeat};

/// The smallest page, at first and after one that did not suffice.
const FIRST_CHANGES: u64 = 100;
const NEXT_CHANGES: u64 = 500;

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
    pub(crate) fn ask(&mut self) -> Subrequest {
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
        Subrequest {
            method,
            query: self.query.pairs(),
            body: self.body.clone(),
        }
    }
}

impl Pages for ChangesPages {
    fn next(
        &mut self,
        window: Window,
        shown: u64,
        end: &PageEnd,
    ) -> Result<Option<Subrequest>, JsonError> {
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

    fn size(&self) -> Option<u64> {
        self.size
    }

    fn frame(&self, layout: Layout) -> Frame {
        match self.phase {
            Phase::CatchingUp => Layout::Rows("results").upstream(),
            Phase::Waiting => layout.upstream(),
        }
    }

    fn waits(&self) -> bool {
        self.phase == Phase::Waiting
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
