//! Rules decide by fields; who writes those fields decides. What is hidden from him stays hidden from him.

use serde_json::{Value, json};

use crate::support::{Answer, Client, World};

const RULES: &str = r#"
[[rule]]
name = "clerks"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["read", "write"]

[[rule]]
name = "whole"
databases = ["@notes"]
callers = { names = ["$sue"] }
permit = ["replicate"]

[[rule]]
name = "secrets"
databases = ["@notes"]
callers = { names = ["$walt"] }
hide = ["pin", "_attachments.scan"]
documents = { kind = "secret" }

[[rule]]
name = "public"
databases = ["@staff"]
callers = { names = ["$walt"] }
permit = ["read"]
documents = { public = true }

[[rule]]
name = "team"
databases = ["@staff", "@found"]
callers = { names = ["$walt"] }
permit = ["read", "write"]
show = ["title", "public", "team"]
documents = { team = "red" }

[[rule]]
name = "found"
databases = ["@found"]
callers = { names = ["$walt"] }
permit = ["find"]
documents = { public = true }
"#;

async fn world() -> World {
    let world = World::start(RULES).await;
    let notes = json!([
        { "_id": "d", "kind": "secret", "pin": "4711", "t": 1 },
        { "_id": "bare", "kind": "secret", "t": 1 },
    ]);
    world.database("notes", notes).await;
    for name in ["staff", "found"] {
        let staff = json!([{ "_id": "d", "team": "red", "title": "x", "salary": 9 }]);
        world.database(name, staff).await;
    }
    world
}

