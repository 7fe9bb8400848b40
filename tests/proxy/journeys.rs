//! Attachments, conflicts and deletions as they travel: pulled, pushed and synced by an unmodified PouchDB, and by CouchDB's
//! own replicator; for an owner who sees his own records only, and for an administrator.

use serde_json::{Value, json};

use crate::support::{Client, Pouch, World};

const RULES: &str = r#"
[[rule]]
name      = "owners"
databases = ["@notes", "@copy"]
callers   = { roles = ["writer"] }
permit    = ["replicate"]
documents = { owner = "{user}" }
"#;

/// A revision of a conflict, as replicators write it.
fn leaf(id: &str, rev: &str, owner: &str) -> Value {
    let hash = rev.split_once('-').unwrap().1;
    json!({ "_id": id, "_rev": rev, "_revisions": { "start": 2, "ids": [hash, "0"] }, "owner": owner })
}

fn attachments() -> Value {
    json!({
        "note.txt": { "content_type": "text/plain", "data": "aGVsbG8=" },
        "a/picture": { "content_type": "image/png", "data": "AAECAw==" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_brings_attachments_visible_leaves_and_deletions() {
    for name in ["walt", "ops"] {
        let world = filled().await;
        let (who, all) = (world.as_(name), name == "ops");
        let mut pouch = Pouch::start(&world);
        pouch.ok(&who, json!({ "op": "open", "db": "mine" }));
        copy(&mut pouch, &who, "@notes", "mine");
        let ids = if all {
            "foreign gone torn with"
        } else {
            "gone torn with"
        };
        assert_eq!(pouch.ids(&who, "mine"), ids, "{name}");
        for (file, data) in [("note.txt", "aGVsbG8="), ("a/picture", "AAECAw==")] {
            let bytes = json!({ "op": "getAttachment", "db": "mine", "id": "with", "name": file });
            assert_eq!(pouch.ok(&who, bytes), data, "{name}: {file}");
        }
        let conflicts = if all {
            json!(["2-a", "2-b"])
        } else {
            json!(["2-a"])
        };
        assert_eq!(
            torn(&mut pouch, &who, "mine"),
            (json!("2-c"), conflicts),
            "{name}"
        );
        // Deleted by one who may, and past couchwarden.
        for (deleter, id) in [
            (world.as_("ops"), "gone"),
            (world.backend(), "with"),
            (world.as_("ops"), "foreign"),
        ] {
            let rev = world.backend().get(&format!("/@notes/{id}")).await.yes()["_rev"].clone();
            let path = format!("/@notes/{id}?rev={}", rev.as_str().unwrap());
            deleter.delete(&path).await.yes();
        }
        copy(&mut pouch, &who, "@notes", "mine");
        assert_eq!(pouch.ids(&who, "mine"), "torn", "{name}");
        // He never learns that the foreign one was there, not even by its end.
        let changes = pouch
            .ok(&who, json!({ "op": "changes", "db": "mine" }))
            .to_string();
        assert_eq!(changes.contains("foreign"), all, "{name}: {changes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_brings_attachments_conflicts_and_deletions() {
    for name in ["walt", "ops"] {
        let world = filled().await;
        let (who, owner, all) = (world.as_(name), world.name("walt"), name == "ops");
        let mut pouch = Pouch::start(&world);
        pouch.ok(&who, json!({ "op": "open", "db": "mine" }));
        copy(&mut pouch, &who, "@notes", "mine");
        let new = json!({ "_id": "new", "owner": owner, "_attachments": attachments() });
        pouch.ok(&who, json!({ "op": "put", "db": "mine", "doc": new }));
        let docs = json!([
            leaf("pair", "2-x", &owner),
            leaf("pair", "2-y", &owner),
            leaf("theirs", "2-z", "somebody")
        ]);
        let force = json!({ "op": "bulkDocs", "db": "mine", "docs": docs, "options": { "new_edits": false } });
        pouch.ok(&who, force);
        // The conflict that he sees is resolved, and one document is deleted.
        let lost = json!({ "_id": "torn", "_rev": "2-a" });
        let gone = pouch.ok(&who, json!({ "op": "get", "db": "mine", "id": "gone" }));
        for doc in [lost, gone] {
            pouch.ok(&who, json!({ "op": "remove", "db": "mine", "doc": doc }));
        }
        let command = json!({ "op": "replicate", "source": "mine", "target": "@notes" });
        let outcome = pouch.ok(&who, command);
        let denied = outcome["denied"].as_array().unwrap();
        let mut denied: Vec<&str> = denied
            .iter()
            .map(|event| event["id"].as_str().unwrap())
            .collect();
        denied.sort_unstable();
        // A replicator may not write into a document of which a leaf is hidden from it.
        let wanted: &[&str] = if all { &[] } else { &["theirs", "torn"] };
        assert_eq!(denied, wanted, "{name}: {outcome}");

        let stored = world.backend();
        let attached = stored.get("/@notes/new/a/picture").await;
        assert_eq!(&attached.body[..], [0, 1, 2, 3], "{name}");
        assert_eq!(stored.get("/@notes/gone").await.status, 404, "{name}");
        let theirs = stored.get("/@notes/theirs").await.status;
        assert_eq!(theirs, if all { 200 } else { 404 }, "{name}");
        let pair = stored.get("/@notes/pair?conflicts=true").await.yes();
        assert_eq!(
            (&pair["_rev"], &pair["_conflicts"]),
            (&json!("2-y"), &json!(["2-x"])),
            "{name}"
        );
        // What was hidden from him is where it was.
        let torn = leaves(&stored.get("/@notes/torn?conflicts=true").await.yes());
        let others = if all {
            json!(["2-b"])
        } else {
            json!(["2-a", "2-b"])
        };
        assert_eq!(torn, (json!("2-c"), others), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_sync_carries_attachments_conflicts_and_deletions_both_ways() {
    for name in ["walt", "ops"] {
        let world = filled().await;
        let (who, owner) = (world.as_(name), world.name("walt"));
        let mut pouch = Pouch::start(&world);
        pouch.ok(&who, json!({ "op": "open", "db": "mine" }));
        let start = json!({ "op": "sync-start", "source": "mine", "target": "@notes" });
        let sync = pouch.ok(&who, start)["sync"].clone();
        pouch.ok(&who, json!({ "op": "wait", "db": "mine", "id": "with" }));
        // Up: an attachment, a conflict and a deletion.
        let up = json!({ "_id": "up", "owner": owner, "_attachments": attachments() });
        pouch.ok(&who, json!({ "op": "put", "db": "mine", "doc": up }));
        let docs = json!([leaf("pair", "2-x", &owner), leaf("pair", "2-y", &owner)]);
        let force = json!({ "op": "bulkDocs", "db": "mine", "docs": docs, "options": { "new_edits": false } });
        pouch.ok(&who, force);
        let gone = pouch.ok(&who, json!({ "op": "get", "db": "mine", "id": "gone" }));
        pouch.ok(&who, json!({ "op": "remove", "db": "mine", "doc": gone }));
        pouch.ok(&who, json!({ "op": "open", "db": "second" }));
        let start = json!({ "op": "sync-start", "source": "second", "target": "@notes" });
        let second = pouch.ok(&who, start)["sync"].clone();
        for (id, absent) in [("up", false), ("pair", false), ("gone", true)] {
            let wait = json!({ "op": "wait", "db": "second", "id": id, "absent": absent });
            pouch.ok(&who, wait);
        }
        // Down: a deletion of what has an attachment, and another leaf.
        let rev = world.backend().get("/@notes/with").await.yes()["_rev"].clone();
        let path = format!("/@notes/with?rev={}", rev.as_str().unwrap());
        world.as_("ops").delete(&path).await.yes();
        force_past(&world, json!([leaf("pair", "2-z", &owner)])).await;
        for db in ["mine", "second"] {
            pouch.ok(
                &who,
                json!({ "op": "wait", "db": db, "id": "with", "absent": true }),
            );
            pouch.ok(
                &who,
                json!({ "op": "wait", "db": db, "id": "pair", "field": "_rev", "value": "2-z" }),
            );
            let bytes = json!({ "op": "getAttachment", "db": db, "id": "up", "name": "note.txt" });
            assert_eq!(pouch.ok(&who, bytes), "aGVsbG8=", "{name}");
        }
        for sync in [sync, second] {
            pouch.ok(&who, json!({ "op": "sync-stop", "sync": sync }));
        }
    }
}

/// What moves out of sight between its row and its fetch, and what a rule tells of and does not give.
#[tokio::test(flavor = "multi_thread")]
async fn couchdb_s_own_replicator_passes_over_what_it_is_not_given() {
    let rules = r#"
[[rule]]
name      = "told"
databases = ["@notes"]
callers   = { roles = ["writer"] }
permit    = ["changes"]

[[rule]]
name      = "given"
databases = ["@notes"]
callers   = { roles = ["writer"] }
permit    = ["read"]
documents = { owner = "{user}" }
"#;
    let world = World::plain(rules).await;
    fill(&world).await;
    let owner = world.name("walt");
    let more = json!([
        { "_id": "_design/hidden", "views": {} },
        { "_id": "foreign with", "owner": "somebody", "_attachments": attachments() },
        { "_id": "z", "owner": owner },
    ]);
    world.fill("notes", more).await;
    world.database("local", json!([])).await;
    let at = |client: &Client, db: &str| json!({ "url": client.url(db), "headers": { "Authorization": client.authorization() } });
    let (walt, backend) = (world.as_("walt"), world.backend());
    let pull = json!({ "source": at(&walt, "notes"), "target": at(&backend, "local") });
    for wanted in ["gone torn with z", "gone torn with z zz"] {
        let outcome = backend.post("/_replicate", pull.clone()).await.yes();
        assert_eq!(outcome["ok"], true, "{outcome}");
        let failed = &outcome["history"][0]["doc_write_failures"];
        assert_eq!(failed, 0, "{outcome}");
        let ids = backend.get("/@local/_all_docs").await.ids();
        assert_eq!(ids, wanted);
        let more = json!([{ "_id": "zz", "owner": owner }, { "_id": "zzz" }]);
        if wanted.ends_with(" z") {
            world.fill("notes", more).await;
        }
    }
}

/// Both ways through couchwarden: CouchDB is the client.
#[tokio::test(flavor = "multi_thread")]
async fn couchdb_s_own_replicator_is_a_client_like_others() {
    for name in ["walt", "ops"] {
        let world = World::plain(RULES).await;
        fill(&world).await;
        let (who, all) = (world.as_(name), name == "ops");
        world.database("copy", json!([])).await;
        world.database("local", json!([])).await;
        let at = |client: &Client, db: &str| json!({ "url": client.url(db), "headers": { "Authorization": client.authorization() } });
        let backend = world.backend();
        let through = |db: &str| at(&who, db);
        let local = |db: &str| at(&backend, db);
        let pull = json!({ "source": through("notes"), "target": local("local") });
        let push = json!({ "source": local("local"), "target": through("copy") });
        for (what, wanted) in [
            (&pull, if all { 6 } else { 4 }),
            (&push, if all { 6 } else { 4 }),
        ] {
            let outcome = world
                .backend()
                .post("/_replicate", what.clone())
                .await
                .yes();
            assert_eq!(outcome["ok"], true, "{name}: {outcome}");
            assert_eq!(
                outcome["history"][0]["docs_written"], wanted,
                "{name}: {outcome}"
            );
            assert_eq!(
                outcome["history"][0]["doc_write_failures"], 0,
                "{name}: {outcome}"
            );
        }
        for db in ["local", "copy"] {
            let ids = world
                .backend()
                .get(&format!("/@{db}/_all_docs"))
                .await
                .ids();
            let wanted = if all {
                "foreign gone torn with"
            } else {
                "gone torn with"
            };
            assert_eq!(ids, wanted, "{name}: {db}");
            let torn = world
                .backend()
                .get(&format!("/@{db}/torn?conflicts=true"))
                .await
                .yes();
            let others = if all {
                json!(["2-a", "2-b"])
            } else {
                json!(["2-a"])
            };
            assert_eq!(leaves(&torn), (json!("2-c"), others), "{name}: {db}");
            let bytes = world.backend().get(&format!("/@{db}/with/note.txt")).await;
            assert_eq!(bytes.text(), "hello", "{name}: {db}");
        }
        // Once more: nothing is written again. Then a deletion.
        let rev = world.backend().get("/@notes/gone").await.yes()["_rev"].clone();
        let path = format!("/@notes/gone?rev={}", rev.as_str().unwrap());
        world.as_("ops").delete(&path).await.yes();
        let outcome = world.backend().post("/_replicate", pull).await.yes();
        // CouchDB adds up what all sessions of one replication have written.
        let written = |session: usize| outcome["history"][session]["docs_written"].as_u64();
        let before = written(1).unwrap_or(0);
        assert_eq!(written(0), Some(before + 1), "{name}: {outcome}");
        let ids = world.backend().get("/@local/_all_docs").await.ids();
        assert_eq!(
            ids,
            if all {
                "foreign torn with"
            } else {
                "torn with"
            },
            "{name}"
        );
    }
}

fn copy(pouch: &mut Pouch, who: &Client, source: &str, target: &str) {
    let command = json!({ "op": "replicate", "source": source, "target": target });
    let outcome = pouch.ok(who, command);
    assert_eq!(outcome["denied"], json!([]), "{outcome}");
}

/// The winner of the torn document, and its other leaves.
fn torn(pouch: &mut Pouch, who: &Client, db: &str) -> (Value, Value) {
    let command = json!({ "op": "get", "db": db, "id": "torn", "options": { "conflicts": true } });
    leaves(&pouch.ok(who, command))
}

/// The winner, and the other leaves in an order that is not the client's.
fn leaves(document: &Value) -> (Value, Value) {
    let mut others = document["_conflicts"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    others.sort_by_key(Value::to_string);
    (document["_rev"].clone(), others.into())
}

async fn force_past(world: &World, documents: Value) {
    let body = json!({ "new_edits": false, "docs": documents });
    let stored = world.backend().post("/@notes/_bulk_docs", body).await.yes();
    assert_eq!(stored, json!([]));
}

/// Three documents of walt's, one of which is torn between him and somebody, and one of nobody's he knows.
async fn filled() -> World {
    let world = World::start(RULES).await;
    fill(&world).await;
    world
}

async fn fill(world: &World) {
    let owner = world.name("walt");
    let documents = json!([
        { "_id": "gone", "owner": owner },
        { "_id": "foreign", "owner": "somebody" },
        { "_id": "with", "owner": owner, "_attachments": attachments() },
    ]);
    world.database("notes", documents).await;
    let leaves = json!([
        leaf("torn", "2-a", &owner),
        leaf("torn", "2-b", "somebody"),
        leaf("torn", "2-c", &owner)
    ]);
    force_past(world, leaves).await;
}
