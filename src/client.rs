//! The HTTP/1.1 client to CouchDB. Here and in `client/` alone something is sent to it.
//!
//! It knows nothing of callers or rules: whoever may send what is decided above. `reuse` decides which requests share
//! connections, `pool` keeps these; a feed, as everything that is not sure to end at the end of its message, has its
//! own.
//!
//! Invariant: a request that failed, or whose body failed, never leaves a connection in the pool; every
//! wait has a deadline; `Host` and the address come from the configuration alone.

mod answered;
mod connect;
mod error;
mod pool;
mod reuse;
mod sent;
#[cfg(test)]
mod tests;

pub use answered::Answered;
pub use error::ClientError;
pub(crate) use reuse::is_json;
pub use reuse::{Carries, Manner, Reuse};

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::body::{Body, Cut, Idle};
use crate::config::{CouchDb, Limits};
use connect::Connector;
use pool::{Link, Lost, Pool};
use reuse::leaves_open;
use sent::{Activity, Sent, quiet_for};

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
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
    host: HeaderValue,
    limits: Limits,
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
        let unusable = |_| ClientError::Setup(format!("`{origin}` can't be used as an address"));
        Ok(Self {
            pool: Pool::new(connector, limits.upstream_keep),
            host: HeaderValue::from_str(&origin.authority()).map_err(unusable)?,
            limits: *limits,
        })
    }

    /// A client of the same node that shares no connection with this one.
    #[must_use]
    pub fn apart(self) -> Self {
        Self {
            pool: self.pool.another(),
            ..self
        }
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
        reuse: Reuse,
    ) -> Result<Response<Answered>, ClientError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        parts.version = http::Version::HTTP_11;
        for name in &HOP_BY_HOP {
            parts.headers.remove(name);
        }
        parts.headers.insert(header::HOST, self.host.clone());
        // Security: so that CouchDB itself reads no further request on this connection.
        // (`what_is_not_sure_to_end_has_a_connection_for_itself`)
        if reuse == Reuse::Never {
            let close = HeaderValue::from_static("close");
            parts.headers.insert(header::CONNECTION, close);
        }
        // RFC 9110 section 8.6; CouchDB takes a POST without a length for one that lacks its body.
        if body.is_end_stream() && (parts.method == Method::POST || parts.method == Method::PUT) {
            parts
                .headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let safe = parts.method == Method::GET || parts.method == Method::HEAD;
        let again = (safe && body.is_end_stream()).then(|| parts.clone());
        match (self.exchange(parts, body, kind, reuse).await, again) {
            (Err(Failure::Died), Some(parts)) => {
                let body = crate::body::empty();
                let again = Box::pin(self.exchange(parts, body, kind, reuse)).await;
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
        reuse: Reuse,
    ) -> Result<Response<Answered>, Failure> {
        let (body, activity) = Sent::new(body);
        let (wait, idle) = match kind {
            Kind::Request => (self.limits.upstream_answer, self.limits.upstream_idle),
            Kind::Feed => (self.limits.feed_idle, self.limits.feed_idle),
        };
        let request = Request::from_parts(parts, body);
        // One allocation, and nobody above carries its size.
        let asked = Box::pin(self.ask(request, activity.as_deref(), wait, reuse));
        let (link, response) = asked.await?;
        // Security: a tunnel past every filter (leaks A16).
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::Broken.into());
        }
        let reused = reuse == Reuse::IfWhole && leaves_open(&response, activity.is_some());
        let home = reused.then(|| Arc::clone(&self.pool));
        Ok(response.map(|incoming| Answered::new(incoming, link, home, Idle::new(idle))))
    }

    /// Asks on a connection that waits and to which nothing has happened, or else on a new one.
    async fn ask(
        &self,
        mut request: Request<Sent>,
        activity: Option<&Activity>,
        wait: Duration,
        reuse: Reuse,
    ) -> Result<(Box<Link>, Response<Incoming>), Failure> {
        loop {
            let waiting = match reuse {
                Reuse::IfWhole => self.pool.take(),
                Reuse::Never => None,
            };
            let is_new = waiting.is_none();
            let mut link = match waiting {
                Some(link) => link,
                None => Box::pin(self.pool.connect()).await?,
            };
            let answer = tokio::select! {
                biased;
                answer = link.ask(request) => answer,
                () = quiet_for(activity, wait) => return Err(ClientError::Slow.into()),
            };
            match answer {
                Ok(answer) => return Ok((link, answer)),
                Err(Lost::Unsent(unsent)) if !is_new => request = *unsent,
                Err(Lost::Unsent(_)) => return Err(Failure::Died),
                Err(Lost::Failed(error)) => return Err(why(&error)),
            }
        }
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

fn why(error: &hyper::Error) -> Failure {
    let mut died = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cut) = cause.downcast_ref::<Cut>() {
            return ClientError::Client(*cut).into();
        }
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
