//! The streams of one HTTP/2 connection: counted, and reset when their client leaves them standing.
//!
//! A client that opens no window for a stream keeps its answer, and what it holds, waiting for ever,
//! while the connection itself looks well. hyper gives each stream a future of its own to our executor; the
//! body tells that executor whether it is the client who is being waited for, and to drop the future resets
//! the stream.
//!
//! Invariant: an answer that waits for its client's window for longer than the limit is gone.

use crate::body::{Body, Cut, Idle};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

tokio::task_local! {
    /// The stream whose future is being polled.
    static STREAM: Arc<Progress>;
}

/// Where an answer stands.
#[derive(Default)]
struct Progress {
    /// The next step is the client's: a piece was handed over and no other was asked for.
    waits: AtomicBool,
    /// Something was asked for since this was last looked at.
    moved: AtomicBool,
}

/// What is going on in a connection.
#[derive(Default)]
pub(super) struct Load {
    active: AtomicUsize,
    begun: AtomicUsize,
}

impl Load {
    /// Ends when there was no stream at all for this long (or up to twice as long).
    pub(super) async fn unused_for(&self, limit: Duration) {
        self.unused(limit, limit).await;
    }

    /// The same, with a limit of its own until there was any.
    pub(super) async fn unused(&self, at_first: Duration, later: Duration) {
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            let limit = if begun == 0 { at_first } else { later };
            tokio::time::sleep(limit).await;
            let none_began = self.begun.load(Ordering::Relaxed) == begun;
            if none_began && self.active.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    limit: Duration,
    load: Arc<Load>,
}

impl Streams {
    pub(super) fn new(limit: Duration, load: Arc<Load>) -> Self {
        Self { limit, load }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.load.begun.fetch_add(1, Ordering::Relaxed);
        self.load.active.fetch_add(1, Ordering::Relaxed);
        let progress: Arc<Progress> = Arc::default();
        let watched = Watched {
            stream: Box::pin(stream),
            progress: Arc::clone(&progress),
            idle: Idle::new(self.limit),
            load: Arc::clone(&self.load),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "hyper's streams are tasks, and this is the server"
        )]
        tokio::spawn(STREAM.scope(progress, watched));
    }
}

/// A stream that is given up when its client does.
struct Watched<F> {
    stream: Pin<Box<F>>,
    progress: Arc<Progress>,
    idle: Idle,
    load: Arc<Load>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.progress.moved.swap(false, Ordering::Relaxed) {
            self.idle.moved();
        }
        if !self.progress.waits.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        // Ready drops the stream, which resets it.
        self.idle.poll_expired(cx)
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        self.load.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, which tells whose turn it is.
pub(super) struct Delivered {
    body: Body,
    progress: Option<Arc<Progress>>,
}

impl Delivered {
    /// To be made within the stream's own task.
    pub(super) fn new(body: Body) -> Self {
        let progress = STREAM.try_with(Arc::clone).ok();
        let delivered = Self { body, progress };
        // Before the first window there is nothing to ask for.
        delivered.turn(true);
        delivered
    }

    fn turn(&self, of_the_client: bool) {
        if let Some(progress) = &self.progress {
            progress.waits.store(of_the_client, Ordering::Relaxed);
            progress.moved.store(true, Ordering::Relaxed);
        }
    }
}

impl http_body::Body for Delivered {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.turn(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