/// Sends the document in every way there is.
async fn every_way(who: &Client, db: &str, document: &Value) -> Vec<Answer> {
    let path = format!("/@{db}/{}", document["_id"].as_str().unwrap());
    let (start, tail) = document["_rev"].as_str().unwrap().split_once('-').unwrap();
    let next = start.parse::<u64>().unwrap() + 1;
    let mut forced = document.clone();
    forced["_rev"] = format!("{next}-ab").into();
    forced["_revisions"] = json!({ "start": next, "ids": ["ab", tail] });
    let batch = format!("/@{db}/_bulk_docs");
    vec![
        who.put(&path, document.clone()).await,
        who.post(&format!("/@{db}"), document.clone()).await,
        who.put(&format!("{path}?new_edits=false"), forced.clone())
            .await,
        who.post(&batch, json!({ "docs": [document] })).await,
        who.post(&batch, json!({ "docs": [forced], "new_edits": false }))
            .await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uncovers_hidden_fields_by_altering_what_hides_them() {
    let world = world().await;
    let walt = world.as_("walt");
    for (db, id, field, value) in [
        ("notes", "d", "kind", json!("open")),
        // Whether there is anything to uncover is nothing to learn either.
        ("notes", "bare", "kind", json!("open")),
        ("notes", "d", "kind", Value::Null),
        ("staff", "d", "public", json!(true)),
        ("found", "d", "public", json!(true)),
    ] {
        let mut document = walt.get(&format!("/@{db}/{id}")).await.yes();
        document[field] = value;
        for answer in every_way(&walt, db, &document).await {
            let told = answer.json();
            let told = told.get(0).unwrap_or(&told);
            assert_eq!(told["error"], "forbidden", "{db} {answer:?}");
        }
        let now = world.backend().get(&format!("/@{db}/{id}")).await.yes();
        assert_eq!(now["_rev"], document["_rev"], "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shows_no_more_than_before_is_written() {
    let world = world().await;
    let walt = world.as_("walt");
    let mut document = walt.get("/@notes/d").await.yes();
    document["t"] = 2.into();
    walt.put("/@notes/d", document).await.yes();
    // From open to secret.
    let open = json!({ "kind": "open", "pin": "0815" });
    let made = walt.put("/@notes/open", open).await.yes();
    let covered = json!({ "_rev": made["rev"], "kind": "secret", "pin": "0815" });
    walt.put("/@notes/open", covered).await.yes();
    assert!(walt.get("/@notes/open").await.yes()["pin"].is_null());
    let now = world.backend().get("/@notes/d").await.yes();
    assert_eq!((&now["pin"], &now["t"]), (&json!("4711"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sets_a_field_by_the_write_that_hides_it() {
    let world = world().await;
    let walt = world.as_("walt");
    let open = json!({ "_id": "e", "kind": "open", "t": 1, "pin": "1" });
    let rev = walt.put("/@notes/e", open.clone()).await.yes()["rev"].clone();
    let mut sent = open;
    sent["_rev"] = rev.clone();
    sent["kind"] = "secret".into();
    sent["pin"] = "2".into();
    for answer in every_way(&walt, "notes", &sent).await {
        let told = answer.json();
        let told = told.get(0).unwrap_or(&told);
        assert_eq!(told["error"], "forbidden", "{answer:?}");
    }
    // What stays as it was may be hidden from now on.
    sent["pin"] = "1".into();
    walt.put("/@notes/e", sent).await.yes();
    assert!(walt.get("/@notes/e").await.yes()["pin"].is_null());
}

/// A device pushes its edit of what it was given: the administrator has opened the document in between, or the rule
/// was about it then and is not any more.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_destroys_by_a_replica_what_may_have_been_hidden_from_them() {
    let world = world().await;
    let walt = world.as_("walt");
    let scan = json!({ "content_type": "text/plain", "data": "c2Nhbg==" });
    let moved = |rev: &str, parent: &Value| {
        let (start, hash) = rev.split_once('-').unwrap();
        let (_, before) = parent.as_str().unwrap().split_once('-').unwrap();
        json!({ "start": start.parse::<u64>().unwrap(), "ids": [hash, before] })
    };
    for (id, rev, opened) in [
        ("wins", "2-ffffffffffffffffffffffffffffffff", true),
        ("loses", "2-00000000000000000000000000000000", true),
        ("extends", "2-ffffffffffffffffffffffffffffffff", false),
    ] {
        let path = format!("/@notes/{id}");
        let kind = if opened { "secret" } else { "open" };
        let document =
            json!({ "kind": kind, "pin": 4711, "t": 1, "_attachments": { "scan": scan } });
        let first = world.backend().put(&path, document).await.yes()["rev"].clone();
        if opened {
            let mut open = world.backend().get(&path).await.yes();
            open["kind"] = "open".into();
            world.backend().put(&path, open).await.yes();
        }
        let edited = json!({ "_id": id, "_rev": rev, "_revisions": moved(rev, &first), "kind": kind, "t": 2 });
        let batch = json!({ "new_edits": false, "docs": [edited] });
        let rows = walt.post("/@notes/_bulk_docs", batch).await.yes();
        let stored = world.backend().get(&format!("{path}?rev={rev}")).await;
        match stored.status {
            200 => {
                let stored = stored.yes();
                assert_eq!(
                    (&stored["pin"], &stored["t"]),
                    (&json!(4711), &json!(2)),
                    "{id}"
                );
                assert!(stored["_attachments"]["scan"].is_object(), "{id}: {stored}");
            }
            // Told.
            _ => assert_eq!(rows[0]["error"], "forbidden", "{id}"),
        }
        let bytes = world.backend().get(&format!("{path}/scan")).await;
        assert_eq!(bytes.body.as_ref(), b"scan", "{id}");
    }
}

/// A device pushes its edit of what was deleted meanwhile, which brings the document back.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_edit_brings_back_beside_its_end_has_what_was_hidden_from_its_writer() {
    let world = world().await;
    let (walt, sue, backend) = (world.as_("walt"), world.as_("sue"), world.backend());
    let scan = json!({ "content_type": "text/plain", "data": "c2Nhbg==" });
    let kept = json!({ "kind": "secret", "pin": 4711, "t": 1, "_attachments": { "scan": scan, "photo": scan } });
    // How it was deleted, by how many edits it comes back, who pushes them and how, and whether their parent is still there.
    for (id, end, edits, who, forced, is_there) in [
        (
            "edited",
            json!({ "kind": "secret" }),
            1,
            &walt,
            "_bulk_docs",
            true,
        ),
        ("edited-bare", json!({}), 1, &walt, "PUT", true),
        (
            "edited-often",
            json!({ "kind": "secret" }),
            5,
            &walt,
            "_bulk_docs",
            true,
        ),
        (
            "edited-whole",
            json!({ "kind": "secret" }),
            1,
            &sue,
            "_bulk_docs",
            true,
        ),
        (
            "compacted",
            json!({ "kind": "secret" }),
            1,
            &walt,
            "_bulk_docs",
            false,
        ),
        (
            "compacted-whole",
            json!({ "kind": "secret" }),
            1,
            &sue,
            "PUT",
            false,
        ),
    ] {
        let path = format!("/@notes/{id}");
        let first = backend.put(&path, kept.clone()).await.yes()["rev"].clone();
        let before = who.get(&path).await.yes();
        let mut tombstone = end.clone();
        tombstone["_rev"] = first.clone();
        tombstone["_deleted"] = true.into();
        backend.put(&path, tombstone).await.yes();
        if !is_there {
            backend.post("/@notes/_compact", json!({})).await.yes();
            while backend.get("/@notes").await.yes()["compact_running"] == true {}
        }
        let hash = |rev: &Value| rev.as_str().unwrap().split_once('-').unwrap().1.to_owned();
        let made: Vec<String> = (0..edits)
            .map(|edit| format!("{edit:032x}"))
            .rev()
            .collect();
        let ids: Vec<String> = made.iter().cloned().chain([hash(&first)]).collect();
        let mut edited = json!({ "_id": id, "_rev": format!("{}-{}", ids.len(), ids[0]), "_revisions": { "start": ids.len(), "ids": ids } });
        for name in before
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| !name.starts_with('_'))
        {
            edited[name] = before[name].clone();
        }
        edited["t"] = 2.into();
        edited["_attachments"] = json!({ "photo": scan });
        if who.login == sue.login {
            edited["_attachments"]["scan"] = scan.clone();
        }
        let answer = match forced {
            "PUT" => who.put(&format!("{path}?new_edits=false"), edited).await,
            _ => {
                who.post(
                    "/@notes/_bulk_docs",
                    json!({ "new_edits": false, "docs": [edited] }),
                )
                .await
            }
        };
        let found = backend.get(&path).await;
        if id == "compacted" {
            // Told: nobody knows any more what was hidden.
            assert_eq!(answer.yes()[0]["error"], "forbidden", "{id}");
            assert_eq!(found.status, 404, "{id}");
        } else {
            assert_eq!(answer.status, 201, "{id} {answer:?}");
            let found = found.yes();
            assert_eq!(
                (&found["pin"], &found["t"]),
                (&json!(4711), &json!(2)),
                "{id}: {found}"
            );
            for file in ["scan", "photo"] {
                let bytes = backend.get(&format!("{path}/{file}")).await;
                assert_eq!(bytes.body.as_ref(), b"scan", "{id} {file}");
            }
        }
    }
    // What continues an end is a new document, with nothing of the old one.
    let path = "/@notes/anew";
    let first = backend.put(path, kept.clone()).await.yes()["rev"].clone();
    let rev = first.as_str().unwrap();
    let ended = backend.delete(&format!("{path}?rev={rev}")).await.yes()["rev"].clone();
    let hash = |rev: &Value| rev.as_str().unwrap().split_once('-').unwrap().1.to_owned();
    let ids = json!(["f".repeat(32), hash(&ended), hash(&first)]);
    let anew = json!({ "_id": "anew", "_rev": format!("3-{}", "f".repeat(32)), "_revisions": { "start": 3, "ids": ids }, "kind": "open" });
    let batch = json!({ "new_edits": false, "docs": [anew] });
    assert_eq!(
        walt.post("/@notes/_bulk_docs", batch).await.yes(),
        json!([])
    );
    let found = backend.get(path).await.yes();
    assert_eq!(
        (&found["kind"], &found["pin"], &found["_attachments"]),
        (&json!("open"), &Value::Null, &Value::Null)
    );
    // Whoever neither sees a document nor its end learns nothing of either.
    let hidden = json!({ "team": "blue", "title": "x" });
    let first = backend.put("/@staff/hidden", hidden).await.yes()["rev"].clone();
    let rev = first.as_str().unwrap();
    backend
        .delete(&format!("/@staff/hidden?rev={rev}"))
        .await
        .yes();
    let ids = json!(["a".repeat(32), rev.split_once('-').unwrap().1]);
    let edited = |id: &str| json!({ "_id": id, "_rev": format!("2-{}", "a".repeat(32)), "_revisions": { "start": 2, "ids": ids }, "team": "red", "title": "y" });
    let docs = json!([edited("hidden"), edited("absent")]);
    let rows = walt
        .post(
            "/@staff/_bulk_docs",
            json!({ "new_edits": false, "docs": docs }),
        )
        .await;
    assert_eq!(rows.yes(), json!([]));
    for id in ["hidden", "absent"] {
        assert_eq!(
            backend.get(&format!("/@staff/{id}")).await.yes()["title"],
            "y"
        );
    }
}
