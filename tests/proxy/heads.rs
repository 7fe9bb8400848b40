//! What documents and functions of design documents say of themselves becomes a header only where it is one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::attachments::{RULES, documents, put, stored_in};
use crate::support::{Answer, Client, Fake, Step, World, plain};

const OPEN: &str = r#"
[[rule]]
name = "open"
databases = ["@open"]
callers = { names = ["$sam"] }
permit = ["read", "create", "update", "delete"]
"#;

/// What may not become a header, and what may.
fn faults() -> Vec<(&'static str, Value)> {
    let data = STANDARD.encode("x");
    let of = |kind: Value| json!({ "f": { "content_type": kind, "data": data } });
    vec![
        ("split", of(json!("text/html\r\n\r\n<script>"))),
        ("header", of(json!("text/html\r\nSet-Cookie: a=b"))),
        ("feed", of(json!("text/html\nX: y"))),
        ("null", of(json!("text/html\u{0}"))),
        ("delete", of(json!("text/html\u{7f}"))),
        ("number", of(json!(5))),
        ("nothing", of(Value::Null)),
        ("list", of(json!(["text/html"]))),
        (
            "name",
            json!({ "a\r\nb": { "content_type": "a/b", "data": data } }),
        ),
        (
            "coding",
            json!({ "f": { "content_type": "a/b", "data": data, "encoding": "a\r\nb: c" } }),
        ),
    ]
}

/// Every way in which a document comes with attachments.
async fn write(who: &Client, db: &str, id: &str, way: &str, attachments: &Value) -> Answer {
    let path = format!("/@{db}/{id}");
    let mut document = json!({ "_id": id, "team": "red", "_attachments": attachments });
    let forced = json!({ "start": 1, "ids": ["ab"] });
    match way {
        "PUT" => who.put(&path, document).await,
        "POST" => who.post(&format!("/@{db}"), document).await,
        "_bulk_docs" => {
            who.post(&format!("/@{db}/_bulk_docs"), json!({ "docs": [document] }))
                .await
        }
        "forced PUT" => {
            document["_rev"] = json!("1-ab");
            document["_revisions"] = forced;
            who.put(&format!("{path}?new_edits=false"), document).await
        }
        "forced _bulk_docs" => {
            document["_rev"] = json!("1-ab");
            document["_revisions"] = forced;
            let batch = json!({ "new_edits": false, "docs": [document] });
            who.post(&format!("/@{db}/_bulk_docs"), batch).await
        }
        "related" => {
            for one in document["_attachments"]
                .as_object_mut()
                .unwrap()
                .values_mut()
            {
                let one = one.as_object_mut().unwrap();
                one.remove("data");
                one.insert("follows".into(), true.into());
                one.insert("length".into(), 1.into());
            }
            let body = format!(
                "--limit\r\nContent-Type: application/json\r\n\r\n{document}\r\n--limit\r\n\r\nx\r\n--limit--"
            );
            let kind = [("content-type", "multipart/related; boundary=limit")];
            who.ask("PUT", &path, &kind, body).await
        }
        "form" => {
            let body = format!(
                "--limit\r\nContent-Disposition: form-data; name=\"_doc\"\r\n\r\n{document}\r\n--limit--"
            );
            let page = format!("https://localhost:{}/", who.address.port());
            let headers = [
                ("content-type", "multipart/form-data; boundary=limit"),
                ("referer", page.as_str()),
            ];
            who.ask("POST", &path, &headers, body).await
        }
        way => panic!("{way}"),
    }
}

const WAYS: [&str; 7] = [
    "PUT",
    "POST",
    "_bulk_docs",
    "forced PUT",
    "forced _bulk_docs",
    "related",
    "form",
];

