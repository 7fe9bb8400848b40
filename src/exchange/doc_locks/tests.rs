//! Who waits for whom.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{DocGuard, DocLocks, Mode};

/// The turn, if it is had at once.
fn at_once(turns: &DocLocks, ids: &[&str], pass: Mode) -> Option<DocGuard> {
    let taking = pin!(turns.take("db", ids.iter().copied(), pass));
    match taking.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

#[test]
fn a_write_that_nobody_checks_passes_alone() {
    let turns = DocLocks::default();
    let one = at_once(&turns, &["a"], Mode::Shared).unwrap();
    let two = at_once(&turns, &["b", "a"], Mode::Shared).unwrap();
    assert!(at_once(&turns, &["a"], Mode::Exclusive).is_none());
    assert!(at_once(&turns, &["c", "c"], Mode::Exclusive).is_some());
    drop((one, two));
    let alone = at_once(&turns, &["a"], Mode::Exclusive).unwrap();
    assert!(at_once(&turns, &["a"], Mode::Shared).is_none());
    assert!(at_once(&turns, &["a"], Mode::Exclusive).is_none());
    drop(alone);
    assert!(at_once(&turns, &["a"], Mode::Exclusive).is_some());
}

#[test]
fn locks_are_forgotten_when_nobody_needs_them() {
    let turns = DocLocks::default();
    let held = at_once(&turns, &["a", "b"], Mode::Exclusive);
    // One that gave up waiting.
    assert!(at_once(&turns, &["a", "c"], Mode::Shared).is_none());
    drop(held);
    assert!(turns.0.lock().unwrap().is_empty());
}
