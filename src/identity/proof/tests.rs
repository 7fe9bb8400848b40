use std::time::{Duration, Instant};

use crate::couch::fake::Fake;
use crate::identity::Identity;
use crate::identity::tests::{basic, by_basic, cast, identity, who};
use crate::refusal::Refusal;

#[tokio::test]
async fn a_verified_login_costs_nothing_again() {
    let fake = cast().await;
    let identity = identity(&fake);
    for pair in ["alice:apple", "bob:banana", "root:rhubarb"] {
        assert!(by_basic(&identity, pair).await.is_ok());
    }
    fake.heard();
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(by_basic(&identity, "alice:apple").await.is_ok());
        assert!(by_basic(&identity, "bob:banana").await.is_ok());
        assert!(by_basic(&identity, "root:rhubarb").await.is_ok());
    }
    assert!(fake.heard().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn guessing_is_stopped_before_couchdb_locks_the_user_out() {
    let fake = cast().await;
    let identity = identity(&fake);
    for at in 0..4 {
        let outcome = who(by_basic(&identity, &format!("bob:wrong{at}")).await);
        assert_eq!(outcome, Err(Refusal::WrongCredentials));
    }
    fake.heard();
    for pair in ["bob:wrong5", "bob:banana"] {
        let refusal = who(by_basic(&identity, pair).await).unwrap_err();
        assert_eq!(refusal.status(), 429);
    }
    assert!(fake.heard().is_empty());
    // From elsewhere he gets in, and then from there too: what was verified needs no attempt.
    let elsewhere = "192.0.2.2".parse().unwrap();
    assert!(
        identity
            .recognise(Some(&basic("bob:banana")), None, elsewhere)
            .await
            .is_ok()
    );
    assert!(by_basic(&identity, "bob:banana").await.is_ok());
}

#[tokio::test]
async fn a_client_that_repeats_one_wrong_password_shuts_nobody_out() {
    let fake = cast().await;
    let identity = identity(&fake);
    for _ in 0..50 {
        assert_eq!(
            who(by_basic(&identity, "bob:wrong").await),
            Err(Refusal::WrongCredentials)
        );
    }
    assert!(by_basic(&identity, "bob:banana").await.is_ok());
}

#[tokio::test]
async fn attempts_side_by_side_are_all_counted() {
    let identity = identity(&cast().await);
    let pairs: Vec<String> = (0..20).map(|at| format!("bob:wrong{at}")).collect();
    let many = pairs.iter().map(|pair| by_basic(&identity, pair));
    let outcomes = futures_util::future::join_all(many).await;
    let heard = outcomes.into_iter().filter(|outcome| {
        outcome
            .as_ref()
            .is_err_and(|failed| failed.refusal == Refusal::WrongCredentials)
    });
    assert_eq!(heard.count(), 4);
}

#[tokio::test]
async fn failures_take_the_same_time_whether_the_name_exists() {
    let mut identity = identity(&cast().await);
    identity.failure_floor = Duration::from_millis(300);
    for pair in ["alice:wrong", "bob:wrong", "nobody:wrong", "both:wrong"] {
        let begun = Instant::now();
        assert!(by_basic(&identity, pair).await.is_err());
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(300) && took < Duration::from_millis(700),
            "{pair} {took:?}"
        );
    }
}

#[tokio::test]
async fn a_voucher_that_can_not_be_asked_is_no_wrong_password() {
    let fake = cast().await;
    let identity = identity(&fake);
    fake.store.lock().unwrap().answer = Some((500, "{}".into()));
    for _ in 0..10 {
        assert_eq!(
            who(by_basic(&identity, "bob:banana").await)
                .unwrap_err()
                .status(),
            502
        );
    }
    fake.store.lock().unwrap().answer = None;
    assert!(by_basic(&identity, "bob:banana").await.is_ok());
}

/// Begins to log in, and gives up when CouchDB has been asked.
async fn give_up(fake: &Fake, identity: &Identity, pair: &str) {
    let asked = async {
        let is_asked = |heard: &String| heard.ends_with("/_session");
        while !fake.heard().iter().any(is_asked) {
            tokio::task::yield_now().await;
        }
    };
    let login = async {
        // Until an earlier one has been forgiven.
        while by_basic(identity, pair).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::select! {
        biased;
        () = asked => {}
        () = login => panic!("not asked"),
        () = tokio::time::sleep(limit) => panic!("it is refused unheard"),
    }
}

#[tokio::test]
async fn who_gives_up_with_the_right_password_shuts_nobody_out() {
    let fake = cast().await;
    let identity = identity(&fake);
    for _ in 0..50 {
        give_up(&fake, &identity, "bob:banana").await;
    }
    // What goes on is forgiven in the end.
    let in_the_end = async { while by_basic(&identity, "bob:banana").await.is_err() {} };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, in_the_end).await.unwrap();
}

#[tokio::test]
async fn who_gives_up_guesses_no_faster() {
    let fake = cast().await;
    let identity = identity(&fake);
    for at in 0..4 {
        give_up(&fake, &identity, &format!("bob:wrong{at}")).await;
    }
    for pair in ["bob:wrong5", "bob:banana"] {
        let refusal = who(by_basic(&identity, pair).await).unwrap_err();
        assert_eq!(refusal.status(), 429);
    }
}
