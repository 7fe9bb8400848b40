//! What a feed has told of and was not given when it was asked for, because rights were narrower for a while: it comes
//! when they are back, whatever checkpoint has been kept meanwhile.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Tap, World, backend};

const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes"]
documents = { kind = "open" }

[[rule]]
name      = "insiders"
databases = ["@notes"]
callers   = { roles = ["insider"] }
permit    = ["read", "changes"]
documents = { kind = "shut" }
"#;

/// Rows of all are told, documents of some are given.
const WIDER: &str = r#"
[[rule]]
name      = "told"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["changes"]
documents = { kind = { "$in" = ["open", "shut"] } }

[[rule]]
name      = "given"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read"]
documents = { kind = "open" }
"#;

async fn filled(rules: &str) -> World {
    let world = World::start(rules).await;
    let documents = json!([{ "_id": "a", "kind": "open" }, { "_id": "b", "kind": "shut" }]);
    world.database("notes", documents).await;
    world
}

/// The ways in which replicators fetch revisions that they were told of.
const WAYS: [&str; 4] = ["batch", "parts", "leaves", "mixed"];

async fn fetch(client: &Client, way: &str, id: &str, rev: &str) -> Answer {
    let accept = match way {
        "parts" | "mixed" => "multipart/mixed",
        _ => "application/json",
    };
    let headers = [("accept", accept), ("content-type", "application/json")];
    let (method, path, body) = match way {
        "batch" | "parts" => {
            let docs = json!({ "docs": [{ "id": "a" }, { "id": id, "rev": rev }] });
            let path = "/@notes/_bulk_get?revs=true&latest=true".to_owned();
            ("POST", path, docs.to_string())
        }
        _ => {
            let query = format!("open_revs=%5B%22{rev}%22%5D&revs=true&latest=true");
            ("GET", format!("/@notes/{id}?{query}"), String::new())
        }
    };
    let answer = client.ask(method, &path, &headers, body).await;
    assert!(answer.status == 200 && !answer.cut, "{way}: {answer:?}");
    answer
}

async fn changes(client: &Client, since: &str) -> (String, String) {
    let path = format!("/@notes/_changes?style=all_docs&since={since}");
    let answer = client.get(&path).await;
    let last = answer.yes()["last_seq"].as_str().unwrap().to_owned();
    (answer.ids(), last)
}

async fn rev(world: &World, id: &str) -> String {
    let stored = world.backend().get(&format!("/@notes/{id}")).await.yes();
    stored["_rev"].as_str().unwrap().to_owned()
}

/// By a role that was taken away for a while, and by rules; what is absent is as what is hidden.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_given_comes_when_rights_are_back() {
    let world = filled(RULES).await;
    let shut = rev(&world, "b").await;
    for (way, id) in WAYS.iter().flat_map(|way| [(way, "b"), (way, "none")]) {
        let uma = world.user("uma", &["reader", "insider"]);
        let (told, since) = changes(&uma, "0").await;
        assert_eq!(told, "a b", "{way}");
        world.roles(&uma, &["reader"]);
        until(&uma, "a").await;
        let answer = fetch(&uma, way, id, &shut).await;
        assert!(!answer.text().contains("\"shut\""), "{way}");
        world.roles(&uma, &["reader", "insider"]);
        until(&uma, "a b").await;
        let (told, since) = changes(&uma, &since).await;
        assert_eq!(told, "a b", "{way} {id}");
        // And from there as ever.
        let (told, since) = changes(&uma, &since).await;
        assert_eq!(told, "", "{way} {id}");
        fetch(&uma, way, "b", &shut).await;
        assert_eq!(changes(&uma, &since).await.0, "", "{way} {id}");
    }
}

/// A couchwarden that starts later knows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_known_after_a_restart() {
    let world = filled(RULES).await;
    let shut = rev(&world, "b").await;
    let uma = world.user("uma", &["reader", "insider"]);
    let (_, since) = changes(&uma, "0").await;
    world.roles(&uma, &["reader"]);
    until(&uma, "a").await;
    fetch(&uma, "batch", "b", &shut).await;
    world.roles(&uma, &["reader", "insider"]);
    let mut later = uma.clone();
    later.address = world.another().await;
    until(&later, "a b").await;
    assert_eq!(changes(&later, &since).await.0, "a b");
}

/// Else a mark, by which sequences end, would tell of the hidden leaf.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_leaf_beside_one_that_is_given_leaves_no_mark() {
    let world = filled(RULES).await;
    let leaf = |kind: &str, start: u32, rev: &str| json!({ "_id": "x", "kind": kind, "_rev": format!("{start}-{rev}"), "_revisions": { "start": start, "ids": [rev, "1"] } });
    let leaves =
        json!({ "new_edits": false, "docs": [leaf("open", 2, "b"), leaf("shut", 2, "a")] });
    world
        .backend()
        .post("/@notes/_bulk_docs", leaves)
        .await
        .yes();
    let uma = world.user("uma", &["reader", "insider"]);
    let (_, since) = changes(&uma, "0").await;
    world.roles(&uma, &["reader"]);
    until(&uma, "a x").await;
    for accept in ["application/json", "multipart/mixed"] {
        let headers = [("accept", accept), ("content-type", "application/json")];
        for asked in [json!({ "id": "x" }), json!({ "id": "x", "rev": "2-b" })] {
            let docs = json!({ "docs": [asked] }).to_string();
            let path = "/@notes/_bulk_get?revs=true&latest=true";
            let answer = uma.ask("POST", path, &headers, docs).await;
            assert!(answer.text().contains("\"open\""), "{}", answer.text());
            assert!(!answer.text().contains("\"shut\""), "{}", answer.text());
        }
        let path = "/@notes/x?open_revs=all&revs=true";
        uma.ask("GET", path, &headers, "").await.text();
    }
    world.roles(&uma, &["reader", "insider"]);
    until(&uma, "a b x").await;
    assert_eq!(changes(&uma, &since).await.0, "");
}

