//! The pooled HTTP/1.1 client to CouchDB. The only file that names the client type.
//!
//! It knows nothing of callers or rules: whoever may send what is decided above. Feeds have a pool of
//! their own, since each holds a connection for as long as it lasts.
//!
//! Invariant: a request that failed, or whose body failed, never leaves a connection in the pool; every
//! wait has a deadline; `Host` and the address come from the configuration alone.

mod connect;
#[cfg(test)]
mod tests;

use crate::body::{Body, Cut, Idle};
use crate::config::{CouchDb, Limits, Origin};
use crate::refusal::Refusal;
use bytes::Bytes;
use connect::Connector;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Between memory for each slow reader and speed of large bodies (edge A4).
const BUFFER: usize = 64 * 1024;

/// Idle connections that are kept.
const IDLE_CONNECTIONS: usize = 64;

/// Never sent on: they belong to one connection, or to the framing that hyper makes.
static HOP_BY_HOP: [header::HeaderName; 9] = [
    header::CONNECTION,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// What kind of answer is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One that begins soon and goes on until it ends.
    Request,
    /// A feed of changes, which is quiet for long.
    Feed,
}

/// Requests to CouchDB. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    requests: legacy::Client<Connector, Tracked>,
    feeds: legacy::Client<Connector, Tracked>,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    limits: Limits,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The configuration can't be used.
    #[error("{0}")]
    Setup(String),
    /// No connection.
    #[error("the database can't be reached")]
    Unreachable,
    /// No answer in time.
    #[error("the database did not answer in time")]
    Slow,
    /// The client's own body failed, so the request was never complete.
    #[error("the request was cut: {0}")]
    Client(Cut),
    /// Something that is not an answer.
    #[error("the answer of the database can't be read")]
    Broken,
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Setup(_) => Self::Internal,
            ClientError::Unreachable => Self::BadGateway("the database can't be reached"),
            ClientError::Slow => Self::UpstreamSlow,
            ClientError::Client(cut) => cut.refusal(),
            ClientError::Broken => Self::BadGateway("the answer of the database can't be read"),
        }
    }
}

impl Client {
    /// A client of the first node.
    pub fn new(couchdb: &CouchDb, limits: &Limits) -> Result<Self, ClientError> {
        let origin = couchdb
            .nodes
            .first()
            .ok_or_else(|| ClientError::Setup("no CouchDB node is configured".to_owned()))?;
        let connector = Connector::new(origin, couchdb.ca.as_deref(), limits.upstream_connect)
            .map_err(ClientError::Setup)?;
        let authority = origin.authority();
        let unusable = |_| ClientError::Setup(format!("`{origin}` can't be used as an address"));
        Ok(Self {
            requests: pool(connector.clone(), limits),
            feeds: pool(connector, limits),
            scheme: scheme(origin),
            host: HeaderValue::from_str(&authority).map_err(|_| unusable(()))?,
            authority: Authority::try_from(authority).map_err(|_| unusable(()))?,
            limits: *limits,
        })
    }

    /// Sends a request whose URI is `path?query`, and waits until the answer begins.
    ///
    /// A connection that turned out to be closed before a byte of the request was sent is replaced
    /// by another. A `GET` or `HEAD` is sent again, once, when the connection died before the answer began:
    /// CouchDB may drop one that it has just answered on. Nothing else is ever sent twice.
    pub async fn send(
        &self,
        request: Request<Body>,
        kind: Kind,
    ) -> Result<Response<Answered>, ClientError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        parts.uri = self.address(path)?;
        parts.version = http::Version::HTTP_11;
        for name in &HOP_BY_HOP {
            parts.headers.remove(name);
        }
        parts.headers.insert(header::HOST, self.host.clone());
        // RFC 9110 section 8.6; CouchDB takes a POST without a length for one that lacks its body.
        if body.is_end_stream() && (parts.method == Method::POST || parts.method == Method::PUT) {
            parts
                .headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let safe = parts.method == Method::GET || parts.method == Method::HEAD;
        let again = (safe && body.is_end_stream()).then(|| parts.clone());
        match (self.exchange(parts, body, kind).await, again) {
            (Err(Failure::Died), Some(parts)) => {
                let again = Box::pin(self.exchange(parts, crate::body::empty(), kind)).await;
                again.map_err(ClientError::from)
            }
            (answer, _) => answer.map_err(ClientError::from),
        }
    }

