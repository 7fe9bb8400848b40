//! One row of an answer, judged and written: the closed list of row shapes that CouchDB streams.
//!
//! Invariant: a judge writes a whole row or nothing. What it does not understand is an error, and an
//! error cuts the connection.

use super::revisions::{Known, Wanted};
use crate::exchange::gaps::LeftOut;
use crate::exchange::read::bookmark::Bookmarks;
use crate::exchange::read::change_rows::ChangeRows;
use crate::exchange::read::local::LocalRows;
use crate::exchange::read::open_revs::OpenRevs;
use crate::exchange::read::project::Projection;
use crate::exchange::read::reduce::{Groups, Reducer};
use crate::exchange::read::views::ViewRows;
use crate::exchange::redact::{Piece, Seen, Sight, judge_wanted, see, see_id, show};
use crate::json::{JsonError, Member, Row, Value, elements, members, string};
use crate::policy::{Fingerprint, Lens, Needs, ViewLens};

/// Judges and writes the rows of one answer.
#[derive(Debug)]
pub(crate) enum Judge {
    /// `_all_docs` and its sisters.
    Documents(DocumentRows),
    /// `_local_docs`.
    Locals(LocalRows),
    /// A view without reduce.
    View(ViewRows),
    /// A view with reduce: rows are combined before they are written.
    Reduce(Groups),
    /// `_changes`.
    Changes(ChangeRows),
    /// `_find`.
    Find(FindRows),
    /// `_bulk_get`.
    BulkGet(BulkRows),
    /// `open_revs`.
    OpenRevs(OpenRevs),
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

/// How the rows of `_bulk_get` are shown.
#[derive(Debug)]
pub(crate) struct BulkRows {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// What was asked for and is not given.
    pub(crate) left_out: LeftOut,
}

/// How the rows of `_find` are shown.
#[derive(Debug)]
pub(crate) struct FindRows {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// The `fields` of the query.
    pub(crate) fields: Option<Projection>,
    /// Makes the bookmarks that leave.
    pub(crate) bookmarks: Bookmarks,
}

impl Judge {
    /// Judges one row and writes what may be seen of it.
    pub(crate) fn row(
        &mut self,
        row: Row<'_>,
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        match self {
            Self::Documents(rows) => rows.row(row, known, out),
            Self::Locals(rows) => rows.row(row, out),
            Self::View(rows) => rows.row(row, known, out),
            Self::Reduce(groups) => groups.row(row.bytes(), out),
            Self::Changes(rows) => rows.row(row.bytes(), known, out),
            Self::Find(rows) => rows.row(row, known, out),
            Self::BulkGet(rows) => rows.row(row, known, out),
            Self::OpenRevs(leaves) => leaves.row(row, known, out),
        }
    }

    /// Through what the documents of its rows are seen; none where rows hold none.
    pub(crate) fn documents(&self) -> Option<&Lens> {
        match self {
            Self::Documents(rows) => Some(&rows.lens),
            Self::View(rows) => Some(rows.lens.documents()),
            Self::Changes(rows) if rows.with_docs => Some(&rows.docs),
            Self::Changes(rows) => Some(&rows.rows),
            Self::Find(rows) => Some(&rows.lens),
            Self::BulkGet(rows) => Some(&rows.lens),
            Self::OpenRevs(leaves) => Some(&leaves.lens),
            Self::Locals(_) | Self::Reduce(_) => None,
        }
    }

    /// Whether rows that follow each other may come from one document, as it was when the page began.
    pub(crate) fn rows_share_documents(&self) -> bool {
        match self {
            Self::View(_) => true,
            // Of a feed, the next row of a document tells of its next revision.
            Self::Changes(_)
            | Self::Documents(_)
            | Self::Locals(_)
            | Self::Reduce(_)
            | Self::Find(_)
            | Self::BulkGet(_)
            | Self::OpenRevs(_) => false,
        }
    }

    /// Whether the index that rows come from may have seen another version than the one that they are judged by.
    pub(crate) fn is_of_two_moments(&self) -> bool {
        match self {
            Self::View(rows) => rows.lens.needs_document() == Needs::Document,
            Self::Find(rows) => rows.lens.needs_document() == Needs::Document,
            // Each row is judged by the revision that it names, or by no document at all.
            Self::Documents(_)
            | Self::Locals(_)
            | Self::Reduce(_)
            | Self::Changes(_)
            | Self::BulkGet(_)
            | Self::OpenRevs(_) => false,
        }
    }

