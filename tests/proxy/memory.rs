//! What requests make couchwarden hold, measured in a process of its own: no more than `[limits] bodies` allows for,
//! whatever is sent and whatever must be read to judge it.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::provision::{MORE, USER_DATABASES};
use crate::support::{Client, World};

const RULES: &str = r#"
[[rule]]
name = "own"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate", "find", "view:v/*"]
change = ["text", "owner", "numbers"]
documents = { owner = "walt" }
"#;

/// What may be counted, in MiB.
const BODIES: u64 = 48;
/// What the process takes without any request, and what the allocator has not given back yet.
const ASIDE: u64 = 64;

/// How many documents there are of 400 kB each, of which every byte is as dear as can be.
const DOCUMENTS: usize = 12;

/// A couchwarden like that of a world, by itself.
pub(crate) struct Watched {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Watched {
    pub(crate) async fn start(world: &World) -> Self {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let directory = world.directory.path();
        let text = fs::read_to_string(directory.join("couchwarden.toml")).unwrap();
        let text = text.replacen("127.0.0.1:0", &address.to_string(), 1);
        let [theirs, own] =
            [world.address, address].map(|address| format!("localhost:{}", address.port()));
        let text = text.replace(&theirs, &own);
        let file = directory.join("watched.toml");
        fs::write(&file, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_couchwarden"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it does not start"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, address }
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.unwrap().count()
    }

    /// The most that it has held since it was last asked, in MiB.
    pub(crate) fn peak(&self) -> u64 {
        let of = |file: &str| format!("/proc/{}/{file}", self.child.id());
        let status = fs::read_to_string(of("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        // From now on it is measured anew (man 5 proc).
        fs::write(of("clear_refs"), "5").unwrap();
        kib / 1024
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbers() -> Value {
    vec![0; 200_000].into()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A selector whose innermost part is long, which each of its levels would copy, and which is refused at its end.
fn selector() -> String {
    let levels = 30;
    let numbers = "0,".repeat(200_000) + "0";
    format!(
        r#"{{"selector":{}{{"text":{{"$in":[{numbers}]}},"owner":{{"$unknown":1}}}}{}}}"#,
        r#"{"owner":"walt","$not":"#.repeat(levels),
        "}".repeat(levels)
    )
}

/// So many documents, and one of as many leaves.
async fn filled() -> World {
    let limits = format!("[limits]\nbodies = \"{BODIES}MiB\"\n[limits.shares]\nbodies = 100\n");
    let world = World::with(RULES, &limits).await;
    let map = "function (doc) { emit(doc._id, null); }";
    let design = json!({ "_id": "_design/v", "views": { "all": { "map": map } } });
    world.database("notes", json!([design])).await;
    for n in 0..DOCUMENTS {
        let document = json!({ "_id": format!("d{n}"), "owner": "walt", "numbers": numbers() });
        world.fill("notes", json!([document])).await;
        let leaf = json!({
            "_id": "leaves", "_rev": format!("1-{n:032x}"), "owner": "walt", "numbers": numbers(),
        });
        let path = format!("/{}/_bulk_docs", world.db("notes"));
        let forced = json!({ "docs": [leaf], "new_edits": false });
        assert_eq!(world.backend().post(&path, forced).await.yes(), json!([]));
    }
    world
}

fn named(value: impl Fn(usize) -> Value) -> Map<String, Value> {
    (0..DOCUMENTS)
        .map(|n| (format!("d{n}"), value(n)))
        .collect()
}

/// Somebody of a world, before the couchwarden that is watched.
pub(crate) fn before(watched: &Watched, client: Client) -> Client {
    Client {
        address: watched.address,
        ..client
    }
}

/// What was held at most, in MiB, and by what.
fn assert_bounded(peaks: &[(String, u64)]) {
    let bounded = |(_, peak): &(String, u64)| *peak < 2 * BODIES + ASIDE;
    assert!(peaks.iter().all(bounded), "{peaks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_is_read_to_judge() {
    let world = filled().await;
    let watched = Watched::start(&world).await;
    let walt = before(&watched, world.as_("walt"));
    walt.get("/@notes/d0").await.yes();
    let idle = watched.peak();
    let rev = "2-0123456789abcdef0123456789abcdef";
    let mut peaks = vec![("one document".to_owned(), idle)];
    let mut done = |what: &str| peaks.push((what.to_owned(), watched.peak()));

    let bomb = gzip(&selector());
    assert!(bomb.len() < 6000, "{}", bomb.len());
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let refused = walt.ask("POST", "/@notes/_find", &headers, bomb).await;
    refused.no(400, "invalid_operator");
    done("selector");

    let asked = Value::Object(named(|_| json!([rev])));
    let told = walt.post("/@notes/_revs_diff", asked).await.yes();
    assert_eq!(told.as_object().unwrap().len(), DOCUMENTS);
    done("_revs_diff");

    for new_edits in [true, false] {
        let row = |n: usize| json!({ "_id": format!("d{n}"), "_rev": rev, "owner": "walt" });
        let rows: Vec<Value> = (0..DOCUMENTS).map(row).collect();
        let batch = json!({ "docs": rows, "new_edits": new_edits });
        let told = walt.post("/@notes/_bulk_docs", batch).await.yes();
        let refused = if new_edits { DOCUMENTS } else { 0 };
        assert_eq!(told.as_array().unwrap().len(), refused, "{told}");
        done("_bulk_docs");
    }

    let rows = walt.get("/@notes/_design/v/_view/all").await.yes();
    let rows = rows["rows"].as_array().unwrap().len();
    // The leaves of one document are one row.
    assert_eq!(rows, DOCUMENTS + 1);
    done("view");

    let forced = json!({ "_rev": rev, "owner": "walt" });
    let told = walt.put("/@notes/leaves?new_edits=false", forced).await;
    // Its leaves together are more than may be held to judge them.
    told.no(403, "forbidden");
    done("forced PUT over many leaves");

    for path in [
        "/@notes/_all_docs",
        "/@notes/_all_docs?include_docs=true",
        "/@notes/_changes?style=all_docs",
        "/@notes/_changes?include_docs=true",
        "/@notes/leaves?open_revs=all",
    ] {
        walt.get(path).await;
        done(path);
    }
    eprintln!("{peaks:?}");
    assert_bounded(&peaks);
}

/// A text that is as long as JSON as it is parsed: what is made of it can only be copies.
fn long(mib: usize) -> String {
    "x".repeat(mib << 20)
}

/// Bodies that nearly fill what may be held, in ways that write them anew.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_is_written() {
    let world = filled().await;
    let watched = Watched::start(&world).await;
    let (walt, ops) = (world.as_("walt"), world.as_("ops"));
    let (walt, ops) = (before(&watched, walt), before(&watched, ops));
    let mut peaks = Vec::new();
    for who in [&walt, &ops] {
        who.get("/@notes/d0").await.yes();
        watched.peak();
        let page = format!("https://localhost:{}/", watched.address.port());
        let form = [
            ("content-type", "multipart/form-data; boundary=x"),
            ("referer", page.as_str()),
        ];
        let field = "--x\r\ncontent-disposition: form-data; name=";
        let sent = format!(
            "{field}\"_doc\"\r\n\r\n{{\"owner\":\"walt\"}}\r\n{field}\"_attachments\"; filename=\"a\"\r\n\r\n{}\r\n--x--",
            long(40)
        );
        let told = who.ask("POST", "/@notes/formed", &form, sent).await;
        assert_eq!(told.status, 413, "{told:?}");
        peaks.push((format!("a form of {}", who.name()), watched.peak()));
    }
    let row = |n: usize| {
        json!({
            "_id": format!("d{n}"), "_rev": "1-0123456789abcdef0123456789abcdef",
            "_deleted": true, "owner": "walt", "text": long(2),
        })
    };
    let rows: Vec<Value> = (0..22).map(row).collect();
    let told = ops
        .post("/@notes/_bulk_docs", json!({ "docs": rows }))
        .await;
    assert_eq!(told.status, 413, "{told:?}");
    peaks.push(("an administrator's tombstones".to_owned(), watched.peak()));
    eprintln!("{peaks:?}");
    assert_bounded(&peaks);
}

/// Feeds hold what they were asked with as long as they are open.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_however_long_what_was_sent_is_held() {
    let world = filled().await;
    let watched = Watched::start(&world).await;
    let walt = before(&watched, world.as_("walt"));
    walt.get("/@notes/d0").await.yes();
    watched.peak();
    let ids: Vec<String> = (0..100)
        .map(|n| format!("{n}-{}", "x".repeat(40_000)))
        .collect();
    let asked = json!({ "doc_ids": ids });
    let mut feeds = Vec::new();
    for _ in 0..60 {
        let path = "/@notes/_changes?filter=_doc_ids&feed=continuous&heartbeat=1000";
        let feed = walt.post_feed(path, asked.clone()).await;
        match feed.status {
            200 => feeds.push(feed),
            status => assert!([413, 429, 503].contains(&status), "{status}"),
        }
    }
    assert!(feeds.len() > 2, "{}", feeds.len());
    let what = format!("{} feeds", feeds.len());
    let peaks = [(what, watched.peak())];
    eprintln!("{peaks:?}");
    assert_bounded(&peaks);
}

/// Whoever asks for a database of their own has their account read, which they may have filled.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_services_read() {
    let limits =
        format!("{MORE}[limits]\nbodies = \"{BODIES}MiB\"\n[limits.shares]\nbodies = 100\n");
    let world = World::with(USER_DATABASES, &limits).await;
    world.database("provisioning", json!([])).await;
    let una = world.user("una", &[]);
    let name = una.name().to_owned();
    let path = format!("/_users/org.couchdb.user:{name}");
    let mut account = world.backend().get(&path).await.yes();
    account["profile"] = numbers();
    world.backend().put(&path, account).await.yes();
    world.retire();
    let watched = Watched::start(&world).await;
    let una = before(&watched, una);
    let made = una.post("/_warden/provisioning", Value::Null).await.yes();
    world.adopt(made["database"].as_str().unwrap());
    watched.peak();
    let mut calls = JoinSet::new();
    for _ in 0..24 {
        let una = una.clone();
        calls.spawn(async move { una.post("/_warden/provisioning", Value::Null).await.status });
    }
    let told = calls.join_all().await;
    assert!(told.contains(&200), "{told:?}");
    let peaks = [("provisioning".to_owned(), watched.peak())];
    eprintln!("{peaks:?}");
    assert_bounded(&peaks);
}
