//! What unmodified clients rely on: PouchDB, CouchDB's replicator and those who talk to CouchDB directly.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Pouch, World};

const RULES: &str = r#"
[[rule]]
name      = "open"
databases = ["@notes"]
callers   = { roles = ["reader", "writer"] }
permit    = ["replicate"]
hide      = ["salt", "_attachments.hidden"]
documents = { kind = "open" }
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let file = json!({ "content_type": "text/x-note", "data": "aGVsbG8=" });
    let files = json!({ "shown": file, "hidden": file });
    let documents = json!([
        { "_id": "a", "kind": "open", "salt": "s-a", "_attachments": files },
        { "_id": "b", "kind": "shut", "salt": "s-b", "_attachments": files },
        { "_id": "c", "kind": "open", "n": 1 },
    ]);
    // One by one, so that the order of changes is theirs.
    world.database("notes", json!([])).await;
    for document in documents.as_array().unwrap() {
        world.fill("notes", json!([document])).await;
    }
    world
}

/// PouchDB's test utilities send a scheme that is none on `GET /`; replication ids are made of the `uuid`.
#[tokio::test(flavor = "multi_thread")]
async fn the_welcome_is_what_clients_look_for() {
    let world = filled().await;
    let mut other = world.anonymous();
    other.address = world.another().await;
    let stranger = world.anonymous();
    let uuid = stranger.get("/").await.yes()["uuid"].clone();
    assert!(uuid.as_str().is_some_and(|uuid| uuid.len() == 32), "{uuid}");
    let odd = stranger.clone().with_header("authorization", "Basic: eDp5");
    for client in [stranger, odd, other, world.as_("rita")] {
        let answer = client.get("/").await;
        let told = answer.yes();
        assert_eq!(
            (&told["couchdb"], &told["uuid"]),
            (&json!("Welcome"), &uuid)
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("www-authenticate"), None);
    }
}

/// Every parameter that PouchDB 9 was seen to send with `_changes`.
#[tokio::test(flavor = "multi_thread")]
async fn the_parameters_of_clients_are_taken() {
    let world = filled().await;
    let rita = world.as_("rita");
    let since = rita.get("/@notes/_changes?limit=1").await.yes()["last_seq"].clone();
    let since = since.as_str().unwrap();
    let all = "style=all_docs&seq_interval=100&include_docs=true&attachments=true&conflicts=true";
    for (query, ids) in [
        (all.to_owned(), "a c"),
        (format!("{all}&descending=true&_nonce=1"), "c a"),
        (format!("{all}&since={since}&limit=25"), "c"),
        (
            format!("since={since}&feed=longpoll&heartbeat=10000&timeout=1000"),
            "c",
        ),
        (
            format!("{all}&feed=longpoll&heartbeat=true&limit=25&_nonce=2"),
            "a c",
        ),
        (
            "filter=_doc_ids&doc_ids=%5B%22b%22,%22c%22%5D".to_owned(),
            "c",
        ),
    ] {
        let answer = rita.get(&format!("/@notes/_changes?{query}")).await;
        assert_eq!(answer.ids(), ids, "{query}");
        assert!(
            !answer.text().contains("salt"),
            "{query}: {}",
            answer.text()
        );
    }
}

/// One entry with `error` fails the whole batch of a PouchDB, and CouchDB's replicator wants one for each revision that
/// it has asked for, in its order.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_an_empty_entry_for_what_is_hidden() {
    let world = filled().await;
    let rita = world.as_("rita");
    let rev = world.backend().get("/@notes/b").await.yes()["_rev"].clone();
    let wanted = json!({ "docs": [{ "id": "a" }, { "id": "b" }, { "id": "b", "rev": rev }, { "id": "none", "rev": "1-a" }, { "id": "c" }] });
    for query in [
        "revs=true&latest=true",
        "revs=true&latest=true&attachments=true",
        "",
    ] {
        let path = format!("/@notes/_bulk_get?{query}");
        let answer = rita.post(&path, wanted.clone()).await;
        assert_eq!(answer.ids(), "a b b none c", "{query}: {}", answer.text());
        let given: Vec<usize> = answer
            .column("docs")
            .iter()
            .map(|docs| docs.as_array().unwrap().len())
            .collect();
        assert_eq!(given, [1, 0, 0, 0, 1], "{query}: {}", answer.text());
        assert!(!answer.text().contains("error"), "{}", answer.text());
    }
}

