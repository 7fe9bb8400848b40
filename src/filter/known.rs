//! Documents that a row alone does not hold and policy must see: a losing leaf, the body before a
//! tombstone, the source of a view row. A row that needs one is judged again once it has been read.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use crate::json::Value;
use crate::policy::Source;

/// One stored revision that is needed to judge a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// The winning revision of a document, tombstones included.
    Winner(String),
    /// This very revision.
    Revision(String, String),
    /// The body that a tombstone has replaced, as long as CouchDB still has it.
    Before(String, String),
}

impl Wanted {
    /// The id, if it is the winner that is wanted.
    pub(crate) fn winner(&self) -> Option<&str> {
        match self {
            Self::Winner(id) => Some(id),
            Self::Revision(..) | Self::Before(..) => None,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Winner(id) | Self::Revision(id, _) | Self::Before(id, _) => id,
        }
    }
}

/// A revision that has been read.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) document: Value,
    source: OnceCell<Source>,
}

impl Stored {
    /// What the rules of the view that is answered say of it, found out once: rows that it has emitted may be many.
    pub(crate) fn source(&self, judge: impl FnOnce(&Value) -> Source) -> &Source {
        self.source.get_or_init(|| judge(&self.document))
    }
}

/// What has been read so far, and what is still to be read.
#[derive(Debug, Default)]
pub(crate) struct Known {
    found: HashMap<Wanted, Option<Stored>>,
    missing: BTreeSet<Wanted>,
    /// Whose winner was looked up last.
    last: String,
}

/// The answer to "what is this revision?".
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup<'a> {
    /// It has been noted and will be read; the row waits.
    Later,
    /// CouchDB does not have it.
    Absent,
    /// Its full body.
    Found(&'a Stored),
}

impl Known {
    /// Looks a revision up; one that is not there is noted as wanted.
    pub(crate) fn look(&mut self, wanted: Wanted) -> Lookup<'_> {
        if !self.found.contains_key(&wanted) {
            self.missing.insert(wanted);
            return Lookup::Later;
        }
        if let Some(id) = wanted.winner()
            && self.last != id
        {
            id.clone_into(&mut self.last);
        }
        match self.found.get(&wanted) {
            Some(Some(document)) => Lookup::Found(document),
            Some(None) | None => Lookup::Absent,
        }
    }

    /// Whether a row asked for something that has not been read.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.missing.is_empty()
    }

    /// What is to be read now.
    pub(crate) fn take_missing(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.missing).into_iter().collect()
    }

    /// What has been read of this revision.
    pub(crate) fn read(&self, wanted: &Wanted) -> Option<&Value> {
        let stored = self.found.get(wanted)?.as_ref()?;
        Some(&stored.document)
    }

    /// Notes what was read.
    pub(crate) fn learn(&mut self, wanted: Wanted, document: Option<Value>) {
        let stored = document.map(|document| Stored {
            document,
            source: OnceCell::new(),
        });
        self.found.insert(wanted, stored);
    }

    /// Forgets all documents but the one whose winner was looked up last. Only for rows that were all written at the
    /// same time: rows of one document follow each other there.
    pub(crate) fn forget_others(&mut self) {
        self.found.retain(|wanted, _| wanted.id() == self.last);
        self.missing.clear();
    }

    /// Forgets everything: the next rows are judged by what is stored then.
    pub(crate) fn forget(&mut self) {
        self.found.clear();
        self.missing.clear();
    }
}
