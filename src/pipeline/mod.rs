//! One request, start to finish. Read this file first.
//!
//! `exchange` carries out permits in databases, `services` those that are not CouchDB's, `nodes` those of the node
//! service; `sessions` opens and closes sessions, `lease` asks whether an open feed may go on.
//!
//! Invariant: this is the only file that knows the order; each stage takes the value of the stage before.

mod lease;
mod nodes;
mod services;
mod sessions;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderName, HeaderValue, ORIGIN, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY,
};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body as _;

use crate::body::{Arriving, Body, Sound, empty, keeping};
use crate::caller::{Caller, UserName};
use crate::config::Listen;
use crate::cors::Cors;
use crate::couch::Couch;
use crate::couch::behalf::{apart, on_behalf};
use crate::exchange::answer::Answer;
use crate::exchange::errors::NOT_ALLOWED;
use crate::exchange::head::place;
use crate::exchange::{Exchange, Permitted};
use crate::identity::{AskedRoles, Failed, Identity, Recognised, Scheme};
use crate::intake::{Door, Intake, Peer};
use crate::json::Value;
use crate::observe::Record;
use crate::own::Own;
use crate::policy::{Permit, Policy, Verdict};
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, DbName, Method, Route, RouteError, ServerCall};
use crate::services::node::{Nodes, with_attributes};
use crate::services::provision::Provisioning;
use crate::services::session::{Answer as SessionAnswer, Session};

/// Everything that a request meets on its way.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) door: Door,
    pub(crate) listen: Listen,
    pub(crate) cors: Cors,
    pub(crate) identity: Arc<Identity>,
    pub(crate) session: Session,
    /// The rules in force; a request keeps those that it began with.
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    pub(crate) nodes: Option<Arc<Nodes>>,
    pub(crate) provisioning: Option<Arc<Provisioning>>,
    pub(crate) own: Own,
    /// Where CouchDB is told only those roles that are asked about.
    pub(crate) asked: Option<AskedRoles>,
    pub(crate) exchange: Exchange,
}

/// An answer, and the cookie that is set with it.
struct WithCookie {
    answer: Result<Answer, Refusal>,
    cookie: Option<String>,
}

impl WithCookie {
    fn none(answer: Result<Answer, Refusal>) -> Self {
        let cookie = None;
        Self { answer, cookie }
    }

    /// What the session service says. Its cookie goes before `renewed`, which goes with every answer.
    fn of(answer: Result<SessionAnswer, Refusal>, renewed: Option<String>) -> Self {
        match answer {
            Ok(answer) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
                let made = answer.set_cookie.map(|made| made.as_str().to_owned());
                Self {
                    answer: Ok(Answer::with(status, answer.body)),
                    cookie: made.or(renewed),
                }
            }
            Err(refusal) => Self {
                answer: Err(refusal),
                cookie: renewed,
            },
        }
    }
}

impl Pipeline {
    /// Answers one request.
    pub(crate) async fn handle(&self, raw: Request<Arriving>, peer: Peer) -> Response<Body> {
        let head = raw.method() == http::Method::HEAD && raw.version() == Version::HTTP_2;
        let response = self.answered(raw, peer).await;
        match head {
            true => without_body(response),
            false => response,
        }
    }

