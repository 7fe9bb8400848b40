//! Slows guessing down: failures by address and name, and by address alone.
//!
//! Never by name alone, or anybody could shut anybody out. Each bucket fills by one for each failure and
//! empties evenly over the window; an attempt that finds it full is refused unheard.
//!
//! Invariant: an attempt is counted before it is judged, so that attempts side by side are all counted.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::caller::UserName;
use crate::config;
use crate::refusal::Refusal;
use crate::shares::network;

/// One address may fail this many times as often as one address with one name.
const NAMES: u32 = 10;

/// How many buckets are kept.
const CAPACITY: u64 = 100_000;

/// An address, and the name that was tried from it.
type Source = (IpAddr, Option<UserName>);

/// When a bucket will be empty.
type Bucket = Arc<Mutex<Instant>>;

/// Counts failures.
#[derive(Debug)]
pub(super) struct Throttle {
    buckets: Cache<Source, Bucket>,
    failures: u32,
    window: Duration,
}

/// One attempt, counted as a failure until it is forgiven.
#[derive(Debug)]
pub(super) struct Attempt {
    taken: Vec<(Bucket, Duration)>,
}

impl Attempt {
    /// It was none.
    pub(super) fn forgive(self) {
        for (bucket, weight) in self.taken {
            let mut empty_at = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            *empty_at = empty_at.checked_sub(weight).unwrap_or(*empty_at);
        }
    }
}

impl Throttle {
    pub(super) fn new(settings: &config::Login) -> Self {
        let window = settings.window.max(Duration::from_secs(1));
        let buckets = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_idle(window)
            .build();
        Self {
            buckets,
            failures: settings.failures.max(1),
            window,
        }
    }

    /// May this source try at all? Counts nothing.
    pub(super) fn admit(&self, peer: IpAddr, name: &UserName) -> Result<(), Refusal> {
        self.limits(peer, name)
            .into_iter()
            .try_for_each(|(source, most)| {
                let bucket = self.buckets.get(&source);
                bucket.map_or(Ok(()), |bucket| self.room(&bucket, most).map(|_| ()))
            })
    }

    /// Counts an attempt.
    pub(super) fn begin(&self, peer: IpAddr, name: &UserName) -> Result<Attempt, Refusal> {
        let mut attempt = Attempt { taken: Vec::new() };
        for (source, most) in self.limits(peer, name) {
            let bucket = self
                .buckets
                .get_with(source, || Arc::new(Mutex::new(Instant::now())));
            let weight = self.window / most;
            match self.room(&bucket, most) {
                Ok(mut empty_at) => *empty_at = (*empty_at).max(Instant::now()) + weight,
                Err(refusal) => {
                    attempt.forgive();
                    return Err(refusal);
                }
            }
            attempt.taken.push((bucket, weight));
        }
        Ok(attempt)
    }

    fn limits(&self, peer: IpAddr, name: &UserName) -> [(Source, u32); 2] {
        let peer = network(peer);
        let all = self.failures.saturating_mul(NAMES);
        [
            ((peer, Some(name.clone())), self.failures),
            ((peer, None), all),
        ]
    }

    /// The bucket, if one more fits in.
    fn room<'b>(
        &self,
        bucket: &'b Bucket,
        most: u32,
    ) -> Result<std::sync::MutexGuard<'b, Instant>, Refusal> {
        let empty_at = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = empty_at.saturating_duration_since(Instant::now()) + self.window / most;
        if filled <= self.window {
            return Ok(empty_at);
        }
        let wait = filled
            .saturating_sub(self.window)
            .as_secs()
            .saturating_add(1);
        Err(Refusal::TooMany(u32::try_from(wait).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests;
