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
    /// When CouchDB last sent something.
    heard: Instant,
}

/// What comes so soon after what came before belongs to it: CouchDB is catching up, it does not wait yet.
const BURST: Duration = Duration::from_millis(250);

impl Pulse {
    /// A heartbeat, again and again.
    pub(crate) fn heartbeat(every: Duration) -> Self {
        let every = every.max(Duration::from_millis(1));
        let now = Instant::now();
        Self {
            every,
            next: now + every,
            ends: false,
            heard: now,
        }
    }

    /// The end, when nothing has been shown for so long.
    pub(crate) fn timeout(after: Duration) -> Self {
        let now = Instant::now();
        Self {
            every: after,
            next: now + after,
            ends: true,
            heard: now,
        }
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

    /// CouchDB has sent something, and perhaps a row was shown.
    pub(crate) fn heard(&mut self, shown: bool) {
        let now = Instant::now();
        if self.ends && (shown || now.duration_since(self.heard) < BURST) {
            self.next = now + self.every;
        }
        self.heard = now;
    }
}
