//! What has changed in a database since a moment. An index and a document are read one after the other: a row that comes
//! from the one may be shown by the other only where the document has not changed in between.
//!
//! Invariant: whatever was stored between a moment and the last time that we caught up has changed since that moment.
//! What can't be told has changed, too.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::budget::Share;
use crate::couch::{Couch, CouchError};
use crate::route::DbName;

/// How many documents are remembered. What they are forgotten with is older than what is asked from then on.
const MOST_DOCUMENTS: usize = 50_000;

/// How many pages of changes are read to catch up.
const MOST_PAGES: usize = 50;

/// A moment in the life of a database: how often we had caught up with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The documents that have changed since we began.
#[derive(Debug)]
pub(crate) struct Meanwhile {
    /// The sequence up to which changes have been read.
    since: String,
    now: Moment,
    /// Of what is older, nothing is known.
    known_from: Moment,
    /// By the hashes of their ids: two that are taken for one are asked for once more than they need to be.
    changed: HashMap<u64, Moment>,
    hasher: RandomState,
    /// What the table takes.
    share: Option<Share>,
}

impl Meanwhile {
    /// From now on. To be called before the first part of an answer is asked for.
    pub(crate) async fn begin(couch: &Couch, db: &DbName) -> Result<Self, CouchError> {
        Ok(Self::since(newest(couch, db).await?, couch.share()))
    }

    fn since(since: String, share: Option<Share>) -> Self {
        Self {
            since,
            now: Moment(0),
            known_from: Moment(0),
            changed: HashMap::new(),
            hasher: RandomState::new(),
            share,
        }
    }

    /// What CouchDB is asked for from now on is of this moment or a later one.
    pub(crate) fn now(&self) -> Moment {
        self.now
    }

    /// Reads what has changed up to now.
    pub(crate) async fn catch_up(&mut self, couch: &Couch, db: &DbName) -> Result<(), CouchError> {
        for _ in 0..MOST_PAGES {
            let changes = couch.changes(db, &self.since, None).await?;
            self.note(&changes.ids)?;
            self.since = changes.last_seq;
            if changes.complete {
                self.turn();
                return Ok(());
            }
        }
        self.since = newest(couch, db).await?;
        self.forget();
        self.turn();
        Ok(())
    }

    /// Whether the document has changed between this moment and the last time that we caught up.
    ///
    /// Security: a row is of the version that its index has seen, and judged by the one that was read for it.
    /// (`no_row_is_shown_that_a_hidden_version_has_emitted`)
    pub(crate) fn has_changed(&self, id: &str, since: Moment) -> bool {
        since < self.known_from
            || self
                .changed
                .get(&self.hasher.hash_one(id))
                .is_some_and(|last| *last > since)
    }

    fn note(&mut self, ids: &[String]) -> Result<(), CouchError> {
        for id in ids {
            self.changed
                .insert(self.hasher.hash_one(id.as_str()), self.now.next());
        }
        if self.changed.len() > MOST_DOCUMENTS {
            self.forget();
        }
        // One byte beside each place says whether it is taken, and an eighth of the places stays free.
        let table = self.changed.capacity() * 8 / 7 * (size_of::<(u64, Moment)>() + 1);
        let counted = self.share.as_mut().map_or(Ok(()), |share| share.set(table));
        counted.map_err(|_| CouchError::NoRoom)
    }

    fn forget(&mut self) {
        self.changed = HashMap::new();
        self.known_from = self.now.next();
    }

    fn turn(&mut self) {
        self.now = self.now.next();
    }
}

/// The newest sequence. In a database that is not there everything is still to come.
async fn newest(couch: &Couch, db: &DbName) -> Result<String, CouchError> {
    match couch.changes(db, "now", None).await {
        Ok(changes) => Ok(changes.last_seq),
        Err(CouchError::Status(404)) => Ok("0".to_owned()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
