//! Our reading of Mango against the backend's own `_find`: the same documents, for each selector.

use std::collections::BTreeSet;

use couchwarden::json::Value as Json;
use couchwarden::policy::Selector;
use serde_json::{Value, json};

use crate::support::{World, backend};

/// Those that `_find` finds nothing for, because it looks for keys in an empty range, though `mango_selector` itself (and
/// so `_changes`) takes an empty list as true.
const LOOKED_FOR_NOWHERE: [&str; 3] = [r#"{"$or":[]}"#, r#"{"$and":[]}"#, r#"{"$nor":[]}"#];

fn values() -> Vec<Value> {
    vec![
        json!(null),
        json!(false),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(1.0),
        json!(1.5),
        json!(2),
        json!(10),
        json!(-0.5),
        json!(1e20),
        json!(9007199254740993_i64),
        json!(""),
        json!("a"),
        json!("A"),
        json!("b"),
        json!("aa"),
        json!("ab"),
        json!("\u{e4}"),
        json!("z"),
        json!("10"),
        json!("9"),
        json!("a-b"),
        json!("a b"),
        json!("\u{1F600}"),
        json!("_x"),
        json!([]),
        json!([1]),
        json!([1, 2]),
        json!([2, 1]),
        json!(["a"]),
        json!(["a", "b"]),
        json!([[1]]),
        json!([null]),
        json!([{ "b": 1 }, { "b": 2 }]),
        json!([1, "a", null, true]),
        json!({}),
        json!({ "b": 1 }),
        json!({ "b": 2 }),
        json!({ "b": null }),
        json!({ "b": { "c": 1 } }),
        json!({ "b": 1, "c": 2 }),
        json!({ "c": 2, "b": 1 }),
        json!({ "b": [1, 2] }),
        json!({ "x.y": 1 }),
        json!({ "0": 1 }),
    ]
}

fn documents() -> Vec<Value> {
    let mut documents: Vec<Value> = values()
        .into_iter()
        .enumerate()
        .map(|(index, value)| json!({ "_id": format!("v{index:02}"), "a": value, "i": index }))
        .collect();
    documents.push(json!({ "_id": "without" }));
    documents.push(json!({ "_id": "two", "a": 1, "b": 2, "x": { "y": { "z": 1 } } }));
    documents
        .push(json!({ "_id": "three", "a": { "b": [{ "c": 1, "d": 2 }, { "c": 3 }] }, "b": "a" }));
    documents
}

fn selectors() -> Vec<Value> {
    let mut all = Vec::new();
    for operator in ["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"] {
        for value in values() {
            all.push(json!({ "a": { operator: value } }));
        }
    }
    for value in values() {
        all.push(json!({ "a": value }));
        all.push(json!({ "a": { "$in": [value, 1] } }));
        all.push(json!({ "a": { "$nin": [value, "a"] } }));
        all.push(json!({ "a": { "$all": [value] } }));
        all.push(json!({ "a": { "$elemMatch": { "$eq": value } } }));
        all.push(json!({ "a": { "$allMatch": { "$gt": value } } }));
        all.push(json!({ "a": { "$not": { "$gt": value } } }));
        all.push(json!({ "$nor": [{ "a": value }, { "b": 2 }] }));
    }
    for kind in [
        "null", "boolean", "number", "string", "array", "object", "nonsense",
    ] {
        all.push(json!({ "a": { "$type": kind } }));
    }
    all.extend([
        json!({}),
        json!({ "a": { "$exists": true } }),
        json!({ "a": { "$exists": false } }),
        json!({ "a.b": { "$exists": true } }),
        json!({ "a.b": { "$exists": false } }),
        json!({ "a": { "$exists": true, "$ne": 1 } }),
        json!({ "a": { "$gt": 0, "$lt": 2 } }),
        json!({ "a.b": 1 }),
        json!({ "a": { "b": 1 } }),
        json!({ "a": { "b": { "c": 1 } } }),
        json!({ "a.b.c": 1 }),
        json!({ "a.0": 1 }),
        json!({ "a.1": 2 }),
        json!({ "a": { "0": 1 } }),
        json!({ "a.x\\.y": 1 }),
        json!({ "x.y.z": 1 }),
        json!({ "x": { "y": { "z": { "$gt": 0 } } } }),
        json!({ "a": { "$size": 0 } }),
        json!({ "a": { "$size": 2 } }),
        json!({ "a": { "$mod": [2, 1] } }),
        json!({ "a": { "$mod": [2, 0] } }),
        json!({ "a": { "$mod": [3, 1] } }),
        json!({ "a": { "$mod": [-2, 1] } }),
        json!({ "a": { "$beginsWith": "a" } }),
        json!({ "a": { "$beginsWith": "" } }),
        json!({ "a": { "$beginsWith": "\u{e4}" } }),
        json!({ "a": { "$in": [] } }),
        json!({ "a": { "$nin": [] } }),
        json!({ "a": { "$all": [] } }),
        json!({ "a": { "$all": [1, 2] } }),
        json!({ "a": { "$all": [[1, 2]] } }),
        json!({ "a": { "$in": [1, "b", null] } }),
        json!({ "$or": [{ "a": 1 }, { "a": "a" }] }),
        json!({ "$or": [] }),
        json!({ "$and": [] }),
        json!({ "$nor": [] }),
        json!({ "$and": [{ "a": { "$gt": 0 } }, { "a": { "$lt": "b" } }] }),
        json!({ "$not": { "a": 1 } }),
        json!({ "$not": { "a": { "$exists": true } } }),
        json!({ "a": { "$not": { "$exists": true } } }),
        json!({ "a": { "$not": 1 } }),
        json!({ "a": { "$not": { "$not": { "$eq": 1 } } } }),
        json!({ "$not": { "$or": [{ "a": 1 }, { "b": 2 }] } }),
        json!({ "$not": { "$and": [{ "a": 1 }, { "b": 2 }] } }),
        json!({ "$nor": [{ "a": { "$gt": 1 } }, { "a": { "$lt": 1 } }] }),
        json!({ "a": { "$or": [{ "$eq": 1 }, { "$eq": "a" }] } }),
        json!({ "a": { "$and": [{ "$gt": 0 }, { "$lt": 2 }] } }),
        json!({ "a": { "$or": [1, "b"] } }),
        json!({ "a": { "$elemMatch": { "b": 1 } } }),
        json!({ "a": { "$elemMatch": { "b": { "$gt": 1 } } } }),
        json!({ "a": { "$allMatch": { "b": { "$gt": 0 } } } }),
        json!({ "a.b": { "$elemMatch": { "c": 3 } } }),
        json!({ "a.b": { "$allMatch": { "c": { "$gt": 0 } } } }),
        json!({ "a": { "$elemMatch": {} } }),
        json!({ "a": { "$allMatch": {} } }),
        json!({ "a": { "$not": { "$elemMatch": { "b": 1 } } } }),
        json!({ "a": { "$not": { "$allMatch": { "b": 1 } } } }),
        json!({ "a": { "$keyMapMatch": { "$eq": "b" } } }),
        json!({ "a": { "$keyMapMatch": { "$gt": "b" } } }),
        json!({ "a": { "$not": { "$keyMapMatch": { "$eq": "b" } } } }),
        json!({ "_id": "two" }),
        json!({ "_id": { "$gt": "v10" } }),
        json!({ "_id": { "$lt": "v" } }),
        json!({ "_rev": { "$exists": true } }),
        json!({ "a": null }),
        json!({ "b": null }),
        json!({ "b": { "$ne": null } }),
        json!({ "a": { "$gt": null } }),
        json!({ "i": { "$gte": 3, "$lte": 8 }, "a": { "$type": "number" } }),
        json!({ "a": [] }),
        json!({ "a": {} }),
        json!({ "a": { "$eq": {} } }),
        // Those that nobody understands.
        json!({ "a": { "$nonsense": 1 } }),
        json!({ "a": { "$in": 1 } }),
        json!({ "a": { "$mod": [0, 1] } }),
        json!({ "a": { "$mod": [2] } }),
        json!({ "a": { "$exists": 1 } }),
        json!({ "a": { "$size": "1" } }),
        json!({ "$or": 1 }),
        json!({ "$and": { "a": 1 } }),
        json!({ "a": { "$beginsWith": 1 } }),
        json!({ "a": { "$all": 1 } }),
        json!({ "a": { "$elemMatch": 1 } }),
        json!({ "$gt": 1 }),
        json!({ "$eq": {} }),
    ]);
    all
}

/// The documents that CouchDB finds, or `refused`.
async fn found(world: &World, selector: &Value) -> String {
    let query = json!({ "selector": selector, "fields": ["_id"], "limit": 1000 });
    let answer = world.backend().post("/@values/_find", query).await;
    if answer.status == 200 {
        sorted(answer.ids().split(' '))
    } else {
        "refused".to_owned()
    }
}

fn sorted<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(" ")
}

