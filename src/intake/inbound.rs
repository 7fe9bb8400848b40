//! The body of a client's request: bounded in bytes and in time, inflated, without trailers.
//!
//! Invariant: a body that ends without an error is whole. Never more than the limit is handed on, and never
//! more than a few KiB beyond a chunk are held.

use super::inflate::Inflate;
use crate::body::{self, Body, Cut, Idle};
use crate::budget::{Budget, Share};
use crate::config::Limits;
use crate::refusal::{Limit, Refusal};
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How a body arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// As a stream of HTTP/2.
    pub(super) streams: bool,
    /// Coded with gzip.
    pub(super) gzip: bool,
}

/// The body of a request. Nothing is read until it is collected or streamed.
#[derive(Debug)]
pub struct Inbound {
    flow: Option<Box<Flow>>,
    meter: Arc<AtomicU64>,
}

/// A body on its way in.
struct Flow {
    raw: Body,
    shape: Shape,
    inflate: Option<Inflate>,
    /// The length of what is handed on, where it is known.
    declared: Option<u64>,
    /// The length of what is sent.
    sent: Option<u64>,
    limit: u64,
    raw_bytes: u64,
    given: u64,
    patience: Patience,
    meter: Arc<AtomicU64>,
    /// Counts what is collected, if it is to be counted.
    share: Option<Share>,
}

/// How long a client may keep us waiting: at once, over the whole body, and by what it has sent of late. Without the
/// last, one that has sent a lot could hold what it takes for hours.
struct Patience {
    idle: Idle,
    /// Bytes in a second.
    rate: u64,
    /// How long it may be slower.
    after: Duration,
    since: Option<Instant>,
    waited: Duration,
    /// Of that, what it has not earned back since; never less than nothing, and no more than this.
    debt: Duration,
    most_debt: Duration,
}

impl Inbound {
    /// No body.
    pub fn empty() -> Self {
        Self {
            flow: None,
            meter: Arc::default(),
        }
    }

    /// A body that has been read already, to be sent on.
    pub fn whole(bytes: Bytes, limits: &Limits) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        let length = Some(bytes.len() as u64);
        let shape = Shape {
            streams: false,
            gzip: false,
        };
        Self::new(body::full(bytes), length, limits, shape)
    }

    pub(super) fn new(raw: Body, declared: Option<u64>, limits: &Limits, shape: Shape) -> Self {
        let meter: Arc<AtomicU64> = Arc::default();
        let flow = Flow {
            raw,
            shape,
            inflate: shape.gzip.then(Inflate::new),
            declared: declared.filter(|_| !shape.gzip),
            sent: declared,
            limit: limits.body as u64,
            raw_bytes: 0,
            given: 0,
            patience: Patience {
                idle: Idle::new(limits.body_idle),
                rate: limits.body_rate.max(1) as u64,
                after: limits.body_rate_after,
                since: None,
                waited: Duration::ZERO,
                debt: Duration::ZERO,
                most_debt: limits.body_rate_after.max(limits.body_idle),
            },
            meter: Arc::clone(&meter),
            share: None,
        };
        Self {
            flow: Some(Box::new(flow)),
            meter,
        }
    }

    /// If it is collected, it counts towards this.
    #[must_use]
    pub(super) fn counted(mut self, budget: &Arc<Budget>) -> Self {
        if let Some(flow) = &mut self.flow {
            flow.share = Some(Share::of(budget));
        }
        self
    }

    /// With another limit than that of all bodies.
    #[must_use]
    pub(crate) fn up_to(mut self, limit: usize) -> Self {
        if let Some(flow) = &mut self.flow {
            flow.limit = limit as u64;
        }
        self
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.flow.is_none()
    }

    /// The length, where it is known before the end.
    pub fn declared(&self) -> Option<u64> {
        match &self.flow {
            Some(flow) => flow.declared,
            None => Some(0),
        }
    }

    /// The body in the coding that it is sent in, and whether that is gzip: an attachment is stored so.
    #[must_use]
    pub fn as_sent(mut self) -> (Self, bool) {
        let Some(flow) = &mut self.flow else {
            return (self, false);
        };
        let gzip = flow.inflate.take().is_some();
        flow.declared = flow.sent;
        (self, gzip)
    }

    /// Counts the bytes as they are received.
    pub fn meter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.meter)
    }

    /// The whole body, if it is not longer than `limit`, nor than the limit of all bodies, and there is room for it.
    pub async fn collect(self, limit: usize) -> Result<Bytes, Refusal> {
        let (whole, share) = self.collect_apart(limit).await?;
        Ok(match share {
            Some(share) => share.keep(whole),
            None => whole,
        })
    }

    /// The same, and the share that counts it, for whoever keeps what is made of it and not itself.
    pub(crate) async fn collect_apart(
        self,
        limit: usize,
    ) -> Result<(Bytes, Option<Share>), Refusal> {
        let Some(mut flow) = self.flow else {
            return Ok((Bytes::new(), None));
        };
        let limit = flow.limit.min(limit as u64);
        if flow.declared.is_some_and(|declared| declared > limit) {
            return Err(Refusal::TooLarge(Limit::Body));
        }
        flow.limit = limit;
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        while let Some(frame) = flow.frame().await {
            let Ok(data) = frame.map_err(Cut::refusal)?.into_data() else {
                continue;
            };
            if let Some(share) = &mut flow.share {
                share.count(&data)?;
            }
            // Most bodies come in one piece, which is then not copied.
            if first.is_empty() && whole.is_empty() {
                first = data;
                continue;
            }
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
        let whole = if whole.is_empty() {
            first
        } else {
            whole.freeze()
        };
        Ok((whole, flow.share.take()))
    }

    /// The body as it arrives, and the share that counts what is held of it.
    pub(crate) fn stream_with_share(mut self) -> (Body, Option<Share>) {
        let share = self.flow.as_mut().and_then(|flow| flow.share.take());
        (self.stream(), share)
    }

    /// The body as it arrives. Its errors are `Cut::Client…`, and abort the request to CouchDB.
    pub fn stream(self) -> Body {
        match self.flow {
            Some(flow) => body::boxed(flow),
            None => body::empty(),
        }
    }
}