/// Each of them waits for its turn: none fails, and the last mark stands.
#[tokio::test(flavor = "multi_thread")]
async fn gaps_of_one_caller_at_once_disturb_no_answer() {
    let world = filled(RULES).await;
    let shut = rev(&world, "b").await;
    let uma = world.user("uma", &["reader", "insider"]);
    let (_, since) = changes(&uma, "0").await;
    world.roles(&uma, &["reader"]);
    until(&uma, "a").await;
    let fetches = (0..40).map(|at| fetch(&uma, WAYS[at % WAYS.len()], "b", &shut));
    futures_util::future::join_all(fetches).await;
    world.roles(&uma, &["reader", "insider"]);
    until(&uma, "a b").await;
    assert_eq!(changes(&uma, &since).await.0, "a b");
}

/// Else such a replication would never end.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_given_is_not_told_again_and_again() {
    let world = filled(WIDER).await;
    let shut = rev(&world, "b").await;
    let rita = world.as_("rita");
    let (told, since) = changes(&rita, "0").await;
    assert_eq!(told, "a b");
    for way in WAYS {
        fetch(&rita, way, "b", &shut).await;
        assert_eq!(changes(&rita, &since).await.0, "", "{way}");
    }
}

/// An open feed would go on behind what was not given.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_ends_an_open_feed_of_its_caller() {
    let world = World::with(RULES, "[limits]\nfeed_lease = \"2s\"\n").await;
    let documents = json!([{ "_id": "a", "kind": "open" }, { "_id": "b", "kind": "shut" }]);
    world.database("notes", documents).await;
    let (rita, other) = (world.as_("rita"), world.user("rosa", &["reader"]));
    let path = "/@notes/_changes?feed=continuous&heartbeat=1000&since=now";
    let mut feed = rita.feed(path).await;
    let mut others = other.feed(path).await;
    fetch(&rita, "batch", "b", &rev(&world, "b").await).await;
    let rest = feed.rest().await;
    assert!(rest.trim().starts_with(r#"{"last_seq":""#), "{rest}");
    world
        .fill("notes", json!([{ "_id": "c", "kind": "open" }]))
        .await;
    assert_eq!(others.row().await["id"], "c");
}

/// What it tells is not believed behind a newer gap, so it need not end before its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_takes_nothing_from_a_feed_that_ends_by_itself() {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, RULES, "[limits]\nfeed_lease = \"2s\"\n").await;
    let documents = json!([{ "_id": "a", "kind": "open" }, { "_id": "b", "kind": "shut" }]);
    world.database("notes", documents).await;
    // A leaf that a row does not hold has to be read.
    let leaf = |rev: &str| json!({ "_id": "c", "_rev": rev, "kind": "open" });
    let batch = json!({ "new_edits": false, "docs": [leaf("1-a"), leaf("1-b")] });
    let couchdb = world.backend();
    couchdb.post("/@notes/_bulk_docs", batch).await.yes();
    let (rita, rev) = (world.as_("rita"), rev(&world, "b").await);
    tap.stop("_bulk_get");
    let mut reading = Box::pin(rita.get("/@notes/_changes?style=all_docs"));
    tokio::select! {
        answer = &mut reading => panic!("{answer:?}"),
        () = tap.stopped() => {}
    }
    fetch(&rita, "batch", "b", &rev).await;
    let lease = tokio::time::sleep(std::time::Duration::from_millis(2500));
    let early = tokio::select! {
        answer = &mut reading => Some(answer),
        () = lease => None,
    };
    tap.release();
    let answer = match early {
        Some(answer) => answer,
        None => reading.await,
    };
    assert!(!answer.cut, "{answer:?}");
    assert_eq!(answer.ids(), "a c");
}

/// What callers' gaps are noted under is nobody's to read or write.
#[tokio::test(flavor = "multi_thread")]
async fn no_caller_reaches_the_notes_of_gaps() {
    let world = filled(RULES).await;
    let rita = world.as_("rita");
    fetch(&rita, "batch", "b", &rev(&world, "b").await).await;
    let raw = world.backend().get("/@notes/_local_docs").await;
    let rows = raw.yes()["rows"].as_array().cloned().unwrap_or_default();
    let ids = rows.iter().filter_map(|row| row["id"].as_str());
    for id in ids.chain(["_local/couchwarden-gaps-0"]) {
        rita.get(&format!("/@notes/{id}"))
            .await
            .no(404, "not_found");
        let (_, name) = id.split_once('/').unwrap();
        let own = json!({ "gaps": [] });
        rita.put(&format!("/@notes/_local/{name}"), own).await.yes();
    }
    let raw = raw.text();
    let now = world.backend().get("/@notes/_local_docs").await;
    let first: Value = serde_json::from_str(raw).unwrap();
    let kept = |row: &Value| now.text().contains(&row["value"]["rev"].to_string());
    assert!(first["rows"].as_array().unwrap().iter().all(kept), "{raw}");
}

/// Waits until couchwarden knows the rights that were changed past it.
async fn until(client: &Client, ids: &str) {
    for _ in 0..200 {
        if changes(client, "0").await.0 == ids {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{}", client.name());
}
