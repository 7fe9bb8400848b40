//! Pages of found documents put together are the whole, in order, once, whatever becomes of hidden documents meanwhile.

use serde_json::{Value, json};

use crate::support::{Client, World, backend};

/// Readers of open documents, by rules of which CouchDB can narrow a query by none.
fn rules() -> [String; 3] {
    let readers = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "find"]
"#;
    [
        r#"
[[rule]]
name      = "closed"
databases = ["@notes"]
callers   = { everyone = true }
forbid    = ["read", "find"]
documents = { kind = "shut" }
"#,
        r#"documents = { tags = { "$elemMatch" = { "$eq" = "open" } } }"#,
        r#"documents = { _id = { "$pattern" = ["open-*"] } }"#,
    ]
    .map(|rest| format!("{readers}{rest}"))
}

/// A document at a place of the index.
fn note(at: usize, key: usize) -> Value {
    let open = at % 3 != 1;
    let kind = if open { "open" } else { "shut" };
    json!({ "_id": format!("{kind}-{at:03}"), "kind": kind, "tags": [kind], "key": key })
}

/// So many documents in an index by their places, under these rules.
async fn filled(rules: &str, count: usize) -> World {
    let world = World::plain(rules).await;
    let notes: Vec<Value> = (0..count).map(|at| note(at, at + 1)).collect();
    world.database("notes", json!(notes)).await;
    let index = json!({ "index": { "fields": ["key"] }, "name": "keys", "type": "json" });
    world.backend().post("/@notes/_index", index).await.yes();
    world
}

/// The ids of those of them that are open, in order.
fn open(count: usize) -> Value {
    let notes = (0..count).map(|at| note(at, at));
    let open = notes.filter(|note| note["kind"] == "open");
    open.map(|note| note["_id"].clone()).collect()
}

/// Takes hidden documents around the last one that was shown to the front of the index and to its end, or away.
async fn stir(backend: &Client, last: usize, count: usize) {
    for at in last.saturating_sub(2)..(last + 3).min(count) {
        let hidden = note(at, at);
        if hidden["kind"] == "open" {
            continue;
        }
        let path = format!("/@notes/{}", hidden["_id"].as_str().unwrap());
        let stored = backend.get(&path).await;
        if stored.status == 404 {
            continue;
        }
        let rev = stored.yes()["_rev"].as_str().unwrap().to_owned();
        let key = match at % 4 {
            0 => {
                backend.delete(&format!("{path}?rev={rev}")).await.yes();
                continue;
            }
            1 | 2 => 0,
            _ => 10_000,
        };
        let mut moved = note(at, key);
        moved["_rev"] = json!(rev);
        backend.put(&path, moved).await.yes();
    }
}

/// CouchDB goes on by passing over one row where the last one of a page stood, whichever stands there by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_row_that_moves_between_two_pages_takes_no_found_document_with_it() {
    // The embedded server's own bookmarks count documents: behind more of them they would begin elsewhere.
    let count = if backend().is_couchdb() { 150 } else { 30 };
    for rules in rules() {
        for limit in [1, 2, 7, 25] {
            let world = filled(&rules, count).await;
            let backend = world.backend();
            let rita = world.as_("rita");
            let mut query = json!({
                "selector": { "key": { "$gt": -1 } }, "sort": ["key"], "limit": limit,
            });
            let mut found = Vec::new();
            loop {
                let page = rita.post("/@notes/_find", query.clone()).await.yes();
                let docs = page["docs"].as_array().unwrap();
                let Some(last) = docs.last() else { break };
                let last = last["_id"].as_str().unwrap().split_once('-').unwrap().1;
                stir(&backend, last.parse().unwrap(), count).await;
                found.extend(docs.iter().map(|doc| doc["_id"].clone()));
                query["bookmark"] = page["bookmark"].clone();
            }
            assert_eq!(json!(found), open(count), "{limit} {rules}");
        }
    }
}

/// One that was shown and is taken elsewhere takes none with it either, as long as not all of the last ones are.
#[tokio::test(flavor = "multi_thread")]
async fn a_shown_document_that_moves_between_two_pages_takes_no_other_with_it() {
    for rules in rules() {
        let world = filled(&rules, 30).await;
        let backend = world.backend();
        let rita = world.as_("rita");
        let mut query = json!({
            "selector": { "key": { "$gt": 0 } }, "sort": ["key"], "limit": 3,
        });
        let mut found = Vec::new();
        loop {
            let page = rita.post("/@notes/_find", query.clone()).await.yes();
            let docs = page["docs"].as_array().unwrap();
            let Some(last) = docs.last() else { break };
            let (id, rev) = (last["_id"].as_str().unwrap(), &last["_rev"]);
            let mut away = last.clone();
            away["key"] = json!(-1);
            away["_rev"] = rev.clone();
            backend.put(&format!("/@notes/{id}"), away).await.yes();
            found.extend(docs.iter().map(|doc| doc["_id"].clone()));
            query["bookmark"] = page["bookmark"].clone();
        }
        assert_eq!(json!(found), open(30), "{rules}");
    }
}
