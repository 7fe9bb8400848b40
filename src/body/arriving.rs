//! The body of a request on HTTP/1, which may be answered before it has come.
//!
//! hyper closes a connection whose request body nobody reads, without a word: a client that sends its head and its
//! body apart (CouchDB's replicator) would then send its next request into nothing and wait for its timeout.
//!
//! Invariant: what nobody reads of a short body is read away beside the answer, for a short time; where a longer one
//! is given up before the answer is made, the answer says that the connection ends (RFC 9112 section 9.6).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The most that is read away, in bytes.
const SHORT: u64 = 64 * 1024;

/// How long a client may take for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of a request. When it is dropped, what is left of it is read away, or [`Left`] is told.
#[derive(Debug)]
pub struct Arriving {
    incoming: Option<Incoming>,
    /// The client waits with its body until it is asked for it.
    waits: bool,
    /// There is nothing more to read, whatever the body says of itself.
    ended: bool,
    left: Left,
}

/// Whether something was left of a body that is not read away.
#[derive(Debug, Clone, Default)]
pub struct Left(Arc<AtomicBool>);

impl Left {
    /// Must the connection end?
    pub fn ends_connection(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Arriving {
    /// The body of a stream of HTTP/2, which ends by itself.
    pub fn stream(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            ended: false,
            waits: true,
            left: Left::default(),
        }
    }

    /// The body of a request of HTTP/1 with these fields.
    pub fn new(incoming: Incoming, fields: &HeaderMap) -> (Self, Left) {
        let left = Left::default();
        let arriving = Self {
            incoming: Some(incoming),
            ended: false,
            waits: fields.contains_key(EXPECT),
            left: left.clone(),
        };
        (arriving, left)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let unread = self.incoming.take();
        let unread = unread.filter(|body| !self.ended && !body.is_end_stream());
        let Some(mut body) = unread else { return };
        let is_short = body.size_hint().upper().is_some_and(|left| left <= SHORT);
        match Handle::try_current() {
            Ok(runtime) if is_short && !self.waits => {
                runtime.spawn(timeout(PATIENCE, async move {
                    while let Some(Ok(_)) = body.frame().await {}
                }));
            }
            Ok(_) | Err(_) => self.left.0.store(true, Ordering::Relaxed),
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        self.ended |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map(Body::size_hint)
            .unwrap_or_default()
    }
}
