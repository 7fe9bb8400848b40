//! The request that CouchDB gets: built anew from the route that was judged.
//!
//! Invariant: method, path and query are rendered from the permit's route; headers travel by allow list;
//! the identity is ours. No byte of the client's request line or of an unlisted header passes.

use std::sync::Arc;

use bytes::BytesMut;
use http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE,
};
use http::header::{RANGE, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::parts::related::Outgoing;
use crate::body::{Body, Cut, boxed, empty, full};
use crate::client::{Carries, Kind, Manner, Reuse, is_json};
use crate::exchange::parts::multipart::is_multipart;
use crate::identity::present::{Account, Presenter};
use crate::intake::Intake;
use crate::policy::Permit;
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, LocalId, Method, Query, Route};

/// What a client's headers may say to CouchDB when nothing is changed on the way.
const PASSED: [HeaderName; 10] = [
    ACCEPT,
    CONTENT_TYPE,
    HeaderName::from_static("content-md5"),
    IF_MATCH,
    IF_NONE_MATCH,
    RANGE,
    IF_RANGE,
    REFERER,
    USER_AGENT,
    HeaderName::from_static("last-event-id"),
];
const FULL_COMMIT: HeaderName = HeaderName::from_static("x-couch-full-commit");
const DESTINATION: HeaderName = HeaderName::from_static("destination");
/// Names a request in both logs; the answer carries it back.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-couch-request-id");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The host that CouchDB is told, whoever asks and wherever: no host at all (RFC 6761 section 6.4). Its `Location` is
/// made of it, and completed for the client.
pub(crate) const PLACELESS: &str = "couchwarden.invalid";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The longest JSON, in bytes, that is waited for before it is sent.
const SHORT: u64 = 16 * 1024;

/// A request for CouchDB that carries a permit's proof.
///
/// ```
/// fn twin(_: couchwarden::exchange::rewrite::Outbound) {}
/// ```
/// ```compile_fail,E0451
/// let forged = couchwarden::exchange::rewrite::Outbound { request: todo!(), kind: todo!(), sharing: todo!() };
/// ```
#[derive(Debug)]
pub struct Outbound {
    request: Request<Body>,
    kind: Kind,
    sharing: Sharing,
}

/// What decides whether others may come by the same connection.
#[derive(Debug, Clone, Copy)]
struct Sharing {
    manner: Manner,
    carries: Carries,
    account: Account,
}

impl Outbound {
    fn new(request: Request<Body>, route: &Route, carries: Carries, account: Account) -> Self {
        let manner = Manner::of(route);
        Self {
            request,
            kind: kind(route),
            sharing: Sharing {
                manner,
                carries,
                account,
            },
        }
    }

    pub(crate) fn into_parts(self) -> (Request<Body>, Kind, Reuse) {
        let Sharing {
            manner,
            carries,
            account,
        } = self.sharing;
        let reuse = match account {
            Account::Caller => Reuse::of(manner, carries),
            // Security: who gets to the connection of the service account is an administrator.
            // (`the_service_account_and_callers_share_no_connection`)
            Account::Service => Reuse::Never,
        };
        (self.request, self.kind, reuse)
    }

    /// The same request, its body here as a whole, if that is JSON and short: its connection can be used again.
    pub(crate) async fn gathered(mut self) -> Result<Self, Cut> {
        let Sharing {
            manner, carries, ..
        } = self.sharing;
        let kind = self.request.headers().get(CONTENT_TYPE);
        let json = kind.is_some_and(|kind| is_json(kind.as_bytes()));
        let length = self.request.body().size_hint().exact();
        let short = length.is_some_and(|length| length <= SHORT);
        if manner != Manner::Json || carries != Carries::Stream || !json || !short {
            return Ok(self);
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = self.request.body_mut().frame().await {
            whole.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        self.sharing.carries = Carries::whole(self.request.headers());
        *self.request.body_mut() = full(whole.freeze());
        Ok(self)
    }

    pub(crate) fn has_body(&self) -> bool {
        !self.request.body().is_end_stream()
    }

    /// The same request, its body inside another.
    pub(crate) fn map_body(self, around: impl FnOnce(Body) -> Body) -> Self {
        Self {
            request: self.request.map(around),
            ..self
        }
    }
}

/// A request to CouchDB of the call that is permitted, with another method, query or body.
#[derive(Debug, Clone)]
pub(crate) struct Subrequest {
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) body: Option<Vec<u8>>,
}

/// Builds what is sent.
#[derive(Debug, Clone)]
pub(crate) struct Rewrite {
    present: Arc<Presenter>,
}

impl Rewrite {
    pub(crate) fn new(present: Presenter) -> Self {
        Self {
            present: Arc::new(present),
        }
    }