    /// The road, and around it CORS, cookies and the log.
    async fn answered(&self, raw: Request<Arriving>, peer: Peer) -> Response<Body> {
        let method = raw.method().as_str().to_owned();
        let version = raw.version();
        let address = peer.address.ip();
        let origin = origin_of(raw.headers());
        let intake = match Intake::accept(raw, peer, &self.door) {
            Ok(intake) => intake,
            Err(refusal) => {
                let mut record = Record::begin(&method, address, version, "");
                record.verdict("refuse");
                let mut response = Answer::refusal(&refusal).into_response();
                self.cors.dress(origin.as_deref(), response.headers_mut());
                return record.attach(response);
            }
        };
        let mut record = Record::begin(intake.method, intake.address, version, &intake.request_id);
        record.received_by(intake.body.meter());
        if let Some(headers) = self.cors.preflight(intake.method, &intake.headers) {
            record.kind("preflight");
            let answer = Answer::of(StatusCode::NO_CONTENT, headers, empty());
            return record.attach(answer.into_response());
        }
        // Until policy has spoken.
        record.verdict("refuse");
        let scheme = if intake.tls { "https" } else { "http" };
        let here = format!("{scheme}://{}", intake.host);
        let hsts = self.listen.hsts_of(&intake.host).filter(|_| intake.tls);
        let holdings = Arc::clone(&intake.holdings);
        let budget = Arc::clone(&intake.budget);
        let journey = Box::pin(self.journey(intake, &mut record));
        // Security: logins, nodes and provisioning read what their users have filled.
        // (`memory_is_bounded_whatever_services_read`)
        let WithCookie { answer, cookie } = on_behalf(&budget, journey).await;
        let answer = answer.unwrap_or_else(|refusal| {
            if let Refusal::Internal(cause) = refusal {
                record.fault(cause);
            }
            Answer::refusal(&refusal)
        });
        let mut response = answer.into_response();
        response.extensions_mut().insert(Sound);
        place(response.headers_mut(), &here);
        if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        self.cors.dress(origin.as_deref(), response.headers_mut());
        let hsts = hsts.map(|hsts| format!("max-age={}", hsts.as_secs()));
        if let Some(Ok(age)) = hsts.as_deref().map(HeaderValue::from_str) {
            let headers = response.headers_mut();
            headers.insert(STRICT_TRANSPORT_SECURITY, age);
        }
        let response = record.attach(response);
        match holdings.is_empty() {
            true => response,
            false => response.map(|body| keeping(body, holdings)),
        }
    }

    /// Until it is known who asks; sessions are answered here.
    async fn journey(&self, intake: Intake, record: &mut Record) -> WithCookie {
        if let Err(refusal) = self.door.begin(&intake) {
            return WithCookie::none(Err(refusal));
        }
        let route = self.route(&intake);
        if let Ok(route) = &route {
            record.kind(route.kind());
            if let Some(db) = route.db() {
                record.db(db.as_str());
            }
            if route.opens_session() {
                return WithCookie::of(self.session(route.method, intake).await, None);
            }
        }
        let (authorization, jar) = (text(&intake, &AUTHORIZATION), text(&intake, &COOKIE));
        let [authorization, bytes] =
            [&authorization, &jar].map(|text| text.as_deref().map(str::as_bytes));
        let recognised = self
            .identity
            .recognise(authorization, bytes, intake.address);
        let recognised = apart(Box::pin(recognised)).await;
        let cookie = renewed(&recognised);
        match route.as_ref().map(|route| &route.call) {
            Ok(Call::Server(ServerCall::Session)) => {
                WithCookie::of(self.session.read(&recognised), cookie)
            }
            Ok(Call::NodeSession) => match recognised {
                Ok(recognised) => {
                    let answer = self.session.renew(recognised, jar.as_deref()).await;
                    WithCookie::of(answer, cookie)
                }
                Err(failed) => WithCookie {
                    answer: Err(failed.into()),
                    cookie,
                },
            },
            Ok(Call::Server(_) | Call::Database { .. } | Call::Node(_) | Call::Warden(_))
            | Err(_) => WithCookie {
                answer: match recognised {
                    Ok(recognised) => self.permitted(route, recognised, intake, record).await,
                    Err(failed) => Err(failed.into()),
                },
                cookie,
            },
        }
    }

