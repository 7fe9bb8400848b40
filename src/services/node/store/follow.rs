//! Follows the node database: one question for changes after the other, each waiting for the next one.
//!
//! Invariant: the tree is what the changes up to its place say, of one database and not of an earlier one
//! of the same name.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{State, Store};
use crate::couch::CouchError;
use crate::json::Value;
use crate::services::node::tree::Document;

/// How many changed documents are read at once.
const PAGE: usize = 500;

/// How long one question for changes waits.
const WAIT: Duration = Duration::from_secs(10);

/// How long to wait after the changes could not be followed, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Up to where the changes have been read.
#[derive(Debug)]
pub(super) struct Place {
    seq: String,
    /// When the database was made, as CouchDB tells it.
    made: Option<Value>,
}

impl Place {
    pub(super) fn beginning() -> Self {
        Self {
            seq: "0".to_owned(),
            made: None,
        }
    }
}

impl Store {
    /// Reads all changes after this place.
    pub(super) async fn read_on(&self, read_to: &mut Place) -> Result<(), CouchError> {
        loop {
            let begun = Instant::now();
            let changed = self
                .couch
                .changed_documents(&self.db, &read_to.seq, PAGE)
                .await?;
            let Some(changed) = changed else {
                // No database, no nodes; one that comes back begins anew.
                *read_to = Place::beginning();
                self.change(|state| {
                    *state = State {
                        confirmed: Some(begun),
                        ..State::default()
                    };
                });
                return Ok(());
            };
            self.change(|state| {
                for document in &changed.documents {
                    let id = document.get("_id").and_then(Value::as_str);
                    if let (Some(id), Some(found)) = (id, Document::read(document)) {
                        state.tree.note(id, found);
                    }
                }
                if changed.complete {
                    state.confirmed = Some(begun);
                }
            });
            read_to.seq = changed.last_seq;
            if changed.complete {
                return Ok(());
            }
        }
    }

    /// Follows the database. Does not return.
    pub(in crate::services::node) async fn watch(&self) {
        let mut pause = PAUSE;
        loop {
            match timeout(WAIT * 2, self.wait()).await {
                Ok(Ok(())) => pause = PAUSE,
                Ok(Err(error)) => {
                    tracing::warn!(%error, db = %self.db, "nodes can't be followed");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(_) => tracing::warn!(db = %self.db, "nodes can't be followed in time"),
            }
        }
    }

    /// Waits for a change and reads it.
    async fn wait(&self) -> Result<(), CouchError> {
        let since = self.same_database().await?;
        let begun = Instant::now();
        let changes = self.couch.changes(&self.db, &since, Some(WAIT)).await?;
        let mut read_to = self.read_to.lock().await;
        if !changes.ids.is_empty() || read_to.seq != since {
            return self.read_on(&mut read_to).await;
        }
        self.change(|state| state.confirmed = Some(Instant::now()));
        read_to.seq = changes.last_seq;
        drop(read_to);
        if begun.elapsed() < PAUSE {
            // A server that does not wait must not be asked without end.
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Where to go on. A database that was deleted and made again is another one, which is read from its
    /// beginning: its changes tell nothing of what is not in it any more.
    async fn same_database(&self) -> Result<String, CouchError> {
        let info = self.couch.info(&self.db).await?;
        let made = info.and_then(|info| info.get("instance_start_time").cloned());
        let mut read_to = self.read_to.lock().await;
        if read_to.made.is_some() && read_to.made != made {
            tracing::warn!(db = %self.db, "the database of nodes is another one now");
            *read_to = Place::beginning();
            self.change(|state| *state = State::default());
            self.read_on(&mut read_to).await?;
        }
        read_to.made = made;
        Ok(read_to.seq.clone())
    }
}
