use std::time::{Duration, Instant};

use super::Hasher;
use crate::config;
use crate::refusal::Refusal;
use crate::secret::Secret;

fn hasher(workers: usize, queue: usize) -> Hasher {
    Hasher::new(&config::Bcrypt {
        cost: 8,
        min_cost: 4,
        max_cost: 31,
        workers,
        queue,
    })
}

fn hash(password: &str, cost: u32) -> String {
    bcrypt::hash(password, cost).unwrap()
}

#[tokio::test]
async fn a_password_is_right_or_wrong() {
    let hasher = hasher(1, 8);
    let stored = hash("secret", 4);
    assert_eq!(
        hasher.verify(&Secret::new("secret"), Some(&stored)).await,
        Ok(true)
    );
    assert_eq!(
        hasher.verify(&Secret::new("Secret"), Some(&stored)).await,
        Ok(false)
    );
    let php = stored.replace("$2b$", "$2y$");
    assert_eq!(
        hasher.verify(&Secret::new("secret"), Some(&php)).await,
        Ok(true)
    );
    assert_eq!(hasher.verify(&Secret::new("secret"), None).await, Ok(false));
}

#[tokio::test]
async fn a_password_that_bcrypt_would_cut_is_wrong() {
    let hasher = hasher(1, 8);
    let whole = "a".repeat(72);
    let stored = hash(&whole, 4);
    assert_eq!(
        hasher
            .verify(&Secret::new(whole.as_str()), Some(&stored))
            .await,
        Ok(true)
    );
    assert_eq!(
        hasher
            .verify(&Secret::new(format!("{whole}a")), Some(&stored))
            .await,
        Ok(false)
    );
}

#[tokio::test]
async fn hashes_that_would_cost_too_much_are_not_computed() {
    let hasher = hasher(1, 8);
    let begun = Instant::now();
    for cost in ["15", "31", "99", "03", "4", "-1"] {
        let stored = hash("secret", 4).replacen("$04$", &format!("${cost}$"), 1);
        assert_eq!(
            hasher.verify(&Secret::new("secret"), Some(&stored)).await,
            Ok(false),
            "{cost}"
        );
    }
    for stored in ["", "$", "secret", "$2b$", "$2x$04$abc", "$2b$04$tooshort"] {
        assert_eq!(
            hasher.verify(&Secret::new("secret"), Some(stored)).await,
            Ok(false),
            "{stored}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// The dummy must be a hash that is really computed.
#[tokio::test]
async fn an_unknown_name_costs_a_hash() {
    let hasher = hasher(1, 8);
    let time = async |hash: Option<&str>| {
        let begun = Instant::now();
        for _ in 0..5 {
            let _ = hasher.verify(&Secret::new("secret"), hash).await;
        }
        begun.elapsed()
    };
    let stored = hash("other", 8);
    let (known, unknown) = (time(Some(&stored)).await, time(None).await);
    assert!(
        unknown > known / 3 && unknown < known * 3,
        "{known:?} {unknown:?}"
    );
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let hasher = hasher(1, 2);
    let password = Secret::new("x");
    let many = (0..6).map(|_| hasher.verify(&password, None));
    let outcomes = futures_util::future::join_all(many).await;
    let refused = outcomes
        .iter()
        .filter(|outcome| **outcome == Err(Refusal::Unavailable(1)))
        .count();
    assert_eq!(refused, 3);
    assert_eq!(hasher.verify(&password, None).await, Ok(false));
}
