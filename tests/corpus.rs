//! The corpus of the fuzz targets, replayed on stable: whatever a target has once found, or has found new, stays seen.
//!
//! Each folder of `tests/fuzz/corpus` is one target's; `just fuzz TARGET` looks for more.
//!
//! Invariant: no target without a corpus.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a target says what must hold by failing"
)]

#[path = "fuzz/src/lib.rs"]
pub mod targets;

use std::fs;
use std::path::Path;

/// Hands every file of one target's folder to it.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let input = fs::read(&file).expect("the file can be read");
        let held = std::panic::catch_unwind(|| check(&input));
        assert!(held.is_ok(), "{} is a finding", file.display());
    }
}

#[test]
fn paths_are_read_as_they_are_written() {
    replay("path", targets::path);
}

#[test]
fn routes_are_read_as_they_are_written() {
    replay("route", targets::route);
}

#[test]
fn queries_are_read_as_they_are_written() {
    replay("query", targets::query);
}

#[test]
fn json_is_cut_as_slow_readers_read_it() {
    replay("json", targets::json);
}

#[test]
fn batches_keep_what_their_writer_does_not_see() {
    replay("bulk", targets::bulk);
}

#[test]
fn answers_in_parts_keep_hidden_attachments() {
    replay("multipart", targets::multipart);
}