/// Devices ask for each attachment by its name, and stop at one that they are not given.
#[tokio::test(flavor = "multi_thread")]
async fn no_attachment_is_stored_that_can_not_be_asked_for() {
    let world = World::start(&format!("{RULES}{OPEN}")).await;
    world.database("open", json!([])).await;
    let names = [
        "", ".", "..", "../x", "a//b", "a/./b", "a/../b", "/a", "a/", "a\u{0}b", "_a",
    ];
    let of = |name: &str, data: Value| json!({ name: { "content_type": "a/b", "data": data } });
    let mut faults: Vec<Value> = names.map(|name| of(name, json!("eA=="))).to_vec();
    faults.extend([json!("?"), json!("e"), json!(1), Value::Null].map(|data| of("f", data)));
    for name in ["sam", "ops"] {
        let who = world.as_(name);
        for (number, attachments) in faults.iter().enumerate() {
            for way in WAYS {
                // What follows has no `data`, and a form brings its own names.
                if way == "form" || (way == "related" && number >= names.len()) {
                    continue;
                }
                let id = format!("{name}-{number}");
                let answer = write(&who, "open", &id, way, attachments).await;
                let place = format!("{attachments} {way}: {answer:?}");
                match way.contains("_bulk_docs") && name == "sam" {
                    true => assert_eq!(answer.yes()[0]["error"], "forbidden", "{place}"),
                    false => assert!(answer.status == 400 || answer.status == 403, "{place}"),
                }
                let found = world.backend().get(&format!("/@open/{id}")).await;
                assert_eq!(found.status, 404, "{place}");
            }
        }
    }
    // One is refused, and the rest of the batch arrives.
    let sam = world.as_("sam");
    let docs = json!([
        { "_id": "odd", "_attachments": of("..", json!("eA==")) },
        { "_id": "even", "_attachments": of("a/b c", json!("eA==")) },
    ]);
    let rows = sam
        .post("/@open/_bulk_docs", json!({ "docs": docs }))
        .await
        .yes();
    assert_eq!(
        (&rows[0]["error"], &rows[1]["ok"]),
        (&json!("forbidden"), &json!(true))
    );
    assert_eq!(sam.get("/@open/even/a/b%20c").await.body.as_ref(), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_header_value_is_stored_in_no_way() {
    let world = World::start(&format!("{RULES}{OPEN}")).await;
    world.database("notes", documents()).await;
    world.database("open", json!([])).await;
    for (name, db) in [
        ("sue", "notes"),
        ("sam", "open"),
        ("ops", "open"),
        ("ops", "notes"),
    ] {
        let who = world.as_(name);
        for (case, attachments) in faults() {
            for way in WAYS {
                let id = format!("{name}-{case}");
                let answer = write(&who, db, &id, way, &attachments).await;
                let place = format!("{name} {case} {way}: {answer:?}");
                let row = way.contains("_bulk_docs") && answer.status == 201;
                match row {
                    true => assert_eq!(answer.json()[0]["error"], "forbidden", "{place}"),
                    false => assert!(answer.status == 400 || answer.status == 403, "{place}"),
                }
                let found = world.backend().get(&format!("/@{db}/{id}")).await;
                assert_eq!(found.status, 404, "{place}");
            }
        }
        let path = format!("/@{db}/{name}-put/a%0D%0AX:%20y");
        assert_eq!(put(&who, &path, "x").await.status, 400, "{name}");
        for way in WAYS {
            let fit = json!({ "f \"ü\"": { "content_type": "text/plain; charset=\"utf-8\"; a=ü", "data": STANDARD.encode("x") } });
            let id = format!("{name}-{}", way.replace(' ', "-"));
            if name == "sue" && way.contains("forced") {
                continue; // The dropbox has no leaves to compare with.
            }
            let answer = write(&who, db, &id, way, &fit).await;
            assert_eq!(answer.status, 201, "{name} {way}: {answer:?}");
            assert_eq!(
                stored_in(&world, db, &id).await["_attachments"]["f \"ü\""],
                "x",
                "{name} {way}"
            );
        }
    }
}

/// Administrators' JSON passes as it comes; of what it says twice CouchDB believes one or the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_header_value_is_not_stored_by_being_said_twice() {
    let world = World::start(OPEN).await;
    world.database("open", json!([])).await;
    let ops = world.as_("ops");
    let good = r#"{"content_type":"a/b","data":"eA=="}"#;
    let evil = r#"{"content_type":"a/b\r\nX-Evil: 1","data":"eA=="}"#;
    let pair = |one: &str, other: &str| {
        vec![
            format!(r#""_attachments":{{"f":{one}}},"_attachments":{{"f":{other}}}"#),
            format!(r#""_attachments":{{"f":{one}}},"_\u0061ttachments":{{"f":{other}}}"#),
            format!(r#""_attachments":{{"f":{one},"f":{other}}}"#),
            format!(r#""_attachments":{{"f":{one},"\u0066":{other}}}"#),
        ]
    };
    let mut said = [pair(good, evil), pair(evil, good)].concat();
    let kind = r#""content_type":"a/b""#;
    for (one, other) in [
        (kind, r#""content_type":"a/b\nX-Evil: 1""#),
        (r#""content_type":"a/b\nX-Evil: 1""#, kind),
        (kind, r#""content\u005ftype":"a/b\nX-Evil: 1""#),
    ] {
        said.push(format!(
            r#""_attachments":{{"f":{{{one},{other},"data":"eA=="}}}}"#
        ));
    }
    // What else is said twice, or nested deeply, hides nothing either.
    said.push(format!(r#""a":1,"a":2,"_attachments":{{"f":{evil}}}"#));
    said.push(format!(
        r#""_attachments":{{"f":{evil}}},"a":{{"b":1,"b":2}}"#
    ));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    said.push(format!(r#""a":{deep},"_attachments":{{"f":{evil}}}"#));
    said.push(format!(r#""_attachments":{{"f":{evil}}},"a":{deep}"#));
    let headers = [("content-type", "application/json")];
    for (number, said) in said.iter().enumerate() {
        let id = format!("twice-{number}");
        let document = format!(r#"{{"_id":"{id}",{said}}}"#);
        let rev = r#""_rev":"1-ab","#;
        let forced = format!(r#"{{"_id":"{id}",{rev}{said}}}"#);
        for (method, path, body) in [
            ("PUT", format!("/@open/{id}"), document.clone()),
            (
                "PUT",
                format!("/@open/{id}?new_edits=false"),
                forced.clone(),
            ),
            ("POST", "/@open".to_owned(), document.clone()),
            (
                "POST",
                "/@open/_bulk_docs".to_owned(),
                format!(r#"{{"docs":[{document}]}}"#),
            ),
            (
                "POST",
                "/@open/_bulk_docs".to_owned(),
                format!(r#"{{"docs":[],"docs":[{document}]}}"#),
            ),
            (
                "POST",
                "/@open/_bulk_docs".to_owned(),
                format!(r#"{{"docs":[{document}],"docs":[{document}]}}"#),
            ),
            (
                "POST",
                "/@open/_bulk_docs".to_owned(),
                format!(r#"{{"docs":[{forced}],"new_edits":false}}"#),
            ),
        ] {
            let answer = ops.ask(method, &path, &headers, body.clone()).await;
            answer.no(400, "bad_request");
            let found = world.backend().get(&format!("/@open/{id}")).await;
            assert_eq!(found.status, 404, "{method} {path} {body}");
        }
    }
    // The rest of an administrator's JSON still passes as it comes.
    let twice = r#"{"a":1,"a":2,"_attachments":{"f":{"content_type":"a/b","data":"eA=="}}}"#;
    let told = ops.ask("PUT", "/@open/fit", &headers, twice).await;
    assert_eq!(told.status, 201, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_stores_no_type_that_is_no_header() {
    let world = World::start(OPEN).await;
    let file = |kind: &str| json!({ "f": { "content_type": kind, "data": "eA==" } });
    let documents = json!([
        { "_id": "evil", "_attachments": file("a/b\r\nX-Evil: 1") },
        { "_id": "fit", "_attachments": file("a/b") },
    ]);
    world.database("open", documents).await;
    for name in ["sam", "ops"] {
        let who = world.as_(name);
        for (id, status) in [("evil", 400), ("fit", 201)] {
            let copy = format!("{name}-{id}");
            let rev = who.get(&format!("/@open/{id}")).await.yes()["_rev"].clone();
            for query in [String::new(), format!("?rev={}", rev.as_str().unwrap())] {
                let to = format!("{copy}{}", query.len());
                let headers = [("destination", to.as_str())];
                let path = format!("/@open/{id}{query}");
                let told = who.ask("COPY", &path, &headers, "").await;
                assert_eq!(told.status, status, "{name} {path}: {told:?}");
                let found = world.backend().get(&format!("/@open/{to}")).await;
                assert_eq!(found.status == 200, status == 201, "{name} {path}");
            }
        }
    }
}

/// What a document tells of its attachments, and each part's head in which a line of somebody else's would stand.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_becomes_no_head_of_a_part() {
    let world = World::start(&format!("{RULES}{OPEN}")).await;
    let data = STANDARD.encode("x\r\n\r\nx");
    let file = |kind: &str| json!({ "content_type": kind, "data": data });
    let name = "n\"\r\nX-Evil: 1\r\n\r\n";
    let attachments = json!({
        "typed": file("a/b\r\nX-Evil: 1"), "ended": file("a/b\r\n\r\nX-Evil: 1"), name: file("a/b"),
        "fit": file("image/png; charset=\"utf-8\""),
    });
    let id = "i\r\nX-Evil: 1";
    let documents = json!([
        { "_id": "evil", "team": "red", "_attachments": attachments },
        { "_id": id, "team": "red", "_attachments": { "fit": file("image/png; charset=\"utf-8\"") } },
        { "_id": "fit", "team": "red", "_attachments": { "a": file("image/png"), "b": file("image/x; a=\"b\"") } },
        { "_id": "none", "team": "red" },
    ]);
    world.database("open", documents.clone()).await;
    world.database("notes", documents).await;
    let path_of = |db: &str, id: &str, rest: &str| {
        let id = id
            .replace(' ', "%20")
            .replace('\r', "%0D")
            .replace('\n', "%0A");
        format!("/@{db}/{id}{rest}")
    };
    for (name, db) in [
        ("ops", "open"),
        ("sam", "open"),
        ("ops", "notes"),
        ("walt", "notes"),
    ] {
        let who = world.as_(name);
        for id in ["evil", id, "fit"] {
            let rev = world.backend().get(&path_of(db, id, "")).await.yes()["_rev"].clone();
            let rev = rev.as_str().unwrap();
            let bulk = json!({ "docs": [{ "id": "none" }, { "id": id }, { "id": "absent", "rev": "1-a" }] });
            let gone = format!("9-{}", "f".repeat(32));
            for (method, path, accept, body) in [
                (
                    "GET",
                    path_of(db, id, "?attachments=true"),
                    "multipart/related",
                    String::new(),
                ),
                (
                    "GET",
                    path_of(db, id, &format!("?attachments=true&rev={rev}&revs=true")),
                    "multipart/related, application/json",
                    String::new(),
                ),
                (
                    "GET",
                    path_of(db, id, &format!("?atts_since=%5B%22{gone}%22%5D")),
                    "multipart/related",
                    String::new(),
                ),
                (
                    "GET",
                    path_of(db, id, "?open_revs=all&attachments=true"),
                    "multipart/mixed",
                    String::new(),
                ),
                (
                    "GET",
                    path_of(
                        db,
                        id,
                        &format!("?open_revs=%5B%22{gone}%22,%22{rev}%22%5D&latest=true&revs=true"),
                    ),
                    "multipart/mixed",
                    String::new(),
                ),
                (
                    "POST",
                    format!("/@{db}/_bulk_get?attachments=true"),
                    "multipart/mixed",
                    bulk.to_string(),
                ),
                (
                    "POST",
                    format!("/@{db}/_bulk_get?attachments=true&revs=true"),
                    "multipart/related",
                    bulk.to_string(),
                ),
            ] {
                // An id that no path may have.
                if id.contains('\r') && method == "GET" {
                    continue;
                }
                let headers = [("accept", accept), ("content-type", "application/json")];
                let answer = who.ask(method, &path, &headers, body.clone()).await;
                let place = format!(
                    "{name} {method} {path}: {}",
                    String::from_utf8_lossy(&answer.body)
                );
                assert_eq!((answer.status, answer.cut), (200, false), "{place}");
                assert!(
                    answer
                        .header("content-type")
                        .unwrap()
                        .starts_with("multipart/"),
                    "{place}"
                );
                let text = String::from_utf8(answer.body.to_vec()).unwrap();
                assert!(!text.contains("\nX-Evil"), "{place}");
                assert!(
                    text.contains("\r\nContent-Disposition: attachment; filename=\""),
                    "{place}"
                );
                if id == "evil" {
                    assert_eq!(text.matches(&*data).count(), 3, "{place}");
                    assert_eq!(text.matches("\"follows\":true").count(), 1, "{place}");
                }
                // Who has no lens gets the rest as CouchDB sends it.
                let lensless = name == "ops" || (name == "sam" && method == "GET");
                if id == "fit" && lensless {
                    let own = world.backend().ask(method, &path, &headers, body).await;
                    assert_eq!(alike(&text), alike(own.text()), "{place}");
                    assert_eq!(answer.header("etag"), own.header("etag"), "{place}");
                    if accept != "multipart/mixed" && method == "GET" {
                        let length = own.header("content-length");
                        assert_eq!(answer.header("content-length"), length, "{place}");
                    }
                }
            }
        }
    }
}

/// A text without its boundaries, which are different each time.
fn alike(text: &str) -> String {
    let mut seen = String::new();
    for line in text.split_inclusive('\n') {
        match line.split_once("boundary=") {
            Some((before, _)) => seen.push_str(before),
            None if line.starts_with("--") => seen.push_str("--"),
            None => seen.push_str(line),
        }
    }
    seen
}

/// A fake CouchDB that has such a type stored already, and writes it as CouchDB does: headers by their names.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_type_that_is_no_header_gets_nowhere() {
    const TYPES: [(&str, &str); 9] = [
        ("fit", "text/html"),
        ("header", "text/html\r\nX-Evil: 1"),
        ("known", "text/html\r\nCache-Control: public"),
        ("twice", "text/html\r\nContent-Type: text/plain"),
        ("length", "text/html\r\nContent-Length: 0"),
        ("coded", "text/html\r\nContent-Encoding: gzip"),
        ("chunks", "text/html\r\nTransfer-Encoding: chunked"),
        (
            "split",
            "text/html\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "forged",
            "text/html\r\nDate: x\r\nX-Couch-Request-ID: 00000000\r\n\r\nevil",
        ),
    ];
    let fake = Fake::start(|seen| {
        let (_, id) = seen.head.split_once("x-couch-request-id: ").unwrap_or(("", "none\r"));
        let id = id.split('\r').next().unwrap();
        let name = seen.target.split('?').next().unwrap().rsplit('/').next().unwrap();
        let Some((_, kind)) = TYPES.iter().find(|(known, _)| *known == name) else {
            return plain(200, r#"{"_id":"a","_rev":"1-a","team":"red"}"#);
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nCache-Control: must-revalidate\r\nContent-Length: 4\r\n\
             Content-Type: {kind}\r\nETag: \"a\"\r\nServer: CouchDB\r\nX-Couch-Request-ID: {id}\r\n\r\n"
        );
        vec![Step::Send(head.into_bytes()), Step::Send(b"file".to_vec())]
    })
    .await;
    let world = World::before(&fake, &format!("{RULES}{OPEN}"), "").await;
    for (name, db) in [("ops", "open"), ("sam", "open"), ("walt", "notes")] {
        let who = world.as_(name);
        for (case, _) in TYPES {
            let answer = who.get(&format!("/{db}/a/{case}")).await;
            let place = format!("{name} {case}: {answer:?}");
            assert_eq!(answer.header("x-evil"), None, "{place}");
            match case {
                "fit" => {
                    assert_eq!((answer.status, answer.text()), (200, "file"), "{place}");
                    assert_eq!(answer.header("content-type"), Some("text/html"), "{place}");
                    assert_eq!(
                        answer.header("content-security-policy"),
                        Some("sandbox"),
                        "{place}"
                    );
                }
                "header" => assert_eq!(answer.status, 200, "{place}"),
                _ => answer.no(502, "bad_gateway"),
            }
            // Nobody else gets what was left.
            let next = who.get(&format!("/{db}/a")).await;
            assert_eq!(next.yes()["_id"], "a", "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_may_be_kept_for_others() {
    const TOLD: [(&str, &str); 5] = [
        ("", "private"),
        (
            "Cache-Control: must-revalidate\r\n",
            "private, must-revalidate",
        ),
        ("Cache-Control: public\r\n", "private"),
        (
            "Cache-Control: Public , s-maxage=9,max-age=7\r\n",
            "private, max-age=7",
        ),
        (
            "Cache-Control: PRIVATE=\"x\", no-cache\r\nCache-Control: S-MaxAge = 3\r\n",
            "private, no-cache",
        ),
    ];
    let fake = Fake::start(|seen| {
        let told = seen.target.split('?').next().unwrap().rsplit('/').next().unwrap();
        let told = told.strip_prefix("told").and_then(|n| n.parse::<usize>().ok());
        let (told, _) = TOLD[told.unwrap_or(0)];
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{told}Content-Length: 2\r\n\r\n{{}}"
        );
        vec![Step::Send(head.into_bytes())]
    })
    .await;
    let world = World::before(&fake, OPEN, "").await;
    for name in ["ops", "sam"] {
        let who = world.as_(name);
        for (n, (_, expected)) in TOLD.iter().enumerate() {
            let mut paths = vec![format!("/open/told{n}")];
            if name == "ops" {
                paths.push(format!("/open/_design/d/_show/f/told{n}"));
                paths.push(format!("/open/_design/d/_rewrite/told{n}"));
            }
            for path in paths {
                let answer = who.get(&path).await;
                answer.yes();
                assert_eq!(answer.header("cache-control"), Some(*expected), "{path}");
            }
        }
        // What is made here.
        let refused = who.get("/open/a?rev=x").await;
        assert!(
            refused
                .header("cache-control")
                .unwrap()
                .starts_with("private")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_sets_no_header_that_is_not_on_the_list() {
    let fake = Fake::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nVary: Accept\r\n\
                    Set-Cookie: a=b\r\nX-Evil: 1\r\nAccess-Control-Allow-Origin: *\r\nRefresh: 0\r\n\
                    Strict-Transport-Security: max-age=9\r\nService-Worker-Allowed: /\r\n\r\nok";
        vec![Step::Send(head.as_bytes().to_vec())]
    })
    .await;
    let world = World::before(&fake, "", "").await;
    let ops = world.as_("ops");
    for path in [
        "_show/f",
        "_show/f/a",
        "_list/f/v",
        "_update/f",
        "_rewrite/f",
    ] {
        let method = if path.contains("_update") {
            "POST"
        } else {
            "GET"
        };
        let answer = ops
            .ask(method, &format!("/open/_design/d/{path}"), &[], "")
            .await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{path}");
        assert_eq!(
            (answer.header("content-type"), answer.header("vary")),
            (Some("text/html"), Some("Accept"))
        );
        for name in [
            "set-cookie",
            "x-evil",
            "access-control-allow-origin",
            "refresh",
            "strict-transport-security",
            "service-worker-allowed",
        ] {
            assert_eq!(answer.header(name), None, "{path} {name}");
        }
    }
}
