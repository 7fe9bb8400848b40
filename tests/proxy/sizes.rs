//! Requests and documents that are larger or wider than others: they cost what they are long, and hide nothing from
//! those beside them.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::support::World;

const RULES: &str = r#"
[[rule]]
name = "own"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate", "find"]
change = ["cf*", "owner", "text"]
documents = { owner = "walt" }
"#;

/// Far more than it takes, far less than work that grows with the square of a length.
const SOON: Duration = Duration::from_secs(45);

/// An object with this many members.
fn wide(members: usize, value: impl Fn(usize) -> Value) -> Map<String, Value> {
    let names = (0..members).map(|n| (format!("cf{n}"), value(n)));
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_document_is_changed_soon() {
    let world = World::start(RULES).await;
    let mut stored = wide(80_000, |n| json!(n));
    stored.insert("_id".into(), "a".into());
    stored.insert("owner".into(), "walt".into());
    world.database("notes", json!([stored])).await;
    let walt = world.as_("walt");
    let read = walt.get("/@notes/a").await.yes();
    let mut new = wide(80_000, |n| json!(n + 1));
    new.insert("_rev".into(), read["_rev"].clone());
    new.insert("owner".into(), "walt".into());
    let written = timeout(SOON, walt.put("/@notes/a", Value::Object(new))).await;
    written.expect("in time").yes();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_documents_are_compared_soon_or_not_at_all() {
    let world = World::start(RULES).await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let asked = wide(10_000, |_| json!(["1-0123456789abcdef0123456789abcdef"]));
    let told = timeout(SOON, walt.post("/@notes/_revs_diff", Value::Object(asked))).await;
    let told = told.expect("in time").yes();
    assert_eq!(told.as_object().unwrap().len(), 10_000);
    let asked = wide(200_000, |_| json!(["1-0123456789abcdef0123456789abcdef"]));
    let told = timeout(SOON, walt.post("/@notes/_revs_diff", Value::Object(asked))).await;
    told.expect("in time").no(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_read_in_parts_where_together_they_are_too_long() {
    let world = World::with(RULES, "[limits]\nbody = \"1MiB\"\n").await;
    let text = "x".repeat(30_000);
    let documents =
        (0..70).map(|n| json!({ "_id": format!("d{n}"), "owner": "walt", "text": text }));
    world.database("notes", documents.collect()).await;
    let walt = world.as_("walt");
    let ids = (0..70).map(|n| format!("d{n}"));
    let rev = "2-0123456789abcdef0123456789abcdef";
    let asked: Map<String, Value> = ids.clone().map(|id| (id, json!([rev]))).collect();
    let told = walt
        .post("/@notes/_revs_diff", Value::Object(asked))
        .await
        .yes();
    assert_eq!(told.as_object().unwrap().len(), 70);
    let rows = ids.map(|id| json!({ "_id": id, "_rev": rev, "owner": "walt" }));
    let batch = json!({ "new_edits": false, "docs": rows.collect::<Vec<_>>() });
    let written = walt.post("/@notes/_bulk_docs", batch).await.yes();
    assert_eq!(written, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_takes_too_much_memory_is_refused() {
    let world = World::with(RULES, "[limits]\nbodies = \"8MiB\"\n").await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let numbers = vec![0; 500_000];
    let path = "/@notes/_bulk_docs";
    let refused = walt.post(path, json!({ "docs": numbers })).await;
    refused.no(413, "too_large");
    // As long, but it takes no more than it is long.
    let text = "0,".repeat(50_000) + &"x".repeat(900_000);
    let written = walt
        .post(path, json!({ "docs": [{ "owner": "walt", "text": text }] }))
        .await;
    written.yes();
}
