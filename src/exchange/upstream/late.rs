//! A body whose last bytes wait for a turn.
//!
//! A write that streams may be long in coming, and its turn would keep others from theirs. CouchDB stores nothing
//! before it has the whole, so it is enough to take the turn before the last bytes go on.
//!
//! Invariant: no frame that completes the body goes on before the turn is taken.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, Cut};
use crate::exchange::doc_locks::DocGuard;

/// Where the turn is kept once it is taken: the sender holds it until CouchDB has answered.
pub(super) type Held = Arc<Mutex<Option<DocGuard>>>;

/// See the module.
pub(super) struct Late {
    body: Body,
    tail: u64,
    /// The turn, while it is not taken.
    turn: Option<Pin<Box<dyn Future<Output = DocGuard> + Send>>>,
    /// What waits for it: the frame that completes the body, or the end.
    last: Option<Option<Frame<Bytes>>>,
    held: Held,
}

impl Late {
    /// `tail`: so many bytes at the end go on without a turn and complete nothing.
    pub(super) fn new(
        body: Body,
        tail: u64,
        turn: impl Future<Output = DocGuard> + Send + 'static,
        held: Held,
    ) -> Self {
        Self {
            body,
            tail,
            turn: Some(Box::pin(turn)),
            last: None,
            held,
        }
    }

    /// Is the body complete with what has been read, as far as its length is known?
    fn is_complete(&self) -> bool {
        let left = self.body.size_hint().exact();
        left.is_some_and(|left| left <= self.tail)
    }
}

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let late = &mut *self;
        if late.last.is_none() {
            match ready!(Pin::new(&mut late.body).poll_frame(cx)) {
                Some(Ok(frame)) if late.is_complete() => late.last = Some(Some(frame)),
                Some(frame) => return Poll::Ready(Some(frame)),
                // Without a length the end completes it.
                None => late.last = Some(None),
            }
        }
        if let Some(turn) = &mut late.turn {
            let turn = ready!(turn.as_mut().poll(cx));
            late.turn = None;
            *late.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        }
        Poll::Ready(late.last.take().flatten().map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}
