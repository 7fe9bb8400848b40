//! Who waits for whom.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{Pass, Turn, Turns};

/// The turn, if it is had at once.
fn at_once(turns: &Turns, ids: &[&str], pass: Pass) -> Option<Turn> {
    let taking = pin!(turns.take("db", ids.iter().copied(), pass));
    match taking.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

#[test]
fn a_write_that_nobody_checks_passes_alone() {
    let turns = Turns::default();
    let one = at_once(&turns, &["a"], Pass::SideBySide).unwrap();
    let two = at_once(&turns, &["b", "a"], Pass::SideBySide).unwrap();
    assert!(at_once(&turns, &["a"], Pass::Alone).is_none());
    assert!(at_once(&turns, &["c", "c"], Pass::Alone).is_some());
    drop((one, two));
    let alone = at_once(&turns, &["a"], Pass::Alone).unwrap();
    assert!(at_once(&turns, &["a"], Pass::SideBySide).is_none());
    assert!(at_once(&turns, &["a"], Pass::Alone).is_none());
    drop(alone);
    assert!(at_once(&turns, &["a"], Pass::Alone).is_some());
}

#[test]
fn locks_are_forgotten_when_nobody_needs_them() {
    let turns = Turns::default();
    let held = at_once(&turns, &["a", "b"], Pass::Alone);
    // One that gave up waiting.
    assert!(at_once(&turns, &["a", "c"], Pass::SideBySide).is_none());
    drop(held);
    assert!(turns.0.lock().unwrap().is_empty());
}
