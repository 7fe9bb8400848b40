//! The bodies we send, to clients and to CouchDB, and why one may end before its end.
//!
//! Invariant: a body that fails with a `Cut` is never completed: the connection closes without the last
//! chunk, or the stream is reset, so that a cut body can't be mistaken for a whole one.

mod arriving;

pub use arriving::{Arriving, Left};

use crate::refusal::{Limit, Refusal};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Every body that we send, either way.
pub type Body = UnsyncBoxBody<Bytes, Cut>;

/// Why a body ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The client's framing or content coding is broken, or its connection ended within the body.
    #[error("the client's body is broken")]
    ClientBroken,
    /// The client sent its body, or took our answer, too slowly.
    #[error("the client is too slow")]
    ClientSlow,
    /// The client's body is longer than the limit, as sent or when inflated.
    #[error("the client's body is too large")]
    ClientTooLarge,
    /// The client went away.
    #[error("the client went away")]
    ClientGone,
    /// CouchDB's answer broke off.
    #[error("the answer of the database broke off")]
    Upstream,
    /// CouchDB's answer stood still for too long.
    #[error("the database is too slow")]
    UpstreamSlow,
    /// What CouchDB sent can't be judged, so it is not shown.
    #[error("the answer could not be judged")]
    Filter,
    /// What others hold leaves no memory to judge it.
    #[error("there is no memory left to judge the answer")]
    NoRoom,
    /// The groups of a view hold rows that the caller may not see.
    #[error("the results are not open to the caller")]
    NotOpen,
    /// An index has not held still for as long as it takes to look at it.
    #[error("the index did not hold still")]
    Moving,
    /// couchwarden is going down, or the rules under which the answer began no longer hold.
    #[error("the answer was stopped")]
    Stopped,
}

impl Cut {
    /// Why an answer ends of which a later part was refused like this.
    pub(crate) fn later(refusal: &Refusal) -> Self {
        match refusal.status() {
            403 => Self::NotOpen,
            503 => Self::Moving,
            _ => Self::Upstream,
        }
    }

    /// The answer to give while the head has not been sent yet.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::ClientBroken | Self::ClientGone => {
                Refusal::BadRequest("the request body can't be read")
            }
            Self::ClientSlow => Refusal::ClientSlow,
            Self::ClientTooLarge => Refusal::TooLarge(Limit::Body),
            Self::Upstream => Refusal::BadGateway("the answer of the database broke off"),
            Self::UpstreamSlow => Refusal::UpstreamSlow,
            Self::Filter => Refusal::BadGateway("the answer of the database can't be judged"),
            Self::NotOpen => Refusal::Forbidden("results of this view are not open to you"),
            Self::NoRoom | Self::Moving | Self::Stopped => Refusal::Unavailable(1),
        }
    }
}

/// Measures how long a peer has kept us waiting without a single byte.
///
/// The clock runs only while we wait: whoever does not poll is not waiting.
#[derive(Debug)]
pub struct Idle {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Idle {
    /// A clock that stands still.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            sleep: None,
            waiting: false,
        }
    }

    /// The peer has moved: the next wait begins anew.
    pub fn moved(&mut self) {
        self.waiting = false;
    }

    /// Ready when the peer has kept us waiting for too long. To be asked whenever the peer is `Pending`.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = !std::mem::replace(&mut self.waiting, true);
        let limit = self.limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if fresh {
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }
}

/// Marks the answer to a request whose head had one meaning: a `400` or `405` is then about what was asked,
/// and the connection goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound;

/// Marks an answer that may stay open without end and say nothing for long. Nothing but the departure of its client
/// ends it, so that must be noticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endless;

/// A body that holds something until it has ended.
pub(crate) fn keeping<T: Send + Unpin + 'static>(body: Body, kept: T) -> Body {
    boxed(Keeping { body, _kept: kept })
}

struct Keeping<T> {
    body: Body,
    _kept: T,
}

impl<T: Unpin> http_body::Body for Keeping<T> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// No bytes at all.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// These bytes, with their length.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    boxed(http_body_util::Full::new(bytes.into()).map_err(|never| match never {}))
}

/// Any body of ours behind the one type.
pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error = Cut> + Send + 'static,
{
    body.boxed_unsync()
}
