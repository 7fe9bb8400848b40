//! How replications get into the database of their user: by a role that `_security` names while they live.
//!
//! A token of ours says that its bearer has this role, and no other; the role is in the mark of the replication's
//! document. Whoever begins a replication lets it in first, and whoever ends one shuts it out; the sweep does what was
//! left undone, by the documents that are there.
//!
//! Invariant: a role is named in one `_security`, for one replication, and no longer than its document lives.

use std::sync::Arc;

use http::HeaderValue;

use super::replication::{Direction, Mark, Own};
use super::{Provisioning, now, plan};
use crate::config;
use crate::couch::jwt_signer::{JwtSigner, Subject};
use crate::couch::{Couch, CouchError, REPLICATION};
use crate::exchange::write::written::new_id;
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Secret;

/// How long a role may be named before the document is there that has it, in seconds.
const BEGINNING: u64 = 60;

/// How a replication gets in.
#[derive(Debug)]
pub(super) enum OwnWay {
    /// By a token, under this name.
    Token(String, Arc<JwtSigner>),
    /// As the service account.
    Password(String, Secret),
}

impl OwnWay {
    pub(super) fn new(settings: &config::CouchDb, couch: &Couch) -> Self {
        let name = settings.user.clone();
        let password = match &settings.present {
            config::Present::Jwt { .. } => None,
            config::Present::Proxy { password, .. } | config::Present::Service { password } => {
                Some(password)
            }
        };
        match (couch.account().signer(), password) {
            (Some(signer), _) => Self::Token(name, Arc::clone(signer)),
            (None, password) => {
                let password = password.cloned().unwrap_or_else(|| Secret::new(""));
                Self::Password(name, password)
            }
        }
    }

    /// What is the same in everything that is shown by it.
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::Token(_, signer) => Some(signer.beginning()),
            Self::Password(..) => None,
        }
    }

    /// What stands for it in a document that is only compared.
    pub(super) fn sample(&self) -> Own {
        match self {
            Self::Token(_, signer) => Own::Token(Secret::new(signer.beginning())),
            Self::Password(user, password) => Own::Password(user.clone(), password.clone()),
        }
    }

    /// Has a replication with this mark what it needs?
    pub(super) fn fits(&self, mark: &Mark) -> bool {
        match self {
            Self::Token(..) => mark.role.is_some(),
            Self::Password(..) => mark.role.is_none(),
        }
    }

    /// A role for a replication that begins now; none, where none is needed.
    pub(super) fn new_role(&self, now: u64) -> Result<Option<String>, Refusal> {
        match self {
            Self::Password(..) => Ok(None),
            Self::Token(..) => {
                let id = new_id().ok_or(Refusal::Internal("no random bytes"))?;
                Ok(Some(format!("{REPLICATION}{now}:{id}")))
            }
        }
    }

    /// What the replication with this mark shows.
    pub(super) fn shown(&self, mark: &Mark) -> Result<Own, Refusal> {
        let Self::Token(name, signer) = self else {
            return Ok(self.sample());
        };
        let role = mark
            .role
            .as_deref()
            .ok_or(Refusal::Internal("a database without a role"))?;
        let subject = Subject {
            name,
            roles: &[role],
        };
        let shown = signer.authorization_until(subject, mark.expires);
        let shown = shown.as_ref().map(HeaderValue::as_bytes);
        Ok(Own::Token(Secret::new(
            shown.ok_or(Refusal::Internal("no token could be signed"))?,
        )))
    }
}

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
        let unsettled = std::mem::take(&mut self.register.lock().await.unsettled);
        for db in unsettled {
            match self.settle(&db).await {
                Ok(true) => {}
                Ok(false) => {
                    self.register.lock().await.unsettled.insert(db);
                }
                Err(error) => {
                    tracing::warn!(%error, %db, "who may replicate could not be looked at");
                    self.register.lock().await.unsettled.insert(db);
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
