use std::net::IpAddr;
use std::time::Duration;

use super::Throttle;
use crate::caller::UserName;
use crate::config;
use crate::refusal::Refusal;

fn throttle() -> Throttle {
    let window = Duration::from_secs(300);
    Throttle::new(&config::Login {
        failures: 4,
        window,
        cache: Duration::from_secs(60),
    })
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn peer(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How many of many failures are let through.
fn failures(throttle: &Throttle, from: &str, user: &str) -> usize {
    (0..100)
        .take_while(|_| throttle.begin(peer(from), &name(user)).is_ok())
        .count()
}

#[tokio::test(start_paused = true)]
async fn failures_of_one_source_are_slowed_down() {
    let throttle = throttle();
    assert_eq!(failures(&throttle, "192.0.2.1", "alice"), 4);
    let refusal = throttle
        .admit(peer("192.0.2.1"), &name("alice"))
        .unwrap_err();
    assert!(matches!(refusal, Refusal::TooMany(75..=76)), "{refusal:?}");
    tokio::time::advance(Duration::from_secs(76)).await;
    assert_eq!(failures(&throttle, "192.0.2.1", "alice"), 1);
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(failures(&throttle, "192.0.2.1", "alice"), 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_shut_out_from_elsewhere() {
    let throttle = throttle();
    assert_eq!(failures(&throttle, "192.0.2.1", "alice"), 4);
    assert_eq!(failures(&throttle, "192.0.2.2", "alice"), 4);
    assert_eq!(failures(&throttle, "192.0.2.1", "bob"), 4);
}

#[tokio::test(start_paused = true)]
async fn trying_many_names_does_not_help() {
    let throttle = throttle();
    let tried: usize = (0..100)
        .map(|at| failures(&throttle, "192.0.2.1", &format!("u{at}")))
        .sum();
    assert_eq!(tried, 40);
    let all_of_it = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"];
    let tried: usize = all_of_it
        .iter()
        .map(|from| failures(&throttle, from, "alice"))
        .sum();
    assert_eq!(tried, 4);
    assert_eq!(failures(&throttle, "2001:db8:0:1::1", "alice"), 4);
    assert_eq!(failures(&throttle, "::ffff:192.0.2.9", "alice"), 4);
    assert_eq!(failures(&throttle, "192.0.2.9", "alice"), 0);
}

#[tokio::test(start_paused = true)]
async fn right_passwords_count_for_nothing() {
    let throttle = throttle();
    for _ in 0..1000 {
        throttle
            .begin(peer("192.0.2.1"), &name("alice"))
            .unwrap()
            .forgive();
    }
    assert_eq!(failures(&throttle, "192.0.2.1", "alice"), 4);
}
