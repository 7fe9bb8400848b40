//! An administrator gets what CouchDB says, byte for byte; what no route knows gets nowhere.

use serde_json::json;

use crate::support::{Fake, World, plain};

/// Requests whose answers don't change from one moment to the next.
const READS: &[&str] = &[
    "GET /@notes/a",
    "HEAD /@notes/a",
    "GET /@notes/a?revs=true&conflicts=true",
    "GET /@notes/a?rev=1-0",
    "GET /@notes/none",
    "GET /@notes/gone",
    "GET /@notes/a?open_revs=all",
    "GET /@notes/with%2Fslash",
    "GET /@notes/_all_docs",
    "GET /@notes/_all_docs?include_docs=true&limit=2&skip=1",
    "GET /@notes/_all_docs?startkey=%22b%22&descending=true",
    "GET /@notes/_all_docs?key=%22a%22",
    "POST /@notes/_all_docs {\"keys\":[\"b\",\"none\",\"gone\"]}",
    "GET /@notes/_changes",
    "GET /@notes/_changes?include_docs=true&style=all_docs",
    "GET /@notes/_changes?descending=true&limit=1",
    "POST /@notes/_changes?filter=_doc_ids {\"doc_ids\":[\"a\"]}",
    "GET /@notes/_design/app",
    "GET /@notes/_design/app/_view/by_n",
    "GET /@notes/_design/app/_view/by_n?key=1&include_docs=true",
    "GET /@notes/_design/app/_view/sum?group=true",
    "GET /@notes/_design/app/_view/none",
    "POST /@notes/_design/app/_view/by_n {\"keys\":[2,1]}",
    "POST /@notes/_find {\"selector\":{\"n\":{\"$gt\":1}},\"fields\":[\"_id\",\"n\"]}",
    "POST /@notes/_bulk_get {\"docs\":[{\"id\":\"a\"}]}",
    "POST /@notes/_revs_diff {\"a\":[\"9-9\"]}",
    "GET /@notes/_local/none",
    "GET /@notes/_security",
    "GET /@notes",
    "GET /@nothing",
    "GET /@nothing/a",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_gets_couchdbs_own_bytes() {
    let world = filled().await;
    // Else some answers have a boundary in them that is another each time.
    let [ops, direct] = [world.as_("ops"), world.backend()]
        .map(|client| client.with_header("accept", "application/json"));
    for request in READS {
        let (method, rest) = request.split_once(' ').unwrap();
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let headers: &[(&str, &str)] = if body.is_empty() {
            &[]
        } else {
            &[("content-type", "application/json")]
        };
        let through = ops.ask(method, path, headers, body).await;
        let straight = direct.ask(method, path, headers, body).await;
        assert_eq!(through.seen(), straight.seen(), "{request}");
        for name in ["content-type", "etag", "location"] {
            assert_eq!(
                through.header(name),
                straight.header(name),
                "{request}: {name}"
            );
        }
        assert!(!through.cut, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_writes_as_at_couchdb() {
    let world = filled().await;
    let ops = world.as_("ops");
    let made = ops.put("/@notes/new", json!({ "n": 10 })).await.yes();
    assert_eq!(ops.put("/@notes/new", json!({ "n": 11 })).await.status, 409);
    let rev = made["rev"].as_str().unwrap();
    let copied = ops
        .ask("COPY", "/@notes/new", &[("destination", "copy")], "")
        .await;
    assert_eq!(copied.status, 201, "{:?}", copied.body);
    let attached = ops
        .ask(
            "PUT",
            &format!("/@notes/new/pic%2Fa.txt?rev={rev}"),
            &[("content-type", "text/plain")],
            "hello",
        )
        .await;
    let rev = attached.yes()["rev"].as_str().unwrap().to_owned();
    assert_eq!(ops.get("/@notes/new/pic%2Fa.txt").await.text(), "hello");
    ops.delete(&format!("/@notes/new?rev={rev}")).await.yes();
    assert_eq!(ops.get("/@notes/new").await.status, 404);
    assert_eq!(world.backend().get("/@notes/copy").await.yes()["n"], 10);
    let rows = ops
        .post(
            "/@notes/_bulk_docs",
            json!({ "docs": [{ "_id": "a", "n": 0 }, { "_id": "z" }] }),
        )
        .await
        .yes();
    assert_eq!(
        (&rows[0]["error"], &rows[1]["ok"]),
        (&json!("conflict"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_say_the_same() {
    let world = filled().await;
    let ops = world.as_("ops");
    let second = world.over_http2(&ops);
    for path in [
        "/@notes/_all_docs?include_docs=true",
        "/@notes/none",
        "/@notes/_design/app/_view/by_n",
    ] {
        let (one, two) = (ops.get(path).await, second.get(path).await);
        assert_eq!(one.seen(), two.seen(), "{path}");
    }
    let stored = second.put("/@notes/second", json!({ "n": 2 })).await;
    assert_eq!(stored.status, 201, "{:?}", stored.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_no_body_over_http2_either() {
    const READER: &str = r#"
[[rule]]
name = "reader"
databases = ["@notes"]
callers = { names = ["$rita"] }
permit = ["read"]
hide = ["secret"]
"#;
    let world = World::start(READER).await;
    world
        .database("notes", json!([{ "_id": "a", "secret": 1, "n": 2 }]))
        .await;
    let (one, ops) = (world.as_("rita"), world.as_("ops"));
    let two = world.over_http2(&one);
    for path in [
        "/",
        "/@notes/a",
        "/@notes/none",
        "/@notes/_all_docs",
        "/none",
    ] {
        let get = two.get(path).await;
        let (first, second) = (
            one.ask("HEAD", path, &[], "").await,
            two.ask("HEAD", path, &[], "").await,
        );
        assert_eq!((second.status, second.cut), (get.status, false), "{path}");
        assert!(second.body.is_empty(), "{path}");
        assert_eq!(
            first.header("content-length"),
            second.header("content-length"),
            "{path}"
        );
    }
    let ops = world.over_http2(&ops);
    assert_eq!(ops.ask("HEAD", "/@notes/a", &[], "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_grammar_does_not_know_gets_nowhere() {
    let world = filled().await;
    let ops = world.as_("ops");
    for path in [
        "/@notes/_nothing",
        "/_nothing",
        "/@notes/_all_docs/more",
        "/@notes/_changes/x",
        "//@notes/a",
        "/@notes//a",
        "/@notes/%5Fall_docs",
        "/@notes/%5Fdesign/app",
        "/@notes/../_all_dbs",
        "/@notes/a?rev=1-a&rev=2-b",
        "/@notes/_design/app/_foo/x",
    ] {
        let path = if path.starts_with("//@") {
            path.replace("//@", &format!("//{}", world.db("")))
        } else {
            path.to_owned()
        };
        let answer = ops.get(&path).await;
        assert!(
            answer.status == 404 || answer.status == 400,
            "{path}: {} {:?}",
            answer.status,
            answer.body
        );
    }
    for (method, path) in [
        ("PATCH", "/@notes/a"),
        ("TRACE", "/"),
        ("OPTIONS", "/@notes"),
        ("DELETE", "/@notes/_all_docs"),
    ] {
        let answer = ops.ask(method, path, &[], "").await;
        assert!(
            [404, 405, 501].contains(&answer.status),
            "{method} {path}: {}",
            answer.status
        );
    }
}

async fn filled() -> World {
    let world = World::start("").await;
    let view = "function (doc) { if (doc.n) emit(doc.n, doc.name); }";
    let sum =
        json!({ "map": "function (doc) { if (doc.n) emit(doc.kind, doc.n); }", "reduce": "_sum" });
    let documents = json!([
        { "_id": "a", "n": 1, "kind": "x", "name": "Zoë \u{1F600} \" \\ \n", "big": 12345678901234567890_u64, "small": 1e-7, "zero": 1.0 },
        { "_id": "b", "n": 2, "kind": "x", "deep": { "er": [1, [2, { "3": null }]] } },
        { "_id": "c", "n": 3, "kind": "y" },
        { "_id": "with/slash", "n": 4 },
        { "_id": "_design/app", "views": { "by_n": { "map": view }, "sum": sum } },
        { "_id": "gone", "_deleted": true },
    ]);
    world.database("notes", documents).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_passes_in_the_coding_that_it_was_sent_in() {
    let fake = Fake::start(|_| plain(201, r#"{"ok":true,"id":"a","rev":"1-a"}"#)).await;
    let world = World::before(&fake, "", "").await;
    let headers = [
        ("content-type", "text/x-note"),
        ("content-encoding", "gzip"),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
    ];
    let ops = world.as_("ops");
    let done = ops.ask("PUT", "/db/a/file", &headers, "as it is").await;
    assert_eq!(done.status, 201, "{done:?}");
    let seen = fake.seen().pop().unwrap();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("PUT", "/db/a/file")
    );
    for (name, value) in headers {
        let line = format!("{name}: {}", value.to_lowercase());
        assert!(seen.head.to_lowercase().contains(&line), "{}", seen.head);
    }
    assert_eq!(seen.body, "as it is");
}