    /// From the caller to the answer: policy decides, and its permit is carried out.
    async fn permitted(
        &self,
        route: Result<Route, RouteError>,
        recognised: Recognised,
        intake: Intake,
        record: &mut Record,
    ) -> Result<Answer, Refusal> {
        self.is_own_origin(&intake, &route, recognised.scheme)?;
        recognised.may_ask(route.as_ref().ok().and_then(Route::db))?;
        self.admit(&recognised, text(&intake, &AUTHORIZATION))
            .await?;
        let Recognised { caller, proof, .. } = recognised;
        intake.count_to(&caller)?;
        record.caller(caller.name().unwrap_or_default());
        let route = route.map_err(|error| {
            let refusal = unknown(&caller, error);
            match puts_a_replicated_document(&intake) {
                true => refusal.of_replicated_document(),
                false => refusal,
            }
        })?;
        let policy = self.policy.load_full();
        let caller = with_attributes(self.nodes.as_deref(), &policy, caller).await?;
        let couch = self.exchange.couch.counted(&intake.budget);
        let asked = Box::pin(self.decide(&policy, (&caller, &couch), route, record));
        let (mut permit, judged) = asked.await?;
        if let Some(asked) = &self.asked {
            let roles = asked.of(&policy, &caller, permit.route().db()).await?;
            permit = permit.sending(roles);
        }
        self.used(&caller, permit.route().db()).await;
        let lease = self.lease(&permit, proof);
        let endless = permit.route().is_feed();
        if endless {
            self.door.open_feed(&intake.holdings)?;
        }
        let request = Permitted {
            permit,
            judged,
            lease,
            intake,
        };
        // The calls differ much in size; boxed, a plain read does not pay for a feed.
        match Box::pin(self.serve(&policy, request)).await {
            // CouchDB says 401 to who is known and no administrator of the database; to log in anew would not help.
            Err(Refusal::Unauthorized) if caller.name().is_some() => Err(NOT_ALLOWED),
            Ok(answer) if endless => Ok(answer.endless()),
            answer => answer,
        }
    }

    fn route(&self, intake: &Intake) -> Result<Route, RouteError> {
        let destination = HeaderName::from_static("destination");
        Route::parse(intake.method, &intake.target, intake.header(&destination))
    }

    /// Security: a page of another origin may not write with the cookie that a browser adds by itself.
    /// (`a_foreign_page_cannot_write_with_the_cookie`)
    fn is_own_origin(
        &self,
        intake: &Intake,
        route: &Result<Route, RouteError>,
        scheme: Scheme,
    ) -> Result<(), Refusal> {
        let functions = route.as_ref().is_ok_and(Route::may_write);
        let writes = functions || !matches!(intake.method, "GET" | "HEAD");
        let by_cookie = scheme == Scheme::Cookie;
        let tls = intake.tls;
        if writes && by_cookie && self.cors.is_foreign(&intake.headers, tls, &intake.host) {
            return Err(Refusal::Forbidden("this origin may not use the session"));
        }
        Ok(())
    }

    async fn decide(
        &self,
        policy: &Policy,
        (caller, couch): (&Caller, &Couch),
        route: Route,
        record: &mut Record,
    ) -> Result<(Permit, Option<String>), Refusal> {
        // A revision that is none is told, whether there is such a document or not.
        let named = match route.attachment() {
            Some(_) => route.query.document().map(|query| query.rev),
            None => Ok(None),
        };
        let mut judged = None;
        let decided = match policy.decide(caller, route) {
            Verdict::Permit(permit) => Ok(permit),
            Verdict::Deny(denial) if matches!(denial.refusal, Refusal::Missing) => {
                named?;
                Err(denial)
            }
            Verdict::Deny(denial) => Err(denial),
            Verdict::Ask(question) => {
                let (Some(db), Some(id)) = (question.db().cloned(), question.document().cloned())
                else {
                    return Err(Refusal::Internal("policy asks for no document"));
                };
                let stored = match &named? {
                    Some(rev) => {
                        let wanted = [(id.as_str(), Some(rev.as_str()))];
                        let found = couch.read_revisions(&db, &wanted).await?;
                        found.into_iter().flatten().next()
                    }
                    None => couch.read_one(&db, &id).await?,
                };
                let rev = stored.as_ref().and_then(|stored| stored.get("_rev"));
                judged = rev.and_then(Value::as_str).map(str::to_owned);
                question.settle(stored.as_deref())
            }
        };
        match decided {
            Ok(permit) => {
                record.verdict("permit");
                record.rules(&permit.rules().join(","));
                Ok((permit, judged))
            }
            Err(denial) => {
                record.verdict("deny");
                record.rules(denial.rule.as_deref().unwrap_or_default());
                Err(denial.refusal)
            }
        }
    }