    /// The client's own request, body and all, for a permit without a lens.
    /// `rev` pins the revision that was judged.
    pub(crate) fn verbatim(
        &self,
        permit: &Permit,
        rev: Option<&str>,
        intake: Intake,
    ) -> Result<Outbound, Refusal> {
        let mut route = permit.route().clone();
        if let Some(rev) = rev {
            route.query.set("rev", rev);
        }
        self.passing(permit, &route, intake)
    }

    /// What a `DELETE`, a form or a body of several parts stands for, as the `PUT` of the document that is the body.
    pub(crate) fn as_put(
        &self,
        permit: &Permit,
        query: Query,
        mut intake: Intake,
    ) -> Result<Outbound, Refusal> {
        let route = put(permit, query);
        intake.headers.insert(CONTENT_TYPE, JSON);
        self.passing(permit, &route, intake)
    }

    /// A document with its attachments behind it, for a permit without a lens.
    pub(crate) fn as_put_in_parts(
        &self,
        permit: &Permit,
        query: Query,
        mut intake: Intake,
        outgoing: Outgoing,
    ) -> Result<Outbound, Refusal> {
        let route = put(permit, query);
        intake
            .headers
            .insert(CONTENT_TYPE, text(&outgoing.content_type())?);
        let mut request = self.passing_head(permit, &route, &intake)?;
        *request.body_mut() = boxed(outgoing);
        Ok(self.outbound(permit, &route, request, Carries::Stream))
    }

    fn passing(&self, permit: &Permit, route: &Route, intake: Intake) -> Result<Outbound, Refusal> {
        let mut request = self.passing_head(permit, route, &intake)?;
        let headers = request.headers_mut();
        // Security: CouchDB would not read such a body to its end. What it reads in parts has been read here, and is
        // sent as what it was read as. (`what_couchdb_could_take_for_several_parts_is_refused`)
        let kind_sent = intake.header(&CONTENT_TYPE).unwrap_or_default();
        if is_multipart(kind_sent) && !takes_bytes(route) {
            if !intake.body.is_empty() {
                return Err(Refusal::UnsupportedMedia(
                    "a body of several parts is not read here",
                ));
            }
            headers.remove(CONTENT_TYPE);
        }
        let (body, gzip) = match is_attachment(&route.call) {
            true => intake.body.as_sent(),
            false => (intake.body, false),
        };
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let carries = match body.is_empty() {
            true => Carries::Nothing,
            false => Carries::Stream,
        };
        if !body.is_empty() {
            if let Some(length) = body.declared() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            *request.body_mut() = body.stream();
        }
        Ok(self.outbound(permit, route, request, carries))
    }

