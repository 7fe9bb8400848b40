//! What CouchDB leaves unread of a body is the head of its next request, so nothing is sent to it that it leaves unread,
//! whoever sends it and whatever rules bind them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Answer, Client, Fake, World, backend, plain};

/// Three ways to be judged: by rules with a lens, by rules that leave everything open, by nobody. In `notes` the
/// administrator's tombstones keep `team`, in `open` they keep nothing.
const RULES: &str = r#"
[[rule]]
name = "team"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate"]
hide = ["secret"]
documents = { team = "red" }

[[rule]]
name = "open"
databases = ["@notes", "@open"]
callers = { names = ["$sam"] }
permit = ["read", "create", "update", "delete"]
"#;

/// Who writes what where: with a lens, without one, as an administrator with and without fields to keep.
const WRITERS: [(&str, &str); 5] = [
    ("walt", "notes"),
    ("sam", "open"),
    ("sam", "notes"),
    ("ops", "open"),
    ("ops", "notes"),
];

/// An attack as it was done on a real CouchDB, and smaller ones.
fn epilogues() -> Vec<Vec<u8>> {
    let attack = b"GET /victim/_all_docs?include_docs=true HTTP/1.1\r\nX-I: ";
    let mut all = vec![
        [b"\r\n".repeat(2500).as_slice(), attack].concat(),
        [b"\r\n".as_slice(), attack].concat(),
        [b" ".repeat(4096).as_slice(), attack].concat(),
        b"DELETE /victim HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for small in [
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        "-",
        "--",
        "\r\n--limit--",
        "\r\nx",
    ] {
        all.push(small.as_bytes().to_vec());
    }
    all
}

fn related(length: usize, data: &str, after: &[u8]) -> Vec<u8> {
    let document = json!({ "team": "red", "_attachments": { "x":
        { "follows": true, "content_type": "text/plain", "length": length } } });
    let body = format!(
        "--limit\r\nContent-Type: application/json\r\n\r\n{document}\r\n--limit\r\n\r\n{data}\r\n--limit--"
    );
    [body.as_bytes(), after].concat()
}

fn form(after: &[u8]) -> Vec<u8> {
    let document = json!({ "team": "red" });
    let body = format!(
        "--limit\r\nContent-Disposition: form-data; name=\"_doc\"\r\n\r\n{document}\r\n\
         --limit\r\nContent-Disposition: form-data; name=\"_attachments\"; filename=\"x\"\r\n\
         Content-Type: text/plain\r\n\r\nabc\r\n--limit--"
    );
    [body.as_bytes(), after].concat()
}

