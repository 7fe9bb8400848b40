//! `/node`: configuration that inherits, as callers read it.

use serde_json::{Value, json};

use crate::support::World;

const NODES: &str = "[nodes]\ndatabase = \"@catconf\"\nattributes = [\"customer.number\"]\n";

const RULES: &str = r#"
[[rule]]
name = "own-notes"
databases = ["@notes"]
callers = { everyone = true }
permit = ["read"]
documents = { number = "{node:customer.number}" }
"#;

fn node(id: &str, parents: &[&str], own: Value) -> Value {
    let mut node = own;
    node["_id"] = id.into();
    node["metadata"] = json!({ "nodeId": id, "parents": parents, "nodeAdmins": [], "nodeCreator": "ops", "nodeCtime": 1 });
    node
}

async fn filled() -> World {
    let world = World::with(RULES, NODES).await;
    let hashed = bcrypt::hash("secret word", 4).unwrap();
    let mut user = node(
        "phone",
        &["left", "right"],
        json!({ "name": "P", "list": ["own"], "customer": { "number": "seven" } }),
    );
    user["metadata"]["authorization"] = json!({ "type": "bcrypt", "crypted": hashed });
    let nodes = json!([
        node("root", &[], json!({ "a": 1, "b": { "x": 1, "y": 2 }, "list": ["r0", "r1", "r2"], "nothing": 5 })),
        node("left", &["root"], json!({ "b": { "x": "left" }, "nothing": null })),
        node("right", &["root"], json!({ "b": { "y": "right" }, "c": { "d": 1 } })),
        user,
        node("loop1", &["loop2"], json!({})),
        node("loop2", &["loop1"], json!({})),
        node("orphan", &["gone"], json!({})),
        { "_id": "plain", "no": "metadata" },
    ]);
    world.database("catconf", nodes).await;
    world
        .database(
            "notes",
            json!([{ "_id": "a", "number": "seven" }, { "_id": "b", "number": "eight" }]),
        )
        .await;
    world
}

fn without_metadata(answer: &Value) -> Value {
    let mut answer = answer.clone();
    answer.as_object_mut().unwrap().remove("metadata");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_is_its_parents_and_itself() {
    let world = filled().await;
    let phone = world.anonymous().with_login("phone", "secret word");
    let full = phone.get("/node/phone").await;
    // The full right parent has what it inherits, too: it overwrites the left one's.
    let expected = json!({
        "a": 1, "b": { "x": 1, "y": "right" }, "list": ["own", "r1", "r2"], "nothing": 5, "c": { "d": 1 }, "name": "P", "customer": { "number": "seven" },
    });
    assert_eq!(without_metadata(&full.yes()), expected);
    assert!(!full.text().contains("crypted"), "{}", full.text());
    assert_eq!(
        without_metadata(&world.anonymous().get("/node/left").await.yes())["nothing"],
        Value::Null
    );
    let single = phone.get("/node/phone?single-level").await.yes();
    assert_eq!(
        without_metadata(&single),
        json!({ "name": "P", "list": ["own"], "customer": { "number": "seven" } })
    );
    let raw = world.as_("ops").get("/node/phone?raw").await.yes();
    assert!(raw["_rev"].is_string() && raw["_id"] == "phone", "{raw}");
    assert!(
        raw["metadata"]["authorization"]["crypted"].is_string(),
        "{raw}"
    );
    let tag = full.header("etag").expect("no ETag").to_owned();
    assert_eq!(
        phone
            .ask("GET", "/node/phone", &[("if-none-match", &tag)], "")
            .await
            .status,
        304
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_node_is_its_users_own() {
    let world = filled().await;
    let (hidden, absent) = (
        world.as_("rita").get("/node/phone").await,
        world.as_("rita").get("/node/none").await,
    );
    assert_eq!(hidden.seen(), absent.seen());
    assert_eq!(hidden.status, 404);
    let (hidden, absent) = (
        world.anonymous().get("/node/phone").await,
        world.anonymous().get("/node/none").await,
    );
    assert_eq!(
        (hidden.status, absent.status),
        (absent.status, hidden.status)
    );
    world
        .anonymous()
        .with_login("phone", "wrong")
        .get("/node/phone")
        .await
        .no(401, "unauthorized");
    // Nobody reads them past `/node`.
    assert_ne!(world.as_("rita").get("/@catconf/phone").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_nodes_are_a_clear_error() {
    let world = filled().await;
    for (id, word) in [("loop1", "loop"), ("orphan", "gone")] {
        let answer = world.as_("ops").get(&format!("/node/{id}")).await;
        assert!(answer.status >= 400, "{id}: {:?}", answer.body);
        let told = answer.json();
        assert!(
            told["error"].is_string() && told["reason"].is_string(),
            "{id}: {told}"
        );
        assert!(
            told["reason"].as_str().unwrap().contains(word),
            "{id}: {told}"
        );
    }
    assert_eq!(world.as_("ops").get("/node/plain").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_by_kind() {
    let world = filled().await;
    let ops = world.as_("ops");
    let list = |answer: Value| {
        answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(list(ops.get("/node?users").await.yes()), "phone");
    assert_eq!(
        list(ops.get("/node?in-domain=root").await.yes()),
        "left right"
    );
    let domains = list(ops.get("/node?domains").await.yes());
    assert!(
        domains.contains("root") && !domains.contains("phone"),
        "{domains}"
    );
    assert_eq!(world.anonymous().get("/node").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_ask_for_the_callers_own_node() {
    let world = filled().await;
    let phone = world.anonymous().with_login("phone", "secret word");
    let seen = phone.get("/@notes/_all_docs").await;
    assert!(seen.status == 200 && seen.ids() == "a", "{:?}", seen.body);
    assert_eq!(phone.get("/@notes/b").await.status, 404);
}
