//! Our own few calls to CouchDB, as the service account.
//!
//! `service_account` says who that is, `jwt_signer` signs what is shown for it and for callers; `documents` reads and
//! writes documents, `designs` design documents and their indexes, `databases` databases as a whole, `accounts` asks
//! about users and follows changes; `behalf` says for which request it is done where nobody told.
//! Nothing that a client sent gets here but names already parsed, and ids inside JSON bodies.
//!
//! Invariant: every answer is read under a limit, and what CouchDB says about an error goes to the log
//! only. No connection carries both an errand and what a client asks; what writes, and what is asked about accounts, has
//! one for itself.

mod accounts;
pub(crate) mod behalf;
mod databases;
mod designs;
mod documents;
pub(crate) mod jwt_signer;
mod replications;
mod server;
mod service_account;

pub(crate) use accounts::{Changes, UserCtx};
pub(crate) use documents::{Pace, Revisions};
pub(crate) use service_account::ServiceAccount;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use moka::sync::Cache;

use crate::body;
use crate::body::Cut;
use crate::budget::{Budget, NoRoom, Share};
use crate::client::{Carries, Client, ClientError, Kind, Manner, Reuse};
use crate::json::{JsonError, Value};
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, DbName, Method, Query, Route};
use crate::secret::Secret;

/// Before each role that lets a replication into its user's database; the time of its making follows, and what nobody
/// can guess. `validate_doc_update` may know a replication by it, and no caller is presented with such a role.
pub(crate) const REPLICATION: &str = "couchwarden:replication:";

/// Of how many databases it is remembered, and for how long, that they do not let our account in as a member.
const CLOSED: u64 = 100_000;
const CLOSED_FOR: Duration = Duration::from_secs(60);

/// CouchDB, as our own errands see it.
#[derive(Clone)]
pub(crate) struct Couch {
    client: Client,
    account: ServiceAccount,
    /// Databases that lately did not let our account in as a member.
    closed: Cache<DbName, ()>,
    /// The longest answer that is read.
    limit: usize,
    /// Of the request on whose behalf it is asked: what answers take is counted there. None for our own sake.
    budget: Option<Arc<Budget>>,
}

/// Why an errand failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CouchError {
    /// CouchDB could not be asked.
    #[error("CouchDB could not be asked: {0}")]
    Client(ClientError),
    /// The answer ended before its end.
    #[error("CouchDB's answer was cut: {0}")]
    Cut(Cut),
    /// Another answer than the call can have.
    #[error("CouchDB answered {0}")]
    Status(u16),
    /// What was to be written is not accepted, in CouchDB's words.
    #[error("CouchDB refuses it: {0}")]
    Refused(String),
    /// Someone else wrote first.
    #[error("the document was written by someone else")]
    Conflict,
    /// CouchDB lets nobody try this name from our address for a while (`chttpd_auth_lockout`).
    #[error("CouchDB has locked the user out")]
    LockedOut,
    /// The answer is not the JSON that CouchDB documents.
    #[error("CouchDB's answer can't be read: {0}")]
    Unreadable(&'static str),
    /// The answer nests deeper than what is read.
    #[error("CouchDB's answer nests too deep")]
    TooDeep,
    /// The answer is longer than the limit.
    #[error("CouchDB's answer is longer than {0} bytes, or takes too much memory")]
    TooLong(usize),
    /// What others hold leaves no memory for the answer.
    #[error("there is no memory left for CouchDB's answer")]
    NoRoom,
    /// A name, or the account, that no request can carry.
    #[error("not a name that CouchDB can be asked about")]
    Name,
    /// A token could not be signed.
    #[error("a token for CouchDB could not be signed")]
    Unsigned,
}

impl From<NoRoom> for CouchError {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::Ever => Self::TooLong(usize::MAX),
            NoRoom::Share | NoRoom::Now => Self::NoRoom,
        }
    }
}

impl From<ClientError> for CouchError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<CouchError> for Cut {
    fn from(error: CouchError) -> Self {
        match error == CouchError::NoRoom {
            true => Self::NoRoom,
            false => Self::Upstream,
        }
    }
}

impl From<JsonError> for CouchError {
    fn from(error: JsonError) -> Self {
        match error == JsonError::TooDeep {
            true => Self::TooDeep,
            false => Self::Unreadable("not JSON"),
        }
    }
}