    fn passing_head(
        &self,
        permit: &Permit,
        route: &Route,
        intake: &Intake,
    ) -> Result<Request<Body>, Refusal> {
        let mut request = self.begin(permit, route)?;
        let headers = request.headers_mut();
        for name in PASSED.iter().chain([&FULL_COMMIT]) {
            if let Some(value) = intake.headers.get(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        if let Some(destination) = route.destination() {
            headers.insert(DESTINATION, text(&destination)?);
        }
        headers.insert(REQUEST_ID, text(&intake.request_id)?);
        Ok(request)
    }

    /// The same call (of several queries the one for each) with another method, query or body; the answer is
    /// asked for as this media type.
    pub(crate) fn changed(
        &self,
        permit: &Permit,
        subrequest: Subrequest,
        accept: &'static str,
    ) -> Result<Outbound, Refusal> {
        let route = Route {
            call: permit.route().call.one_query(),
            method: subrequest.method,
            query: subrequest.query,
        };
        self.send_json(permit, &route, subrequest.body, accept)
    }

    /// A write of the document that the call is about: of an attachment its own, of a copy the target.
    pub(crate) fn document(
        &self,
        permit: &Permit,
        subrequest: Subrequest,
    ) -> Result<Outbound, Refusal> {
        let route = Route {
            call: written(&permit.route().call),
            method: subrequest.method,
            query: subrequest.query,
        };
        self.send_json(permit, &route, subrequest.body, "application/json")
    }

    /// A document with its attachments behind it.
    pub(crate) fn related(
        &self,
        permit: &Permit,
        query: Query,
        outgoing: Outgoing,
    ) -> Result<Outbound, Refusal> {
        let route = Route {
            call: written(&permit.route().call),
            method: Method::Put,
            query,
        };
        let mut request = self.begin(permit, &route)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, text(&outgoing.content_type())?);
        *request.body_mut() = boxed(outgoing);
        Ok(self.outbound(permit, &route, request, Carries::Stream))
    }

    /// A checkpoint, or a copy of one, under names that belong to this caller alone.
    pub(crate) fn local(
        &self,
        permit: &Permit,
        private: impl Fn(&LocalId) -> Result<LocalId, Refusal>,
        body: Option<Vec<u8>>,
    ) -> Result<Outbound, Refusal> {
        let mut route = permit.route().clone();
        let Call::Database { db: _, call } = &mut route.call else {
            return Err(Refusal::Internal("a call that is none of a local document"));
        };
        if let DatabaseCall::Local(id) = call {
            *id = private(id)?;
        } else if let DatabaseCall::CopyLocal { from, to, .. } = call {
            *from = private(from)?;
            *to = private(to)?;
        } else {
            return Err(Refusal::Internal("a call that is none of a local document"));
        }
        self.send_json(permit, &route, body, "application/json")
    }

    fn send_json(
        &self,
        permit: &Permit,
        route: &Route,
        body: Option<Vec<u8>>,
        accept: &'static str,
    ) -> Result<Outbound, Refusal> {
        let mut request = self.begin(permit, route)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(destination) = route.destination() {
            headers.insert(DESTINATION, text(&destination)?);
        }
        let mut carries = Carries::Nothing;
        if let Some(body) = body {
            headers.insert(CONTENT_TYPE, JSON);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            carries = Carries::whole(headers);
            *request.body_mut() = full(body);
        }
        Ok(self.outbound(permit, route, request, carries))
    }

    fn outbound(
        &self,
        permit: &Permit,
        route: &Route,
        request: Request<Body>,
        carries: Carries,
    ) -> Outbound {
        let account = self.present.account(permit.caller(), route.db());
        Outbound::new(request, route, carries, account)
    }

    fn begin(&self, permit: &Permit, route: &Route) -> Result<Request<Body>, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in
            self.present
                .headers(permit.caller(), permit.sent_roles(), route.db())?
        {
            headers.insert(name, value);
        }
        let mut request = Request::builder()
            .method(method(route.method))
            .uri(route.render())
            .body(empty())
            .map_err(|_| Refusal::Internal("the request for the database could not be built"))?;
        // Security: by the host CouchDB chooses a virtual host too, which serves another path than the one that was
        // judged. (`nobody_chooses_a_virtual_host_of_couchdb`)
        headers.insert(FORWARDED_HOST, HeaderValue::from_static(PLACELESS));
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The write of the whole document that the route names.
fn put(permit: &Permit, query: Query) -> Route {
    Route {
        call: permit.route().call.clone(),
        method: Method::Put,
        query,
    }
}

/// Are bodies of this route read whole, whatever their type says: as an attachment, or by a function?
fn takes_bytes(route: &Route) -> bool {
    is_attachment(&route.call) || (route.runs_a_function() && !route.is_rewritten())
}

/// CouchDB stores an attachment in the coding that it came in.
fn is_attachment(call: &Call) -> bool {
    matches!(
        call,
        Call::Database {
            call: DatabaseCall::Attachment { .. },
            ..
        }
    )
}

/// The call that writes the whole document.
fn written(call: &Call) -> Call {
    let Call::Database {
        db,
        call: in_database,
    } = call
    else {
        return call.clone();
    };
    let (DatabaseCall::Attachment { doc: id, .. } | DatabaseCall::CopyDocument { to: id, .. }) =
        in_database
    else {
        return call.clone();
    };
    Call::Database {
        db: db.clone(),
        call: DatabaseCall::Document(id.clone()),
    }
}

fn kind(route: &Route) -> Kind {
    if route.is_feed() {
        Kind::Feed
    } else {
        Kind::Request
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Copy => "COPY",
    }
}

fn text(value: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(value)
        .map_err(|_| Refusal::Internal("a value does not fit into a header"))
}