/// What CouchDB 3.5.2 answered. The server in memory is no judge here: PouchDB answers half of them otherwise (`$ne`,
/// `$nin`, `$nor` and `$not` of an absent field; strings by code unit; objects and arrays as values; `$allMatch` and
/// `$elemMatch` of constants; `$keyMapMatch`, `$beginsWith`; numbers beyond 2^53).
fn recorded() -> Vec<(Value, String)> {
    let lines = include_str!("../golden/selectors.txt").lines();
    lines
        .map(|line| line.split_once(" → ").unwrap())
        .map(|(selector, ids)| (serde_json::from_str(selector).unwrap(), ids.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdb_still_answers_as_recorded() {
    if !backend().is_couchdb() {
        return;
    }
    let world = World::start("").await;
    world.database("values", documents().into()).await;
    let mut lines = Vec::new();
    for selector in selectors() {
        lines.push(format!("{selector} → {}", found(&world, &selector).await));
    }
    let text = lines.join("\n") + "\n";
    if text != include_str!("../golden/selectors.txt") {
        std::fs::write(
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/golden/selectors.txt.new"
            ),
            text,
        )
        .unwrap();
        panic!("tests/golden/selectors.txt.new is what this CouchDB answers");
    }
}

#[test]
fn a_selector_means_here_what_it_means_to_couchdb() {
    let recorded = recorded();
    let told: Vec<&Value> = recorded.iter().map(|(selector, _)| selector).collect();
    assert_eq!(
        told,
        selectors().iter().collect::<Vec<_>>(),
        "record them anew (COUCHDB_URL)"
    );
    let stored: Vec<(String, Json)> = documents()
        .into_iter()
        .map(|mut document| {
            document["_rev"] = "1-a".into();
            (
                document["_id"].as_str().unwrap().to_owned(),
                Json::parse(document.to_string().as_bytes()).unwrap(),
            )
        })
        .collect();
    let mut wrong = Vec::new();
    for (selector, theirs) in &recorded {
        let text = selector.to_string();
        if LOOKED_FOR_NOWHERE.contains(&text.as_str()) {
            continue;
        }
        let ours = match Selector::parse(&Json::parse(text.as_bytes()).unwrap()) {
            Ok(ours) => sorted(
                stored
                    .iter()
                    .filter(|(_, document)| ours.matches(document))
                    .map(|(id, _)| id.as_str()),
            ),
            Err(_) => "refused".to_owned(),
        };
        if ours != *theirs {
            wrong.push(format!(
                "{text}\n    here:    {ours}\n    CouchDB: {theirs}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        recorded.len(),
        wrong.join("\n")
    );
}

/// What the server in memory and CouchDB agree on is enough for the other tests.
#[tokio::test(flavor = "multi_thread")]
async fn the_backend_understands_simple_selectors() {
    let world = World::start("").await;
    world.database("values", documents().into()).await;
    for selector in [
        json!({ "a": 1 }),
        json!({ "a": { "$gt": 1, "$lt": 11 } }),
        json!({ "a": { "$exists": false } }),
        json!({ "a": { "$in": [1, 2] } }),
        json!({ "$or": [{ "a": 1 }, { "a": 2 }] }),
        json!({ "a": { "$type": "array" } }),
        json!({ "x.y.z": 1 }),
        json!({ "a": { "$size": 2 } }),
    ] {
        let ours = Selector::parse(&Json::parse(selector.to_string().as_bytes()).unwrap()).unwrap();
        let documents = documents();
        let stored = documents.iter().filter(|document| {
            ours.matches(&Json::parse(document.to_string().as_bytes()).unwrap())
        });
        let ours = sorted(stored.map(|document| document["_id"].as_str().unwrap()));
        assert_eq!(found(&world, &selector).await, ours, "{selector}");
    }
}
