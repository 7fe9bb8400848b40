//! Lists of ids and revisions in a request: what is absent, hidden or no id at all stands in the answer as CouchDB has
//! it, and takes nothing else with it.

use serde_json::{Map, Value, json};

use crate::support::{Answer, Client, World, backend};

/// Everybody sees everything here that is not hidden on purpose, by rules of each kind.
const RULES: &str = r#"
[[rule]]
name = "by-document"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "replicate"]
documents = { shown = true }

[[rule]]
name = "by-id"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["read", "changes", "replicate"]
documents = { _id = { "$pattern" = ["shown*", "fresh*"] } }

[[rule]]
name = "by-nothing"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["read", "changes", "replicate"]
hide = ["secret"]
"#;

/// Two documents that all see, one of them with two leaves, one that is deleted, and one that some don't see.
async fn filled() -> World {
    let world = World::start(RULES).await;
    let all = json!([
        { "_id": "shown-a", "shown": true, "n": 1 },
        { "_id": "shown-b", "shown": true, "n": 2 },
        { "_id": "shown-d", "shown": true },
        { "_id": "hidden", "shown": false },
    ]);
    world.database("notes", all).await;
    let leaf = json!({ "_id": "shown-a", "_rev": "2-bb", "shown": true, "_revisions": { "start": 2, "ids": ["bb", "aa"] } });
    let gone = json!({ "_id": "shown-a", "_rev": "3-cc", "shown": true, "_deleted": true,
        "_revisions": { "start": 3, "ids": ["cc", "ab", "aa"] } });
    let batch = json!({ "new_edits": false, "docs": [leaf, gone] });
    let couchdb = world.backend();
    couchdb.post("/@notes/_bulk_docs", batch).await.yes();
    let rev = couchdb.get("/@notes/shown-d").await.yes()["_rev"].clone();
    let gone = json!({ "_id": "shown-d", "_rev": rev, "_deleted": true, "shown": true });
    world.fill("notes", json!([gone])).await;
    world
}

/// What is no id of a document that is there, or no id at all.
fn ids() -> Vec<Value> {
    let mut ids = vec![
        json!(""),
        json!("_x"),
        json!("_design"),
        json!("_design/"),
        json!("_design/none"),
        json!("_local/"),
        json!("_local/none"),
        json!("shown\u{0}a"),
        json!("none"),
        json!("shown-d"),
        json!("shown-a"),
        json!("hidden"),
        json!("x".repeat(6000)),
        json!("a/b"),
        json!(" "),
        json!("\u{fffe}"),
    ];
    ids.extend(no_ids());
    ids
}

fn no_ids() -> Vec<Value> {
    vec![
        json!(3),
        json!(1.5),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(["shown-a"]),
        json!({ "a": 1 }),
    ]
}

/// What is no revision that is there, or no revision at all.
fn revs() -> Vec<Value> {
    let mut revs = vec![
        json!("0-a"),
        json!("9-abc"),
        json!("1-aa"),
        json!("2-bb"),
        json!("3-cc"),
        json!("3-CC"),
        json!("2-ffffffffffffffffffffffffffffffffffff"),
        json!("99999999999999999999-abc"),
        json!("1-a-b"),
        json!("1-\u{e4}"),
        json!("1-a b"),
    ];
    revs.extend([
        json!("x"),
        json!(""),
        json!("-1-a"),
        json!("-a"),
        json!(3),
        json!(null),
        json!({}),
        json!([]),
    ]);
    revs
}

