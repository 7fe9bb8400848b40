//! The pages of `_find`: rows that are hidden take others from the next page, and each answer ends with a bookmark of
//! ours.
//!
//! The order of found documents within one answer. A page holds rows of the page before, so a document that was written
//! meanwhile can stand before those that have been shown: it is left out, as CouchDB leaves it out, which goes on behind
//! the last row.

use std::cmp::Ordering;

use super::bookmark::{Bookmarks, Position};
use crate::exchange::rewrite::Subrequest;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::pages::{LARGEST_PAGE, PageEnd, Pages, SECOND_PAGE};
use crate::json::{JsonError, Object, Row, Value};
use crate::policy::{collate, field_steps};
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

/// The fields that a query sorts by, and what they were in the last document that was shown.
#[derive(Debug)]
pub(crate) struct SortOrder {
    fields: Vec<Vec<String>>,
    descending: bool,
    last: Option<Vec<Option<Value>>>,
}

impl SortOrder {
    /// As the query says in `sort`; without it no order is promised.
    pub(crate) fn of(query: &Object) -> Self {
        let sort = query.get("sort").and_then(Value::as_array);
        let mut order = Self {
            fields: Vec::new(),
            descending: false,
            last: None,
        };
        for entry in sort.into_iter().flatten() {
            let (name, way) = match entry.as_object() {
                Some(entry) => match entry.iter().next() {
                    Some((name, way)) => (Some(name), way.as_str()),
                    None => (None, None),
                },
                None => (entry.as_str(), None),
            };
            // CouchDB sorts all fields one way.
            order.descending |= way == Some("desc");
            order
                .fields
                .extend(name.and_then(|name| field_steps(name).ok()));
        }
        order
    }

    /// Does this document stand before the last one that was shown? If not, it is the last one from now on. It is read
    /// only where there is an order.
    pub(crate) fn goes_back(&mut self, document: &[u8]) -> Result<bool, JsonError> {
        if self.fields.is_empty() {
            return Ok(false);
        }
        let document = Value::parse(document)?;
        let value = |steps: &Vec<String>| {
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            document.at(&steps).cloned()
        };
        let values: Vec<Option<Value>> = self.fields.iter().map(value).collect();
        let before = self.last.as_ref().is_some_and(|last| {
            let pairs = self.fields.iter().zip(last.iter().zip(&values));
            let differs = pairs.map(way).find(|way| way.is_none_or(Ordering::is_ne));
            let backwards = match self.descending {
                true => Ordering::Greater,
                false => Ordering::Less,
            };
            differs == Some(Some(backwards))
        });
        if !before {
            self.last = Some(values);
        }
        Ok(before)
    }
}

/// How the last value and this one stand to each other; none where that can't be told: ids are collated in an index, and
/// compared by their bytes in the list of all documents.
fn way(
    (field, (last, value)): (&Vec<String>, (&Option<Value>, &Option<Value>)),
) -> Option<Ordering> {
    let (Some(last), Some(value)) = (last, value) else {
        return None;
    };
    let collated = collate(value, last);
    let bytes = value.as_str().cmp(&last.as_str());
    (*field != ["_id"] || collated == bytes).then_some(collated)
}

#[cfg(test)]
mod tests {
    use super::SortOrder;
    use crate::json::Value;

    #[test]
    fn what_stands_before_the_last_document_goes_back() {
        for (sort, documents, back) in [
            (r#"["n"]"#, [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":2}"#], true),
            (
                r#"["n"]"#,
                [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":3}"#],
                false,
            ),
            (
                r#"[{"n":"desc"}]"#,
                [r#"{"n":"b"}"#, r#"{"n":1}"#, r#"{"n":2}"#],
                true,
            ),
            (
                r#"["a.b","n"]"#,
                [
                    r#"{"n":1}"#,
                    r#"{"a":{"b":1},"n":2}"#,
                    r#"{"a":{"b":1},"n":1}"#,
                ],
                true,
            ),
            (
                r#"["_id"]"#,
                [r#"{"_id":"a"}"#, r#"{"_id":"c"}"#, r#"{"_id":"b"}"#],
                true,
            ),
            (
                r#"["_id"]"#,
                [r#"{"_id":"A"}"#, r#"{"_id":"B"}"#, r#"{"_id":"a"}"#],
                false,
            ),
            ("[]", [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":2}"#], false),
        ] {
            let query = Value::parse(format!(r#"{{"sort":{sort}}}"#).as_bytes()).unwrap();
            let mut order = SortOrder::of(query.as_object().unwrap());
            let [first, second, third] =
                documents.map(|document| order.goes_back(document.as_bytes()).unwrap());
            assert_eq!((first, second, third), (false, false, back), "{sort}");
        }
    }
}
