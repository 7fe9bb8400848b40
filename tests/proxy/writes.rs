//! Writing: the stored and the new document are judged, row by row, and nothing is lost that a writer can't see.

use serde_json::{Value, json};

use crate::fields::notes;
use crate::support::World;

const RULES: &str = r#"
[[rule]]
name = "red-writers"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
hide = ["secret"]
documents = { team = "red" }

[[rule]]
name = "red-readers"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes"]
documents = { team = "red" }

[[rule]]
name = "titles"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["read", "update"]
change = ["title", "cf*"]
documents = { team = "red" }
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    world.database("notes", notes()).await;
    world
}

async fn stored(world: &World, id: &str) -> Value {
    world.backend().get(&format!("/@notes/{id}")).await.json()
}

async fn rev(world: &World, id: &str) -> String {
    stored(world, id).await["_rev"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_fields_are_put_back() {
    let world = filled().await;
    let walt = world.as_("walt");
    let mut mine = walt.get("/@notes/a").await.yes();
    assert!(mine["secret"].is_null());
    mine["n"] = 100.into();
    walt.put("/@notes/a", mine).await.yes();
    let now = stored(&world, "a").await;
    assert_eq!(
        (&now["n"], &now["secret"], &now["deep"]["x"]["key"]),
        (&json!(100), &json!("s-1"), &json!("s-k"))
    );
    let bulk =
        json!({ "docs": [{ "_id": "c", "_rev": rev(&world, "c").await, "team": "red", "n": 7 }] });
    walt.post("/@notes/_bulk_docs", bulk).await.yes();
    assert_eq!(stored(&world, "c").await["secret"], "s-3");
    // To send one is forbidden.
    let sent = json!({ "_rev": rev(&world, "e").await, "team": "red", "secret": "mine" });
    walt.put("/@notes/e", sent).await.no(403, "forbidden");
    walt.put("/@notes/new", json!({ "team": "red", "secret": "mine" }))
        .await
        .no(403, "forbidden");
    assert_eq!(stored(&world, "new").await["error"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_can_be_neither_stolen_nor_pushed_away() {
    let world = filled().await;
    let walt = world.as_("walt");
    let before = world
        .backend()
        .get("/@notes/_all_docs?include_docs=true")
        .await
        .json();
    let away = json!({ "_rev": rev(&world, "a").await, "team": "blue" });
    walt.put("/@notes/a", away).await.no(403, "forbidden");
    let stolen = walt
        .put(
            "/@notes/b",
            json!({ "_rev": rev(&world, "b").await, "team": "red" }),
        )
        .await;
    assert!([403, 404, 409].contains(&stolen.status), "{stolen:?}");
    walt.put("/@notes/b", json!({ "team": "red" }))
        .await
        .no(409, "conflict");
    walt.put("/@notes/new", json!({ "team": "blue" }))
        .await
        .no(403, "forbidden");
    walt.post("/@notes", json!({ "team": "blue" }))
        .await
        .no(403, "forbidden");
    walt.post("/@notes", json!({ "_id": "_design/x", "team": "red" }))
        .await
        .no(403, "forbidden");
    walt.put("/@notes/_design/x", json!({ "team": "red" }))
        .await
        .no(403, "forbidden");
    let (hidden, absent) = (
        walt.delete("/@notes/b?rev=1-abc").await,
        walt.delete("/@notes/none?rev=1-abc").await,
    );
    assert_eq!(hidden.seen(), absent.seen());
    assert_eq!(
        world
            .as_("rita")
            .put(
                "/@notes/a",
                json!({ "_rev": rev(&world, "a").await, "team": "red" })
            )
            .await
            .status,
        403
    );
    assert_eq!(
        world
            .as_("rita")
            .put("/@notes/new", json!({ "team": "red" }))
            .await
            .status,
        403
    );
    world
        .anonymous()
        .put("/@notes/new", json!({ "team": "red" }))
        .await
        .no(401, "unauthorized");
    assert_eq!(
        world
            .user("out", &[])
            .put("/@notes/new", json!({}))
            .await
            .status,
        404
    );
    assert_eq!(
        world
            .backend()
            .get("/@notes/_all_docs?include_docs=true")
            .await
            .json(),
        before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_creates_and_deletes_what_is_his() {
    let world = filled().await;
    let walt = world.as_("walt");
    let made = walt
        .post("/@notes", json!({ "team": "red", "n": 50 }))
        .await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(stored(&world, &id).await["n"], 50);
    walt.put("/@notes/mine", json!({ "team": "red" }))
        .await
        .yes();
    walt.put("/@notes/mine", json!({ "team": "red" }))
        .await
        .no(409, "conflict");
    walt.delete(&format!("/@notes/mine?rev={}", rev(&world, "mine").await))
        .await
        .yes();
    // Once gone, it may be made anew.
    walt.put("/@notes/mine", json!({ "team": "red", "again": true }))
        .await
        .yes();
    assert_eq!(stored(&world, "mine").await["again"], true);
    let tombstone = json!({ "_rev": rev(&world, "mine").await, "_deleted": true });
    walt.put("/@notes/mine", tombstone).await.yes();
    assert_eq!(stored(&world, "mine").await["reason"], "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_rows_are_answered_in_their_place() {
    let world = filled().await;
    let walt = world.as_("walt");
    let docs = json!([
        { "_id": "one", "team": "red" },
        { "_id": "two", "team": "blue" },
        { "_id": "a", "_rev": rev(&world, "a").await, "team": "red", "n": 8 },
        { "_id": "b", "_rev": rev(&world, "b").await, "team": "red" },
        { "_id": "c", "_rev": "1-00", "team": "red" },
        { "_id": "_design/x", "team": "red" },
        { "team": "red", "made": true },
        { "_id": "six", "team": "red", "secret": 1 },
        { "_id": "last", "team": "red" },
    ]);
    let rows = walt
        .post("/@notes/_bulk_docs", json!({ "docs": docs }))
        .await
        .yes();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 9, "{rows:?}");
    for (index, wanted) in [
        "ok",
        "forbidden",
        "ok",
        "conflict",
        "conflict",
        "forbidden",
        "ok",
        "forbidden",
        "ok",
    ]
    .iter()
    .enumerate()
    {
        let row = &rows[index];
        let found = row["error"].as_str().unwrap_or("ok");
        assert!(
            found == *wanted || (index == 3 && found == "forbidden"),
            "{index}: {row}"
        );
        if let Some(id) = docs[index]["_id"].as_str() {
            assert_eq!(row["id"], id, "{row}");
        }
        assert_eq!(row["reason"].is_string(), found != "ok", "{row}");
    }
    assert_eq!(stored(&world, "two").await["error"], "not_found");
    assert_eq!(stored(&world, "b").await["team"], "blue");
    assert_eq!(stored(&world, "last").await["team"], "red");
    // All denied, or nothing to do: still one row for each.
    let none = walt
        .post(
            "/@notes/_bulk_docs",
            json!({ "docs": [{ "_id": "x", "team": "blue" }] }),
        )
        .await
        .yes();
    assert_eq!(none[0]["error"], "forbidden");
    assert_eq!(
        walt.post("/@notes/_bulk_docs", json!({ "docs": [] }))
            .await
            .yes(),
        json!([])
    );
    let reader = world
        .as_("rita")
        .post(
            "/@notes/_bulk_docs",
            json!({ "docs": [{ "_id": "x", "team": "red" }] }),
        )
        .await;
    assert_eq!(reader.yes()[0]["error"], "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicated_rows_are_judged_against_every_leaf() {
    let world = filled().await;
    let walt = world.as_("walt");
    let (a, b, c) = (
        rev(&world, "a").await,
        rev(&world, "b").await,
        rev(&world, "c").await,
    );
    let next = |id: &str, rev: &str, more: Value| {
        let mut document = json!({ "_id": id, "_rev": "2-abc0", "_revisions": { "start": 2, "ids": ["abc0", &rev[2..]] } });
        document
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        document
    };
    let docs = json!([
        next("a", &a, json!({ "team": "red", "n": 9 })),
        next("b", &b, json!({ "team": "red" })),
        { "_id": "b", "_rev": "9-ff", "_revisions": { "start": 9, "ids": ["ff"] }, "team": "red" },
        next("c", &c, json!({ "team": "blue" })),
        { "_id": "fresh", "_rev": "1-cafe", "_revisions": { "start": 1, "ids": ["cafe"] }, "team": "red" },
        { "_id": "fresh2", "_rev": "1-cafe", "team": "blue" },
    ]);
    let answer = walt
        .post(
            "/@notes/_bulk_docs",
            json!({ "new_edits": false, "docs": docs }),
        )
        .await;
    let rows = answer.yes();
    let mut denied: Vec<&str> = Vec::new();
    for row in rows.as_array().unwrap() {
        if let Some(error) = row["error"].as_str() {
            assert_eq!(error, "forbidden", "{row}");
            denied.push(row["id"].as_str().unwrap());
        }
    }
    assert_eq!(denied, ["b", "b", "c", "fresh2"], "{rows}");
    let now = stored(&world, "a").await;
    assert_eq!(
        (&now["n"], &now["_rev"], &now["secret"]),
        (&json!(9), &json!("2-abc0"), &json!("s-1"))
    );
    assert_eq!((rev(&world, "b").await, rev(&world, "c").await), (b, c));
    assert_eq!(rev(&world, "fresh").await, "1-cafe");
    assert_eq!(stored(&world, "fresh2").await["error"], "not_found");
    // The same by PUT.
    let put = json!({ "_rev": "3-dd", "_revisions": { "start": 3, "ids": ["dd", "abc0"] }, "team": "blue" });
    walt.put("/@notes/a?new_edits=false", put)
        .await
        .no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_fields_that_may_change_do() {
    let world = filled().await;
    let tom = world.as_("tom");
    let mut mine = tom.get("/@notes/a").await.yes();
    mine["title"] = "T".into();
    mine["cf_busy"] = json!({ "to": 1 });
    tom.put("/@notes/a", mine.clone()).await.yes();
    assert_eq!(stored(&world, "a").await["title"], "T");
    for (field, value) in [
        ("n", json!(2)),
        ("team", json!("red ")),
        ("zero", Value::Null),
        ("extra", json!(1)),
        ("_attachments", json!({ "x": { "data": "" } })),
    ] {
        let mut changed = stored(&world, "a").await;
        changed[field] = value;
        let answer = tom.put("/@notes/a", changed).await;
        assert_eq!(answer.status, 403, "{field}: {:?}", answer.body);
    }
    let mut without = stored(&world, "a").await;
    without.as_object_mut().unwrap().remove("text");
    tom.put("/@notes/a", without).await.no(403, "forbidden");
    tom.put("/@notes/new", json!({ "team": "red", "title": "T" }))
        .await
        .no(403, "forbidden");
    tom.delete(&format!("/@notes/a?rev={}", rev(&world, "a").await))
        .await
        .no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_json_is_refused_whole() {
    let world = filled().await;
    let walt = world.as_("walt");
    let json = [("content-type", "application/json")];
    for (path, body) in [
        ("/@notes/x", r#"{"team":"blue","team":"red"}"#),
        ("/@notes/x", r#"{"team":"red","\u0074eam":"blue"}"#),
        ("/@notes/x", r#"{"team":"red","deep":{"a":1,"a":2}}"#),
        ("/@notes/x", r#"{"team":"red"} {}"#),
        ("/@notes/x", "{\"team\":\"red\",\"x\":\"\\ud800\"}"),
        ("/@notes/x", "\u{feff}{\"team\":\"red\"}"),
        ("/@notes/x", "{\"team\":"),
        ("/@notes/x", "[]"),
        ("/@notes/x", ""),
    ] {
        let answer = walt.ask("PUT", path, &json, body).await;
        assert_eq!(answer.status, 400, "{body}: {:?}", answer.body);
    }
    for body in [
        r#"{"docs":[{"_id":"x","team":"red"}],"docs":[{"_id":"x","team":"blue"}]}"#,
        r#"{"docs":[{"_id":"x","team":"red","team":"blue"}]}"#,
        r#"{"docs":[{"_id":"x","_id":"y","team":"red"}]}"#,
        r#"{"docs":{}}"#,
        r#"{"docs":[1]}"#,
    ] {
        let answer = walt.ask("POST", "/@notes/_bulk_docs", &json, body).await;
        assert_eq!(answer.status, 400, "{body}: {:?}", answer.body);
    }
    assert_eq!(stored(&world, "x").await["error"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_everybodys_own() {
    let world = filled().await;
    let (walt, rita) = (world.as_("walt"), world.as_("rita"));
    let made = walt
        .put("/@notes/_local/checkpoint", json!({ "seq": 5 }))
        .await
        .yes();
    assert_eq!(made["id"], "_local/checkpoint", "{made}");
    let mine = walt.get("/@notes/_local/checkpoint").await.yes();
    assert_eq!(
        (&mine["seq"], &mine["_id"]),
        (&json!(5), &json!("_local/checkpoint"))
    );
    assert_eq!(rita.get("/@notes/_local/checkpoint").await.status, 404);
    rita.put("/@notes/_local/checkpoint", json!({ "seq": 1 }))
        .await
        .yes();
    assert_eq!(walt.get("/@notes/_local/checkpoint").await.yes()["seq"], 5);
    let rev = mine["_rev"].as_str().unwrap();
    walt.put(
        "/@notes/_local/checkpoint",
        json!({ "_rev": rev, "seq": 6 }),
    )
    .await
    .yes();
    assert_eq!(walt.get("/@notes/_local/checkpoint").await.yes()["seq"], 6);
    assert_eq!(
        walt.get("/@notes/_local_docs").await.ids(),
        "_local/checkpoint"
    );
    let bulk = walt
        .post(
            "/@notes/_bulk_docs",
            json!({ "docs": [{ "_id": "_local/checkpoint", "seq": 9 }] }),
        )
        .await;
    assert!(
        bulk.status == 400
            || bulk.json()[0]["error"] == "forbidden"
            || bulk.json()[0]["ok"] == true,
        "{bulk:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_don_t_tell_of_hidden_documents() {
    let world = filled().await;
    let walt = world.as_("walt");
    for path in ["_revs_diff", "_missing_revs"] {
        let revs = json!({ "a": [rev(&world, "a").await, "5-e"], "b": [rev(&world, "b").await, "5-e"], "none": ["5-e"] });
        let told = walt.post(&format!("/@notes/{path}"), revs).await.yes();
        let rows = if path == "_revs_diff" {
            told.clone()
        } else {
            told["missing_revs"].clone()
        };
        let missing = |id: &str| {
            if path == "_revs_diff" {
                rows[id]["missing"].clone()
            } else {
                rows[id].clone()
            }
        };
        assert_eq!(missing("a"), json!(["5-e"]), "{told}");
        let mut hidden: Vec<_> = missing("b").as_array().unwrap().clone();
        hidden.sort_by_key(ToString::to_string);
        assert_eq!(hidden, [rev(&world, "b").await, "5-e".to_owned()], "{told}");
        assert!(rows["b"]["possible_ancestors"].is_null(), "{told}");
    }
    let done = walt.post("/@notes/_ensure_full_commit", json!({})).await;
    assert_eq!(done.yes()["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_raw_checkpoints_without_a_lens() {
    let world = World::start(
        r#"
[[rule]]
name = "all"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate", "design", "design-write"]
"#,
    )
    .await;
    world.database("notes", json!([])).await;
    let (ops, walt) = (world.as_("ops"), world.as_("walt"));
    ops.put("/@notes/_local/repid", json!({ "last_seq": 5 }))
        .await
        .yes();
    let forged = json!({ "_id": "_local/repid", "_rev": "0-1", "last_seq": 9999 });
    walt.post("/@notes/_bulk_docs", json!({ "docs": [forged] }))
        .await;
    walt.post("/@notes", forged).await;
    let raw = world.backend().get("/@notes/_local/repid").await.yes();
    assert_eq!(raw["last_seq"], 5, "{raw}");
    // His own he finds again.
    let mine = json!({ "docs": [{ "_id": "_local/mine", "seq": 1 }] });
    walt.post("/@notes/_bulk_docs", mine).await.yes();
    assert_eq!(walt.get("/@notes/_local/mine").await.yes()["seq"], 1);
    let raw = world.backend().get("/@notes/_local/mine").await;
    assert_eq!(raw.status, 404, "{raw:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_gone_is_a_conflict_where_the_document_is_known() {
    let world = filled().await;
    let walt = world.as_("walt");
    let gone = "1-0123456789abcdef0123456789abcdef";
    for (id, expected) in [("a", 409), ("b", 404), ("absent", 404)] {
        for path in [
            format!("/@notes/{id}?rev={gone}"),
            format!("/@notes/{id}/x?rev={gone}"),
        ] {
            assert_eq!(walt.delete(&path).await.status, expected, "{path}");
        }
        let path = format!("/@notes/{id}/x?rev={gone}");
        assert_eq!(
            walt.ask("PUT", &path, &[], "x").await.status,
            expected,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_names_the_document_whatever_its_body_says() {
    let world = filled().await;
    let sent = json!({ "_id": "b", "team": "red" });
    let done = world.as_("walt").put("/@notes/other", sent).await.yes();
    assert_eq!(done["id"], "other");
    assert_eq!(stored(&world, "other").await["team"], "red");
    let old = json!({ "docs": [{ "_id": "old", "team": "red" }], "all_or_nothing": false });
    let done = world
        .as_("walt")
        .post("/@notes/_bulk_docs", old)
        .await
        .yes();
    assert_eq!(done[0]["ok"], true, "{done}");
}
