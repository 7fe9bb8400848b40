//! What a request may cost, if the file says nothing else.
//!
//! Invariant: every wait on a network has a limit, and none can be switched off.

use super::network::parse_network;
use super::raw::{At, Reader, Section};
use super::{Limits, Network, SharePercents};
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
            streams: 10_000,
            feeds: 10_000,
            shares: SharePercents {
                connections: 50,
                streams: 25,
                feeds: 10,
                bodies: 25,
            },
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(30),
            // CouchDB's replicator waits for up to 64 seconds before it tries again, by the same connection.
            idle_time: Duration::from_secs(120),
            body_idle: Duration::from_secs(30),
            body_rate: KIB,
            body_rate_after: Duration::from_secs(30),
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

/// The section `limits`, with its networks that many share.
pub(super) fn limits(mut section: Section<'_>, reader: &Reader<'_>) -> (Limits, Vec<Network>) {
    let mut limits = Limits {
        shares: shares(section.section("shares"), reader),
        ..Limits::default()
    };
    let shared_networks = networks(section.texts("shared_networks"), reader);
    for (key, field) in [
        ("head", &mut limits.head),
        ("target", &mut limits.target),
        ("body", &mut limits.body),
        ("bodies", &mut limits.bodies),
        ("row", &mut limits.row),
        ("body_rate", &mut limits.body_rate),
    ] {
        if let Some(said) = section.size(key) {
            *field = said.value;
        }
    }
    for (key, field) in [
        ("fields", &mut limits.fields),
        ("connections", &mut limits.connections),
        ("streams", &mut limits.streams),
        ("feeds", &mut limits.feeds),
    ] {
        if let Some(said) = section.number(key) {
            *field = count(said.value).max(1);
        }
    }
    for (key, field) in [
        ("handshake_time", &mut limits.handshake_time),
        ("head_time", &mut limits.head_time),
        ("idle_time", &mut limits.idle_time),
        ("body_idle", &mut limits.body_idle),
        ("body_rate_after", &mut limits.body_rate_after),
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
    (limits, shared_networks)
}

/// The section `limits.shares`.
fn shares(mut section: Section<'_>, reader: &Reader<'_>) -> SharePercents {
    let mut shares = Limits::default().shares;
    for (key, field) in [
        ("connections", &mut shares.connections),
        ("streams", &mut shares.streams),
        ("feeds", &mut shares.feeds),
        ("bodies", &mut shares.bodies),
    ] {
        let Some(said) = section.number(key) else {
            continue;
        };
        match u8::try_from(said.value) {
            Ok(percent @ 1..=100) => *field = percent,
            Ok(_) | Err(_) => {
                let message = format!("`{}` is 1 to 100 percent", section.full(key));
                reader.mistake(said.place, message);
            }
        }
    }
    section.finish();
    shares
}

/// A list of addresses and ranges.
pub(super) fn networks(said: Option<Vec<At<String>>>, reader: &Reader<'_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for said in said.unwrap_or_default() {
        match parse_network(&said.value) {
            Some(network) => networks.push(network),
            None => {
                let message = format!("`{}` is not an address or range", said.value);
                reader.mistake(said.place, message);
            }
        }
    }
    networks
}

/// A number of things.
pub(super) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
