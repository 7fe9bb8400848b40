//! The rows of `_changes`: each leaf that a row names is judged by itself, and every sequence that leaves
//! is sealed for this caller and the rules it was judged under.

use std::sync::Arc;

use crate::exchange::redact::{
    Piece, Redaction, RowOutcome, judge, judge_wanted, see, see_id, show,
};
use crate::exchange::revisions::{RevisionCache, RevisionRef};
use crate::exchange::rows::filter::RowFilter;
use crate::exchange::rows::pages::PageEnd;
use crate::json::Row;
use crate::json::{JsonError, Value, elements, members, quote, string};
use crate::policy::{Fingerprint, Lens, Needs};
use crate::secret::Seal;

/// How the rows of `_changes` are shown.
#[derive(Debug)]
pub(crate) struct ChangeRows {
    /// Whose change may be learnt of.
    pub(crate) rows: Lens,
    /// Whose document may be read (`include_docs`).
    pub(crate) docs: Lens,
    /// Whether the client asked for documents.
    pub(crate) with_docs: bool,
    /// Whether the client asked for the conflicts of documents.
    pub(crate) with_conflicts: bool,
    /// Whether they asked for all leaves, or for the winner only.
    pub(crate) all_leaves: bool,
    /// What the leaves of a row have been chosen by.
    pub(crate) chosen: Chosen,
    /// Seals sequences.
    pub(crate) sequences: Sequences,
    /// The sequence of the row that was last looked at, as CouchDB wrote it; before, the one that the feed
    /// began at.
    pub(crate) last: Option<Vec<u8>>,
    /// The sequence of the row that was last shown, sealed: the `id:` of an event.
    pub(crate) shown: String,
}

/// Which leaves a row of `style=all_docs` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// All of them.
    All,
    /// Those whose documents a filter takes; the winner may not be among them.
    ByDocument,
    /// The same, by a selector; CouchDB then tells of no conflicts, too.
    BySelectorWithConflicts,
}

/// Seals and opens update sequences for one caller in one database.
#[derive(Debug, Clone)]
pub(crate) struct Sequences {
    seal: Arc<Seal>,
    context: Vec<u8>,
}

impl Sequences {
    /// `rules` is the fingerprint of those which the rows are judged by, `gap` the mark of the last gap under others.
    pub(crate) fn new(seal: Arc<Seal>, db: &str, rules: Fingerprint, gap: &str) -> Self {
        let (db, gap) = (db.as_bytes(), gap.as_bytes());
        let context = [b"seq\0", db, b"\0", &rules.bytes(), gap].concat();
        Self { seal, context }
    }

    /// A sequence for the client, made from the JSON value that CouchDB sent.
    pub(crate) fn seal(&self, sequence: &[u8]) -> String {
        self.seal.seal(&self.context, sequence)
    }

    /// The sequence of CouchDB's that a client's `since` stands for. One that was judged under other rules or before
    /// the last gap, or made by CouchDB itself, begins anew: `0`.
    pub(crate) fn open(&self, since: &str) -> String {
        if since == "now" || since == "0" {
            return since.to_owned();
        }
        let text = since.trim_matches('"');
        let opened = self.seal.open(&self.context, text);
        let json = opened.and_then(|bytes| Value::parse(&bytes).ok());
        match json {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.as_str().to_owned(),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {
                "0".to_owned()
            }
        }
    }
}

/// The members of a row.
#[derive(Default)]
struct Change<'a> {
    seq: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    changes: Option<&'a [u8]>,
    doc: Option<&'a [u8]>,
    last_seq: Option<&'a [u8]>,
    deleted: bool,
}

impl<'a> Change<'a> {
    fn read(row: &'a [u8]) -> Result<Self, JsonError> {
        let mut change = Self::default();
        for member in members(row) {
            let member = member?;
            match &*member.key {
                "seq" => change.seq = Some(member.value),
                "id" => change.id = Some(member.value),
                "changes" => change.changes = Some(member.value),
                "deleted" => change.deleted = member.value == b"true",
                "last_seq" => change.last_seq = Some(member.value),
                "doc" => change.doc = Some(member.value).filter(|doc| *doc != b"null"),
                _ => {}
            }
        }
        Ok(change)
    }
}

