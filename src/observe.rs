//! One line in the log for each request, written when its answer has ended, whichever way.
//!
//! The names of all fields stand here. Never in a line: bodies, credentials, query values, raw paths.
//!
//! Invariant: a `Record` that was begun is written exactly once, whatever becomes of the request.

#[cfg(test)]
mod tests;

use crate::body::{self, Body, Cut};
use bytes::Bytes;
use http::{Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;
use tracing_subscriber::EnvFilter;

/// The target of the lines, for filters.
pub const TARGET: &str = "request";

/// No field is longer than this many characters.
const LONGEST: usize = 256;

/// Starts the log: lines for people on a terminal, JSON elsewhere. Never twice in a program.
///
/// `RUST_LOG` chooses what is written, as everywhere.
pub fn start() {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start would change nothing, which is no reason to end.
    let _ = if std::io::stderr().is_terminal() {
        log.try_init()
    } else {
        log.json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init()
    };
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Complete,
    /// We broke it off.
    Cut,
    /// The client went away before the end.
    ClientGone,
    /// The client was too slow.
    ClientSlow,
    /// CouchDB broke off.
    Upstream,
    /// CouchDB was too slow.
    UpstreamSlow,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cut => "cut",
            Self::ClientGone => "client-gone",
            Self::ClientSlow => "client-slow",
            Self::Upstream => "upstream-gone",
            Self::UpstreamSlow => "upstream-slow",
        }
    }
}

impl From<Cut> for Ending {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::ClientBroken
            | Cut::ClientTooLarge
            | Cut::Filter
            | Cut::NoRoom
            | Cut::NotOpen
            | Cut::Moving
            | Cut::Stopped => Self::Cut,
            Cut::ClientGone => Self::ClientGone,
            Cut::ClientSlow => Self::ClientSlow,
            Cut::Upstream => Self::Upstream,
            Cut::UpstreamSlow => Self::UpstreamSlow,
        }
    }
}

/// What is known of one request. Dropped without an answer it says that the client went away.
#[derive(Debug)]
pub struct Record {
    start: Instant,
    method: Box<str>,
    address: IpAddr,
    version: Version,
    id: Box<str>,
    caller: Option<Box<str>>,
    kind: Option<&'static str>,
    db: Option<Box<str>>,
    verdict: Option<&'static str>,
    rules: Option<Box<str>>,
    status: u16,
    received: Arc<AtomicU64>,
    sent: u64,
    ending: Ending,
}

impl Record {
    /// Starts the clock.
    pub fn begin(method: &str, address: IpAddr, version: Version, request_id: &str) -> Self {
        Self {
            start: Instant::now(),
            method: method.into(),
            address,
            version,
            id: request_id.into(),
            caller: None,
            kind: None,
            db: None,
            verdict: None,
            rules: None,
            status: 0,
            received: Arc::default(),
            sent: 0,
            ending: Ending::ClientGone,
        }
    }

    /// Who asks.
    pub fn caller(&mut self, name: &str) {
        self.caller = Some(name.into());
    }

    /// The template of the route, such as `/{db}/_all_docs`.
    pub fn kind(&mut self, kind: &'static str) {
        self.kind = Some(kind);
    }

    /// The database.
    pub fn db(&mut self, name: &str) {
        self.db = Some(name.into());
    }

    /// What policy said.
    pub fn verdict(&mut self, verdict: &'static str) {
        self.verdict = Some(verdict);
    }

    /// The rules by which it said so.
    pub fn rules(&mut self, rules: &str) {
        self.rules = Some(rules.into());
    }

    /// A fault of ours, said at once: the line of the request may come much later.
    pub fn fault(&self, cause: &str) {
        tracing::error!(
            id = &*self.id,
            route = self.kind,
            cause,
            "a request could not be answered"
        );
    }

    /// Where the bytes of the request's body are counted.
    pub fn received_by(&mut self, meter: Arc<AtomicU64>) {
        self.received = meter;
    }

    /// Ties the line to the end of this answer.
    pub fn attach(mut self, response: Response<Body>) -> Response<Body> {
        self.status = response.status().as_u16();
        // Such answers have no body on the wire, so nobody will read one to its end.
        let bodiless = matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if bodiless || *self.method == *"HEAD" {
            self.ending = Ending::Complete;
        }
        response.map(|body| {
            let record = self;
            body::boxed(Observed { body, record })
        })
    }

    fn write(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: TARGET,
            id = &*self.id,
            client = %self.address,
            protocol = ?self.version,
            method = &*clean(&self.method),
            caller = self.caller.as_deref().map(clean).as_deref(),
            route = self.kind,
            db = self.db.as_deref().map(clean).as_deref(),
            verdict = self.verdict,
            rules = self.rules.as_deref().map(clean).as_deref(),
            status = self.status,
            bytes_in = self.received.load(Ordering::Relaxed),
            bytes_out = self.sent,
            ms = millis,
            end = self.ending.name(),
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.write();
    }
}

/// A body that is counted, and whose end is noted.
struct Observed {
    body: Body,
    record: Record,
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.record.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                if self.body.is_end_stream() {
                    self.record.ending = Ending::Complete;
                }
            }
            Poll::Ready(Some(Err(cut))) => self.record.ending = Ending::from(*cut),
            Poll::Ready(None) => self.record.ending = Ending::Complete,
            Poll::Pending => {}
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

impl Drop for Observed {
    fn drop(&mut self) {
        // A body of known length is dropped, unasked, after its last byte.
        let whole = self.body.size_hint().exact() == Some(0);
        if self.record.ending == Ending::ClientGone && (whole || self.body.is_end_stream()) {
            self.record.ending = Ending::Complete;
        }
    }
}

/// Text of a client as it may stand in a line: short, and without anything that a terminal or a reader of
/// lines would obey (edge C10).
fn clean(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.len() <= LONGEST && !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::new();
    for c in text.chars().take(LONGEST) {
        if obeyed(c) {
            // Writing to a string does not fail.
            let _ = write!(cleaned, "\\u{{{:x}}}", u32::from(c));
        } else {
            cleaned.push(c);
        }
    }
    Cow::Owned(cleaned)
}