    /// Whether rows are added up.
    pub(crate) fn adds_up(&self) -> bool {
        matches!(self, Self::Reduce(_))
    }

    /// The pin in which all rows must be that CouchDB adds up; none where it adds nothing up that is shown.
    pub(crate) fn sums_inside(&self) -> Option<&ViewLens> {
        match self {
            Self::Reduce(groups) if groups.reducer == Reducer::Other => Some(&groups.lens),
            Self::Reduce(_)
            | Self::View(_)
            | Self::Find(_)
            | Self::Documents(_)
            | Self::Locals(_)
            | Self::Changes(_)
            | Self::BulkGet(_)
            | Self::OpenRevs(_) => None,
        }
    }

    /// The id of the document that such a row is judged by, which is noted as wanted where the row does not hold it.
    pub(crate) fn source(&self, row: Row<'_>, known: &mut Known) -> Result<String, JsonError> {
        let name = match self {
            Self::Find(_) => "_id",
            Self::View(_)
            | Self::Documents(_)
            | Self::Locals(_)
            | Self::Reduce(_)
            | Self::Changes(_)
            | Self::BulkGet(_)
            | Self::OpenRevs(_) => "id",
        };
        for member in row.members() {
            let member = member?;
            if member.key == name {
                let id = string(member.value)?.into_owned();
                if let Self::View(_) = self {
                    known.look(Wanted::Winner(id.clone()));
                }
                return Ok(id);
            }
        }
        Err(JsonError::Expected("the id of a row"))
    }

    /// Whether a row says something without its document.
    pub(crate) fn is_more_than_a_document(&self) -> bool {
        match self {
            Self::Documents(_) | Self::View(_) | Self::Changes(_) | Self::BulkGet(_) => true,
            Self::Find(_) | Self::OpenRevs(_) | Self::Locals(_) | Self::Reduce(_) => false,
        }
    }

    /// A page of CouchDB's begins.
    pub(crate) fn begin(&mut self) {
        if let Self::Reduce(groups) = self {
            groups.begin();
        }
    }

    /// The sequence to go on from, as CouchDB wrote it: of the row that was last looked at, or where the feed
    /// began.
    pub(crate) fn place(&self) -> Option<&Vec<u8>> {
        self.changes().and_then(|rows| rows.last.as_ref())
    }

    /// All rows up to this sequence have been looked at.
    pub(crate) fn reach(&mut self, sequence: Option<Vec<u8>>) {
        if let (Self::Changes(rows), Some(sequence)) = (self, sequence) {
            rows.last = Some(sequence);
        }
    }

    /// A sequence of CouchDB's for the client.
    pub(crate) fn seal(&self, sequence: &[u8]) -> Option<String> {
        Some(self.changes()?.sequences.seal(sequence))
    }

    fn changes(&self) -> Option<&ChangeRows> {
        match self {
            Self::Changes(rows) => Some(rows),
            Self::Documents(_)
            | Self::Locals(_)
            | Self::View(_)
            | Self::Reduce(_)
            | Self::Find(_)
            | Self::BulkGet(_)
            | Self::OpenRevs(_) => None,
        }
    }

    /// The sequence of the row that was just written, for an event stream.
    pub(crate) fn event_id(&self) -> &str {
        self.changes().map_or("", |rows| &rows.shown)
    }

    /// Under which rights something was left out that was asked for; told once.
    pub(crate) fn gap(&mut self) -> Option<Fingerprint> {
        let (lens, left_out) = match self {
            Self::BulkGet(rows) => (&rows.lens, &mut rows.left_out),
            Self::OpenRevs(leaves) => (&leaves.lens, &mut leaves.left_out),
            Self::Documents(_)
            | Self::Locals(_)
            | Self::View(_)
            | Self::Reduce(_)
            | Self::Changes(_)
            | Self::Find(_) => return None,
        };
        left_out.take().then(|| lens.fingerprint())
    }