/// Without what is counted, sealed, or said in other words.
fn comparable(answer: &Answer) -> (u16, Value) {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    strip(&mut body);
    (answer.status, body)
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in [
                "total_rows",
                "offset",
                "pending",
                "seq",
                "last_seq",
                "possible_ancestors",
                "reason",
                "ref",
                "warning",
            ] {
                members.remove(name);
            }
            members.values_mut().for_each(strip);
        }
        Value::Array(list) => {
            list.iter_mut().for_each(strip);
            // Revisions that are asked for by name come in no order that is promised.
            if list
                .iter()
                .all(|one| one["ok"].is_object() || one["missing"].is_string())
            {
                list.sort_by_key(Value::to_string);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// As CouchDB would say it of what the caller sees, where it says it otherwise.
fn expected(path: &str, mut model: (u16, Value)) -> (u16, Value) {
    // An error of its own is none of the client's.
    if path == "/@notes/_bulk_get" && model.0 == 500 {
        return (400, json!({ "error": "bad_request" }));
    }
    if path == "/@notes/_bulk_get" && model.0 == 200 {
        // What is absent is left out, since an error makes PouchDB fail the batch.
        let results = model.1["results"].as_array_mut().unwrap();
        for row in results.iter_mut() {
            let docs = row["docs"].as_array_mut().unwrap();
            docs.retain(|doc| doc["error"].is_null());
        }
        results.retain(|row| row["docs"] != json!([]));
    }
    model
}

/// The requests, each with what has one odd entry among good ones.
fn requests() -> Vec<(&'static str, String, Value)> {
    let mut requests = Vec::new();
    for id in ids() {
        for path in [
            "/@notes/_all_docs",
            "/@notes/_all_docs?include_docs=true",
            "/@notes/_all_docs?conflicts=true&include_docs=true",
        ] {
            let keys = json!({ "keys": ["shown-a", id, "shown-b"] });
            requests.push(("POST", path.to_owned(), keys));
        }
        let queries = json!({ "queries": [{ "keys": ["shown-a", id] }, { "key": id }, { "keys": ["shown-b", "shown-b"] }] });
        requests.push(("POST", "/@notes/_all_docs/queries".to_owned(), queries));
        let ids = json!({ "doc_ids": ["shown-a", id, "shown-b"] });
        requests.push(("POST", "/@notes/_changes?filter=_doc_ids".to_owned(), ids));
        let docs = json!({ "docs": [{ "id": "shown-a", "rev": "2-bb" }, { "id": id }, { "id": "shown-b" }] });
        requests.push(("POST", "/@notes/_bulk_get".to_owned(), docs));
        if let Some(id) = id.as_str() {
            let diff = json!({ "shown-a": ["2-bb", "9-ff"], id: ["1-abc"], "shown-b": ["1-abc"] });
            requests.push(("POST", "/@notes/_revs_diff".to_owned(), diff.clone()));
            requests.push(("POST", "/@notes/_missing_revs".to_owned(), diff));
        }
    }
    // A missing one is told although another one has it in its history.
    let list: String = url::encode(&json!(["2-bb", "1-aa"]).to_string());
    let path = format!("/@notes/shown-a?open_revs={list}&revs=true");
    requests.push(("GET", path, Value::Null));
    // The embedded server takes anything for a revision.
    let is_one = |rev: &Value| {
        let number = rev.as_str().and_then(|rev| rev.split_once('-'));
        number.is_some_and(|(number, _)| number.parse::<u64>().is_ok())
    };
    for rev in revs() {
        if !backend().is_couchdb() && !is_one(&rev) {
            continue;
        }
        let docs = json!({ "docs": [{ "id": "shown-a", "rev": rev }, { "id": "shown-b" }, { "id": "shown-a", "rev": "2-bb" }] });
        requests.push(("POST", "/@notes/_bulk_get".to_owned(), docs));
        // One that is named twice CouchDB calls missing, though it is there.
        let other = if rev == "2-bb" { "8-ab" } else { "2-bb" };
        let diff = json!({ "shown-a": [rev, other], "shown-b": ["9-abc"] });
        requests.push(("POST", "/@notes/_revs_diff".to_owned(), diff));
        let list = json!([rev, "2-bb", "8-abc"]).to_string();
        let list: String = url::encode(&list);
        requests.push((
            "GET",
            format!("/@notes/shown-a?open_revs={list}"),
            Value::Null,
        ));
        requests.push(("GET", format!("/@notes/none?open_revs={list}"), Value::Null));
    }
    for (path, name) in [
        ("/@notes/_bulk_get", "docs"),
        ("/@notes/_all_docs", "keys"),
        ("/@notes/_changes?filter=_doc_ids", "doc_ids"),
    ] {
        for odd in [
            json!([]),
            json!({}),
            json!(null),
            json!("shown-a"),
            json!(3),
        ] {
            requests.push(("POST", path.to_owned(), json!({ name: odd })));
        }
        requests.push(("POST", path.to_owned(), json!({})));
        for odd in [
            json!(3),
            json!("shown-b"),
            json!(null),
            json!([]),
            json!({}),
        ] {
            requests.push(("POST", path.to_owned(), json!({ name: [odd] })));
        }
    }
    for odd in [json!("1-a"), json!({}), json!(null), json!(3)] {
        requests.push((
            "POST",
            "/@notes/_revs_diff".to_owned(),
            json!({ "shown-a": odd }),
        ));
    }
    requests.push((
        "POST",
        "/@notes/_revs_diff".to_owned(),
        json!({ "shown-a": [] }),
    ));
    requests
}

mod url {
    pub(super) fn encode(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }
}

/// Sends what is said in JSON, and asks for JSON; nothing is sent for `null`.
pub(crate) async fn send(who: &Client, method: &str, path: &str, body: &Value) -> Answer {
    let json = [
        ("accept", "application/json"),
        ("content-type", "application/json"),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    who.ask(method, path, &json, body).await
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(400).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_entry_is_answered_as_couchdb_answers_it() {
    let world = filled().await;
    let mut wrong = Vec::new();
    for (method, path, body) in requests() {
        // What answers with all that there is, or with what is hidden.
        let names_hidden = body.to_string().contains("\"hidden\"")
            || body == json!({})
            || body == json!({ "keys": null });
        // What CouchDB makes of an id that is no text is its accident: see below.
        let odd = no_ids().iter().any(|id| {
            body["docs"][1]["id"] == *id
                || body["keys"][1] == *id
                || body["queries"][0]["keys"][1] == *id
        });
        if odd && (path == "/@notes/_bulk_get" || body.to_string().contains("[\"shown-a\"]")) {
            continue;
        }
        let straight = send(&world.backend(), method, &path, &body).await;
        if straight.status == 500 {
            // A fault of the database is no model: it is never passed on as the caller's.
            for name in ["rita", "walt", "tom"] {
                let answer = send(&world.as_(name), method, &path, &body).await;
                assert_ne!(answer.status, 500, "{name} {method} {path}");
            }
            continue;
        }
        for name in ["rita", "walt", "tom"] {
            if names_hidden && name != "tom" {
                continue;
            }
            let model = expected(&path, comparable(&straight));
            let found = comparable(&send(&world.as_(name), method, &path, &body).await);
            if found != model {
                wrong.push(format!(
                    "{name} {method} {path} {}\n   couchdb: {} {}\n   found:   {} {}",
                    short(&body),
                    model.0,
                    short(&model.1),
                    found.0,
                    short(&found.1)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// CouchDB fails at an id of a `_bulk_get` that is no text, and finds the document `a` by the key `["a"]`.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_no_text_takes_no_batch_with_it() {
    let world = filled().await;
    for name in ["rita", "walt", "tom"] {
        let who = world.as_(name);
        for id in no_ids() {
            let docs = json!({ "docs": [{ "id": "shown-a" }, { "id": id }, { "id": "shown-b" }] });
            for accept in ["application/json", "multipart/mixed"] {
                let headers = [("accept", accept), ("content-type", "application/json")];
                let answer = who
                    .ask("POST", "/@notes/_bulk_get", &headers, docs.to_string())
                    .await;
                assert_eq!((answer.status, answer.cut), (200, false), "{id}");
                let text = answer.text();
                assert!(
                    text.contains("2-bb") && text.contains("\"shown-b\""),
                    "{id} {text}"
                );
            }
            for path in ["/@notes/_all_docs", "/@notes/_all_docs?include_docs=true"] {
                let keys = json!({ "keys": ["shown-a", id, "shown-b"] });
                let rows = who.post(path, keys).await.yes()["rows"].clone();
                assert_eq!(rows[1], json!({ "key": id, "error": "not_found" }));
                assert_eq!(
                    (&rows[0]["id"], &rows[2]["id"]),
                    (&json!("shown-a"), &json!("shown-b"))
                );
            }
        }
    }
}

/// What is hidden is answered as what is absent, in the midst of what is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_entry_is_answered_as_an_absent_one() {
    let world = filled().await;
    for (method, path, body) in requests() {
        let text = body.to_string();
        if !text.contains("\"hidden\"") {
            continue;
        }
        let absent = text.replace("\"hidden\"", "\"absent\"");
        let absent: Value = serde_json::from_str(&absent).unwrap();
        for name in ["rita", "walt"] {
            let who = world.as_(name);
            let mut found = comparable(&send(&who, method, &path, &body).await);
            let model = comparable(&send(&who, method, &path, &absent).await);
            found.1 =
                serde_json::from_str(&found.1.to_string().replace("\"hidden\"", "\"absent\""))
                    .unwrap();
            assert_eq!(found, model, "{name} {path} {body}");
        }
    }
}

/// A document that is stored, whatever stands beside it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_document_stops_no_other_of_its_batch() {
    let world = filled().await;
    // As in CouchDB the whole batch is refused where an id is no text, or a document no object.
    let ids = ids().into_iter().filter(Value::is_string);
    let odd = ids.map(|id| json!({ "_id": id, "shown": true }));
    // The embedded server refuses a whole batch for this one.
    let revs = revs().into_iter();
    let revs = revs.filter(|rev| backend().is_couchdb() || *rev != "1-a-b");
    let odd = odd.chain(revs.map(|rev| json!({ "_id": "fresh-odd", "_rev": rev, "shown": true })));
    let mut wrong = Vec::new();
    for (n, odd) in odd.enumerate() {
        for name in ["rita", "walt", "tom"] {
            for forced in [false, true] {
                let id = format!("fresh-{n}-{name}-{forced}");
                let mut good = Map::new();
                good.insert("_id".to_owned(), id.as_str().into());
                good.insert("shown".to_owned(), true.into());
                if forced {
                    good.insert("_rev".to_owned(), "1-abc".into());
                }
                let batch = json!({ "docs": [odd, good], "new_edits": !forced });
                let answer = send(&world.as_(name), "POST", "/@notes/_bulk_docs", &batch).await;
                let stored = world.backend().get(&format!("/@notes/{id}")).await;
                if answer.status != 201 || stored.status != 200 {
                    wrong.push(format!(
                        "{name} forced={forced} {}: {} {} {}",
                        short(&odd),
                        answer.status,
                        short(&answer.json()),
                        stored.status
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
