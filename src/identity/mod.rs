//! Who asks: what a request proves about its caller.
//!
//! Schemes are tried in order, the session cookie and then Basic or Bearer; each is *not requested*, *recognised*
//! or *failed*. CouchDB's order is kept: a valid cookie outranks the header. A failed cookie beside a header
//! leaves the word to the header (a browser sends its old cookie along whether one wants it or not); a failed
//! attempt with nothing beside it is a `401`, and never an anonymous caller.
//!
//! `basic` and `cookie` read what was sent, `bearer` knows tokens (`jwt` those of others, `token` our own), `keys`
//! signs what is ours, `proof` checks a password, `users` knows names, roles and vouchers, `hash` does bcrypt,
//! `cache` remembers verified passwords, `recognised` is what all that comes to, `sessions` says what a session is and what its end, `ended` tells every
//! couchwarden which have been ended, `follow` follows the databases that both look at, `confirm` asks about a caller
//! again, `throttle` slows down guessing, `present` says to CouchDB who asks, `asked` with which roles.
//!
//! Invariant: a caller has proved his name at the voucher that the name belongs to, with the record
//! of him that is in force now.

mod asked;
mod basic;
mod bearer;
mod cache;
mod clock;
mod confirm;
mod cookie;
mod ended;
mod follow;
mod hash;
mod jwt;
mod keys;
pub(crate) mod present;
mod proof;
mod recognised;
mod sessions;
mod throttle;
mod token;
mod users;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::caller::{Caller, User, UserName};
use crate::config;
use crate::couch::Couch;
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Secret;

use basic::Credentials;
use cache::Verified;
use clock::now_ms;
use cookie::{Claim, Cookies};
use ended::Ended;
use follow::Follow;
use hash::Hasher;
use present::Presenter;
use throttle::Throttle;
use token::Tokens;
use users::{Standing, Users};

pub(crate) use asked::AskedRoles;
pub(crate) use clock::now;
pub(crate) use cookie::{Jar, SameSite, SetCookie};
pub(crate) use recognised::{Failed, Proof, Recognised, Scheme};

/// How long a failed attempt takes at least, so that its time does not tell whether the name exists.
const FAILURE_FLOOR: Duration = Duration::from_millis(400);

/// Recognises callers.
#[derive(Debug)]
pub(crate) struct Identity {
    administrators: HashSet<String>,
    users: Users,
    couch: Couch,
    /// How whoever is recognised will be presented, with all their roles; nothing, where CouchDB is told only some.
    presenter: Option<Presenter>,
    cookies: Cookies,
    tokens: Tokens,
    /// How the tokens of others are believed; not at all, if there is nothing.
    token_rules: Option<config::TokenRules>,
    ended: Ended,
    changed: watch::Sender<()>,
    hasher: Hasher,
    throttle: Throttle,
    verified: Verified,
    failure_floor: Duration,
}

/// Why no identity can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// What a cookie came to.
enum Ticket {
    NotRequested,
    Recognised(Recognised),
    Failed,
}

impl Identity {
    /// As configured; `nodes` is the database of nodes, where it has one. Changes of users are known within
    /// `fresh`, as far as [`Identity::confirm`] is concerned.
    pub(crate) fn new(
        settings: &config::Identity,
        nodes: Option<DbName>,
        couch: Couch,
        presenter: Option<Presenter>,
        jar: Jar,
        fresh: Duration,
    ) -> Result<Self, IdentityError> {
        let random = Secret::random().ok_or(IdentityError::Random)?;
        let cookies = Cookies::new(&settings.session, jar);
        let changed = watch::Sender::new(());
        let follow = Follow {
            changed: changed.clone(),
            fresh,
        };
        Ok(Self {
            administrators: settings.administrators.iter().cloned().collect(),
            users: Users::new(&settings.vouchers, nodes, couch.clone(), follow.clone()),
            ended: Ended::new(couch.clone(), follow),
            couch,
            presenter,
            cookies,
            changed,
            tokens: Tokens::new(&settings.session),
            token_rules: settings.tokens.clone(),
            hasher: Hasher::new(&settings.bcrypt),
            throttle: Throttle::new(&settings.login),
            verified: Verified::new(&random, settings.login.cache),
            failure_floor: FAILURE_FLOOR,
        })
    }

