//! Follows the changes of the databases that users are in: what has changed is forgotten, and who waits is told.
//!
//! Invariant: who is told can see the change.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{USER_PREFIX, Users};
use crate::caller::UserName;
use crate::couch::CouchError;
use crate::route::DbName;

/// How long one question for changes waits at most.
const WAIT: Duration = Duration::from_secs(25);

/// How long to wait after a feed has failed, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How changes are followed.
#[derive(Debug)]
pub(in crate::identity) struct Follow {
    /// Whom to tell of them.
    pub(in crate::identity) changed: watch::Sender<()>,
    /// How long a record may be believed by those who must know better.
    pub(in crate::identity) fresh: Duration,
}

/// A database whose changes are followed.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) db: DbName,
    /// When CouchDB last said what has changed.
    heard: Mutex<Option<Instant>>,
}

impl Source {
    pub(super) fn new(db: DbName) -> Self {
        let heard = Mutex::new(None);
        Self { db, heard }
    }

    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn was_heard_within(&self, time: Duration) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() < time)
    }
}

impl Users {
    /// Follows both databases. Does not return.
    pub(in crate::identity) async fn watch(&self) {
        let follow = async |source: &Option<Source>, prefix| match source {
            Some(source) => self.follow(source, prefix).await,
            None => std::future::pending().await,
        };
        tokio::join!(follow(&self.users, USER_PREFIX), follow(&self.nodes, ""));
    }

    async fn follow(&self, source: &Source, prefix: &str) {
        let mut pause = PAUSE;
        loop {
            let begun = Instant::now();
            if let Err(error) = self.follow_feed(source, prefix).await {
                tracing::warn!(%error, db = %source.db, "the changes of users can't be followed");
            }
            // What changes unseen in the meantime is believed for `LIFE` at most.
            pause = if begun.elapsed() > WAIT { PAUSE } else { pause };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn follow_feed(&self, source: &Source, prefix: &str) -> Result<(), CouchError> {
        let db = &source.db;
        // So that silence is heard twice before a record is too old to be believed.
        let wait = WAIT.min(self.follow.fresh / 2);
        let mut since = self.couch.changes(db, "now", None).await?.last_seq;
        self.epoch.fetch_add(1, Ordering::SeqCst);
        // What was read before this moment may have changed before it too.
        self.records.invalidate_all();
        self.follow.changed.send_replace(());
        loop {
            source.hear();
            let changes = self.couch.changes(db, &since, Some(wait)).await?;
            self.epoch.fetch_add(1, Ordering::SeqCst);
            for id in &changes.ids {
                let name = id
                    .strip_prefix(prefix)
                    .and_then(|name| UserName::parse(name).ok());
                if let Some(name) = name {
                    self.records.invalidate(&name).await;
                }
            }
            if !changes.ids.is_empty() {
                self.follow.changed.send_replace(());
            }
            if changes.ids.is_empty() && changes.last_seq == since {
                // A server that does not wait must not be asked without end.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            since = changes.last_seq;
        }
    }
}