async fn send(who: &Client, method: &str, path: &str, body: Vec<u8>) -> Answer {
    let kind = match method {
        "PUT" => "multipart/related; boundary=limit",
        _ => "multipart/form-data; boundary=limit",
    };
    let page = format!("https://localhost:{}/", who.address.port());
    let headers = [("content-type", kind), ("referer", page.as_str())];
    who.ask(method, path, &headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_goes_on_behind_its_last_boundary_stores_nothing() {
    let world = World::start(RULES).await;
    world
        .database("notes", json!([{ "_id": "own", "team": "red" }]))
        .await;
    world
        .database("open", json!([{ "_id": "own", "team": "red" }]))
        .await;
    world.database("victim", json!([{ "_id": "hidden" }])).await;
    for (name, db) in WRITERS {
        let who = world.as_(name);
        for (at, after) in epilogues().into_iter().enumerate() {
            let id = format!("{name}-{at}");
            let path = format!("/@{db}/{id}");
            send(&who, "PUT", &path, related(3, "abc", &after))
                .await
                .no(400, "bad_request");
            send(&who, "POST", &path, form(&after))
                .await
                .no(400, "bad_request");
            let found = world.backend().get(&path).await;
            assert_eq!(found.status, 404, "{name} {db} {at}: {found:?}");
            // Whoever comes next is answered what they asked.
            for _ in 0..4 {
                let next = world.as_("ops").get(&format!("/@{db}/own")).await.yes();
                assert_eq!(next["_id"], "own", "{name} {db} {at}");
            }
        }
        for (at, after) in ["", "\r\n"].into_iter().enumerate() {
            for method in ["PUT", "POST"] {
                let id = format!("{name}-{method}-{at}");
                let body = match method {
                    "PUT" => related(3, "abc", after.as_bytes()),
                    _ => form(after.as_bytes()),
                };
                let done = send(&who, method, &format!("/@{db}/{id}"), body).await;
                assert_eq!(done.status, 201, "{name} {db} {method}: {done:?}");
                let path = format!("/@{db}/{id}?attachments=true");
                let json = [("accept", "application/json")];
                let found = world.backend().ask("GET", &path, &json, "").await.yes();
                let file = &found["_attachments"]["x"];
                assert_eq!(
                    (&found["team"], &file["data"]),
                    (&json!("red"), &json!(STANDARD.encode("abc")))
                );
                assert_eq!(file["content_type"], "text/plain");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_other_lengths_store_nothing_whoever_sends_them() {
    let world = World::start(RULES).await;
    world.database("notes", json!([])).await;
    world.database("open", json!([])).await;
    for (name, db) in WRITERS {
        let who = world.as_(name);
        let whole = related(3, "abc", b"");
        let cut = whole.len();
        let twice = String::from_utf8(whole.clone()).unwrap();
        for (case, body) in [
            ("too short", related(4, "abc", b"")),
            ("too long", related(2, "abc", b"")),
            ("one more", related(3, "abc\r\n--limit\r\n\r\nd", b"")),
            ("nothing", related(3, "abc", b"").split_off(cut)),
            ("no end", whole[..cut - 2].to_vec()),
            ("half", whole[..cut / 2].to_vec()),
            ("a preamble", [b"\r\n".as_slice(), &whole].concat()),
            ("line feeds", twice.replace("\r\n", "\n").into_bytes()),
            (
                "padding",
                twice
                    .replace("--limit\r\n\r\n", "--limit \r\n\r\n")
                    .into_bytes(),
            ),
            (
                "two lengths",
                twice
                    .replace("\"length\":3", "\"length\":9,\"length\":3")
                    .into_bytes(),
            ),
            (
                "both kinds",
                twice
                    .replace("\"follows\"", "\"stub\":true,\"follows\"")
                    .into_bytes(),
            ),
        ] {
            let path = format!("/@{db}/{name}-broken");
            let answer = send(&who, "PUT", &path, body).await;
            let status = match case {
                // A judged write is refused as such.
                "both kinds" if name == "walt" || (name, db) == ("sam", "notes") => 403,
                _ => 400,
            };
            assert_eq!(answer.status, status, "{name} {db} {case}: {answer:?}");
            let found = stored_in(&world, &path).await;
            assert_eq!(found, 404, "{name} {db} {case}");
        }
    }
}

async fn stored_in(world: &World, path: &str) -> u16 {
    world.backend().get(path).await.status
}

/// Everything that could be read in parts, by whoever sends it, comes to CouchDB as we have written it, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_couchdb_could_take_for_several_parts_is_refused() {
    let fake = Fake::start(|seen| match seen.method.as_str() {
        "GET" => plain(404, r#"{"error":"not_found","reason":"missing"}"#),
        _ => plain(201, r#"{"ok":true,"id":"x","rev":"1-a"}"#),
    })
    .await;
    let world = World::before(&fake, RULES, "").await;
    let kinds = [
        "multipart/related; boundary=limit",
        "multipart/related;boundary=limit",
        "multipart/related ; boundary=limit",
        "multipart/related",
        "Multipart/Related; boundary=limit",
        "multipart/mixed; boundary=limit",
        "multipart/form-data; boundary=limit",
        "Multipart/Form-Data; boundary=limit",
        "application/json, multipart/related; boundary=limit",
        "application/json; multipart/related; boundary=limit",
    ];
    let targets = [
        ("PUT", "/open/x"),
        ("PUT", "/open/_design/x"),
        ("PUT", "/open/_local/x"),
        ("PUT", "/open"),
        ("PUT", "/open/_security"),
        ("PUT", "/open/_revs_limit"),
        ("POST", "/open/x"),
        ("POST", "/open/_design/x"),
        ("POST", "/open"),
        ("POST", "/open/_bulk_docs"),
        ("POST", "/open/_compact"),
        ("PUT", "/open/_design/x/_rewrite/y"),
        ("POST", "/open/_design/x/_rewrite/y"),
        ("PUT", "/_node/_local/_config/a/b"),
        ("POST", "/_replicate"),
    ];
    let page = format!("https://localhost:{}/", world.address.port());
    for name in ["ops", "sam"] {
        let who = world.as_(name);
        for (method, path) in targets {
            for kind in kinds {
                let headers = [("content-type", kind), ("referer", page.as_str())];
                for after in ["GET /victim HTTP/1.1\r\n\r\n", ""] {
                    let body = match method {
                        "POST" => form(after.as_bytes()),
                        _ => related(3, "abc", after.as_bytes()),
                    };
                    let answer = who.ask(method, path, &headers, body).await;
                    let written = answer.status == 201;
                    let known = method == "PUT" && kind.starts_with("multipart/related;")
                        || method == "POST" && kind.starts_with("multipart/form-data;");
                    let document = path.ends_with("/x") && !path.contains("_local");
                    assert!(
                        !written || known && document && after.is_empty(),
                        "{name} {method} {path} {kind}"
                    );
                }
            }
        }
    }
    let mut parts = 0;
    for seen in fake.seen() {
        assert!(
            !seen.body.contains("limit") && !seen.body.contains("victim"),
            "{seen:?}"
        );
        let chunked = seen.head.contains("transfer-encoding");
        if seen.head.contains("multipart/") {
            parts += 1;
            assert!(
                seen.head
                    .contains("content-type: multipart/related; boundary=\""),
                "{seen:?}"
            );
            assert!(!chunked, "{seen:?}");
        }
    }
    assert!(parts > 0);
    // By chunks too: CouchDB would collect them in its memory.
    let chunked = [("content-type", kinds[0]), ("transfer-encoding", "chunked")];
    let body = related(3, "abc", b"");
    let done = world.as_("ops").ask("PUT", "/open/x", &chunked, body).await;
    assert_eq!(done.status, 201);
    let head = fake.seen().pop().unwrap().head;
    assert!(
        head.contains("content-length: ") && !head.contains("chunked"),
        "{head}"
    );
    // What is an attachment is one, whatever its type: its bytes end where its length says.
    let kind = [("content-type", kinds[0])];
    let body = related(3, "abc", b"\r\nmore");
    let length = body.len();
    let done = world
        .as_("ops")
        .ask("PUT", "/open/x/file", &kind, body)
        .await;
    assert_eq!(done.status, 201);
    let seen = fake.seen().pop().unwrap();
    assert_eq!(seen.body.len(), length);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_means_nothing_goes_no_further() {
    let fake = Fake::start(|_| plain(200, "{}")).await;
    let world = World::before(&fake, RULES, "").await;
    let ops = world.as_("ops");
    let kinds = ["application/json", "multipart/related; boundary=limit"];
    for (method, path) in [
        ("GET", "/open/x"),
        ("HEAD", "/open/x"),
        ("DELETE", "/open/x?rev=1-a"),
        ("DELETE", "/open"),
        ("COPY", "/open/x"),
        ("GET", "/open/_design/d/_show/f"),
        ("GET", "/open/_design/d/_rewrite/f"),
    ] {
        for kind in kinds {
            let headers = [("content-type", kind), ("destination", "y")];
            let body = related(3, "abc", b"GET /victim HTTP/1.1\r\n\r\n");
            ops.ask(method, path, &headers, body).await;
        }
    }
    let seen = fake.seen();
    // What is copied is looked at before.
    assert_eq!(seen.len(), 14 + 2, "{seen:?}");
    for seen in seen {
        let silent = !seen.head.contains("content-length: ") && !seen.head.contains("chunked");
        assert!(silent && seen.body.is_empty(), "{seen:?}");
        assert!(
            !seen.head.contains("multipart") || !seen.target.contains("_rewrite"),
            "{seen:?}"
        );
    }
}

/// A CouchDB that reads no further than it must, and takes what is left for the next request.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_reads_as_little_as_it_may_sees_no_second_head() {
    let fake = Fake::that_stops_at_the_last_boundary(|seen| match seen.method.as_str() {
        "GET" => plain(404, r#"{"error":"not_found","reason":"missing"}"#),
        _ => plain(201, r#"{"ok":true,"id":"x","rev":"1-a"}"#),
    })
    .await;
    let world = World::before(&fake, RULES, "").await;
    let mut state = 7_u32;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let head = b"GET /victim HTTP/1.1\r\nX-I: ";
    for round in 0..200 {
        let (name, db) = WRITERS[random(WRITERS.len())];
        let who = world.as_(name);
        let (announced, length) = (random(9000), random(9000));
        let data = "x".repeat(if random(2) == 0 { announced } else { length });
        let after = match random(4) {
            0 => head.to_vec(),
            1 => [b"\r\n".repeat(random(3000)).as_slice(), head].concat(),
            2 => [b"x".repeat(random(9000)).as_slice(), head].concat(),
            _ => b"\r\n".repeat(random(2)),
        };
        let (method, mut body) = match random(3) {
            0 => ("POST", form(&after)),
            _ => ("PUT", related(announced, &data, &after)),
        };
        if random(4) == 0 {
            body.truncate(random(body.len()));
        }
        let path = format!("/{db}/{name}");
        let answer = send(&who, method, &path, body).await;
        assert!(answer.status != 0, "{round}");
        let next = world.as_("ops").get("/open/next").await;
        assert_eq!(next.status, 404, "{round}");
    }
    for seen in fake.seen() {
        let ours = ["x-auth-couchdb-username", "authorization: basic"];
        let ours = ours.iter().any(|name| seen.head.contains(name));
        assert!(!seen.target.contains("victim") && ours, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_taken_from_a_page_of_this_host_only() {
    let world = World::start(RULES).await;
    world.database("open", json!([])).await;
    for name in ["ops", "sam"] {
        let who = world.as_(name);
        for referer in [None, Some("https://elsewhere.example/")] {
            let kind = ("content-type", "multipart/form-data; boundary=limit");
            let headers = match referer {
                Some(referer) => vec![kind, ("referer", referer)],
                None => vec![kind],
            };
            let answer = who.ask("POST", "/@open/x", &headers, form(b"")).await;
            answer.no(400, "bad_request");
        }
    }
    assert_eq!(world.backend().get("/@open/x").await.status, 404);
}

/// A form of an administrator changes a stored document as CouchDB would: what it does not name stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_an_administrator_changes_what_is_stored() {
    let world = World::start(RULES).await;
    let file = json!({ "content_type": "text/plain", "data": STANDARD.encode("old") });
    let document =
        json!({ "_id": "a", "team": "red", "_attachments": { "kept": file, "x": file } });
    for db in ["open", "notes"] {
        world.database(db, json!([document])).await;
        let path = format!("/@{db}/a");
        let rev = world.backend().get(&path).await.yes()["_rev"].clone();
        let rev = rev.as_str().unwrap();
        let body = format!(
            "--limit\r\nContent-Disposition: form-data; name=\"_rev\"\r\n\r\n{rev}\r\n\
             --limit\r\nContent-Disposition: form-data; name=\"_attachments\"; filename=\"x\"\r\n\
             Content-Type: text/new\r\n\r\nnew\r\n--limit--\r\n"
        );
        let ops = world.as_("ops");
        let done = send(&ops, "POST", &path, body.clone().into_bytes()).await;
        assert_eq!(done.status, 201, "{done:?}");
        assert_eq!(done.header("location"), None);
        let tag = format!("\"{}\"", done.yes()["rev"].as_str().unwrap());
        assert_eq!(done.header("etag"), Some(tag.as_str()));
        let again = send(&ops, "POST", &path, body.into_bytes()).await;
        assert_eq!(again.status, 409, "{again:?}");
        let query = format!("{path}?attachments=true");
        let json = [("accept", "application/json")];
        let now = world.backend().ask("GET", &query, &json, "").await.yes();
        let of = |name: &str| {
            (
                now["_attachments"][name]["data"].clone(),
                now["_attachments"][name]["content_type"].clone(),
            )
        };
        assert_eq!(of("x"), (json!(STANDARD.encode("new")), json!("text/new")));
        assert_eq!(
            of("kept"),
            (json!(STANDARD.encode("old")), json!("text/plain"))
        );
        assert_eq!(now["team"], "red");
    }
}

/// Sends a head and so much of a body, then nothing more; the answer, if there is one.
async fn break_off(who: &Client, line: &str, headers: &str, body: &[u8]) -> String {
    let mut connection = TcpStream::connect(who.address).await.unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: {}\r\n{headers}\r\n",
        who.address.port(),
        who.authorization()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_stores_nothing() {
    let world = World::plain(RULES).await;
    world
        .database("notes", json!([{ "_id": "own", "team": "red" }]))
        .await;
    world.database("open", json!([{ "_id": "own" }])).await;
    for (name, db) in WRITERS {
        let who = world.as_(name);
        let full = world.db(db);
        let whole = related(5000, &"x".repeat(5000), b"\r\n");
        // Up to the last byte of the attachment, of the last boundary, and of all.
        for lacking in [1, 2, 3, 4, 13, 14, 3000, whole.len() - 50] {
            let part = &whole[..whole.len() - lacking];
            let kind = "Content-Type: multipart/related; boundary=limit\r\n";
            let line = format!("PUT /{full}/{name}-broken");
            let length = format!("{kind}Content-Length: {}\r\n", whole.len());
            let answer = break_off(&who, &line, &length, part).await;
            assert!(
                !answer.contains("201 Created"),
                "{name} {db} {lacking}: {answer}"
            );
            let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            let chunked = format!("{kind}Transfer-Encoding: chunked\r\n");
            let answer = break_off(&who, &line, &chunked, &chunk).await;
            assert!(
                !answer.contains("201 Created"),
                "{name} {db} {lacking}: {answer}"
            );
        }
        for coding in ["", "Content-Encoding: gzip\r\n"] {
            let line = format!("PUT /{full}/{name}-broken/file");
            let kind = format!("Content-Type: a/b\r\n{coding}");
            let length = format!("{kind}Content-Length: 5000\r\n");
            let answer = break_off(&who, &line, &length, &[b'x'; 4999]).await;
            assert!(!answer.contains("201 Created"), "{name} {db}: {answer}");
            let chunked = format!("{kind}Transfer-Encoding: chunked\r\n");
            let answer = break_off(&who, &line, &chunked, b"3\r\nabc\r\n").await;
            assert!(!answer.contains("201 Created"), "{name} {db}: {answer}");
        }
        let found = world.backend().get(&format!("/@{db}/{name}-broken")).await;
        assert_eq!(found.status, 404, "{name} {db}: {found:?}");
        let next = world.as_("ops").get(&format!("/@{db}/own")).await.yes();
        assert_eq!(next["_id"], "own");
    }
}

/// The embedded server compares no digests.
#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_of_another_digest_is_not_stored() {
    if !backend().is_couchdb() {
        return;
    }
    let world = World::start(RULES).await;
    for db in ["notes", "open"] {
        world
            .database(db, json!([{ "_id": "own", "team": "red" }]))
            .await;
    }
    for (name, db) in WRITERS {
        let who = world.as_(name);
        let body = String::from_utf8(related(3, "abc", b"")).unwrap();
        let body = body.replace(
            "\"follows\"",
            "\"digest\":\"md5-AAAAAAAAAAAAAAAAAAAAAA==\",\"follows\"",
        );
        let path = format!("/@{db}/{name}-other");
        for _ in 0..10 {
            let answer = send(&who, "PUT", &path, body.clone().into_bytes()).await;
            // CouchDB has no word for it.
            assert!(answer.status >= 400, "{name} {db}: {answer:?}");
            let next = world.as_("ops").get(&format!("/@{db}/own")).await.yes();
            assert_eq!(next["_id"], "own", "{name} {db}");
        }
        assert_eq!(world.backend().get(&path).await.status, 404);
    }
}
