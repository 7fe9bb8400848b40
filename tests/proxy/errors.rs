//! What goes wrong is said in CouchDB's shape and in words of ours; each request leaves one line in the log.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Answer, Client, Fake, Seen, Step, World, plain};

const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes", "find", "view:app/all"]
hide      = ["salt"]

[[rule]]
name      = "writers"
databases = ["notes"]
callers   = { roles = ["writer"] }
permit    = ["replicate", "info"]
hide      = ["salt"]

[[rule]]
name      = "public"
databases = ["board"]
callers   = { everyone = true }
permit    = ["read"]
"#;

/// One of each way in which an answer is made.
const REQUESTS: &[&str] = &[
    "GET /notes/a",
    "GET /notes/a?open_revs=all",
    "GET /notes/_all_docs",
    "GET /notes/_all_docs?include_docs=true",
    "GET /notes/_changes",
    "GET /notes/_design/app/_view/all?reduce=false",
    "POST /notes/_find {\"selector\":{}}",
    "POST /notes/_bulk_get {\"docs\":[{\"id\":\"a\"}]}",
    "POST /notes/_revs_diff {\"a\":[\"1-a\"]}",
];

const WRITES: &[&str] = &[
    "GET /notes",
    "PUT /notes/a {\"n\":1}",
    "POST /notes {\"_id\":\"a\"}",
    "DELETE /notes/a?rev=1-a",
    "POST /notes/_bulk_docs {\"docs\":[{\"_id\":\"a\"}]}",
    "POST /notes/_bulk_docs {\"new_edits\":false,\"docs\":[{\"_id\":\"a\",\"_rev\":\"1-a\"}]}",
    "GET /notes/_local/a",
    "PUT /notes/_local/a {}",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_is_down_is_a_502_with_a_reason() {
    // It hangs up on everything but couchwarden's own errands.
    let (world, _fake) = before(|_| vec![Step::Close], "").await;
    everybody(&world, |answer, request| {
        assert!(
            [502, 503].contains(&answer.status),
            "{request}: {} {:?}",
            answer.status,
            answer.body
        );
        answer.no(
            answer.status,
            if answer.status == 502 {
                "bad_gateway"
            } else {
                "service_unavailable"
            },
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_couchdb_nobody_is_mistaken_for_a_stranger() {
    let world = World::before(&Fake::absent().await, RULES, "").await;
    for (who, path) in [
        (world.as_("rita"), "/notes/a"),
        (world.anonymous(), "/board/a"),
        (world.as_("rita"), "/_session"),
    ] {
        let answer = who.get(path).await;
        assert!(
            [502, 503].contains(&answer.status),
            "{path}: {} {:?}",
            answer.status,
            answer.body
        );
        assert!(answer.json()["reason"].is_string());
    }
    world
        .anonymous()
        .get("/notes/a")
        .await
        .no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_is_slow_is_a_504() {
    let (world, _fake) = before(
        |_| vec![Step::Hang],
        "[limits]\nupstream_answer = \"100ms\"\nfeed_idle = \"100ms\"\n",
    )
    .await;
    everybody(&world, |answer, request| {
        assert_eq!(answer.status, 504, "{request}: {:?}", answer.body);
        answer.no(504, "gateway_timeout");
    })
    .await;
    world
        .as_("rita")
        .get("/notes/_changes?feed=continuous&heartbeat=true")
        .await
        .no(504, "gateway_timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_falls_silent_in_mid_answer_is_cut() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let rows = "{\"total_rows\":1,\"offset\":0,\"rows\":[\n{\"id\":\"a\",\"key\":\"a\",\"value\":{\"rev\":\"1-a\"}}";
    let text = format!("{head}{:x}\r\n{rows}\r\n", rows.len());
    let (world, _fake) = before(
        move |_| vec![Step::Send(text.clone().into_bytes()), Step::Hang],
        "[limits]\nupstream_idle = \"100ms\"\n",
    )
    .await;
    let answer = world.as_("rita").get("/notes/_all_docs").await;
    assert!(answer.cut || answer.status == 504, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdbs_own_words_reach_administrators_only() {
    for (status, error) in [
        (400, "query_parse_error"),
        (400, "bad_request"),
        (400, "strange"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (409, "conflict"),
        (412, "missing_stub"),
        (413, "document_too_large"),
        (415, "bad_content_type"),
        (417, "expectation_failed"),
        (500, "badmatch"),
        (500, "{secret}"),
        (503, "service unvailable"),
    ] {
        let body =
            json!({ "error": error, "reason": "secret of a", "ref": 1, "stack": ["secret"] })
                .to_string();
        let (world, _fake) = before(move |_| plain(status, &body), "").await;
        everybody(&world, |answer, request| {
            let text = String::from_utf8_lossy(&answer.body);
            assert!(!text.contains("secret"), "{status} {request}: {text}");
            if answer.status >= 400 {
                assert!(
                    answer.json()["error"].is_string() && answer.json()["reason"].is_string(),
                    "{status} {request}: {text}"
                );
                assert_ne!(answer.json()["error"], "strange");
            }
            assert_eq!(answer.header("www-authenticate"), None);
        })
        .await;
        let ops = world.as_("ops").get("/notes/a").await;
        assert_eq!(
            (ops.status, &ops.json()["reason"]),
            (status, &json!("secret of a"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_can_be_read_in_two_ways_is_refused() {
    let (world, fake) = before(|_| plain(201, "[]"), "").await;
    for request in [
        "PUT /notes/a {\"n\":1,\"n\":2}",
        "PUT /notes/a {\"n\":1,\"\\u006e\":2}",
        "PUT /notes/a {\"deep\":[{\"n\":1,\"n\":1}]}",
        "POST /notes {\"_id\":\"a\",\"_id\":\"b\"}",
        "POST /notes/_bulk_docs {\"docs\":[],\"docs\":[{\"_id\":\"a\"}]}",
        "POST /notes/_bulk_docs {\"docs\":[{\"_id\":\"a\",\"_id\":\"b\"}]}",
        "POST /notes/_bulk_docs {\"docs\":[{\"_id\":\"a\",\"x\":{\"roles\":1,\"roles\":2}}]}",
        "PUT /notes/_local/a {\"n\":1,\"n\":2}",
        "PUT /notes/a {\"n\":1}{}",
        "PUT /notes/a {\"n\":1",
        "PUT /notes/a [1]",
        "PUT /notes/a {\"n\":\"\\ud800\"}",
        "PUT /notes/a \u{feff}{}",
    ] {
        let answer = ask(&world.as_("walt"), request).await;
        assert_eq!(answer.status, 400, "{request}: {:?}", answer.body);
        answer.no(400, "bad_request");
    }
    for request in [
        "POST /notes/_find {\"selector\":{},\"selector\":{\"n\":1}}",
        "POST /notes/_all_docs {\"keys\":[\"a\"],\"keys\":[\"b\"]}",
        "POST /notes/_bulk_get {\"docs\":[],\"docs\":[]}",
        "POST /notes/_revs_diff {\"a\":[\"1-a\"],\"a\":[\"1-b\"]}",
        "POST /notes/_changes?filter=_doc_ids {\"doc_ids\":[\"a\"],\"doc_ids\":[\"b\"]}",
    ] {
        let answer = ask(&world.as_("rita"), request).await;
        assert_eq!(answer.status, 400, "{request}: {:?}", answer.body);
        answer.no(400, "bad_request");
    }
    let sent: Vec<_> = fake
        .seen()
        .into_iter()
        .filter(|seen| seen.method != "GET")
        .collect();
    assert!(sent.is_empty(), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_can_be_read_in_two_ways_is_refused_without_a_lens_too() {
    const CLEAR: &str = r#"
[[rule]]
name = "all"
databases = ["notes"]
callers = { names = ["$walt"] }
permit = ["replicate"]
"#;
    let fake = Fake::start(|_| plain(201, "{}")).await;
    let world = World::before(&fake, CLEAR, "").await;
    let walt = world.as_("walt");
    for body in ["{\"n\":1,\"\\u006e\":2}", "{\"n\":1}{}"] {
        let answer = ask(&walt, &format!("PUT /notes/a {body}")).await;
        assert_eq!(answer.status, 400, "{body}: {:?}", answer.body);
    }
    const TWO: &str = "{\"n\":1,\"n\":2}";
    let batch = format!("{{\"docs\":[{TWO}]}}");
    let parts = format!("--x\r\nContent-Type: application/json\r\n\r\n{TWO}\r\n--x--");
    let form =
        format!("--x\r\nContent-Disposition: form-data; name=\"_doc\"\r\n\r\n{TWO}\r\n--x--");
    for (method, path, kind, body) in [
        (
            "POST",
            "/notes/_bulk_docs",
            "application/json",
            batch.as_str(),
        ),
        ("POST", "/notes", "application/json", TWO),
        ("PUT", "/notes/a", "multipart/related;boundary=x", &parts),
        ("POST", "/notes/a", "multipart/form-data;boundary=x", &form),
    ] {
        let kinds = [("content-type", kind)];
        let answer = walt.ask(method, path, &kinds, body.to_owned()).await;
        assert_eq!(answer.status, 400, "{method} {path} {kind}");
    }
    // CouchDB reads these as JSON. Another one might not.
    for kind in ["multipart/x", "multipart/related"] {
        let kinds = [("content-type", kind)];
        let answer = walt.ask("PUT", "/notes/a", &kinds, TWO).await;
        assert_eq!(answer.status, 415, "{kind}");
    }
    let puts = |fake: &Fake| {
        fake.seen()
            .iter()
            .filter(|seen| seen.method != "GET")
            .count()
    };
    assert_eq!(puts(&fake), 0);
    assert_eq!(ask(&walt, "PUT /notes/a {\"n\":1}").await.status, 201);
    assert_eq!(puts(&fake), 1);
}

/// On one thread, so that the log of this thread is the log of everything that this world does.
#[tokio::test]
async fn each_request_leaves_one_line_in_the_log() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(lines.clone())
        .finish();
    let log = tracing::Dispatch::new(log);
    // While there is only one, tracing asks the thread that comes by first, which may be another test's.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::dispatcher::set_default(&log);
    let document = r#"{"_id":"a","_rev":"1-a","text":"private"}"#;
    let (world, _fake) = before(
        move |seen| {
            if seen.target.starts_with("/notes/a") {
                plain(200, document)
            } else {
                vec![Step::Close]
            }
        },
        "",
    )
    .await;
    world.as_("rita").get("/notes/a?conflicts=true").await.yes();
    let line = lines.next_request().await;
    let member = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [
            member("method"),
            member("route"),
            member("db"),
            member("caller")
        ],
        ["GET", "/{db}/{docid}", "notes", "rita"],
        "{line}"
    );
    assert_eq!(
        [
            member("verdict"),
            member("rules"),
            member("end"),
            member("protocol"),
            member("client")
        ],
        ["permit", "readers", "complete", "HTTP/1.1", "127.0.0.1"],
        "{line}"
    );
    assert_eq!(
        (&line["status"], line["bytes_in"].as_u64()),
        (&json!(200), Some(0)),
        "{line}"
    );
    assert!(
        line["bytes_out"].as_u64().unwrap() > 40
            && line["ms"].is_number()
            && !member("id").is_empty(),
        "{line}"
    );
    assert!(
        !line.to_string().contains("conflicts") && !line.to_string().contains("private"),
        "{line}"
    );

    world
        .as_("tom")
        .put("/notes/a", json!({ "text": "private" }))
        .await
        .no(404, "not_found");
    let line = lines.next_request().await;
    assert_eq!(
        (&line["status"], &line["verdict"], &line["caller"]),
        (&json!(404), &json!("deny"), &json!("tom")),
        "{line}"
    );

    world
        .anonymous()
        .get("/notes/%5Fwhat?password=private")
        .await
        .no(401, "unauthorized");
    let line = lines.next_request().await;
    assert_eq!(
        (&line["status"], &line["verdict"]),
        (&json!(401), &json!("refuse")),
        "{line}"
    );

    world
        .as_("rita")
        .get("/notes/_all_docs")
        .await
        .no(502, "bad_gateway");
    let line = lines.next_request().await;
    assert_eq!(
        (&line["status"], &line["verdict"], &line["route"]),
        (&json!(502), &json!("permit"), &json!("/{db}/_all_docs")),
        "{line}"
    );
    let text = lines.text();
    assert_eq!(text.matches("\"target\":\"request\"").count(), 4, "{text}");
    for secret in ["private", "correct horse", "cml0Y", "Basic", "errands"] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// What is logged, in memory.
#[derive(Clone, Default)]
struct Lines {
    written: Arc<Mutex<Vec<u8>>>,
    read: Arc<Mutex<usize>>,
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }

    /// The next line about a request, once it has been written.
    async fn next_request(&self) -> Value {
        let wanted = *self.read.lock().unwrap();
        let line = async {
            loop {
                let text = self.text();
                if let Some(line) = text
                    .lines()
                    .filter(|line| line.contains("\"target\":\"request\""))
                    .nth(wanted)
                {
                    return serde_json::from_str(line).unwrap();
                }
                tokio::task::yield_now().await;
            }
        };
        let line = tokio::time::timeout(Duration::from_secs(30), line)
            .await
            .unwrap_or_else(|_| panic!("no line: {}", self.text()));
        *self.read.lock().unwrap() += 1;
        line
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn before(
    script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    more: &str,
) -> (World, Fake) {
    let fake = Fake::start(script).await;
    let world = World::before(&fake, RULES, more).await;
    (world, fake)
}

/// All requests, each by somebody who may ask it.
async fn everybody(world: &World, check: impl Fn(&Answer, &str)) {
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    for request in REQUESTS {
        check(&ask(&rita, request).await, request);
    }
    for request in WRITES {
        check(&ask(&walt, request).await, request);
    }
    check(&world.anonymous().get("/board/a").await, "GET /board/a");
}

async fn ask(client: &Client, request: &str) -> Answer {
    let (method, rest) = request.split_once(' ').unwrap();
    let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let headers: &[(&str, &str)] = if body.is_empty() {
        &[]
    } else {
        &[("content-type", "application/json")]
    };
    client.ask(method, path, headers, body.to_owned()).await
}

/// CouchDB demands a login of everybody who is no administrator of the database.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_is_known_is_told_to_log_in() {
    for (status, error) in [(401, "unauthorized"), (500, "forbidden")] {
        let body = json!({ "error": error, "reason": "not an administrator" }).to_string();
        let (world, _fake) = before(move |_| plain(status, &body), "").await;
        let rita = world.as_("rita");
        rita.get("/notes/a").await.no(403, "forbidden");
        rita.put("/notes/a", json!({ "n": 1 }))
            .await
            .no(403, "forbidden");
    }
    let body = json!({ "error": "unauthorized", "reason": "x" }).to_string();
    let (world, _fake) = before(move |_| plain(401, &body), "").await;
    world
        .anonymous()
        .get("/board/a")
        .await
        .no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_couchdb_forbids_in_words_of_its_own_is_forbidden() {
    let fake = Fake::start(|seen| match seen.target.as_str() {
        "/notes/_index" if seen.method == "GET" => plain(200, r#"{"total_rows":0,"indexes":[]}"#),
        "/notes/_index" => plain(
            500,
            r#"{"error":"error_saving_ddoc","reason":"Unknown error while saving the design document: forbidden","ref":1}"#,
        ),
        "/notes/_purge" => plain(
            500,
            r#"{"error":"badmatch","reason":"{error,{forbidden,<<\"You are not a db or server admin.\">>}}","ref":1}"#,
        ),
        _ => plain(404, r#"{"error":"not_found","reason":"missing"}"#),
    })
    .await;
    let rules = "[[rule]]\nname = \"r\"\ndatabases = [\"notes\"]\ncallers = { names = [\"walt\"] }\n\
                 permit = [\"read\", \"find\", \"index\", \"maintain\"]\n";
    let world = World::before(&fake, rules, "").await;
    let walt = world.as_("walt");
    let index = json!({ "index": { "fields": ["a"] } });
    let told = walt.post("/notes/_index", index).await;
    told.no(403, "forbidden");
    let purge = json!({ "_design/a": ["1-a"] });
    let told = walt.post("/notes/_purge", purge).await;
    told.no(403, "forbidden");
}

/// CouchDB 3.5 means to say `400` and stumbles.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_fit_their_digest_are_a_fault_of_the_request() {
    let fake = Fake::start(|seen| match seen.method.as_str() {
        "PUT" => plain(
            500,
            r#"{"error":"unknown_error","reason":"function_clause","ref":1428987167}"#,
        ),
        _ => plain(404, r#"{"error":"not_found","reason":"missing"}"#),
    })
    .await;
    let rules = "[[rule]]\nname = \"r\"\ndatabases = [\"notes\", \"open\"]\ncallers = { names = [\"walt\"] }\n\
                 permit = [\"replicate\"]\n[[rule]]\nname = \"h\"\ndatabases = [\"notes\"]\n\
                 callers = { names = [\"walt\"] }\nhide = [\"salt\"]\n";
    let world = World::before(&fake, rules, "").await;
    let walt = world.as_("walt");
    let told = |digest: &str| {
        let document = format!(
            r#"{{"_attachments":{{"f":{{"follows":true,"content_type":"a/b","length":1{digest}}}}}}}"#
        );
        format!(
            "--limit\r\nContent-Type: application/json\r\n\r\n{document}\r\n--limit\r\n\r\nx\r\n--limit--"
        )
    };
    let kind = [("content-type", "multipart/related; boundary=limit")];
    for db in ["notes", "open"] {
        let path = format!("/{db}/a");
        let digest = r#","digest":"md5-AAAAAAAAAAAAAAAAAAAAAA==""#;
        let answer = walt.ask("PUT", &path, &kind, told(digest)).await;
        answer.no(400, "bad_request");
        // Without one it is CouchDB's own.
        let answer = walt.ask("PUT", &path, &kind, told("")).await;
        answer.no(502, "bad_gateway");
    }
}
