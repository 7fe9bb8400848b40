//! Connections to CouchDB between two requests.
//!
//! Whoever asks moves the connection themselves, while they wait for the head and while he reads the body: no task of its
//! own, no message from one thread to another. Between two requests nobody does, and what has arrived meanwhile is
//! looked for when the connection is taken out.
//!
//! Invariant: here are only connections on which every request was sent whole and every answer was read to its end,
//! and nothing stood behind it. One is taken out only in order to be written to, and is not, if anything has arrived.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future as _;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::connect::{Connector, Socket, Watch};
use super::error::ClientError;
use super::sent::Sent;

/// Between memory for each slow reader and speed of large bodies (edge A4).
const BUFFER: usize = 64 * 1024;

/// Idle connections that are kept.
const MOST: usize = 64;

/// Where connections wait.
pub(super) struct Pool {
    connector: Connector,
    keep: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one that came back last is at the end.
    links: VecDeque<(Instant, Box<Link>)>,
    /// Somebody ends those that have waited for too long.
    swept: bool,
}

/// A connection, and the way to ask on it.
pub(super) struct Link {
    /// None when it has ended.
    connection: Option<Connection<Socket, Sent>>,
    sender: SendRequest<Sent>,
    watch: Arc<Watch>,
}

/// Why there is no answer on this connection.
pub(super) enum Lost {
    /// Nothing of the request was sent, which is given back.
    Unsent(Box<Request<Sent>>),
    /// Anything else.
    Failed(hyper::Error),
}

impl Pool {
    pub(super) fn new(connector: Connector, keep: Duration) -> Arc<Self> {
        Arc::new(Self {
            connector,
            keep,
            idle: Mutex::default(),
        })
    }

    /// An empty one of the same node.
    pub(super) fn another(&self) -> Arc<Self> {
        Self::new(self.connector.clone(), self.keep)
    }

    /// A connection that waits here.
    pub(super) fn take(&self) -> Option<Box<Link>> {
        let mut idle = self.idle();
        let (since, link) = idle.links.pop_back()?;
        if since.elapsed() >= self.keep {
            // All others have waited for longer.
            idle.links.clear();
            return None;
        }
        drop(idle);
        link.watch.demand_silence();
        Some(link)
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Box<Link>, ClientError> {
        let socket = self.connector.connect().await;
        let socket = socket.map_err(|_| ClientError::Unreachable)?;
        let watch = socket.watch();
        let mut builder = Builder::new();
        let made = builder.max_buf_size(BUFFER).handshake(socket).await;
        let (sender, connection) = made.map_err(|_| ClientError::Unreachable)?;
        Ok(Box::new(Link {
            connection: Some(connection),
            sender,
            watch,
        }))
    }

    /// Takes a connection back, whose answer has been read to its end.
    pub(super) fn give_back(self: &Arc<Self>, mut link: Box<Link>) {
        if !link.is_at_rest() {
            return;
        }
        let mut idle = self.idle();
        idle.links.push_back((Instant::now(), link));
        if idle.links.len() > MOST {
            idle.links.pop_front();
        }
        if !std::mem::replace(&mut idle.swept, true) {
            drop(idle);
            self.sweep();
        }
    }

    /// Ends what waits for too long, as long as something waits.
    fn sweep(self: &Arc<Self>) {
        let (pool, keep) = (Arc::downgrade(self), self.keep);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(sweep(pool, keep))),
            // Nothing runs any more that could ask.
            Err(_) => self.idle().links.clear(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(pool: Weak<Pool>, keep: Duration) {
    loop {
        tokio::time::sleep(keep).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        while idle
            .links
            .front()
            .is_some_and(|(since, _)| since.elapsed() >= keep)
        {
            idle.links.pop_front();
        }
        if idle.links.is_empty() {
            idle.swept = false;
            return;
        }
    }
}

impl Link {
    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn ask(&mut self, request: Request<Sent>) -> Result<Response<Incoming>, Lost> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let answer = std::future::poll_fn(|cx| {
            advance(connection, cx);
            // Only the connection can bring the answer, and nobody but us moves it: nobody else has to wake us.
            answer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        });
        answer.await.map_err(|mut lost| match lost.take_message() {
            Some(request) => Lost::Unsent(Box::new(request)),
            None => Lost::Failed(lost.into_error()),
        })
    }

    /// Reads and writes what can be read and written now. False when the connection has ended.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        advance(&mut self.connection, cx)
    }

    /// Has all been sent and all been read, and nothing else come?
    fn is_at_rest(&mut self) -> bool {
        // hyper wants the next request only when it is between two messages, and ends when anything stands behind the
        // answer. It may want it while the kernel has not taken all of this one.
        let alive = self.advance(&mut Context::from_waker(Waker::noop()));
        alive && self.sender.is_ready() && !self.watch.is_blocked()
    }
}

fn advance(connection: &mut Option<Connection<Socket, Sent>>, cx: &mut Context<'_>) -> bool {
    let moved = connection
        .as_mut()
        .map(|connection| Pin::new(connection).poll(cx));
    match moved {
        Some(Poll::Pending) => true,
        // What it had not begun to send is given back when it is dropped.
        Some(Poll::Ready(_)) | None => {
            *connection = None;
            false
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