impl Flow {
    /// The next bytes as sent.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            match Pin::new(&mut self.raw).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    self.patience.moved(length as u64);
                    // Security: trailers could add a header after the check (leaks A14).
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    self.raw_bytes += data.len() as u64;
                    self.meter.fetch_add(data.len() as u64, Ordering::Relaxed);
                    if self.raw_bytes > self.limit {
                        return Poll::Ready(Some(Err(Cut::ClientTooLarge)));
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(cut))) => return Poll::Ready(Some(Err(cut))),
                Poll::Ready(None) => return Poll::Ready(self.end().err().map(Err)),
                Poll::Pending => {
                    ready!(self.patience.poll_exhausted(cx, self.raw_bytes));
                    return Poll::Ready(Some(Err(Cut::ClientSlow)));
                }
            }
        }
    }

    /// Is this really the end?
    fn end(&self) -> Result<(), Cut> {
        // Security: hyper ends a stream's body without an error when the client resets it with
        // `NO_ERROR`; half a body must not count as a whole one
        // (`a_reset_without_error_does_not_complete_a_body`).
        let reset = self.shape.streams && !self.raw.is_end_stream();
        let short = self.sent.is_some_and(|sent| sent != self.raw_bytes);
        if reset || short {
            return Err(Cut::ClientBroken);
        }
        Ok(())
    }

    /// The next bytes as meant.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            let Some(inflate) = &mut self.inflate else {
                return self.poll_raw(cx);
            };
            match inflate.take() {
                Ok(Some(plain)) => return Poll::Ready(Some(Ok(plain))),
                Ok(None) => {}
                Err(cut) => return Poll::Ready(Some(Err(cut))),
            }
            if inflate.is_finished() {
                return Poll::Ready(None);
            }
            match ready!(self.poll_raw(cx)) {
                Some(Ok(data)) => {
                    if let Some(inflate) = &mut self.inflate {
                        inflate.feed(data);
                    }
                }
                Some(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                None => {
                    if let Some(inflate) = &mut self.inflate
                        && let Err(cut) = inflate.finish()
                    {
                        return Poll::Ready(Some(Err(cut)));
                    }
                }
            }
        }
    }
}

impl http_body::Body for Flow {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let flow = self.get_mut();
        let frame = match ready!(flow.poll_plain(cx)) {
            Some(Ok(data)) => {
                flow.given += data.len() as u64;
                if flow.given > flow.limit {
                    Some(Err(Cut::ClientTooLarge))
                } else {
                    Some(Ok(Frame::data(data)))
                }
            }
            Some(Err(cut)) => Some(Err(cut)),
            None => None,
        };
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        match self.declared {
            Some(declared) => SizeHint::with_exact(declared.saturating_sub(self.given)),
            None => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("shape", &self.shape)
            .field("declared", &self.declared)
            .field("raw_bytes", &self.raw_bytes)
            .finish_non_exhaustive()
    }
}

impl Patience {
    /// So many bytes have come.
    fn moved(&mut self, bytes: u64) {
        self.idle.moved();
        if let Some(since) = self.since.take() {
            let waited = since.elapsed();
            self.waited += waited;
            self.debt += waited;
        }
        self.debt = self.debt.saturating_sub(self.earned(bytes));
    }

    fn poll_exhausted(&mut self, cx: &mut Context<'_>, received: u64) -> Poll<()> {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            let slow = self.waited > self.after && self.waited > self.earned(received);
            if slow || self.debt > self.most_debt {
                return Poll::Ready(());
            }
        }
        self.idle.poll_expired(cx)
    }

    /// The time that so many bytes may take.
    fn earned(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.rate)
    }
}
