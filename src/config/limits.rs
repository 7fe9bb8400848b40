//! What a request may cost, if the file says nothing else.
//!
//! Invariant: every wait on a network has a limit, and none can be switched off.

use super::Limits;
use super::raw::{Reader, Section};
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 * KIB,
            target: 8 * KIB,
            body: 64 * MIB,
            bodies: 1024 * MIB,
            row: 16 * MIB,
            fields: 100,
            connections: 10_000,
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(30),
            body_idle: Duration::from_secs(30),
            write_idle: Duration::from_secs(60),
            upstream_connect: Duration::from_secs(5),
            upstream_answer: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(60),
            // CouchDB ends a feed, or beats, after 60 seconds by default.
            feed_idle: Duration::from_secs(120),
            // Four looks at what is remembered in that time, for each open feed.
            feed_lease: Duration::from_secs(10),
            // Node's server keeps for five seconds, CouchDB for minutes.
            upstream_keep: Duration::from_secs(4),
            grace: Duration::from_secs(30),
        }
    }
}

/// The section `limits`.
pub(super) fn limits(mut section: Section<'_>, reader: &Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    for (key, field) in [
        ("head", &mut limits.head),
        ("target", &mut limits.target),
        ("body", &mut limits.body),
        ("bodies", &mut limits.bodies),
        ("row", &mut limits.row),
    ] {
        if let Some(said) = section.size(key) {
            *field = said.value;
        }
    }
    for (key, field) in [
        ("fields", &mut limits.fields),
        ("connections", &mut limits.connections),
    ] {
        if let Some(said) = section.number(key) {
            *field = count(said.value).max(1);
        }
    }
    for (key, field) in [
        ("handshake_time", &mut limits.handshake_time),
        ("head_time", &mut limits.head_time),
        ("body_idle", &mut limits.body_idle),
        ("write_idle", &mut limits.write_idle),
        ("upstream_connect", &mut limits.upstream_connect),
        ("upstream_answer", &mut limits.upstream_answer),
        ("upstream_idle", &mut limits.upstream_idle),
        ("feed_idle", &mut limits.feed_idle),
        ("feed_lease", &mut limits.feed_lease),
        ("upstream_keep", &mut limits.upstream_keep),
        ("grace", &mut limits.grace),
    ] {
        if let Some(said) = section.duration(key) {
            *field = said.value;
        }
    }
    let place = section.place;
    section.finish();
    // The buffer of a connection holds 64 KiB, and a head must fit into it.
    if !(KIB..=64 * KIB).contains(&limits.head) || limits.target > limits.head {
        let message = "`limits.head` is 1KiB to 64KiB, `limits.target` at most that";
        reader.mistake(place, message);
    }
    // Attributes of a caller are remembered for a second, and records of users for a minute.
    if !(Duration::from_secs(2)..=Duration::from_secs(60)).contains(&limits.feed_lease) {
        reader.mistake(place, "`limits.feed_lease` is 2s to 60s");
    }
    limits
}

/// A number of things.
pub(super) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
