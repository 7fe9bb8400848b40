//! Which passwords were right a moment ago.
//!
//! The key is an HMAC, under a key of this process, over name, password and the credential in force: what
//! was verified against an older credential is not found any more. Wrong passwords are remembered too,
//! for seconds, so that a client that repeats one costs nothing and shuts nobody out.
//!
//! Invariant: neither a password nor anything it could be guessed from by somebody without the key is
//! kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use crate::caller::UserName;
use crate::refusal::Refusal;
use crate::secret::{Key, Secret};

/// Nothing is believed for longer, whatever is configured.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a wrong password is remembered.
const WRONG: Duration = Duration::from_secs(5);

/// How many logins are remembered.
const CAPACITY: u64 = 100_000;

/// Passwords that were verified.
#[derive(Debug)]
pub(super) struct Verified {
    key: Key,
    seen: Cache<[u8; 32], bool>,
}

#[derive(Debug)]
struct Life {
    right: Duration,
}

impl Expiry<[u8; 32], bool> for Life {
    fn expire_after_create(&self, _: &[u8; 32], right: &bool, _: Instant) -> Option<Duration> {
        Some(if *right {
            self.right
        } else {
            self.right.min(WRONG)
        })
    }
}

impl Verified {
    pub(super) fn new(random: &Secret, life: Duration) -> Self {
        let life = Life {
            right: life.min(LONGEST),
        };
        Self {
            key: random.derive("verified passwords"),
            seen: Cache::builder()
                .max_capacity(CAPACITY)
                .expire_after(life)
                .build(),
        }
    }

    /// What is remembered, if anything.
    pub(super) async fn recall(
        &self,
        name: &UserName,
        password: &Secret,
        credential: &[u8],
    ) -> Option<bool> {
        self.seen
            .get(&self.key_of(name, password, credential))
            .await
    }

    /// What is remembered, or else what the check says. Equal attempts at one time are checked once.
    pub(super) async fn get_or(
        &self,
        name: &UserName,
        password: &Secret,
        credential: &[u8],
        check: impl Future<Output = Result<bool, Refusal>>,
    ) -> Result<bool, Refusal> {
        let key = self.key_of(name, password, credential);
        let outcome = self.seen.try_get_with(key, check).await;
        outcome.map_err(|refusal: Arc<Refusal>| (*refusal).clone())
    }

    fn key_of(&self, name: &UserName, password: &Secret, credential: &[u8]) -> [u8; 32] {
        self.key
            .sign(&[name.as_str().as_bytes(), password.expose(), credential])
    }
}

#[cfg(test)]
mod tests;
