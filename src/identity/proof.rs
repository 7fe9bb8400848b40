//! One password, from its arrival to the verdict: remembered, throttled, asked for at its voucher.
//!
//! Invariant: a failure costs its sender the same, in time and in attempts left, whether the name exists
//! or not.

use std::net::IpAddr;

use super::users::{Standing, Voucher};
use super::{Identity, basic};
use crate::caller::{Caller, UserName};
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

    /// Asks the voucher that the name belongs to. A name that nobody knows costs a hash and a question
    /// too, so that it can't be told from one that somebody knows.
    async fn check(
        &self,
        name: &UserName,
        password: &Secret,
        peer: IpAddr,
        standing: &Standing,
    ) -> Result<bool, Refusal> {
        // Many attempts at once must not all pass before the first has failed: each is counted as a
        // failure when it starts, and taken off when it was none. One that is dropped half-way counts.
        let attempt = self.throttle.begin(peer, name)?;
        let right = match standing {
            Standing::Known(record) => match &record.voucher {
                Voucher::Node(hash) => self.hasher.verify(password, Some(hash)).await,
                Voucher::CouchDb => self.ask_couchdb(name, password, peer).await,
            },
            Standing::Unusable => self.hasher.verify(password, None).await.map(|_| false),
            Standing::Unknown => self.check_unknown(name, password, peer).await,
        };
        match right {
            Ok(false) => tracing::info!(user = %name, %peer, "wrong name or password"),
            // What was no failure of the caller is taken off.
            Ok(true) | Err(_) => attempt.forgive(),
        }
        right
    }

    async fn check_unknown(
        &self,
        name: &UserName,
        password: &Secret,
        peer: IpAddr,
    ) -> Result<bool, Refusal> {
        if self.users.asks_nodes() {
            self.hasher.verify(password, None).await?;
        }
        // CouchDB's own administrators have no document.
        if self.users.asks_couchdb() {
            self.ask_couchdb(name, password, peer).await
        } else {
            Ok(false)
        }
    }

    async fn ask_couchdb(
        &self,
        name: &UserName,
        password: &Secret,
        peer: IpAddr,
    ) -> Result<bool, Refusal> {
        Ok(self
            .couch
            .verify_password(name, password, peer)
            .await?
            .is_some())
    }
}

#[cfg(test)]
mod tests;
