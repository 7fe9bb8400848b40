//! Batches of documents (`_bulk_docs`) that are longer than a document may be, and those with a document that is too
//! long: the limit is for each document, and nobody's device stands still for one of them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::memory::{Watched, before};
use crate::support::{Client, Fake, Pouch, Seen, World, plain};

const RULES: &str = r#"
[[rule]]
name = "own"
databases = ["@notes"]
callers = { names = ["$walt", "$rita", "$tom", "$sam"] }
permit = ["replicate"]
documents = { owner = "walt" }
"#;

const SHORT: &str = "[limits]\nbody = \"1MiB\"\n";

/// Base64 of so many bytes.
fn bytes(length: usize) -> String {
    STANDARD.encode("x".repeat(length))
}

/// A document with an attachment of so many bytes. As PouchDB's own databases give it, its id stands behind them.
fn photograph(id: &str, owner: &str, length: usize) -> Value {
    let file = json!({ "content_type": "image/png", "data": bytes(length) });
    json!({ "owner": owner, "_attachments": { "photo.png": file }, "_id": id })
}

/// The ids of the rows that are `forbidden`.
fn forbidden(rows: &Value) -> Vec<&str> {
    let rows = rows.as_array().unwrap().iter();
    let refused = rows.filter(|row| row["error"] == "forbidden");
    refused.map(|row| row["id"].as_str().unwrap()).collect()
}

/// PouchDB sends a hundred documents in a batch, however long they are, and `new_edits` behind them.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_may_be_longer_than_a_document() {
    let world = World::with(RULES, SHORT).await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    for new_edits in [true, false] {
        let (long, foreign) = (format!("{new_edits}-long"), format!("{new_edits}-foreign"));
        let mut docs: Vec<Value> = (0..60)
            .map(|n| photograph(&format!("{new_edits}-{n:02}"), "walt", 200_000))
            .collect();
        docs.insert(7, photograph(&long, "walt", 900_000));
        docs.insert(20, photograph(&foreign, "rita", 10));
        // In another part than the first one of its id.
        docs.push(json!({ "_id": format!("{new_edits}-00"), "owner": "walt", "second": true }));
        if !new_edits {
            for (n, document) in docs.iter_mut().enumerate() {
                document["_rev"] = format!("1-{n:032x}").into();
            }
        }
        let count = docs.len();
        let mut batch = format!("{{\"docs\":{}", Value::Array(docs));
        if !new_edits {
            batch.push_str(",\"new_edits\":false");
        }
        batch.push('}');
        let kind = [("content-type", "application/json")];
        let told = walt.ask("POST", "/@notes/_bulk_docs", &kind, batch).await;
        let told = told.yes();
        let rows = told.as_array().unwrap();
        if new_edits {
            assert_eq!(rows.len(), count, "{told}");
            assert_eq!(
                (&rows[7]["id"], &rows[20]["id"]),
                (&json!(long), &json!(foreign))
            );
            // As in CouchDB: the id is taken by then.
            assert_eq!(rows[count - 1]["error"], "conflict", "{told}");
            assert_eq!(forbidden(&told), [long, foreign]);
        } else {
            assert_eq!(rows.len(), 2, "{told}");
            let mut refused = forbidden(&told);
            refused.sort_unstable();
            assert_eq!(refused, [foreign, long]);
            // The second leaf wins or loses by its digest, and is there.
            let path = format!("/@notes/{new_edits}-00?conflicts=true");
            let leaf = world.backend().get(&path).await.yes();
            assert_eq!(
                leaf["_conflicts"].as_array().map(Vec::len),
                Some(1),
                "{leaf}"
            );
        }
        for n in 1..60 {
            let path = format!("/@notes/{new_edits}-{n:02}/photo.png");
            let stored = world.backend().get(&path).await;
            assert_eq!(stored.body.len(), 200_000, "{path}");
        }
    }
    let alone = photograph("alone", "walt", 900_000);
    // Over HTTP/2 the answer comes before the rest of the body.
    let walt = world.over_http2(&walt);
    walt.put("/@notes/alone", alone).await.no(413, "too_large");
    let other = json!("x".repeat(1_100_000));
    let attached = walt.put("/@notes/x/y/_bulk_docs", other).await;
    attached.no(413, "too_large");
}