/// A PouchDB whose first `_bulk_get` failed asks for each revision by itself, until it is restarted.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_each_revision_by_itself_sees_no_more() {
    let world = filled().await;
    let (rita, backend) = (world.as_("rita"), world.backend());
    let rev = async |id: &str| backend.get(&format!("/@notes/{id}")).await.yes()["_rev"].clone();
    let ask = async |client: &Client, id: &str, rev: &Value| -> Answer {
        let query = format!(
            "revs=true&open_revs=[\"{}\"]&latest=true&attachments=true&_nonce=3",
            rev.as_str().unwrap()
        );
        let query = query.replace('"', "%22");
        client.get(&format!("/@notes/{id}?{query}")).await
    };
    let old = rev("c").await;
    let newer = json!({ "_rev": old, "kind": "open", "n": 2, "salt": "s-c" });
    backend.put("/@notes/c", newer).await.yes();
    let seen = ask(&rita, "c", &old).await.yes();
    assert_eq!(
        (&seen[0]["ok"]["n"], &seen[0]["ok"]["salt"]),
        (&json!(2), &Value::Null),
        "{seen}"
    );
    let seen = ask(&rita, "a", &rev("a").await).await.yes();
    let files = seen[0]["ok"]["_attachments"].as_object().unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["shown"]);
    assert_eq!(files["shown"]["data"], "aGVsbG8=");
    // What a revision has become since, it is judged by.
    let away = json!({ "_rev": rev("c").await, "kind": "shut", "n": 3 });
    backend.put("/@notes/c", away).await.yes();
    for (id, rev) in [("b", rev("b").await), ("c", old)] {
        let hidden = ask(&rita, id, &rev).await;
        let absent = ask(&rita, "none", &rev).await;
        assert_eq!(hidden.seen(), absent.seen(), "{id}");
        assert!(!hidden.text().contains("\"ok\""), "{}", hidden.text());
    }
}

/// Some versions write their checkpoints through `_bulk_docs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_in_a_batch_is_the_callers_own() {
    let world = filled().await;
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    let batch = json!({ "docs": [{ "_id": "_local/point", "last_seq": "5" }, { "_id": "d", "kind": "open" }] });
    let rows = walt.post("/@notes/_bulk_docs", batch).await.yes();
    let told: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["id"], &row["ok"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("_local/point"), &json!(true)),
            (&json!("d"), &json!(true))
        ]
    );
    assert_eq!(
        walt.get("/@notes/_local/point").await.yes()["last_seq"],
        "5"
    );
    rita.get("/@notes/_local/point").await.no(404, "not_found");
    let stored = world.backend().get("/@notes/_local/point").await;
    assert_eq!(
        stored.status, 404,
        "it stands under no name that others would use"
    );
}

/// A refusal is final only until the client writes the document again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_document_that_is_mended_arrives() {
    let world = filled().await;
    let walt = world.as_("walt");
    let mut pouch = Pouch::start(&world);
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    let push = json!({ "op": "replicate", "source": "mine", "target": "@notes" });
    let refused = json!({ "_id": "new", "kind": "shut" });
    let made = pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": refused }));
    let outcome = pouch.ok(&walt, push.clone());
    assert_eq!(outcome["denied"][0]["id"], "new", "{outcome}");
    let mended = json!({ "_id": "new", "_rev": made["rev"], "kind": "open" });
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": mended }));
    let outcome = pouch.ok(&walt, push);
    assert_eq!(outcome["denied"], json!([]), "{outcome}");
    assert_eq!(
        world.backend().get("/@notes/new").await.yes()["kind"],
        "open"
    );
}
