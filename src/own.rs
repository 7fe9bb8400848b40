//! What couchwarden answers by itself of CouchDB's server level, for callers who are no administrators, and
//! the road to the node service. Lists of databases it makes for everybody: CouchDB's have our own one in them.
//!
//! Invariant: names of databases are shown only where the caller may do something, or to whom a rule shows all; our
//! own to nobody. Versions are never shown.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue};

use crate::couch::Couch;
use crate::exchange::answer::Answer;
use crate::exchange::read::info::cut;
use crate::exchange::read::pin;
use crate::exchange::write::answer::object;
use crate::exchange::write::written;
use crate::intake::json_body;
use crate::json::Value;
use crate::policy::{Permit, Plan, Policy};
use crate::refusal::Refusal;
use crate::route::name::is_own_database;
use crate::route::{DbName, Method, Query, ServerCall};
use crate::services::node::{Asked, Body as NodeBody, Nodes};

/// As many ids as CouchDB gives at once.
const MOST_UUIDS: u64 = 1_000;
/// As many databases as CouchDB tells of at once (`max_db_number_for_dbs_info_req`).
const MOST_DATABASES: usize = 100;
const NO_CACHE: HeaderValue = HeaderValue::from_static("must-revalidate, no-cache");

/// Answers of the server level.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    uuid: String,
}

impl Own {
    /// `uuid` is part of PouchDB's replication ids: it must never change.
    pub(crate) fn new(uuid: String) -> Self {
        Self { uuid }
    }

    pub(crate) async fn server(
        &self,
        couch: &Couch,
        policy: &Policy,
        permit: &Permit,
        call: &ServerCall,
        body: Bytes,
    ) -> Result<Answer, Refusal> {
        let query = &permit.route().query;
        match call {
            ServerCall::Welcome => Ok(self.welcome()),
            ServerCall::Up => {
                couch.up().await?;
                Ok(Answer::json(b"{\"status\":\"ok\",\"seeds\":{}}\n".to_vec()))
            }
            ServerCall::Uuids => uuids(query),
            ServerCall::AllDbs => all_dbs(couch, policy, permit).await,
            ServerCall::DbsInfo => self.dbs_info(couch, policy, permit, &body).await,
            ServerCall::Favicon
            | ServerCall::Session
            | ServerCall::ActiveTasks
            | ServerCall::DbUpdates
            | ServerCall::Membership
            | ServerCall::ClusterSetup
            | ServerCall::Replicate
            | ServerCall::SchedulerJobs(_)
            | ServerCall::SchedulerDocs(..)
            | ServerCall::SearchAnalyze
            | ServerCall::NouveauAnalyze
            | ServerCall::ReloadQueryServers
            | ServerCall::Reshard(_)
            | ServerCall::ClusterNode { .. }
            | ServerCall::Utils(_) => Err(Refusal::NoEndpoint),
        }
    }

    /// `GET /`: JSON with a `couchdb` member and a stable `uuid`, which is what clients look for.
    fn welcome(&self) -> Answer {
        let vendor = object([("name", Value::from("couchwarden"))]);
        let members = [
            ("couchdb", "Welcome".into()),
            ("uuid", self.uuid.as_str().into()),
            // Clients look into the list; what this CouchDB can do is not told.
            ("features", Value::Array(Vec::new())),
            ("vendor", vendor),
        ];
        json(&object(members))
    }

    async fn dbs_info(
        &self,
        couch: &Couch,
        policy: &Policy,
        permit: &Permit,
        body: &Bytes,
    ) -> Result<Answer, Refusal> {
        let whole = sees_all(permit);
        let keys: Vec<String> = if body.is_empty() {
            let names = in_range(&permit.route().query, visible(couch, policy, permit).await?)?;
            match whole {
                true => names,
                false => at_most(names)?,
            }
        } else {
            let body = json_body::value(body)?;
            let keys = body.get("keys").and_then(Value::as_array);
            let keys = keys.ok_or(Refusal::BadRequest("`keys` member must exist."))?;
            let keys = keys.iter().filter_map(Value::as_str);
            at_most(keys.map(str::to_owned).collect())?
        };
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let seen = whole || policy.may_do_something(permit.caller(), &key);
            let info = match DbName::parse(&key) {
                Ok(db) if seen && !db.is_own() => couch.info(&db).await?,
                Ok(_) | Err(_) => None,
            };
            let answer = match info {
                Some(info) if whole => ("info", info),
                Some(info) => ("info", cut(&info)),
                None => ("error", "not_found".into()),
            };
            rows.push(object([("key", key.into()), answer]));
        }
        Ok(json(&Value::Array(rows)))
    }
}

