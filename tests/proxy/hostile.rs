//! A CouchDB that answers in odd pieces, breaks off, lies, or was taken over; and requests that must never reach it.

use serde_json::json;

use crate::support::{Answer, Fake, Step, World, chunked, plain};

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "find", "view:app/v"]
hide = ["secret"]

[[rule]]
name = "whole"
databases = ["notes"]
callers = { names = ["$sam"] }
permit = ["read"]

[[rule]]
name = "own-number"
databases = ["calls"]
callers = { roles = ["number:{number}"] }
permit = ["view:calls/by_number"]
keys = "{number}"
"#;

/// A row in each of the shapes that CouchDB's answers have.
const LIST: &str = "{\"total_rows\":2,\"offset\":0,\"rows\":[\r\n{\"id\":\"a\",\"key\":\"a\",\"value\":{\"rev\":\"1-a\"},\"doc\":{\"_id\":\"a\",\"_rev\":\"1-a\",\"n\":1.50,\"secret\":\"s-1\",\"t\":\"Zo\u{eb}\\u00eb\"}},\r\n{\"id\":\"b\",\"key\":\"b\",\"value\":{\"rev\":\"1-b\"},\"doc\":{\"_id\":\"b\",\"_rev\":\"1-b\",\"\\u0073ecret\":{\"x\":[\"s-2\"]},\"n\":2}}\r\n]}\n";
const CHANGES: &str = "{\"results\":[\n{\"seq\":\"1-x\",\"id\":\"a\",\"changes\":[{\"rev\":\"1-a\"}],\"doc\":{\"_id\":\"a\",\"_rev\":\"1-a\",\"secret\":\"s-1\",\"n\":1}}\n],\n\"last_seq\":\"1-x\",\"pending\":0}\n";

