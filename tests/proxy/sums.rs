//! Sums inside a pin while others write elsewhere in the database: each answer is whole and right, and none tells that
//! somebody writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Answer, Client, World};
use crate::worlds::told;

const RULES: &str = r#"
[[rule]]
name = "own-calls"
databases = ["@calls"]
callers = { roles = ["number:{number}"] }
permit = ["view:calls/*"]
keys = "{number}"
reduce = true
"#;

/// Views with each kind of function.
const VIEWS: [(&str, &str); 5] = [
    (
        "script",
        "function (keys, values, rereduce) { return rereduce ? values.join('+') : values.length + 'x'; }",
    ),
    ("distinct", "_approx_count_distinct"),
    ("sums", "_sum"),
    ("count", "_count"),
    ("stats", "_stats"),
];

/// The name of the database stands in no answer.
const PREFIX: &str = "calls";

/// One number (`sue`), and two (`sam`), each with so many days of calls.
const DAYS: usize = 40;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let mut documents = Vec::new();
    for number in ["+4930100", "+4930200", "+4930300", "+4930900"] {
        for n in 0..DAYS * 5 {
            let (id, day) = (format!("{number}:{n:03}"), format!("day-{:02}", n % DAYS));
            documents.push(json!({ "_id": id, "from": number, "day": day, "seconds": n }));
        }
    }
    let map = "function (doc) { if (doc.from) emit([doc.from, doc.day], doc.seconds); }";
    let flat = "function (doc) { if (doc.from) emit(doc.from, doc.seconds); }";
    let views: serde_json::Map<String, Value> = VIEWS
        .iter()
        .flat_map(|(name, reduce)| {
            let view = |map: &str| json!({ "map": map, "reduce": reduce });
            [
                ((*name).to_owned(), view(map)),
                (format!("{name}-flat"), view(flat)),
            ]
        })
        .collect();
    documents.push(json!({ "_id": "_design/calls", "views": views }));
    world.database("calls", documents.into()).await;
    world
}

/// What is asked, of each view.
fn queries() -> Vec<String> {
    let day = |at: usize| format!("[%22%2B4930100%22,%22day-{at:02}%22]");
    let ranges = [
        String::new(),
        format!("&startkey={}&endkey={}", day(3), day(9)),
        format!("&key={}", day(7)),
        format!("&keys=[{},{},{}]", day(9), day(2), day(5)),
    ];
    let mut queries: Vec<String> = VIEWS
        .iter()
        .flat_map(|(name, _)| {
            let arrays = ranges.iter();
            arrays.map(move |range| format!("{name}?group=true{range}"))
        })
        .collect();
    queries.extend(
        VIEWS
            .iter()
            .map(|(name, _)| format!("{name}-flat?group=true")),
    );
    for name in ["sums", "count", "stats"] {
        queries.push(format!("{name}?group_level=1"));
        queries.push(format!("{name}?"));
    }
    queries
}

async fn view(who: &Client, query: &str) -> Answer {
    who.get(&format!("/@calls/_design/calls/_view/{query}"))
        .await
}

/// What asks several times at once.
async fn several(who: &Client, name: &str) -> Answer {
    let queries = json!({ "queries": [
        { "group": true },
        { "group": true, "startkey": ["+4930100", "day-03"], "endkey": ["+4930100", "day-09"] },
        { "group": true, "key": ["+4930100", "day-11"] },
    ] });
    let path = format!("/@calls/_design/calls/_view/{name}/queries");
    who.post(&path, queries).await
}

/// Writes what is in no view, what is in the views beside the pin, and reads those, so that their indexes move on.
async fn write(world: &World, every: Duration, stop: &AtomicBool) {
    let couchdb = world.backend();
    let mut n: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let document = match n % 2 {
            0 => json!({ "_id": format!("other-{n}") }),
            _ => {
                json!({ "_id": format!("call-{n}"), "from": "+4930900", "day": "x", "seconds": n })
            }
        };
        couchdb.post("/@calls", document).await.yes();
        for (name, _) in VIEWS {
            view(&couchdb, &format!("{name}?limit=0&reduce=false"))
                .await
                .yes();
        }
        n += 1;
        tokio::time::sleep(every.saturating_sub(begun.elapsed())).await;
    }
}

/// How answers came out.
type Counts = BTreeMap<(u16, bool, bool), usize>;

async fn rounds(
    who: Client,
    expected: Arc<BTreeMap<String, String>>,
    until: Instant,
    first: usize,
) -> Counts {
    let mut counts = Counts::new();
    let mut queries = expected.iter().cycle().skip(first);
    while Instant::now() < until {
        let (query, right) = queries.next().unwrap();
        let answer = match query.strip_prefix("several:") {
            Some(name) => several(&who, name).await,
            None => view(&who, query).await,
        };
        let same = told(&answer, PREFIX) == *right;
        let what = (answer.status, answer.cut, same);
        *counts.entry(what).or_default() += 1;
    }
    counts
}

/// Writes in these intervals, and asks so long: to the byte, head and body, each answer is that of a world in which nobody
/// writes.
async fn sums_beside_writers(every: Duration, long: Duration) {
    let world = Arc::new(filled().await);
    let sue = world.as_("sue");
    let mut expected = BTreeMap::new();
    for query in queries() {
        let answer = view(&sue, &query).await;
        let rows = answer.yes();
        assert!(rows["rows"].as_array().unwrap().len() < DAYS + 1, "{query}");
        assert_ne!(rows["rows"], json!([]), "{query}");
        expected.insert(query, told(&answer, PREFIX));
    }
    for (name, _) in VIEWS {
        let answer = several(&sue, name).await;
        answer.yes();
        expected.insert(format!("several:{name}"), told(&answer, PREFIX));
    }
    let expected = Arc::new(expected);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        tokio::spawn(async move { write(&world, every, &stop).await })
    };
    let until = Instant::now() + long;
    let mut readers = JoinSet::new();
    for first in 0..3 {
        readers.spawn(rounds(
            sue.clone(),
            Arc::clone(&expected),
            until,
            first * 11,
        ));
    }
    let mut counts = Counts::new();
    for found in readers.join_all().await {
        for (what, count) in found {
            *counts.entry(what).or_default() += count;
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let right = counts.remove(&(200, false, true)).unwrap_or_default();
    assert!(right > 0);
    assert_eq!(counts, Counts::new(), "status, cut, right");
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_whole_and_right_beside_a_write_in_two_seconds() {
    sums_beside_writers(Duration::from_secs(2), Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_whole_and_right_beside_ten_writes_a_second() {
    sums_beside_writers(Duration::from_millis(100), Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_whole_and_right_beside_writes_without_a_pause() {
    sums_beside_writers(Duration::from_millis(10), Duration::from_secs(6)).await;
}
