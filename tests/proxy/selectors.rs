//! Our reading of Mango against the backend's own `_find`: the same documents, for each selector.

use std::collections::BTreeSet;

use couchwarden::json::Value as Json;
use couchwarden::policy::Selector;
use serde_json::{Value, json};

use crate::support::{World, backend};

/// Where the server in memory (PouchDB) is not CouchDB. Each is a word of the selector, and why.
const NPM_DIFFERS: &[(&str, &str)] = &[];

fn values() -> Vec<Value> {
    vec![
        json!(null), json!(false), json!(true), json!(0), json!(-1), json!(1), json!(1.0), json!(1.5), json!(2), json!(10), json!(-0.5), json!(1e20), json!(9007199254740993_i64),
        json!(""), json!("a"), json!("A"), json!("b"), json!("aa"), json!("ab"), json!("\u{e4}"), json!("z"), json!("10"), json!("9"), json!("a-b"), json!("a b"), json!("\u{1F600}"), json!("_x"),
        json!([]), json!([1]), json!([1, 2]), json!([2, 1]), json!(["a"]), json!(["a", "b"]), json!([[1]]), json!([null]), json!([{ "b": 1 }, { "b": 2 }]), json!([1, "a", null, true]),
        json!({}), json!({ "b": 1 }), json!({ "b": 2 }), json!({ "b": null }), json!({ "b": { "c": 1 } }), json!({ "b": 1, "c": 2 }), json!({ "c": 2, "b": 1 }), json!({ "b": [1, 2] }), json!({ "x.y": 1 }), json!({ "0": 1 }),
    ]
}

