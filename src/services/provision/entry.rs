//! How replications get into the database of their user: by a role that `_security` names while they live.
//!
//! A token of ours says that its bearer has this role, and no other; the role is in the mark of the replication's
//! document. Whoever begins a replication lets it in first, and whoever ends one shuts it out; the sweep does what was
//! left undone, by the documents that are there.
//!
//! Invariant: a role is named in one `_security`, for one replication, and no longer than its document lives.

use super::clock::now;
use super::replication::{Direction, Mark};
use super::{Provisioning, plan};
use crate::couch::CouchError;
use crate::refusal::Refusal;
use crate::route::DbName;

/// How long a role may be named before the document is there that has it, in seconds.
const BEGINNING: u64 = 60;

impl Provisioning {
    /// Lets replications with these roles into a user's database, beside those that are in.
    pub(super) async fn let_in(
        &self,
        db: &DbName,
        roles: impl Iterator<Item = &str>,
    ) -> Result<(), CouchError> {
        let roles: Vec<&str> = roles.collect();
        if roles.is_empty() {
            return Ok(());
        }
        self.change_roles(db, &roles, |_| true).await
    }

    /// Lets nobody in but the replications that live.
    pub(super) async fn shut_out(&self, db: &DbName) -> Result<(), CouchError> {
        let living = self.living(db).await?;
        let living: Vec<&str> = living.iter().map(String::as_str).collect();
        self.change_roles(db, &living, |_| false).await
    }

    /// Lets in the replications that live and those that are just beginning, and nobody else. False, if there are such
    /// as are just beginning: it must be asked again what has become of them.
    pub(super) async fn settle(&self, db: &DbName) -> Result<bool, CouchError> {
        let living = self.living(db).await?;
        let living: Vec<&str> = living.iter().map(String::as_str).collect();
        let young = now().saturating_sub(BEGINNING);
        let begins = |role: &str| !living.contains(&role) && plan::made(role) > young;
        let Some(security) = self.couch.security(db).await? else {
            return Ok(true);
        };
        let settled = !plan::replications(&security).any(begins);
        if let Some(changed) = plan::replicating(&security, &living, begins) {
            self.couch.put_security(db, &changed).await?;
        }
        Ok(settled)
    }

    /// Looks at each database of which a replication has begun, changed or ended since the last look.
    pub(super) async fn settle_all(&self) -> Result<(), Refusal> {
        let unsettled = self.replications.take_unsettled().await;
        for db in unsettled {
            match self.settle(&db).await {
                Ok(true) => {}
                Ok(false) => {
                    self.replications.unsettle(db).await;
                }
                Err(error) => {
                    tracing::warn!(%error, %db, "who may replicate could not be looked at");
                    self.replications.unsettle(db).await;
                }
            }
        }
        Ok(())
    }

    /// The roles of the replications that live.
    async fn living(&self, db: &DbName) -> Result<Vec<String>, CouchError> {
        let mut roles = Vec::new();
        for direction in Direction::ALL {
            let id = direction.id(db).ok_or(CouchError::Name)?;
            let document = self.couch.read(&self.replicator, &id).await?;
            roles.extend(
                document
                    .as_ref()
                    .and_then(Mark::read)
                    .and_then(|mark| mark.role),
            );
        }
        Ok(roles)
    }

    async fn change_roles(
        &self,
        db: &DbName,
        wanted: &[&str],
        kept: impl Fn(&str) -> bool,
    ) -> Result<(), CouchError> {
        let Some(security) = self.couch.security(db).await? else {
            return Ok(());
        };
        match plan::replicating(&security, wanted, kept) {
            Some(changed) => self.couch.put_security(db, &changed).await,
            None => Ok(()),
        }
    }
}
