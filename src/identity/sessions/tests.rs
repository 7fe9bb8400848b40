use std::time::Duration;

use super::{Ended, SINGLE};
use crate::caller::UserName;

fn ended() -> (Ended, UserName, UserName) {
    let name = |name| UserName::parse(name).unwrap();
    (
        Ended::new(Duration::from_secs(600)),
        name("alice"),
        name("bob"),
    )
}

#[test]
fn one_session_ends_and_no_other() {
    let (ended, alice, bob) = ended();
    ended.end(&alice, 5, 9);
    assert!(ended.has(&alice, 5));
    assert!(!ended.has(&alice, 4) && !ended.has(&alice, 6) && !ended.has(&bob, 5));
}

#[test]
fn all_sessions_that_have_begun_end() {
    let (ended, alice, bob) = ended();
    ended.end(&alice, 5, 6);
    ended.end_all(&alice, 9);
    assert!(ended.has(&alice, 1) && ended.has(&alice, 5) && ended.has(&alice, 9));
    assert!(!ended.has(&alice, 10) && !ended.has(&bob, 1));
}

#[test]
fn who_ends_too_many_one_by_one_ends_all() {
    let (ended, alice, _) = ended();
    for began in 0..SINGLE as u64 {
        ended.end(&alice, 100 + began, 200);
    }
    assert!(ended.has(&alice, 100) && !ended.has(&alice, 199));
    ended.end(&alice, 100 + SINGLE as u64, 200);
    assert!(ended.has(&alice, 100) && ended.has(&alice, 199));
    assert!(!ended.has(&alice, 201));
}

#[test]
fn an_end_is_forgotten_when_the_last_cookie_has_expired() {
    let ended = Ended::new(Duration::from_millis(1));
    let alice = UserName::parse("alice").unwrap();
    ended.end_all(&alice, 9);
    while ended.has(&alice, 9) {
        std::thread::sleep(Duration::from_millis(1));
    }
}
