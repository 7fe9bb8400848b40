//! `/_warden/…`: a private database for each user, kept in step by CouchDB's own replicator, and the roles of
//! voicemail databases.
//!
//! `plan` says what is missing; this file looks, asks it, does the steps, and looks again until nothing is
//! missing. So whatever an earlier call has left half done is finished by the next one. `replication` knows
//! the documents of `_replicator`, `register` keeps the list of them, `life` says when they begin and end, `wake`
//! starts those that are parked, `credentials` says what they
//! show to CouchDB, `entry` lets them into the user's database, `rights` knows what a user sees, `events`
//! tells them.
//!
//! Invariant: the name of the database is claimed on the user's document, at the revision that was read,
//! before anything is made of it: of two calls at once one is told of a conflict, and goes on with the
//! name of the other.

mod clock;
mod credentials;
mod entry;
mod events;
mod life;
mod plan;
mod register;
mod replication;
mod rights;
#[cfg(test)]
mod tests;
mod users;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;

use super::ddocs::Design;
use super::node::Nodes;
use crate::caller::{Caller, User};
use crate::config::{self, Config};
use crate::couch::behalf::apart;
use crate::couch::{Couch, CouchError};
use crate::exchange::write::written::new_id;
use crate::identity::Identity;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::route::DbName;
use credentials::OwnWay;
use plan::{Found, Step};
use register::Replications;
use replication::Ends;
use users::{user_id, user_of};

/// How often a call looks again. Each round that others disturb leaves less to do.
const ROUNDS: usize = 8;

/// How long a token that was found alive is taken for alive.
const ADMITTED: Duration = Duration::from_secs(3);

/// Of how many users this is remembered.
const USERS: u64 = 100_000;

/// Makes and keeps the databases of users.
#[derive(Debug)]
pub(crate) struct Provisioning {
    couch: Couch,
    identity: Arc<Identity>,
    policy: Arc<ArcSwap<Policy>>,
    /// Where rules go by values of nodes.
    nodes: Option<Arc<Nodes>>,
    users: DbName,
    replicator: DbName,
    /// What belongs into each user database.
    designs: Vec<Design>,
    ends: Ends,
    /// How replications get into a user's database.
    way: OwnWay,
    timeout: Duration,
    end_on_logout: bool,
    /// Databases whose use need not be written down again yet.
    recent: Cache<DbName, ()>,
    /// Tokens that were alive a moment ago, and whose they are.
    admitted: Cache<String, DbName>,
    replications: Replications,
}

/// What a look came to.
enum Round {
    /// Nothing was missing.
    Complete(DbName),
    /// Something was done.
    Progress,
}

impl Provisioning {
    /// As configured; `designs` go into each user database.
    pub(crate) fn new(
        settings: &config::Provisioning,
        config: &Config,
        couch: Couch,
        identity: Arc<Identity>,
        policy: Arc<ArcSwap<Policy>>,
        nodes: Option<Arc<Nodes>>,
        designs: Vec<Design>,
    ) -> Result<Self, CouchError> {
        let db = |name: &str| DbName::parse(name).map_err(|_| CouchError::Name);
        let fresh = settings.replication_timeout / 6;
        let (users, replicator) = (db("_users")?, db("_replicator")?);
        let shared = db(&settings.database)?;
        Ok(Self {
            replications: Replications::new(
                couch.clone(),
                users.clone(),
                replicator.clone(),
                shared.clone(),
            ),
            identity,
            policy,
            nodes,
            users,
            replicator,
            designs,
            ends: Ends {
                warden: settings.url.clone(),
                shared,
                couchdb: settings.couchdb.clone(),
            },
            way: OwnWay::new(&config.couchdb, &couch),
            couch,
            timeout: settings.replication_timeout,
            end_on_logout: settings.end_on_logout,
            recent: Cache::builder()
                .max_capacity(USERS)
                .time_to_live(fresh)
                .build(),
            admitted: Cache::builder()
                .max_capacity(USERS)
                .time_to_live(ADMITTED)
                .build(),
        })
    }

    /// `POST /_warden/provisioning`: the caller's database, complete, and both replications running.
    pub(crate) async fn provision(&self, caller: &Caller) -> Result<DbName, Refusal> {
        let user = caller.user().ok_or(Refusal::Unauthorized)?;
        let mut rounds = 0;
        loop {
            match apart(Box::pin(self.round(user))).await {
                Ok(Round::Complete(db)) => return Ok(db),
                Ok(Round::Progress) | Err(Refusal::Conflict) if rounds < ROUNDS => rounds += 1,
                Ok(Round::Progress) => return Err(Refusal::Unavailable(1)),
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Looks once, and does what is missing.
    async fn round(&self, user: &User) -> Result<Round, Refusal> {
        let id = user_id(&user.name)?;
        let Some(document) = self.couch.read(&self.users, &id).await? else {
            return Err(Refusal::Forbidden(
                "only who has a user document can have a database",
            ));
        };
        let Some(db) = plan::remembered(&document) else {
            let db = new_id().and_then(|id| DbName::parse(&format!("u{id}")).ok());
            let db = db.ok_or(Refusal::Internal("a user without a database"))?;
            let document = plan::remember(&document, &db);
            self.couch.put(&self.users, &id, &document).await?;
            return Ok(Round::Progress);
        };
        let security = self.couch.security(&db).await?;
        let designs = match &security {
            Some(_) => self.couch.designs(&db).await?.unwrap_or_default(),
            None => Vec::new(),
        };
        let found = Found { security, designs };
        let steps = plan::steps(user.name.as_str(), &self.designs, &found);
        let steps = steps.map_err(|error| {
            tracing::error!(%error, db = db.as_str(), "a database is not provisioned");
            Refusal::Forbidden("the database that is remembered for you is not yours")
        })?;
        if steps.is_empty() {
            // The roles of the document, which the caller's may lag behind.
            let user = user_of(user.name.clone(), &document);
            return Ok(match self.start(&user, &db).await? {
                true => Round::Complete(db),
                false => Round::Progress,
            });
        }
        for step in steps {
            self.apply(&db, step).await?;
        }
        Ok(Round::Progress)
    }

    async fn apply(&self, db: &DbName, step: Step) -> Result<(), CouchError> {
        match step {
            Step::Create => self.couch.create(db).await,
            Step::Secure(security) => self.couch.put_security(db, &security).await,
            Step::Install(design, document) => {
                let written = self.couch.put_design(db, &design.name, &document).await;
                written.map(|_| ())
            }
        }
    }

    /// `POST /_warden/voicemail/DB`: lets the owners of a voicemail database in.
    pub(crate) async fn voicemail(&self, caller: &Caller, db: &DbName) -> Result<(), Refusal> {
        let user = caller.user().ok_or(Refusal::Unauthorized)?;
        let role = plan::owning_role(db);
        // Security: an owner of any other database must not open it by this road, and who owns nothing
        // learns nothing (`only_the_owner_opens_a_voicemail_database`).
        if !user.roles.iter().any(|own| own.as_str() == role) {
            return Err(Refusal::NoDatabase);
        }
        if !db.is_user_database() {
            return Err(Refusal::BadRequest(
                "a voicemail database is named `u` and a UUID",
            ));
        }
        let security = self.couch.security(db).await?.ok_or(Refusal::NoDatabase)?;
        if let Some(opened) = plan::voicemail(db, &security) {
            self.couch.put_security(db, &opened).await?;
        }
        Ok(())
    }
}
