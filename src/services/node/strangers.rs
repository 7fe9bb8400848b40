//! How many nodes strangers may create: so many in an hour from one address, and then one by one as the
//! hour goes by.
//!
//! Invariant: an attempt is counted before it is judged, so that attempts side by side are all counted.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::refusal::Refusal;
use crate::shares::network;

const WINDOW: Duration = Duration::from_secs(3600);

/// How many addresses are remembered.
const CAPACITY: u64 = 100_000;

/// Counts creations by address.
#[derive(Debug)]
pub(super) struct Strangers {
    /// When an address will have all its attempts again.
    filled: Cache<IpAddr, Arc<Mutex<Instant>>>,
    most: u32,
}

impl Strangers {
    pub(super) fn new(most: u32) -> Self {
        let filled = Cache::builder().max_capacity(CAPACITY).time_to_idle(WINDOW);
        Self {
            filled: filled.build(),
            most: most.max(1),
        }
    }

    /// Counts one attempt, or refuses it until the next one is due.
    pub(super) fn count(&self, peer: IpAddr) -> Result<(), Refusal> {
        let now = Instant::now();
        let bucket = self
            .filled
            .get_with(network(peer), || Arc::new(Mutex::new(now)));
        let mut empty_at = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = empty_at.saturating_duration_since(now) + WINDOW / self.most;
        if filled > WINDOW {
            let wait = filled.saturating_sub(WINDOW).as_secs().saturating_add(1);
            return Err(Refusal::TooMany(u32::try_from(wait).unwrap_or(u32::MAX)));
        }
        *empty_at = now + filled;
        Ok(())
    }
}
