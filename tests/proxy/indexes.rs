//! Mango indexes: those over hidden fields are not there for the caller.

use serde_json::{Value, json};

use crate::support::{Client, World};

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["read", "find", "index"]
hide = ["secret"]

[[rule]]
name = "keeper"
databases = ["@notes"]
callers = { roles = ["number:*"] }
permit = ["index"]
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let notes = json!([
        { "_id": "a", "n": 1, "secret": 10 },
        { "_id": "b", "n": 2, "secret": 20 },
    ]);
    world.database("notes", notes).await;
    let security = json!({ "members": { "roles": [world.role("notes")] }, "admins": { "roles": ["_admin", "writer"] } });
    world
        .backend()
        .put("/@notes/_security", security)
        .await
        .yes();
    make(&world.backend(), "open", json!({ "fields": ["n"] })).await;
    make(
        &world.backend(),
        "closed",
        json!({ "fields": ["secret", "n"] }),
    )
    .await;
    let partial = json!({ "fields": ["n"], "partial_filter_selector": { "secret": { "$gt": 5 } } });
    make(&world.backend(), "partial", partial).await;
    world
}

async fn make(client: &Client, name: &str, index: Value) {
    let body = json!({ "index": index, "ddoc": name, "name": name, "type": "json" });
    client.post("/@notes/_index", body).await.yes();
}

async fn names(client: &Client) -> Vec<String> {
    let listed = client.get("/@notes/_index").await.yes();
    let names = listed["indexes"].as_array().unwrap().iter();
    let names: Vec<String> = names
        .map(|index| index["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed["total_rows"], names.len());
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_over_hidden_fields_is_not_listed() {
    let world = filled().await;
    let walt = world.as_("walt");
    assert_eq!(names(&world.backend()).await.len(), 4);
    assert_eq!(names(&walt).await, ["_all_docs", "open"]);
    let listed = walt.get("/@notes/_index").await;
    let whole = world.backend().get("/@notes/_index").await.yes();
    for index in listed.yes()["indexes"].as_array().unwrap() {
        assert!(
            whole["indexes"].as_array().unwrap().contains(index),
            "{index}"
        );
    }
    assert!(!listed.text().contains("secret") && !listed.text().contains("closed"));
    let second = walt.get("/@notes/_index?limit=1&skip=1").await.yes();
    assert_eq!(
        (&second["total_rows"], &second["indexes"][0]["name"]),
        (&json!(2), &json!("open"))
    );
    assert_eq!(walt.get("/@notes/_index?frob=1").await.status, 400);
    // Who reads nothing sees what every database has.
    assert_eq!(names(&world.as_("sue")).await, ["_all_docs"]);
    world
        .as_("rita")
        .get("/@notes/_index")
        .await
        .no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_may_be_made_over_visible_fields_only() {
    let world = filled().await;
    let walt = world.as_("walt");
    make(
        &walt,
        "mine",
        json!({ "fields": [{ "n": "asc" }], "partial_filter_selector": { "n": { "$gt": 1 } } }),
    )
    .await;
    assert!(names(&walt).await.contains(&"mine".to_owned()));
    for index in [
        json!({ "fields": ["secret"] }),
        json!({ "fields": ["n", { "secret": "asc" }] }),
        json!({ "fields": ["secret.deep"] }),
        json!({ "fields": ["n"], "partial_filter_selector": { "secret": 10 } }),
    ] {
        let body = json!({ "index": index, "name": "guess" });
        walt.post("/@notes/_index", body).await.no(403, "forbidden");
    }
    let text = json!({ "index": {}, "type": "text" });
    walt.post("/@notes/_index", text).await.no(403, "forbidden");
    let unknown = json!({ "index": { "fields": ["n"], "frob": 1 } });
    assert_eq!(walt.post("/@notes/_index", unknown).await.status, 400);
    let blind = json!({ "index": { "fields": ["n"] } });
    world
        .as_("sue")
        .post("/@notes/_index", blind)
        .await
        .no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_replaces_an_index_that_he_does_not_see() {
    let world = filled().await;
    let walt = world.as_("walt");
    let body = json!({ "index": { "fields": ["n"] }, "ddoc": "closed", "name": "closed" });
    walt.post("/@notes/_index", body).await.no(403, "forbidden");
    let hidden = walt
        .delete("/@notes/_index/_design/closed/json/closed")
        .await;
    let absent = walt.delete("/@notes/_index/_design/none/json/none").await;
    assert_eq!(hidden.seen(), absent.seen());
    hidden.no(404, "not_found");
    let several = json!({ "docids": ["_design/partial", "none", "_design/open"] });
    let several = walt
        .post("/@notes/_index/_bulk_delete", several)
        .await
        .yes();
    assert_eq!(
        several["success"],
        json!([{ "id": "_design/open", "ok": true }])
    );
    assert_eq!(
        several["fail"],
        json!([
            { "id": "_design/none", "error": "not_found" },
            { "id": "_design/partial", "error": "not_found" },
        ])
    );
    assert_eq!(names(&world.backend()).await.len(), 3);
    make(&walt, "again", json!({ "fields": ["n"] })).await;
    walt.delete("/@notes/_index/_design/again/json/again")
        .await
        .yes();
    assert_eq!(names(&walt).await, ["_all_docs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_explained_as_it_was_sent() {
    let world = filled().await;
    let walt = world.as_("walt");
    let query = json!({ "selector": { "n": { "$gt": 0 } }, "limit": 5, "skip": 1 });
    let seen = walt.post("/@notes/_explain", query.clone()).await;
    let whole = world.backend().post("/@notes/_explain", query).await.yes();
    assert_eq!(seen.yes()["index"]["name"], "open");
    for name in ["selector", "limit", "skip", "index"] {
        assert_eq!(seen.yes()[name], whole[name], "{name}");
    }
    assert!(
        !seen.text().contains("secret") && !seen.text().contains("closed"),
        "{}",
        seen.text()
    );
    assert!(!seen.text().contains("partial\""), "{}", seen.text());
    for query in [
        json!({ "selector": { "secret": 10 } }),
        json!({ "selector": { "n": 1 }, "fields": ["secret"] }),
        json!({ "selector": { "n": 1 }, "sort": ["secret"] }),
        json!({ "selector": { "n": 1 }, "use_index": "closed" }),
    ] {
        walt.post("/@notes/_explain", query)
            .await
            .no(403, "forbidden");
    }
}
