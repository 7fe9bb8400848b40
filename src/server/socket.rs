//! The socket below TLS: it notices a client that takes nothing, and closes without losing what was said.
//!
//! Invariant: a write that makes no progress for the limit fails, whatever the protocol above does; a close
//! never resets the connection while the client is still sending, so that it can read our last answer.

use crate::body::Idle;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long, and how many bytes, a client may still send after we have closed our side.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A socket whose writes have a pace.
pub(super) struct Paced<S> {
    inner: S,
    idle: Idle,
    closing: Closing,
}

enum Closing {
    No,
    /// Our side is closed; what the client still sends is thrown away.
    Lingers {
        until: Pin<Box<Sleep>>,
        left: usize,
    },
    Done,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, write_idle: Duration) -> Self {
        Self {
            inner,
            idle: Idle::new(write_idle),
            closing: Closing::No,
        }
    }

    fn paced<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.moved();
            return polled;
        }
        let expired = self.idle.poll_expired(cx);
        expired.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Ready when the client has closed its side too, or has had its chance.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingers { until, left } = &mut self.closing else {
            return Poll::Ready(());
        };
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scrap = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer));
            let length = buffer.filled().len();
            if read.is_err() || length == 0 || length > *left {
                return Poll::Ready(());
            }
            *left -= length;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.paced(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.paced(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Closing::No = self.closing {
            let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.paced(cx, polled))?;
            self.closing = Closing::Lingers {
                until: Box::pin(tokio::time::sleep(LINGER)),
                left: LINGER_BYTES,
            };
        }
        ready!(self.poll_linger(cx));
        self.closing = Closing::Done;
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.paced(cx, polled)
    }
}
