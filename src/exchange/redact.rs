//! One document, seen through a lens. Every answer that holds documents comes here for each of them.
//!
//! Invariant: a document is shown only after the lens has judged the full stored revision. What a tombstone does not say
//! of that by which rules decide, the body says that it replaced; a bare one is hidden when that is gone.

use super::revisions::{Known, Lookup, Wanted};
use crate::json::{Fields, JsonError, Kind, Member, Row, Value, members, quote, string};
use crate::policy::{Lens, Needs};

/// What became of a document or a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was written out.
    Shown,
    /// The caller may not see it; nothing was written.
    Hidden,
    /// Something must be read first; nothing was written.
    Later,
}

/// The answer of the lens.
#[derive(Debug)]
pub(crate) enum Sight {
    /// Visible, with these fields.
    Visible(Fields),
    /// Not visible.
    Invisible,
    /// Something must be read first.
    Later,
}

/// A document in an answer: a row of its own, or a member of one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// These bytes.
    Whole(&'a [u8]),
    /// The value of a member of a row.
    Member(Row<'a>, &'a Member<'a>),
}

impl<'a> Piece<'a> {
    pub(crate) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Member(_, member) => member.value,
        }
    }

    /// Writes it without what is hidden.
    pub(crate) fn cut(
        &self,
        fields: &Fields,
        kind: Kind,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        match self {
            Self::Whole(bytes) => fields.cut(bytes, kind, out),
            Self::Member(row, member) => row.cut(member, fields, kind, out),
        }
    }
}

/// The members of a document that the filter itself looks at.
struct Outline<'a> {
    id: String,
    /// Whether it names further revisions that can be asked for.
    revisions: bool,
    piece: Piece<'a>,
}

/// What the body of a revision says.
enum Told {
    Visible(Fields),
    Invisible,
    /// Not all by which rules decide: it is a tombstone, of this revision. The body before it may tell the rest.
    Part(Tombstone),
}

/// A tombstone that lacks something by which rules decide.
struct Tombstone {
    rev: String,
    /// It has none but CouchDB's own members.
    bare: bool,
    body: Value,
}

impl Told {
    fn by(lens: &Lens, id: &str, document: &Value) -> Self {
        let deleted = document.get("_deleted").and_then(Value::as_bool) == Some(true);
        let rev = document.get("_rev").and_then(Value::as_str);
        if let Some(rev) = rev.filter(|_| deleted && lens.lacks_of(document)) {
            return Self::Part(Tombstone {
                rev: rev.to_owned(),
                bare: is_bare(document),
                body: document.clone(),
            });
        }
        match lens.judge(id, Some(document)) {
            Some(fields) => Self::Visible(fields.into_owned()),
            None => Self::Invisible,
        }
    }
}

impl Tombstone {
    /// What rules decide by and it does not say is as in the body that it replaced.
    ///
    /// Security: a rule that forbids, or that asks for the absence of a field, says of a body without that field nothing
    /// about what it has ended. (`a_bare_tombstone_of_what_was_forbidden_tells_nothing`)
    fn judge(mut self, lens: &Lens, id: &str, known: &mut Known) -> Sight {
        let said = match known.look(Wanted::Before(id.to_owned(), self.rev)) {
            Lookup::Later => return Sight::Later,
            Lookup::Absent => !self.bare,
            Lookup::Found(before) => {
                lens.complete(&mut self.body, &before.document);
                !(self.bare && is_bare(&before.document))
            }
        };
        match lens.judge(id, said.then_some(&self.body)) {
            Some(fields) => Sight::Visible(fields.into_owned()),
            None => Sight::Invisible,
        }
    }
}

/// Judges one revision whose full body is `document`.
pub(crate) fn judge(lens: &Lens, id: &str, document: &Value, known: &mut Known) -> Sight {
    settle(Told::by(lens, id, document), lens, id, known)
}

fn settle(told: Told, lens: &Lens, id: &str, known: &mut Known) -> Sight {
    match told {
        Told::Visible(fields) => Sight::Visible(fields),
        Told::Invisible => Sight::Invisible,
        Told::Part(tombstone) => tombstone.judge(lens, id, known),
    }
}

/// Judges a revision that is not in the row.
pub(crate) fn judge_wanted(lens: &Lens, id: &str, wanted: &Wanted, known: &mut Known) -> Sight {
    let told = match known.look(wanted.clone()) {
        Lookup::Later => return Sight::Later,
        Lookup::Absent => return Sight::Invisible,
        Lookup::Found(stored) => Told::by(lens, id, &stored.document),
    };
    settle(told, lens, id, known)
}

/// Writes a document as far as the caller may see it.
pub(crate) fn show(
    lens: &Lens,
    piece: Piece<'_>,
    known: &mut Known,
    out: &mut Vec<u8>,
) -> Result<Seen, JsonError> {
    let outline = Outline::read(piece)?;
    match see(lens, &outline.id, piece.bytes(), known)? {
        Sight::Invisible => Ok(Seen::Hidden),
        Sight::Later => {
            outline.note(lens, known)?;
            Ok(Seen::Later)
        }
        Sight::Visible(fields) => outline.write(lens, &fields, known, out),
    }
}

