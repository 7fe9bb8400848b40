//! PouchDB used directly on a database behind couchwarden, as an application does.

use serde_json::json;

use crate::fields::notes;
use crate::support::{Pouch, World};

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
    pouch.ok(
        &rita,
        json!({ "op": "open", "db": "remote", "url": "@notes" }),
    );
    let put = pouch.ok(
        &rita,
        json!({ "op": "put", "db": "remote", "doc": { "_id": "x", "team": "red", "n": 9 } }),
    );
    let got = pouch.ok(&rita, json!({ "op": "get", "db": "remote", "id": "x", "options": { "conflicts": true, "revs": true } }));
    assert_eq!(got["_rev"], put["rev"]);
    assert_eq!(pouch.ids(&rita, "remote"), "a c e x");
    let found = pouch.ok(
        &rita,
        json!({ "op": "find", "db": "remote", "query": { "selector": { "n": { "$gt": 4 } } } }),
    );
    assert_eq!(found["docs"].as_array().unwrap().len(), 2, "{found}");
    let rows = pouch.ok(
        &rita,
        json!({ "op": "query", "db": "remote", "view": "app/n", "options": { "limit": 2 } }),
    );
    assert_eq!(rows["rows"].as_array().unwrap().len(), 2, "{rows}");
    let missing = pouch.tell(&rita, json!({ "op": "get", "db": "remote", "id": "b" }));
    assert_eq!(missing["error"]["status"], 404, "{missing}");
    let info = pouch.ok(&rita, json!({ "op": "info", "db": "remote" }));
    assert!(
        info["db_name"].is_string() && info["doc_count"].is_null(),
        "{info}"
    );
    pouch.ok(&rita, json!({ "op": "remove", "db": "remote", "doc": got }));
    assert_eq!(pouch.ids(&rita, "remote"), "a c e");
}