    /// Who asks, by the headers of a request. `peer` is the client's own address.
    pub(crate) async fn recognise(
        &self,
        authorization: Option<&[u8]>,
        cookie: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Recognised, Failed> {
        let recognised = self.attempt(authorization, cookie, peer).await?;
        match self.can_present(&recognised.caller) {
            Ok(()) => Ok(recognised),
            Err(refusal) => Err(Failed {
                refusal,
                scheme: recognised.scheme,
                clear: None,
            }),
        }
    }

    /// Whoever can't be presented to CouchDB is told so at their login, and the operator with them, instead of a `400`
    /// of CouchDB's to every request.
    fn can_present(&self, caller: &Caller) -> Result<(), Refusal> {
        let fits = self.presenter.as_ref().map(|it| it.can_present(caller));
        fits.unwrap_or(Ok(())).map_err(|error| {
            let (user, roles) = (caller.name().unwrap_or_default(), caller.roles().len());
            tracing::warn!(user, roles, %error, "a login is refused: see `[couchdb] roles` in the README");
            error.into()
        })
    }

    async fn attempt(
        &self,
        authorization: Option<&[u8]>,
        cookie: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Recognised, Failed> {
        let failed = |refusal, scheme, clear| Failed {
            refusal,
            scheme,
            clear,
        };
        let broken = match self.by_cookie(cookie).await {
            Ok(Ticket::Recognised(recognised)) => return Ok(recognised),
            Ok(Ticket::NotRequested) => None,
            Ok(Ticket::Failed) => Some(self.cookies.clear()),
            Err(refusal) => return Err(failed(refusal, Scheme::Cookie, None)),
        };
        let scheme = match basic::bearer_token(authorization) {
            Some(_) => Scheme::Token,
            None => Scheme::Basic,
        };
        match self.by_header(authorization, peer).await {
            Ok(Some(recognised)) => Ok(Recognised {
                renew: broken,
                ..recognised
            }),
            Ok(None) if broken.is_some() => {
                Err(failed(Refusal::SessionEnded, Scheme::Cookie, broken))
            }
            Ok(None) => Ok(Recognised {
                caller: Caller::Anonymous,
                scheme: Scheme::Nothing,
                proof: Proof::Nothing,
                only: None,
                renew: None,
            }),
            Err(refusal) => Err(failed(refusal, scheme, broken)),
        }
    }

    async fn by_header(
        &self,
        authorization: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Option<Recognised>, Refusal> {
        if let Some(token) = basic::bearer_token(authorization) {
            return self.by_token(token).await.map(Some);
        }
        let Some(Credentials { name, password }) = Credentials::read(authorization)? else {
            return Ok(None);
        };
        let (caller, standing) = self.prove(&name, &password, peer).await?;
        Ok(Some(Recognised {
            proof: Proof::of(&caller, &standing, None),
            caller,
            scheme: Scheme::Basic,
            only: None,
            renew: None,
        }))
    }

    /// Proves a name by its password and opens a session.
    pub(crate) async fn open(
        &self,
        name: &str,
        password: &Secret,
        peer: IpAddr,
    ) -> Result<(Caller, SetCookie), Refusal> {
        let (caller, standing) = self.prove(name, password, peer).await?;
        self.can_present(&caller)?;
        let Some(user) = caller.user() else {
            return Err(Refusal::WrongCredentials);
        };
        let now = now_ms();
        let claim = Claim {
            name: user.name.clone(),
            session: self
                .cookies
                .begin(now)
                .ok_or(Refusal::Internal("a session could not be begun"))?,
            issued: now / 1000,
        };
        let cookie = self.cookies.issue(&claim, &standing.credential());
        Ok((caller, cookie))
    }

    /// The same by a Basic header; nothing if there is none.
    pub(crate) async fn open_basic(
        &self,
        authorization: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Option<(Caller, SetCookie)>, Refusal> {
        match Credentials::read(authorization)? {
            Some(Credentials { name, password }) => {
                self.open(&name, &password, peer).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// The cookie that ends a session.
    pub(crate) fn clear(&self) -> SetCookie {
        self.cookies.clear()
    }

    /// May somebody sign up by this name? Not by one that is or was another's: an administrator's, an account's,
    /// a node's, or that of our own errands.
    pub(crate) async fn is_free(&self, name: &UserName) -> Result<bool, Refusal> {
        let reserved =
            self.administrators.contains(name.as_str()) || self.couch.account().is_named(name);
        Ok(!reserved && self.users.is_free(name).await?)
    }

    /// The bcrypt hash of a new password, at the configured cost.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, Refusal> {
        self.hasher.hash(password).await
    }

    /// Can a password be checked by this hash?
    pub(crate) fn accepts(&self, hash: &str) -> bool {
        self.hasher.accepts(hash)
    }

    /// Follows the databases that users are in, and forgets what has changed; and the one in which sessions end.
    /// Does not return.
    pub(crate) async fn watch(&self) {
        // Boxed, so that whatever waits for it stays small.
        tokio::join!(self.users.watch(), Box::pin(self.ended.watch()));
    }

    async fn by_cookie(&self, header: Option<&[u8]>) -> Result<Ticket, Refusal> {
        let now = now();
        let Some(value) = header.and_then(cookie::find) else {
            return Ok(Ticket::NotRequested);
        };
        let Some(ticket) = self.cookies.read(value, now) else {
            return Ok(Ticket::Failed);
        };
        // Security: a session that was logged out is over, whoever still has its cookie.
        // (`a_session_that_was_logged_out_is_over`, `a_logout_ends_every_renewal_on_every_couchwarden`)
        let Claim { name, session, .. } = &ticket.claim;
        if self.ended.has(name, session).await? {
            return Ok(Ticket::Failed);
        }
        let standing = self.users.find(&ticket.claim.name).await?;
        let vouched = match &standing {
            Standing::Known(_) => true,
            // Vouched for by CouchDB's own configuration, of which nothing tells us that it changed.
            Standing::Unknown => {
                self.users.asks_couchdb() && !self.cookies.is_worn(&ticket.claim, now)
            }
            Standing::Unusable => false,
        };
        if !vouched || !self.cookies.is_of(&ticket, &standing.credential()) {
            return Ok(Ticket::Failed);
        }
        let renew = self.cookies.is_due(&ticket, now).then(|| {
            let claim = Claim {
                issued: now,
                ..ticket.claim.clone()
            };
            self.cookies.issue(&claim, &standing.credential())
        });
        let Claim { name, session, .. } = ticket.claim;
        let caller = self.caller(name, &standing);
        Ok(Ticket::Recognised(Recognised {
            proof: Proof::of(&caller, &standing, Some(session)),
            caller,
            scheme: Scheme::Cookie,
            only: None,
            renew,
        }))
    }

    fn caller(&self, name: UserName, standing: &Standing) -> Caller {
        let administrator = self.administrators.contains(name.as_str());
        let roles = match standing {
            Standing::Known(record) => record.roles.clone(),
            Standing::Unknown | Standing::Unusable => Vec::new(),
        };
        let user = Arc::new(User::new(name, roles));
        if administrator {
            Caller::Administrator(user)
        } else {
            Caller::User(user)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
