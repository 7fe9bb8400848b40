//! What a restricted caller gets is what CouchDB answers over what they may see.
//!
//! Databases, rules and requests are drawn at random. The model of the right answer is CouchDB itself: beside the real
//! database stand *twins*, which hold only what the rules show (`model`). The caller's request goes through couchwarden
//! to the real database, the same request goes to the twin as its administrator, and both answers must be the same
//! (`compare`), but for what couchwarden leaves out by design. What differs is shrunk to a few documents and one request
//! (`shrink`).
//!
//! What differs by design is listed (`listed`), and counted at the end: an entry that is met no more is to be taken out.
//!
//! `DIFFERENTIAL_KEPT=1` shrinks nothing, `DIFFERENTIAL_SEED=N` runs one round (of a long run with `DIFFERENTIAL_SECONDS=N` beside it), `DIFFERENTIAL_SECONDS=N` runs new rounds for so long (`just differential`).

mod compare;
mod data;
mod listed;
mod model;
mod requests;
mod rules;
mod run;
mod shrink;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use serde_json::{Value, json};

use data::Data;
use requests::Request;
use rules::Rules;
use run::Round;

/// The rounds of `cargo test`.
const SEEDS: std::ops::Range<u64> = 0..40;
/// Requests of each round, and of one that is drawn for a long run: most of what a round costs is its beginning.
const REQUESTS: usize = 120;
const MANY_REQUESTS: usize = 400;
/// After so many rounds a long run says how far it is.
const TOLD: usize = 20;
/// So many findings are enough for one run.
const ENOUGH: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_caller_gets_what_couchdb_answers_over_what_they_may_see() {
    let mut found: Vec<String> = Vec::new();
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut rounds, begun) = (0, Instant::now());
    for seed in seeds() {
        let round = draw(seed);
        rounds += 1;
        for request in &round.requests {
            *asked.entry(request.counted_as()).or_default() += 1;
        }
        let outcome = Box::pin(run::run(&round)).await;
        for (name, times) in outcome.listed {
            *listed.entry(name).or_default() += times;
        }
        for difference in outcome.found {
            let kind = difference.kind();
            if found.iter().any(|report| report.contains(&kind)) {
                continue;
            }
            let (smallest, told) = Box::pin(shrink::shrink(&round, &difference)).await;
            found.push(format!("seed {seed}, {kind}\n{}", smallest.tell(&told)));
        }
        if found.len() >= ENOUGH {
            break;
        }
        if is_long() && rounds % TOLD == 0 {
            tell(rounds, &asked, found.len(), begun);
        }
    }
    tell(rounds, &asked, found.len(), begun);
    for (endpoint, times) in &asked {
        println!("{times:8} {endpoint}");
    }
    for entry in &listed::LISTED {
        println!("{:8} {}", listed.get(entry.name).unwrap_or(&0), entry.name);
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[expect(clippy::print_stdout, reason = "how far a long run has come")]
fn tell(rounds: usize, asked: &BTreeMap<&str, usize>, found: usize, begun: Instant) {
    let requests: usize = asked.values().sum();
    let seconds = begun.elapsed().as_secs();
    println!("{rounds} rounds, {requests} requests, {found} differences, {seconds} s");
}

fn is_long() -> bool {
    number("DIFFERENTIAL_SECONDS").is_some()
}

fn draw(seed: u64) -> Round {
    let mut random = Rng::with_seed(seed);
    let data = Data::draw(&mut random);
    let rules = Rules::draw(&mut random, &data);
    let hidden = match random.u32(0..3) {
        // They would be counted.
        0 if !rules.counts => hidden(&mut random, &data, &rules),
        _ => Vec::new(),
    };
    let requests = match is_long() {
        true => MANY_REQUESTS,
        false => REQUESTS,
    };
    let requests = (0..requests)
        .map(|_| Request::draw(&mut random, &data, &rules))
        .collect();
    Round {
        data,
        rules,
        requests,
        hidden,
    }
}

/// Documents that the caller may not see, whatever is written last.
fn hidden(random: &mut Rng, data: &Data, rules: &Rules) -> Vec<Value> {
    let mut all = Vec::new();
    for at in 0..40 {
        let partition = if data.partitioned { "p:" } else { "" };
        let id = format!("{partition}h{}", at % 3);
        let mut body = data::body(random);
        body.insert("quiet".into(), json!(true));
        if rules.see(&id, &body).is_none() {
            body.insert("_id".into(), json!(id));
            all.push(Value::Object(body));
        }
    }
    all
}

/// One that was asked for, new ones for a time, or those of `cargo test`.
fn seeds() -> Box<dyn Iterator<Item = u64>> {
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

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse::<u64>();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number")))
}
