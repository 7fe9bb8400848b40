//! Writes without `new_edits` take turns: CouchDB checks nothing for them, so between judging one and storing it
//! no other may pass for the same document.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Documents are spread over so many locks; two that share one only wait needlessly.
const LOCKS: usize = 1_024;

/// The turns of all documents.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<[Arc<Mutex<()>>]>);

/// The turn of some documents, held until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _held: Vec<OwnedMutexGuard<()>>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self((0..LOCKS).map(|_| Arc::default()).collect())
    }

    /// Waits until nobody else writes one of these documents of this database. Always in one order, so that
    /// two batches never wait for each other.
    pub(crate) async fn take<'a>(&self, db: &str, ids: impl Iterator<Item = &'a str>) -> Turn {
        let places: BTreeSet<usize> = ids.map(|id| place(db, id)).collect();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            if let Some(lock) = self.0.get(place) {
                held.push(Arc::clone(lock).lock_owned().await);
            }
        }
        Turn { _held: held }
    }
}

fn place(db: &str, id: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    (db, id).hash(&mut hasher);
    let hash = usize::try_from(hasher.finish() % LOCKS as u64);
    hash.unwrap_or_default()
}