/// What can't be read to its end is stored in no part.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_batch_that_can_not_be_read_nothing_is_stored() {
    let world = World::with(RULES, SHORT).await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let docs: Vec<Value> = (0..30)
        .map(|n| photograph(&format!("{n:02}"), "walt", 300_000))
        .collect();
    let docs = Value::Array(docs).to_string();
    let docs = docs.strip_suffix(']').unwrap();
    for last in [
        "]",
        ",{\"_id\":\"x\",\"n\":1,\"n\":2}]}",
        ",{\"_id\":\"x\",\"n\":01}]}",
        ",{\"_id\":\"x\",\"t\":\"\\x\"}]}",
        ",1]}",
        ",{\"_id\":1}]}",
        "],\"docs\":[]}",
        "],\"all_or_nothing\":true}",
        "],\"unknown\":1}",
        "]}{}",
    ] {
        let kind = [("content-type", "application/json")];
        let body = format!("{{\"docs\":{docs}{last}");
        let told = walt.ask("POST", "/@notes/_bulk_docs", &kind, body).await;
        told.no(400, "bad_request");
    }
    let ids = world.backend().get("/@notes/_all_docs").await.ids();
    assert_eq!(ids, "");
}

/// What one caller may hold at all is the limit of a batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_more_than_its_caller_may_hold_is_refused() {
    let limits = format!("{SHORT}bodies = \"16MiB\"\n[limits.shares]\nbodies = 50\n");
    let world = World::with(RULES, &limits).await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let docs = |count: usize| -> Vec<Value> {
        let text = "x".repeat(500_000);
        let row = |n| json!({ "_id": format!("{count}-{n}"), "owner": "walt", "text": text });
        (0..count).map(row).collect()
    };
    let path = "/@notes/_bulk_docs";
    let refused = walt.post(path, json!({ "docs": docs(20) })).await;
    refused.no(413, "too_large");
    // What takes too much when it is parsed is refused in its row.
    let mut some = docs(2);
    let numbers = vec![0; 400_000];
    some.insert(
        1,
        json!({ "_id": "numbers", "owner": "walt", "n": numbers }),
    );
    let told = walt.post(path, json!({ "docs": some })).await.yes();
    assert_eq!(forbidden(&told), ["numbers"]);
    assert_eq!(
        world.backend().get("/@notes/_all_docs").await.ids(),
        "2-0 2-1"
    );
}

/// A device, and what it holds.
fn device(world: &World, who: &Client, photographs: &[Value]) -> Pouch {
    let mut pouch = Pouch::start(world);
    pouch.ok(who, json!({ "op": "open", "db": "mine" }));
    for one in photographs {
        pouch.ok(who, json!({ "op": "put", "db": "mine", "doc": one }));
    }
    pouch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_too_long_stops_no_other_of_a_device() {
    let world = World::with(RULES, SHORT).await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let mut photographs: Vec<Value> = (0..8)
        .map(|n| photograph(&format!("{n}"), "walt", 300_000))
        .collect();
    photographs.insert(3, photograph("long", "walt", 900_000));
    let mut pouch = device(&world, &walt, &photographs);
    let push = json!({ "op": "replicate", "source": "mine", "target": "@notes" });
    let outcome = pouch.ok(&walt, push.clone());
    let denied = outcome["denied"].as_array().unwrap();
    assert_eq!(denied.len(), 1, "{outcome}");
    assert_eq!(denied[0]["id"], "long", "{outcome}");
    assert_eq!(outcome["result"]["docs_written"], 8, "{outcome}");
    let ids = world.backend().get("/@notes/_all_docs").await.ids();
    assert_eq!(ids, "0 1 2 3 4 5 6 7");
    // It has been told, and is not sent again.
    pouch.ok(&walt, json!({ "op": "trace" }));
    let outcome = pouch.ok(&walt, push);
    assert_eq!(outcome["denied"], json!([]), "{outcome}");
    let asked = pouch.ok(&walt, json!({ "op": "trace" }));
    assert!(!asked.to_string().contains("_bulk_docs"), "{asked}");
}

/// CouchDB's replicator sends documents with large attachments one by one, others in batches.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_too_long_stops_no_other_of_couchdb_s_replicator() {
    let world = World::plain_with(RULES, SHORT).await;
    world.database("notes", json!([])).await;
    let mut documents: Vec<Value> = (0..8)
        .map(|n| photograph(&format!("{n}"), "walt", 300_000))
        .collect();
    documents.insert(2, photograph("photograph", "walt", 1_200_000));
    let text = "x".repeat(1_200_000);
    documents.push(json!({ "_id": "text", "owner": "walt", "text": text }));
    documents.push(json!({ "_id": "z", "owner": "walt" }));
    world.database("local", json!(documents)).await;
    let (walt, backend) = (world.as_("walt"), world.backend());
    let at = |client: &Client, db: &str| json!({ "url": client.url(db), "headers": { "Authorization": client.authorization() } });
    let push = json!({ "source": at(&backend, "local"), "target": at(&walt, "notes") });
    let outcome = backend.post("/_replicate", push).await.yes();
    assert_eq!(outcome["ok"], true, "{outcome}");
    let history = &outcome["history"][0];
    assert_eq!(
        (&history["docs_written"], &history["doc_write_failures"]),
        (&json!(9), &json!(2)),
        "{outcome}"
    );
    let ids = backend.get("/@notes/_all_docs").await.ids();
    assert_eq!(ids, "0 1 2 3 4 5 6 7 z");
}

