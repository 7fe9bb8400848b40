//! Follows the changes of a database, for as long as couchwarden runs.
//!
//! Invariant: what was heard within some time tells of everything that was written before that time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::couch::{Changes, Couch, CouchError};
use crate::route::DbName;

/// How long one question for changes waits at most.
const WAIT: Duration = Duration::from_secs(25);

/// How long to wait after a feed has failed, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How changes are followed.
#[derive(Debug, Clone)]
pub(super) struct Follow {
    /// Whom to tell of them.
    pub(super) changed: watch::Sender<()>,
    /// How old what is known may be for those who must know better.
    pub(super) fresh: Duration,
}

/// A database whose changes are followed.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) db: DbName,
    /// When CouchDB last said what has changed.
    heard: Mutex<Option<Instant>>,
    fresh: Duration,
}

/// Who follows.
pub(super) trait Follower {
    /// Makes up for what was not followed until now, and gives the sequence from which the feed goes on.
    async fn begin(&self) -> Result<String, CouchError>;

    /// Takes in what has changed.
    async fn changed(&self, changes: &Changes);
}

impl Source {
    pub(super) fn new(db: DbName, fresh: Duration) -> Self {
        let heard = Mutex::new(None);
        Self { db, heard, fresh }
    }

    /// All that had changed by now is known.
    pub(super) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Is what is known as old as it may be at most?
    pub(super) fn is_fresh(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() < self.fresh)
    }

    /// Does not return.
    pub(super) async fn follow(&self, couch: &Couch, follower: &impl Follower) {
        let mut pause = PAUSE;
        loop {
            let begun = Instant::now();
            if let Err(error) = self.follow_feed(couch, follower).await {
                tracing::warn!(%error, db = %self.db, "the changes can't be followed");
            }
            pause = if begun.elapsed() > WAIT { PAUSE } else { pause };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn follow_feed(&self, couch: &Couch, follower: &impl Follower) -> Result<(), CouchError> {
        // So that silence is heard twice before what is known is too old to be believed.
        let wait = WAIT.min(self.fresh / 2);
        let mut since = follower.begin().await?;
        self.hear();
        loop {
            let changes = couch.changes(&self.db, &since, Some(wait)).await?;
            follower.changed(&changes).await;
            if changes.complete {
                self.hear();
            }
            if changes.ids.is_empty() && changes.last_seq == since {
                // A server that does not wait must not be asked without end.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            since = changes.last_seq;
        }
    }
}
