//! As whom our own errands go: a server administrator with a password, or a name of ours in a token; the token opens one
//! database for reading, or has `_admin` where that is not enough.
//!
//! Invariant: a token with `_admin` is good for a minute, and no password is held where there are tokens.

use std::fmt;
use std::sync::Arc;

use http::header::HeaderValue;

use super::jwt_signer::{ADMIN, JwtSigner, Subject};
use super::{CouchError, basic};
use crate::caller::UserName;
use crate::config::{self, MemberRole, Present};
use crate::route::DbName;

/// Who runs our errands.
#[derive(Clone)]
pub(crate) struct ServiceAccount {
    name: Arc<str>,
    /// The role by which a database lets in whoever comes through couchwarden.
    role: MemberRole,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    Password(HeaderValue),
    Token(Arc<JwtSigner>),
}

impl ServiceAccount {
    /// As configured.
    pub(crate) fn new(settings: &config::CouchDb) -> Result<Self, CouchError> {
        let proof = match &settings.present {
            Present::Jwt { key } => Proof::Token(Arc::new(JwtSigner::new(key.clone()))),
            Present::Proxy { password, .. } | Present::Service { password } => {
                Proof::Password(basic(&settings.user, password)?)
            }
        };
        Ok(Self {
            name: settings.user.as_str().into(),
            role: settings.role.clone(),
            proof,
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Is this its name?
    pub(crate) fn is_named(&self, name: &UserName) -> bool {
        *self.name == *name.as_str()
    }

    /// Is this its name, and nobody else's? An account with a password is one that CouchDB has.
    pub(crate) fn reserves(&self, name: &UserName) -> bool {
        self.signer().is_some() && self.is_named(name)
    }

    /// Its `Authorization`, for a request that goes now.
    pub(crate) fn authorization(&self) -> Result<HeaderValue, CouchError> {
        match &self.proof {
            Proof::Password(basic) => Ok(basic.clone()),
            Proof::Token(signer) => self.token(signer, ADMIN),
        }
    }

    /// The `Authorization` of a member of this database, where there are tokens.
    pub(super) fn as_member(&self, db: &DbName) -> Result<Option<HeaderValue>, CouchError> {
        match (self.signer(), self.role.of(Some(db))) {
            (Some(signer), Some(role)) => self.token(signer, &role).map(Some),
            (Some(_), None) | (None, _) => Ok(None),
        }
    }

    fn token(&self, signer: &JwtSigner, role: &str) -> Result<HeaderValue, CouchError> {
        let subject = Subject {
            name: &self.name,
            roles: &[role],
        };
        signer.authorization(subject).ok_or(CouchError::Unsigned)
    }

    /// What signs for it and for callers, where CouchDB is shown tokens.
    pub(crate) fn signer(&self) -> Option<&Arc<JwtSigner>> {
        match &self.proof {
            Proof::Password(_) => None,
            Proof::Token(signer) => Some(signer),
        }
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccount({})", self.name)
    }
}