impl From<CouchError> for Refusal {
    fn from(error: CouchError) -> Self {
        tracing::warn!(%error, "an errand to CouchDB failed");
        match error {
            CouchError::Client(error) => error.into(),
            CouchError::Cut(cut) => cut.refusal(),
            CouchError::Conflict => Self::Conflict,
            CouchError::LockedOut => Self::TooMany(60),
            CouchError::Name | CouchError::Unsigned => {
                Self::Internal("an errand could not be asked")
            }
            CouchError::NoRoom => Self::Unavailable(1),
            CouchError::Status(_)
            | CouchError::Refused(_)
            | CouchError::Unreadable(_)
            | CouchError::TooDeep
            | CouchError::TooLong(_) => Self::BadGateway("the database could not be read"),
        }
    }
}

/// One call: what is asked, and as whom.
struct Errand {
    route: Route,
    goes: Goes,
    body: Option<Value>,
    kind: Kind,
    forwarded_for: Option<HeaderValue>,
    /// What the answer may take, in bytes, where less can be asked for.
    most: usize,
}

impl Errand {
    /// May others come by the same connection?
    fn reuse(&self) -> Reuse {
        let route = &self.route;
        let batch = matches!(
            route.call,
            Call::Database {
                call: DatabaseCall::BulkDocs,
                ..
            }
        );
        let writes = match route.method {
            Method::Get | Method::Head => false,
            Method::Post => batch,
            Method::Put | Method::Delete | Method::Copy => true,
        };
        let carries = match &self.body {
            None => Carries::Nothing,
            Some(_) => Carries::Json,
        };
        match writes || route.db().is_some_and(DbName::holds_accounts) {
            true => Reuse::Never,
            false => Reuse::of(Manner::of(route), carries),
        }
    }
}

/// JSON and its share.
type Parsed = (Value, Option<Arc<Share>>);

/// As whom an errand goes.
enum Goes {
    /// The service account, with all its power.
    Administrator,
    /// The service account, as a member of this database if it may, else with all its power.
    Member(DbName),
    /// Whoever shows this.
    Shown(HeaderName, HeaderValue),
}

/// A whole answer.
struct Answer {
    status: u16,
    body: Bytes,
    /// What it takes, parsed.
    share: Option<Share>,
}

impl Couch {
    /// As this account; answers longer than `limit` bytes are errors.
    pub(crate) fn new(client: Client, account: ServiceAccount, limit: usize) -> Self {
        let closed = Cache::builder().max_capacity(CLOSED);
        Self {
            // Security: what a client leaves behind on a connection must never be read as ours, who are administrators.
            // (`the_service_account_and_callers_share_no_connection`)
            client: client.apart(),
            account,
            closed: closed.time_to_live(CLOSED_FOR).build(),
            limit,
            budget: None,
        }
    }

    /// CouchDB, asked on behalf of a request that has this budget.
    pub(crate) fn counted(&self, budget: &Arc<Budget>) -> Self {
        Self {
            budget: Some(Arc::clone(budget)),
            ..self.clone()
        }
    }

    /// For what is derived from answers.
    pub(crate) fn share(&self) -> Option<Share> {
        self.budget.as_ref().map(Share::of)
    }

    /// Who runs our errands.
    pub(crate) fn account(&self) -> &ServiceAccount {
        &self.account
    }

    /// An errand of the service account. What only reads goes as a member.
    fn errand(
        &self,
        db: &DbName,
        method: Method,
        call: DatabaseCall,
        query: &[(&str, &str)],
    ) -> Errand {
        let goes = match reads(method, &call) && !db.is_system() {
            true => Goes::Member(db.clone()),
            false => Goes::Administrator,
        };
        let call = Call::Database {
            db: db.clone(),
            call,
        };
        Errand {
            route: Route {
                call,
                method,
                query: pairs(query),
            },
            goes,
            body: None,
            kind: Kind::Request,
            forwarded_for: None,
            most: usize::MAX,
        }
    }

    async fn run(&self, errand: Errand) -> Result<Answer, CouchError> {
        // Boxed, for it is awaited deep inside of larger futures.
        Box::pin(self.carry_out(errand)).await
    }

    async fn carry_out(&self, errand: Errand) -> Result<Answer, CouchError> {
        match &errand.goes {
            Goes::Administrator => {}
            Goes::Shown(name, value) => {
                return self.send(&errand, (name.clone(), value.clone())).await;
            }
            Goes::Member(db) => {
                if let Some(answer) = self.run_as_member(&errand, db).await? {
                    return Ok(answer);
                }
            }
        }
        let administrator = (AUTHORIZATION, self.account.authorization()?);
        self.send(&errand, administrator).await
    }

