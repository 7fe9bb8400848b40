//! What an earlier release has sealed, named or stored is still read: sequences and bookmarks of clients, checkpoints
//! under private names, gaps, tombstones.
//!
//! `tests/golden/formats.json` was written by that release. It stays as it is: whoever must change a format adds the new
//! form beside the old one, and reads both. Cookies, tokens and documents of `_replicator` have such records of their
//! own beside their code.

use serde_json::{Value, json};

use crate::support::{Client, Fake, Seen, World, plain};

/// Every kind of condition and field list, since sequences depend on how they are spelt.
const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["notes", "gapped"]
callers   = { names = ["{name}"], roles = ["reader"] }
permit    = ["read", "changes", "find", "write", "delete"]
documents = { kind = { "$in" = ["open", "{name}"] }, "$or" = [{ level = { "$lte" = 3 } }, { level = { "$exists" = false } }] }
hide      = ["pin", "deep.inner"]

[[rule]]
name      = "closed"
databases = ["notes", "gapped"]
callers   = { names = ["{name}"] }
forbid    = ["read", "changes"]
documents = { _id = { "$pattern" = ["shut-{name}-*"] }, "$not" = { tag = "x" } }
"#;

const SELECTOR: &str = r#"{"level":{"$gt":1}}"#;

const LIVING: &str = r#"{"_id":"a","_rev":"1-a","kind":"open","level":2,"pin":1}"#;

/// As an administrator's delete has left it.
const TOMBSTONE: &str = r#"{"_id":"a","_rev":"2-b","_deleted":true,"kind":"open","level":2}"#;

fn answer(seen: &Seen) -> Vec<crate::support::Step> {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let body = if path.contains("/_local/couchwarden-gaps-") {
        r#"{"_id":"_local/x","_rev":"0-1","gaps":[["00000000000000aa","newest"],["00000000000000bb","older"]]}"#
            .to_owned()
    } else if let Some((_, name)) = path.split_once("/_local/") {
        json!({ "ok": true, "id": format!("_local/{name}"), "rev": "0-1" }).to_string()
    } else if path.ends_with("/_changes") && query.contains("9-beyond") {
        json!({ "results": [], "last_seq": "9-beyond", "pending": 0 }).to_string()
    } else if path.ends_with("/_changes") {
        let doc: Value = serde_json::from_str(TOMBSTONE).unwrap();
        let row = json!({ "seq": "9-beyond", "id": "a", "changes": [{ "rev": "2-b" }], "deleted": true, "doc": doc });
        json!({ "results": [row], "last_seq": "9-beyond", "pending": 0 }).to_string()
    } else if path.ends_with("/_bulk_get") {
        let (text, revisions) = match seen.body.contains("1-a") {
            true => (LIVING, json!({ "start": 1, "ids": ["a"] })),
            false => (TOMBSTONE, json!({ "start": 2, "ids": ["b", "a"] })),
        };
        let mut doc: Value = serde_json::from_str(text).unwrap();
        doc["_revisions"] = revisions;
        json!({ "results": [{ "id": "a", "docs": [{ "ok": doc }] }] }).to_string()
    } else if path.ends_with("/_find") {
        format!(r#"{{"docs":[{LIVING}],"bookmark":"place"}}"#)
    } else {
        LIVING.to_owned()
    };
    plain(200, &body)
}

async fn world() -> (World, Fake) {
    let fake = Fake::start(answer).await;
    (World::plain_before(&fake, RULES, "").await, fake)
}

/// What CouchDB was asked for last of these.
fn last(fake: &Fake, method: &str, part: &str) -> Seen {
    let seen = fake.seen();
    let found = seen
        .into_iter()
        .rfind(|seen| seen.method == method && seen.target.contains(part));
    found.unwrap_or_else(|| panic!("{method} {part} was not asked"))
}

/// Everything of `formats.json` as it is made today.
async fn made_today(world: &World, fake: &Fake) -> Value {
    let rita = world.as_("rita");
    let sequence = |changes: Value| changes["last_seq"].clone();
    let notes = rita.get("/notes/_changes?include_docs=true").await.yes();
    let gapped = rita.get("/gapped/_changes?include_docs=true").await.yes();
    let found = rita.post("/notes/_find", query(None)).await.yes();
    rita.put("/notes/_local/place", json!({})).await.yes();
    let local = last(fake, "PUT", "/_local/").target;
    world.as_("ops").delete("/notes/a?rev=1-a").await;
    let seen = fake.seen();
    let stored = seen.iter().rfind(|seen| seen.body.contains("\"_deleted\""));
    let stored = stored.unwrap_or_else(|| panic!("{seen:#?}"));
    let stored: Value = serde_json::from_str(&stored.body).unwrap();
    json!({
        "sequence": sequence(notes),
        "sequence_behind_a_gap": sequence(gapped),
        "bookmark": found["bookmark"],
        "private_name": local,
        "tombstone": stored,
    })
}

fn query(bookmark: Option<&Value>) -> Value {
    let selector: Value = serde_json::from_str(SELECTOR).unwrap();
    let mut query = json!({ "selector": selector, "limit": 1 });
    if let Some(bookmark) = bookmark {
        query["bookmark"] = bookmark.clone();
    }
    query
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("../golden/formats.json")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_and_bookmarks_of_an_earlier_release_are_still_good() {
    let (world, fake) = world().await;
    let (rita, recorded) = (world.as_("rita"), recorded());
    for (db, name) in [("notes", "sequence"), ("gapped", "sequence_behind_a_gap")] {
        let since = recorded[name].as_str().unwrap();
        go_on(&rita, db, since).await;
        let asked = last(&fake, "GET", &format!("/{db}/_changes")).target;
        assert!(asked.contains("since=9-beyond"), "{asked}");
        // One from before the gap, or of another database, begins anew.
        let other = if db == "notes" { "gapped" } else { "notes" };
        go_on(&rita, other, since).await;
        let asked = last(&fake, "GET", &format!("/{other}/_changes")).target;
        assert!(!asked.contains("9-beyond"), "{asked}");
    }
    let bookmark = query(Some(&recorded["bookmark"]));
    // What it says was shown is not shown again.
    let found = rita.post("/notes/_find", bookmark).await.yes();
    assert_eq!(found["docs"], json!([]), "{found}");
}

async fn go_on(client: &Client, db: &str, since: &str) {
    let path = format!("/{db}/_changes?include_docs=true&since={since}");
    client.get(&path).await.yes();
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_and_tombstones_are_stored_as_an_earlier_release_has_stored_them() {
    let (world, fake) = world().await;
    let (today, recorded) = (made_today(&world, &fake).await, recorded());
    for name in ["private_name", "tombstone"] {
        assert_eq!(today[name], recorded[name], "{name}: {today:#}");
    }
    let fields = |value: &Value| -> Vec<String> {
        let members = value.as_object().unwrap();
        members.keys().cloned().collect()
    };
    assert_eq!(fields(&today), fields(&recorded), "{today:#}");
    // Whoever could see the document still sees the end of it.
    let changes = world
        .as_("rita")
        .get("/notes/_changes?include_docs=true")
        .await;
    assert_eq!(changes.ids(), "a");
}
