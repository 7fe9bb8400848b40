//! How a caller is presented to CouchDB.
//!
//! By a token that we sign, or by proxy authentication, they appear as themselves, with their roles and one more
//! (`[couchdb] role`), which `_security.members` can admit; `validate_doc_update` sees who they are. `_admin` is added
//! for the administrators of our configuration only.
//!
//! Anonymous callers are presented by the reserved name [`ANONYMOUS`] with that one role: without any
//! identity a database that admits the role only would refuse what a rule permits, and as the service
//! account, an administrator, they would pass every `validate_doc_update`. Nobody can log in by that name.
//!
//! Accounts are the exception: CouchDB lets nobody but administrators into `_users`, so what policy permits there
//! is done by the service account; what a caller may make of an account, policy has checked
//! (`policy/write/users_db.rs`).
//!
//! Invariant: only these headers tell CouchDB who asks, and they are made of names and roles that were
//! parsed; a header that CouchDB could not read is never sent.

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::caller::{Caller, Role};
use crate::config::{self, MemberRole};
use crate::couch::jwt_signer::{ADMIN, Subject};
use crate::couch::{REPLICATION, ServiceAccount};
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::{Secret, proxy_token};

/// The name by which anonymous callers are presented.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// The longest header line, with its end, that CouchDB reads by its default (mochiweb reads a line into a buffer of
/// 8 KiB, and answers `400` where it is full); its head as a whole may be as long as one likes.
pub(crate) const LONGEST_LINE: usize = 8191;

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
#[derive(Debug, Clone)]
pub(crate) struct Presenter {
    role: MemberRole,
    way: Way,
    account: ServiceAccount,
}

/// As whom a caller appears.
#[derive(Debug, Clone)]
enum Way {
    /// As themselves, by a token of the account's signer.
    Jwt,
    /// As themselves, by proxy authentication with this secret.
    Proxy(Secret),
    /// As the service account.
    Service,
}

/// An identity that no header of CouchDB's can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name and roles take a header line of {bytes} bytes, and CouchDB reads {LONGEST_LINE}")]
pub(crate) struct TooLong {
    /// What the line would take.
    pub(crate) bytes: usize,
}

impl From<TooLong> for Refusal {
    fn from(error: TooLong) -> Self {
        Self::ForbiddenBecause(error.to_string())
    }
}

impl Presenter {
    /// As configured.
    pub(crate) fn new(settings: &config::CouchDb, account: ServiceAccount) -> Self {
        Self {
            role: settings.role.clone(),
            way: match &settings.present {
                config::Present::Jwt { .. } => Way::Jwt,
                config::Present::Proxy { secret, .. } => Way::Proxy(secret.clone()),
                config::Present::Service { .. } => Way::Service,
            },
            account,
        }
    }

    /// As whom a caller is presented who asks for something in this database.
    pub(crate) fn account(&self, caller: &Caller, db: Option<&DbName>) -> Account {
        let accounts = db.is_some_and(DbName::holds_accounts) && !caller.is_administrator();
        match self.way {
            Way::Jwt | Way::Proxy(_) if accounts => Account::Service,
            Way::Jwt | Way::Proxy(_) => Account::Caller,
            Way::Service => Account::Service,
        }
    }

    /// The headers for a caller who asks for something in this database, and is to have these of their roles there.
    pub(crate) fn headers(
        &self,
        caller: &Caller,
        roles: &[Role],
        db: Option<&DbName>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        let service = || Ok(vec![(AUTHORIZATION, self.account.authorization()?)]);
        if self.account(caller, db) == Account::Service {
            return service();
        }
        let name = caller.name().unwrap_or(ANONYMOUS);
        let member = self.role.of(db);
        let roles = told(caller, roles, member.as_deref());
        let subject = Subject {
            name,
            roles: &roles,
        };
        self.fits(subject)?;
        match (&self.way, self.account.signer()) {
            (Way::Service, _) | (Way::Jwt, None) => service(),
            (Way::Jwt, Some(signer)) => {
                let token = signer
                    .authorization(subject)
                    .ok_or(Refusal::Internal("no token could be signed"))?;
                Ok(vec![(AUTHORIZATION, token)])
            }
            (Way::Proxy(secret), _) => {
                let mut token = value(&proxy_token(secret, name))?;
                token.set_sensitive(true);
                Ok(vec![
                    (USER_NAME, value(name)?),
                    (ROLES, value(&roles.join(","))?),
                    (TOKEN, token),
                ])
            }
        }
    }

    /// Can CouchDB be told of this caller with all their roles?
    pub(crate) fn can_present(&self, caller: &Caller) -> Result<(), TooLong> {
        let member = self.role.of(None);
        let roles = told(caller, caller.roles(), member.as_deref());
        self.fits(Subject {
            name: caller.name().unwrap_or(ANONYMOUS),
            roles: &roles,
        })
    }

    fn fits(&self, subject: Subject<'_>) -> Result<(), TooLong> {
        // JSON writes a byte as six at most, base64 three as four, and a token's other parts are short.
        let texts = subject
            .roles
            .iter()
            .map(|role| role.len().saturating_add(3));
        let texts = texts.sum::<usize>().saturating_add(subject.name.len());
        if texts.saturating_mul(8).saturating_add(512) <= LONGEST_LINE {
            return Ok(());
        }
        let bytes = match (&self.way, self.account.signer()) {
            (Way::Jwt, Some(signer)) => signer.line_length(subject),
            (Way::Proxy(_), _) => {
                let roles = subject
                    .roles
                    .iter()
                    .map(|role| role.len().saturating_add(1));
                // Of a name and a separator `: `, and the end of the line for the last comma.
                roles
                    .sum::<usize>()
                    .saturating_add(ROLES.as_str().len() + 3)
            }
            (Way::Jwt, None) | (Way::Service, _) => 0,
        };
        match bytes <= LONGEST_LINE {
            true => Ok(()),
            false => Err(TooLong { bytes }),
        }
    }
}

/// The roles that CouchDB is told: `_admin`, the caller's own, and that of the database.
///
/// Security: a role of a replication would pass a `validate_doc_update` that lets replications pass, whoever has given
/// it to the caller (`no_caller_is_taken_for_a_replication`).
fn told<'a>(caller: &Caller, own: &'a [Role], member: Option<&'a str>) -> Vec<&'a str> {
    let administrator = caller.is_administrator().then_some(ADMIN);
    let own = own.iter().map(Role::as_str);
    let own = own.filter(|role| !role.starts_with(REPLICATION));
    administrator.into_iter().chain(own).chain(member).collect()
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Refusal::Internal("the caller does not fit into a header"))
}

#[cfg(test)]
mod tests;
