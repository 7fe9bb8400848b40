//! The body of CouchDB's answer, and what becomes of the connection that it comes by.
//!
//! Invariant: without trailers, and never quiet for longer than the limit. The connection goes back only when the body
//! has been read to its end; dropped before, it is closed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{Link, Pool};
use crate::body::{Cut, Idle};

/// See the module.
#[derive(Debug)]
pub struct Answered {
    incoming: Incoming,
    link: Option<Box<Link>>,
    /// Where the connection goes at the end; closed, where it goes nowhere.
    home: Option<Arc<Pool>>,
    idle: Idle,
}

impl Answered {
    pub(super) fn new(
        incoming: Incoming,
        link: Box<Link>,
        home: Option<Arc<Pool>>,
        idle: Idle,
    ) -> Self {
        let mut answered = Self {
            incoming,
            link: Some(link),
            home,
            idle,
        };
        if answered.incoming.is_end_stream() {
            answered.end();
        }
        answered
    }

    /// The body has been read to its end.
    fn end(&mut self) {
        if let (Some(link), Some(home)) = (self.link.take(), self.home.take()) {
            home.give_back(link);
        }
    }

    /// The next frame; our own polling of the connection brings it, so that nobody has to wake us but the connection.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let idly = &mut Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut self.incoming).poll_frame(idly);
        match &mut self.link {
            Some(link) if polled.is_pending() => {
                if !link.advance(cx) {
                    self.link = None;
                }
                Pin::new(&mut self.incoming).poll_frame(idly)
            }
            Some(_) | None => polled,
        }
    }
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let answered = self.get_mut();
        loop {
            match answered.poll_incoming(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    answered.idle.moved();
                    if let Ok(data) = frame.into_data() {
                        // Whoever knows the length asks no further.
                        if answered.incoming.is_end_stream() {
                            answered.end();
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    answered.link = None;
                    return Poll::Ready(Some(Err(Cut::Upstream)));
                }
                Poll::Ready(None) => {
                    answered.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let expired = answered.idle.poll_expired(cx);
                    return expired.map(|()| Some(Err(Cut::UpstreamSlow)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