/// CouchDB's replicator sends a document with a large attachment by itself, and passes over it if it is `forbidden`; at
/// any other error it gives up the whole replication.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_can_not_be_stored_is_forbidden_where_it_is_sent_by_itself() {
    let world = World::with(RULES, "").await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let nested: Value = serde_json::from_str(&("[".repeat(125) + &"]".repeat(125))).unwrap();
    let follows = json!({ "follows": true, "content_type": "image/png", "length": 3 });
    let named = |name: &str| {
        let mut document = json!({ "owner": "walt", "_attachments": {} });
        document["_attachments"][name] = follows.clone();
        document
    };
    let mut deep = named("photo.png");
    deep["deep"] = nested;
    let mut of_nobody = named("photo.png");
    of_nobody["owner"] = "nobody".into();
    let mut without_history = named("photo.png");
    without_history["_revisions"] = json!({ "start": 1 });
    let put = async |path: &str, new_edits: bool, mut document: Value| {
        if !new_edits {
            document["_rev"] = "1-0123456789abcdef0123456789abcdef".into();
        }
        let kind = [("content-type", "multipart/related; boundary=\"limit\"")];
        let body = format!(
            "--limit\r\nContent-Type: application/json\r\n\r\n{document}\r\n--limit\r\n\r\nxxx\r\n--limit--"
        );
        let path = format!("/@notes/{path}?new_edits={new_edits}");
        walt.ask("PUT", &path, &kind, body).await
    };
    for (path, document) in [
        ("deep", &deep),
        ("nobody", &of_nobody),
        ("history", &without_history),
        (".", &named("photo.png")),
        ("..", &named("photo.png")),
        ("a%00b", &named("photo.png")),
        ("_own", &named("photo.png")),
        ("a", &named(".")),
        ("b", &named("")),
        ("c", &named("../x")),
        ("d", &named("a//b")),
        ("e", &named("a\u{0}b")),
        ("f", &named("_x")),
    ] {
        let told = put(path, false, document.clone()).await;
        assert_eq!(told.status, 403, "{path}: {}", told.text());
        told.no(403, "forbidden");
    }
    put("z", false, named("photo.png")).await.yes();
    // To whoever waits for the answer of their own write it says what is wrong.
    put("deep", true, deep).await.no(400, "bad_request");
    put(".", true, named("photo.png"))
        .await
        .no(400, "bad_request");
    assert_eq!(world.backend().get("/@notes/_all_docs").await.ids(), "z");
}

/// One that nests too deeply, and one that its sender may not write, each with an attachment so large that it is sent by
/// itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_can_not_be_stored_stops_no_other_of_couchdb_s_replicator() {
    let world = World::plain_with(RULES, "").await;
    world.database("notes", json!([])).await;
    let nested: Value = serde_json::from_str(&("[".repeat(125) + &"]".repeat(125))).unwrap();
    let mut deep = photograph("b deep", "walt", 100_000);
    deep["deep"] = nested;
    let of_nobody = photograph("of nobody", "nobody", 100_000);
    let mut documents = ["a", "j", "z"]
        .map(|id| photograph(id, "walt", 100_000))
        .to_vec();
    documents.extend([deep, of_nobody]);
    world.database("local", json!(documents)).await;
    let (walt, backend) = (world.as_("walt"), world.backend());
    let at = |client: &Client, db: &str| json!({ "url": client.url(db), "headers": { "Authorization": client.authorization() } });
    let push = json!({ "source": at(&backend, "local"), "target": at(&walt, "notes") });
    let outcome = backend.post("/_replicate", push).await.yes();
    assert_eq!(outcome["ok"], true, "{outcome}");
    let ids = backend.get("/@notes/_all_docs").await.ids();
    assert_eq!(ids, "a j z", "{outcome}");
    let failures = &outcome["history"][0]["doc_write_failures"];
    assert_eq!(failures, 2, "{outcome}");
}

