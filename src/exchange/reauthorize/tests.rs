use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, advance, timeout};

use super::Lease;

/// A right that can be taken away, and how often it was asked for.
#[derive(Default)]
struct Right {
    gone: AtomicBool,
    asked: AtomicUsize,
    /// How long an answer takes, in milliseconds.
    slow: AtomicUsize,
}

fn lease() -> (Arc<Right>, watch::Sender<()>, Lease) {
    let right = Arc::new(Right::default());
    let changed = watch::Sender::new(());
    let asked = Arc::clone(&right);
    let ask = move || {
        let right = Arc::clone(&asked);
        async move {
            right.asked.fetch_add(1, Ordering::SeqCst);
            let slow = right.slow.load(Ordering::SeqCst) as u64;
            tokio::time::sleep(Duration::from_millis(slow)).await;
            !right.gone.load(Ordering::SeqCst)
        }
        .boxed()
    };
    let lease = Lease::new(Arc::new(ask), changed.subscribe(), Duration::from_secs(4));
    (right, changed, lease)
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_for_as_long_as_the_right_is_there() {
    let (right, _changed, mut lease) = lease();
    let week = timeout(Duration::from_secs(60), lease.ended()).await;
    assert!(week.is_err());
    assert_eq!(right.asked.load(Ordering::SeqCst), 60);
    assert!(lease.holds().await);
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_once_when_somebody_tells() {
    let (right, changed, mut lease) = lease();
    right.gone.store(true, Ordering::SeqCst);
    changed.send_replace(());
    let begun = Instant::now();
    lease.ended().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_itself_within_a_quarter() {
    let (right, _changed, mut lease) = lease();
    right.gone.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    lease.ended().await;
    assert!(begun.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn who_was_not_looking_is_asked_before_anything_is_sent() {
    let (right, _changed, mut lease) = lease();
    assert!(lease.holds().await);
    assert_eq!(right.asked.load(Ordering::SeqCst), 0);
    advance(Duration::from_secs(3)).await;
    right.gone.store(true, Ordering::SeqCst);
    assert!(!lease.holds().await);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_takes_long_goes_on_where_it_was() {
    let (right, _changed, mut lease) = lease();
    right.slow.store(500, Ordering::SeqCst);
    for _ in 0..15 {
        assert!(
            timeout(Duration::from_millis(100), lease.ended())
                .await
                .is_err()
        );
    }
    assert_eq!(right.asked.load(Ordering::SeqCst), 1);
    assert!(lease.until > Instant::now());
}
