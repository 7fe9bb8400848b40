//! Feeds that are open obey: what changes about the caller or the rules reaches them within `limits.feed_lease`, and
//! they end so that the client comes back and is judged anew.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Answer, Client, Feed, World};

const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes"]
documents = { kind = "open" }

[[rule]]
name      = "insiders"
databases = ["@notes"]
callers   = { roles = ["insider"] }
permit    = ["read", "changes"]
documents = { kind = "shut" }
"#;

/// Nobody reads any more, administrators neither.
const CLOSED: &str = r#"
[[rule]]
name      = "closed"
databases = ["@notes"]
callers   = { everyone = true }
forbid    = ["changes"]
administrators = true
"#;

const LEASE: &str = "[limits]\nfeed_lease = \"2s\"\n";
const BOUND: Duration = Duration::from_secs(2);

/// What a busy machine may add to it. The bound itself is held to the moment in `src/exchange/reauthorize/tests.rs`.
const SLACK: Duration = Duration::from_secs(4);

/// The feeds that wait.
const WAITING: [&str; 3] = ["longpoll", "continuous", "eventsource"];

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_role_ends_an_open_feed() {
    let world = filled().await;
    let rosa = world.user("rosa", &["reader"]);
    let (rita, mut feeds) = (world.as_("rita"), Vec::new());
    for feed in WAITING {
        feeds.push((feed, open(&rosa, feed).await));
    }
    let mut other = open(&rita, "continuous").await;
    let begun = Instant::now();
    world.roles(&rosa, &[]);
    for (feed, open) in &mut feeds {
        let rest = open.rest().await;
        assert!(
            begun.elapsed() < BOUND + SLACK,
            "{feed}: {:?}",
            begun.elapsed()
        );
        let lines = ["", "{\"results\":[", "],", "event: heartbeat", "data: "];
        let end = rest.lines().filter(|line| !lines.contains(line));
        let end: Vec<&str> = end.collect();
        match *feed {
            "longpoll" => assert!(
                end.len() == 1 && end[0].starts_with(r#""last_seq":""#),
                "{rest}"
            ),
            "continuous" => assert!(
                end.len() == 1 && end[0].starts_with(r#"{"last_seq":""#),
                "{rest}"
            ),
            _ => assert!(end.is_empty(), "{rest}"),
        }
        rosa.get(&path(feed)).await.no(404, "not_found");
    }
    // Who has lost nothing goes on where he was.
    world
        .fill("notes", json!([{ "_id": "later", "kind": "open" }]))
        .await;
    assert_eq!(other.row().await["id"], "later");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gained_a_role_comes_back_and_gets_what_he_may_see_now() {
    let world = filled().await;
    let rosa = world.user("rosa", &["reader"]);
    let since = last(&rosa.get("/@notes/_changes").await);
    let path = format!("/@notes/_changes?feed=longpoll&heartbeat=100&since={since}");
    let mut feed = rosa.feed(&path).await;
    feed.line().await.unwrap();
    world.roles(&rosa, &["reader", "insider"]);
    let rest = format!("{{\"results\":[{}", feed.rest().await);
    let ended: Value = serde_json::from_str(&rest).unwrap_or_else(|_| panic!("{rest}"));
    assert_eq!(ended["results"], json!([]));
    let since = ended["last_seq"].as_str().unwrap();
    let again = rosa.get(&format!("/@notes/_changes?since={since}")).await;
    assert_eq!(again.ids(), "a b c d e");
    // And from there he goes on.
    let since = last(&again);
    let again = rosa.get(&format!("/@notes/_changes?since={since}")).await;
    assert_eq!(again.ids(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_changes_nothing_he_sees_costs_nothing() {
    let world = filled().await;
    let rosa = world.user("rosa", &["reader"]);
    let since = last(&rosa.get("/@notes/_changes").await);
    world.roles(&rosa, &["reader", "unheard-of"]);
    // Roles are followed, but not at once: ask until they are known.
    while !rosa.get("/_session").await.text().contains("unheard-of") {}
    let again = rosa.get(&format!("/@notes/_changes?since={since}")).await;
    assert_eq!(again.ids(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_the_policies_reaches_open_feeds() {
    let world = filled().await;
    let (rita, ops) = (world.as_("rita"), world.as_("ops"));
    let mut feed = open(&rita, "continuous").await;
    let mut unlensed = open(&ops, "continuous").await;
    // The same rules under another name: nothing ends.
    world.reload(&RULES.replace("\"readers\"", "\"still readers\""));
    world
        .fill("notes", json!([{ "_id": "f", "kind": "open" }]))
        .await;
    assert_eq!(feed.row().await["id"], "f");
    let begun = Instant::now();
    world.reload(CLOSED);
    let rest = feed.rest().await;
    assert!(begun.elapsed() < BOUND + SLACK, "{:?}", begun.elapsed());
    assert!(rest.trim().starts_with(r#"{"last_seq":""#), "{rest}");
    rita.get("/@notes/_changes").await.no(404, "not_found");
    // What streams untouched is cut.
    while unlensed.line().await.is_some() {}
    assert!(begun.elapsed() < BOUND + SLACK, "{:?}", begun.elapsed());
    ops.get("/@notes/_changes").await.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_attribute_reaches_open_feeds() {
    let rules = r#"
[[rule]]
name      = "own"
databases = ["@notes"]
callers   = { everyone = true }
permit    = ["read", "changes"]
documents = { kind = "{node:sees}" }
"#;
    let nodes = "[nodes]\ndatabase = \"@catconf\"\nattributes = [\"sees\"]\n";
    let world = World::with(rules, &format!("{nodes}{LEASE}")).await;
    let hashed = bcrypt::hash("secret word", 4).unwrap();
    let metadata =
        |id: &str, parents: Value| json!({ "nodeId": id, "parents": parents, "nodeAdmins": [] });
    let mut phone = json!({ "_id": "phone", "metadata": metadata("phone", json!(["room"])) });
    phone["metadata"]["authorization"] = json!({ "type": "bcrypt", "crypted": hashed });
    let room = json!({ "_id": "room", "sees": ["open"], "metadata": metadata("room", json!([])) });
    world.database("catconf", json!([phone, room])).await;
    fill(&world).await;
    let phone = world.anonymous().with_login("phone", "secret word");
    let since = last(&phone.get("/@notes/_changes").await);
    let mut feed = open(&phone, "continuous").await;
    let begun = Instant::now();
    // Of an ancestor, so that nothing tells couchwarden that it is about this caller.
    let mut room = world.backend().get("/@catconf/room").await.yes();
    room["sees"] = json!(["open", "shut"]);
    world.fill("catconf", json!([room])).await;
    let rest = feed.rest().await;
    assert!(begun.elapsed() < BOUND + SLACK, "{:?}", begun.elapsed());
    assert!(rest.trim().starts_with(r#"{"last_seq":""#), "{rest}");
    let again = phone.get(&format!("/@notes/_changes?since={since}")).await;
    assert_eq!(again.ids(), "a b c d e");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_and_a_removed_user_end_open_feeds() {
    let world = filled().await;
    for remove in [false, true] {
        let rosa = world.user("rosa", &["reader"]);
        let cookie = log_in(&world, &rosa).await;
        let mut feeds = [
            open(&rosa, "continuous").await,
            open(&cookie, "continuous").await,
        ];
        let begun = Instant::now();
        if remove {
            world.remove(&rosa);
        } else {
            world.password(&rosa, "another one");
        }
        for feed in &mut feeds {
            feed.rest().await;
            assert!(begun.elapsed() < BOUND + SLACK, "{:?}", begun.elapsed());
        }
        for client in [&rosa, &cookie] {
            client.get("/@notes/_changes").await.no(401, "unauthorized");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_feeds_of_its_session_and_no_other() {
    let world = filled().await;
    for name in ["rita", "ops"] {
        let somebody = world.as_(name);
        let (here, there) = (
            log_in(&world, &somebody).await,
            log_in(&world, &somebody).await,
        );
        let mut feed = open(&here, "continuous").await;
        let mut others = [
            open(&there, "continuous").await,
            open(&somebody, "continuous").await,
        ];
        let begun = Instant::now();
        here.delete("/_session").await.yes();
        while feed.line().await.is_some() {}
        assert!(begun.elapsed() < BOUND + SLACK, "{:?}", begun.elapsed());
        here.get("/@notes/_changes").await.no(401, "unauthorized");
        world
            .fill(
                "notes",
                json!([{ "_id": format!("after {name}"), "kind": "open" }]),
            )
            .await;
        for feed in &mut others {
            assert_eq!(feed.row().await["id"], format!("after {name}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catch_up_that_is_under_way_ends_behind_what_was_sent() {
    let world = World::with(RULES, LEASE).await;
    let documents: Vec<Value> = (0..3000)
        .map(|n| json!({ "_id": format!("d{n:04}"), "kind": "open", "text": "x".repeat(2000) }))
        .collect();
    world.database("notes", documents.into()).await;
    let rosa = world.user("rosa", &["reader"]);
    let mut feed = rosa.feed("/@notes/_changes?include_docs=true").await;
    let mut text = String::new();
    for _ in 0..20 {
        text.push_str(&feed.line().await.unwrap());
    }
    world.roles(&rosa, &["reader", "insider"]);
    // The client is slow: more is under way than any buffer holds.
    tokio::time::sleep(BOUND).await;
    text.push_str(&feed.rest().await);
    let ended: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let rows = ended["results"].as_array().unwrap().len();
    assert!((1..3000).contains(&rows), "{rows}");
    // With the old rights again, he goes on exactly there.
    world.roles(&rosa, &["reader"]);
    while rosa.get("/_session").await.text().contains("insider") {}
    let since = ended["last_seq"].as_str().unwrap();
    let rest = rosa.get(&format!("/@notes/_changes?since={since}")).await;
    assert_eq!(rest.column("id").len(), 3000 - rows);
}

fn path(feed: &str) -> String {
    format!("/@notes/_changes?feed={feed}&heartbeat=100&since=now")
}

/// A feed that listens: its heart has beaten.
async fn open(client: &Client, feed: &str) -> Feed {
    let mut open = client.feed(&path(feed)).await;
    assert_eq!(open.status, 200);
    open.line().await.unwrap();
    open
}

fn last(answer: &Answer) -> String {
    answer.yes()["last_seq"].as_str().unwrap().to_owned()
}

/// The same user by the cookie of a session of his own.
async fn log_in(world: &World, user: &Client) -> Client {
    let (name, password) = user.login.clone().unwrap();
    let opened = world
        .anonymous()
        .post("/_session", json!({ "name": name, "password": password }))
        .await;
    opened.yes();
    let cookie = opened.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    world.anonymous().with_header("cookie", &cookie)
}

async fn filled() -> World {
    let world = World::with(RULES, LEASE).await;
    fill(&world).await;
    world
}

/// Documents of which every second is open, one by one, so that the order of changes is theirs.
async fn fill(world: &World) {
    world.database("notes", json!([])).await;
    for (n, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let kind = if n % 2 == 0 { "open" } else { "shut" };
        world
            .fill("notes", json!([{ "_id": id, "kind": kind }]))
            .await;
    }
}