/// Fifty photographs of 1.2 MB are one batch of 80 MB.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_has_photographed_is_pushed_at_once() {
    let world = World::with(RULES, "").await;
    world.database("notes", json!([])).await;
    let watched = Watched::start(&world).await;
    let walt = before(&watched, world.as_("walt"));
    walt.get("/@notes").await.yes();
    let photographs: Vec<Value> = (0..50)
        .map(|n| photograph(&format!("{n:02}"), "walt", 1_200_000))
        .collect();
    let mut pouch = device(&world, &walt, &photographs);
    let idle = watched.peak();
    let target = format!(
        "https://localhost:{}/{}",
        watched.address.port(),
        world.db("notes")
    );
    let push = json!({ "op": "replicate", "source": "mine", "target": target });
    let outcome = pouch.ok(&walt, push);
    let peak = watched.peak();
    eprintln!("idle {idle} MiB, with one batch {peak} MiB");
    assert_eq!(outcome["denied"], json!([]), "{outcome}");
    assert_eq!(outcome["result"]["docs_written"], 50, "{outcome}");
    let ids = world.backend().get("/@notes/_all_docs").await.ids();
    assert_eq!(ids.split(' ').count(), 50);
    let stored = world.backend().get("/@notes/49/photo.png").await;
    assert_eq!(stored.body.len(), 1_200_000);
    let batch = json!({ "docs": photographs[..20], "new_edits": true }).to_string();
    let mut all = Vec::new();
    for name in ["walt", "rita", "tom", "sam"] {
        let (who, batch) = (before(&watched, world.as_(name)), batch.clone());
        let kind = [("content-type", "application/json")];
        all.push(tokio::spawn(async move {
            who.ask("POST", "/@notes/_bulk_docs", &kind, batch).await
        }));
    }
    for told in all {
        let rows = told.await.unwrap().yes();
        let rows = rows.as_array().unwrap();
        // They are all there.
        assert!(
            rows.iter().all(|row| row["error"] == "conflict"),
            "{rows:?}"
        );
        assert_eq!(rows.len(), 20);
    }
    let four = watched.peak();
    eprintln!("with four batches {four} MiB");
    // Each batch, a part of it as it is judged and sent, and what the allocator has not given back.
    assert!(peak < idle + 80 + 96, "{idle} MiB, {peak} MiB");
    assert!(four < idle + 4 * (32 + 64), "{idle} MiB, {four} MiB");
}

/// As CouchDB, which refuses a batch for one of its documents.
#[tokio::test(flavor = "multi_thread")]
async fn what_couchdb_refuses_a_batch_for_is_refused_in_its_row() {
    const CLEAR: &str = r#"
[[rule]]
name = "all"
databases = ["notes"]
callers = { names = ["$walt"] }
permit = ["replicate"]
"#;
    for (status, error) in [
        (413, "document_too_large"),
        (400, "illegal_docid"),
        (412, "missing_stub"),
    ] {
        let stored = move |seen: &Seen| {
            if seen.target.contains("_bulk_docs") {
                let Value::Object(batch) = serde_json::from_str(&seen.body).unwrap() else {
                    panic!("{seen:?}");
                };
                let docs = batch["docs"].as_array().unwrap();
                if docs.iter().any(|one| one["bad"] == true) {
                    return plain(
                        status,
                        &json!({ "error": error, "reason": "b" }).to_string(),
                    );
                }
                let row = |one: &Value| json!({ "ok": true, "id": one["_id"], "rev": "1-a" });
                let rows = docs.iter().map(row);
                let forced = batch.get("new_edits") == Some(&json!(false));
                let rows: Vec<Value> = rows.filter(|_| !forced).collect();
                return plain(201, &Value::Array(rows).to_string());
            }
            let asked: Value = serde_json::from_str(&seen.body).unwrap_or_default();
            if let Some(keys) = asked["keys"].as_array() {
                let row = |key: &Value| json!({ "key": key, "error": "not_found" });
                let rows: Vec<Value> = keys.iter().map(row).collect();
                return plain(200, &json!({ "rows": rows }).to_string());
            }
            let wanted = asked["docs"].as_array().cloned().unwrap_or_default();
            let absent = |one: &Value| {
                let error = json!({ "id": one["id"], "rev": "undefined", "error": "not_found", "reason": "missing" });
                json!({ "id": one["id"], "docs": [{ "error": error }] })
            };
            let results: Vec<Value> = wanted.iter().map(absent).collect();
            plain(200, &json!({ "results": results }).to_string())
        };
        let fake = Fake::start(stored).await;
        let world = World::before(&fake, CLEAR, "").await;
        let walt = world.as_("walt");
        for new_edits in [true, false] {
            let row = |n: usize| {
                let bad = [3, 4, 17].contains(&n);
                let mut row = json!({ "_id": format!("d{n:02}"), "bad": bad });
                if !new_edits {
                    row["_rev"] = "1-0123456789abcdef0123456789abcdef".into();
                }
                row
            };
            let docs: Vec<Value> = (0..20).map(row).collect();
            let batch = json!({ "docs": docs, "new_edits": new_edits });
            let told = walt.post("/notes/_bulk_docs", batch).await;
            if status == 412 && new_edits {
                // Some may be stored, and would be conflicts if they were sent again.
                told.no(412, "missing_stub");
                continue;
            }
            let told = told.yes();
            assert_eq!(forbidden(&told), ["d03", "d04", "d17"], "{status}");
            let rows = told.as_array().unwrap();
            if new_edits {
                let ids: Vec<String> = (0..20).map(|n| format!("d{n:02}")).collect();
                let answered: Vec<&str> =
                    rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
                assert_eq!(answered, ids, "{status}");
            } else {
                assert_eq!(rows.len(), 3, "{status}: {told}");
            }
        }
        let sent = fake.seen();
        let sent = sent
            .iter()
            .filter(|seen| seen.target.contains("_bulk_docs"));
        // Three of twenty, found by halves.
        assert!(sent.count() < 60, "{status}");
    }
}

