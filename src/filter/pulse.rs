//! What a feed does by our own clock while there is nothing to show. CouchDB's empty lines come with every
//! change, hidden or not, and its timer starts anew at each, so neither may be passed on.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The clock of one feed.
#[derive(Debug)]
pub(crate) struct Pulse {
    every: Duration,
    next: Instant,
    ends: bool,
}

impl Pulse {
    /// A heartbeat, again and again.
    pub(crate) fn heartbeat(every: Duration) -> Self {
        let every = every.max(Duration::from_millis(1));
        Self { every, next: Instant::now() + every, ends: false }
    }

    /// The end, when nothing has been shown for so long.
    pub(crate) fn timeout(after: Duration) -> Self {
        Self { every: after, next: Instant::now() + after, ends: true }
    }

    /// Whether the next beat is the end.
    pub(crate) fn ends(&self) -> bool {
        self.ends
    }

    /// Waits for the next beat. State lives here, so a wait that is dropped loses nothing.
    pub(crate) async fn beat(&mut self) {
        sleep_until(self.next).await;
        self.next += self.every;
    }

    /// Something has been shown.
    pub(crate) fn shown(&mut self) {
        if self.ends {
            self.next = Instant::now() + self.every;
        }
    }
}
