//! What a request came to: a caller who is recognised and what was shown for it, or an attempt that failed.

use super::cookie::SetCookie;
use super::sessions::Session;
use super::users::Standing;
use crate::caller::{Caller, UserName};
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Secret;

/// How a caller was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Nothing was requested.
    Nothing,
    /// By the session cookie.
    Cookie,
    /// By name and password.
    Basic,
    /// By a token.
    Token,
}

/// A caller who is known, or who did not ask to be.
#[derive(Debug, Clone)]
pub(crate) struct Recognised {
    /// Who.
    pub(crate) caller: Caller,
    /// By what.
    pub(crate) scheme: Scheme,
    /// The one database that he may ask for, where his token is for one.
    pub(super) only: Option<DbName>,
    /// What he has shown for it.
    pub(crate) proof: Proof,
    /// A cookie to put on the answer: a younger one, or the end of a broken one.
    pub(crate) renew: Option<SetCookie>,
}

/// An attempt that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    /// The answer.
    pub(crate) refusal: Refusal,
    /// What failed.
    pub(crate) scheme: Scheme,
    /// The cookie that ends the broken one, to put on the answer.
    pub(crate) clear: Option<SetCookie>,
}

impl Recognised {
    /// Has he come with a token for one database, as replications do?
    pub(crate) fn is_for_one_database(&self) -> bool {
        self.only.is_some()
    }

    /// May he ask for this database, or for what is in none?
    ///
    /// Security: a token for one database opens no other, nor the server
    /// (`a_token_of_ours_is_good_for_one_database`).
    pub(crate) fn may_ask(&self, db: Option<&DbName>) -> Result<(), Refusal> {
        if self.only.is_none() || db == self.only.as_ref() {
            return Ok(());
        }
        Err(Refusal::Forbidden("the token is for another database"))
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        failed.refusal
    }
}

/// What a caller has shown, so that he can be asked about again while an answer lasts.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// Nothing: he is anonymous.
    Nothing,
    /// That he is this user.
    User {
        name: UserName,
        /// The credential by which he was known.
        credential: Secret,
        /// The session, if they came by its cookie.
        session: Option<Session>,
    },
    /// A token, which is read again: it may have expired, and roles may be looked up by it.
    Token(Secret),
}

impl Proof {
    pub(super) fn of(caller: &Caller, standing: &Standing, session: Option<Session>) -> Self {
        match caller.user() {
            None => Self::Nothing,
            Some(user) => Self::User {
                name: user.name.clone(),
                credential: Secret::new(standing.credential()),
                session,
            },
        }
    }
}
