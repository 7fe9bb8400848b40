//! Nodes that end: who could read one learns of its end by CouchDB's API, whatever way it was deleted, and what is
//! left of it is nobody's node.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Client, World};

const NODES: &str = "[nodes]\ndatabase = \"@catconf\"\n";

const RULES: &str = r#"
[[rule]]
name      = "red"
databases = ["@catconf"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes"]
documents = { "about.team" = "red" }

[[rule]]
name      = "blue"
databases = ["@catconf"]
callers   = { names = ["$tom"] }
permit    = ["read", "changes"]
documents = { "about.team" = "blue" }

[[rule]]
name      = "writers"
databases = ["@catconf"]
callers   = { roles = ["writer"] }
permit    = ["replicate"]
hide      = ["about.pay"]
"#;

const WAYS: [&str; 5] = ["/node", "DELETE", "PUT", "_bulk_docs", "command line"];

fn node(world: &World, id: &str) -> Value {
    let metadata = json!({ "nodeId": id, "parents": [], "nodeAdmins": [world.name("walt")] });
    json!({ "metadata": metadata, "about": { "team": "red", "pay": 1 }, "plan": "gold" })
}

async fn put(client: &Client, node: &Value) {
    let id = node["metadata"]["nodeId"].as_str().unwrap();
    let answer = client.put(&format!("/node/{id}"), node.clone()).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
}

/// What is stored under an id, alive or not.
async fn stored(world: &World, id: &str) -> Value {
    let path = format!("/@catconf/{id}?open_revs=all");
    let json = [("accept", "application/json")];
    let leaves = world.backend().ask("GET", &path, &json, "").await.yes();
    assert_eq!(leaves.as_array().unwrap().len(), 1, "{leaves}");
    leaves[0]["ok"].clone()
}

async fn end(world: &World, who: &Client, way: &str, id: &str) {
    let rev = stored(world, id).await["_rev"].as_str().unwrap().to_owned();
    let tombstone =
        json!({ "_id": id, "_rev": rev, "_deleted": true, "about": { "team": "blue" } });
    let path = format!("/@catconf/{id}");
    match way {
        "/node" => who.delete(&format!("/node/{id}")).await.yes(),
        "DELETE" => who.delete(&format!("{path}?rev={rev}")).await.yes(),
        "PUT" => who.put(&path, tombstone).await.yes(),
        "_bulk_docs" => {
            let docs = json!({ "docs": [tombstone] });
            let rows = who.post("/@catconf/_bulk_docs", docs).await.yes();
            assert_eq!(rows[0]["ok"], true, "{rows}");
            rows
        }
        _ => {
            let done = Command::new(env!("CARGO_BIN_EXE_couchwarden"))
                .args(["node", "remove", id])
                .current_dir(world.directory.path())
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            Value::Null
        }
    };
}

/// The deletions that somebody is told of.
async fn ends(who: &Client) -> Vec<Value> {
    let feed = who.get("/@catconf/_changes").await.yes();
    let rows = feed["results"].as_array().unwrap().iter();
    let ended = rows.filter(|row| row["deleted"] == true);
    ended.map(|row| row["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_node_is_learnt_by_those_who_could_read_it() {
    let world = World::with(RULES, NODES).await;
    world.database("catconf", json!([])).await;
    let (rita, tom) = (world.as_("rita"), world.as_("tom"));
    let mut gone = Vec::new();
    for who in ["ops", "walt"] {
        for (number, way) in WAYS.iter().enumerate() {
            let id = format!("{who}-{number}");
            put(&world.as_("ops"), &node(&world, &id)).await;
            end(&world, &world.as_(who), way, &id).await;
            let left = stored(&world, &id).await;
            let members: Vec<&String> = left.as_object().unwrap().keys().collect();
            assert_eq!(
                members,
                ["_deleted", "_id", "_rev", "about"],
                "{way}: {left}"
            );
            assert_eq!(left["about"], json!({ "team": "red" }), "{way}");
            gone.push(json!(id));
        }
    }
    assert_eq!(ends(&rita).await, gone);
    assert_eq!(ends(&tom).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_node_is_no_node_and_holds_no_hash() {
    let policy = include_str!("../../policies/nodes.toml").replace("\"catconf\"", "\"@catconf\"");
    let by_plan = r#"
[[rule]]
name      = "plans"
databases = ["@catconf"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes"]
[rule.documents]
plan                             = "gold"
"metadata.parents"               = ["root"]
"metadata.nodeAdmins"            = ["walt"]
"metadata.authorization.crypted" = { "$exists" = true }
"#;
    let world = World::with(&format!("{policy}\n{by_plan}"), NODES).await;
    world.database("catconf", json!([])).await;
    let ops = world.as_("ops");
    put(&ops, &json!({ "metadata": { "nodeId": "root" } })).await;
    let mut phone = json!({ "plan": "gold", "screen": "dark" });
    phone["metadata"] = json!({ "nodeId": "phone", "parents": ["root"], "nodeAdmins": ["walt"],
        "authorization": { "type": "password", "password": "secret word" } });
    put(&ops, &phone).await;
    let login = world.anonymous().with_login("phone", "secret word");
    assert_eq!(login.get("/node/phone").await.status, 200);
    let alive = stored(&world, "phone").await;
    ops.delete("/node/phone").await.yes();

    let left = stored(&world, "phone").await;
    let mut kept = json!({ "nodeId": "phone", "parents": ["root"], "nodeAdmins": ["walt"] });
    // Rules may ask whether it was a user's.
    kept["authorization"] = json!({ "type": "bcrypt", "crypted": "" });
    assert_eq!((&left["plan"], &left["metadata"]), (&json!("gold"), &kept));
    assert_eq!(left["screen"], Value::Null);
    assert_eq!(ends(&world.as_("rita")).await, ["phone"]);
    // A user's node was never everybody's, and what is left of it is not either.
    assert_eq!(ends(&world.as_("tom")).await, Vec::<Value>::new());

    assert_eq!(login.get("/node/phone").await.status, 401);
    ops.get("/node/phone").await.no(404, "not_found");
    assert_eq!(ops.get("/node").await.yes()["results"], json!(["root"]));
    assert_eq!(
        ops.get("/node?in-domain=root").await.yes()["results"],
        json!([])
    );
    // It keeps nobody from deleting its parent, and is written over as if it had never been.
    ops.delete("/node/root").await.yes();
    put(&ops, &json!({ "metadata": { "nodeId": "phone" }, "b": 2 })).await;
    let again = stored(&world, "phone").await;
    assert_eq!((&again["b"], &again["plan"]), (&json!(2), &Value::Null));
    let metadata = again["metadata"].as_object().unwrap();
    let members: Vec<&String> = metadata.keys().collect();
    assert_eq!(members, ["nodeCreator", "nodeCtime", "nodeId"], "{again}");
    assert!(
        metadata["nodeCtime"].as_f64() >= alive["metadata"]["nodeCtime"].as_f64(),
        "{again}"
    );
    assert_eq!(ops.get("/node/phone").await.yes()["b"], 2);
    assert_eq!(login.get("/node/phone").await.status, 401);
    // And nothing is anybody's who wrote the node before.
    let other = json!({ "metadata": { "nodeId": "phone", "nodeAdmins": [world.name("walt")] } });
    world
        .as_("walt")
        .put("/node/phone", other)
        .await
        .no(403, "forbidden");
}
