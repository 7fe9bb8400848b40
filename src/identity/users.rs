//! What is known about a name: who vouches for it, and its roles.
//!
//! A name belongs to one voucher: a user node, or CouchDB's `_users`. Where both know it, nobody can log
//! in by it, and the log says so. Records are kept for a minute at most and follow the `_changes` of
//! both databases (`follow`).
//!
//! Who must not believe a record for that long ([`Users::confirm`]) gets it from CouchDB itself whenever the
//! changes could not be followed lately.
//!
//! Invariant: a record holds no role that begins with `_`: who is an administrator says our configuration
//! alone.

mod follow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::watch;

use crate::caller::{Role, UserName};
use crate::config;
use crate::couch::{Couch, CouchError};
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::{DbName, DocId};

use super::follow::{Follow, Source};
use super::present::ANONYMOUS;

/// How long a record is believed while nothing tells that it changed.
const LIFE: Duration = Duration::from_secs(60);

/// How many records are kept.
const CAPACITY: u64 = 100_000;

/// What the ids of user documents begin with.
const USER_PREFIX: &str = "org.couchdb.user:";

/// What is known about a name.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// One voucher knows it.
    Known(Arc<Record>),
    /// Neither a node nor a document has it. It may be an administrator of CouchDB's configuration.
    Unknown,
    /// It can't be logged in by; the log says why.
    Unusable,
}

/// A user.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) voucher: Voucher,
    pub(super) roles: Vec<Role>,
    /// What changes when his password does.
    credential: Vec<u8>,
}

/// Who says that a password is right.
#[derive(Debug)]
pub(super) enum Voucher {
    /// His node, by this bcrypt hash.
    Node(Hash),
    /// CouchDB.
    CouchDb,
}

/// A hash, which does not print.
pub(super) struct Hash(Box<str>);

impl std::ops::Deref for Hash {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl Standing {
    /// What a session or a verified password is bound to. Never equal for two kinds of standing.
    pub(super) fn credential(&self) -> Vec<u8> {
        match self {
            Self::Known(record) => record.credential.clone(),
            Self::Unknown => b"server".to_vec(),
            Self::Unusable => b"nobody".to_vec(),
        }
    }
}

/// Knows users.
#[derive(Debug)]
pub(super) struct Users {
    couch: Couch,
    /// The database of nodes, if nodes vouch.
    nodes: Option<Source>,
    /// `_users`, if CouchDB vouches.
    users: Option<Source>,
    /// Whom to tell of changes.
    changed: watch::Sender<()>,
    records: Cache<UserName, Standing>,
    /// Counts the changes seen.
    epoch: AtomicU64,
}

impl Users {
    pub(super) fn new(
        vouchers: &[config::Voucher],
        nodes: Option<DbName>,
        couch: Couch,
        follow: Follow,
    ) -> Self {
        let asks = |voucher| vouchers.contains(&voucher);
        let users = DbName::parse("_users").ok();
        Self {
            couch,
            nodes: nodes
                .filter(|_| asks(config::Voucher::Nodes))
                .map(|db| Source::new(db, follow.fresh)),
            users: users
                .filter(|_| asks(config::Voucher::CouchDb))
                .map(|db| Source::new(db, follow.fresh)),
            changed: follow.changed,
            records: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(LIFE)
                .build(),
            epoch: AtomicU64::new(0),
        }
    }

    pub(super) fn asks_nodes(&self) -> bool {
        self.nodes.is_some()
    }

    pub(super) fn asks_couchdb(&self) -> bool {
        self.users.is_some()
    }

    /// The record, if it is at hand.
    pub(super) async fn remembered(&self, name: &UserName) -> Option<Standing> {
        self.records.get(name).await
    }

    /// The record.
    pub(super) async fn find(&self, name: &UserName) -> Result<Standing, Refusal> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let found = self
            .records
            .try_get_with_by_ref(name, self.read(name))
            .await;
        // Security: what was read while a change came in may be older than it, and was perhaps
        // remembered only after the change had made us forget.
        if self.epoch.load(Ordering::SeqCst) != epoch {
            self.records.invalidate(name).await;
        }
        found.map_err(|error: Arc<CouchError>| (*error).clone().into())
    }

    /// The record as it is in CouchDB, or was a moment ago.
    pub(super) async fn confirm(&self, name: &UserName) -> Result<Standing, Refusal> {
        let mut sources = [&self.users, &self.nodes].into_iter().flatten();
        if !sources.all(Source::is_fresh) {
            self.records.invalidate(name).await;
        }
        self.find(name).await
    }

