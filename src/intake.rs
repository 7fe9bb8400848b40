//! Raw request → `Intake`: what bare hyper leaves open is closed here.
//!
//! hyper refuses broken heads by itself (control characters, folded lines, bad or differing lengths, a
//! head or a number of fields above the limits) and closes after a request with both framings
//! (RFC 9112 section 6.3). This module refuses what hyper lets through and two readers could read
//! differently, and keeps only the header fields on its list.
//!
//! Invariant: an `Intake` has exactly one meaning: one method of the list, one host, one target, each
//! header at most once, and a body whose end is known. No field of the client that is not on the list goes
//! any further.

mod head;
mod inbound;
mod inflate;
pub(crate) mod json_body;
#[cfg(test)]
mod tests;

pub use inbound::Inbound;

use crate::body::{self, Arriving, Cut};
use crate::budget::Budget;
use crate::caller::Caller;
use crate::config::{Limits, Network};
use crate::refusal::{Limit, Refusal, Shared};
use crate::shares::{Capacity, ConnectionPlace, Full, Holder, Holdings};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Request, Version};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use std::error::Error as _;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The other end of a client's connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// As the socket says.
    pub address: SocketAddr,
    /// Over TLS.
    pub tls: bool,
    /// The server name of the TLS handshake.
    pub server_name: Option<Arc<str>>,
    /// The place that the connection takes, unless a trusted proxy brings many callers by it.
    pub(crate) place: Option<Arc<ConnectionPlace>>,
}

/// What accepting a request needs from the configuration.
#[derive(Debug)]
pub struct Door {
    limits: Limits,
    names: Vec<String>,
    trusted: Vec<Network>,
    /// Whose addresses stand for many: the trusted ones, and those that are said to be shared.
    many: Vec<Network>,
    run: u32,
    requests: AtomicU64,
    budget: Budget,
    streams: Arc<Capacity>,
    feeds: Arc<Capacity>,
}

/// A request with exactly one meaning.
#[derive(Debug)]
pub struct Intake {
    /// `GET`, `HEAD`, `POST`, `PUT`, `DELETE`, `COPY` or `OPTIONS`.
    pub method: &'static str,
    /// `/path?query` as sent, visible ASCII; `*` for `OPTIONS *`.
    pub target: String,
    /// The host, with its port if one was sent, in lower case; behind trusted proxies as they say.
    pub host: String,
    /// The fields on the list; each at most once, visible ASCII.
    pub headers: HeaderMap,
    /// The body, bounded; empty for methods whose body means nothing.
    pub body: Inbound,
    /// The other end of the connection.
    pub peer: Peer,
    /// Whether the client speaks TLS, to us or to a trusted proxy.
    pub tls: bool,
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// For the log, and for CouchDB's.
    pub request_id: String,
    /// What it holds of what all share.
    pub(crate) holdings: Arc<Holdings>,
    /// What it makes us hold is counted there.
    pub(crate) budget: Arc<Budget>,
}

impl Door {
    /// A door for one start of the program.
    pub fn new(limits: &Limits, names: &[String], trusted: &[Network], shared: &[Network]) -> Self {
        let mut run = [0; 4];
        // Request ids are names, not secrets: without randomness they are merely the same after a restart.
        let _ = aws_lc_rs::rand::fill(&mut run);
        Self {
            limits: *limits,
            names: names.to_vec(),
            trusted: trusted.to_vec(),
            many: [trusted, shared].concat(),
            run: u32::from_ne_bytes(run),
            requests: AtomicU64::new(0),
            budget: Budget::new(limits.bodies, limits.shares.bodies),
            streams: Capacity::new(limits.streams, limits.shares.streams),
            feeds: Capacity::new(limits.feeds, limits.shares.feeds),
        }
    }

    /// Lets a request in that may be one of many on its connection.
    pub(crate) fn begin(&self, intake: &Intake) -> Result<(), Refusal> {
        if intake.version != Version::HTTP_2 {
            return Ok(());
        }
        let taken = intake.holdings.take(&self.streams);
        taken.map_err(|full| full.refusal(Shared::Streams))
    }

