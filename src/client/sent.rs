//! The body of our request, and when it last moved: CouchDB's time to answer begins when it has all of it.
//!
//! Invariant: CouchDB is never blamed for the time in which we wait for the client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{Body, Cut};

/// When our request last moved.
pub(super) struct Activity {
    start: Instant,
    last: AtomicU64,
}

/// Marks a body that waits for its own source.
const WAITING: u64 = u64::MAX;

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn moved(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.last.store(millis, Ordering::Relaxed);
    }

    fn waits(&self) {
        self.last.store(WAITING, Ordering::Relaxed);
    }
}

/// Ends when nothing has moved for this long; what has no body moves once.
pub(super) async fn quiet_for(activity: Option<&Activity>, limit: Duration) {
    let Some(activity) = activity else {
        return tokio::time::sleep(limit).await;
    };
    loop {
        let last = activity.last.load(Ordering::Relaxed);
        let from = match last {
            WAITING => Instant::now(),
            millis => activity.start + Duration::from_millis(millis),
        };
        tokio::time::sleep_until(from + limit).await;
        if last != WAITING && activity.last.load(Ordering::Relaxed) == last {
            return;
        }
    }
}

/// The body of our request, which notes when it moves.
pub(super) struct Sent {
    body: Body,
    activity: Option<Arc<Activity>>,
}

impl Sent {
    /// The body, and where its movement is noted, if there is any.
    pub(super) fn new(body: Body) -> (Self, Option<Arc<Activity>>) {
        let activity = (!body.is_end_stream()).then(|| Arc::new(Activity::new()));
        let sent = Self {
            body,
            activity: activity.clone(),
        };
        (sent, activity)
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(activity) = &self.activity {
            match &polled {
                Poll::Ready(_) => activity.moved(),
                Poll::Pending => activity.waits(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