    /// Nothing, if the database does not let our account in as a member.
    async fn run_as_member(
        &self,
        errand: &Errand,
        db: &DbName,
    ) -> Result<Option<Answer>, CouchError> {
        if self.closed.contains_key(db) {
            return Ok(None);
        }
        let Some(member) = self.account.as_member(db)? else {
            return Ok(None);
        };
        let answer = self.send(errand, (AUTHORIZATION, member)).await?;
        if matches!(answer.status, 401 | 403) {
            self.closed.insert(db.clone(), ());
            return Ok(None);
        }
        Ok(Some(answer))
    }

    async fn send(
        &self,
        errand: &Errand,
        (header, account): (HeaderName, HeaderValue),
    ) -> Result<Answer, CouchError> {
        let reuse = errand.reuse();
        let mut request = http::Request::builder()
            .method(verb(errand.route.method))
            .uri(errand.route.render())
            .header(ACCEPT, "application/json")
            .header(header, account);
        if let Some(peer) = &errand.forwarded_for {
            request = request.header("x-forwarded-for", peer);
        }
        let request = match &errand.body {
            Some(value) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body::full(value.to_bytes())),
            None => request.body(body::empty()),
        };
        let request = request.map_err(|_| CouchError::Name)?;
        let answer = self.client.send(request, errand.kind, reuse).await?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut bytes = BytesMut::new();
        let own = self.share();
        let is_own = own.is_some();
        let mut share = own.or_else(behalf::share);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(CouchError::Cut)?.into_data() else {
                continue;
            };
            if bytes.len().saturating_add(data.len()) > self.limit {
                return Err(CouchError::TooLong(self.limit));
            }
            // Security: an answer is parsed to many times its length.
            // (`memory_is_bounded_whatever_is_read_to_judge`)
            if let Some(share) = &mut share {
                share.count(&data).map_err(|full| match full {
                    NoRoom::Ever => CouchError::TooLong(self.limit),
                    NoRoom::Share | NoRoom::Now => CouchError::NoRoom,
                })?;
                if share.weight() > errand.most {
                    return Err(CouchError::TooLong(errand.most));
                }
            }
            bytes.extend_from_slice(&data);
        }
        if !is_own && let Some(share) = share.take() {
            behalf::keep(share);
        }
        Ok(Answer {
            status,
            body: bytes.freeze(),
            share,
        })
    }
}

impl fmt::Debug for Couch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Couch(…)")
    }
}

impl Answer {
    /// The JSON of a `200` with its share, which must be kept as long as any part of it.
    fn kept(self) -> Result<Option<Parsed>, CouchError> {
        let found = self.found()?;
        Ok(found.map(|json| (json, self.share.map(Arc::new))))
    }

    /// The JSON of a `200`; nothing where CouchDB says that there is nothing.
    fn found(&self) -> Result<Option<Value>, CouchError> {
        match self.status {
            200..=202 => Ok(Some(Value::parse(&self.body)?)),
            404 => Ok(None),
            409 | 412 => Err(CouchError::Conflict),
            status => Err(CouchError::Status(status)),
        }
    }
}

/// The header of a Basic login. The name holds no colon, or it would be another name.
pub(crate) fn basic(user: &str, password: &Secret) -> Result<HeaderValue, CouchError> {
    if user.contains(':') {
        return Err(CouchError::Name);
    }
    let pair = Secret::new([user.as_bytes(), b":", password.expose()].concat());
    let text = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
    let mut value = HeaderValue::from_bytes(text.expose()).map_err(|_| CouchError::Name)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Does this only read? What CouchDB asks to be an administrator for is not among it.
fn reads(method: Method, call: &DatabaseCall) -> bool {
    let by_post = matches!(
        call,
        DatabaseCall::List(_) | DatabaseCall::BulkGet | DatabaseCall::MissingRevs
    );
    match method {
        Method::Get | Method::Head => true,
        Method::Post => by_post,
        Method::Put | Method::Delete | Method::Copy => false,
    }
}

fn pairs(list: &[(&str, &str)]) -> Query {
    let mut query = Query::default();
    for (name, value) in list {
        query.set(name, value);
    }
    query
}

fn verb(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Copy => "COPY",
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