    /// Writes the row that was kept back until the rows ended, if there is one.
    pub(crate) fn last(&mut self, out: &mut Vec<u8>) -> Seen {
        match self {
            Self::Reduce(groups) => groups.last(out),
            Self::OpenRevs(leaves) => leaves.last(out),
            Self::Documents(_)
            | Self::Locals(_)
            | Self::View(_)
            | Self::Changes(_)
            | Self::Find(_)
            | Self::BulkGet(_) => Seen::Hidden,
        }
    }
}

/// The members of a row of a view or a list of documents.
#[derive(Debug, Default)]
pub(crate) struct ListRow<'a> {
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<Member<'a>>,
    /// None where there is none, or it is null.
    pub(crate) doc: Option<Member<'a>>,
    pub(crate) error: bool,
}

impl<'a> ListRow<'a> {
    pub(crate) fn read(row: Row<'a>) -> Result<Self, JsonError> {
        let mut parts = Self::default();
        for member in row.members() {
            let member = member?;
            match &*member.key {
                "id" => parts.id = Some(member.value),
                "key" => parts.key = Some(member.value),
                "value" => parts.value = Some(member),
                "doc" => parts.doc = Some(member).filter(|doc| doc.value != b"null"),
                "error" => parts.error = true,
                _ => {}
            }
        }
        Ok(parts)
    }
}

impl DocumentRows {
    fn row(&self, row: Row<'_>, known: &mut Known, out: &mut Vec<u8>) -> Result<Seen, JsonError> {
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

/// The row of a key that no document has.
pub(crate) fn absent(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"key\":");
    out.extend_from_slice(key);
    out.extend_from_slice(b",\"error\":\"not_found\"}");
}

fn as_seen(sight: &Sight) -> Seen {
    match sight {
        Sight::Visible(_) => Seen::Shown,
        Sight::Invisible => Seen::Hidden,
        Sight::Later => Seen::Later,
    }
}

impl FindRows {
    fn row(&self, row: Row<'_>, known: &mut Known, out: &mut Vec<u8>) -> Result<Seen, JsonError> {
        let Some(projection) = &self.fields else {
            return show(&self.lens, Piece::Whole(row.bytes()), known, out);
        };
        let mut whole = Vec::with_capacity(row.bytes().len());
        let seen = show(&self.lens, Piece::Whole(row.bytes()), known, &mut whole)?;
        if seen == Seen::Shown {
            projection.apply(&*known.parse(&whole)?).write(out);
        }
        Ok(seen)
    }
}

impl BulkRows {
    /// `{"id":…,"docs":[{"ok":…},{"error":…}]}`: what is hidden or absent is left out of `docs` alike, because an error
    /// makes PouchDB fail the whole batch. The entry itself stays: CouchDB's replicator lays them beside what it has asked
    /// for (`lists:zipwith` in `couch_replicator_api_wrap:bulk_get`) and fails where one is missing.
    fn row(
        &mut self,
        row: Row<'_>,
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        let (mut id, mut docs) = (None, None);
        for member in row.members() {
            let member = member?;
            match &*member.key {
                "id" => id = Some(member.value),
                "docs" => docs = Some(member.value),
                _ => {}
            }
        }
        let (Some(id), Some(docs)) = (id, docs) else {
            return Err(JsonError::Expected("a row of this endpoint"));
        };
        let mark = out.len();
        out.extend_from_slice(b"{\"id\":");
        out.extend_from_slice(id);
        out.extend_from_slice(b",\"docs\":[");
        let start = out.len();
        let mut later = false;
        for entry in elements(docs) {
            for member in members(entry?) {
                let member = member?;
                if member.key != "ok" {
                    continue;
                }
                let before = out.len();
                out.extend_from_slice(if before > start {
                    b",{\"ok\":"
                } else {
                    b"{\"ok\":"
                });
                match show(&self.lens, Piece::Whole(member.value), known, out)? {
                    Seen::Shown => out.push(b'}'),
                    Seen::Hidden => out.truncate(before),
                    Seen::Later => {
                        out.truncate(before);
                        later = true;
                    }
                }
            }
        }
        if later {
            out.truncate(mark);
            return Ok(Seen::Later);
        }
        if out.len() == start {
            self.left_out.something();
        }
        out.extend_from_slice(b"]}");
        Ok(Seen::Shown)
    }
}
