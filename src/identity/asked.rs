//! Which of a caller's roles CouchDB is told where it is told only those that matter (`[couchdb] roles = "asked"`):
//! those that a rule about the database asks about, and those that its `_security` names.
//!
//! Invariant: no role is added; what can't be learnt about `_security` fails the request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::caller::{Caller, Role};
use crate::couch::{Couch, CouchError};
use crate::json::Value;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::route::DbName;

/// How long `_security` is believed: a role that it has just been given is sent that much later.
const FRESH: Duration = Duration::from_secs(5);

/// Of how many databases it is remembered.
const DATABASES: u64 = 10_000;

/// The roles that a `_security` names.
type Named = Arc<HashSet<String>>;

/// Knows what the databases ask about.
#[derive(Debug)]
pub(crate) struct AskedRoles {
    couch: Couch,
    named: Cache<DbName, Named>,
}

impl AskedRoles {
    /// As this CouchDB's databases say.
    pub(crate) fn new(couch: Couch) -> Self {
        Self {
            couch,
            named: Cache::builder()
                .max_capacity(DATABASES)
                .time_to_live(FRESH)
                .build(),
        }
    }

    /// The roles of this caller that are asked about in this database, or on the server.
    pub(crate) async fn of(
        &self,
        policy: &Policy,
        caller: &Caller,
        db: Option<&DbName>,
    ) -> Result<Vec<Role>, Refusal> {
        let named = match db {
            Some(db) if !caller.roles().is_empty() => self.named(db).await?,
            Some(_) | None => Named::default(),
        };
        let by_rules = policy.asked_roles(caller, db.map(DbName::as_str));
        let asked = |role: &&Role| named.contains(role.as_str()) || by_rules.ask(role.as_str());
        Ok(caller.roles().iter().filter(asked).cloned().collect())
    }

    async fn named(&self, db: &DbName) -> Result<Named, Refusal> {
        let found = self.named.try_get_with_by_ref(db, self.read(db)).await;
        found.map_err(|error: Arc<CouchError>| (*error).clone().into())
    }

    async fn read(&self, db: &DbName) -> Result<Named, CouchError> {
        let security = self.couch.security(db).await?.unwrap_or(Value::Null);
        let lists = ["admins", "members"].map(|who| security.at(&[who, "roles"]));
        let roles = lists.into_iter().flatten().filter_map(Value::as_array);
        let roles = roles.flatten().filter_map(Value::as_str);
        Ok(Arc::new(roles.map(str::to_owned).collect()))
    }
}
