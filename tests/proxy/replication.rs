//! An unmodified PouchDB replicates as a restricted user: he gets what policy shows, writes what it allows, and
//! a refusal never stops the rest.

use serde_json::{Value, json};

use crate::support::{Client, Pouch, World};

/// Callers keep their own records; `reader`s see what is shared, without its salt.
const RULES: &str = r#"
[[rule]]
name      = "owners"
databases = ["@notes"]
callers   = { roles = ["writer"] }
permit    = ["replicate"]
documents = { owner = "{user}" }

[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes"]
hide      = ["salt"]
documents = { shared = true }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_gets_exactly_what_policy_shows() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let rita = world.as_("rita");
    pouch.ok(&rita, json!({ "op": "open", "db": "mine" }));
    let outcome = pull(&mut pouch, &rita, "mine");
    assert_eq!(
        (
            &outcome["ok"],
            &outcome["docs_written"],
            &outcome["doc_write_failures"]
        ),
        (&json!(true), &json!(3), &json!(0)),
        "{outcome}"
    );
    assert_eq!(pouch.ids(&rita, "mine"), "s0 s1 s2");
    let rows = pouch.ok(
        &rita,
        json!({ "op": "allDocs", "db": "mine", "options": { "include_docs": true } }),
    );
    for row in rows["rows"].as_array().unwrap() {
        let doc = &row["doc"];
        assert_eq!(
            (&doc["shared"], &doc["salt"]),
            (&json!(true), &Value::Null),
            "{doc}"
        );
        let stored = world
            .backend()
            .get(&format!("/@notes/{}", doc["_id"].as_str().unwrap()))
            .await
            .yes();
        assert_eq!(stored["_rev"], doc["_rev"], "the same revision");
    }
    let info = pouch.ok(&rita, json!({ "op": "info", "db": "mine" }));
    assert_eq!(info["doc_count"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_of_many_documents_misses_none() {
    let world = World::start(RULES).await;
    let documents: Vec<Value> = (0..450)
        .map(|n| json!({ "_id": format!("d{n:03}"), "shared": n % 9 == 0, "salt": n }))
        .collect();
    world.database("notes", documents.into()).await;
    let mut pouch = Pouch::start(&world);
    let rita = world.as_("rita");
    pouch.ok(&rita, json!({ "op": "open", "db": "mine" }));
    let outcome = pull(&mut pouch, &rita, "mine");
    assert_eq!(outcome["docs_written"], 50, "{outcome}");
    assert_eq!(
        pouch.ids(&rita, "mine"),
        world.as_("rita").get("/@notes/_all_docs").await.ids()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_document_is_denied_and_the_rest_arrives() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let walt = world.as_("walt");
    let owner = world.name("walt");
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    let docs = json!([
        { "_id": "good-1", "owner": owner },
        { "_id": "foreign", "owner": "somebody" },
        { "_id": "good-2", "owner": owner },
        { "_id": "nobody's" },
        { "_id": "s0", "owner": owner, "text": "stolen" },
    ]);
    pouch.ok(
        &walt,
        json!({ "op": "bulkDocs", "db": "mine", "docs": docs }),
    );
    let outcome = pouch.ok(
        &walt,
        json!({ "op": "replicate", "source": "mine", "target": "@notes" }),
    );
    let mut denied: Vec<&str> = outcome["denied"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap_or_else(|| panic!("{outcome}")))
        .collect();
    denied.sort_unstable();
    assert_eq!(denied, ["foreign", "nobody's", "s0"], "{outcome}");
    assert_eq!(outcome["result"]["ok"], true, "{outcome}");
    assert_eq!(outcome["result"]["docs_written"], 2, "{outcome}");
    assert_eq!(
        walt.get("/@notes/_all_docs").await.ids(),
        "good-1 good-2 own-0 own-1"
    );
    let stored = world.backend().get("/@notes/s0?conflicts=true").await.yes();
    assert_eq!(
        (&stored["shared"], &stored["_conflicts"]),
        (&json!(true), &Value::Null),
        "{stored}"
    );
    for id in ["foreign", "nobody's"] {
        assert_eq!(
            world.backend().get(&format!("/@notes/{id}")).await.status,
            404
        );
    }
}

/// What no row could be stored by is told in its row, in the forms in which PouchDB and CouchDB's replicator send it.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_can_not_be_read_stops_no_other() {
    let world = filled().await;
    let walt = world.as_("walt");
    let mine = |id: &str, more: Value| {
        let mut document = json!({ "_id": id, "owner": walt.name() });
        document
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        document
    };
    let nested: Value = serde_json::from_str(&("[".repeat(125) + &"]".repeat(125))).unwrap();
    let deeper: Value = serde_json::from_str(&("[".repeat(118) + &"]".repeat(118))).unwrap();
    let revisions = |rev: &str| json!({ "_rev": format!("1-{rev}"), "_revisions": { "start": 1, "ids": [rev] } });
    for new_edits in [true, false] {
        let rev = |rev: &str| if new_edits { json!({}) } else { revisions(rev) };
        let mut docs = vec![
            mine(&format!("first {new_edits}"), rev("aa")),
            mine("nested", json!({ "x": nested })),
            mine("deeper", json!({ "x": deeper })),
            mine(".", json!({})),
            mine("..", json!({})),
            mine("", json!({})),
            mine("a\u{0}b", json!({})),
            mine("_own", json!({})),
            mine("rev", json!({ "_rev": "none" })),
            mine("number", json!({ "_rev": 1 })),
            mine("history", json!({ "_revisions": { "start": 1 } })),
            mine(&format!("last {new_edits}"), rev("bb")),
        ];
        for one in docs.iter_mut().skip(1).take(7).filter(|_| !new_edits) {
            one.as_object_mut()
                .unwrap()
                .extend(revisions("cc").as_object().unwrap().clone());
        }
        let count = docs.len();
        let batch = json!({ "docs": docs, "new_edits": new_edits });
        let rows = walt.post("/@notes/_bulk_docs", batch).await.yes();
        let rows = rows.as_array().unwrap();
        let refused: Vec<&Value> = rows
            .iter()
            .filter(|row| row["error"] == "forbidden")
            .collect();
        assert_eq!(refused.len(), count - 2, "{rows:?}");
        for place in ["first", "last"] {
            let stored = world
                .backend()
                .get(&format!("/@notes/{place}%20{new_edits}"))
                .await;
            assert_eq!(stored.status, 200, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_can_push_nothing() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let rita = world.as_("rita");
    pouch.ok(&rita, json!({ "op": "open", "db": "mine" }));
    pouch.ok(
        &rita,
        json!({ "op": "put", "db": "mine", "doc": { "_id": "x", "shared": true } }),
    );
    let outcome = pouch.tell(
        &rita,
        json!({ "op": "replicate", "source": "mine", "target": "@notes" }),
    );
    assert!(
        !outcome["error"].is_null()
            || outcome["ok"]["denied"]
                .as_array()
                .is_some_and(|denied| !denied.is_empty()),
        "{outcome}"
    );
    assert_eq!(world.backend().get("/@notes/x").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_sync_goes_both_ways_and_survives_a_refusal() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let walt = world.as_("walt");
    let owner = world.name("walt");
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    let sync = pouch.ok(
        &walt,
        json!({ "op": "sync-start", "source": "mine", "target": "@notes" }),
    )["sync"]
        .clone();
    pouch.ok(&walt, json!({ "op": "wait", "db": "mine", "id": "own-1" }));
    // Down.
    world
        .fill(
            "notes",
            json!([{ "_id": "hidden", "owner": "somebody" }, { "_id": "down", "owner": owner }]),
        )
        .await;
    pouch.ok(&walt, json!({ "op": "wait", "db": "mine", "id": "down" }));
    // Up, past a refusal.
    pouch.ok(
        &walt,
        json!({ "op": "put", "db": "mine", "doc": { "_id": "foreign", "owner": "somebody" } }),
    );
    pouch.ok(
        &walt,
        json!({ "op": "sync-wait", "sync": sync, "event": "denied" }),
    );
    pouch.ok(&walt, json!({ "op": "open", "db": "theirs" }));
    pouch.ok(
        &walt,
        json!({ "op": "put", "db": "mine", "doc": { "_id": "up", "owner": owner, "n": 1 } }),
    );
    let watch = pouch.ok(
        &walt,
        json!({ "op": "sync-start", "source": "theirs", "target": "@notes" }),
    )["sync"]
        .clone();
    pouch.ok(
        &walt,
        json!({ "op": "wait", "db": "theirs", "id": "up", "field": "n", "value": 1 }),
    );
    // A change and a delete on either side reach the other.
    let stored = walt.get("/@notes/up").await.yes();
    walt.put(
        "/@notes/up",
        json!({ "_rev": stored["_rev"], "owner": owner, "n": 2 }),
    )
    .await
    .yes();
    pouch.ok(
        &walt,
        json!({ "op": "wait", "db": "mine", "id": "up", "field": "n", "value": 2 }),
    );
    let local = pouch.ok(&walt, json!({ "op": "get", "db": "mine", "id": "down" }));
    pouch.ok(&walt, json!({ "op": "remove", "db": "mine", "doc": local }));
    pouch.ok(
        &walt,
        json!({ "op": "wait", "db": "theirs", "id": "down", "absent": true }),
    );
    assert_eq!(walt.get("/@notes/down").await.status, 404);
    for sync in [sync, watch] {
        let events = pouch.ok(&walt, json!({ "op": "sync-events", "sync": sync }));
        assert!(
            !events.to_string().contains("\"event\":\"error\""),
            "{events}"
        );
        pouch.ok(&walt, json!({ "op": "sync-stop", "sync": sync }));
    }
    assert_eq!(pouch.ids(&walt, "theirs"), "own-0 own-1 up");
    assert_eq!(pouch.ids(&walt, "mine"), "foreign own-0 own-1 up");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_travel_both_ways() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let walt = world.as_("walt");
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    pull(&mut pouch, &walt, "mine");
    let local = pouch.ok(&walt, json!({ "op": "get", "db": "mine", "id": "own-0" }));
    pouch.ok(&walt, json!({ "op": "remove", "db": "mine", "doc": local }));
    let outcome = pouch.ok(
        &walt,
        json!({ "op": "replicate", "source": "mine", "target": "@notes" }),
    );
    assert_eq!(
        (&outcome["result"]["docs_written"], &outcome["denied"]),
        (&json!(1), &json!([])),
        "{outcome}"
    );
    assert_eq!(world.backend().get("/@notes/own-0").await.status, 404);
    // Past us, so the tombstone is bare.
    let rev = world.backend().get("/@notes/own-1").await.yes()["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .backend()
        .delete(&format!("/@notes/own-1?rev={rev}"))
        .await
        .yes();
    pull(&mut pouch, &walt, "mine");
    assert_eq!(pouch.ids(&walt, "mine"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_deleted_another_replica_forgets() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let walt = world.as_("walt");
    for db in ["one", "two"] {
        pouch.ok(&walt, json!({ "op": "open", "db": db }));
        pull(&mut pouch, &walt, db);
    }
    let local = pouch.ok(&walt, json!({ "op": "get", "db": "one", "id": "own-0" }));
    pouch.ok(&walt, json!({ "op": "remove", "db": "one", "doc": local }));
    let outcome = pouch.ok(
        &walt,
        json!({ "op": "replicate", "source": "one", "target": "@notes" }),
    );
    assert_eq!(outcome["denied"], json!([]), "{outcome}");
    pull(&mut pouch, &walt, "two");
    assert_eq!(pouch.ids(&walt, "two"), "own-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_travel_inline() {
    let world = filled().await;
    let walt = world.as_("walt");
    let owner = world.name("walt");
    let attachment =
        |text: &str| json!({ "note.txt": { "content_type": "text/plain", "data": text } });
    world
        .fill(
            "notes",
            json!([{ "_id": "with", "owner": owner, "_attachments": attachment("aGVsbG8=") }]),
        )
        .await;
    let mut pouch = Pouch::start(&world);
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    pull(&mut pouch, &walt, "mine");
    let bytes = pouch.ok(
        &walt,
        json!({ "op": "getAttachment", "db": "mine", "id": "with", "name": "note.txt" }),
    );
    assert_eq!(bytes, "aGVsbG8=");
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": { "_id": "sent", "owner": owner, "_attachments": attachment("d29ybGQ=") } }));
    let outcome = pouch.ok(
        &walt,
        json!({ "op": "replicate", "source": "mine", "target": "@notes" }),
    );
    assert_eq!(
        (&outcome["denied"], &outcome["result"]["docs_written"]),
        (&json!([]), &json!(1)),
        "{outcome}"
    );
    assert_eq!(
        world.backend().get("/@notes/sent/note.txt").await.text(),
        "world"
    );
    // A later revision keeps what is stored, though only the stub is written again.
    let mut local = pouch.ok(&walt, json!({ "op": "get", "db": "mine", "id": "with" }));
    local["n"] = 2.into();
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": local }));
    let outcome = pouch.ok(
        &walt,
        json!({ "op": "replicate", "source": "mine", "target": "@notes" }),
    );
    assert_eq!(
        (&outcome["denied"], &outcome["result"]["ok"]),
        (&json!([]), &json!(true)),
        "{outcome}"
    );
    assert_eq!(world.backend().get("/@notes/with").await.yes()["n"], 2);
    assert_eq!(
        world.backend().get("/@notes/with/note.txt").await.text(),
        "hello"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_of_one_database_get_what_is_theirs() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    let wanda = world.user("wanda", &["writer", "reader"]);
    let name = wanda.login.clone().unwrap().0;
    world
        .fill(
            "notes",
            json!([{ "_id": "wanda's", "owner": name, "salt": 1 }]),
        )
        .await;
    for (who, db, ids) in [
        (&rita, "of-rita", "s0 s1 s2"),
        (&walt, "of-walt", "own-0 own-1"),
        (&wanda, "of-wanda", "s0 s1 s2 wanda's"),
    ] {
        pouch.ok(who, json!({ "op": "open", "db": db }));
        pull(&mut pouch, who, db);
        assert_eq!(pouch.ids(who, db), ids);
    }
    // Her own record whole, the shared ones without their salt.
    let own = pouch.ok(
        &wanda,
        json!({ "op": "get", "db": "of-wanda", "id": "wanda's" }),
    );
    let shared = pouch.ok(&wanda, json!({ "op": "get", "db": "of-wanda", "id": "s0" }));
    assert_eq!((&own["salt"], &shared["salt"]), (&json!(1), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_replication_reads_nothing_again() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let walt = world.as_("walt");
    let owner = world.name("walt");
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    assert_eq!(pull(&mut pouch, &walt, "mine")["docs_read"], 2);
    let again = pull(&mut pouch, &walt, "mine");
    assert_eq!(
        (&again["docs_read"], &again["docs_written"]),
        (&json!(0), &json!(0)),
        "{again}"
    );
    world
        .fill(
            "notes",
            json!([{ "_id": "hidden", "owner": "x" }, { "_id": "new", "owner": owner }]),
        )
        .await;
    let third = pull(&mut pouch, &walt, "mine");
    assert_eq!(third["docs_read"], 1, "{third}");
    let push = |pouch: &mut Pouch| {
        pouch.ok(
            &walt,
            json!({ "op": "replicate", "source": "mine", "target": "@notes" }),
        )["result"]
            .clone()
    };
    push(&mut pouch);
    pouch.ok(
        &walt,
        json!({ "op": "put", "db": "mine", "doc": { "_id": "up", "owner": owner } }),
    );
    assert_eq!(push(&mut pouch)["docs_read"], 1);
    assert_eq!(push(&mut pouch)["docs_read"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_private() {
    let world = filled().await;
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    let made = walt.put("/@notes/_local/point", json!({ "seq": 1 })).await;
    assert_eq!(
        (made.status, &made.json()["id"]),
        (201, &json!("_local/point")),
        "{:?}",
        made.body
    );
    let read = walt.get("/@notes/_local/point").await.yes();
    assert_eq!(
        (&read["_id"], &read["seq"]),
        (&json!("_local/point"), &json!(1))
    );
    rita.get("/@notes/_local/point").await.no(404, "not_found");
    rita.put("/@notes/_local/point", json!({ "seq": 2 }))
        .await
        .yes();
    assert_eq!(walt.get("/@notes/_local/point").await.yes()["seq"], 1);
    let stored = world.backend().get("/@notes/_local_docs").await.ids();
    let names: Vec<&str> = stored.split(' ').collect();
    assert_eq!(names.len(), 2, "{stored}");
    for name in names {
        assert!(
            name.starts_with("_local/couchwarden-") && name.ends_with("-point"),
            "{stored}"
        );
        // Nobody comes near one under its real name.
        walt.get(&format!("/@notes/{name}"))
            .await
            .no(404, "not_found");
    }
    assert_eq!(
        world.backend().get("/@notes/_local/point").await.status,
        404
    );
    assert_eq!(walt.get("/@notes/_local_docs").await.ids(), "_local/point");
    world
        .anonymous()
        .get("/@notes/_local/point")
        .await
        .no(401, "unauthorized");
    // PouchDB's, too: two users who replicate alike have two.
    let mut pouch = Pouch::start(&world);
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    pull(&mut pouch, &walt, "mine");
    pull(&mut pouch, &rita, "mine");
    let stored = world.backend().get("/@notes/_local_docs").await.ids();
    assert_eq!(
        stored
            .split(' ')
            .filter(|name| name.starts_with("_local/couchwarden-"))
            .count(),
        4,
        "{stored}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_missing_for_a_replicator_that_asks() {
    let world = filled().await;
    let walt = world.as_("walt");
    let rev = |id: &'static str| {
        let backend = world.backend();
        async move { backend.get(&format!("/@notes/{id}")).await.yes()["_rev"].clone() }
    };
    let asked = json!({ "own-0": [rev("own-0").await], "s0": [rev("s0").await], "none": ["1-a"] });
    let diff = walt.post("/@notes/_revs_diff", asked.clone()).await.yes();
    assert_eq!(
        diff,
        json!({ "s0": { "missing": asked["s0"] }, "none": { "missing": ["1-a"] } })
    );
    let missing = walt
        .post("/@notes/_missing_revs", asked.clone())
        .await
        .yes();
    assert_eq!(
        missing["missing_revs"],
        json!({ "s0": asked["s0"], "none": ["1-a"] })
    );
    let wanted = json!({ "docs": [{ "id": "s0" }, { "id": "own-0" }, { "id": "none" }] });
    let got = walt.post("/@notes/_bulk_get?revs=true", wanted).await;
    assert_eq!(got.ids(), "s0 own-0 none", "{}", got.text());
    let docs = got.column("docs");
    assert_eq!((&docs[0], &docs[2]), (&json!([]), &json!([])));
    walt.post("/@notes/_ensure_full_commit", json!({}))
        .await
        .yes();
}

fn pull(pouch: &mut Pouch, who: &Client, db: &str) -> Value {
    let outcome = pouch.ok(
        who,
        json!({ "op": "replicate", "source": "@notes", "target": db }),
    );
    assert_eq!(outcome["denied"], json!([]), "{outcome}");
    outcome["result"].clone()
}

/// Two records of walt's, three that are shared, two of nobody's.
async fn filled() -> World {
    let world = World::start(RULES).await;
    let owner = world.name("walt");
    let documents = json!([
        { "_id": "own-0", "owner": owner, "n": 0 },
        { "_id": "s0", "shared": true, "salt": "a" },
        { "_id": "x0", "owner": "somebody" },
        { "_id": "own-1", "owner": owner, "n": 1 },
        { "_id": "s1", "shared": true, "salt": "b" },
        { "_id": "x1" },
        { "_id": "s2", "shared": true, "salt": "c" },
    ]);
    world.database("notes", documents).await;
    world
}
