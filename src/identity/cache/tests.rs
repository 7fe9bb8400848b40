use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Verified;
use crate::caller::UserName;
use crate::refusal::Refusal;
use crate::secret::Secret;

fn verified(life: Duration) -> Verified {
    Verified::new(&Secret::new("random"), life)
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

#[tokio::test]
async fn what_was_verified_is_found_for_that_very_login_only() {
    let verified = verified(Duration::from_secs(60));
    let (alice, right) = (name("alice"), Secret::new("right"));
    let outcome = verified
        .get_or(&alice, &right, b"1", async { Ok(true) })
        .await;
    assert_eq!(outcome, Ok(true));
    assert_eq!(verified.recall(&alice, &right, b"1").await, Some(true));
    assert_eq!(verified.recall(&alice, &right, b"2").await, None);
    assert_eq!(
        verified.recall(&alice, &Secret::new("wrong"), b"1").await,
        None
    );
    assert_eq!(verified.recall(&name("bob"), &right, b"1").await, None);
    assert_eq!(
        verified
            .recall(&name("alicer"), &Secret::new("ight"), b"1")
            .await,
        None
    );
}

#[tokio::test]
async fn what_could_not_be_checked_is_not_remembered() {
    let verified = verified(Duration::from_secs(60));
    let (alice, right) = (name("alice"), Secret::new("right"));
    let outcome = verified
        .get_or(&alice, &right, b"1", async { Err(Refusal::UpstreamSlow) })
        .await;
    assert_eq!(outcome, Err(Refusal::UpstreamSlow));
    assert_eq!(verified.recall(&alice, &right, b"1").await, None);
}

#[tokio::test]
async fn it_is_forgotten_in_time() {
    let verified = verified(Duration::from_millis(30));
    let (alice, right) = (name("alice"), Secret::new("right"));
    let _ = verified
        .get_or(&alice, &right, b"1", async { Ok(true) })
        .await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(verified.recall(&alice, &right, b"1").await, None);
}

#[tokio::test]
async fn equal_logins_at_one_time_are_checked_once() {
    let verified = verified(Duration::from_secs(60));
    let checks = AtomicUsize::new(0);
    let (alice, right) = (name("alice"), Secret::new("right"));
    let check = || async {
        checks.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(true)
    };
    let many = (0..20).map(|_| verified.get_or(&alice, &right, b"1", check()));
    assert!(
        futures_util::future::join_all(many)
            .await
            .iter()
            .all(|right| *right == Ok(true))
    );
    assert_eq!(checks.load(Ordering::SeqCst), 1);
}
