//! Users: whether a password is theirs, and what their documents say; and the feeds that tell when one
//! has changed.
//!
//! Invariant: a password or token is sent as that user, and the answer counts only if CouchDB names that
//! very user.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::jwt_signer::ADMIN;
use super::{Couch, CouchError, Errand, Goes, basic, pairs};
use crate::caller::UserName;
use crate::client::Kind;
use crate::json::Value;
use crate::route::{Call, DatabaseCall, DbName, DocId, Method, Route, ServerCall};
use crate::secret::Secret;

/// The name of nobody.
const IMPOSTOR: &str = "couchwarden-impostor";

/// How many changes are read at once.
const CHANGES: usize = 1000;

/// Whom CouchDB takes someone for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserCtx {
    /// Their name.
    pub(crate) name: String,
    /// Their roles, as CouchDB names them.
    pub(crate) roles: Vec<String>,
}

/// What has changed in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The ids of the documents, some perhaps more than once.
    pub(crate) ids: Vec<String>,
    /// Where to go on.
    pub(crate) last_seq: String,
    /// Is there nothing after these?
    pub(crate) complete: bool,
}

/// Documents that have changed in a database.
#[derive(Debug)]
pub(crate) struct ChangedDocuments {
    /// In the order of their changes; a deleted one has `_deleted`.
    pub(crate) documents: Vec<Value>,
    /// Where to go on.
    pub(crate) last_seq: String,
    /// Is there nothing after these?
    pub(crate) complete: bool,
}

impl Couch {
    /// Asks CouchDB, as that user, who they are; `None` if the password is wrong.
    ///
    /// CouchDB counts failures by the address it sees, which is ours for everybody. Where it stands on
    /// a private network it believes `X-Forwarded-For` (mochiweb_request:get(peer)), so it is told the
    /// client's own address, and nobody locks a user out from elsewhere.
    pub(crate) async fn verify_password(
        &self,
        name: &UserName,
        password: &Secret,
        peer: IpAddr,
    ) -> Result<Option<UserCtx>, CouchError> {
        let Ok(account) = basic(name.as_str(), password) else {
            return Ok(None);
        };
        let Some(session) = self
            .session(Goes::Shown(AUTHORIZATION, account), Some(peer))
            .await?
        else {
            return Ok(None);
        };
        // Security: `name` is null for whoever CouchDB did not log in.
        // (an_answer_about_somebody_else_proves_nothing)
        let context = context(&session).filter(|context| context.name == name.as_str());
        Ok(context)
    }

    /// Asks CouchDB whom it takes the bearer of a token for; `None` if for nobody.
    pub(crate) async fn verify_token(&self, token: &str) -> Result<Option<UserCtx>, CouchError> {
        let Ok(mut account) = HeaderValue::from_str(&format!("Bearer {token}")) else {
            return Ok(None);
        };
        account.set_sensitive(true);
        let Some(session) = self
            .session(Goes::Shown(AUTHORIZATION, account), None)
            .await?
        else {
            return Ok(None);
        };
        // Security: a CouchDB that reads no tokens passes over them, and may log us in by something else.
        // (couchdb_vouches_for_tokens_that_it_reads_itself)
        let by = session.at(&["info", "authenticated"]);
        let by_token = by.and_then(Value::as_str) == Some("jwt");
        Ok(context(&session).filter(|_| by_token))
    }

    /// Whether CouchDB believes a name without a secret: its `proxy_use_secret` is off then, and whoever
    /// reaches its port is whoever they like.
    pub(crate) async fn believes_anybody(&self) -> Result<bool, CouchError> {
        let header = HeaderName::from_static("x-auth-couchdb-username");
        let name = HeaderValue::from_static(IMPOSTOR);
        let session = self.session(Goes::Shown(header, name), None).await?;
        let context = session.as_ref().and_then(context);
        Ok(context.is_some_and(|context| context.name == IMPOSTOR))
    }

    /// Whether CouchDB takes our own token for that of an administrator; yes, where there is none.
    pub(crate) async fn believes_us(&self) -> Result<bool, CouchError> {
        if self.account.signer().is_none() {
            return Ok(true);
        }
        let session = self.session(Goes::Administrator, None).await?;
        let context = session.as_ref().and_then(context);
        Ok(context.is_some_and(|context| {
            context.name == self.account.name() && context.roles.iter().any(|role| role == ADMIN)
        }))
    }

