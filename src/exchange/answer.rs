//! What is sent to a client: made here, or by the errors of [`crate::refusal`], and nowhere else.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::head;
use super::reauthorize::Lease;
use crate::body::{Body, Endless, boxed, empty, full};
use crate::client::Answered;
use crate::json::{Object, Value};
use crate::refusal::Refusal;

pub(crate) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer that has gone through its response plan.
///
/// ```
/// fn twin(_: couchwarden::exchange::Answer) {}
/// ```
/// ```compile_fail,E0451
/// let forged = couchwarden::exchange::Answer { response: todo!(), denied: Vec::new() };
/// ```
#[derive(Debug)]
pub struct Answer {
    response: Response<Body>,
    /// The ids of documents that policy has not let in.
    denied: Vec<String>,
}

impl Answer {
    /// The response, for the frame around the road: CORS, cookies, the log.
    pub(crate) fn into_response(self) -> Response<Body> {
        self.response
    }

    /// CouchDB's answer as it came; for permits without a lens. A feed has a lease.
    pub(crate) fn verbatim(
        upstream: Response<Answered>,
        administrator: bool,
        lease: Option<Lease>,
    ) -> Self {
        let (parts, body) = upstream.into_parts();
        let body = boxed(body);
        let mut response = Response::new(match lease {
            Some(lease) => lease.cut(body),
            None => body,
        });
        *response.status_mut() = parts.status;
        *response.headers_mut() = head::verbatim(&parts.headers, administrator);
        Self {
            response,
            denied: Vec::new(),
        }
    }

    /// The answer to a `PUT` that stands for a `DELETE` or a form, which have no `Location`.
    #[must_use]
    pub(crate) fn without_place(mut self) -> Self {
        self.response.headers_mut().remove(LOCATION);
        self
    }

    /// `200` with JSON that went through a lens, or was made here.
    pub(crate) fn json(bytes: Vec<u8>) -> Self {
        Self::with(StatusCode::OK, bytes)
    }

    /// JSON that went through a lens, or was made here.
    pub(crate) fn with(status: StatusCode, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut headers = head::filtered();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        Self::of(status, headers, full(bytes))
    }

    /// Whatever one of our own services has made.
    pub(crate) fn of(status: StatusCode, headers: HeaderMap, body: Body) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Self {
            response,
            denied: Vec::new(),
        }
    }

    /// The answer with one more header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// An attachment, as CouchDB sends it.
    pub(crate) fn attachment(upstream: Response<Answered>) -> Self {
        let (parts, body) = upstream.into_parts();
        Self::of(parts.status, head::attachment(&parts.headers), boxed(body)).sandboxed()
    }

    /// Security: what a document's writer has uploaded may not run as a page of ours, be taken for another type,
    /// or be kept for others; least of all where an administrator looks at it.
    /// (`an_attachment_runs_no_script_here`)
    fn sandboxed(self) -> Self {
        self.header(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"))
            .header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            .header(
                CACHE_CONTROL,
                HeaderValue::from_static("private, must-revalidate"),
            )
    }

    /// The answer with the ids of documents that policy has not let in, for those who tell of it.
    pub(crate) fn denying(mut self, ids: Vec<String>) -> Self {
        self.denied = ids;
        self
    }

    /// Those ids.
    pub(crate) fn denied(&self) -> &[String] {
        &self.denied
    }

    /// The answer, marked as one that may stay open without end.
    pub(crate) fn endless(mut self) -> Self {
        self.response.extensions_mut().insert(Endless);
        self
    }

    /// A stream of events that one of our own services tells.
    pub(crate) fn events(body: Body) -> Self {
        Self::of(StatusCode::OK, head::filtered(), body).header(CONTENT_TYPE, EVENTS)
    }

    /// `304`: the client has it already.
    pub(crate) fn not_modified(tag: HeaderValue) -> Self {
        Self::of(StatusCode::NOT_MODIFIED, head::filtered(), empty()).header(ETAG, tag)
    }

    /// What we say instead of CouchDB.
    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        let mut object = Object::new();
        object.insert("error", refusal.error());
        object.insert("reason", refusal.reason());
        let mut bytes = Value::Object(object).to_bytes();
        bytes.push(b'\n');
        let status = StatusCode::from_u16(refusal.status());
        let answer = Self::with(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), bytes);
        match refusal.advice() {
            Some((name, value)) => match HeaderValue::from_str(&value) {
                Ok(value) if name == "allow" => answer.header(ALLOW, value),
                Ok(value) => answer.header(RETRY_AFTER, value),
                Err(_) => answer,
            },
            None => answer,
        }
    }
}
