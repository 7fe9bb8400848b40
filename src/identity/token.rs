//! Our own short-lived tokens: by such a one CouchDB's replicator acts as a caller, in one database.
//!
//! `cw1.` and base64url of: when it expires (u64, seconds since 1970) · digest of the credential that proved the name
//! (16 bytes) · length of the database's name (u16) · the database · the name · HMAC-SHA-256 over all of it (32 bytes).
//! Numbers are big-endian. As in the session cookie there are no roles in it: they are looked up at each use.
//!
//! Invariant: nothing of a token is believed before its signature is; it is good for one database, until it
//! expires or the user's password changes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::caller::UserName;
use crate::config;
use crate::route::DbName;
use crate::secret::Secret;

use super::keys::{Keys, Signed};

/// No token of others begins like this: theirs begin with the base64 of `{`.
const PREFIX: &str = "cw1.";

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errand {
    pub(super) name: UserName,
    pub(super) db: DbName,
}

/// A token that we have signed and that has not expired.
#[derive(Debug)]
pub(super) struct SignedErrand {
    pub(super) errand: Errand,
    digest: [u8; 16],
    /// Which of the keys has signed it.
    key: usize,
}

/// Issues and reads tokens.
#[derive(Debug)]
pub(super) struct Tokens(Keys);

impl Tokens {
    pub(super) fn new(settings: &config::Session) -> Self {
        Self(Keys::new(settings, "replication token"))
    }

    /// A token for a caller whom this credential has proved.
    pub(super) fn issue(
        &self,
        errand: &Errand,
        credential: &[u8],
        now: u64,
        lifetime: Duration,
    ) -> Option<Secret> {
        let db = errand.db.as_str().as_bytes();
        let mut bytes = now
            .saturating_add(lifetime.as_secs())
            .to_be_bytes()
            .to_vec();
        bytes.extend(self.0.digest(0, credential));
        bytes.extend(u16::try_from(db.len()).ok()?.to_be_bytes());
        bytes.extend(db);
        bytes.extend(errand.name.as_str().as_bytes());
        let signed = self.0.sign(bytes);
        Some(Secret::new(format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(signed)
        )))
    }

    /// Reads a token of ours that has not expired.
    pub(super) fn read(&self, token: &str, now: u64) -> Option<SignedErrand> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let Signed { content, key } = self.0.open(&bytes)?;
        let (expires, rest) = content.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (db, name) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let errand = Errand {
            name: UserName::parse(std::str::from_utf8(name).ok()?).ok()?,
            db: DbName::parse(std::str::from_utf8(db).ok()?).ok()?,
        };
        let fresh = now < u64::from_be_bytes(*expires);
        fresh.then_some(SignedErrand {
            errand,
            digest: *digest,
            key,
        })
    }

    /// Is this still the credential that the token was issued to?
    pub(super) fn is_of(&self, token: &SignedErrand, credential: &[u8]) -> bool {
        self.0.is_of(token.key, credential, &token.digest)
    }
}

/// Is this one of ours, well-made or not?
pub(super) fn is_ours(token: &str) -> bool {
    token.starts_with(PREFIX)
}

#[cfg(test)]
mod tests;