    /// What CouchDB's `_session` says to whoever shows this, or to the service account; `None` if it takes them for
    /// nobody.
    async fn session(&self, goes: Goes, peer: Option<IpAddr>) -> Result<Option<Value>, CouchError> {
        let errand = Errand {
            route: Route {
                call: Call::Server(ServerCall::Session),
                method: Method::Get,
                query: pairs(&[]),
            },
            goes,
            body: None,
            kind: Kind::Request,
            forwarded_for: peer.and_then(|peer| HeaderValue::from_str(&peer.to_string()).ok()),
            most: usize::MAX,
        };
        let answer = self.run(errand).await?;
        match answer.status {
            200 => Ok(Some(Value::parse(&answer.body)?)),
            // What CouchDB can't even read, or is not set up to read, is not right either.
            400 | 401 | 404 => Ok(None),
            403 => Err(CouchError::LockedOut),
            status => Err(CouchError::Status(status)),
        }
    }

    /// The user's document in `_users`.
    pub(crate) async fn user_document(&self, name: &UserName) -> Result<Option<Value>, CouchError> {
        let db = users_database()?;
        let id = format!("org.couchdb.user:{name}");
        let id = DocId::parse(&id).map_err(|_| CouchError::Name)?;
        self.read(&db, &id).await
    }

    /// What has changed since a sequence (`now`, `0`, or a `last_seq`). With `wait`, the answer comes as
    /// soon as something has, or when that time is over.
    pub(crate) async fn changes(
        &self,
        db: &DbName,
        since: &str,
        wait: Option<Duration>,
    ) -> Result<Changes, CouchError> {
        let wait = wait.map(|wait| wait.as_millis().to_string());
        // Nobody looks at the sequences of rows, which are work to CouchDB.
        let limit = CHANGES.to_string();
        let mut query = vec![
            ("since", since),
            ("limit", limit.as_str()),
            ("seq_interval", limit.as_str()),
        ];
        if let Some(wait) = &wait {
            query.extend([("feed", "longpoll"), ("timeout", wait.as_str())]);
        }
        let mut errand = self.errand(db, Method::Get, DatabaseCall::Changes, &query);
        errand.kind = if wait.is_some() {
            Kind::Feed
        } else {
            Kind::Request
        };
        let answer = self
            .run(errand)
            .await?
            .found()?
            .ok_or(CouchError::Status(404))?;
        let results = answer.get("results").and_then(Value::as_array);
        let results = results.ok_or(CouchError::Unreadable("no results"))?;
        let ids = results
            .iter()
            .filter_map(|row| row.get("id")?.as_str())
            .map(str::to_owned);
        Ok(Changes {
            ids: ids.collect(),
            last_seq: last_seq(&answer)?,
            complete: results.len() < CHANGES,
        })
    }

    /// The documents that have changed since a sequence (`0`, or a `last_seq`), at most so many, tombstones
    /// included. Nothing, if there is no such database.
    pub(crate) async fn changed_documents(
        &self,
        db: &DbName,
        since: &str,
        mut limit: usize,
    ) -> Result<Option<ChangedDocuments>, CouchError> {
        loop {
            let most = limit.to_string();
            let query = [
                ("since", since),
                ("limit", most.as_str()),
                ("include_docs", "true"),
            ];
            let errand = self.errand(db, Method::Get, DatabaseCall::Changes, &query);
            let answer = match self.run(errand).await {
                // Fewer documents may fit; a single one that does not is an error.
                Err(CouchError::TooLong(_)) if limit > 1 => {
                    limit /= 2;
                    continue;
                }
                answer => answer?,
            };
            let Some(answer) = answer.found()? else {
                return Ok(None);
            };
            let results = answer.get("results").and_then(Value::as_array);
            let results = results.ok_or(CouchError::Unreadable("no results"))?;
            let documents = results.iter().filter_map(|row| row.get("doc").cloned());
            return Ok(Some(ChangedDocuments {
                documents: documents.collect(),
                last_seq: last_seq(&answer)?,
                complete: results.len() < limit,
            }));
        }
    }
}

/// Where a feed goes on.
fn last_seq(answer: &Value) -> Result<String, CouchError> {
    match answer.get("last_seq") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.as_str().to_owned()),
        // BigCouch's pairs `[number, text]` go back as JSON.
        Some(pair @ Value::Array(_)) => Ok(pair.to_string()),
        Some(Value::Null | Value::Bool(_) | Value::Object(_)) | None => {
            Err(CouchError::Unreadable("no sequence"))
        }
    }
}

fn context(session: &Value) -> Option<UserCtx> {
    let context = session.get("userCtx")?;
    let roles = context.get("roles").and_then(Value::as_array);
    let roles = roles.unwrap_or_default().iter().filter_map(Value::as_str);
    Some(UserCtx {
        name: context.get("name").and_then(Value::as_str)?.to_owned(),
        roles: roles.map(str::to_owned).collect(),
    })
}

/// CouchDB's database of users.
pub(super) fn users_database() -> Result<DbName, CouchError> {
    DbName::parse("_users").map_err(|_| CouchError::Name)
}
