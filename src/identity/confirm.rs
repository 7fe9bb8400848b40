//! Whether who was recognised a while ago is still the same: asked again while an answer lasts, and told when
//! it is worth asking; and how sessions are renewed and ended.
//!
//! Of an administrator in CouchDB's own configuration nothing tells that his password changed; he is the same
//! for as long as his answer lasts.
//!
//! Invariant: a session that has ended, another credential, or a name that is gone confirms nobody.

use std::time::Duration;

use tokio::sync::watch;

use super::clock::{now, now_ms};
use super::cookie::{Claim, SetCookie, SignedClaim};
use super::recognised::Proof;
use super::sessions::End;
use super::{Identity, cookie};
use crate::caller::{Caller, UserName};
use crate::refusal::Refusal;
use crate::secret::Secret;

impl Identity {
    /// A younger cookie for a session; nothing, if it is none.
    pub(crate) async fn renew(&self, header: &[u8]) -> Result<Option<SetCookie>, Refusal> {
        let now = now();
        let Some(ticket) = cookie::find(header).and_then(|value| self.cookies.read(value, now))
        else {
            return Ok(None);
        };
        let SignedClaim { claim, .. } = &ticket;
        if self.ended.has(&claim.name, &claim.session).await? {
            return Ok(None);
        }
        let credential = self.users.find(&ticket.claim.name).await?.credential();
        if !self.cookies.is_of(&ticket, &credential) {
            return Ok(None);
        }
        let claim = Claim {
            issued: now,
            ..ticket.claim
        };
        Ok(Some(self.cookies.issue(&claim, &credential)))
    }

    /// After how long a session should be renewed.
    pub(crate) fn refresh(&self) -> Duration {
        self.cookies.refresh()
    }

    /// Forgets what is known of a user: his password, or his standing, has just been changed by us. His open
    /// feeds are judged anew.
    pub(crate) async fn forget(&self, name: &UserName) {
        // Boxed, for it is awaited deep inside of larger futures.
        Box::pin(self.users.forget(name)).await;
        self.announce();
    }

    /// Ends the session of this cookie on every couchwarden, and with it every renewal of the cookie. A cookie that
    /// has expired ends its session too: it may have been renewed by somebody else.
    pub(crate) async fn end_session(&self, cookie: Option<&[u8]>) {
        let value = cookie.and_then(cookie::find);
        let Some(ticket) = value.and_then(|value| self.cookies.open(value)) else {
            return;
        };
        let end = End::of(&ticket.claim.session);
        if end.until() >= now() {
            self.ended.end(end).await;
        }
    }

    /// Ends every session of a user that has begun by now, and looks him up anew, so that a password that is
    /// no longer his is believed no more. Feeds that began by either end.
    pub(crate) async fn end_sessions(&self, name: &UserName) {
        let end = End::of_all(name, now_ms(), self.cookies.longest());
        // Boxed, for it is awaited deep inside of larger futures.
        Box::pin(self.ended.end(end)).await;
        self.forget(name).await;
    }

    /// Whom the caller who has shown this is to be taken for now; nobody, if it proves nothing any more.
    /// What is remembered of him is no older than it may be (see [`Identity::new`]).
    pub(crate) async fn confirm(&self, proof: &Proof) -> Result<Option<Caller>, Refusal> {
        let (name, credential, session) = match proof {
            Proof::Nothing => return Ok(Some(Caller::Anonymous)),
            Proof::Token(token) => return self.confirm_token(token).await,
            Proof::User {
                name,
                credential,
                session,
            } => (name, credential, session),
        };
        if let Some(session) = session
            && (now() >= self.cookies.over(session) || self.ended.has(name, session).await?)
        {
            return Ok(None);
        }
        let standing = self.users.confirm(name).await?;
        let same = credential.matches(&standing.credential());
        Ok(same.then(|| self.caller(name.clone(), &standing)))
    }

    async fn confirm_token(&self, token: &Secret) -> Result<Option<Caller>, Refusal> {
        let Ok(token) = std::str::from_utf8(token.expose()) else {
            return Ok(None);
        };
        match self.by_token(token).await {
            Ok(recognised) => Ok(Some(recognised.caller)),
            Err(Refusal::WrongCredentials) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Resolves its `changed` whenever somebody may have become another than he was.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Tells those who wait for [`Identity::changes`].
    pub(crate) fn announce(&self) {
        self.changed.send_replace(());
    }
}
