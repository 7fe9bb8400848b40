//! The pages of `_find`: rows that are hidden take others from the next page, and each answer ends with a bookmark of
//! ours.

use super::bookmark::{Bookmarks, Position};
use super::sort_order::SortOrder;
use crate::exchange::rewrite::Subrequest;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::pages::{LARGEST_PAGE, PageEnd, Pages, SECOND_PAGE};
use crate::json::{JsonError, Object, Row, Value};
use crate::route::{Method, Query};

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
    /// Makes the bookmarks that leave.
    bookmarks: Bookmarks,
}

impl FindPages {
    /// The pages that begin there, if so many documents are needed.
    pub(crate) fn begin(
        (query, parameters): (Object, Query),
        (cursor, bookmarks): (Position, Bookmarks),
        hides: bool,
        needed: u64,
    ) -> Self {
        let most = if hides { MOST_FOUND } else { u64::MAX };
        Self {
            order: SortOrder::of(&query),
            query,
            parameters,
            cursor,
            bookmarks,
            hides,
            new: needed.clamp(1, most),
        }
    }

    /// `limit` of the page that is being read.
    fn rows(&self) -> u64 {
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
    pub(crate) fn ask(&self) -> Subrequest {
        let mut page = Object::new();
        page.insert("limit", self.rows());
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
        Subrequest {
            method: Method::Post,
            query: self.parameters.clone(),
            body: Some(body),
        }
    }
}

impl Pages for FindPages {
    fn next(
        &mut self,
        window: Window,
        _shown: u64,
        end: &PageEnd,
    ) -> Result<Option<Subrequest>, JsonError> {
        let bookmark = end.bookmark().filter(|_| end.rows >= self.rows());
        let Some(bookmark) = bookmark else {
            return Ok(None);
        };
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
        Ok(Some(self.ask()))
    }

    fn size(&self) -> Option<u64> {
        Some(self.rows())
    }

    fn shows_once(&self) -> bool {
        self.hides
    }

    /// A row that stands before the last one was shown then, or passed over.
    fn is_new(&mut self, id: &str, row: Row<'_>) -> Result<bool, JsonError> {
        if self.cursor.has_shown(id) || self.order.goes_back(row.bytes())? {
            return Ok(false);
        }
        self.cursor.note_shown(id);
        Ok(true)
    }

    fn read_to_their_ends(&self) -> bool {
        self.hides
    }

    fn page_again(&self) -> Option<Subrequest> {
        Some(self.ask())
    }

    fn member_behind(&self, passed: u64, end: &PageEnd) -> Option<(&'static str, String)> {
        let whole = passed == end.rows;
        let bookmark = end.bookmark().filter(|_| whole && passed > 0);
        let place = self.place(passed, bookmark);
        Some(("bookmark", self.bookmarks.seal(&place)))
    }
}
