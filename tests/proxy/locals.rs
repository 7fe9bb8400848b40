//! `_local` documents that couchwarden did not store: administrators', the replicator's, those of clients that
//! went to CouchDB directly before. Nobody else reads them, by whatever road.

use serde_json::{Value, json};

use crate::support::{Client, World};

const RULES: &str = r#"
[[rule]]
name = "readers"
databases = ["@notes"]
callers = { names = ["$rita", "$walt"] }
permit = ["read", "design", "changes", "find", "view:app/*"]

[[rule]]
name = "hidden"
databases = ["@notes"]
callers = { names = ["$walt"] }
hide = ["pin"]
documents = { kind = "secret" }
"#;

const VIEWS: &str = "/@notes/_design/app/_view";

async fn filled() -> World {
    let world = World::start(RULES).await;
    let map = "function (doc) { if (doc.link) emit(doc.link, { _id: doc.link }); }";
    let documents = json!([
        { "_id": "_design/app", "views": { "linked": { "map": map }, "counted": { "map": map, "reduce": "_count" } } },
        { "_id": "note", "link": "_local/raw" },
        { "_id": "other", "link": "note" },
    ]);
    world.database("notes", documents).await;
    let raw = json!({ "canary": "s-raw" });
    world.backend().put("/@notes/_local/raw", raw).await.yes();
    world
}

/// Asks, and holds that nothing of the `_local` document came.
async fn rows(client: &Client, path: &str, body: Value) -> Vec<Value> {
    let answer = match body.is_null() {
        true => client.get(path).await,
        false => client.post(path, body.clone()).await,
    };
    assert!(!answer.text().contains("s-raw"), "{path} {body}");
    let told = answer.yes();
    let lists = match told.get("results") {
        Some(results) => results.as_array().unwrap().clone(),
        None => vec![told],
    };
    let rows = lists
        .iter()
        .flat_map(|list| list["rows"].as_array().unwrap());
    rows.cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_find_no_local_document() {
    let world = filled().await;
    for who in ["rita", "walt"] {
        let client = world.as_(who);
        let keys = json!(["_local/raw", "note"]);
        let asked = [
            (
                "?keys=[%22_local/raw%22,%22note%22]".to_owned(),
                Value::Null,
            ),
            (
                "?keys=[%22_local%5C/raw%22,%22note%22]&include_docs=true".to_owned(),
                Value::Null,
            ),
            (String::new(), json!({ "keys": keys })),
            ("?include_docs=true".to_owned(), json!({ "keys": keys })),
            (
                "/queries".to_owned(),
                json!({ "queries": [{ "keys": keys, "include_docs": true }] }),
            ),
        ];
        for (rest, body) in asked {
            let rows = rows(&client, &format!("/@notes/_all_docs{rest}"), body).await;
            let absent = json!({ "key": "_local/raw", "error": "not_found" });
            assert_eq!((rows.len(), &rows[0]), (2, &absent), "{who} {rest}");
            assert_eq!(rows[1]["id"], "note", "{who} {rest}");
        }
        let path = "/@notes/_design_docs?include_docs=true";
        rows(&client, path, json!({ "keys": ["_local/raw"] })).await;
        let wanted = json!({ "docs": [{ "id": "_local/raw" }, { "id": "note" }] });
        let got = client.post("/@notes/_bulk_get", wanted).await;
        assert!(!got.text().contains("s-raw"), "{who} {}", got.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_links_to_no_local_document() {
    let world = filled().await;
    for who in ["rita", "walt"] {
        let client = world.as_(who);
        let one = json!({ "include_docs": true, "reduce": false });
        let asked = [
            ("linked?include_docs=true", Value::Null),
            (
                "linked?include_docs=true",
                json!({ "keys": ["_local/raw", "note"] }),
            ),
            ("linked", one.clone()),
            ("linked/queries", json!({ "queries": [one] })),
        ];
        for (rest, body) in asked {
            let rows = rows(&client, &format!("{VIEWS}/{rest}"), body).await;
            assert_eq!(rows.len(), 2, "{who} {rest} {rows:?}");
            assert_eq!(rows[0]["doc"], Value::Null, "{who} {rest}");
            assert_eq!(rows[1]["doc"]["_id"], "note", "{who} {rest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_no_local_document_is_served_as_before() {
    let world = filled().await;
    let rita = world.as_("rita");
    let listed = rita
        .post("/@notes/_all_docs", json!({ "keys": ["note"] }))
        .await
        .yes();
    assert_eq!(listed["total_rows"], 3, "{listed}");
    let summed = rita
        .post(&format!("{VIEWS}/counted"), json!({ "reduce": true }))
        .await
        .yes();
    assert_eq!(summed["rows"][0]["value"], 2, "{summed}");
}