impl RowFilter for ChangeRows {
    fn row(
        &mut self,
        row: Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let change = Change::read(row.bytes())?;
        if let Some(last) = change.last_seq {
            // The last line of a continuous feed; it is written anew when the frame is closed.
            self.last = Some(last.to_vec());
            return Ok(RowOutcome::Hidden);
        }
        let (Some(seq), Some(id), Some(changes)) = (change.seq, change.id, change.changes) else {
            return Err(JsonError::Expected("a row of `_changes`"));
        };
        let name = string(id)?;
        let leaves = self.leaves(&name, changes, change.doc, cache)?;
        let Some(leaves) = leaves else {
            return Ok(RowOutcome::Pending);
        };
        if leaves.is_empty() {
            self.last = Some(seq.to_vec());
            return Ok(RowOutcome::Hidden);
        }
        let sealed = self.sequences.seal(seq);
        let mark = out.len();
        out.extend_from_slice(b"{\"seq\":");
        quote(&sealed, out);
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id);
        write_revs(&leaves, out);
        let named = leaves.first().is_some_and(|leaf| leaf.winner);
        let winner = named
            || match self.filtered_winner(&name, change.doc, cache)? {
                Winner::Visible => true,
                Winner::Hidden => false,
                Winner::Later => {
                    out.truncate(mark);
                    return Ok(RowOutcome::Pending);
                }
            };
        // A deleted winner means that every leaf is deleted: a living leaf always wins. Without a hidden one the best
        // of the others would be the winner.
        if change.deleted || (!winner && leaves.iter().all(|leaf| leaf.dead)) {
            out.extend_from_slice(b",\"deleted\":true");
        }
        if self.with_docs {
            let doc = match winner {
                true => change.doc.map(<[u8]>::to_vec),
                false => self.best(&name, &leaves, cache),
            };
            if self.doc(doc.as_deref(), cache, out)? == RowOutcome::Pending {
                out.truncate(mark);
                return Ok(RowOutcome::Pending);
            }
        }
        out.push(b'}');
        self.last = Some(seq.to_vec());
        self.shown = sealed;
        Ok(RowOutcome::Shown)
    }

    fn documents(&self) -> Option<&Lens> {
        match self.with_docs {
            true => Some(&self.docs),
            false => Some(&self.rows),
        }
    }

    fn is_more_than_a_document(&self) -> bool {
        true
    }

    fn place(&self) -> Option<&Vec<u8>> {
        self.last.as_ref()
    }

    fn reach(&mut self, sequence: Vec<u8>) {
        self.last = Some(sequence);
    }

    fn seal(&self, sequence: &[u8]) -> Option<String> {
        Some(self.sequences.seal(sequence))
    }

    fn event_id(&self) -> &str {
        &self.shown
    }

    fn member_behind(&self, end: &PageEnd, is_full: bool) -> Option<(&'static str, String)> {
        let full = is_full.then(|| self.shown.clone());
        let last = full.filter(|shown| !shown.is_empty()).or_else(|| {
            let last = end.last_seq.as_ref().or(self.last.as_ref());
            last.map(|last| self.sequences.seal(last))
        });
        last.map(|last| ("last_seq", last))
    }

    fn is_of_two_moments(&self) -> bool {
        false
    }
}

impl ChangeRows {
    /// Without the winner the first leaf would be it: as CouchDB would show it in the row. It was read with its
    /// history.
    fn best(&self, id: &str, leaves: &[Leaf], cache: &RevisionCache) -> Option<Vec<u8>> {
        let (best, others) = leaves.split_first()?;
        let document = cache.read(&wanted(id, &best.rev))?;
        let mut document = document.as_object()?.clone();
        document.remove("_revisions");
        let others = others.iter().filter(|leaf| !leaf.dead);
        let others: Vec<Value> = others.map(|leaf| leaf.rev.as_str().into()).collect();
        if self.with_conflicts && !others.is_empty() {
            document.insert("_conflicts", others);
        }
        Some(Value::Object(document).to_bytes())
    }

    /// Writes the document of a row.
    fn doc(
        &self,
        doc: Option<&[u8]>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        out.extend_from_slice(b",\"doc\":");
        let begins = out.len();
        let seen = match doc {
            Some(doc) => show(&self.docs, Piece::Whole(doc), cache, out)?,
            None => RowOutcome::Hidden,
        };
        match seen {
            RowOutcome::Shown => self.tell_of_no_conflicts(begins, out)?,
            RowOutcome::Hidden => out.extend_from_slice(b"null"),
            RowOutcome::Pending => {}
        }
        Ok(seen)
    }