    async fn exchange(
        &self,
        parts: Parts,
        body: Body,
        kind: Kind,
    ) -> Result<Response<Answered>, Failure> {
        let activity = Arc::new(Activity::new());
        let body = Tracked {
            body,
            activity: Arc::clone(&activity),
        };
        let (pool, answer, idle) = match kind {
            Kind::Request => (
                &self.requests,
                self.limits.upstream_answer,
                self.limits.upstream_idle,
            ),
            Kind::Feed => (&self.feeds, self.limits.feed_idle, self.limits.feed_idle),
        };
        let response = pool.request(Request::from_parts(parts, body));
        let response = tokio::select! {
            response = response => response.map_err(|error| why(&error))?,
            () = activity.quiet_for(answer) => return Err(ClientError::Slow.into()),
        };
        // Security: a tunnel past every filter (leaks A16).
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::Broken.into());
        }
        Ok(response.map(|incoming| Answered {
            incoming,
            idle: Idle::new(idle),
        }))
    }

    fn address(&self, path: Option<PathAndQuery>) -> Result<Uri, ClientError> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|_| ClientError::Setup("the rendered path is not a target".to_owned()))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

fn pool(connector: Connector, limits: &Limits) -> legacy::Client<Connector, Tracked> {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(limits.upstream_keep)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_buf_size(BUFFER)
        .retry_canceled_requests(true)
        .set_host(false)
        .build(connector)
}

fn scheme(origin: &Origin) -> Scheme {
    if origin.tls {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    }
}

/// Why there is no answer.
enum Failure {
    /// The connection died before the answer was there.
    Died,
    /// Anything else.
    Other(ClientError),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Died => Self::Broken,
            Failure::Other(error) => error,
        }
    }
}

fn why(error: &legacy::Error) -> Failure {
    if error.is_connect() {
        return ClientError::Unreachable.into();
    }
    let mut died = false;
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cut) = cause.downcast_ref::<Cut>() {
            return ClientError::Client(*cut).into();
        }
        let ended = cause.downcast_ref::<hyper::Error>();
        died |= ended.is_some_and(|error| error.is_incomplete_message() || error.is_closed());
        let reset = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        died |= matches!(
            reset,
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        );
        source = cause.source();
    }
    if died {
        return Failure::Died;
    }
    ClientError::Broken.into()
}

/// The body of CouchDB's answer: without trailers, and never quiet for longer than the limit.
#[derive(Debug)]
pub struct Answered {
    incoming: Incoming,
    idle: Idle,
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.idle.moved();
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Cut::Upstream))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let expired = self.idle.poll_expired(cx);
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

/// When our request last moved: CouchDB's time to answer begins when it has all of it.
struct Activity {
    start: Instant,
    last: AtomicU64,
}

/// Marks a body that waits for its own source: CouchDB is not to blame for that.
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

    /// Ends when nothing has moved for this long.
    async fn quiet_for(&self, limit: Duration) {
        loop {
            let last = self.last.load(Ordering::Relaxed);
            let from = match last {
                WAITING => Instant::now(),
                millis => self.start + Duration::from_millis(millis),
            };
            tokio::time::sleep_until(from + limit).await;
            if last != WAITING && self.last.load(Ordering::Relaxed) == last {
                return;
            }
        }
    }
}

/// The body of our request, which notes when it moves.
struct Tracked {
    body: Body,
    activity: Arc<Activity>,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(_) => self.activity.moved(),
            Poll::Pending => self.activity.waits(),
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
