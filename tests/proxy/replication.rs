//! PouchDB 9 in Node, as it comes from npm, through couchwarden.

use serde_json::{Value, json};

use crate::fields::notes;
use crate::support::{Pouch, World};

const RULES: &str = r#"
[[rule]]
name = "red-readers"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes"]
hide = ["secret"]
documents = { team = "red" }

[[rule]]
name = "red-writers"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
hide = ["secret"]
documents = { team = "red" }

[[rule]]
name = "blue-writers"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["replicate"]
documents = { team = "blue" }
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    world.database("notes", notes()).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_brings_what_policy_shows() {
    let world = filled().await;
    let rita = world.as_("rita");
    let mut pouch = Pouch::start(&world);
    pouch.ok(&rita, json!({ "op": "open", "db": "mine" }));
    let done = pouch.ok(&rita, json!({ "op": "replicate", "source": "@notes", "target": "mine" }));
    assert_eq!((&done["result"]["ok"], &done["result"]["docs_written"]), (&json!(true), &json!(3)), "{done}");
    assert_eq!(pouch.ids(&rita, "mine"), "a c e");
    let a = pouch.ok(&rita, json!({ "op": "get", "db": "mine", "id": "a" }));
    assert_eq!((&a["n"], &a["secret"]), (&json!(1), &Value::Null));
    // Her own checkpoint is there: nothing comes twice.
    world.fill("notes", json!([{ "_id": "new", "team": "red" }, { "_id": "new2", "team": "blue" }])).await;
    let again = pouch.ok(&rita, json!({ "op": "replicate", "source": "@notes", "target": "mine" }));
    assert_eq!((&again["result"]["docs_read"], &again["result"]["docs_written"]), (&json!(1), &json!(1)), "{again}");
    assert_eq!(pouch.ids(&rita, "mine"), "a c e new");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_get_what_is_theirs() {
    let world = filled().await;
    let (rita, tom) = (world.as_("rita"), world.as_("tom"));
    let mut pouch = Pouch::start(&world);
    for (who, db, ids) in [(&rita, "red", "a c e"), (&tom, "blue", "b f")] {
        pouch.ok(who, json!({ "op": "open", "db": db }));
        pouch.ok(who, json!({ "op": "replicate", "source": "@notes", "target": db }));
        assert_eq!(pouch.ids(who, db), ids);
    }
    let stranger = world.user("stranger", &[]);
    let failed = pouch.tell(&stranger, json!({ "op": "replicate", "source": "@notes", "target": "red" }));
    assert!(failed["error"].is_object(), "{failed}");
    assert_eq!(pouch.ids(&rita, "red"), "a c e");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_stores_what_policy_permits_and_goes_on() {
    let world = filled().await;
    let walt = world.as_("walt");
    let mut pouch = Pouch::start(&world);
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    let docs = json!([{ "_id": "p1", "team": "red" }, { "_id": "p2", "team": "blue" }, { "_id": "p3", "team": "red" }, { "_id": "b", "team": "red" }, { "_id": "p4", "team": "red" }]);
    pouch.ok(&walt, json!({ "op": "bulkDocs", "db": "mine", "docs": docs }));
    let done = pouch.ok(&walt, json!({ "op": "replicate", "source": "mine", "target": "@notes" }));
    let mut denied: Vec<String> = done["denied"].as_array().unwrap().iter().map(|event| event["doc"]["id"].as_str().or(event["id"].as_str()).unwrap_or("?").to_owned()).collect();
    denied.sort();
    assert_eq!(denied, ["b", "p2"], "{done}");
    assert_eq!((&done["result"]["docs_written"], &done["result"]["doc_write_failures"]), (&json!(3), &json!(2)), "{done}");
    let there = world.backend().get("/@notes/_all_docs").await.ids();
    assert_eq!(there, "a b c d e f p1 p3 p4");
    assert_eq!(world.backend().get("/@notes/b").await.yes()["team"], "blue");
    // An edit of what was pulled: what he did not see is put back.
    pouch.ok(&walt, json!({ "op": "replicate", "source": "@notes", "target": "mine", "options": { "doc_ids": ["a"] } }));
    let mut a = pouch.ok(&walt, json!({ "op": "get", "db": "mine", "id": "a" }));
    a["n"] = 77.into();
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": a }));
    pouch.ok(&walt, json!({ "op": "replicate", "source": "mine", "target": "@notes" }));
    let a = world.backend().get("/@notes/a").await.yes();
    assert_eq!((&a["n"], &a["secret"]), (&json!(77), &json!("s-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_sync_goes_both_ways_and_survives_denial() {
    let world = filled().await;
    let walt = world.as_("walt");
    let mut pouch = Pouch::start(&world);
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    let options = json!({ "heartbeat": 200 });
    let sync = pouch.ok(&walt, json!({ "op": "sync-start", "source": "mine", "target": "@notes", "options": options }))["sync"].clone();
    let there = |pouch: &mut Pouch, id: &str| pouch.ok(&walt, json!({ "op": "wait", "db": "mine", "id": id, "timeout": 30000 }));
    for id in ["a", "c", "e"] {
        there(&mut pouch, id);
    }
    world.fill("notes", json!([{ "_id": "later1", "team": "blue" }, { "_id": "later2", "team": "red", "secret": "s" }])).await;
    let later = there(&mut pouch, "later2");
    assert!(later["doc"]["secret"].is_null(), "{later}");
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": { "_id": "mine-no", "team": "blue" } }));
    pouch.ok(&walt, json!({ "op": "sync-wait", "sync": sync, "event": "denied", "timeout": 30000 }));
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": { "_id": "mine-yes", "team": "red" } }));
    let mut feed = world.backend().feed("/@notes/_changes?feed=continuous&since=0&heartbeat=1000").await;
    while feed.row().await["id"] != "mine-yes" {}
    // Deletions, in both directions.
    let rev = world.backend().get("/@notes/c").await.yes()["_rev"].as_str().unwrap().to_owned();
    world.as_("ops").delete(&format!("/@notes/c?rev={rev}")).await.yes();
    pouch.ok(&walt, json!({ "op": "wait", "db": "mine", "id": "c", "absent": true, "timeout": 30000 }));
    let e = pouch.ok(&walt, json!({ "op": "get", "db": "mine", "id": "e" }));
    pouch.ok(&walt, json!({ "op": "remove", "db": "mine", "doc": e }));
    loop {
        let row = feed.row().await;
        if row["id"] == "e" && row["deleted"] == true {
            break;
        }
    }
    let events = pouch.ok(&walt, json!({ "op": "sync-events", "sync": sync }));
    let errors = events["events"].as_array().unwrap().iter().filter(|event| ["error", "complete"].contains(&event["event"].as_str().unwrap()));
    assert_eq!(errors.count(), 0, "{events}");
    pouch.ok(&walt, json!({ "op": "sync-stop", "sync": sync }));
    assert_eq!(world.backend().get("/@notes/mine-no").await.status, 404);
    assert_eq!(pouch.ids(&walt, "mine"), "a later2 mine-no mine-yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_travel_with_their_documents() {
    let world = filled().await;
    let (walt, rita) = (world.as_("walt"), world.as_("rita"));
    let mut pouch = Pouch::start(&world);
    for db in ["from", "to"] {
        pouch.ok(&walt, json!({ "op": "open", "db": db }));
    }
    let attached = json!({ "_id": "with", "team": "red", "_attachments": { "x.txt": { "content_type": "text/plain", "data": "aGVsbG8=" } } });
    pouch.ok(&walt, json!({ "op": "put", "db": "from", "doc": attached }));
    pouch.ok(&walt, json!({ "op": "replicate", "source": "from", "target": "@notes" }));
    assert_eq!(world.backend().get("/@notes/with/x.txt").await.text(), "hello");
    pouch.ok(&rita, json!({ "op": "replicate", "source": "@notes", "target": "to" }));
    let data = pouch.ok(&rita, json!({ "op": "getAttachment", "db": "to", "id": "with", "name": "x.txt" }));
    assert_eq!(data, "aGVsbG8=");
}

#[tokio::test(flavor = "multi_thread")]
async fn everyday_calls_work_as_at_couchdb() {
    let world = World::start(
        r#"
[[rule]]
name = "red"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["replicate", "find", "view:app/*"]
hide = ["secret"]
[rule.documents]
team = "red"
[[rule]]
name = "rows"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["view:app/*"]
rows = { value = { "$gt" = 1 } }
"#,
    )
    .await;
    world.database("notes", notes()).await;
    world.fill("notes", json!([{ "_id": "_design/app", "views": { "n": { "map": "function (doc) { emit(doc._id, doc.n); }" } } }])).await;
    let rita = world.as_("rita");
    let mut pouch = Pouch::start(&world);
    pouch.ok(&rita, json!({ "op": "open", "db": "remote", "url": "@notes" }));
    let put = pouch.ok(&rita, json!({ "op": "put", "db": "remote", "doc": { "_id": "x", "team": "red", "n": 9 } }));
    let got = pouch.ok(&rita, json!({ "op": "get", "db": "remote", "id": "x", "options": { "conflicts": true, "revs": true } }));
    assert_eq!(got["_rev"], put["rev"]);
    assert_eq!(pouch.ids(&rita, "remote"), "a c e x");
    let found = pouch.ok(&rita, json!({ "op": "find", "db": "remote", "query": { "selector": { "n": { "$gt": 4 } } } }));
    assert_eq!(found["docs"].as_array().unwrap().len(), 2, "{found}");
    let rows = pouch.ok(&rita, json!({ "op": "query", "db": "remote", "view": "app/n", "options": { "limit": 2 } }));
    assert_eq!(rows["rows"].as_array().unwrap().len(), 2, "{rows}");
    let missing = pouch.tell(&rita, json!({ "op": "get", "db": "remote", "id": "b" }));
    assert_eq!(missing["error"]["status"], 404, "{missing}");
    let info = pouch.ok(&rita, json!({ "op": "info", "db": "remote" }));
    assert!(info["db_name"].is_string() && info["doc_count"].is_null(), "{info}");
    pouch.ok(&rita, json!({ "op": "remove", "db": "remote", "doc": got }));
    assert_eq!(pouch.ids(&rita, "remote"), "a c e");
}
