//! How a caller is presented to CouchDB.
//!
//! By proxy authentication he appears as himself, with his roles and one more (`[couchdb] role`), which
//! `_security.members` can admit; `validate_doc_update` sees who he is. `_admin` is added for the
//! administrators of our configuration only.
//!
//! Anonymous callers are presented by the reserved name [`ANONYMOUS`] with that one role: without any
//! identity a database that admits the role only would refuse what a rule permits, and as the service
//! account, an administrator, they would pass every `validate_doc_update`. Nobody can log in by that name.
//!
//! Accounts are the exception: CouchDB lets nobody but administrators into `_users`, so what policy permits there
//! is done by the service account; what a caller may make of an account, policy has checked
//! (`policy/account.rs`).
//!
//! Invariant: only these headers tell CouchDB who asks, and they are made of names and roles that were
//! parsed.

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::caller::Caller;
use crate::config;
use crate::couch;
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::{Secret, proxy_token};

/// The name by which anonymous callers are presented.
pub(crate) const ANONYMOUS: &str = "anonymous";

const USER_NAME: HeaderName = HeaderName::from_static("x-auth-couchdb-username");
const ROLES: HeaderName = HeaderName::from_static("x-auth-couchdb-roles");
const TOKEN: HeaderName = HeaderName::from_static("x-auth-couchdb-token");

/// Whose request CouchDB takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// The caller's own.
    Caller,
    /// The service account's.
    Service,
}

/// Makes the headers that say who asks.
#[derive(Debug)]
pub(crate) struct Presenter {
    role: String,
    /// The secret of proxy authentication; without one all callers are presented as the service account.
    secret: Option<Secret>,
    service: HeaderValue,
}

impl Presenter {
    /// As configured.
    pub(crate) fn new(settings: &config::CouchDb) -> Result<Self, couch::CouchError> {
        Ok(Self {
            role: settings.role.clone(),
            secret: match &settings.present {
                config::Present::Proxy { secret } => Some(secret.clone()),
                config::Present::Service => None,
            },
            service: couch::basic(&settings.user, &settings.password)?,
        })
    }

    /// As whom a caller is presented who asks for something in this database.
    pub(crate) fn account(&self, caller: &Caller, db: Option<&DbName>) -> Account {
        match self.secret_for(caller, db) {
            Some(_) => Account::Caller,
            None => Account::Service,
        }
    }

    /// What proves the caller's name; nothing where he comes as the service account.
    fn secret_for(&self, caller: &Caller, db: Option<&DbName>) -> Option<&Secret> {
        let accounts = db.is_some_and(DbName::holds_accounts) && !caller.is_administrator();
        self.secret.as_ref().filter(|_| !accounts)
    }

    /// The headers for a caller who asks for something in this database.
    pub(crate) fn headers(
        &self,
        caller: &Caller,
        db: Option<&DbName>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        let Some(secret) = self.secret_for(caller, db) else {
            return Ok(vec![(AUTHORIZATION, self.service.clone())]);
        };
        let name = caller.name().unwrap_or(ANONYMOUS);
        let administrator = caller.is_administrator().then_some("_admin");
        let roles = caller.roles().iter().map(|role| role.as_str());
        let roles: Vec<&str> = administrator
            .into_iter()
            .chain(roles)
            .chain([self.role.as_str()])
            .collect();
        let mut token = value(&proxy_token(secret, name))?;
        token.set_sensitive(true);
        Ok(vec![
            (USER_NAME, value(name)?),
            (ROLES, value(&roles.join(","))?),
            (TOKEN, token),
        ])
    }
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Refusal::Internal)
}

#[cfg(test)]
mod tests;
