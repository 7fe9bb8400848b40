//! Bookmarks of `_find`: CouchDB's own names the last row that was looked at, hidden or not, so it leaves only sealed,
//! with what has been looked at behind it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::json::Value;
use crate::secret::Seal;

/// What a bookmark holds of documents that were shown, whether there are so many or not.
const MOST_SHOWN: usize = 160;
/// How many rows stand at least between the bookmark that CouchDB is given and the place to go on from.
const OVERLAP: u64 = 32;

/// A document that was shown, by the hash of its id.
type IdHash = [u8; 8];

/// The place to go on from: a bookmark of CouchDB's, and what has been looked at behind it.
///
/// CouchDB goes on behind the row that a bookmark names by passing over the first row that it finds there. Where that row
/// has gone elsewhere, it passes over another one. So it is given a bookmark of before: the rows that are passed over are
/// of those that have been looked at, and what was shown is known by its id.
/// (`a_hidden_row_that_moves_between_two_pages_takes_no_found_document_with_it`)
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Position {
    /// Null for the beginning.
    pub(crate) begin: Value,
    /// How many rows behind it have been looked at.
    pub(crate) rows: u64,
    /// A later bookmark, once there is one.
    middle: Option<Middle>,
    /// The documents that were shown behind `begin`, or passed over as if they were.
    shown: Vec<IdHash>,
}

/// A bookmark behind that many of these rows, and of these documents.
#[derive(Debug, Clone, PartialEq)]
struct Middle {
    bookmark: Value,
    rows: u64,
    shown: usize,
}

impl Position {
    /// Where nothing has been looked at.
    pub(crate) fn start() -> Self {
        Self {
            begin: Value::Null,
            rows: 0,
            middle: None,
            shown: Vec::new(),
        }
    }

    /// Has this document been shown behind `begin`?
    pub(crate) fn has_shown(&self, id: &str) -> bool {
        !self.shown.is_empty() && self.shown.contains(&id_hash(id))
    }

    pub(crate) fn note_shown(&mut self, id: &str) {
        self.shown.push(id_hash(id));
    }

    /// All rows up to this bookmark, so many behind `begin`, have been looked at.
    pub(crate) fn reach(&mut self, bookmark: Value, rows: u64) {
        self.rows = rows;
        if let Some(middle) = self
            .middle
            .take_if(|middle| rows.saturating_sub(middle.rows) >= OVERLAP)
        {
            self.begin = middle.bookmark;
            self.rows = rows.saturating_sub(middle.rows);
            self.shown.drain(..middle.shown.min(self.shown.len()));
        }
        if self.middle.is_none() {
            self.middle = Some(Middle {
                bookmark,
                rows: self.rows,
                shown: self.shown.len(),
            });
        }
    }

    /// All rows up to this bookmark have been looked at, and none of them was hidden.
    pub(crate) fn leap(&mut self, bookmark: Value) {
        *self = Self {
            begin: bookmark,
            ..Self::start()
        };
    }

    /// Security: as long as that tells nothing. (`two_worlds_that_differ_in_hidden_things_answer_alike`)
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let number =
            |number: usize| u64::try_from(number).map(|number| Value::Number(number.into()));
        let mut place = vec![
            self.begin.clone(),
            Value::Number(self.rows.into()),
            number(self.shown.len()).ok()?,
        ];
        if let Some(middle) = &self.middle {
            place.push(middle.bookmark.clone());
            place.push(Value::Number(middle.rows.into()));
            place.push(number(middle.shown).ok()?);
        }
        let mut bytes = self.shown.concat();
        bytes.resize(bytes.len().max(MOST_SHOWN.saturating_mul(8)), 0);
        let length = u32::try_from(bytes.len()).ok()?.to_be_bytes();
        Some([&length, bytes.as_slice(), &Value::Array(place).to_bytes()].concat())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (marks, place) = rest.split_at_checked(length)?;
        let place = Value::parse(place).ok()?;
        let number = |value: &Value| value.as_number()?.as_u64();
        let count = |value: &Value| usize::try_from(number(value)?).ok();
        let (begin, rows, shown, middle) = match place.as_array()? {
            [begin, rows, shown] => (begin, rows, shown, None),
            [begin, rows, shown, bookmark, at, of] => {
                let middle = Middle {
                    bookmark: bookmark.clone(),
                    rows: number(at)?,
                    shown: count(of)?,
                };
                (begin, rows, shown, Some(middle))
            }
            _ => return None,
        };
        let (marks, _) = marks.as_chunks();
        Some(Self {
            begin: begin.clone(),
            rows: number(rows)?,
            middle,
            shown: marks.get(..count(shown)?)?.to_vec(),
        })
    }
}

fn id_hash(id: &str) -> IdHash {
    let mut mark = [0; 8];
    for (to, from) in mark.iter_mut().zip(digest(&SHA256, id.as_bytes()).as_ref()) {
        *to = *from;
    }
    mark
}

/// Seals and opens bookmarks for one caller, one database and one query.
#[derive(Debug, Clone)]
pub(crate) struct Bookmarks {
    seal: Arc<Seal>,
    context: Vec<u8>,
}

impl Bookmarks {
    /// `query` is what must stay the same from page to page.
    pub(crate) fn new(seal: Arc<Seal>, db: &str, fingerprint: &[u8], query: &[u8]) -> Self {
        let context = [
            b"bookmark 2\0",
            db.as_bytes(),
            b"\0",
            fingerprint,
            b"\0",
            query,
        ]
        .concat();
        Self { seal, context }
    }

    /// A bookmark for the client.
    pub(crate) fn seal(&self, cursor: &Position) -> String {
        let place = cursor.to_bytes().unwrap_or_default();
        self.seal.seal(&self.context, &place)
    }

    /// The place that a client's bookmark stands for; none for one that was not made here for this query.
    pub(crate) fn open(&self, bookmark: &str) -> Option<Position> {
        Position::read(&self.seal.open(&self.context, bookmark)?)
    }
}

#[cfg(test)]
mod tests;
