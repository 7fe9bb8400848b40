//! The four feeds: each change judged, nothing told about the others.

use serde_json::{Value, json};

use crate::fields::notes;
use crate::support::{Client, Feed, World};

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes"]
hide = ["secret"]
documents = { team = "red" }

[[rule]]
name = "red-writers"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
documents = { team = "red" }

[[rule]]
name = "blue-team"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["read", "changes"]
documents = { team = "blue" }
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    world.database("notes", notes()).await;
    world
}

fn sorted(ids: &str) -> String {
    let mut ids: Vec<&str> = ids.split(' ').collect();
    ids.sort_unstable();
    ids.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_holds_visible_changes_only() {
    let world = filled().await;
    let (rita, tom) = (world.as_("rita"), world.as_("tom"));
    let all = rita.get("/@notes/_changes").await;
    assert_eq!(sorted(&all.ids()), "a c e");
    assert!(all.json()["pending"].is_null(), "{}", all.text());
    assert_eq!(sorted(&tom.get("/@notes/_changes?style=all_docs").await.ids()), "b f");
    let with = rita.get("/@notes/_changes?include_docs=true").await;
    assert!(with.column("doc").iter().all(|doc| doc["team"] == "red" && doc["secret"].is_null()), "{}", with.text());
    for query in ["", "?feed=normal", "?include_docs=true"] {
        let posted = rita.post(&format!("/@notes/_changes{query}"), json!({})).await;
        assert_eq!(sorted(&posted.ids()), "a c e", "{query}");
    }
    assert_eq!(rita.get("/@notes/_changes?limit=2").await.ids().split(' ').count(), 2);
    let backwards = rita.get("/@notes/_changes?descending=true").await;
    assert_eq!(sorted(&backwards.ids()), "a c e");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_goes_on_where_it_ended() {
    let world = filled().await;
    let rita = world.as_("rita");
    let mut since = Value::from("0");
    let mut seen = Vec::new();
    loop {
        let page = rita.get(&format!("/@notes/_changes?limit=1&since={}", since.as_str().unwrap())).await.yes();
        let Some(row) = page["results"].get(0) else { break };
        assert_eq!(row["seq"].as_str().is_some(), true, "{page}");
        seen.push(row["id"].as_str().unwrap().to_owned());
        since = page["last_seq"].clone();
        assert!(seen.len() < 10, "the feed does not end");
    }
    assert_eq!(sorted(&seen.join(" ")), "a c e");
    let last = since.as_str().unwrap().to_owned();
    world.fill("notes", json!([{ "_id": "g", "team": "blue" }, { "_id": "h", "team": "red" }])).await;
    assert_eq!(rita.get(&format!("/@notes/_changes?since={last}")).await.ids(), "h");
    assert_eq!(rita.get("/@notes/_changes?since=now").await.ids(), "");
    // CouchDB's own sequences, and those of somebody with other rights, begin again.
    let own = world.backend().get("/@notes/_changes").await.yes()["last_seq"].clone();
    let own = own.as_str().map_or_else(|| own.to_string(), str::to_owned);
    assert_eq!(sorted(&rita.get(&format!("/@notes/_changes?since={own}")).await.ids()), "a c e h");
    assert_eq!(sorted(&world.as_("tom").get(&format!("/@notes/_changes?since={last}")).await.ids()), "b f g");
    assert_eq!(rita.get("/@notes/_changes?since=nonsense").await.status / 100 * 100, 200.min(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_among_the_visible() {
    let world = filled().await;
    let rita = world.as_("rita");
    let ids = rita.post("/@notes/_changes?filter=_doc_ids", json!({ "doc_ids": ["a", "b", "none"] })).await;
    assert_eq!(ids.ids(), "a");
    let selected = rita.post("/@notes/_changes?filter=_selector", json!({ "selector": { "n": { "$gt": 1 } } })).await;
    assert_eq!(sorted(&selected.ids()), "c e");
    rita.post("/@notes/_changes?filter=_selector", json!({ "selector": { "secret": "s-1" } })).await.no(403, "forbidden");
    for query in ["filter=app/any", "FILTER=_doc_ids", "Include_Docs=true", "filter=_view&view=app/x"] {
        let answer = rita.get(&format!("/@notes/_changes?{query}")).await;
        let closed = [400, 403, 404].contains(&answer.status);
        assert!(closed || sorted(&answer.ids()) == "a c e", "{query}: {:?}", answer.body);
    }
}

async fn put(world: &World, id: &str, team: &str) {
    world.fill("notes", json!([{ "_id": id, "team": team, "secret": "s-9" }])).await;
}

async fn last(client: &Client) -> String {
    client.get("/@notes/_changes").await.yes()["last_seq"].as_str().unwrap().to_owned()
}

/// Waits for an empty line: the feed is open, and alive.
async fn beat(feed: &mut Feed) {
    while !feed.line().await.expect("the feed has ended").is_empty() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuous_feed_is_silent_about_hidden_changes() {
    let world = filled().await;
    let rita = world.as_("rita");
    let path = format!("/@notes/_changes?feed=continuous&heartbeat=50&include_docs=true&since={}", last(&rita).await);
    for posted in [false, true] {
        let mut feed = if posted { rita.post_feed(&path, json!({})).await } else { rita.feed(&path).await };
        assert_eq!(feed.status, 200);
        beat(&mut feed).await;
        put(&world, &format!("hidden{posted}"), "blue").await;
        beat(&mut feed).await;
        put(&world, &format!("shown{posted}"), "red").await;
        let mut row = feed.row().await;
        while row["id"] != format!("shown{posted}") {
            // The second time, the first one's document is new as well.
            assert_eq!(row["id"], "shownfalse", "{row}");
            row = feed.row().await;
        }
        assert!(row["doc"]["secret"].is_null() && row["doc"]["team"] == "red", "{row}");
        assert!(row["seq"].is_string(), "{row}");
    }
    // With a timeout and no heartbeat it ends by itself, and says where.
    let mut ended = rita.feed("/@notes/_changes?feed=continuous&timeout=50").await;
    let rest = ended.rest().await;
    let lines: Vec<&str> = rest.lines().filter(|line| !line.is_empty()).collect();
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert!(last["last_seq"].is_string() && last["pending"].is_null(), "{rest}");
    assert_eq!(lines.len(), 6, "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_does_not_wake_for_hidden_changes() {
    let world = filled().await;
    let rita = world.as_("rita");
    for method in ["GET", "POST"] {
        let path = format!("/@notes/_changes?feed=longpoll&heartbeat=50&since={}", last(&rita).await);
        let mut feed = if method == "GET" { rita.feed(&path).await } else { rita.post_feed(&path, json!({})).await };
        beat(&mut feed).await;
        put(&world, &format!("hidden{method}"), "blue").await;
        beat(&mut feed).await;
        beat(&mut feed).await;
        let shown = format!("shown{method}");
        put(&world, &shown, "red").await;
        let text = format!("{{\"results\":[{}", feed.rest().await.trim().trim_start_matches("{\"results\":["));
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let ids: Vec<&str> = body["results"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [shown], "{text}");
        assert!(body["pending"].is_null() && body["last_seq"].is_string(), "{text}");
    }
    // Nothing at all within the timeout: an empty answer.
    let empty = rita.get(&format!("/@notes/_changes?feed=longpoll&timeout=50&since={}", last(&rita).await)).await;
    assert_eq!(empty.ids(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_carries_our_sequences() {
    let world = filled().await;
    let rita = world.as_("rita");
    for posted in [false, true] {
        let path = format!("/@notes/_changes?feed=eventsource&heartbeat=50&since={}", last(&rita).await);
        let mut feed = if posted { rita.post_feed(&path, json!({})).await } else { rita.feed(&path).await };
        assert_eq!(feed.headers["content-type"], "text/event-stream");
        while feed.line().await.unwrap() != "event: heartbeat" {}
        put(&world, &format!("hidden{posted}"), "blue").await;
        while feed.line().await.unwrap() != "event: heartbeat" {}
        put(&world, &format!("shown{posted}"), "red").await;
        let mut row = Value::Null;
        let id = loop {
            let line = feed.line().await.unwrap();
            assert!(!line.contains("hidden") && !line.contains("s-9"), "{line}");
            if let Some(data) = line.strip_prefix("data:").map(str::trim).filter(|data| !data.is_empty()) {
                row = serde_json::from_str(data).unwrap();
            } else if let Some(id) = line.strip_prefix("id:") {
                break id.trim().to_owned();
            }
        };
        assert_eq!(row["id"], format!("shown{posted}"));
        assert_eq!(row["seq"].as_str().map(str::to_owned), Some(id.trim_matches('"').to_owned()), "{row}");
        let again = rita.clone().with_header("last-event-id", &id);
        drop(feed);
        let mut feed = again.feed("/@notes/_changes?feed=eventsource&heartbeat=50").await;
        put(&world, &format!("later{posted}"), "red").await;
        let row = loop {
            let line = feed.line().await.unwrap();
            if let Some(data) = line.strip_prefix("data:").map(str::trim).filter(|data| !data.is_empty()) {
                break serde_json::from_str::<Value>(data).unwrap();
            }
        };
        assert_eq!(row["id"], format!("later{posted}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_saw_a_document_learn_of_its_end() {
    let world = filled().await;
    let (rita, walt, tom) = (world.as_("rita"), world.as_("walt"), world.as_("tom"));
    let (mine, others) = (last(&rita).await, last(&tom).await);
    let rev = walt.get("/@notes/a").await.yes()["_rev"].as_str().unwrap().to_owned();
    walt.delete(&format!("/@notes/a?rev={rev}")).await.yes();
    let rev = walt.get("/@notes/c").await.yes()["_rev"].as_str().unwrap().to_owned();
    let deleted = walt.post("/@notes/_bulk_docs", json!({ "docs": [{ "_id": "c", "_rev": rev, "_deleted": true }] })).await.yes();
    assert_eq!(deleted[0]["ok"], true, "{deleted}");
    let rev = world.backend().get("/@notes/b").await.yes()["_rev"].as_str().unwrap().to_owned();
    world.as_("ops").delete(&format!("/@notes/b?rev={rev}")).await.yes();
    let changes = rita.get(&format!("/@notes/_changes?since={mine}&include_docs=true")).await;
    assert_eq!(sorted(&changes.ids()), "a c");
    assert_eq!(changes.column("deleted"), [true, true]);
    assert!(!changes.text().contains("s-1"), "{}", changes.text());
    assert_eq!(tom.get(&format!("/@notes/_changes?since={others}")).await.ids(), "b");
    // To read it, it is gone.
    assert_eq!(rita.get("/@notes/a").await.status, 404);
}
