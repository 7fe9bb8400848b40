//! What all callers share: an attacker who takes whatever can be had keeps nobody else out, and many callers behind one
//! address are many.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Client, Fake, Feed, PASSWORD, Seen, Step, World, plain};

/// Reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(120);

const RULES: &str = r#"
[[rule]]
name = "all"
databases = ["@notes"]
callers = { roles = ["reader", "writer"] }
permit = ["read", "changes", "create", "update"]
[[rule]]
name = "some"
databases = ["@calls"]
callers = { roles = ["reader", "writer"] }
permit = ["read", "changes"]
[rule.documents]
team = "red"
"#;

const FEED: &str = "/notes/_changes?feed=continuous";

/// A CouchDB whose feeds are silent, and which stores whatever it gets.
async fn silent() -> Fake {
    Fake::start(|seen: &Seen| {
        if seen.target.contains("feed=") && !seen.target.contains("feed=normal") {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            return vec![Step::Send(head.into()), Step::Send("1\r\n\n\r\n".into()), Step::Hang];
        }
        if seen.target.contains("/_changes") {
            return plain(200, r#"{"results":[],"last_seq":"1","pending":0}"#);
        }
        match seen.method.as_str() {
            "PUT" => plain(201, r#"{"ok":true,"id":"x","rev":"1-a"}"#),
            _ => plain(200, r#"{"_id":"x","_rev":"1-a"}"#),
        }
    })
    .await
}

/// How many feeds have been asked for that wait.
fn waiting(fake: &Fake) -> usize {
    let waits =
        |seen: &&Seen| seen.target.contains("feed=") && !seen.target.contains("feed=normal");
    fake.seen().iter().filter(waits).count()
}

/// Waits for what must come; nothing but a failure waits long.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_quiet_feed_is_noticed() {
    let fake = silent().await;
    let (tls, plain) = tokio::join!(
        World::before(&fake, RULES, ""),
        World::plain_before(&fake, RULES, "")
    );
    let rita = tls.as_("rita");
    let clients = [tls.over_http2(&rita), rita, plain.as_("rita")];
    let mut left = 0;
    for client in clients {
        for db in ["notes", "calls"] {
            for feed in ["continuous", "longpoll", "eventsource"] {
                let path = format!("/{db}/_changes?feed={feed}&since=1");
                let feed = client.feed(&path).await;
                assert_eq!(feed.status, 200, "{path}");
                assert_eq!(fake.given_up(), left);
                // A long poll is asked for behind what is there already.
                until(&path, || waiting(&fake) > left).await;
                drop(feed);
                left += 1;
                until(&path, || fake.given_up() == left).await;
            }
        }
    }
}

/// As many feeds as this client gets, and how the next one is refused.
async fn all_feeds(client: &Client, most: usize) -> Vec<Feed> {
    let mut feeds = Vec::new();
    for _ in 0..most {
        let feed = client.feed(FEED).await;
        if feed.status != 200 {
            break;
        }
        feeds.push(feed);
    }
    feeds
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_of_one_user_leave_room_for_those_of_others() {
    let fake = silent().await;
    let more = "[limits]\nfeeds = 40\n[cors]\norigins = [\"https://app.example\"]\n";
    let world = World::before(&fake, RULES, more).await;
    for rita in [world.as_("rita"), world.over_http2(&world.as_("rita"))] {
        let feeds = all_feeds(&rita, 40).await;
        assert_eq!(feeds.len(), 4);
        let app = rita.clone().with_header("origin", "https://app.example");
        let refused = app.get(FEED).await;
        refused.no(429, "too_many_requests");
        assert_eq!(refused.header("retry-after"), Some("10"));
        let allowed = refused.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example"));
        // What is no feed goes on, and so do others.
        rita.get("/notes/_changes?feed=normal").await.yes();
        rita.get("/notes/x").await.yes();
        assert_eq!(all_feeds(&world.as_("walt"), 40).await.len(), 3);
        let before = fake.given_up();
        drop(feeds);
        until("the feeds end", || fake.given_up() >= before + 4).await;
        let again = async { while rita.feed(FEED).await.status != 200 {} };
        timeout(PATIENCE, again).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_user_over_http2_leave_room_for_those_of_others() {
    let fake = silent().await;
    let world = World::before(&fake, RULES, "[limits]\nconnections = 100\nstreams = 16\n").await;
    let rita = world.over_http2(&world.as_("rita"));
    let feeds = all_feeds(&rita, 16).await;
    assert_eq!(feeds.len(), 4);
    let refused = rita.get("/notes/x").await;
    refused.no(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let walt = world.over_http2(&world.as_("walt"));
    for _ in 0..20 {
        walt.get("/notes/x").await.yes();
        // One of HTTP/1 has its connection for it.
        world.as_("rita").get("/notes/x").await.yes();
    }
    drop(feeds);
    let again = async { while rita.get("/notes/x").await.status != 200 {} };
    timeout(PATIENCE, again).await.unwrap();
}

/// Sends most of a body and then nothing more, until the connection ends.
async fn send_slowly(client: Client, path: String) {
    let tls = client.tls.clone().unwrap();
    let tcp = TcpStream::connect(client.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut tls = tls.connect(name, tcp).await.unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\ncontent-length: 3000000\r\n\r\n{{\"a\":\"",
        client.authorization()
    );
    // Who is refused may not be able to send it all.
    let _ = tls.write_all(head.as_bytes()).await;
    let _ = tls.write_all(&vec![b'x'; 1_900_000]).await;
    let _ = tls.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_of_one_user_leave_room_for_those_of_others() {
    let world = World::with(RULES, "[limits]\nbodies = \"8MiB\"\n").await;
    world.database("notes", json!([])).await;
    let walt = world.as_("walt");
    // More than one caller ever gets.
    let too_much = json!({ "text": "x".repeat(2_500_000) });
    let refused = walt.put("/@notes/z", too_much).await;
    refused.no(413, "too_large");
    let path = format!("/{}/slow", world.db("notes"));
    let rita = world.as_("rita");
    let mut slow = JoinSet::new();
    slow.spawn(send_slowly(rita.clone(), path.clone()));
    let body = json!({ "text": "x".repeat(1_000_000) });
    let refused = async {
        loop {
            let answer = rita.put("/@notes/y", body.clone()).await;
            // Stored, or there already, until the slow one has arrived.
            if !matches!(answer.status, 201 | 409) {
                return answer;
            }
        }
    };
    let refused = timeout(PATIENCE, refused).await.unwrap();
    refused.no(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for _ in 0..4 {
        slow.spawn(send_slowly(rita.clone(), path.clone()));
    }
    for _ in 0..4 {
        let refused = timeout(PATIENCE, slow.join_next()).await;
        refused.unwrap().unwrap().unwrap();
    }
    walt.put("/@notes/x", body).await.yes();
}

const SECRET: &[u8; 32] = b"thirty-two bytes that nobody has";

/// The section by which bearers of [`token`] are believed.
fn token_section(keys: &mut tempfile::NamedTempFile) -> String {
    let key =
        json!({ "kty": "oct", "alg": "HS256", "kid": "k", "k": URL_SAFE_NO_PAD.encode(SECRET) });
    write!(keys, "{}", json!({ "keys": [key] })).unwrap();
    format!(
        "[identity.tokens]\nkeys = \"{}\"\nroles = [\"roles\"]\n",
        keys.path().display()
    )
}

fn token(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let head = json!({ "typ": "JWT", "alg": "HS256", "kid": "k" });
    let claims = json!({ "sub": name, "exp": now.as_secs() + 3600, "roles": ["reader"] });
    let parts = [&head, &claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// As CouchDB's replicator comes: from one address, each connection with a token of another user.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_users_behind_one_address_have_a_feed_each() {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        descriptors >= 16_000,
        "this test opens 8,000 descriptors: raise `ulimit -Hn`, which is {descriptors}"
    );
    let fake = silent().await;
    let mut keys = tempfile::NamedTempFile::new().unwrap();
    let limits = "[limits]\nconnections = 3000\nstreams = 1000\nfeeds = 3000\n";
    let more = format!("{}{limits}", token_section(&mut keys));
    let world = World::plain_before(&fake, RULES, &more).await;
    // An address has 1,500 connections at most, and its anonymous callers have 300 feeds.
    let mut feeds = Vec::new();
    for user in 0..2000 {
        let header = format!("Bearer {}", token(&format!("user{user}")));
        let client = world.anonymous().with_header("authorization", &header);
        let feed = client.feed(FEED).await;
        assert_eq!(feed.status, 200, "user{user}");
        feeds.push(feed);
    }
    world.as_("rita").get("/notes/x").await.yes();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_logins_through_one_address_that_stands_for_many() {
    let fake = silent().await;
    let shared = "[limits]\nconnections = 60\nshared_networks = [\"127.0.0.1\"]\n";
    let trusted = "[limits]\nconnections = 60\n[trusted]\nproxies = [\"127.0.0.1\"]\n";
    for (more, forwarded) in [(shared, false), (trusted, true)] {
        let world = World::plain_before(&fake, RULES, more).await;
        // More than half of the connections, and nobody has said a name by them.
        let mut idle = Vec::new();
        for _ in 0..35 {
            idle.push(TcpStream::connect(world.address).await.unwrap());
        }
        let names = ["rita", "walt", "sue", "sam", "tom", "ops"];
        for round in 0..50 {
            let logins = (0..20).map(|login| {
                let name = names[(round + login) % names.len()];
                let mut client = world.anonymous();
                if forwarded {
                    let address = format!("192.0.2.{}", login + 1);
                    client = client.with_header("x-forwarded-for", &address);
                }
                async move {
                    let body = json!({ "name": name, "password": PASSWORD });
                    client.post("/_session", body).await.yes();
                }
            });
            futures_util::future::join_all(logins).await;
        }
        drop(idle);
    }
}

/// A couchwarden of its own process, which may open so many files.
struct Limited(Child, SocketAddr);

impl Limited {
    fn start(world: &World, descriptors: u32) -> Self {
        let script = format!("ulimit -n {descriptors} && exec \"$0\" serve");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_couchwarden")])
            .current_dir(world.directory.path())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = String::new();
        let address = log.find_map(|line| {
            let line = line.unwrap();
            lines.push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap();
            let listens = line["message"] == "listening";
            listens.then(|| line["address"].as_str().unwrap().parse().unwrap())
        });
        std::thread::spawn(move || log.for_each(drop));
        assert!(lines.contains("too few file descriptors"), "{lines}");
        Self(child, address.expect("the program does not listen"))
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Attackers come from 127.0.0.2, which is local too.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_keep_nobody_out_where_files_are_few() {
    let fake = silent().await;
    let world = World::before(&fake, RULES, "").await;
    let couchwarden = Limited::start(&world, 256);
    let mut idle = Vec::new();
    for _ in 0..300 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        idle.push(socket.connect(couchwarden.1).await.unwrap());
    }
    let there = Client {
        address: couchwarden.1,
        ..world.as_("rita")
    };
    // Feeds, too, have what they need at CouchDB.
    let mut feeds = Vec::new();
    for _ in 0..10 {
        there.get("/notes/x").await.yes();
        let feed = there.feed(FEED).await;
        assert_eq!(feed.status, 200);
        feeds.push(feed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_bound_to_tls_where_the_operator_says_so() {
    let fake = silent().await;
    let world = World::before(&fake, RULES, "").await;
    let plain = world.as_("rita").get("/notes/x").await;
    assert_eq!(plain.header("strict-transport-security"), None);
    // A certificate that is not for development.
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    std::fs::write(directory.path().join("default.crt"), certificate.pem()).unwrap();
    std::fs::write(directory.path().join("default.key"), key.serialize_pem()).unwrap();
    let mut config = world.config.clone();
    config.listen.certificates = directory.path().to_owned();
    config.listen.hsts = Some(Duration::from_secs(180 * 24 * 3600));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(couchwarden::serve(config, listener, std::future::pending()));
    for (host, told) in [
        ("db.example.com:6984", Some("max-age=15552000")),
        ("localhost:6984", None),
        ("127.0.0.1", None),
    ] {
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = say(address, certificate.der(), &head).await;
        let line = "strict-transport-security: ";
        let found = answer.lines().find_map(|header| header.strip_prefix(line));
        assert_eq!(found, told, "{answer}");
    }
    server.abort();
}

/// The answer to this head, over TLS.
async fn say(address: SocketAddr, root: &[u8], head: &str) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.to_vec().into()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let mut tls = connector.connect(name, tcp).await.unwrap();
    tls.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, tls.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}
