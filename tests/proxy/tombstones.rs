//! Deletes, whatever way they are sent and whoever sends them: every replica that had the document learns of its
//! end, and no other.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Pouch, World};

const RULES: &str = r#"
[[rule]]
name = "red"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes"]
documents = { "about.team" = "red" }

[[rule]]
name = "blue"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["read", "changes"]
documents = { "about.team" = "blue" }

[[rule]]
name = "writers"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
"#;

const WAYS: [&str; 9] = [
    "DELETE",
    "DELETE by If-Match",
    "PUT",
    "POST",
    "PUT without new_edits",
    "PUT in parts",
    "_bulk_docs",
    "_bulk_docs without new_edits",
    "_bulk_docs above an unknown revision",
];

/// Ends a document in one of these ways.
async fn end(who: &Client, way: &str, id: &str, rev: &str) -> Answer {
    let tombstone = json!({ "_id": id, "_rev": rev, "_deleted": true, "why": way });
    let (start, tail) = rev.split_once('-').unwrap();
    let next: u64 = start.parse::<u64>().unwrap() + 1;
    let replicated = json!({ "_id": id, "_rev": format!("{next}-dead"), "_deleted": true, "why": way,
        "_revisions": { "start": next, "ids": ["dead", tail] } });
    let path = format!("/@notes/{id}");
    match way {
        "DELETE" => who.delete(&format!("{path}?rev={rev}")).await,
        "DELETE by If-Match" => who.ask("DELETE", &path, &[("if-match", rev)], "").await,
        "PUT" => who.put(&path, tombstone).await,
        "POST" => who.post("/@notes", tombstone).await,
        "PUT without new_edits" => {
            who.put(&format!("{path}?new_edits=false"), replicated)
                .await
        }
        "PUT in parts" => {
            let kind = [("content-type", "multipart/related; boundary=\"limit\"")];
            let mut tombstone = tombstone;
            tombstone["_attachments"] =
                json!({ "x": { "follows": true, "length": 3, "content_type": "a/b" } });
            let body = format!(
                "--limit\r\nContent-Type: application/json\r\n\r\n{tombstone}\r\n--limit\r\n\r\nxyz\r\n--limit--"
            );
            who.ask("PUT", &path, &kind, body).await
        }
        "_bulk_docs" => {
            who.post(
                "/@notes/_bulk_docs",
                json!({ "docs": [{ "_id": format!("other-{id}"), "n": 1.0 }, tombstone] }),
            )
            .await
        }
        "_bulk_docs without new_edits" => {
            who.post(
                "/@notes/_bulk_docs",
                json!({ "docs": [replicated], "new_edits": false }),
            )
            .await
        }
        _ => {
            let above = json!({ "_id": id, "_rev": "9-dead", "_deleted": true, "why": way, "_revisions": { "start": 9, "ids": ["dead", "unknown"] } });
            let both = json!([replicated, above]);
            who.post(
                "/@notes/_bulk_docs",
                json!({ "docs": both, "new_edits": false }),
            )
            .await
        }
    }
}

fn id(team: &str, number: usize) -> String {
    format!("{team}-{number}")
}

async fn filled() -> World {
    let world = World::start(RULES).await;
    let documents = ["red", "blue"].into_iter().flat_map(|team| {
        (0..WAYS.len()).map(move |number| json!({ "_id": id(team, number), "about": { "team": team, "more": 1 }, "n": number }))
    });
    world.database("notes", documents.collect()).await;
    world
}

/// What is stored of the end of a document.
async fn tombstone(world: &World, id: &str) -> Value {
    let path = format!("/@notes/{id}?open_revs=all");
    let json = [("accept", "application/json")];
    world.backend().ask("GET", &path, &json, "").await.yes()[0]["ok"].clone()
}

