//! What ends stays ended: a logout ends every renewal of its session on every couchwarden, and a session has an
//! absolute end. Ends are kept in a database that no client reaches.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::canary::endpoints;
use crate::support::{Answer, Client, Fake, Feed, PASSWORD, World, backend, plain, unique};

const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { names = ["*"] }
permit    = ["read", "changes"]
"#;

/// Everybody may do everything everywhere.
const OPEN: &str = r#"
[[rule]]
name      = "open"
databases = ["*"]
callers   = { everyone = true }
permit    = ["read", "changes", "write", "find", "design", "info", "create-database", "delete-database", "design-write", "index", "security", "maintain", "replicate", "server:all_dbs", "server:dbs_info", "server:replicate"]
"#;

const LEASE: &str = "[limits]\nfeed_lease = \"10s\"\n";

/// How long the news of an end may take to another couchwarden, on a busy machine.
const SOON: Duration = Duration::from_secs(4);

/// The database of couchwarden itself.
const OURS: &str = "/couchwarden";

async fn filled(more: &str) -> World {
    let world = World::with(RULES, more).await;
    world.database("notes", json!([{ "_id": "a" }])).await;
    world
}

/// The cookie that an answer sets.
fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// One of the cast by the cookie of a new session.
async fn log_in(world: &World, name: &str) -> Client {
    log_in_at(world, world.address, name).await
}

/// At this couchwarden.
async fn log_in_at(world: &World, address: SocketAddr, name: &str) -> Client {
    let login = json!({ "name": world.name(name), "password": PASSWORD });
    let anonymous = at(&world.anonymous(), address);
    let opened = anonymous.post("/_session", login).await;
    opened.yes();
    anonymous.with_header("cookie", &cookie_of(&opened))
}

/// The same client at another couchwarden.
fn at(client: &Client, address: SocketAddr) -> Client {
    Client {
        address,
        ..client.clone()
    }
}

/// The same session by a younger cookie.
async fn renewed(client: &Client) -> Client {
    let renewed = client.get("/session").await;
    renewed.yes();
    by_cookie(client, &renewed)
}

/// The same client with the cookie that it was given.
fn by_cookie(client: &Client, given: &Answer) -> Client {
    Client {
        headers: Vec::new(),
        ..client.clone()
    }
    .with_header("cookie", &cookie_of(given))
}

async fn listen(client: &Client) -> Feed {
    let path = "/@notes/_changes?feed=continuous&heartbeat=100&since=now";
    let mut feed = client.feed(path).await;
    assert_eq!(feed.status, 200);
    feed.line().await.unwrap();
    feed
}