/// CouchDB's replicator gives up a whole replication at a document that it is answered `414` for.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_that_is_too_long_for_a_url() {
    let world = World::plain_with(RULES, "").await;
    world.database("notes", json!([])).await;
    world.database("local", json!([])).await;
    let (walt, backend) = (world.as_("walt"), world.backend());
    // Six letters each in a URL.
    let ids = ["i".repeat(4096), "i".repeat(4097), "\u{e4}".repeat(700)];
    let file = |name: &str| {
        let file = json!({ "content_type": "text/plain", "data": bytes(3) });
        json!({ name: file })
    };
    let names = ["n".repeat(2048), "n".repeat(2049)];
    for new_edits in [true, false] {
        let mut docs = vec![
            json!({ "_id": format!("{new_edits}-a"), "owner": "walt" }),
            json!({ "_id": ids[0], "owner": "walt", "_attachments": file(&names[0]) }),
            json!({ "_id": ids[1], "owner": "walt" }),
            json!({ "_id": ids[2], "owner": "walt" }),
            json!({ "_id": format!("{new_edits}-long"), "owner": "walt", "_attachments": file(&names[1]) }),
            json!({ "_id": format!("{new_edits}-z"), "owner": "walt" }),
        ];
        if !new_edits {
            for document in &mut docs {
                document["_rev"] = "1-0123456789abcdef0123456789abcdef".into();
            }
        }
        let batch = json!({ "docs": docs, "new_edits": new_edits });
        let told = walt.post("/@notes/_bulk_docs", batch).await.yes();
        let refused: BTreeSet<&str> = forbidden(&told).into_iter().collect();
        let long = format!("{new_edits}-long");
        let wanted = [&long, &ids[1], &ids[2]].map(String::as_str);
        // Texts like these would fill the screen.
        assert!(refused == BTreeSet::from(wanted), "{new_edits}");
    }
    let one = json!({ "_id": ids[1], "owner": "walt" });
    walt.post("/@notes", one).await.no(403, "forbidden");
    let path = format!("/@notes/{}", ids[1]);
    walt.put(&path, json!({ "owner": "walt" }))
        .await
        .no(403, "forbidden");
    let to = [("destination", ids[1].as_str())];
    let copied = walt.ask("COPY", "/@notes/true-a", &to, "").await;
    copied.no(403, "forbidden");
    let at = |client: &Client, db: &str| json!({ "url": client.url(db), "headers": { "Authorization": client.authorization() } });
    let pull = json!({ "source": at(&walt, "notes"), "target": at(&backend, "local") });
    let outcome = backend.post("/_replicate", pull).await.yes();
    assert_eq!(outcome["ok"], true, "{outcome}");
    let copies = backend.get("/@local/_all_docs").await.ids();
    assert_eq!(copies, format!("false-a false-z {} true-a true-z", ids[0]));
    // What is there already can be ended.
    let there = json!([{ "_id": ids[1], "owner": "walt" }]);
    world.fill("notes", there).await;
    let rev = backend.get(&path).await.yes()["_rev"].clone();
    let end = json!({ "_id": ids[1], "_rev": rev, "_deleted": true });
    let told = walt
        .post("/@notes/_bulk_docs", json!({ "docs": [end] }))
        .await;
    assert_eq!(told.yes()[0]["ok"], true);
}