/// Judges a document without writing it.
pub(crate) fn see(
    lens: &Lens,
    id: &str,
    bytes: &[u8],
    known: &mut Known,
) -> Result<Sight, JsonError> {
    Ok(match lens.needs_document() {
        Needs::Nothing | Needs::Id => see_id(lens, id),
        Needs::Document => {
            let document = known.parse(bytes)?;
            judge(lens, id, &document, known)
        }
    })
}

/// Judges by its id a document that is judged by nothing else.
pub(crate) fn see_id(lens: &Lens, id: &str) -> Sight {
    match lens.judge(id, None) {
        Some(fields) => Sight::Visible(fields.into_owned()),
        None => Sight::Invisible,
    }
}

/// Whether a document holds nothing but CouchDB's own members.
pub(crate) fn is_bare(document: &Value) -> bool {
    document
        .as_object()
        .is_some_and(|object| object.iter().all(|(key, _)| key.starts_with('_')))
}

impl<'a> Outline<'a> {
    fn read(piece: Piece<'a>) -> Result<Self, JsonError> {
        let mut outline = Self {
            id: String::new(),
            revisions: false,
            piece,
        };
        for member in members(piece.bytes()) {
            let member = member?;
            match &*member.key {
                "_id" => outline.id = string(member.value)?.into_owned(),
                "_conflicts" | "_deleted_conflicts" | "_revs_info" => outline.revisions = true,
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Notes the revisions that it names, so that they are read at once with what it is itself judged by.
    fn note(&self, lens: &Lens, known: &mut Known) -> Result<(), JsonError> {
        for member in members(self.piece.bytes()) {
            let member = member?;
            match &*member.key {
                "_conflicts" | "_deleted_conflicts" => {
                    self.leaves(lens, member.value, known)?;
                }
                "_revs_info" => {
                    self.history(lens, member.value, known)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Cuts the hidden fields; lists of conflicts are cut to the leaves that may be seen, and of earlier
    /// revisions those that may not be seen are said to be missing.
    fn write(
        &self,
        lens: &Lens,
        fields: &Fields,
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        if !self.revisions {
            self.piece.cut(fields, Kind::Document, out)?;
            return Ok(Seen::Shown);
        }
        let mut cut = Vec::with_capacity(self.piece.bytes().len());
        self.piece.cut(fields, Kind::Document, &mut cut)?;
        let mark = out.len();
        // All that is missing is noted, so that it is read at once.
        let mut later = false;
        out.push(b'{');
        for member in members(&cut) {
            let member = member?;
            let start = out.len();
            if start > mark + 1 {
                out.push(b',');
            }
            quote(&member.key, out);
            out.push(b':');
            match &*member.key {
                "_conflicts" | "_deleted_conflicts" => {
                    match self.leaves(lens, member.value, known)? {
                        Some(leaves) if leaves.is_empty() => out.truncate(start),
                        Some(leaves) => Value::Array(leaves).write(out),
                        None => later = true,
                    }
                }
                "_revs_info" => match self.history(lens, member.value, known)? {
                    Some(history) => history.write(out),
                    None => later = true,
                },
                _ => out.extend_from_slice(member.value),
            }
        }
        if later {
            out.truncate(mark);
            return Ok(Seen::Later);
        }
        out.push(b'}');
        Ok(Seen::Shown)
    }

    /// The statuses of `_revs_info`: a hidden revision is as one whose body is gone. None while one has yet to be
    /// read.
    fn history(
        &self,
        lens: &Lens,
        list: &[u8],
        known: &mut Known,
    ) -> Result<Option<Value>, JsonError> {
        let mut history = Value::parse(list)?;
        let mut later = false;
        let entries = history.as_array_mut().into_iter().flatten();
        for entry in entries.filter_map(Value::as_object_mut) {
            let gone = entry.get("status").and_then(Value::as_str) == Some("missing");
            let Some(rev) = entry.get("rev").and_then(Value::as_str).filter(|_| !gone) else {
                continue;
            };
            let wanted = Wanted::Revision(self.id.clone(), rev.to_owned());
            match judge_wanted(lens, &self.id, &wanted, known) {
                Sight::Visible(_) => {}
                Sight::Invisible => {
                    entry.insert("status", "missing");
                }
                Sight::Later => later = true,
            }
        }
        Ok((!later).then_some(history))
    }

    /// Those of the listed revisions that the caller may see; none while one has yet to be read.
    fn leaves(
        &self,
        lens: &Lens,
        list: &[u8],
        known: &mut Known,
    ) -> Result<Option<Vec<Value>>, JsonError> {
        let Value::Array(revs) = Value::parse(list)? else {
            return Ok(Some(Vec::new()));
        };
        let mut seen = Vec::new();
        let mut later = false;
        for rev in revs {
            let Some(text) = rev.as_str() else { continue };
            let wanted = Wanted::Revision(self.id.clone(), text.to_owned());
            match judge_wanted(lens, &self.id, &wanted, known) {
                Sight::Visible(_) => seen.push(rev),
                Sight::Invisible => {}
                Sight::Later => later = true,
            }
        }
        Ok(if later { None } else { Some(seen) })
    }
}