fn with_docs(seen: &crate::support::Seen) -> &'static str {
    if seen.target.contains("_changes") {
        CHANGES
    } else {
        LIST
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn borders_of_chunks_do_not_matter() {
    let paths = [
        "/notes/_all_docs?include_docs=true",
        "/notes/_changes?include_docs=true",
    ];
    let mut whole: Vec<Option<String>> = vec![None, None];
    for size in [1000, 1, 2, 3, 5, 7, 11, 13, 64, 101] {
        let fake = Fake::start(move |seen| chunked(with_docs(seen).as_bytes().chunks(size))).await;
        let world = World::before(&fake, RULES, "").await;
        for (path, whole) in paths.iter().zip(&mut whole) {
            let answer = world.as_("rita").get(path).await;
            let text = serde_json::to_string(&answer.yes()["rows"]).unwrap()
                + &answer.text().replace(|c: char| !c.is_ascii_graphic(), "");
            // A sealed sequence may hold any letters, but no quotes.
            for secret in ["secret", "\"s-1\"", "\"s-2\""] {
                assert!(!text.contains(secret), "{size}: {text}");
            }
            assert!(text.contains("\"n\":1"), "{size}: {text}");
            // Sequences are sealed anew for each couchwarden.
            if let Some(whole) = whole.as_ref().filter(|_| !path.contains("_changes")) {
                assert_eq!(*whole, text, "{size}");
            }
            *whole = Some(text);
        }
        let list = world.as_("rita").get(paths[0]).await;
        assert!(
            list.text().contains("1.50") && list.text().contains("\\u00eb"),
            "kept byte for byte: {}",
            list.text()
        );
    }
}

/// It must not look like a whole answer, and must hold nothing hidden.
#[track_caller]
fn not_whole(answer: &Answer, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains("\"s-1"), "{what}: {text}");
    assert!(!text.contains("\"s-2"), "{what}: {text}");
    assert!(
        answer.cut || answer.status >= 500,
        "{what}: {} {text}",
        answer.status
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_never_looks_whole() {
    let row =
        "{\"id\":\"a\",\"key\":\"a\",\"value\":{},\"doc\":{\"_id\":\"a\",\"secret\":\"s-1\"}}";
    let big = format!(
        "{{\"total_rows\":1,\"rows\":[{}]}}",
        vec![row; 2000].join(",\n")
    );
    let chunk = |text: &str| chunked([text.as_bytes()]);
    let head = |extra: &str| {
        Step::Send(
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{extra}\r\n").into(),
        )
    };
    let cases: Vec<(&str, Vec<Step>)> = vec![
        (
            "closed within the head",
            vec![
                Step::Send("HTTP/1.1 200 OK\r\ncontent-t".into()),
                Step::Close,
            ],
        ),
        ("closed before anything", vec![Step::Close]),
        ("closed after the first row", {
            let mut steps = chunk(&big[..4000]);
            steps.pop();
            steps.push(Step::Close);
            steps
        }),
        ("ended after the first row", chunk(&big[..4000])),
        (
            "shorter than it says",
            vec![
                head("content-length: 100000\r\n"),
                Step::Send(LIST.into()),
                Step::Close,
            ],
        ),
        (
            "an error among the rows",
            chunk(&format!(
                "{{\"total_rows\":1,\"rows\":[{row},\n{{\"error\":\"timeout\",\"reason\":\"s-\"}}]}}"
            )),
        ),
        (
            "an error after the rows",
            chunk(&format!(
                "{{\"rows\":[{row}\n],\"error\":\"timeout\",\"reason\":\"s-\"}}"
            )),
        ),
        (
            "no JSON in a row",
            chunk(
                "{\"rows\":[{\"id\":\"a\",\"key\":\"a\",\"value\":{},\"doc\":{\"secret\":\"s-1\",}}]}",
            ),
        ),
        (
            "a key twice",
            chunk(
                "{\"rows\":[{\"id\":\"a\",\"key\":\"a\",\"value\":{},\"doc\":{\"_id\":\"a\",\"x\":1,\"x\":\"s-2\"}}]}",
            ),
        ),
        (
            "rows twice",
            chunk(&format!("{{\"rows\":[{row}],\"rows\":[{row}]}}")),
        ),
        (
            "text after the end",
            chunk(&format!("{{\"rows\":[{row}]}} s-")),
        ),
        ("another answer", chunk("[1,2,\"s-\"]")),
        ("no JSON at all", chunk("<html>s-</html>")),
        (
            "compressed",
            vec![
                head("content-encoding: gzip\r\ncontent-length: 3\r\n"),
                Step::Send("s-x".into()),
            ],
        ),
        (
            "an unknown coding",
            vec![
                head("transfer-encoding: gzip, chunked\r\n"),
                Step::Send("3\r\ns-x\r\n0\r\n\r\n".into()),
            ],
        ),
        (
            "half a character",
            chunked([
                &b"{\"rows\":[{\"id\":\"a\",\"key\":\"\xc3\",\"value\":{},\"doc\":null}]}"[..],
            ]),
        ),
    ];
    for (what, steps) in cases {
        let fake = Fake::start(move |_| steps.clone()).await;
        let world = World::before(&fake, RULES, "").await;
        for client in [world.as_("rita"), world.over_http2(&world.as_("rita"))] {
            let answer = client.get("/notes/_all_docs?include_docs=true").await;
            not_whole(&answer, what);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_its_length_is_nobodys_answer() {
    let fake = Fake::start(|seen| {
        let body = r#"{"_id":"a","_rev":"1-a","n":1}"#;
        let smuggled = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"evil\":\"s-\"}\n";
        let length = body.len();
        let text = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}{smuggled}");
        assert!(seen.target.starts_with("/notes/"), "{seen:?}");
        vec![Step::Send(text.into())]
    })
    .await;
    let world = World::before(&fake, RULES, "").await;
    for _ in 0..5 {
        let answer = world.as_("rita").get("/notes/a").await;
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("evil"),
            "{answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_couchdb_stay_where_they_are() {
    let fake = Fake::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 32\r\nset-cookie: AuthSession=s-cookie\r\n\
                    server: CouchDB/3.5.2 (Erlang OTP/27)\r\nx-couch-request-id: s-id\r\nx-couchdb-body-time: 0\r\n\
                    location: http://10.0.0.5:5984/notes/a\r\nwww-authenticate: Basic realm=\"s\"\r\netag: \"1-a\"\r\ncontent-md5: s-md5\r\n\r\n";
        vec![Step::Send(head.into()), Step::Send(br#"{"_id":"a","_rev":"1-a","n":100}"#.to_vec())]
    })
    .await;
    let world = World::before(&fake, RULES, "").await;
    for (who, hidden) in [
        (
            "rita",
            &[
                "set-cookie",
                "www-authenticate",
                "server",
                "x-couch-request-id",
                "x-couchdb-body-time",
                "location",
            ][..],
        ),
        // Whole documents are his to read.
        (
            "sam",
            &[
                "set-cookie",
                "www-authenticate",
                "server",
                "x-couch-request-id",
                "x-couchdb-body-time",
                "location",
            ],
        ),
        ("ops", &["set-cookie", "www-authenticate"]),
    ] {
        let answer = world.as_(who).get("/notes/a").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for name in hidden {
            assert_eq!(answer.header(name), None, "{who}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_never_reaches_couchdb() {
    let fake = Fake::start(|_| plain(200, r#"{"ok":true,"rows":[],"docs":[]}"#)).await;
    let world = World::before(&fake, RULES, "").await;
    let doc = json!({ "_id": "x", "team": "red" });
    for (who, client) in [
        ("rita", world.as_("rita")),
        ("tom", world.as_("tom")),
        ("nobody", world.anonymous()),
        ("sue", world.as_("sue")),
    ] {
        for (method, path, body) in [
            ("GET", "/other/a", json!(null)),
            ("GET", "/other/_all_docs", json!(null)),
            ("GET", "/notes/_security", json!(null)),
            ("PUT", "/notes/_security", json!({})),
            ("DELETE", "/notes", json!(null)),
            ("PUT", "/fresh", json!(null)),
            ("POST", "/notes/_purge", json!({})),
            ("POST", "/notes/_compact", json!({})),
            ("GET", "/_node/_local/_config", json!(null)),
            ("GET", "/_active_tasks", json!(null)),
            (
                "POST",
                "/_replicate",
                json!({ "source": "a", "target": "b" }),
            ),
            ("GET", "/_users/_all_docs", json!(null)),
            ("GET", "/_users/org.couchdb.user:walt/x", json!(null)),
            ("GET", "/notes/_design/other/_view/v", json!(null)),
            ("GET", "/notes/_design/app/_show/x", json!(null)),
            ("GET", "/notes/_index", json!(null)),
            (
                "POST",
                "/notes/_find",
                json!({ "selector": { "secret": 1 } }),
            ),
            (
                "POST",
                "/notes/_find",
                json!({ "selector": { "n": 1 }, "sort": ["secret"] }),
            ),
            ("GET", "/notes/_all_docs?limit=1&limit=2", json!(null)),
            ("GET", "/notes/_all_docs?nonsense=1", json!(null)),
            ("GET", "/notes/_changes?Include_Docs=true&x=1", json!(null)),
            ("GET", "/notes/%5Fall_docs", json!(null)),
            ("GET", "/notes//a", json!(null)),
            (
                "GET",
                "/calls/_design/calls/_view/by_number?key=%22%2B4930999%22",
                json!(null),
            ),
            ("PUT", "/other/x", doc.clone()),
            ("POST", "/other/_bulk_docs", json!({ "docs": [doc] })),
        ] {
            let answer = if body.is_null() {
                client.ask(method, path, &[], "").await
            } else {
                client.send(method, path, body).await
            };
            assert!(
                (400..500).contains(&answer.status),
                "{who} {method} {path}: {answer:?}"
            );
            let seen = fake.seen();
            assert!(
                seen.is_empty(),
                "{who} {method} {path} reached CouchDB: {seen:?}"
            );
        }
    }
    // And what is permitted does.
    world.as_("rita").get("/notes/_all_docs").await;
    assert!(!fake.seen().is_empty());
}
