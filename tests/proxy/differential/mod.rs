//! What a restricted caller gets is what CouchDB answers over what they may see.
//!
//! Databases, rules and requests are drawn at random. The model of the right answer is CouchDB itself: beside the real
//! database stand *twins*, which hold only what the rules show (`model`). The caller's request goes through couchwarden
//! to the real database, the same request goes to the twin as its administrator, and both answers must be the same
//! (`compare`), but for what couchwarden leaves out by design. What differs is shrunk to a few documents and one request
//! (`shrink`).
//!
//! `DIFFERENTIAL_SEED=N` runs one round, `DIFFERENTIAL_SECONDS=N` runs new rounds for so long (`just differential`).

mod compare;
mod data;
mod model;
mod requests;
mod rules;
mod run;
mod shrink;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use data::Data;
use requests::Request;
use rules::Rules;
use run::Round;

/// The rounds of `cargo test`.
const SEEDS: std::ops::Range<u64> = 0..40;
/// Requests of each round.
const REQUESTS: usize = 120;
/// So many findings are enough for one run.
const ENOUGH: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_caller_gets_what_couchdb_answers_over_what_they_may_see() {
    let mut found: Vec<String> = Vec::new();
    let (mut rounds, mut asked) = (0, 0);
    for seed in seeds() {
        let round = draw(seed);
        rounds += 1;
        asked += round.requests.len();
        for difference in run::run(&round).await {
            let kind = difference.kind();
            if found.iter().any(|report| report.contains(&kind)) {
                continue;
            }
            let (smallest, told) = shrink::shrink(&round, &difference).await;
            found.push(format!("seed {seed}, {kind}\n{}", smallest.tell(&told)));
        }
        if found.len() >= ENOUGH {
            break;
        }
    }
    println!(
        "{rounds} rounds, {asked} requests, {} differences",
        found.len()
    );
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

fn draw(seed: u64) -> Round {
    let mut random = Rng::with_seed(seed);
    let data = Data::draw(&mut random);
    let rules = Rules::draw(&mut random);
    let requests = (0..REQUESTS)
        .map(|_| Request::draw(&mut random, &data, &rules))
        .collect();
    Round {
        data,
        rules,
        requests,
    }
}

/// One that was asked for, new ones for a time, or those of `cargo test`.
fn seeds() -> Box<dyn Iterator<Item = u64>> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is a number")),
        )
    };
    if let Some(seed) = number("DIFFERENTIAL_SEED") {
        return Box::new(std::iter::once(seed));
    }
    if let Some(seconds) = number("DIFFERENTIAL_SECONDS") {
        let end = Instant::now() + Duration::from_secs(seconds);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let first = now.as_secs() << 16;
        return Box::new((first..).take_while(move |_| Instant::now() < end));
    }
    Box::new(SEEDS)
}
