//! When CouchDB is not there, is slow, or says no; and the one line in the log.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Fake, Step, World, plain};

const OPEN: &str = r#"
[[rule]]
name = "open-to-all"
databases = ["@notes"]
callers = { everyone = true }
permit = ["read", "changes", "find", "create"]
hide = ["secret"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_couchdb_is_a_bad_gateway() {
    let world = World::before(&Fake::absent().await, OPEN, "").await;
    for path in ["/notes/a", "/notes/_all_docs", "/notes/_changes", "/notes", "/_up"] {
        let answer = world.anonymous().get(path).await;
        assert!([502, 503].contains(&answer.status), "{path}: {answer:?}");
        let told = answer.json();
        assert!(told["error"].is_string() && told["reason"].is_string(), "{told}");
        assert!(!answer.text().contains("127.0.0.1") && !answer.text().to_lowercase().contains("hyper"), "{told}");
    }
    // Nobody can be told to be wrong if nobody can be asked.
    let answer = world.as_("rita").get("/notes/a").await;
    assert!([502, 503].contains(&answer.status), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_couchdb_is_a_gateway_timeout() {
    let fake = Fake::start(|_| vec![Step::Hang]).await;
    let world = World::before(&fake, OPEN, "[limits]\nupstream_answer = \"100ms\"\n").await;
    for path in ["/notes/a", "/notes/_all_docs"] {
        world.anonymous().get(path).await.no(504, "gateway_timeout");
    }
    world.anonymous().post("/notes/_find", json!({ "selector": { "n": 1 } })).await.no(504, "gateway_timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_answer_is_cut() {
    let fake = Fake::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        let first = b"1c\r\n{\"total_rows\":1,\"rows\":[\n{},\r\n";
        vec![Step::Send(head.into()), Step::Send(first.to_vec()), Step::Hang]
    })
    .await;
    let world = World::before(&fake, OPEN, "[limits]\nupstream_idle = \"100ms\"\n").await;
    let answer = world.anonymous().get("/notes/_all_docs").await;
    assert!(answer.cut || answer.status >= 500, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdbs_own_words_stay_with_administrators() {
    let secret = r#"{"error":"{badmatch,node1}","reason":"see /opt/couchdb/secret","ref":12}"#;
    for (status, shown) in [(500, 500..=599), (503, 500..=599), (400, 400..=599), (403, 400..=599), (404, 404..=404), (418, 400..=599), (302, 400..=599)] {
        let fake = Fake::start(move |_| plain(status, secret)).await;
        let world = World::before(&fake, OPEN, "").await;
        for path in ["/notes/a", "/notes/_all_docs", "/notes/_changes"] {
            let answer = world.anonymous().get(path).await;
            assert!(shown.contains(&answer.status), "{status} {path}: {answer:?}");
            assert!(!answer.text().contains("opt") && !answer.text().contains("badmatch"), "{status} {path}: {answer:?}");
            assert!(answer.json()["error"].is_string(), "{path}: {answer:?}");
        }
        let ops = world.as_("ops").get("/notes/a").await;
        assert_eq!((ops.status, ops.text()), (status, secret));
    }
}

/// All lines of all tests of this binary.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn of(&self, word: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        text.lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    }
}

fn log() -> &'static Lines {
    static LINES: OnceLock<Lines> = OnceLock::new();
    LINES.get_or_init(|| {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt().json().flatten_event(true).with_writer(lines.clone()).finish();
        tracing::subscriber::set_global_default(log).unwrap();
        lines
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_without_secrets() {
    let lines = log();
    let world = World::start(OPEN).await;
    world.database("notes", json!([{ "_id": "hush-id", "secret": "hush-body" }])).await;
    let (rita, name) = (world.as_("rita"), world.name("rita"));
    rita.get("/@notes/hush-id").await.yes();
    rita.get("/@notes/_all_docs?key=%22hush-query%22").await.yes();
    rita.get("/@notes/_security").await.no(403, "forbidden");
    world.anonymous().with_login(&name, "hush-password").get("/@notes/a").await.no(401, "unauthorized");
    let wanted = 4;
    let db = world.db("notes");
    let complete = async {
        while lines.of(&db).len() < wanted {
            tokio::task::yield_now().await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), complete).await;
    let found = lines.of(&db);
    assert_eq!(found.len(), wanted, "{found:#?}");
    for (line, (status, verdict)) in found.iter().zip([(200, "permit"), (200, "permit"), (403, "deny"), (401, "refuse")]) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["status"], &line["verdict"]), (&json!(status), &json!(verdict)), "{line}");
        assert!(line["route"].is_string() && line["method"] == "GET" && line["ms"].is_number(), "{line}");
        assert_eq!(line["end"], "complete", "{line}");
        assert!(!line.to_string().contains("hush"), "{line}");
    }
    assert!(found[0].contains(&name) && found[0].contains("open-to-all"), "{}", found[0]);
}
