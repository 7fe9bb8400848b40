//! `_changes` under a lens: in every feed a caller learns of what he sees, and of nothing else.

use serde_json::{Value, json};

use crate::support::{Client, Fake, Feed, Step, World, plain};

/// `reader`s see open documents without their salt, `writer`s all that has an owner.
const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes"]
hide      = ["salt"]
documents = { kind = "open" }

[[rule]]
name      = "writers"
databases = ["@notes"]
callers   = { roles = ["writer"] }
permit    = ["replicate"]
documents = { kind = { "$in" = ["open", "shut"] } }

[[rule]]
name      = "followers"
databases = ["@notes"]
callers   = { roles = ["number:+4930100"] }
permit    = ["changes"]
documents = { kind = "open" }
"#;

/// What ends a feed as soon as there is nothing more.
const ENDS: [&str; 4] = [
    "feed=normal",
    "feed=longpoll&timeout=1000",
    "feed=continuous&timeout=500",
    "feed=eventsource&timeout=500",
];

#[tokio::test(flavor = "multi_thread")]
async fn all_four_feeds_show_the_visible_changes_and_no_other() {
    let world = filled().await;
    let rita = world.as_("rita");
    for feed in ENDS {
        let path = format!("/@notes/_changes?{feed}");
        let got = rita.get(&path).await;
        let posted = rita.post(&path, json!({})).await;
        for answer in [got, posted] {
            assert_eq!(answer.status, 200, "{feed}: {:?}", answer.body);
            assert!(!answer.cut, "{feed}");
            let rows = rows_of(answer.text());
            assert_eq!(ids(&rows), "a c e", "{feed}: {}", answer.text());
            for secret in ["pending", "shut", "\"b\"", "\"d\"", "\"salt\""] {
                assert!(!answer.text().contains(secret), "{feed}: {}", answer.text());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_ids_or_a_selector_narrows_what_is_visible() {
    let world = filled().await;
    let rita = world.as_("rita");
    for feed in ENDS {
        let named = format!("/@notes/_changes?{feed}&filter=_doc_ids");
        let rows = rows_of(
            rita.post(&named, json!({ "doc_ids": ["a", "b", "none", "e"] }))
                .await
                .text(),
        );
        assert_eq!(ids(&rows), "a e", "{feed}");
        let rows = rows_of(
            rita.get(&format!("{named}&doc_ids=%5B%22a%22%2C%22b%22%5D"))
                .await
                .text(),
        );
        assert_eq!(ids(&rows), "a", "{feed}");
        let chosen = format!("/@notes/_changes?{feed}&filter=_selector");
        let rows = rows_of(
            rita.post(&chosen, json!({ "selector": { "n": { "$gt": 1 } } }))
                .await
                .text(),
        );
        assert_eq!(ids(&rows), "c e", "{feed}");
        let asked = rita
            .post(&chosen, json!({ "selector": { "salt": { "$gt": null } } }))
            .await;
        asked.no(403, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_leaf_is_not_listed() {
    let world = filled().await;
    let leaf = |rev: char, kind: &str| json!({ "_id": "torn", "_rev": format!("2-{rev}"), "_revisions": { "start": 2, "ids": [rev, '0'] }, "kind": kind });
    force(
        &world,
        json!([leaf('a', "open"), leaf('b', "shut"), leaf('c', "open")]),
    )
    .await;
    force(&world, json!([{ "_id": "lost", "_rev": "2-b", "kind": "shut" }, { "_id": "lost", "_rev": "2-a", "kind": "open" }])).await;
    let revs = |answer: &Value, id: &str| {
        let rows = answer["results"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == id);
        let changes = row
            .map(|row| row["changes"].as_array().unwrap().clone())
            .unwrap_or_default();
        changes
            .iter()
            .map(|change| change["rev"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let rita = world
        .as_("rita")
        .get("/@notes/_changes?style=all_docs")
        .await
        .yes();
    assert_eq!(
        (revs(&rita, "torn"), revs(&rita, "lost")),
        ("2-c 2-a".to_owned(), "2-a".to_owned())
    );
    let walt = world
        .as_("walt")
        .get("/@notes/_changes?style=all_docs")
        .await
        .yes();
    assert_eq!(
        (revs(&walt, "torn"), revs(&walt, "lost")),
        ("2-c 2-b 2-a".to_owned(), "2-b 2-a".to_owned())
    );
    let rita = world
        .as_("rita")
        .get("/@notes/_changes?include_docs=true&conflicts=true")
        .await;
    assert!(!rita.text().contains("2-b"), "{}", rita.text());
    // The winner of `lost` is hidden, so it has no row about its winner.
    let main = rita.yes();
    assert_eq!(
        (revs(&main, "torn"), revs(&main, "lost")),
        ("2-c".to_owned(), String::new())
    );
    let docs = world
        .as_("rita")
        .get("/@notes/_changes?include_docs=true&style=all_docs")
        .await
        .yes();
    let lost = docs["results"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == "lost")
        .unwrap();
    // Without the hidden leaf this one would be the winner.
    assert_eq!(lost["doc"]["_rev"], "2-a", "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_come_without_their_hidden_fields() {
    let world = filled().await;
    for feed in ENDS {
        let path = format!("/@notes/_changes?{feed}&include_docs=true");
        let answer = world.as_("rita").get(&path).await;
        let rows = rows_of(answer.text());
        assert_eq!(rows[0]["doc"]["text"], "für a", "{feed}");
        assert_eq!(rows[0]["doc"]["n"], 1, "{feed}");
        // As a member: a sealed sequence may hold any letters.
        assert!(
            !answer.text().contains("\"salt\""),
            "{feed}: {}",
            answer.text()
        );
        // Who may follow but not read is told that something has changed, and not what.
        let rows = rows_of(world.as_("sue").get(&path).await.text());
        assert_eq!(ids(&rows), "a c e", "{feed}");
        assert!(
            rows.iter().all(|row| row["doc"].is_null()),
            "{feed}: {rows:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_counts_what_is_shown_and_the_last_sequence_goes_on_exactly() {
    let world = World::start(RULES).await;
    let documents: Vec<Value> = (0..60).map(|n| json!({ "_id": format!("d{n:02}"), "kind": if n % 5 == 4 { "open" } else { "shut" } })).collect();
    world.database("notes", documents.into()).await;
    let rita = world.as_("rita");
    let whole = rita.get("/@notes/_changes").await.ids();
    assert_eq!(whole.split(' ').count(), 12);
    for feed in ["normal", "longpoll&timeout=500"] {
        for limit in [1, 5, 12, 13] {
            let mut since = "0".to_owned();
            let mut seen = Vec::new();
            loop {
                let path = format!("/@notes/_changes?feed={feed}&limit={limit}&since={since}");
                let page = rita.get(&path).await.yes();
                let rows = page["results"].as_array().unwrap();
                assert_eq!(rows.len(), limit.min(12 - seen.len()), "{path}");
                since = page["last_seq"].as_str().unwrap().to_owned();
                if rows.is_empty() {
                    break;
                }
                seen.extend(
                    rows.iter()
                        .map(|row| row["id"].as_str().unwrap().to_owned()),
                );
            }
            assert_eq!(seen.join(" "), whole, "limit={limit}");
        }
    }
    // Every row's own sequence goes on behind that row.
    let rows = rita.get("/@notes/_changes").await.column("seq");
    for (index, seq) in rows.iter().enumerate().step_by(4) {
        let rest = rita
            .get(&format!("/@notes/_changes?since={}", seq.as_str().unwrap()))
            .await
            .ids();
        assert_eq!(
            rest,
            whole
                .split(' ')
                .skip(index + 1)
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    let last = rita
        .get("/@notes/_changes?descending=true&limit=3")
        .await
        .ids();
    assert_eq!(
        last,
        whole.split(' ').rev().take(3).collect::<Vec<_>>().join(" ")
    );
    for feed in ["normal", "longpoll", "continuous"] {
        let none = rita
            .get(&format!("/@notes/_changes?limit=0&feed={feed}"))
            .await;
        let last = none.text().trim();
        let last = last.rsplit_once("\"last_seq\":\"").unwrap().1;
        let (after, _) = last.split_once('"').unwrap();
        assert!(!none.text().contains("\"id\""), "{feed}: {}", none.text());
        let from = format!("/@notes/_changes?limit=1&since={after}");
        let first = whole.split(' ').next().unwrap();
        assert_eq!(rita.get(&from).await.ids(), first, "{feed}");
    }
    let now = rita.get("/@notes/_changes?limit=0&since=now").await.yes();
    let after = now["last_seq"].as_str().unwrap();
    let from = format!("/@notes/_changes?since={after}");
    assert_eq!(rita.get(&from).await.ids(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_that_has_something_to_tell_does_not_wait_for_more() {
    let world = World::start(RULES).await;
    // Exactly as many as the first page that is asked for holds.
    let documents: Vec<Value> = (0..100)
        .map(|n| json!({ "_id": format!("d{n:02}"), "kind": if n == 7 { "open" } else { "shut" } }))
        .collect();
    world.database("notes", documents.into()).await;
    let answer = world
        .as_("rita")
        .get("/@notes/_changes?feed=longpoll&heartbeat=1000&limit=50")
        .await;
    assert_eq!(answer.ids(), "d07");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_tells_nothing_of_what_is_hidden() {
    let world = filled().await;
    let rita = world.as_("rita");
    let last = |query: &'static str| {
        let rita = rita.clone();
        async move {
            let answer = rita.get(&format!("/@notes/_changes?{query}")).await;
            answer.yes()["last_seq"].as_str().unwrap().to_owned()
        }
    };
    for query in [
        "",
        "since=now",
        "limit=1",
        "limit=0",
        "descending=true",
        "feed=longpoll&timeout=500&since=now",
        "seq_interval=2",
    ] {
        let quiet = [last(query).await, last(query).await];
        world
            .fill("notes", json!([{ "kind": "shut" }, { "kind": "shut" }]))
            .await;
        let after = last(query).await;
        assert_ne!(quiet[0], quiet[1], "{query}");
        assert!(!quiet.contains(&after), "{query}");
        assert_eq!(quiet[0].len(), quiet[1].len(), "{query}");
        assert_eq!(quiet[0].len(), after.len(), "{query}");
    }
    let rows = rita
        .get("/@notes/_changes?seq_interval=2")
        .await
        .column("seq");
    assert!(rows.iter().all(Value::is_string), "{rows:?}");
    let list = rita.get("/@notes/_all_docs?update_seq=true").await.yes();
    assert!(list["update_seq"].is_null(), "{list}");
    let info = rita.get("/@notes").await.yes();
    assert_eq!(info["update_seq"], "0", "{info}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuous_feed_ends_at_its_limit() {
    let world = filled().await;
    for feed in ["continuous", "eventsource"] {
        let answer = world
            .as_("rita")
            .get(&format!(
                "/@notes/_changes?feed={feed}&limit=2&heartbeat=100"
            ))
            .await;
        assert_eq!(ids(&rows_of(answer.text())), "a c", "{feed}");
        assert!(!answer.cut, "{feed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_was_judged_under_other_rules_begins_anew() {
    let world = filled().await;
    let last = |client: Client| async move {
        client.get("/@notes/_changes").await.yes()["last_seq"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (rita, walt, ops) = (world.as_("rita"), world.as_("walt"), world.as_("ops"));
    let (of_rita, of_walt, of_ops) = (
        last(rita.clone()).await,
        last(walt.clone()).await,
        last(ops.clone()).await,
    );
    let since = |seq: &str| format!("/@notes/_changes?since={seq}");
    assert_eq!(rita.get(&since(&of_rita)).await.ids(), "");
    assert_eq!(walt.get(&since(&of_walt)).await.ids(), "");
    assert_eq!(ops.get(&since(&of_ops)).await.ids(), "");
    for foreign in [&of_walt, &of_ops, "7-nonsense", "12"] {
        assert_eq!(rita.get(&since(foreign)).await.ids(), "a c e", "{foreign}");
    }
    assert_eq!(walt.get(&since(&of_rita)).await.ids(), "a b c d e");
    // Another with the same rights goes on, another database does not.
    let rosa = world.user("rosa", &["reader"]);
    assert_eq!(rosa.get(&since(&of_rita)).await.ids(), "");
    assert_eq!(rita.get("/@notes/_changes?since=now").await.ids(), "");
    // What leaves tells nothing of CouchDB's own sequences.
    let own = world.backend().get("/@notes/_changes").await.yes()["last_seq"]
        .as_str()
        .unwrap()
        .to_owned();
    let digits = own.split('-').next().unwrap();
    assert!(
        !of_rita.starts_with(&format!("{digits}-")) && !of_rita.contains("g1AAA"),
        "{of_rita}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_goes_on_behind_the_last_event() {
    let world = filled().await;
    let rita = world.as_("rita");
    let first = rita.get("/@notes/_changes?feed=eventsource&limit=2").await;
    assert_eq!(first.header("content-type"), Some("text/event-stream"));
    let id = first
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .next_back()
        .unwrap()
        .to_owned();
    let seq = id.trim_matches('"').to_owned();
    let rest = rita
        .get(&format!(
            "/@notes/_changes?feed=eventsource&timeout=1000&last-event-id={seq}"
        ))
        .await;
    assert_eq!(ids(&rows_of(rest.text())), "e");
    let again = rita
        .clone()
        .with_header("last-event-id", &id)
        .get("/@notes/_changes?feed=eventsource&timeout=1000")
        .await;
    assert_eq!(ids(&rows_of(again.text())), "e");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_pass_at_once() {
    let fake = Fake::start(|seen| {
        let (frame, beat) = match seen.target.split("feed=").nth(1).unwrap() {
            feed if feed.starts_with("longpoll") => ("{\"results\":[\n", "\n"),
            feed if feed.starts_with("eventsource") => ("", "event: heartbeat\ndata: \n\n"),
            _ => ("", "\n"),
        };
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        let frame = if frame.is_empty() { String::new() } else { chunk(frame) };
        vec![Step::Send(format!("{head}{frame}{}", chunk(beat)).into_bytes()), Step::Hang]
    })
    .await;
    let world = World::before(&fake, RULES, "").await;
    let rita = world.as_("rita");
    let mut feed = rita
        .feed("/@notes/_changes?feed=continuous&heartbeat=1000")
        .await;
    assert_eq!(feed.line().await.as_deref(), Some(""));
    let mut feed = rita
        .feed("/@notes/_changes?feed=longpoll&heartbeat=1000")
        .await;
    assert_eq!(feed.line().await.as_deref(), Some("{\"results\":["));
    assert_eq!(feed.line().await.as_deref(), Some(""));
    let mut feed = rita
        .feed("/@notes/_changes?feed=eventsource&heartbeat=1000")
        .await;
    assert_eq!(feed.line().await.as_deref(), Some("event: heartbeat"));
    assert_eq!(feed.line().await.as_deref(), Some("data: "));
}

/// CouchDB sends an empty line with every change, and its timer begins anew: its beats would tell of hidden ones.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_changes_neither_quicken_nor_still_the_heart() {
    let every = std::time::Duration::from_millis(300);
    let fake = Fake::start(|_| {
        let row = json!({ "seq": "1-x", "id": "b", "changes": [{ "rev": "1-a" }], "doc": { "_id": "b", "_rev": "1-a", "kind": "shut" } });
        let text = format!("{row}\n{}", "\n".repeat(20));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        vec![Step::Send(format!("{head}{:x}\r\n{text}\r\n", text.len()).into_bytes()), Step::Hang]
    })
    .await;
    let quick = World::before(&fake, &RULES.replace('@', ""), "").await;
    let begun = tokio::time::Instant::now();
    let path = "/notes/_changes?feed=continuous&heartbeat=300";
    let mut feed = quick.as_("rita").feed(path).await;
    for beat in 1..=3 {
        assert_eq!(feed.line().await.as_deref(), Some(""));
        assert!(begun.elapsed() >= every * beat, "{:?}", begun.elapsed());
    }
    // And while something hidden is written all the time.
    let world = filled().await;
    let mut feed = world
        .as_("rita")
        .feed("/@notes/_changes?feed=continuous&heartbeat=300&since=now")
        .await;
    let beats = async {
        for _ in 0..3 {
            assert_eq!(feed.line().await.as_deref(), Some(""));
        }
    };
    let writes = async {
        loop {
            world.fill("notes", json!([{ "kind": "shut" }])).await;
        }
    };
    tokio::select! {
        () = beats => {}
        () = writes => {}
    }
}

/// CouchDB's timer begins anew at each change, hidden or not: its end would tell of hidden ones, and their writers could
/// keep it from coming.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_ends_while_hidden_documents_are_written() {
    let world = filled().await;
    let rita = world.as_("rita");
    let ended = async {
        for feed in ["longpoll", "continuous", "eventsource"] {
            for since in ["now", "0"] {
                let path = format!("/@notes/_changes?feed={feed}&since={since}&timeout=700");
                let begun = tokio::time::Instant::now();
                let answer = rita.get(&path).await;
                assert!(answer.status == 200 && !answer.cut, "{path}: {answer:?}");
                let waited = begun.elapsed() >= std::time::Duration::from_millis(700);
                let told = ids(&rows_of(answer.text()));
                match (feed, since) {
                    (_, "now") => assert!(told.is_empty() && waited, "{path}: {told}"),
                    ("longpoll", _) => assert_eq!(told, "a c e", "{path}"),
                    (_, _) => assert!(told == "a c e" && waited, "{path}: {told}"),
                }
            }
        }
    };
    let writes = async {
        loop {
            world.fill("notes", json!([{ "kind": "shut" }])).await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = writes => {}
    }
}

/// What there is comes before the clock begins, however short it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_does_not_wait_tells_what_there_is() {
    let world = filled().await;
    for feed in ["longpoll", "continuous", "eventsource"] {
        for rest in [
            "timeout=0",
            "timeout=1",
            "timeout=0&descending=true",
            "heartbeat=60000&descending=true",
        ] {
            let path = format!("/@notes/_changes?feed={feed}&{rest}");
            let answer = world.as_("rita").get(&path).await;
            let expected = if rest.contains("descending") {
                "e c a"
            } else {
                "a c e"
            };
            assert_eq!(ids(&rows_of(answer.text())), expected, "{path}");
            assert!(!answer.cut, "{path}");
        }
    }
}

/// Neither its timer nor the limit of its silence is left to CouchDB: hidden rows move both.
#[tokio::test(flavor = "multi_thread")]
async fn couchdb_is_asked_for_a_heartbeat_and_no_timeout() {
    let fake = Fake::start(|seen| {
        if !seen.target.contains("feed=") {
            return plain(200, r#"{"results":[],"last_seq":"5-x","pending":0}"#);
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        vec![Step::Send(format!("{head}1\r\n\n\r\n").into_bytes()), Step::Hang]
    })
    .await;
    let limits = "[limits]\nfeed_idle = \"6s\"\n";
    let world = World::before(&fake, RULES, limits).await;
    for feed in ["longpoll", "continuous", "eventsource"] {
        let path = format!("/@notes/_changes?feed={feed}&since=3-x&timeout=300");
        let answer = world.as_("rita").get(&path).await;
        assert!(answer.status == 200 && !answer.cut, "{answer:?}");
        let asked = fake.seen().pop().unwrap().target;
        assert!(
            asked.contains("heartbeat=2000") && asked.contains("since=5-x"),
            "{asked}"
        );
        assert!(!asked.contains("timeout"), "{asked}");
    }
}

/// CouchDB reads the document of a row when it sends the row, which may be later than the change.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_has_moved_on_since_its_row_is_judged_as_it_is() {
    let row = |id: &str, kind: &str| json!({ "seq": format!("1-{id}"), "id": id, "changes": [{ "rev": "1-a" }], "doc": { "_id": id, "_rev": "2-b", "kind": kind, "salt": "s" } });
    let rows =
        json!({ "results": [row("a", "shut"), row("b", "open")], "last_seq": "1-b", "pending": 0 })
            .to_string();
    // What the revision of the row was can't be read any more.
    let fake = Fake::start(move |seen| {
        if seen.target.contains("_changes") {
            plain(200, &rows)
        } else {
            plain(200, r#"{"results":[]}"#)
        }
    })
    .await;
    let world = World::before(&fake, &RULES.replace('@', ""), "").await;
    for query in [
        "",
        "?include_docs=true",
        "?include_docs=true&style=all_docs",
    ] {
        let path = format!("/notes/_changes{query}");
        let told = world.as_("rita").get(&path).await;
        for secret in ["shut", "\"s\"", "2-b\",\"kind\":\"shut"] {
            assert!(!told.text().contains(secret), "{query}: {}", told.text());
        }
        let documents = told.text().matches("\"_rev\":\"2-b\"").count();
        assert!(documents <= 1, "{query}: {}", told.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_sleeps_through_hidden_changes() {
    let row = |seq: u32, id: &str, kind: &str| json!({ "seq": format!("{seq}-x"), "id": id, "changes": [{ "rev": "1-a" }], "doc": { "_id": id, "_rev": "1-a", "kind": kind } });
    let fake = Fake::start(move |seen| {
        let (rows, last) = match seen.target.contains("since=2-x") {
            false => (vec![row(1, "b", "shut"), row(2, "d", "shut")], "2-x"),
            true => (vec![row(3, "a", "open")], "3-x"),
        };
        plain(
            200,
            &json!({ "results": rows, "last_seq": last, "pending": 5 }).to_string(),
        )
    })
    .await;
    let world = World::before(&fake, RULES, "").await;
    let answer = world
        .as_("rita")
        .get("/@notes/_changes?feed=longpoll&heartbeat=1000")
        .await;
    assert_eq!(answer.ids(), "a");
    let seen = fake.seen();
    assert!(
        seen.len() == 2
            && seen
                .iter()
                .all(|seen| seen.method == "GET" && seen.body.is_empty()),
        "{seen:?}"
    );
    assert!(!answer.text().contains("pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_wakes_for_a_visible_change() {
    let world = filled().await;
    let rita = world.as_("rita");
    let since = rita.get("/@notes/_changes").await.yes()["last_seq"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut feed = rita
        .feed(&format!(
            "/@notes/_changes?feed=longpoll&heartbeat=50&since={since}"
        ))
        .await;
    assert_eq!(feed.line().await.as_deref(), Some("{\"results\":["));
    world
        .fill("notes", json!([{ "_id": "hidden", "kind": "shut" }]))
        .await;
    // It goes on waiting.
    for _ in 0..4 {
        assert_eq!(feed.line().await.as_deref(), Some(""));
    }
    world
        .fill("notes", json!([{ "_id": "shown", "kind": "open" }]))
        .await;
    let row = feed.row_of_frame().await;
    assert_eq!(row["id"], "shown");
    let rest = feed.rest().await;
    assert!(
        rest.contains("last_seq") && !rest.contains("pending"),
        "{rest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuous_feed_delivers_what_is_written_meanwhile() {
    let world = filled().await;
    for (feed, post) in [
        ("continuous", false),
        ("continuous", true),
        ("eventsource", false),
    ] {
        let rita = world.as_("rita");
        let path = format!("/@notes/_changes?feed={feed}&heartbeat=50&since=now");
        let mut feed = if post {
            rita.post_feed(&path, json!({})).await
        } else {
            rita.feed(&path).await
        };
        assert_eq!(feed.status, 200);
        // It is listening once its heart beats.
        feed.line().await.unwrap();
        let name = format!("new-{path}-{post}");
        world.fill("notes", json!([{ "_id": format!("{name}-hidden"), "kind": "shut" }, { "_id": name, "kind": "open" }])).await;
        let lines = feed.headers["content-type"] == "application/json";
        let row = if lines {
            feed.row().await
        } else {
            feed.row_of_frame().await
        };
        assert_eq!(row["id"], name.as_str(), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_reaches_those_who_saw_the_document_and_no_other() {
    let world = filled().await;
    let (rita, walt, ops) = (world.as_("rita"), world.as_("walt"), world.as_("ops"));
    let since = |client: Client| async move {
        client.get("/@notes/_changes").await.yes()["last_seq"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (of_rita, of_walt) = (since(rita.clone()).await, since(walt.clone()).await);
    // One is deleted by a caller, one by an administrator, one past us; each beside one that is hidden.
    for (deleter, id) in [(&walt, "a"), (&walt, "b"), (&ops, "c"), (&ops, "d")] {
        let rev = ops.get(&format!("/@notes/{id}")).await.yes()["_rev"]
            .as_str()
            .unwrap()
            .to_owned();
        deleter
            .delete(&format!("/@notes/{id}?rev={rev}"))
            .await
            .yes();
    }
    let rev = ops.get("/@notes/e").await.yes()["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .backend()
        .delete(&format!("/@notes/e?rev={rev}"))
        .await
        .yes();
    for query in ["", "&include_docs=true", "&style=all_docs"] {
        let seen = rita
            .get(&format!("/@notes/_changes?since={of_rita}{query}"))
            .await;
        assert_eq!(seen.ids(), "a c e", "{query}");
        assert!(
            seen.column("deleted").iter().all(|deleted| deleted == true),
            "{query}: {}",
            seen.text()
        );
        assert!(
            !seen.text().contains("\"salt\""),
            "{query}: {}",
            seen.text()
        );
        let seen = walt
            .get(&format!("/@notes/_changes?since={of_walt}{query}"))
            .await;
        assert_eq!(seen.ids(), "a b c d e", "{query}");
    }
    // The tombstone that passed us keeps what rules decide by, and nothing more.
    let rows = world
        .backend()
        .post(
            "/@notes/_changes?filter=_doc_ids&include_docs=true",
            json!({ "doc_ids": ["a"] }),
        )
        .await
        .yes();
    let tomb = &rows["results"][0]["doc"];
    assert_eq!(
        (&tomb["kind"], &tomb["salt"], &tomb["text"]),
        (&json!("open"), &Value::Null, &Value::Null),
        "{tomb}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_tombstone_whose_parent_is_gone_is_hidden() {
    let world = filled().await;
    let tomb = |id: &str| json!({ "_id": id, "_rev": "2-b", "_deleted": true, "_revisions": { "start": 2, "ids": ["b", "a"] } });
    force(&world, json!([tomb("ghost")])).await;
    let mut known = tomb("known");
    known["kind"] = "open".into();
    force(&world, json!([known])).await;
    for query in ["", "&include_docs=true", "&style=all_docs"] {
        let seen = world
            .as_("rita")
            .get(&format!("/@notes/_changes?since=0{query}"))
            .await;
        assert_eq!(seen.ids(), "a c e known", "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_follow_gets_no_feed() {
    let fake = Fake::start(|_| plain(200, r#"{"results":[],"last_seq":"0"}"#)).await;
    let world = World::before(&fake, RULES, "").await;
    for feed in ENDS {
        let path = format!("/@notes/_changes?{feed}");
        world.as_("tom").get(&path).await.no(404, "not_found");
        world.anonymous().get(&path).await.no(401, "unauthorized");
        world
            .anonymous()
            .post(&path, json!({}))
            .await
            .no(401, "unauthorized");
    }
    assert!(fake.seen().is_empty(), "{:?}", fake.seen());
}

/// Documents of which every second is open.
async fn filled() -> World {
    let world = World::start(RULES).await;
    let document = |(n, id): (usize, &str)| {
        let kind = if n % 2 == 0 { "open" } else { "shut" };
        json!({ "_id": id, "n": n + 1, "kind": kind, "salt": format!("salt of {id}"), "text": format!("für {id}") })
    };
    let documents: Vec<Value> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .enumerate()
        .map(document)
        .collect();
    // One by one, so that the order of changes is theirs.
    world.database("notes", json!([])).await;
    for document in documents {
        world.fill("notes", json!([document])).await;
    }
    world
}

/// Stores revisions as a replicator does, past couchwarden.
async fn force(world: &World, documents: Value) {
    let stored = world
        .backend()
        .post(
            "/@notes/_bulk_docs",
            json!({ "new_edits": false, "docs": documents }),
        )
        .await
        .yes();
    assert_eq!(stored, json!([]));
}

/// The rows of an answer in any of the four frames.
fn rows_of(text: &str) -> Vec<Value> {
    if let Ok(whole) = serde_json::from_str::<Value>(text)
        && let Some(rows) = whole["results"].as_array()
    {
        return rows.clone();
    }
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("data: ").unwrap_or(line));
    let rows = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    rows.filter(|row| row["id"].is_string()).collect()
}

fn ids(rows: &[Value]) -> String {
    rows.iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

impl Feed {
    /// The next row of any of the four frames.
    async fn row_of_frame(&mut self) -> Value {
        loop {
            let line = self.line().await.expect("the feed has ended");
            if let Some(row) = rows_of(line.trim_end_matches(',')).first() {
                return row.clone();
            }
        }
    }
}

/// A row of `_changes` without its sequence and without what differs by the document's name.
fn told(answer: &Value, id: &str) -> Value {
    let rows = answer["results"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == id);
    let mut row = row.unwrap_or_else(|| panic!("{id}: {answer}")).clone();
    row["seq"] = Value::Null;
    row["id"] = Value::Null;
    if row["doc"].is_object() {
        row["doc"]["_id"] = Value::Null;
    }
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_document_is_told_though_a_hidden_leaf_lives_on() {
    let world = filled().await;
    let hash = |n: u64| format!("{n:032x}");
    let leaf = |id: &str, generation: u64, kind: &str, deleted: bool| {
        let mut leaf = json!({ "_id": id, "_rev": format!("{generation}-{}", hash(generation)), "kind": kind });
        if deleted {
            leaf["_deleted"] = true.into();
        }
        leaf["_revisions"] =
            json!({ "start": generation, "ids": [hash(generation), hash(generation - 1)] });
        leaf
    };
    for id in ["torn", "whole", "shown"] {
        force(
            &world,
            json!([leaf(id, 5, "open", false), leaf(id, 6, "open", true)]),
        )
        .await;
    }
    force(
        &world,
        json!([
            leaf("torn", 2, "shut", false),
            leaf("shown", 2, "open", false)
        ]),
    )
    .await;
    let rita = world.as_("rita");
    for query in [
        "",
        "include_docs=true",
        "style=all_docs",
        "style=all_docs&include_docs=true",
    ] {
        let answer = rita.get(&format!("/@notes/_changes?{query}")).await.yes();
        let (torn, whole) = (told(&answer, "torn"), told(&answer, "whole"));
        assert_eq!(torn, whole, "{query}");
        assert_eq!(whole["deleted"], true, "{query}: {whole}");
        // While a leaf that she sees lives, it has not ended.
        assert!(told(&answer, "shown")["deleted"].is_null(), "{query}");
    }
    let mut feed = rita
        .feed("/@notes/_changes?feed=continuous&since=now")
        .await;
    force(
        &world,
        json!([
            leaf("torn", 6, "open", true),
            leaf("torn", 7, "open", false),
            leaf("torn", 8, "open", true)
        ]),
    )
    .await;
    let row = feed.row().await;
    assert_eq!(
        (&row["id"], &row["deleted"]),
        (&json!("torn"), &json!(true)),
        "{row}"
    );
}
