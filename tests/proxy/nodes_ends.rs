//! What a password has opened ends with it: sessions, logins, and feeds that are open.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Feed, World};

const NODES: &str = "[nodes]\ndatabase = \"@catconf\"\nself_service = true\n";

/// A feed that nobody tells of a change looks by itself after a quarter of this, so an end before that was told.
const LEASE: &str = "[limits]\nfeed_lease = \"60s\"\n";
const UNTOLD: Duration = Duration::from_secs(15);

const RULES: &str = r#"
[[rule]]
name      = "notes"
databases = ["@notes"]
callers   = { names = ["*"] }
permit    = ["read", "changes"]
"#;

async fn world() -> World {
    let world = World::with(RULES, &format!("{NODES}{LEASE}")).await;
    world.database("catconf", json!([])).await;
    world.database("notes", json!([{ "_id": "a" }])).await;
    world
}

fn user(id: &str, password: &str) -> Value {
    let authorization = json!({ "type": "password", "password": password });
    json!({ "metadata": { "nodeId": id, "authorization": authorization } })
}

async fn put(client: &Client, node: &Value) {
    let id = node["metadata"]["nodeId"].as_str().unwrap();
    let answer = client.put(&format!("/node/{id}"), node.clone()).await;
    assert!(answer.status < 300, "{:?}", answer.body);
}

/// The same user by the cookie of a session.
async fn by_cookie(world: &World, login: &Client) -> Client {
    let opened = login.ask("POST", "/session", &[], "").await;
    assert_eq!(opened.status, 200, "{:?}", opened.body);
    let cookie = opened.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    world.anonymous().with_header("cookie", cookie)
}

/// Every feed that waits, opened by login and by cookie.
async fn feeds(clients: &[&Client]) -> Vec<Feed> {
    let mut feeds = Vec::new();
    for client in clients {
        for feed in ["longpoll", "continuous", "eventsource"] {
            let path = format!("/@notes/_changes?feed={feed}&since=now&heartbeat=200");
            let mut open = client.feed(&path).await;
            assert_eq!(open.status, 200, "{feed}");
            open.line().await.unwrap();
            feeds.push(open);
        }
    }
    feeds
}

/// By the command line of another process.
fn run(world: &World, arguments: &[&str], password: &str) {
    std::fs::write(world.directory.path().join("password"), password).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_couchwarden"))
        .args(arguments)
        .current_dir(world.directory.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_feeds_end_with_the_password_however_it_is_changed() {
    let world = world().await;
    let ops = world.as_("ops");
    put(&ops, &user("other", "secret word")).await;
    let other = world.anonymous().with_login("other", "secret word");
    let mut others = feeds(&[&other]).await;
    for way in ["node", "own", "couchdb", "bulk", "delete", "command"] {
        put(&ops, &user(way, "secret word")).await;
        let login = world.anonymous().with_login(way, "secret word");
        let cookie = by_cookie(&world, &login).await;
        let mut open = feeds(&[&login, &cookie]).await;
        let path = format!("/@catconf/{way}");
        let mut document = ops.get(&path).await.yes();
        document["metadata"]["authorization"] =
            json!({ "type": "password", "password": "another word" });
        let begun = Instant::now();
        match way {
            "node" => put(&ops, &user(way, "another word")).await,
            "own" => put(&login, &user(way, "another word")).await,
            "couchdb" => assert_eq!(ops.put(&path, document).await.status, 201),
            "bulk" => {
                let docs = json!({ "docs": [document] });
                let rows = ops.post("/@catconf/_bulk_docs", docs).await.yes();
                assert_eq!(rows[0]["ok"], true, "{rows}");
            }
            "delete" => assert_eq!(ops.delete("/node/delete").await.status, 200),
            _ => run(
                &world,
                &["user", "password", way, "--password-file", "password"],
                "another word",
            ),
        }
        for feed in &mut open {
            while feed.line().await.is_some() {}
        }
        assert!(begun.elapsed() < UNTOLD, "{way}: {:?}", begun.elapsed());
        for client in [&login, &cookie] {
            client.get("/@notes/a").await.no(401, "unauthorized");
        }
    }
    // Who has nothing to do with it goes on.
    world.fill("notes", json!([{ "_id": "b" }])).await;
    for feed in &mut others {
        while !feed.line().await.unwrap().contains(r#""id":"b""#) {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_new_password_ends_nothing() {
    let world = world().await;
    let ops = world.as_("ops");
    put(&ops, &user("phone", "secret word")).await;
    let login = world.anonymous().with_login("phone", "secret word");
    let cookie = by_cookie(&world, &login).await;
    let mut open = feeds(&[&login, &cookie]).await;
    let mut own = cookie.get("/node/phone").await.yes();
    own["screen"] = json!("dark");
    put(&cookie, &own).await;
    world.fill("notes", json!([{ "_id": "b" }])).await;
    for feed in &mut open {
        while !feed.line().await.unwrap().contains(r#""id":"b""#) {}
    }
    assert_eq!(cookie.get("/node/phone").await.yes()["screen"], "dark");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_put_back_opens_no_old_session() {
    let world = world().await;
    let ops = world.as_("ops");
    put(&ops, &user("phone", "secret word")).await;
    let login = world.anonymous().with_login("phone", "secret word");
    let cookie = by_cookie(&world, &login).await;
    let before = ops.get("/node/phone").await.yes();
    put(&ops, &user("phone", "another word")).await;
    put(&ops, &before).await;
    assert_eq!(login.get("/node/phone").await.status, 200);
    cookie.get("/node/phone").await.no(401, "unauthorized");
    let cookie = by_cookie(&world, &login).await;
    assert_eq!(ops.delete("/node/phone").await.status, 200);
    put(&ops, &before).await;
    assert_eq!(login.get("/node/phone").await.status, 200);
    cookie.get("/node/phone").await.no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_closed_is_over() {
    let world = world().await;
    put(&world.as_("ops"), &user("phone", "secret word")).await;
    let login = world.anonymous().with_login("phone", "secret word");
    let (closed, open) = (
        by_cookie(&world, &login).await,
        by_cookie(&world, &login).await,
    );
    assert_eq!(closed.delete("/session").await.status, 200);
    closed.get("/session").await.no(401, "unauthorized");
    closed.get("/node/phone").await.no(401, "unauthorized");
    assert_eq!(open.get("/session").await.yes()["user"], "phone");
}