    /// Forgets what is known of the name, also what is just being read.
    pub(super) async fn forget(&self, name: &UserName) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.records.invalidate(name).await;
    }

    async fn read(&self, name: &UserName) -> Result<Standing, CouchError> {
        if name.as_str() == ANONYMOUS || self.couch.account().reserves(name) {
            tracing::warn!(user = %name, "the name is one that couchwarden itself uses before CouchDB");
            return Ok(Standing::Unusable);
        }
        let (node, document) = tokio::try_join!(self.read_node(name), self.read_document(name))?;
        Ok(match (node, document) {
            (None, None) => Standing::Unknown,
            (Some(node), None) => of_node(name, &node),
            (None, Some(document)) => of_document(name, &document),
            (Some(_), Some(_)) => {
                tracing::warn!(user = %name, "both a node and `_users` know the name");
                Standing::Unusable
            }
        })
    }

    /// The `authorization` of the user node of this name.
    async fn read_node(&self, name: &UserName) -> Result<Option<Value>, CouchError> {
        let (Some(nodes), Ok(id)) = (&self.nodes, DocId::parse(name.as_str())) else {
            return Ok(None);
        };
        if id.is_design() {
            return Ok(None);
        }
        let document = self.couch.read(&nodes.db, &id).await?;
        let authorization = document
            .as_ref()
            .and_then(|node| node.at(&["metadata", "authorization"]));
        Ok(authorization.filter(|value| !value.is_null()).cloned())
    }

    async fn read_document(&self, name: &UserName) -> Result<Option<Value>, CouchError> {
        if self.users.is_none() {
            return Ok(None);
        }
        self.couch.user_document(name).await
    }

    /// Was this name nobody's ever? Who signs up under one that was another's would be taken for him: by rules,
    /// by documents that name him, or by a node (a name that has two vouchers is nobody's).
    pub(super) async fn is_free(&self, name: &UserName) -> Result<bool, CouchError> {
        if name.as_str() == ANONYMOUS {
            return Ok(false);
        }
        let users = DbName::parse("_users").map_err(|_| CouchError::Name)?;
        let account = DocId::parse(&format!("{USER_PREFIX}{name}"));
        // An account counts even where CouchDB does not vouch: it may be asked for again.
        let mut places = vec![(&users, account)];
        if let Some(nodes) = &self.nodes {
            places.push((&nodes.db, DocId::parse(name.as_str())));
        }
        for (db, id) in places {
            let id = id.map_err(|_| CouchError::Name)?;
            if !self.couch.leaves(db, &id).await?.is_empty() {
                return Ok(false);
            }
        }
        let administrators = self.couch.administrators().await?;
        Ok(!administrators.iter().any(|one| *one == *name.as_str()))
    }

    #[cfg(test)]
    pub(super) fn records_forget(&self) {
        self.records.invalidate_all();
    }
}

/// A user node; one whose hash can't be read is nobody's.
fn of_node(name: &UserName, authorization: &Value) -> Standing {
    let kind = authorization.get("type").and_then(Value::as_str);
    let hash = authorization.get("crypted").and_then(Value::as_str);
    match (kind, hash) {
        (Some("bcrypt"), Some(hash)) => Standing::Known(Arc::new(Record {
            credential: [b"node:", hash.as_bytes()].concat(),
            voucher: Voucher::Node(Hash(hash.into())),
            roles: Vec::new(),
        })),
        _ => {
            tracing::warn!(user = %name, "the node's authorization can't be read");
            Standing::Unusable
        }
    }
}

/// A user document; one that is another's, or that holds a role nobody can be told, is nobody's.
fn of_document(name: &UserName, document: &Value) -> Standing {
    let unusable = |why| {
        tracing::warn!(user = %name, why, "the document in `_users` can't be used");
        Standing::Unusable
    };
    if document.get("name").and_then(Value::as_str) != Some(name.as_str()) {
        return unusable("it has another name");
    }
    let mut roles = Vec::new();
    for role in document
        .get("roles")
        .and_then(Value::as_array)
        .unwrap_or_default()
    {
        let Some(text) = role.as_str() else {
            return unusable("a role is not a text");
        };
        if text.starts_with('_') {
            continue;
        }
        let Ok(role) = Role::parse(text) else {
            return unusable("a role has characters that mislead");
        };
        roles.push(role);
    }
    let parts = [
        "password_scheme",
        "salt",
        "derived_key",
        "password_sha",
        "iterations",
    ];
    let mut credential = b"couchdb:".to_vec();
    for part in parts {
        document
            .get(part)
            .unwrap_or(&Value::Null)
            .write(&mut credential);
        credential.push(b' ');
    }
    Standing::Known(Arc::new(Record {
        voucher: Voucher::CouchDb,
        roles,
        credential,
    }))
}

#[cfg(test)]
mod tests;
