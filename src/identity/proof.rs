//! One password, from its arrival to the verdict: remembered, throttled, asked for at its voucher.
//!
//! Invariant: a failure costs its sender the same, in time and in attempts left, whether the name exists
//! or not.

use std::net::IpAddr;

use super::hash::Hasher;
use super::users::{Standing, Voucher};
use super::{Identity, basic};
use crate::caller::{Caller, UserName};
use crate::couch::Couch;
use crate::refusal::Refusal;
use crate::secret::Secret;

impl Identity {
    /// Proves a name by its password.
    pub(super) async fn prove(
        &self,
        name: &str,
        password: &Secret,
        peer: IpAddr,
    ) -> Result<(Caller, Standing), Refusal> {
        // What no user can have is refused before it costs anything; it tells nothing about names.
        let Ok(name) = UserName::parse(name) else {
            return Err(Refusal::WrongCredentials);
        };
        if !basic::is_password(password) {
            return Err(Refusal::WrongCredentials);
        }
        if let Some(standing) = self.users.remembered(&name).await
            && let Some(right) = self
                .verified
                .recall(&name, password, &standing.credential())
                .await
        {
            let caller = || (self.caller(name, &standing), standing.clone());
            return if right {
                Ok(caller())
            } else {
                Err(Refusal::WrongCredentials)
            };
        }
        let deadline = tokio::time::Instant::now() + self.failure_floor;
        self.throttle.admit(peer, &name)?;
        let standing = self.users.find(&name).await?;
        let check = self.check(&name, password, peer, &standing);
        let right = self
            .verified
            .get_or(&name, password, &standing.credential(), check)
            .await?;
        if !right {
            tokio::time::sleep_until(deadline).await;
            return Err(Refusal::WrongCredentials);
        }
        Ok((self.caller(name, &standing), standing))
    }

    /// Asks the voucher that the name belongs to.
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with CouchDB's answer, for which there is a deadline, or with one hash"
    )]
    async fn check(
        &self,
        name: &UserName,
        password: &Secret,
        peer: IpAddr,
        standing: &Standing,
    ) -> Result<bool, Refusal> {
        // Many attempts at once must not all pass before the first has failed: each is counted as a
        // failure when it starts, and taken off when it was none.
        let attempt = self.throttle.begin(peer, name)?;
        let check = PasswordCheck {
            couch: self.couch.clone(),
            hasher: self.hasher.clone(),
            asks_nodes: self.users.asks_nodes(),
            asks_couchdb: self.users.asks_couchdb(),
            name: name.clone(),
            password: password.clone(),
            peer,
            standing: standing.clone(),
        };
        // It goes on when nobody waits for it any more: who gives up guesses no faster, and shuts nobody out.
        let checking = tokio::spawn(async move {
            let right = check.run().await;
            match right {
                Ok(false) => {
                    let (user, peer) = (&check.name, &check.peer);
                    tracing::info!(%user, %peer, "wrong name or password");
                }
                // What was no failure of the caller is taken off.
                Ok(true) | Err(_) => attempt.forgive(),
            }
            right
        });
        checking
            .await
            .map_err(|_| Refusal::Internal("the check of a password ended without an answer"))?
    }
}

/// The check of one password.
struct PasswordCheck {
    couch: Couch,
    hasher: Hasher,
    asks_nodes: bool,
    asks_couchdb: bool,
    name: UserName,
    password: Secret,
    peer: IpAddr,
    standing: Standing,
}

impl PasswordCheck {
    /// A name that nobody knows costs a hash and a question too, so that it can't be told from one that somebody knows.
    async fn run(&self) -> Result<bool, Refusal> {
        match &self.standing {
            Standing::Known(record) => match &record.voucher {
                Voucher::Node(hash) => self.hasher.verify(&self.password, Some(hash)).await,
                Voucher::CouchDb => self.ask_couchdb().await,
            },
            Standing::Unusable => {
                let verified = self.hasher.verify(&self.password, None).await;
                verified.map(|_| false)
            }
            Standing::Unknown => self.check_unknown().await,
        }
    }

    async fn check_unknown(&self) -> Result<bool, Refusal> {
        if self.asks_nodes {
            self.hasher.verify(&self.password, None).await?;
        }
        // CouchDB's own administrators have no document.
        match self.asks_couchdb {
            true => self.ask_couchdb().await,
            false => Ok(false),
        }
    }

    async fn ask_couchdb(&self) -> Result<bool, Refusal> {
        let (name, password) = (&self.name, &self.password);
        let asked = self.couch.verify_password(name, password, self.peer).await;
        Ok(asked?.is_some())
    }
}

#[cfg(test)]
mod tests;
