//! `Authorization: Bearer` (RFC 6750): signed tokens of others, and our own.
//!
//! Invariant: whoever bears a token is a user, never an administrator, whatever his name or his roles.

use std::sync::Arc;
use std::time::Duration;

use super::clock::now;
use super::present::ANONYMOUS;
use super::recognised::{Proof, Recognised, Scheme};
use super::token::{self, Errand};
use super::users::Standing;
use super::{Identity, jwt};
use crate::caller::{Caller, User, UserName};
use crate::config::TokenVoucher;
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Secret;

impl Identity {
    /// A token by which CouchDB's replicator acts as this user in this database, and nowhere else. It
    /// is to be sent as `Authorization: Bearer`; it ends with its lifetime, or when the user's password changes.
    /// His roles are looked up at each use.
    ///
    /// Refused for those whom neither `_users` nor a node knows: there would be nothing to look up.
    pub(crate) async fn issue_token(
        &self,
        name: &UserName,
        db: &DbName,
        lifetime: Duration,
    ) -> Result<Secret, Refusal> {
        let standing = self.users.find(name).await?;
        if !matches!(standing, Standing::Known(_)) {
            return Err(Refusal::Forbidden(
                "only users of the database can have tokens",
            ));
        }
        let errand = Errand {
            name: name.clone(),
            db: db.clone(),
        };
        let token = self
            .tokens
            .issue(&errand, &standing.credential(), now(), lifetime);
        token.ok_or(Refusal::Internal("no token could be signed"))
    }

    /// Who bears this token.
    pub(super) async fn by_token(&self, token: &str) -> Result<Recognised, Refusal> {
        if token::is_ours(token) {
            return self.by_own_token(token).await;
        }
        // Security: what we show CouchDB opens nothing here, though CouchDB itself may vouch for tokens
        // (`what_couchdb_is_shown_opens_nothing_here`).
        let signer = self.couch.account().signer();
        if signer.is_some_and(|signer| signer.is_ours(token)) {
            return Err(Refusal::WrongCredentials);
        }
        let rules = self.token_rules.as_ref().ok_or(Refusal::WrongCredentials)?;
        let bearer = match &rules.voucher {
            TokenVoucher::Keys(keys) => jwt::read(rules, keys, token, now()),
            TokenVoucher::CouchDb => match self.couch.verify_token(token).await? {
                Some(context) => jwt::vouched(&context),
                None => Err("CouchDB does not take it"),
            },
        };
        let bearer = bearer.and_then(|bearer| {
            // Security: whoever signs tokens must not be able to make himself an administrator by name
            // (`no_token_makes_an_administrator`).
            let taken = self.administrators.contains(bearer.name.as_str());
            let own = self.couch.account().reserves(&bearer.name);
            if taken || own || bearer.name.as_str() == ANONYMOUS {
                return Err("its name is not one for tokens");
            }
            Ok(bearer)
        });
        let bearer = bearer.map_err(|why| {
            tracing::info!(why, "a token is not believed");
            Refusal::WrongCredentials
        })?;
        let user = User {
            claims: bearer.claims,
            ..User::new(bearer.name, bearer.roles)
        };
        Ok(recognised(user, token, None))
    }

    async fn by_own_token(&self, token: &str) -> Result<Recognised, Refusal> {
        let signed = self
            .tokens
            .read(token, now())
            .ok_or(Refusal::WrongCredentials)?;
        let standing = self.users.confirm(&signed.errand.name).await?;
        let Standing::Known(record) = &standing else {
            return Err(Refusal::WrongCredentials);
        };
        if !self.tokens.is_of(&signed, &standing.credential()) {
            return Err(Refusal::WrongCredentials);
        }
        let Errand { name, db } = signed.errand;
        let user = User::new(name, record.roles.clone());
        Ok(recognised(user, token, Some(db)))
    }
}

fn recognised(user: User, token: &str, only: Option<DbName>) -> Recognised {
    Recognised {
        caller: Caller::User(Arc::new(user)),
        scheme: Scheme::Token,
        proof: Proof::Token(Secret::new(token)),
        only,
        renew: None,
    }
}

#[cfg(test)]
mod tests;