fn documents() -> Vec<Value> {
    let mut documents: Vec<Value> = values().into_iter().enumerate().map(|(index, value)| json!({ "_id": format!("v{index:02}"), "a": value, "i": index })).collect();
    documents.push(json!({ "_id": "without" }));
    documents.push(json!({ "_id": "two", "a": 1, "b": 2, "x": { "y": { "z": 1 } } }));
    documents.push(json!({ "_id": "three", "a": { "b": [{ "c": 1, "d": 2 }, { "c": 3 }] }, "b": "a" }));
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
    for kind in ["null", "boolean", "number", "string", "array", "object", "nonsense"] {
        all.push(json!({ "a": { "$type": kind } }));
    }
    all.extend([
        json!({}), json!({ "a": { "$exists": true } }), json!({ "a": { "$exists": false } }), json!({ "a.b": { "$exists": true } }), json!({ "a.b": { "$exists": false } }),
        json!({ "a": { "$exists": true, "$ne": 1 } }), json!({ "a": { "$gt": 0, "$lt": 2 } }), json!({ "a.b": 1 }), json!({ "a": { "b": 1 } }), json!({ "a": { "b": { "c": 1 } } }), json!({ "a.b.c": 1 }),
        json!({ "a.0": 1 }), json!({ "a.1": 2 }), json!({ "a": { "0": 1 } }), json!({ "a.x\\.y": 1 }), json!({ "x.y.z": 1 }), json!({ "x": { "y": { "z": { "$gt": 0 } } } }),
        json!({ "a": { "$size": 0 } }), json!({ "a": { "$size": 2 } }), json!({ "a": { "$mod": [2, 1] } }), json!({ "a": { "$mod": [2, 0] } }), json!({ "a": { "$mod": [3, 1] } }), json!({ "a": { "$mod": [-2, 1] } }),
        json!({ "a": { "$beginsWith": "a" } }), json!({ "a": { "$beginsWith": "" } }), json!({ "a": { "$beginsWith": "\u{e4}" } }),
        json!({ "a": { "$in": [] } }), json!({ "a": { "$nin": [] } }), json!({ "a": { "$all": [] } }), json!({ "a": { "$all": [1, 2] } }), json!({ "a": { "$all": [[1, 2]] } }), json!({ "a": { "$in": [1, "b", null] } }),
        json!({ "$or": [{ "a": 1 }, { "a": "a" }] }), json!({ "$or": [] }), json!({ "$and": [] }), json!({ "$nor": [] }), json!({ "$and": [{ "a": { "$gt": 0 } }, { "a": { "$lt": "b" } }] }),
        json!({ "$not": { "a": 1 } }), json!({ "$not": { "a": { "$exists": true } } }), json!({ "a": { "$not": { "$exists": true } } }), json!({ "a": { "$not": 1 } }), json!({ "a": { "$not": { "$not": { "$eq": 1 } } } }),
        json!({ "$not": { "$or": [{ "a": 1 }, { "b": 2 }] } }), json!({ "$not": { "$and": [{ "a": 1 }, { "b": 2 }] } }), json!({ "$nor": [{ "a": { "$gt": 1 } }, { "a": { "$lt": 1 } }] }),
        json!({ "a": { "$or": [{ "$eq": 1 }, { "$eq": "a" }] } }), json!({ "a": { "$and": [{ "$gt": 0 }, { "$lt": 2 }] } }), json!({ "a": { "$or": [1, "b"] } }),
        json!({ "a": { "$elemMatch": { "b": 1 } } }), json!({ "a": { "$elemMatch": { "b": { "$gt": 1 } } } }), json!({ "a": { "$allMatch": { "b": { "$gt": 0 } } } }), json!({ "a.b": { "$elemMatch": { "c": 3 } } }), json!({ "a.b": { "$allMatch": { "c": { "$gt": 0 } } } }),
        json!({ "a": { "$elemMatch": {} } }), json!({ "a": { "$allMatch": {} } }), json!({ "a": { "$not": { "$elemMatch": { "b": 1 } } } }), json!({ "a": { "$not": { "$allMatch": { "b": 1 } } } }),
        json!({ "a": { "$keyMapMatch": { "$eq": "b" } } }), json!({ "a": { "$keyMapMatch": { "$gt": "b" } } }), json!({ "a": { "$not": { "$keyMapMatch": { "$eq": "b" } } } }),
        json!({ "_id": "two" }), json!({ "_id": { "$gt": "v10" } }), json!({ "_id": { "$lt": "v" } }), json!({ "_rev": { "$exists": true } }), json!({ "a": null }), json!({ "b": null }), json!({ "b": { "$ne": null } }), json!({ "a": { "$gt": null } }),
        json!({ "i": { "$gte": 3, "$lte": 8 }, "a": { "$type": "number" } }), json!({ "a": [] }), json!({ "a": {} }), json!({ "a": { "$eq": {} } }),
        // Those that nobody understands.
        json!({ "a": { "$nonsense": 1 } }), json!({ "a": { "$in": 1 } }), json!({ "a": { "$mod": [0, 1] } }), json!({ "a": { "$mod": [2] } }), json!({ "a": { "$exists": 1 } }), json!({ "a": { "$size": "1" } }), json!({ "$or": 1 }), json!({ "$and": { "a": 1 } }),
        json!({ "a": { "$beginsWith": 1 } }), json!({ "a": { "$all": 1 } }), json!({ "a": { "$elemMatch": 1 } }), json!({ "$gt": 1 }), json!({ "$eq": {} }),
    ]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_means_here_what_it_means_to_couchdb() {
    let world = World::start("").await;
    world.database("values", documents().into()).await;
    let stored = world.backend().get("/@values/_all_docs?include_docs=true").await.yes();
    let stored: Vec<(String, Json)> = stored["rows"].as_array().unwrap().iter().map(|row| {
        (row["id"].as_str().unwrap().to_owned(), Json::parse(row["doc"].to_string().as_bytes()).unwrap())
    }).collect();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for selector in selectors() {
        let text = selector.to_string();
        if !backend().is_couchdb() && NPM_DIFFERS.iter().any(|(word, _)| text.contains(word)) {
            continue;
        }
        compared += 1;
        let ours = Selector::client(&Json::parse(text.as_bytes()).unwrap());
        let theirs = world.backend().post("/@values/_find", json!({ "selector": selector, "fields": ["_id"], "limit": 1000 })).await;
        match (ours, theirs.status) {
            (Ok(ours), 200) => {
                let ours: BTreeSet<String> = stored.iter().filter(|(_, document)| ours.matches(document)).map(|(id, _)| id.clone()).collect();
                let theirs: BTreeSet<String> = theirs.ids().split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect();
                if ours != theirs {
                    wrong.push(format!("{text}\n    ours only: {:?}\n    theirs only: {:?}", &ours - &theirs, &theirs - &ours));
                }
            }
            // To refuse what CouchDB would understand costs nothing but comfort, but it should be known.
            (Err(error), 200) => wrong.push(format!("{text}\n    refused here: {error}")),
            (Ok(_), status) => wrong.push(format!("{text}\n    refused there: {status}")),
            (Err(_), _) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}
