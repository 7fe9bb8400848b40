//! What a feed does by our own clock while there is nothing to show. CouchDB's empty lines come with every
//! change, hidden or not, and its timer starts anew at each, so neither may be passed on.
//!
//! Invariant: nothing that is not shown moves this clock.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

/// The clock of one feed.
#[derive(Debug)]
pub(crate) enum FeedClock {
    /// It beats at these times, whatever is shown.
    Heart(Interval),
    /// It ends when nothing has been shown for so long.
    Patience {
        patience: Duration,
        /// When that will be; none while the feed does not wait.
        end: Option<Instant>,
    },
}

impl FeedClock {
    /// A heartbeat, again and again.
    pub(crate) fn heartbeat(every: Duration) -> Self {
        let every = every.max(Duration::from_millis(1));
        let mut beats = interval_at(Instant::now() + every, every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self::Heart(beats)
    }

    /// The end, when the feed has waited for so long since a row was shown.
    pub(crate) fn timeout(patience: Duration) -> Self {
        Self::Patience {
            patience,
            end: None,
        }
    }

    /// Whether the next beat is the end.
    pub(crate) fn ends(&self) -> bool {
        match self {
            Self::Heart(_) => false,
            Self::Patience { .. } => true,
        }
    }

    /// Waits for the next beat. State lives here, so a wait that is dropped loses nothing.
    pub(crate) async fn beat(&mut self) {
        match self {
            Self::Heart(beats) => {
                beats.tick().await;
            }
            Self::Patience { end: Some(end), .. } => sleep_until(*end).await,
            Self::Patience { end: None, .. } => std::future::pending().await,
        }
    }

    /// The feed waits for what comes, if it does not wait already.
    pub(crate) fn wait(&mut self) {
        if let Self::Patience { patience, end } = self {
            end.get_or_insert_with(|| Instant::now() + *patience);
        }
    }

    /// The feed reads what there is, however long that takes.
    pub(crate) fn rest(&mut self) {
        if let Self::Patience { end, .. } = self {
            *end = None;
        }
    }

    /// A row was shown.
    pub(crate) fn shown(&mut self) {
        if let Self::Patience {
            patience,
            end: Some(end),
        } = self
        {
            *end = Instant::now() + *patience;
        }
    }
}
