//! What a replication shows to CouchDB to get into the database of its user: a token with its role, or the password
//! of the service account.

use std::sync::Arc;

use http::HeaderValue;

use super::replication::{Mark, Own};
use crate::config;
use crate::couch::jwt_signer::{JwtSigner, Subject};
use crate::couch::{Couch, REPLICATION};
use crate::exchange::write::written::new_id;
use crate::refusal::Refusal;
use crate::secret::Secret;

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