/// Whether a client is refused, asked again until a time is over.
async fn is_refused_within(client: &Client, time: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if client.get("/@notes/a").await.status == 401 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_every_renewal_on_every_couchwarden() {
    let world = filled(LEASE).await;
    let other = world.another().await;
    for name in ["rita", "ops"] {
        let here = log_in(&world, name).await;
        let there = renewed(&at(&here, other)).await;
        let second = renewed(&there).await;
        let stays = log_in(&world, name).await;
        let mut feeds = [listen(&there).await, listen(&second).await];
        let mut others = [
            listen(&at(&stays, other)).await,
            listen(&at(&world.as_(name), other)).await,
        ];
        let begun = Instant::now();
        here.delete("/_session").await.yes();
        for feed in &mut feeds {
            while feed.line().await.is_some() {}
        }
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        for renewal in [&here, &there, &second] {
            for address in [world.address, other] {
                let renewal = at(renewal, address);
                assert!(is_refused_within(&renewal, SOON).await);
                renewal.get("/session").await.no(401, "unauthorized");
            }
        }
        let id = format!("after {name}");
        world.fill("notes", json!([{ "_id": id }])).await;
        for feed in &mut others {
            assert_eq!(feed.row().await["id"], id.as_str());
        }
        for address in [world.address, other] {
            assert_eq!(at(&stays, address).get("/@notes/a").await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchwarden_that_starts_knows_what_has_ended() {
    let world = filled("").await;
    let (ended, stays) = (log_in(&world, "rita").await, log_in(&world, "rita").await);
    ended.delete("/_session").await.yes();
    // The very first request that it gets.
    let new = world.another().await;
    at(&ended, new)
        .get("/@notes/a")
        .await
        .no(401, "unauthorized");
    assert_eq!(at(&stays, new).get("/@notes/a").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_and_its_feeds_end_when_it_has_lasted_longest() {
    let mut world = filled("[limits]\nfeed_lease = \"2s\"\n").await;
    let longest = Duration::from_secs(3);
    world.config.identity.session.lifetime = longest;
    world.config.identity.session.longest = longest;
    let short = world.another().await;
    let begun = Instant::now();
    let mut client = log_in_at(&world, short, "rita").await;
    let mut feed = listen(&client).await;
    loop {
        let answer = client.get("/session").await;
        if answer.status == 401 {
            break;
        }
        answer.yes();
        client = by_cookie(&client, &answer);
        assert!(begun.elapsed() < longest + SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > longest / 2);
    while feed.line().await.is_some() {}
    assert!(begun.elapsed() < longest + SOON);
    let refused = client.get("/@notes/a").await;
    refused.no(401, "unauthorized");
    assert_eq!(refused.json()["reason"], "The session has ended.");
    // A new login is a new session.
    let again = log_in_at(&world, short, "rita").await;
    assert_eq!(again.get("/@notes/a").await.status, 200);
}

/// This CouchDB keeps it from us.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_logout_holds_where_it_was_sent_to() {
    let fake = Fake::start(|_| plain(200, r#"{"_id":"a","_rev":"1-a"}"#)).await;
    let rules = RULES.replace("@notes", "notes");
    let world = World::before(&fake, &rules, "").await;
    let other = world.another().await;
    let (ended, stays) = (log_in(&world, "rita").await, log_in(&world, "rita").await);
    let renewed = renewed(&ended).await;
    ended.delete("/_session").await.yes();
    for client in [&ended, &renewed] {
        client.get("/notes/a").await.no(401, "unauthorized");
    }
    for client in [stays.clone(), at(&stays, other), at(&renewed, other)] {
        assert_eq!(client.get("/notes/a").await.status, 200);
    }
    let said = check(&world);
    assert!(said.contains("the database `couchwarden`"), "{said}");
    assert!(said.contains("CouchDB answered 403"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_whether_ends_can_be_kept() {
    let world = World::start(RULES).await;
    while world.backend().get(OURS).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(check(&world), "");
    let nobody = World::before(&Fake::absent().await, RULES, "").await;
    let said = check(&nobody);
    assert!(
        said.contains("holds on the couchwarden that it was sent to"),
        "{said}"
    );
}

/// What `couchwarden check` says where it finds no mistake.
fn check(world: &World) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_couchwarden"))
        .arg("check")
        .current_dir(world.directory.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Every endpoint of a database, with the database of couchwarden in its place, spelt in some ways.
fn closed() -> Vec<(&'static str, String)> {
    let of_databases = endpoints().into_iter();
    let of_databases = of_databases.filter(|(_, path)| path.contains("{db}"));
    let mut asked: Vec<(&str, String)> = of_databases
        .map(|(method, path)| {
            let path = path.replace("{db}", "couchwarden");
            let path = path.replace("{docid}", "000000000001:session:x");
            (method, path.replace(['{', '}'], ""))
        })
        .collect();
    for path in ["/%63ouchwarden", "/couchwarden/"] {
        asked.push(("GET", path.to_owned()));
    }
    // CouchDB's list of all databases, where it is one itself, in each member of a cluster and as a whole.
    for entry in ["/_node/_local/_dbs", "/_dbs"] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            asked.push((method, format!("{entry}/couchwarden")));
            asked.push((method, format!("{entry}/%63ouchwarden")));
        }
    }
    asked.push(("GET", "/_dbs/couchwarden/file".to_owned()));
    asked.push(("COPY", "/_dbs/couchwarden".to_owned()));
    let of_databases = endpoints().into_iter();
    let of_databases = of_databases.filter(|(_, path)| path.contains("{db}"));
    asked.extend(of_databases.map(|(method, path)| {
        let path = path.replace("{db}", "_dbs").replace("{docid}", "x");
        (method, path.replace(['{', '}'], ""))
    }));
    asked.push(("POST", "/_warden/voicemail/couchwarden".to_owned()));
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_the_database_of_couchwarden() {
    let world = World::start(OPEN).await;
    world.database("notes", json!([{ "_id": "a" }])).await;
    while world.backend().get(OURS).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let callers = [world.anonymous(), world.as_("rita"), world.as_("ops")];
    for (n, caller) in callers.iter().enumerate() {
        let status = if n == 0 { 401 } else { 404 };
        for (method, path) in closed() {
            let headers = [("destination", "x"), ("content-type", "application/json")];
            let answer = caller.ask(method, &path, &headers, "{}").await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        }
        if n == 0 {
            continue;
        }
        let names = caller.get("/_all_dbs").await.yes();
        assert!(
            names
                .as_array()
                .unwrap()
                .contains(&json!(world.db("notes")))
        );
        let infos = caller
            .get("/_dbs_info?startkey=%22couch%22&endkey=%22couchx%22")
            .await;
        for answer in [names, infos.yes()] {
            assert!(!answer.to_string().contains("\"couchwarden\""), "{answer}");
        }
        let keys = json!({ "keys": ["couchwarden", world.db("notes")] });
        let infos = caller.post("/_dbs_info", keys).await.yes();
        assert_eq!(
            infos[0],
            json!({ "key": "couchwarden", "error": "not_found" })
        );
        assert_eq!(infos[1]["info"]["db_name"], world.db("notes"));
    }
    let there = world.backend().get(OURS).await.yes();
    assert_eq!(there["db_name"], "couchwarden");
}

/// Ways to name the database of couchwarden in a replication.
fn ends(url: &str) -> [Value; 7] {
    [
        json!("couchwarden"),
        json!(format!("{url}/couchwarden")),
        json!(format!("{url}/couchwarden/")),
        json!(format!("{url}//couchwarden#x")),
        json!(format!("{url}/%63ouchwarden?x=y")),
        json!(format!(
            "{url}/shards%2F00000000-7fffffff%2Fcouchwarden.1790000000"
        )),
        json!({ "url": format!("{url}/couchwarden") }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_replication_names_the_database_of_couchwarden() {
    let world = World::start(OPEN).await;
    let (ops, url) = (world.as_("ops"), "http://127.0.0.1:1");
    for end in ends(url) {
        for (source, target) in [(&end, &json!("x")), (&json!("x"), &end)] {
            let body = json!({ "source": source, "target": target, "create_target": true });
            ops.post("/_replicate", body).await.no(403, "forbidden");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_document_of_a_replication_names_the_database_of_couchwarden() {
    let world = World::start(OPEN).await;
    world.database("notes", json!([])).await;
    let ops = world.as_("ops");
    for db in ["/_replicator", "/x%2F_replicator"] {
        let path = format!("{db}/r");
        for end in ends("http://127.0.0.1:1") {
            for (source, target) in [(&end, &json!("x")), (&json!("x"), &end)] {
                let named = json!({ "source": source, "target": target });
                ops.put(&path, named.clone()).await.no(403, "forbidden");
                ops.post(db, named.clone()).await.no(403, "forbidden");
                for new_edits in [true, false] {
                    let docs = json!([{ "_id": "_design/x" }, &named]);
                    let batch = json!({ "docs": docs, "new_edits": new_edits });
                    let told = ops.post(&format!("{db}/_bulk_docs"), batch).await;
                    told.no(403, "forbidden");
                }
            }
        }
        // What could be read in two ways, and what is not JSON.
        let twice = r#"{"source":"x","source":"couchwarden","target":"y"}"#;
        for (method, kind, sent, status) in [
            ("PUT", "application/json", twice, 400),
            ("PUT", "multipart/related; boundary=x", "--x--", 415),
            ("PUT", "Multipart/Related;boundary=x", "--x--", 415),
            ("POST", "multipart/form-data; boundary=x", "--x--", 415),
        ] {
            let page = format!("https://localhost:{}/", ops.address.port());
            let headers = [("content-type", kind), ("referer", page.as_str())];
            let told = ops.ask(method, &path, &headers, sent).await;
            assert_eq!(told.status, status, "{method} {kind}: {told:?}");
        }
    }
    // Elsewhere it is a document like others.
    let other = json!({ "source": "couchwarden", "target": "x" });
    ops.put("/@notes/r", other).await.yes();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shard_of_the_database_of_couchwarden_is_split() {
    let world = World::start(OPEN).await;
    let ops = world.as_("ops");
    for job in [
        json!({ "type": "split", "db": "couchwarden" }),
        json!({ "type": "split", "db": "couchwarden", "node": "n", "range": "00000000-7fffffff" }),
        json!({ "type": "split", "shard": "shards/00000000-7fffffff/couchwarden.1790000000" }),
    ] {
        ops.post("/_reshard/jobs", job).await.no(403, "forbidden");
    }
}

/// Taken out without a trace, whatever their number: a tombstone for each logout would stay for ever.
#[tokio::test(flavor = "multi_thread")]
async fn ends_that_nobody_asks_for_any_more_leave_no_tombstones() {
    if !backend().is_couchdb() {
        return; // The embedded server purges nothing.
    }
    let world = filled("").await;
    let couchdb = world.backend();
    let hex = format!(
        "{:0>32}",
        unique()
            .bytes()
            .map(|b| format!("{b:x}"))
            .collect::<String>()
    );
    let hex = &hex[hex.len() - 32..];
    let old: Vec<String> = (0..250)
        .map(|n| match n % 2 {
            0 => format!("{:012}:session:{hex}", 1000 + n),
            _ => format!("{:012}:user:{hex}:{n}", 1000 + n),
        })
        .collect();
    let foreign = format!("{:012}:note:{hex}", 1000);
    let documents = old.iter().chain([&foreign]).map(|id| json!({ "_id": id }));
    let batch = json!({ "docs": documents.collect::<Vec<_>>() });
    couchdb
        .post(&format!("{OURS}/_bulk_docs"), batch)
        .await
        .yes();
    let here = log_in(&world, "rita").await;
    here.delete("/_session").await.yes();
    // Whoever starts sweeps.
    world.another().await;
    let ids: Vec<&String> = old.iter().chain([&foreign]).collect();
    let changed = async || {
        let asked = json!({ "doc_ids": ids });
        let path = format!("{OURS}/_changes?filter=_doc_ids");
        couchdb.post(&path, asked).await.ids()
    };
    let begun = Instant::now();
    while changed().await != foreign && begun.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(changed().await, foreign);
    // What is remembered still holds.
    here.get("/@notes/a").await.no(401, "unauthorized");
    let rev = couchdb.get(&format!("{OURS}/{foreign}")).await.yes();
    let rev = rev["_rev"].as_str().unwrap();
    couchdb
        .delete(&format!("{OURS}/{foreign}?rev={rev}"))
        .await
        .yes();
}