    /// Carries a permit out.
    async fn serve(&self, policy: &Policy, request: Permitted) -> Result<Answer, Refusal> {
        match &request.permit.route().call {
            Call::Server(call) => {
                let call = call.clone();
                self.server(policy, request, &call).await
            }
            Call::Node(call) => {
                let call = call.clone();
                self.node(policy, &request.permit, &call, request.intake)
                    .await
            }
            Call::Warden(call) => {
                let call = call.clone();
                self.warden(request, &call).await
            }
            Call::Database { db: _, call } => {
                let call = call.clone();
                Box::pin(self.database(policy, request, &call)).await
            }
            // Answered before anybody is recognised.
            Call::NodeSession => Err(Refusal::Internal(
                "a session call came past the session service",
            )),
        }
    }

    /// A call in a database: what is written among nodes goes to their service.
    async fn database(
        &self,
        policy: &Policy,
        request: Permitted,
        call: &DatabaseCall,
    ) -> Result<Answer, Refusal> {
        if let Some(nodes) = &self.nodes
            && let Some(gate) = nodes.gate(request.permit.route())
        {
            return Box::pin(self.through_gate((nodes, gate), policy, request)).await;
        }
        let request = match stores_replications(request.permit.route(), call) {
            true => self.writes_no_replication_of_ours(request).await?,
            false => request,
        };
        let (caller, db) = (
            request.permit.caller().clone(),
            request.permit.route().db().cloned(),
        );
        let is_free = |name: UserName| async move { self.is_free(&name).await };
        let answer = self.exchange.answer(request, call, is_free).await?;
        if let Some(db) = db.filter(|_| !answer.denied().is_empty()) {
            self.tell_denied(&caller, &db, answer.denied()).await;
        }
        Ok(answer)
    }
}

/// Is this a write with documents of replications in its body?
fn stores_replications(route: &Route, call: &DatabaseCall) -> bool {
    let of_documents = matches!(
        call,
        DatabaseCall::Itself | DatabaseCall::BulkDocs | DatabaseCall::Document(_)
    );
    let writes = matches!(route.method, Method::Put | Method::Post);
    of_documents && writes && route.db().is_some_and(DbName::holds_replications)
}

/// Whether a target that can't be read is the one by which a replicator puts a document.
fn puts_a_replicated_document(intake: &Intake) -> bool {
    let query = intake.target.split_once('?').map(|(_, query)| query);
    let mut pairs = query.unwrap_or_default().split(['&', ';']);
    intake.method == "PUT" && pairs.any(|pair| pair == "new_edits=false")
}

/// The origin of the page that asks; none where that has two meanings.
fn origin_of(headers: &HeaderMap) -> Option<String> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = origins.next()?.to_str().ok()?;
    origins.next().is_none().then(|| origin.to_owned())
}

/// An answer to HEAD: hyper leaves its body out over HTTP/1 only.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    if let Some(length) = length.filter(|_| !response.body().is_end_stream()) {
        let headers = response.headers_mut().entry(CONTENT_LENGTH);
        headers.or_insert_with(|| length.into());
    }
    response.map(|_| empty())
}

/// What is not in the grammar, by who asks: to a stranger everything is closed alike.
fn unknown(caller: &Caller, error: RouteError) -> Refusal {
    match (caller, error) {
        (Caller::Anonymous, _) => Refusal::Unauthorized,
        (_, RouteError::UnknownEndpoint) => Refusal::NoEndpoint,
        (_, RouteError::Method(allowed)) => Refusal::Method(allowed),
        (_, RouteError::Ambiguous(reason) | RouteError::Bad(reason)) => Refusal::BadRequest(reason),
        (_, RouteError::IllegalDatabase) => Refusal::IllegalDatabase,
        (_, RouteError::NoDatabase) => Refusal::NoDatabase,
        (_, RouteError::IllegalDocument) => Refusal::IllegalDocument,
        (_, RouteError::IllegalPartition) => Refusal::IllegalPartition,
        (_, RouteError::NoFunction(word)) => Refusal::NoFunction(word),
    }
}

/// The cookie that goes with whatever is answered: a new one for a session that goes on, or none for one that has ended.
fn renewed(recognised: &Result<Recognised, Failed>) -> Option<String> {
    let cookie = match recognised {
        Ok(recognised) => recognised.renew.as_ref(),
        Err(failed) => failed.clear.as_ref(),
    };
    cookie.map(|cookie| cookie.as_str().to_owned())
}

fn text(intake: &Intake, name: &HeaderName) -> Option<String> {
    intake.header(name).map(str::to_owned)
}
