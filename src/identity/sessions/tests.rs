use proptest::prelude::*;

use super::{End, Ends, Session};
use crate::caller::UserName;

const NOW: u64 = 1_800_000_000;

/// Twelve hours.
const LONGEST: u32 = 12 * 3600;

fn name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

/// A session that began so many milliseconds after now.
fn session(after: u64) -> Session {
    Session::begin(NOW * 1000 + after, LONGEST).unwrap()
}

#[test]
fn one_session_ends_and_no_other() {
    let (alice, bob) = (name("alice"), name("bob"));
    // Both began in one millisecond.
    let (ended, other) = (session(5), session(5));
    let mut ends = Ends::default();
    assert!(ends.learn(&End::of(&ended)));
    assert!(!ends.learn(&End::of(&ended)));
    assert!(ends.has(&alice, &ended));
    assert!(!ends.has(&alice, &other) && !ends.has(&bob, &other));
}

#[test]
fn all_sessions_that_have_begun_end() {
    let (alice, bob) = (name("alice"), name("bob"));
    let mut ends = Ends::default();
    assert!(ends.learn(&End::of_all(&alice, NOW * 1000 + 9, LONGEST)));
    assert!(!ends.learn(&End::of_all(&alice, NOW * 1000 + 5, LONGEST)));
    assert!(ends.has(&alice, &session(1)) && ends.has(&alice, &session(9)));
    assert!(!ends.has(&alice, &session(10)) && !ends.has(&bob, &session(1)));
}

#[test]
fn an_end_is_remembered_until_its_session_is_over_by_itself() {
    let (alice, mut ends) = (name("alice"), Ends::default());
    let ended = session(0);
    ends.learn(&End::of(&ended));
    ends.learn(&End::of_all(&alice, NOW * 1000, LONGEST));
    assert!(ended.over() == NOW + u64::from(LONGEST));
    ends.sweep(ended.over());
    assert!(ends.has(&alice, &ended));
    ends.sweep(ended.over() + 61);
    assert!(!ends.has(&alice, &ended));
    assert_eq!((ends.sessions.len(), ends.users.len()), (0, 0));
}

/// Each is remembered, and a million take less than 64 MiB.
#[test]
fn a_million_logouts_are_each_remembered() {
    let (alice, mut ends) = (name("alice"), Ends::default());
    let sessions: Vec<Session> = (0..1_000_000).map(session).collect();
    for session in &sessions {
        assert!(ends.learn(&End::of(session)));
    }
    assert!(sessions.iter().all(|session| ends.has(&alice, session)));
    assert!((0..1000).all(|after| !ends.has(&alice, &session(after))));
    assert!(ends.bytes() < 64 << 20, "{} bytes", ends.bytes());
    ends.sweep(NOW + u64::from(LONGEST) + 2000);
    assert!(ends.bytes() < 1 << 10, "{} bytes", ends.bytes());
}

#[test]
fn what_an_end_says_stands_in_its_id() {
    let id = End::of(&Session {
        id: [0xab; 16],
        began: 1_000_999,
        longest: 60,
    });
    let all = End::of_all(&name("alice"), 1_000_999, 60);
    assert_eq!(
        id.document(),
        format!("000000001120:session:{}", "ab".repeat(16))
    );
    assert_eq!(
        all.document(),
        "000000001120:user:2bd806c97f0e00af1a1fc3328fa763a9:1000999"
    );
    for end in [id, all] {
        assert_eq!(End::read(&end.document()), Some(end));
    }
    for other in [
        "",
        "_design/x",
        "000000001120",
        "000000001120:session",
        "000000001120:session:",
        "1120:session:abababababababababababababababab",
        "000000001120:session:ABABABABABABABABABABABABABABABAB",
        "000000001120:session:+babababababababababababababababa",
        "000000001120:session:abababababababababababababababab:1",
        "000000001120:other:abababababababababababababababab",
        "000000001120:user:abababababababababababababababab",
        "000000001120:user:abababababababababababababababab:01",
    ] {
        assert_eq!(End::read(other), None, "{other}");
    }
}

/// What happens to sessions at couchwardens; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    LogIn,
    Renew(usize),
    LogOut(usize, usize),
    /// A couchwarden hears of the next end that it has not heard of.
    Hear(usize),
    /// It hears of one once more.
    HearAgain(usize, usize),
    /// It sweeps when so many seconds have gone by.
    Sweep(usize, u64),
}

const COUCHWARDENS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let here = 0..COUCHWARDENS;
    prop::collection::vec(
        prop_oneof![
            Just(Step::LogIn),
            any::<usize>().prop_map(Step::Renew),
            (here.clone(), any::<usize>()).prop_map(|(here, which)| Step::LogOut(here, which)),
            here.clone().prop_map(Step::Hear),
            (here.clone(), any::<usize>()).prop_map(|(here, which)| Step::HearAgain(here, which)),
            (here, 0..u64::from(LONGEST)).prop_map(|(here, after)| Step::Sweep(here, after)),
        ],
        0..60,
    )
}

proptest! {
    /// Whatever the order of logins, renewals and logouts, and however late news are: where an end has been learnt no
    /// cookie of its session is believed, and everywhere all others are.
    #[test]
    fn an_end_that_has_been_learnt_holds_and_no_other_session_ends(steps in steps()) {
        let alice = name("alice");
        // Each cookie by its session; renewals have that of the cookie that they were made of.
        let mut cookies: Vec<Session> = Vec::new();
        let mut log: Vec<End> = Vec::new();
        let mut heard = [0; COUCHWARDENS];
        let mut known: [Ends; COUCHWARDENS] = Default::default();
        let mut learnt: [Vec<Session>; COUCHWARDENS] = Default::default();
        let pick = |cookies: &[Session], which: usize| {
            (!cookies.is_empty()).then(|| cookies[which % cookies.len()])
        };
        let of = |cookies: &[Session], end: &End| -> Vec<Session> {
            cookies.iter().copied().filter(|one| End::of(one) == *end).collect()
        };
        for step in steps {
            match step {
                Step::LogIn => cookies.push(session(0)),
                Step::Renew(which) => cookies.extend(pick(&cookies, which)),
                Step::LogOut(here, which) => if let Some(session) = pick(&cookies, which) {
                    if known[here].learn(&End::of(&session)) {
                        log.push(End::of(&session));
                    }
                    learnt[here].push(session);
                },
                Step::Hear(here) => if let Some(end) = log.get(heard[here]) {
                    heard[here] += 1;
                    known[here].learn(end);
                    learnt[here].extend(of(&cookies, end));
                },
                Step::HearAgain(here, which) => if heard[here] > 0 {
                    known[here].learn(&log[which % heard[here]]);
                },
                Step::Sweep(here, after) => known[here].sweep(NOW + after),
            }
            for (known, learnt) in known.iter().zip(&learnt) {
                for cookie in &cookies {
                    prop_assert_eq!(known.has(&alice, cookie), learnt.contains(cookie));
                }
            }
        }
    }
}
