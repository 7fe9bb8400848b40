//! couchwarden as its clients meet it: over TLS, before a CouchDB (see `tests/backend`), with a cast of callers.
//!
//! A module for each topic. A test has a couchwarden and databases of its own, so all run at the same time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    reason = "a test says what must hold by failing"
)]

#[path = "../backend/mod.rs"]
mod backend;
mod support;

mod accounts;
mod arriving;
mod asked;
mod attachments;
mod attacks;
mod batches;
mod bookmarks;
mod boundaries;
mod canary;
mod cdrs;
mod changes;
mod contract;
mod converge;
mod copies;
mod cors;
mod crowd;
mod deploy;
mod differential;
mod entries;
mod epilogues;
mod errors;
mod everyday;
mod faults;
mod feeds;
mod fields;
mod formats;
mod gaps;
mod generations;
mod growth;
mod guesses;
mod heads;
mod hostile;
mod identity;
mod indexes;
mod journeys;
mod leaves;
mod lies;
mod locals;
mod memory;
mod moments;
mod multipart;
mod nodes;
mod nodes_corners;
mod nodes_ends;
mod nodes_gate;
mod nodes_racing;
mod nodes_readme;
mod nodes_tombstones;
mod nodes_writing;
mod oracle;
mod parked;
mod parts;
mod passing;
mod presented;
mod provision;
mod queries;
mod races;
mod related;
mod replication;
mod rounds;
mod selectors;
mod sessions;
mod shapes;
mod shares;
mod sizes;
mod sums;
mod tags;
mod tokens;
mod tombstones;
mod travel;
mod turns;
mod uncovering;
mod upstream;
mod views;
mod worlds;
mod writes;
