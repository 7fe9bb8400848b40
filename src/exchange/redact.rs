//! One document, seen through a lens. Every answer that holds documents comes here for each of them.
//!
//! Invariant: a document is shown only after the lens has judged the full stored revision. What a tombstone does not say
//! of that by which rules decide, the body says that it replaced; a bare one is hidden when that is gone.

use super::revisions::{Lookup, RevisionCache, RevisionRef};
use crate::json::{Fields, JsonError, Kind, Member, Row, Value, members, quote, string};
use crate::policy::{Lens, Needs};

/// What became of a document or a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowOutcome {
    /// It was written out.
    Shown,
    /// The caller may not see it; nothing was written.
    Hidden,
    /// Something must be read first; nothing was written.
    Pending,
}

/// The answer of the lens.
#[derive(Debug)]
pub(crate) enum Redaction {
    /// Visible, with these fields.
    Visible(Fields),
    /// Not visible.
    Hidden,
    /// Something must be read first.
    Pending,
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
enum Judgement {
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

impl Judgement {
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
    fn judge(mut self, lens: &Lens, id: &str, cache: &mut RevisionCache) -> Redaction {
        let said = match cache.look(RevisionRef::Parent(id.to_owned(), self.rev)) {
            Lookup::Pending => return Redaction::Pending,
            Lookup::Absent => !self.bare,
            Lookup::Found(before) => {
                lens.complete(&mut self.body, &before.document);
                !(self.bare && is_bare(&before.document))
            }
        };
        match lens.judge(id, said.then_some(&self.body)) {
            Some(fields) => Redaction::Visible(fields.into_owned()),
            None => Redaction::Hidden,
        }
    }
}

/// Judges one revision whose full body is `document`.
pub(crate) fn judge(
    lens: &Lens,
    id: &str,
    document: &Value,
    cache: &mut RevisionCache,
) -> Redaction {
    settle(Judgement::by(lens, id, document), lens, id, cache)
}

fn settle(judgement: Judgement, lens: &Lens, id: &str, cache: &mut RevisionCache) -> Redaction {
    match judgement {
        Judgement::Visible(fields) => Redaction::Visible(fields),
        Judgement::Invisible => Redaction::Hidden,
        Judgement::Part(tombstone) => tombstone.judge(lens, id, cache),
    }
}

/// Judges a revision that is not in the row.
pub(crate) fn judge_wanted(
    lens: &Lens,
    id: &str,
    wanted: &RevisionRef,
    cache: &mut RevisionCache,
) -> Redaction {
    let judgement = match cache.look(wanted.clone()) {
        Lookup::Pending => return Redaction::Pending,
        Lookup::Absent => return Redaction::Hidden,
        Lookup::Found(stored) => Judgement::by(lens, id, &stored.document),
    };
    settle(judgement, lens, id, cache)
}

/// Writes a document as far as the caller may see it.
pub(crate) fn show(
    lens: &Lens,
    piece: Piece<'_>,
    cache: &mut RevisionCache,
    out: &mut Vec<u8>,
) -> Result<RowOutcome, JsonError> {
    let outline = Outline::read(piece)?;
    match see(lens, &outline.id, piece.bytes(), cache)? {
        Redaction::Hidden => Ok(RowOutcome::Hidden),
        Redaction::Pending => {
            outline.note(lens, cache)?;
            Ok(RowOutcome::Pending)
        }
        Redaction::Visible(fields) => outline.write(lens, &fields, cache, out),
    }
}

/// Judges a document without writing it.
pub(crate) fn see(
    lens: &Lens,
    id: &str,
    bytes: &[u8],
    cache: &mut RevisionCache,
) -> Result<Redaction, JsonError> {
    Ok(match lens.needs_document() {
        Needs::Nothing | Needs::Id => see_id(lens, id),
        Needs::Document => {
            let document = cache.parse(bytes)?;
            judge(lens, id, &document, cache)
        }
    })
}

/// Judges by its id a document that is judged by nothing else.
pub(crate) fn see_id(lens: &Lens, id: &str) -> Redaction {
    match lens.judge(id, None) {
        Some(fields) => Redaction::Visible(fields.into_owned()),
        None => Redaction::Hidden,
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
    fn note(&self, lens: &Lens, cache: &mut RevisionCache) -> Result<(), JsonError> {
        for member in members(self.piece.bytes()) {
            let member = member?;
            match &*member.key {
                "_conflicts" | "_deleted_conflicts" => {
                    self.leaves(lens, member.value, cache)?;
                }
                "_revs_info" => {
                    self.history(lens, member.value, cache)?;
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
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        if !self.revisions {
            self.piece.cut(fields, Kind::Document, out)?;
            return Ok(RowOutcome::Shown);
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
                    match self.leaves(lens, member.value, cache)? {
                        Some(leaves) if leaves.is_empty() => out.truncate(start),
                        Some(leaves) => Value::Array(leaves).write(out),
                        None => later = true,
                    }
                }
                "_revs_info" => match self.history(lens, member.value, cache)? {
                    Some(history) => history.write(out),
                    None => later = true,
                },
                _ => out.extend_from_slice(member.value),
            }
        }
        if later {
            out.truncate(mark);
            return Ok(RowOutcome::Pending);
        }
        out.push(b'}');
        Ok(RowOutcome::Shown)
    }

    /// The statuses of `_revs_info`: a hidden revision is as one whose body is gone. None while one has yet to be
    /// read.
    fn history(
        &self,
        lens: &Lens,
        list: &[u8],
        cache: &mut RevisionCache,
    ) -> Result<Option<Value>, JsonError> {
        let mut history = Value::parse(list)?;
        let mut later = false;
        let entries = history.as_array_mut().into_iter().flatten();
        for entry in entries.filter_map(Value::as_object_mut) {
            let gone = entry.get("status").and_then(Value::as_str) == Some("missing");
            let Some(rev) = entry.get("rev").and_then(Value::as_str).filter(|_| !gone) else {
                continue;
            };
            let wanted = RevisionRef::Exact(self.id.clone(), rev.to_owned());
            match judge_wanted(lens, &self.id, &wanted, cache) {
                Redaction::Visible(_) => {}
                Redaction::Hidden => {
                    entry.insert("status", "missing");
                }
                Redaction::Pending => later = true,
            }
        }
        Ok((!later).then_some(history))
    }

    /// Those of the listed revisions that the caller may see; none while one has yet to be read.
    fn leaves(
        &self,
        lens: &Lens,
        list: &[u8],
        cache: &mut RevisionCache,
    ) -> Result<Option<Vec<Value>>, JsonError> {
        let Value::Array(revs) = Value::parse(list)? else {
            return Ok(Some(Vec::new()));
        };
        let mut seen = Vec::new();
        let mut later = false;
        for rev in revs {
            let Some(text) = rev.as_str() else { continue };
            let wanted = RevisionRef::Exact(self.id.clone(), text.to_owned());
            match judge_wanted(lens, &self.id, &wanted, cache) {
                Redaction::Visible(_) => seen.push(rev),
                Redaction::Hidden => {}
                Redaction::Pending => later = true,
            }
        }
        Ok(if later { None } else { Some(seen) })
    }
}