async fn deleted_by(who: &str) {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let (rita, tom) = (world.as_("rita"), world.as_("tom"));
    let all = |team: &str| {
        (0..WAYS.len())
            .map(|number| id(team, number))
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (reader, team) in [(&rita, "red"), (&tom, "blue")] {
        pouch.ok(reader, json!({ "op": "open", "db": team }));
        pouch.ok(
            reader,
            json!({ "op": "replicate", "source": "@notes", "target": team }),
        );
        assert_eq!(pouch.ids(reader, team), all(team));
    }
    let writer = world.as_(who);
    for (number, way) in WAYS.iter().enumerate() {
        let id = id("red", number);
        let rev = tombstone(&world, &id).await["_rev"]
            .as_str()
            .unwrap()
            .to_owned();
        let done = end(&writer, way, &id, &rev).await;
        // As CouchDB answers: a document that ends by its own path is no new one.
        let expected = match *way {
            "POST" => 201,
            way if way.starts_with('_') => 201,
            _ => 200,
        };
        assert_eq!(done.status, expected, "{way}: {done:?}");
        assert_eq!(
            done.header("location").is_some(),
            way.starts_with('P'),
            "{way}"
        );
        let stored = tombstone(&world, &id).await;
        assert_eq!(
            (&stored["_deleted"], &stored["about"]),
            (&json!(true), &json!({ "team": "red" })),
            "{way}: {stored}"
        );
        assert_eq!(stored["n"], Value::Null, "{way}: no more than was sent");
        assert_eq!(
            stored["why"].is_string(),
            !way.starts_with("DELETE"),
            "{way}"
        );
    }
    for (reader, team, left) in [(&rita, "red", String::new()), (&tom, "blue", all("blue"))] {
        pouch.ok(
            reader,
            json!({ "op": "replicate", "source": "@notes", "target": team }),
        );
        assert_eq!(pouch.ids(reader, team), left, "{team}");
        let feed = reader.get("/@notes/_changes").await.yes();
        let foreign: Vec<&Value> = feed["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| !row["id"].as_str().unwrap().starts_with(team))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_ends_is_learnt_by_those_who_had_it() {
    deleted_by("ops").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_ends_is_learnt_by_those_who_had_it() {
    deleted_by("walt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrators_deletes_are_otherwise_couchdbs_own() {
    let world = filled().await;
    let (ops, backend) = (world.as_("ops"), world.backend());
    for path in [
        "/@notes/none?rev=1-abc",
        "/@notes/none",
        "/@notes/red-0",
        "/@notes/red-0?rev=1-0123456789abcdef0123456789abcdef",
        "/@notes/red-0?rev=nonsense",
    ] {
        assert_eq!(
            ops.delete(path).await.seen(),
            backend.delete(path).await.seen(),
            "{path}"
        );
    }
    let stale = json!({ "_rev": "1-0123456789abcdef0123456789abcdef", "_deleted": true });
    let put = |who: Client, body: Value| async move { who.put("/@notes/red-0", body).await.seen() };
    assert_eq!(
        put(ops.clone(), stale.clone()).await,
        put(backend.clone(), stale).await
    );
    // What ends nothing is as it was sent, and so is a tombstone of what was never there.
    let rows = json!({ "docs": [{ "_id": "x", "about": { "team": "red" } }, { "_id": "y", "_rev": "1-ab", "_deleted": true }], "new_edits": false });
    let sent = ops.post("/@notes/_bulk_docs", rows.clone()).await;
    let direct = backend.post("/@notes/_bulk_docs", rows).await;
    assert_eq!(sent.status, direct.status);
    let never =
        json!({ "docs": [{ "_id": "y", "_rev": "1-ab", "_deleted": true }], "new_edits": false });
    assert_eq!(ops.post("/@notes/_bulk_docs", never).await.yes(), json!([]));
    assert!(tombstone(&world, "y").await["about"].is_null());
    // A second end keeps nothing of the first.
    let rev = tombstone(&world, "red-1").await["_rev"].clone();
    let gone = ops
        .delete(&format!("/@notes/red-1?rev={}", rev.as_str().unwrap()))
        .await
        .yes();
    assert_eq!(gone["rev"], tombstone(&world, "red-1").await["_rev"]);
    let again = format!("/@notes/red-1?rev={}", gone["rev"].as_str().unwrap());
    assert_eq!(
        ops.delete(&again).await.seen(),
        backend.delete(&again).await.seen()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_tombstone_is_judged_by_what_it_ended() {
    let world = filled().await;
    let (rita, tom) = (world.as_("rita"), world.as_("tom"));
    let rev = tombstone(&world, "red-0").await["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .backend()
        .delete(&format!("/@notes/red-0?rev={rev}"))
        .await
        .yes();
    let ends = |feed: Value| {
        let rows = feed["results"].as_array().unwrap().clone();
        rows.iter()
            .filter(|row| row["deleted"] == true)
            .map(|row| row["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ends(rita.get("/@notes/_changes").await.yes()),
        [json!("red-0")]
    );
    assert_eq!(
        ends(tom.get("/@notes/_changes").await.yes()),
        Vec::<Value>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_tombstone_of_what_was_forbidden_tells_nothing() {
    let rules = r#"
        [[rule]]
        name = "all"
        databases = ["@notes"]
        callers = { names = ["$rita"] }
        permit = ["read", "changes"]

        [[rule]]
        name = "but-these"
        databases = ["@notes"]
        callers = { names = ["$rita"] }
        forbid = ["read", "changes"]
        documents = { kind = "secret" }
    "#;
    let world = World::plain(rules).await;
    world
        .database(
            "notes",
            json!([{ "_id": "secret", "kind": "secret" }, { "_id": "open", "kind": "open" }]),
        )
        .await;
    let (rita, backend) = (world.as_("rita"), world.backend());
    for id in ["secret", "open"] {
        let path = format!("/@notes/{id}");
        let document = backend.get(&path).await.yes();
        let rev = document["_rev"].as_str().unwrap();
        backend.delete(&format!("{path}?rev={rev}")).await.yes();
    }
    let feed = rita.get("/@notes/_changes").await.yes();
    assert_eq!(feed["results"].as_array().unwrap().len(), 1, "{feed}");
    assert_eq!(feed["results"][0]["id"], "open", "{feed}");
    for (id, status) in [("secret", 404), ("open", 200)] {
        let leaves = rita.get(&format!("/@notes/{id}?open_revs=all")).await;
        assert_eq!(leaves.status, status, "{id}");
    }
}

/// Other rules were in force when these documents were deleted, so their tombstones keep what those decided by.
#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_that_was_made_under_other_rules_is_judged_by_what_it_ended_too() {
    let rules = r#"
        [[rule]]
        name = "red"
        databases = ["@notes"]
        callers = { names = ["$rita"] }
        permit = ["read", "changes"]
        documents = { team = "red" }

        [[rule]]
        name = "open"
        databases = ["@notes"]
        callers = { names = ["$rita"] }
        permit = ["read", "changes"]
        documents = { "about.shelf" = "open" }

        [[rule]]
        name = "but-these"
        databases = ["@notes"]
        callers = { names = ["$rita"] }
        forbid = ["read", "changes"]
        documents = { kind = "secret" }
    "#;
    let world = World::plain(rules).await;
    // What it was, what its tombstone says, and whether its reader learns of its end, before a compaction and after it.
    let cases = [
        (
            "kept-less",
            json!({ "team": "blue", "about": { "shelf": "open" } }),
            json!({ "team": "blue" }),
            [true, false],
        ),
        (
            "kept-part",
            json!({ "team": "blue", "about": { "shelf": "open", "n": 1 } }),
            json!({ "team": "blue", "about": { "n": 1 } }),
            [true, false],
        ),
        (
            "never-hers",
            json!({ "team": "blue", "about": { "shelf": "shut" } }),
            json!({ "team": "blue" }),
            [false, false],
        ),
        (
            "said-otherwise",
            json!({ "team": "blue", "about": { "shelf": "open" } }),
            json!({ "team": "blue", "about": { "shelf": "shut" } }),
            [false, false],
        ),
        (
            "hers",
            json!({ "team": "red" }),
            json!({ "team": "red" }),
            [true, true],
        ),
        (
            "forbidden",
            json!({ "team": "red", "kind": "secret" }),
            json!({ "team": "red" }),
            [false, true],
        ),
        ("bare", json!({ "team": "red" }), json!({}), [true, false]),
        (
            "bare-forbidden",
            json!({ "team": "red", "kind": "secret" }),
            json!({}),
            [false, false],
        ),
    ];
    let documents = cases.iter().map(|(id, was, ..)| with_id(was, id));
    world.database("notes", documents.collect()).await;
    let (rita, backend) = (world.as_("rita"), world.backend());
    for (id, _, says, _) in &cases {
        let path = format!("/@notes/{id}");
        let mut ended = says.clone();
        ended["_rev"] = backend.get(&path).await.yes()["_rev"].clone();
        ended["_deleted"] = true.into();
        backend.put(&path, ended).await.yes();
    }
    for (stage, compacted) in [false, true].into_iter().enumerate() {
        if compacted {
            backend.post("/@notes/_compact", json!({})).await.yes();
            while backend.get("/@notes").await.yes()["compact_running"] == true {}
        }
        let told = |learns: &[bool; 2]| learns[stage];
        let wanted: BTreeSet<&str> = cases
            .iter()
            .filter(|case| told(&case.3))
            .map(|case| case.0)
            .collect();
        for query in [
            "",
            "?style=all_docs",
            "?include_docs=true",
            "?style=all_docs&include_docs=true",
        ] {
            let feed = rita.get(&format!("/@notes/_changes{query}")).await.yes();
            let rows = feed["results"].as_array().unwrap();
            let found: BTreeSet<&str> =
                rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
            assert_eq!(found, wanted, "{query} {compacted}");
        }
        for (id, was, says, learns) in &cases {
            let path = format!("/@notes/{id}?open_revs=all");
            let headers = [("accept", "application/json")];
            let answer = rita.ask("GET", &path, &headers, "").await;
            if !told(learns) {
                assert_eq!(answer.status, 404, "{id} {compacted}");
                continue;
            }
            let mut tombstone = answer.yes()[0]["ok"].clone();
            for own in ["_id", "_rev", "_deleted"] {
                tombstone.as_object_mut().unwrap().remove(own);
            }
            assert_eq!(&tombstone, says, "no more than it says, of {was}");
        }
    }
}

/// A device deletes what it has, which has moved to others meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_older_revision_is_learnt_by_those_who_had_it() {
    let world = World::start(RULES).await;
    let (rita, tom, backend) = (world.as_("rita"), world.as_("tom"), world.backend());
    let ids = ["walt", "ops"];
    let documents = ids.map(|id| json!({ "_id": id, "about": { "team": "red" } }));
    world.database("notes", json!(documents)).await;
    let mut pouch = Pouch::start(&world);
    pouch.ok(&rita, json!({ "op": "open", "db": "hers" }));
    let pull = json!({ "op": "replicate", "source": "@notes", "target": "hers" });
    pouch.ok(&rita, pull.clone());
    assert_eq!(pouch.ids(&rita, "hers"), "ops walt");
    for who in ids {
        let path = format!("/@notes/{who}");
        let first = backend.get(&path).await.yes()["_rev"].clone();
        let moved = json!({ "_rev": first, "about": { "team": "blue" } });
        backend.put(&path, moved).await.yes();
        let (_, hash) = first.as_str().unwrap().split_once('-').unwrap();
        // It was edited there, too.
        let revisions = json!({ "start": 3, "ids": ["dead", "edited", hash] });
        let ended =
            json!({ "_id": who, "_rev": "3-dead", "_deleted": true, "_revisions": revisions });
        let batch = json!({ "new_edits": false, "docs": [ended] });
        let writer = world.as_(who);
        let rows = writer.post("/@notes/_bulk_docs", batch).await.yes();
        assert_eq!(rows, json!([]), "{who}");
    }
    pouch.ok(&rita, pull);
    assert_eq!(pouch.ids(&rita, "hers"), "");
    // To the others it goes on.
    for style in ["", "&style=all_docs"] {
        let path = format!("/@notes/_changes?include_docs=true{style}");
        let feed = tom.get(&path).await.yes();
        for row in feed["results"].as_array().unwrap() {
            assert_eq!(row["doc"]["about"]["team"], "blue");
            assert_eq!(row["changes"].as_array().unwrap().len(), 1, "{row}");
        }
    }
}

fn with_id(document: &Value, id: &str) -> Value {
    let mut document = document.clone();
    document["_id"] = id.into();
    document
}
