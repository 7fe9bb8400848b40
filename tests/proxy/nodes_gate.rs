//! Nodes by CouchDB's own API: the same rules.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::World;

const NODES: &str = "[nodes]\ndatabase = \"@catconf\"\n";

/// The shipped policy, about the database of this test.
fn policy() -> String {
    include_str!("../../policies/nodes.toml").replace("\"catconf\"", "\"@catconf\"")
}

fn document(id: &str, parents: &[&str], properties: Value) -> Value {
    let mut document = properties;
    document["_id"] = id.into();
    document["metadata"] = json!({ "nodeId": id, "parents": parents });
    document
}

async fn world() -> World {
    let world = World::with(&policy(), NODES).await;
    world.database("catconf", json!([])).await;
    let mut phone = document("phone", &["root"], json!({ "screen": "dark" }));
    phone["metadata"]["authorization"] = json!({ "type": "password", "password": "secret word" });
    let docs = json!({ "docs": [document("root", &[], json!({ "plan": "basic" })), phone] });
    let rows = world
        .as_("ops")
        .post("/@catconf/_bulk_docs", docs)
        .await
        .yes();
    assert!(
        rows.as_array().unwrap().iter().all(|row| row["ok"] == true),
        "{rows}"
    );
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_judged_as_nodes() {
    let world = world().await;
    let ops = world.as_("ops");
    let phone = ops.get("/@catconf/phone").await.yes();
    assert!(
        phone["metadata"]["authorization"]["crypted"]
            .as_str()
            .unwrap()
            .starts_with("$2b$")
    );
    assert!(phone["metadata"]["nodeCtime"].is_number(), "{phone}");
    assert_eq!(
        world
            .anonymous()
            .with_login("phone", "secret word")
            .get("/node/phone")
            .await
            .yes()["plan"],
        "basic"
    );
    for (id, bad) in [
        ("child", document("child", &["gone"], json!({}))),
        ("child", document("child", &["phone"], json!({}))),
        ("child", json!({ "no": "metadata" })),
        (
            "child",
            json!({ "_attachments": {}, "metadata": { "nodeId": "child" } }),
        ),
    ] {
        ops.put(&format!("/@catconf/{id}"), bad.clone())
            .await
            .no(403, "forbidden");
        ops.post("/@catconf", {
            let mut bad = bad;
            bad["_id"] = id.into();
            bad
        })
        .await
        .no(403, "forbidden");
    }
    ops.put("/@catconf/root", document("root", &[], json!({})))
        .await
        .no(409, "conflict");
    let root = ops.get("/@catconf/root").await.yes();
    let rev = root["_rev"].as_str().unwrap().to_owned();
    ops.delete(&format!("/@catconf/root?rev={rev}"))
        .await
        .no(403, "forbidden");
    let mut changed = root.clone();
    changed["plan"] = json!("gold");
    assert_eq!(ops.put("/@catconf/root", changed.clone()).await.status, 201);
    ops.put("/@catconf/root", changed).await.no(409, "conflict");
    assert_eq!(ops.get("/node/phone").await.yes()["plan"], "gold");
    let gone = ops
        .delete(&format!(
            "/@catconf/phone?rev={}",
            phone["_rev"].as_str().unwrap()
        ))
        .await;
    assert_eq!(gone.status, 200, "{:?}", gone.body);
    ops.get("/node/phone").await.no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_a_row_for_each_node() {
    let world = world().await;
    let ops = world.as_("ops");
    let docs = json!([
        document("a", &["root"], json!({})),
        document("b", &["gone"], json!({})),
        document("root", &[], json!({})),
        document("c", &["a"], json!({})),
    ]);
    let rows = ops
        .post("/@catconf/_bulk_docs", json!({ "docs": docs }))
        .await
        .yes();
    let told = |name: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row[name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(told("id"), ["a", "b", "root", "c"]);
    assert_eq!(
        told("error"),
        [
            Value::Null,
            json!("forbidden"),
            json!("conflict"),
            Value::Null
        ]
    );
    let mut forced = document("d", &[], json!({}));
    forced["_rev"] = json!(format!("1-{}", "a".repeat(32)));
    let rows = ops
        .post(
            "/@catconf/_bulk_docs",
            json!({ "docs": [forced], "new_edits": false }),
        )
        .await
        .yes();
    assert_eq!(
        (&rows[0]["id"], &rows[0]["error"]),
        (&json!("d"), &json!("forbidden"))
    );
    ops.get("/node/d").await.no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ways_to_write_nodes_are_closed() {
    let world = world().await;
    let ops = world.as_("ops");
    ops.ask(
        "PUT",
        "/@catconf/root/file.txt",
        &[("content-type", "text/plain")],
        "x",
    )
    .await
    .no(403, "forbidden");
    ops.ask("COPY", "/@catconf/root", &[("destination", "copy")], "")
        .await
        .no(403, "forbidden");
    ops.post("/@catconf/_purge", json!({ "root": ["1-a"] }))
        .await
        .no(403, "forbidden");
    ops.put("/@catconf/root?new_edits=false", json!({}))
        .await
        .no(403, "forbidden");
    // A design document is no node.
    let design = json!({ "views": {}, "language": "javascript" });
    assert_eq!(ops.put("/@catconf/_design/x", design).await.status, 201);
    world
        .as_("rita")
        .put("/@catconf/new", document("new", &[], json!({})))
        .await
        .no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_read_as_nodes_are() {
    let world = world().await;
    let phone = world.anonymous().with_login("phone", "secret word");
    world
        .anonymous()
        .get("/@catconf/root")
        .await
        .no(401, "unauthorized");
    assert_eq!(
        world.as_("rita").get("/@catconf/_all_docs").await.ids(),
        "root"
    );
    assert_eq!(phone.get("/@catconf/_all_docs").await.ids(), "phone root");
    for hidden in ["phone", "couchwarden%3Aorder", "none"] {
        world
            .as_("rita")
            .get(&format!("/@catconf/{hidden}"))
            .await
            .no(404, "not_found");
    }
    assert_eq!(
        world
            .as_("ops")
            .get("/@catconf/couchwarden%3Aorder")
            .await
            .status,
        200
    );
    let own = phone.get("/@catconf/phone").await.yes();
    assert_eq!(
        own["metadata"]["authorization"],
        json!({ "type": "bcrypt" })
    );
    let changes = phone.get("/@catconf/_changes?include_docs=true").await;
    assert!(!changes.text().contains("$2b$"), "{}", changes.text());
    assert_eq!(
        world.as_("rita").get("/@catconf/_changes").await.ids(),
        "root"
    );
}

/// The shipped `validate_doc_update` holds what a node is by itself, for those who write past couchwarden; and the
/// views beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_design_document_guards_nodes_from_those_who_go_around() {
    let world = world().await;
    let source = include_str!("../../ddocs/catconf/nodes/validate_doc_update.js");
    let source: Vec<&str> = source
        .lines()
        .skip_while(|line| line.starts_with("//"))
        .collect();
    let map = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/ddocs/catconf/nodes/views");
        let source = std::fs::read_to_string(format!("{folder}/{name}/map.js")).unwrap();
        let function = source.find("function").unwrap();
        json!({ "map": source[function..] })
    };
    let views = ["by_admin", "by_parent", "domains", "users"];
    let views: BTreeMap<&str, Value> = views.into_iter().map(|name| (name, map(name))).collect();
    let design = json!({ "language": "javascript", "views": views, "validate_doc_update": source.join("\n") });
    let couchdb = world.backend();
    let db = world.db("catconf");
    assert_eq!(
        couchdb
            .put(&format!("/{db}/_design/nodes"), design)
            .await
            .status,
        201
    );
    let status = async |document: Value| {
        let id = document["_id"].as_str().unwrap().to_owned();
        couchdb.put(&format!("/{db}/{id}"), document).await.status
    };
    let with = |more: Value| {
        let mut document = document("n", &[], json!({}));
        document["metadata"]
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        document
    };
    for bad in [
        json!({ "_id": "n", "no": "metadata" }),
        with(json!({ "nodeId": "m" })),
        with(json!({ "parents": ["n"] })),
        with(json!({ "parents": [1] })),
        with(json!({ "owner": "x" })),
        with(json!({ "authorization": { "type": "password", "password": "plain" } })),
    ] {
        assert_eq!(status(bad.clone()).await, 403, "{bad}");
    }
    assert_eq!(status(with(json!({}))).await, 201);
    // couchwarden itself writes on.
    let put = world
        .as_("ops")
        .put(
            "/node/child",
            json!({ "plan": "basic", "metadata": { "nodeId": "child", "parents": ["root"] } }),
        )
        .await;
    assert_eq!(put.status, 201, "{:?}", put.body);
    for (view, ids) in [
        ("by_parent?key=%22root%22", "child phone"),
        ("domains", "child n root"),
        ("users", "phone"),
        ("by_admin", ""),
    ] {
        let path = format!("/{db}/_design/nodes/_view/{view}");
        assert_eq!(couchdb.get(&path).await.ids(), ids, "{view}");
    }
    assert_eq!(world.as_("ops").delete("/node/child").await.status, 200);
}

/// Rules of the operator's own, beside those of nodes.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_design_document_refuses_is_forbidden_and_stops_nobody() {
    let world = world().await;
    let ops = world.as_("ops");
    let source =
        "function (doc) { if (doc.plan === 'none') throw ({ forbidden: 'our own rule' }); }";
    let design = json!({ "language": "javascript", "validate_doc_update": source });
    let path = format!("/{}/_design/own", world.db("catconf"));
    assert_eq!(world.backend().put(&path, design).await.status, 201);
    let node = |id: &str, plan: &str| json!({ "plan": plan, "metadata": { "nodeId": id } });
    for id in ["new", "root"] {
        let path = format!("/node/{id}");
        ops.put(&path, node(id, "none")).await.no(403, "forbidden");
    }
    // The creation that was decided and could not be done is in nobody's way.
    assert_eq!(ops.put("/node/other", node("other", "x")).await.status, 201);
    ops.get("/node/new").await.no(404, "not_found");
    assert_eq!(ops.get("/node/root").await.yes()["plan"], "basic");
}

/// A function stores what it returns, and a rewrite goes on by a method of its own, however they are asked.
#[tokio::test(flavor = "multi_thread")]
async fn functions_write_no_nodes_by_any_method() {
    let world = world().await;
    let ops = world.as_("ops");
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
        for path in ["_rewrite/x", "_update/f", "_update/f/phone"] {
            let path = format!("/@catconf/_design/own/{path}");
            let answer = ops.ask(method, &path, &[], "").await;
            assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        }
    }
}
