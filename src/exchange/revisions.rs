//! Documents that a row alone does not hold and policy must see: a losing leaf, the body before a
//! tombstone, the source of a view row. A row that needs one is judged again once it has been read.
//!
//! Invariant: they are read in the order in which rows need them, and beyond [`ENOUGH`] no more than the first row does
//! are held.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::budget::{Budget, Counted, NoRoom, Share};
use crate::json::{JsonError, Value};
use crate::policy::Source;

/// What may be held of documents for rows behind the first one that waits, in bytes.
const ENOUGH: usize = 8 * 1024 * 1024;
/// How many are noted at once.
const MOST: usize = 1000;

/// One stored revision that is needed to judge a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RevisionRef {
    /// The winning revision of a document, tombstones included.
    Winner(String),
    /// This very revision.
    Exact(String, String),
    /// The body that a tombstone has replaced, as long as CouchDB still has it.
    Parent(String, String),
}

impl RevisionRef {
    /// The id, if it is the winner that is wanted.
    pub(crate) fn winner(&self) -> Option<&str> {
        match self {
            Self::Winner(id) => Some(id),
            Self::Exact(..) | Self::Parent(..) => None,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Winner(id) | Self::Exact(id, _) | Self::Parent(id, _) => id,
        }
    }
}

/// A revision that has been read.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) document: Counted<Value>,
    source: OnceCell<Source>,
    size: usize,
    /// The row that has looked it up last.
    row: u64,
}

impl Stored {
    /// What the rules of the view that is answered say of it, found out once: rows that it has emitted may be many.
    pub(crate) fn source(&self, judge: impl FnOnce(&Value) -> Source) -> &Source {
        self.source.get_or_init(|| judge(&self.document))
    }
}

/// What has been read so far, and what is still to be read.
#[derive(Debug)]
pub(crate) struct RevisionCache {
    budget: Arc<Budget>,
    found: HashMap<RevisionRef, Option<Stored>>,
    /// In the order in which they were looked up.
    missing: Vec<RevisionRef>,
    noted: HashSet<RevisionRef>,
    /// Counts rows that are judged again.
    row: u64,
    /// Whose winner was looked up last.
    last: String,
}

/// The answer to "what is this revision?".
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup<'a> {
    /// It has been noted and will be read; the row waits.
    Pending,
    /// CouchDB does not have it.
    Absent,
    /// Its full body.
    Found(&'a Stored),
}

impl RevisionCache {
    /// Nothing yet, for a request that has this budget.
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            found: HashMap::new(),
            missing: Vec::new(),
            noted: HashSet::new(),
            row: 0,
            last: String::new(),
        }
    }

    /// Reads JSON that a row holds, which is counted as long as it is held.
    pub(crate) fn parse(&self, json: &[u8]) -> Result<Counted<Value>, JsonError> {
        let mut share = Share::of(&self.budget);
        share.count(json).map_err(|full| match full {
            NoRoom::Ever => JsonError::TooLarge,
            NoRoom::Share | NoRoom::Now => JsonError::NoRoom,
        })?;
        Ok(Counted::new(Value::parse(json)?, Some(Arc::new(share))))
    }

    /// Looks a revision up; one that is not there is noted as wanted.
    pub(crate) fn look(&mut self, wanted: RevisionRef) -> Lookup<'_> {
        if !self.found.contains_key(&wanted) {
            self.note(wanted);
            return Lookup::Pending;
        }
        if let Some(id) = wanted.winner()
            && self.last != id
        {
            id.clone_into(&mut self.last);
        }
        match self.found.get_mut(&wanted) {
            Some(Some(stored)) => {
                stored.row = self.row;
                Lookup::Found(stored)
            }
            Some(None) | None => Lookup::Absent,
        }
    }

    fn note(&mut self, wanted: RevisionRef) {
        if self.noted.insert(wanted.clone()) {
            self.missing.push(wanted);
        }
    }

    /// Whether a row asked for something that has not been read.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Whether it is of no use to note what further rows need.
    pub(crate) fn has_noted_enough(&self) -> bool {
        self.missing.len() >= MOST
    }

    /// What is to be read now: the first of it, if much is held already.
    pub(crate) fn next(&self) -> &[RevisionRef] {
        let held: usize = self
            .found
            .values()
            .flatten()
            .map(|stored| stored.size)
            .sum();
        let most = if held > ENOUGH { 1 } else { MOST };
        self.missing.get(..most).unwrap_or(&self.missing)
    }

    /// Notes what was read of the first of what was to be read.
    pub(crate) fn learn(&mut self, found: Vec<Option<Counted<Value>>>) {
        let read = found.len().min(self.missing.len());
        let wanted: Vec<RevisionRef> = self.missing.drain(..read).collect();
        for (wanted, document) in wanted.into_iter().zip(found) {
            self.noted.remove(&wanted);
            self.keep(wanted, document);
        }
    }

    /// Keeps what was read of a revision.
    pub(crate) fn keep(&mut self, wanted: RevisionRef, document: Option<Counted<Value>>) {
        let stored = document.map(|document| Stored {
            size: document.size(),
            document,
            source: OnceCell::new(),
            row: self.row,
        });
        self.found.insert(wanted, stored);
    }

    /// Rows that waited are judged again: what they still need is noted anew, what the first ones need first.
    pub(crate) fn begin_again(&mut self) {
        self.missing.clear();
        self.noted.clear();
        self.row = self.row.wrapping_add(1);
    }

    /// Forgets what none of the rows needs that were judged since it began again.
    pub(crate) fn forget_unneeded(&mut self) {
        let row = self.row;
        self.found
            .retain(|_, stored| stored.as_ref().is_none_or(|stored| stored.row == row));
    }

    /// What has been read of this revision.
    pub(crate) fn read(&self, wanted: &RevisionRef) -> Option<&Value> {
        let stored = self.found.get(wanted)?.as_ref()?;
        Some(&stored.document)
    }

    /// Forgets all documents but the one whose winner was looked up last. Only for rows that were all written at the
    /// same time: rows of one document follow each other there.
    pub(crate) fn forget_others(&mut self) {
        self.found.retain(|wanted, _| wanted.id() == self.last);
        self.missing.clear();
        self.noted.clear();
    }

    /// Forgets everything: the next rows are judged by what is stored then.
    pub(crate) fn forget(&mut self) {
        self.found.clear();
        self.missing.clear();
        self.noted.clear();
    }
}
