//! bcrypt, away from the async threads, so many at a time and no more.
//!
//! Invariant: every call does the work of one hash or is refused because the queue is full; whether the
//! name exists makes no difference.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::config;
use crate::refusal::Refusal;
use crate::secret::Secret;

/// bcrypt sees no more bytes than these.
const LONGEST: usize = 72;

/// Costs beyond these are never computed, whatever is stored or configured.
const MOST: u32 = 14;
const LEAST: u32 = 4;

/// Salt and hash of nothing in particular.
const DUMMY: &str = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// Verifies and hashes passwords. Its copies have the same workers.
#[derive(Debug, Clone)]
pub(super) struct Hasher {
    /// Those who compute.
    workers: Arc<Semaphore>,
    /// Those who compute or wait.
    seats: Arc<Semaphore>,
    dummy: Arc<str>,
    cost: u32,
    min_cost: u32,
    max_cost: u32,
}

impl Hasher {
    pub(super) fn new(settings: &config::Bcrypt) -> Self {
        let workers = settings.workers.max(1);
        let cost = settings.cost.clamp(LEAST, MOST);
        Self {
            workers: Arc::new(Semaphore::new(workers)),
            seats: Arc::new(Semaphore::new(workers.saturating_add(settings.queue))),
            dummy: format!("$2b${cost:02}${DUMMY}").into(),
            cost,
            min_cost: settings.min_cost.max(LEAST),
            max_cost: settings.max_cost.min(MOST),
        }
    }

    /// Is this the password of the hash? Without a hash, or with one that is not accepted, it is not, and
    /// finding that out takes as long.
    pub(super) async fn verify(
        &self,
        password: &Secret,
        hash: Option<&str>,
    ) -> Result<bool, Refusal> {
        let place = self.place().await?;
        let accepted = hash.filter(|hash| self.accepts(hash));
        // Security: bcrypt takes a longer password for its first 72 bytes.
        // (`a_password_that_bcrypt_would_cut_is_wrong`)
        let possible = accepted.is_some() && password.expose().len() <= LONGEST;
        let hash: Arc<str> = accepted.map_or_else(|| Arc::clone(&self.dummy), Arc::from);
        let password = password.clone();
        let work = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if nobody waits for it any more.
            let _held = place;
            bcrypt::verify(password.expose(), &hash).unwrap_or(false)
        });
        let right = work
            .await
            .map_err(|_| Refusal::Internal("a password could not be hashed"))?;
        Ok(right && possible)
    }

    /// A new hash of this password, which has at most 72 bytes.
    pub(super) async fn hash(&self, password: &Secret) -> Result<String, Refusal> {
        if password.expose().len() > LONGEST {
            return Err(Refusal::Internal("a password could not be hashed"));
        }
        let place = self.place().await?;
        let (password, cost) = (password.clone(), self.cost);
        let work = tokio::task::spawn_blocking(move || {
            let _held = place;
            bcrypt::hash(password.expose(), cost)
        });
        let hash = work
            .await
            .map_err(|_| Refusal::Internal("a password could not be hashed"))?;
        hash.map_err(|_| Refusal::Internal("a password could not be hashed"))
    }

    /// Waits for a worker.
    async fn place(&self) -> Result<[OwnedSemaphorePermit; 2], Refusal> {
        let seat = Arc::clone(&self.seats)
            .try_acquire_owned()
            .map_err(|error| match error {
                TryAcquireError::NoPermits => Refusal::Unavailable(1),
                TryAcquireError::Closed => Refusal::Internal("a password could not be hashed"),
            })?;
        let worker = Arc::clone(&self.workers).acquire_owned().await;
        Ok([
            seat,
            worker.map_err(|_| Refusal::Internal("a password could not be hashed"))?,
        ])
    }

    /// A hash of a form and cost that we compute: `$2b$10$…`.
    pub(super) fn accepts(&self, hash: &str) -> bool {
        let mut parts = hash.split('$').skip(1);
        let form = parts
            .next()
            .is_some_and(|form| matches!(form, "2a" | "2b" | "2y"));
        let cost = parts
            .next()
            .filter(|cost| cost.len() == 2)
            .and_then(|cost| cost.parse().ok());
        let accepted =
            form && cost.is_some_and(|cost: u32| (self.min_cost..=self.max_cost).contains(&cost));
        if !accepted {
            tracing::warn!("a user node holds a hash of a form or cost that is not accepted");
        }
        accepted
    }
}

#[cfg(test)]
mod tests;