    /// Lets a request open a feed.
    pub(crate) fn open_feed(&self, holdings: &Holdings) -> Result<(), Refusal> {
        let taken = holdings.take(&self.feeds);
        taken.map_err(|full| full.refusal(Shared::Feeds))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Trusted proxies name their requests themselves; nobody else may write into our log.
    fn request_id(&self, parts: &Parts, trusted: bool) -> String {
        let sent = ["x-request-id", "x-couch-request-id"]
            .iter()
            .find_map(|name| parts.headers.get(*name))
            .and_then(|id| id.to_str().ok())
            .filter(|id| trusted && (1..=64).contains(&id.len()))
            .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        sent.map_or_else(
            || {
                let number = self.requests.fetch_add(1, Ordering::Relaxed);
                format!("{:08x}{number:08x}", self.run)
            },
            str::to_owned,
        )
    }

    /// The rightmost address that no trusted proxy vouches away.
    fn client_address(&self, parts: &Parts, socket: IpAddr) -> IpAddr {
        let forwarded = parts.headers.get_all("x-forwarded-for");
        let mut hops: Vec<&str> = forwarded
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let mut address = socket.to_canonical();
        while self.trusts(address) {
            match hops.pop().map(str::parse::<IpAddr>) {
                Some(Ok(hop)) => address = hop.to_canonical(),
                Some(Err(_)) | None => break,
            }
        }
        address
    }
}

impl Intake {
    /// Takes a request in, or says why not. Nothing of the body is read yet.
    pub fn accept(raw: Request<Arriving>, peer: Peer, door: &Door) -> Result<Self, Refusal> {
        let (parts, incoming) = raw.into_parts();
        let declared = incoming.size_hint().exact();
        let read = move |error| broken(&error);
        let body = (declared != Some(0)).then(|| body::boxed(incoming.map_err(read)));
        Self::from_parts(&parts, body, declared, peer, door)
    }

    /// The same for a body of any make.
    fn from_parts(
        parts: &Parts,
        raw: Option<body::Body>,
        declared: Option<u64>,
        peer: Peer,
        door: &Door,
    ) -> Result<Self, Refusal> {
        let limits = &door.limits;
        head::check_size(parts, limits)?;
        let method = head::method(&parts.method)?;
        head::check_framing(parts)?;
        let trusted = door.trusts(peer.address.ip());
        let host = head::host(parts, &door.names, trusted)?;
        let target = head::target(parts, method, limits)?;
        let headers = head::keep(&parts.headers)?;
        let gzip = head::is_gzip(&parts.headers.get_all(CONTENT_ENCODING))?;
        let has_body = matches!(method, "POST" | "PUT");
        let address = door.client_address(parts, peer.address.ip());
        let holdings = Holdings::new(holder(address, &door.many));
        let budget = door.budget.of_request(&holdings);
        let body = match raw.filter(|_| has_body) {
            Some(raw) => {
                let longest = match is_batch(&target) {
                    true => limits.bodies,
                    false => limits.body,
                };
                if declared.is_some_and(|declared| declared > longest as u64) {
                    return Err(Refusal::TooLarge(Limit::Body));
                }
                let streams = parts.version == Version::HTTP_2;
                let shape = inbound::Shape { streams, gzip };
                Inbound::new(raw, declared, limits, shape).counted(&budget)
            }
            None => Inbound::empty(),
        };
        Ok(Self {
            method,
            target,
            host,
            headers,
            body,
            budget,
            address,
            version: parts.version,
            request_id: door.request_id(parts, trusted),
            tls: head::is_tls(parts, peer.tls, trusted),
            peer,
            holdings,
        })
    }

    /// From now on what the request holds, its connection with it, counts to the caller's name, if they have one.
    pub(crate) fn count_to(&self, caller: &Caller) -> Result<(), Refusal> {
        let Some(holder) = Holder::of(caller) else {
            return Ok(());
        };
        let refused = |of| move |full: Full| full.refusal(of);
        if let Some(place) = &self.peer.place {
            let moved = place.hand_over(&holder);
            moved.map_err(refused(Shared::Connections))?;
        }
        let moved = self.holdings.hand_over(&holder);
        moved.map_err(refused(Shared::Streams))
    }

    /// The same request with another body, which is here as a whole.
    #[must_use]
    pub(crate) fn with_body(self, body: Bytes, limits: &Limits) -> Self {
        Self {
            body: Inbound::whole(body, limits),
            ..self
        }
    }

    /// The value of a field, if it was sent and is on the list.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whether the body is a batch of documents, `/DB/_bulk_docs`, whose limit is for each of them.
fn is_batch(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.nth(1) == Some("_bulk_docs") && segments.next().is_none()
}

/// To whom it counts what comes from here; `many` are the networks whose addresses stand for many.
pub(crate) fn holder(address: IpAddr, many: &[Network]) -> Holder {
    if many.iter().any(|network| network.contains(address)) {
        return Holder::Many;
    }
    Holder::at(address)
}

/// A connection that ended within the body, or a body that can't be read: the same to us, not to the log.
fn broken(error: &hyper::Error) -> Cut {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            let kind = io.kind();
            let read = kind == ErrorKind::InvalidInput || kind == ErrorKind::InvalidData;
            return if read {
                Cut::ClientBroken
            } else {
                Cut::ClientGone
            };
        }
        source = cause.source();
    }
    Cut::ClientBroken
}