    /// The winner of a document, where a filter has not taken it.
    ///
    /// Of what was asked for with documents, the row has it; else it is deleted or not, which the row says too.
    fn filtered_winner(
        &self,
        id: &str,
        doc: Option<&[u8]>,
        cache: &mut RevisionCache,
    ) -> Result<Winner, JsonError> {
        if self.chosen == Chosen::All || !self.all_leaves {
            return Ok(Winner::Hidden);
        }
        let sight = match doc {
            Some(doc) => see(&self.rows, id, doc, cache)?,
            None => see_id(&self.rows, id),
        };
        Ok(match sight {
            Redaction::Visible(_) => Winner::Visible,
            Redaction::Hidden => Winner::Hidden,
            Redaction::Pending => Winner::Later,
        })
    }

    /// Writes `"_conflicts":[]` into the document that begins here, if it has none and CouchDB says so.
    fn tell_of_no_conflicts(&self, begins: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
        if self.chosen != Chosen::BySelectorWithConflicts || !self.all_leaves {
            return Ok(());
        }
        for member in members(out.get(begins..).unwrap_or_default()) {
            if member?.key == "_conflicts" {
                return Ok(());
            }
        }
        out.pop();
        out.extend_from_slice(b",\"_conflicts\":[]}");
        Ok(())
    }

    /// The leaves of a row that may be seen; none while one has yet to be read.
    fn leaves(
        &self,
        id: &str,
        changes: &[u8],
        doc: Option<&[u8]>,
        cache: &mut RevisionCache,
    ) -> Result<Option<Vec<Leaf>>, JsonError> {
        let mut seen: Vec<Leaf> = Vec::new();
        let mut later = false;
        let doc = doc.map(|doc| cache.parse(doc)).transpose()?;
        let doc_rev = doc.as_ref().and_then(|doc| doc.get("_rev")?.as_str());
        for (index, entry) in elements(changes).enumerate() {
            if !self.all_leaves && seen.iter().any(|leaf| leaf.winner) {
                break;
            }
            let rev = rev_of(entry?)?;
            // With a filter the winner may be left out of the row.
            let winner = index == 0 && doc_rev.is_none_or(|doc_rev| doc_rev == rev);
            let wanted = wanted(id, &rev);
            let sight = match (self.rows.needs_document(), &doc) {
                (Needs::Nothing | Needs::Id, _) => see_id(&self.rows, id),
                (Needs::Document, Some(doc)) if winner => judge(&self.rows, id, doc, cache),
                (Needs::Document, Some(_) | None) => judge_wanted(&self.rows, id, &wanted, cache),
            };
            match sight {
                Redaction::Visible(_) => seen.push(Leaf {
                    dead: !winner && cache.read(&wanted).is_some_and(is_dead),
                    rev,
                    winner,
                }),
                Redaction::Hidden => {}
                Redaction::Pending => later = true,
            }
        }
        // Where the winner is hidden, who asks for winners learns of the end of what they had, and of nothing else.
        if !self.all_leaves && seen.iter().any(|leaf| !leaf.winner && !leaf.dead) {
            seen.clear();
        }
        if !self.all_leaves {
            seen.truncate(1);
        }
        Ok(if later { None } else { Some(seen) })
    }
}

fn write_revs(leaves: &[Leaf], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"changes\":[");
    for (index, leaf) in leaves.iter().enumerate() {
        out.extend_from_slice(if index > 0 {
            b",{\"rev\":"
        } else {
            b"{\"rev\":"
        });
        quote(&leaf.rev, out);
        out.push(b'}');
    }
    out.push(b']');
}

/// Whether the winner of a document may be seen.
enum Winner {
    Visible,
    Hidden,
    /// It has yet to be read.
    Later,
}

/// One leaf of a row.
struct Leaf {
    rev: String,
    winner: bool,
    /// A tombstone, and not the winner.
    dead: bool,
}

fn wanted(id: &str, rev: &str) -> RevisionRef {
    RevisionRef::Exact(id.to_owned(), rev.to_owned())
}

fn is_dead(document: &Value) -> bool {
    document.get("_deleted").and_then(Value::as_bool) == Some(true)
}

fn rev_of(entry: &[u8]) -> Result<String, JsonError> {
    for member in members(entry) {
        let member = member?;
        if member.key == "rev" {
            return Ok(string(member.value)?.into_owned());
        }
    }
    Err(JsonError::Expected("a revision in `changes`"))
}
