//! Requests and documents that are larger or wider than others: they cost what they are long, and hide nothing from
//! those beside them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::support::{Tap, World, backend};

const RULES: &str = r#"
[[rule]]
name = "own"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate", "find", "view:v/*"]
change = ["cf*", "owner", "text"]
documents = { owner = "walt" }
"#;

/// Far more than it takes, far less than work that grows with the square of a length. (What the PouchDB that stands in for
/// CouchDB needs for the leaves of one document does.)
const SOON: Duration = Duration::from_secs(45);

/// An object with this many members.
fn wide(members: usize, value: impl Fn(usize) -> Value) -> Map<String, Value> {
    let names = (0..members).map(|n| (format!("cf{n}"), value(n)));
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_document_is_changed_soon() {
    let world = World::start(RULES).await;
    let mut stored = wide(80_000, |n| json!(n));
    stored.insert("_id".into(), "a".into());
    stored.insert("owner".into(), "walt".into());
    world.database("notes", json!([stored])).await;
    let walt = world.as_("walt");
    let read = walt.get("/@notes/a").await.yes();
    let mut new = wide(80_000, |n| json!(n + 1));
    new.insert("_rev".into(), read["_rev"].clone());
    new.insert("owner".into(), "walt".into());
    let written = timeout(SOON, walt.put("/@notes/a", Value::Object(new))).await;
    written.expect("in time").yes();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_documents_are_compared_soon_or_not_at_all() {
    let world = World::start(RULES).await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let asked = wide(10_000, |_| json!(["1-0123456789abcdef0123456789abcdef"]));
    let told = timeout(SOON, walt.post("/@notes/_revs_diff", Value::Object(asked))).await;
    let told = told.expect("in time").yes();
    assert_eq!(told.as_object().unwrap().len(), 10_000);
    let asked = wide(200_000, |_| json!(["1-0123456789abcdef0123456789abcdef"]));
    let told = timeout(SOON, walt.post("/@notes/_revs_diff", Value::Object(asked))).await;
    told.expect("in time").no(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_revisions_of_one_document_are_written_soon() {
    let world = World::start(RULES).await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let row = |n: usize| json!({ "_id": "many", "_rev": format!("1-{n:032x}"), "owner": "walt" });
    let rows: Vec<Value> = (0..400).map(row).collect();
    let batch = json!({ "new_edits": false, "docs": rows });
    let written = timeout(SOON, walt.post("/@notes/_bulk_docs", batch)).await;
    assert_eq!(written.expect("in time").yes(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaves_of_a_document_are_read_once_for_all_its_rows() {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, RULES, "").await;
    world
        .database("notes", json!([{ "_id": "other", "owner": "walt" }]))
        .await;
    let walt = world.as_("walt");
    let row = |n: usize| {
        let id = if n % 7 == 3 { "other" } else { "many" };
        json!({ "_id": id, "_rev": format!("1-{n:032x}"), "owner": "walt" })
    };
    let rows: Vec<Value> = (0..400).map(row).collect();
    let batch = json!({ "new_edits": false, "docs": rows });
    tap.take();
    let written = timeout(SOON, walt.post("/@notes/_bulk_docs", batch)).await;
    assert_eq!(written.expect("in time").yes(), json!([]));
    let log = tap.take();
    let asked = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    // Before their turn and in it.
    assert_eq!(asked("_bulk_get"), 2, "{log:?}");
    assert_eq!(asked("_bulk_docs"), 1, "{log:?}");
}

/// Rows that end what is no leaf any more are judged by what they end. Each is another revision.
#[tokio::test(flavor = "multi_thread")]
async fn what_rows_were_made_of_is_read_together() {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, RULES, "").await;
    world.database("notes", json!([])).await;
    let ids: Vec<String> = (0..200).rev().map(|n| format!("{n:032x}")).collect();
    let history = |own: &str, from: usize| {
        let ids: Vec<&str> = [own]
            .into_iter()
            .chain(ids[from..].iter().map(String::as_str))
            .collect();
        json!({ "start": ids.len(), "ids": ids })
    };
    let stored = json!({ "_id": "many", "owner": "walt", "_revisions": history("a", 0) });
    let batch = json!({ "new_edits": false, "docs": [stored] });
    world
        .backend()
        .post("/@notes/_bulk_docs", batch)
        .await
        .yes();
    let row = |n: usize| json!({ "_id": "many", "_deleted": true, "owner": "walt", "_revisions": history("b", n) });
    let rows: Vec<Value> = (1..200).map(row).collect();
    for name in ["walt", "ops"] {
        let who = world.as_(name);
        tap.take();
        let batch = json!({ "new_edits": false, "docs": rows });
        let written = who.post("/@notes/_bulk_docs", batch).await;
        assert_eq!(written.yes(), json!([]));
        let log = tap.take();
        assert!(log.len() < 20, "{name}: {}", log.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_named_many_times_is_read_once() {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let limits = "[limits]\nbody = \"1MiB\"\n";
    let world = World::behind(tap.address, RULES, limits).await;
    let long = json!({ "_id": "long", "owner": "walt", "text": "x".repeat(200_000) });
    world.database("notes", json!([long])).await;
    let walt = world.as_("walt");
    let row =
        json!({ "_id": "long", "_rev": "1-0123456789abcdef0123456789abcdef", "owner": "walt" });
    tap.take();
    let batch = json!({ "docs": vec![row; 200] });
    let told = walt.post("/@notes/_bulk_docs", batch).await.yes();
    assert!(
        told.as_array()
            .unwrap()
            .iter()
            .all(|row| row["error"] == "conflict")
    );
    let log = tap.take();
    let asked = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    assert_eq!((asked("_all_docs"), asked("_bulk_get")), (1, 1), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_read_in_parts_where_together_they_are_too_long() {
    let world = World::with(RULES, "[limits]\nbody = \"1MiB\"\n").await;
    let text = "x".repeat(30_000);
    let documents =
        (0..70).map(|n| json!({ "_id": format!("d{n}"), "owner": "walt", "text": text }));
    world.database("notes", documents.collect()).await;
    let walt = world.as_("walt");
    let ids = (0..70).map(|n| format!("d{n}"));
    let rev = "2-0123456789abcdef0123456789abcdef";
    let asked: Map<String, Value> = ids.clone().map(|id| (id, json!([rev]))).collect();
    let told = walt
        .post("/@notes/_revs_diff", Value::Object(asked))
        .await
        .yes();
    assert_eq!(told.as_object().unwrap().len(), 70);
    let rows = ids.map(|id| json!({ "_id": id, "_rev": rev, "owner": "walt" }));
    let batch = json!({ "new_edits": false, "docs": rows.collect::<Vec<_>>() });
    let written = walt.post("/@notes/_bulk_docs", batch).await.yes();
    assert_eq!(written, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_takes_too_much_memory_is_refused() {
    let world = World::with(RULES, "[limits]\nbodies = \"32MiB\"\n").await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    let numbers = vec![0; 500_000];
    let path = "/@notes/_bulk_docs";
    let refused = walt.post(path, json!({ "docs": numbers })).await;
    refused.no(413, "too_large");
    // As long, but it takes no more than it is long.
    let text = "0,".repeat(50_000) + &"x".repeat(900_000);
    let written = walt
        .post(path, json!({ "docs": [{ "owner": "walt", "text": text }] }))
        .await;
    written.yes();
}

/// Nests too deep to be judged.
fn deep() -> Value {
    let deep: Value = serde_json::from_str(&("[".repeat(120) + &"]".repeat(120))).unwrap();
    (0..10).fold(deep, |inner, _| json!([inner]))
}

/// `mine` and `hidden` with attachments longer than a row may be, the hidden one also longer than a body; `deep`
/// nests too deep to be judged.
async fn long_rows() -> World {
    let limits = "[limits]\nbody = \"1MiB\"\nrow = \"64KiB\"\n";
    let world = World::with(RULES, limits).await;
    let deep = deep();
    let file = |length: usize| {
        let data = STANDARD.encode("x".repeat(length));
        json!({ "file": { "content_type": "text/plain", "data": data } })
    };
    let documents = json!([
        { "_id": "a", "owner": "walt" },
        { "_id": "deep", "owner": "walt", "deep": deep },
        { "_id": "hidden", "owner": "rita", "_attachments": file(1_200_000) },
        { "_id": "mine", "owner": "walt", "_attachments": file(300_000) },
        { "_id": "z", "owner": "walt" },
    ]);
    world.database("notes", documents).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_row_that_is_too_long_is_as_one_that_is_not_there() {
    let world = long_rows().await;
    let walt = world.as_("walt");
    for rest in ["?attachments=true", "?attachments=true&open_revs=all"] {
        for id in ["hidden", "deep"] {
            let hidden = walt.get(&format!("/@notes/{id}{rest}")).await;
            let absent = walt.get(&format!("/@notes/absent{rest}")).await;
            assert_eq!(hidden.seen(), absent.seen(), "{id}{rest}");
            assert_eq!(absent.status, 404, "{rest}");
        }
    }
    let all = walt
        .get("/@notes/_all_docs?include_docs=true&attachments=true")
        .await;
    assert_eq!(all.ids(), "a mine z");
    assert_eq!(
        walt.get("/@notes/_all_docs?attachments=true").await.ids(),
        "a mine z"
    );
    let keys = json!({ "keys": ["z", "hidden", "a"] });
    let path = "/@notes/_all_docs?include_docs=true&attachments=true";
    let keyed = walt.post(path, keys).await.yes();
    let absent = json!({ "key": "hidden", "error": "not_found" });
    assert_eq!(keyed["rows"][1], absent, "{keyed}");
    assert_eq!(
        (&keyed["rows"][0]["id"], &keyed["rows"][2]["id"]),
        (&json!("z"), &json!("a"))
    );
    let asked = json!({ "a": ["2-a"], "deep": ["1-b"], "absent": ["1-c"] });
    let missing = walt.post("/@notes/_revs_diff", asked).await.yes();
    assert_eq!(missing["deep"]["missing"], json!(["1-b"]), "{missing}");
    for rest in ["", "&limit=2", "&feed=continuous&timeout=1"] {
        let path = format!("/@notes/_changes?include_docs=true&attachments=true{rest}");
        let changes = walt.get(&path).await;
        assert!(!changes.cut && changes.status == 200, "{rest}");
        assert!(
            changes.text().contains("\"a\"") && !changes.text().contains("hidden"),
            "{rest}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_whole_beside_a_hidden_document_that_is_too_long() {
    let world = long_rows().await;
    let walt = world.as_("walt");
    let ids = ["a", "hidden", "deep", "mine", "absent", "z"].map(|id| json!({ "id": id }));
    let path = "/@notes/_bulk_get?revs=true&attachments=true";
    let got = walt.post(path, json!({ "docs": ids })).await.yes();
    let results = got["results"].as_array().unwrap();
    let shown: Vec<&str> = results
        .iter()
        .filter(|result| result["docs"] != json!([]))
        .filter_map(|result| result["id"].as_str())
        .collect();
    assert_eq!((shown, results.len()), (vec!["a", "mine", "z"], 6));
    let data = results[3]["docs"][0]["ok"]["_attachments"]["file"]["data"].as_str();
    assert_eq!(data.unwrap().len(), 400_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visible_row_that_is_too_long_is_never_left_out() {
    let world = long_rows().await;
    let walt = world.as_("walt");
    let data = STANDARD.encode("x".repeat(1_200_000));
    let file = json!({ "file": { "content_type": "text/plain", "data": data } });
    let own = json!([{ "_id": "own", "owner": "walt", "_attachments": file }]);
    world.fill("notes", own).await;
    for path in [
        "_all_docs?include_docs=true&attachments=true",
        "_changes?include_docs=true&attachments=true",
    ] {
        let answer = walt.get(&format!("/@notes/{path}")).await;
        assert!(answer.cut, "{path}");
    }
    let ids = ["a", "own", "z"].map(|id| json!({ "id": id }));
    let path = "/@notes/_bulk_get?attachments=true";
    assert!(walt.post(path, json!({ "docs": ids })).await.cut);
    let alone = walt.get("/@notes/own?attachments=true").await;
    alone.no(502, "bad_gateway");
    // Without the bytes it is like any other.
    assert_eq!(
        walt.get("/@notes/_all_docs?attachments=true").await.ids(),
        "a mine own z"
    );
    walt.get("/@notes/own").await.yes();
}

/// What a writer under rules may nest is shown in every frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_may_be_written_is_read_in_every_way() {
    let world = long_rows().await;
    let walt = world.as_("walt");
    let nested = |levels: usize| {
        let deep = (1..levels).fold(json!([]), |inner, _| json!([inner]));
        json!({ "_id": "own", "owner": "walt", "cf": deep })
    };
    walt.put("/@notes/own", nested(120))
        .await
        .no(400, "bad_request");
    walt.put("/@notes/own", nested(119)).await.yes();
    walt.get("/@notes/own").await.yes();
    let batch = walt
        .post("/@notes/_bulk_get", json!({ "docs": [{ "id": "own" }] }))
        .await
        .yes();
    assert_eq!(batch["results"][0]["docs"][0]["ok"]["owner"], "walt");
    for path in [
        "own?open_revs=all",
        "_all_docs?include_docs=true",
        "_changes?include_docs=true",
    ] {
        let json = [("accept", "application/json")];
        let answer = walt.ask("GET", &format!("/@notes/{path}"), &json, "").await;
        assert!(answer.text().contains("\"own\""), "{path}: {answer:?}");
    }
    let rev = rev_of(&world, "own").await;
    walt.delete(&format!("/@notes/own?rev={rev}")).await.yes();
}

async fn rev_of(world: &World, id: &str) -> String {
    let stored = world
        .backend()
        .ask("HEAD", &format!("/@notes/{id}"), &[], "")
        .await;
    stored.header("etag").unwrap().trim_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_too_deep_holds_up_no_batch() {
    let world = long_rows().await;
    let walt = world.as_("walt");
    let rev = "2-0123456789abcdef0123456789abcdef";
    let row = |id: &str| json!({ "_id": id, "_rev": rev, "owner": "walt" });
    let batch = json!({ "new_edits": false, "docs": [row("deep"), row("new")] });
    let written = walt.post("/@notes/_bulk_docs", batch).await.yes();
    assert_eq!(written.as_array().unwrap().len(), 1, "{written}");
    assert_eq!(
        (&written[0]["id"], &written[0]["error"]),
        (&json!("deep"), &json!("forbidden"))
    );
    assert_eq!(walt.get("/@notes/new").await.yes()["_rev"], rev);
    let row = |id: &str| json!({ "_id": id, "_rev": rev, "owner": "walt" });
    let batch =
        json!({ "docs": [row("deep"), { "_id": "deep" }, { "_id": "newer", "owner": "walt" }] });
    let written = walt.post("/@notes/_bulk_docs", batch).await.yes();
    let errors: Vec<&str> = written
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["error"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(errors, ["conflict", "forbidden", ""], "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_too_deep_is_written_over_as_little_as_a_hidden_one() {
    let world = long_rows().await;
    let walt = world.as_("walt");
    for id in ["deep", "hidden"] {
        let path = format!("/@notes/{id}");
        let rev = rev_of(&world, id).await;
        let again = json!({ "_rev": rev, "owner": "walt" });
        walt.put(&path, again).await.no(409, "conflict");
        walt.put(&path, json!({ "owner": "walt" }))
            .await
            .no(409, "conflict");
        walt.put(&path, json!({ "owner": "rita" }))
            .await
            .no(403, "forbidden");
        walt.delete(&format!("{path}?rev={rev}"))
            .await
            .no(404, "not_found");
        let forced = json!({ "_rev": "5-ab", "owner": "walt" });
        walt.put(&format!("{path}?new_edits=false"), forced)
            .await
            .no(403, "forbidden");
        let attached = format!("{path}/x?rev={rev}");
        walt.ask("PUT", &attached, &[], "bytes")
            .await
            .no(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_node_is_written_and_read_soon() {
    let world = World::with("", "[nodes]\ndatabase = \"@catconf\"\n").await;
    world.database("catconf", json!([])).await;
    let ops = world.as_("ops");
    let mut node = wide(40_000, |n| json!(n));
    node.insert(
        "metadata".into(),
        json!({ "nodeId": "wide", "parents": [], "nodeAdmins": [] }),
    );
    let written = timeout(SOON, ops.put("/node/wide", Value::Object(node))).await;
    written.expect("in time").yes();
    let read = timeout(SOON, ops.get("/node/wide")).await;
    let read = read.expect("in time").yes();
    assert_eq!(read["cf39999"], 39_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_read_once_for_all_the_rows_that_it_has_emitted() {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, RULES, "").await;
    let map = "function (doc) { for (var i = 0; i < doc.n; i++) emit([doc.owner, i, 'x'.repeat(100)], doc.n); }";
    let documents = json!([
        { "_id": "_design/v", "views": { "many": { "map": map } } },
        { "_id": "hidden", "owner": "rita", "n": 3000 },
        { "_id": "mine", "owner": "walt", "n": 3000 },
    ]);
    world.database("notes", documents).await;
    let walt = world.as_("walt");
    // The index is made, and what is asked once for an account is known.
    walt.get("/@notes/_design/v/_view/many?limit=1").await.yes();
    tap.take();
    let answer = walt.get("/@notes/_design/v/_view/many").await;
    let rows = answer.yes()["rows"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 3000);
    assert!(rows.iter().all(|row| row["id"] == "mine"));
    let asked = tap.take();
    let reads = asked.iter().filter(|line| line.contains("/_all_docs"));
    // Both at once where the rows of one end and those of the other begin in one chunk.
    assert!((1..=2).contains(&reads.count()), "{asked:?}");
    assert!(
        !asked.iter().any(|line| line.contains("/_bulk_get")),
        "{asked:?}"
    );
}

/// With hidden documents that can't be judged as they are, also without the bytes of their attachments.
async fn unreadable_parts() -> World {
    let world = long_rows().await;
    let file =
        json!({ "file": { "content_type": "text/plain", "data": STANDARD.encode("\r\n--x") } });
    let long = "x".repeat(1_200_000);
    let deep = deep();
    let documents = json!([
        { "_id": "b-deep", "owner": "rita", "deep": deep, "_attachments": file },
        { "_id": "b-long", "owner": "rita", "text": long, "_attachments": file },
        { "_id": "c-long", "owner": "rita", "text": long },
    ]);
    world.fill("notes", documents).await;
    world
}

/// One of walt's own.
async fn fill_own(world: &World) {
    let file = json!({ "file": { "content_type": "text/plain", "data": "" } });
    let text = "x".repeat(200_000);
    let own = json!([{ "_id": "own", "owner": "walt", "text": text, "_attachments": file }]);
    world.fill("notes", own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_document_that_is_too_long_is_passed_over_among_parts() {
    let world = unreadable_parts().await;
    let walt = world.as_("walt");
    let mixed = [("accept", "multipart/mixed")];
    let batch = |ids: &[&str]| {
        let docs: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        json!({ "docs": docs }).to_string()
    };
    let json_too = [
        ("accept", "multipart/mixed"),
        ("content-type", "application/json"),
    ];
    let ids = ["a", "b-deep", "b-long", "c-long", "deep", "absent", "z"];
    for rest in ["", "&attachments=true"] {
        let path = format!("/@notes/_bulk_get?revs=true{rest}");
        let got = walt.ask("POST", &path, &json_too, batch(&ids)).await;
        assert!(got.status == 200 && !got.cut, "{}", got.text());
        let shown: Vec<&str> = ids
            .into_iter()
            .filter(|id| got.text().contains(&format!("\"_id\":\"{id}\"")))
            .collect();
        assert_eq!(shown, ["a", "z"], "{}", got.text());
    }
    for rest in [
        "open_revs=all",
        "open_revs=all&attachments=true",
        "attachments=true",
    ] {
        for accept in ["multipart/mixed", "multipart/related", "multipart/*"] {
            let accept = [("accept", accept)];
            let ask = async |id: &str| {
                let path = format!("/@notes/{id}?{rest}");
                walt.ask("GET", &path, &accept, "").await
            };
            let absent = ask("absent").await;
            assert_eq!(absent.status, 404, "{rest}");
            for id in ["b-deep", "b-long", "c-long", "deep"] {
                assert_eq!(ask(id).await.seen(), absent.seen(), "{id}?{rest}");
            }
        }
    }
    // A visible one is never left out without a word.
    fill_own(&world).await;
    let ids = batch(&["a", "own", "z"]);
    let cut = walt.ask("POST", "/@notes/_bulk_get", &json_too, ids).await;
    assert!(cut.cut, "{}", cut.text());
    let alone = walt
        .ask("GET", "/@notes/own?open_revs=all", &mixed, "")
        .await;
    assert!(alone.cut || alone.status == 502, "{}", alone.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_document_that_is_too_long_is_passed_over_among_events() {
    let world = unreadable_parts().await;
    let walt = world.as_("walt");
    for rest in [
        "",
        "&include_docs=true",
        "&include_docs=true&attachments=true",
    ] {
        let path = format!("/@notes/_changes?feed=eventsource&timeout=1{rest}");
        let events = walt.get(&path).await;
        assert!(!events.cut, "{rest}: {}", events.text());
        let ids: Vec<&str> = [
            "a", "b-deep", "b-long", "c-long", "deep", "hidden", "mine", "z",
        ]
        .into_iter()
        .filter(|id| events.text().contains(&format!("\"id\":\"{id}\"")))
        .collect();
        assert_eq!(ids, ["a", "mine", "z"], "{rest}");
    }
    fill_own(&world).await;
    let path = "/@notes/_changes?feed=eventsource&timeout=1&include_docs=true";
    assert!(walt.get(path).await.cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_compared_without_a_document_where_ids_tell() {
    let rules = r#"
[[rule]]
name = "by-id"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate"]
documents = { _id = { "$beginsWith" = "w:" } }
"#;
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, rules, "").await;
    world
        .database("notes", json!([{ "_id": "w:1" }, { "_id": "r:1" }]))
        .await;
    let rev = async |id: &str| {
        let path = format!("/@notes/{id}");
        world.backend().get(&path).await.yes()["_rev"].clone()
    };
    let (own, hidden) = (rev("w:1").await, rev("r:1").await);
    let walt = world.as_("walt");
    let asked =
        json!({ "w:1": [own, "9-a"], "w:2": ["1-b"], "r:1": [hidden, "9-a"], "r:2": ["1-b"] });
    let missing = json!({ "w:1": ["9-a"], "w:2": ["1-b"], "r:1": [hidden, "9-a"], "r:2": ["1-b"] });
    tap.take();
    let told = walt
        .post("/@notes/_missing_revs", asked.clone())
        .await
        .yes();
    assert_eq!(told["missing_revs"], missing);
    let told = walt.post("/@notes/_revs_diff", asked).await.yes();
    for (id, revs) in missing.as_object().unwrap() {
        assert_eq!(told[id], json!({ "missing": revs }), "{told}");
    }
    let log = tap.take();
    assert!(
        !log.iter()
            .any(|line| line.contains("_bulk_get") || line.contains("_all_docs")),
        "{log:?}"
    );
}
