//! Writes without `new_edits` take turns: CouchDB checks nothing for them, so between judging one and storing it
//! no other may pass for the same document.
//!
//! Every other write of a document disturbs nobody but those, so they pass side by side, whoever writes: what
//! policy has not judged (an administrator's) may come in between as well.
//!
//! Invariant: turns are taken in one order, so that two batches never wait for each other; nobody holds one while
//! they wait for a client (`upstream::late`); and a batch holds those of documents that its sender may write.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::route::DbName;

/// One lock for each document that is being written.
type Locks = Mutex<HashMap<u64, Arc<RwLock<()>>>>;

/// The turns of all documents.
#[derive(Debug, Clone, Default)]
pub(crate) struct DocLocks(Arc<Locks>);

/// Who may pass at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nobody else: a write without `new_edits`.
    Exclusive,
    /// Those whose revision travels with them, and those that are not judged.
    Shared,
}

/// The turn of some documents, held until dropped.
#[derive(Debug)]
pub(crate) struct DocGuard {
    /// Those that are still waited for are in the list too, lest they stay when nobody waits any more.
    held: Vec<(u64, Option<Held>)>,
    locks: Arc<Locks>,
}

#[derive(Debug)]
enum Held {
    Exclusive { _guard: OwnedRwLockWriteGuard<()> },
    Shared { _guard: OwnedRwLockReadGuard<()> },
}

impl DocLocks {
    /// Waits until nobody writes one of these documents of this database who would be in the way.
    pub(crate) async fn take<'a>(
        &self,
        db: &str,
        ids: impl Iterator<Item = &'a str>,
        pass: Mode,
    ) -> DocGuard {
        let places: BTreeSet<u64> = ids.map(|id| place(db, id)).collect();
        let mut turn = DocGuard {
            held: Vec::with_capacity(places.len()),
            locks: Arc::clone(&self.0),
        };
        for place in places {
            let lock = {
                let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(locks.entry(place).or_default())
            };
            turn.held.push((place, None));
            let held = match pass {
                Mode::Exclusive => Held::Exclusive {
                    _guard: lock.write_owned().await,
                },
                Mode::Shared => Held::Shared {
                    _guard: lock.read_owned().await,
                },
            };
            if let Some(last) = turn.held.last_mut() {
                last.1 = Some(held);
            }
        }
        turn
    }

    /// The turn of one document beside others, taken when this is first polled.
    pub(crate) fn later(
        &self,
        db: &DbName,
        id: &str,
    ) -> impl Future<Output = DocGuard> + Send + 'static + use<> {
        let (turns, db, id) = (self.clone(), db.clone(), id.to_owned());
        async move {
            let ids = [id.as_str()].into_iter();
            turns.take(db.as_str(), ids, Mode::Shared).await
        }
    }
}

impl Drop for DocGuard {
    /// Locks that nobody holds or waits for are forgotten.
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, held) in self.held.drain(..) {
            drop(held);
            if locks
                .get(&place)
                .is_some_and(|lock| Arc::strong_count(lock) == 1)
            {
                locks.remove(&place);
            }
        }
    }
}

fn place(db: &str, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (db, id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
