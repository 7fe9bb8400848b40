//! How many file descriptors there are, and what of the configuration fits into them.
//!
//! Each connection takes one, and each request another for CouchDB: of HTTP/1 a connection has one at a time, of HTTP/2
//! all connections have `[limits] streams` together.
//!
//! Invariant: clients never take the descriptors that their requests need for CouchDB.

use crate::config::Limits;

/// Kept for the listener, files, and the connections to CouchDB that nobody uses at the moment.
const OURS: usize = 256;

/// Raises the limit as far as the system allows. Where what is configured does not fit, less is served, and the
/// operator is told what.
pub fn fit_descriptors(limits: Limits) -> Limits {
    let descriptors = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(descriptors) => usize::try_from(descriptors).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors is not known");
            return limits;
        }
    };
    let fitted = fit(&limits, descriptors);
    if (fitted.connections, fitted.streams) != (limits.connections, limits.streams) {
        tracing::warn!(
            descriptors,
            needed = needed(&limits).saturating_add(OURS),
            connections = fitted.connections,
            streams = fitted.streams,
            "the system gives too few file descriptors for [limits] connections and streams: raise its limit \
             (`LimitNOFILE` of systemd, `ulimit -Hn`), or configure the numbers that are served now"
        );
    }
    fitted
}

fn needed(limits: &Limits) -> usize {
    let connections = limits.connections.saturating_mul(2);
    connections.saturating_add(limits.streams)
}

/// The same limits, or what fits of them into so many descriptors, in the same proportion.
pub(super) fn fit(limits: &Limits, descriptors: usize) -> Limits {
    let ours = OURS.min(descriptors / 4);
    let free = descriptors.saturating_sub(ours);
    let needed = needed(limits);
    if needed <= free {
        return *limits;
    }
    let part = |count: usize| {
        let part = (count as u128).saturating_mul(free as u128) / (needed as u128).max(1);
        usize::try_from(part).unwrap_or(count).max(1)
    };
    Limits {
        connections: part(limits.connections),
        streams: part(limits.streams),
        ..*limits
    }
}