/// Do the rules leave nothing to filter?
fn sees_all(permit: &Permit) -> bool {
    matches!(permit.plan(), Plan::Verbatim)
}

fn at_most(keys: Vec<String>) -> Result<Vec<String>, Refusal> {
    match keys.len() > MOST_DATABASES {
        true => Err(Refusal::BadRequest("too many keys")),
        false => Ok(keys),
    }
}

fn uuids(query: &Query) -> Result<Answer, Refusal> {
    let count = match query.value("count") {
        Some(count) => count
            .parse()
            .map_err(|_| Refusal::BadRequest("count must be a positive integer"))?,
        None => 1,
    };
    if count > MOST_UUIDS {
        return Err(Refusal::BadRequest("count parameter too large"));
    }
    let ids = (0..count).map(|_| written::new_id().map(Value::from));
    let ids = ids
        .collect::<Option<Vec<_>>>()
        .ok_or(Refusal::Internal("no random bytes"))?;
    Ok(json(&object([("uuids", Value::Array(ids))])).header(CACHE_CONTROL, NO_CACHE))
}

/// `/_all_dbs`, cut to the databases in which the caller may do something.
async fn all_dbs(couch: &Couch, policy: &Policy, permit: &Permit) -> Result<Answer, Refusal> {
    let names = in_range(&permit.route().query, visible(couch, policy, permit).await?)?;
    let names = names.into_iter().map(Value::from);
    Ok(json(&Value::Array(names.collect())))
}

/// Those of the names, which are in order, that the parameters of a list ask for.
fn in_range(query: &Query, mut names: Vec<String>) -> Result<Vec<String>, Refusal> {
    let range = query.view()?;
    let text = |key: &Option<String>| match key {
        Some(key) => pin::json("key", key).map(|key| key.as_str().map(str::to_owned)),
        None => Ok(None),
    };
    let (start, end) = (text(&range.startkey)?, text(&range.endkey)?);
    if range.descending {
        names.reverse();
    }
    let after = |name: &String, key: &String| {
        if range.descending {
            name <= key
        } else {
            name >= key
        }
    };
    let before = |name: &String, key: &String| {
        let inside = if range.descending {
            name >= key
        } else {
            name <= key
        };
        inside && (range.inclusive_end || name != key)
    };
    let shown = names
        .into_iter()
        .filter(|name| start.as_ref().is_none_or(|key| after(name, key)))
        .filter(|name| end.as_ref().is_none_or(|key| before(name, key)))
        .skip(usize::try_from(range.skip).unwrap_or(usize::MAX))
        .take(range.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        }));
    Ok(shown.collect())
}

async fn visible(couch: &Couch, policy: &Policy, permit: &Permit) -> Result<Vec<String>, Refusal> {
    let mut names = couch.all_dbs().await?;
    names.retain(|name| {
        let seen = sees_all(permit) || policy.may_do_something(permit.caller(), name);
        seen && !is_own_database(name)
    });
    Ok(names)
}

/// `GET /node`, and whatever is done to one node.
pub(crate) async fn node(
    nodes: &Nodes,
    policy: &Policy,
    permit: &Permit,
    asked: Option<Asked<'_>>,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let route = permit.route();
    let answer = match asked {
        None => nodes.list(permit.caller(), &route.query).await?,
        Some(asked) => match route.method {
            Method::Put => nodes.put(asked, NodeBody::Sent(&body)).await?,
            Method::Delete => nodes.delete(asked, policy).await?,
            Method::Get | Method::Head | Method::Post | Method::Copy => nodes.read(asked).await?,
        },
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let tag = answer
        .etag
        .as_deref()
        .and_then(|tag| HeaderValue::from_str(tag).ok());
    Ok(match (status, tag) {
        (StatusCode::NOT_MODIFIED, Some(tag)) => Answer::not_modified(tag),
        (status, Some(tag)) => Answer::with(status, answer.body).header(ETAG, tag),
        (status, None) => Answer::with(status, answer.body),
    })
}

/// The name of a user's database.
pub(crate) fn provisioned(db: &DbName) -> Answer {
    json(&object([
        ("ok", true.into()),
        ("database", db.as_str().into()),
    ]))
}

/// What was asked for is done.
pub(crate) fn done() -> Answer {
    json(&object([("ok", true.into())]))
}

fn json(value: &Value) -> Answer {
    let mut bytes = value.to_bytes();
    bytes.push(b'\n');
    Answer::json(bytes)
}

/// Thirty-two hexadecimal digits made of a key.
pub(crate) fn uuid(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
