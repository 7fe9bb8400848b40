//! Two worlds: the same requests to two databases that differ only in what the callers may not see are answered
//! with the same bytes. And in one world: what is hidden is answered as what is absent, after the same work.

mod twins;

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::join_all;
use regex::bytes::Regex;
use serde_json::{Value, json};

use self::twins::Twin;
use crate::canary::{Names, Probe, probes};
use crate::support::{Answer, Ask, Client, Kept, Pouch, Tap, World};

/// Sequences and bookmarks are sealed anew each time; what can be told from one is its length. The same holds for
/// the boundaries of parts and for cookies. And the worlds are not made at one time, nor served at one port.
static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let places = [
        r#""(?:seq|last_seq|update_seq|bookmark)"\s*:\s*""#,
        r#"(?m:^)id: "?"#,
        "boundary=\"?",
        "(?m:^)--",
        "AuthSession=",
        r#""instance_start_time":""#,
        "location: https://localhost:",
    ];
    Regex::new(&format!("({})([A-Za-z0-9_-]+)", places.join("|"))).unwrap()
});

/// Everything of an answer that a client can compare: time, tokens and our own names aside.
pub(crate) fn told(answer: &Answer, prefix: &str) -> String {
    let mut told = format!("{} cut={}\n", answer.status, answer.cut).into_bytes();
    for (name, value) in &answer.headers {
        if !["date", "x-request-id", "x-couch-request-id"].contains(&name.as_str()) {
            told.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
    }
    told.extend_from_slice(&answer.body);
    let plain = TOKENS.replace_all(&told, |found: &regex::bytes::Captures<'_>| {
        [&found[1], &b"#".repeat(found[2].len())].concat()
    });
    String::from_utf8_lossy(&plain).replace(prefix, &"@".repeat(prefix.len()))
}

/// The requests whose answers can be compared: none that end by the clock or are made of chance.
fn comparable(names: &Names) -> Vec<Probe> {
    let mut all = probes(names);
    all.retain(|probe| !probe.writes && !probe.feed && probe.kind != "/_uuids");
    all
}

async fn answers(client: &Client, asks: &[Ask], prefix: &str) -> Vec<String> {
    let mut kept = Kept::new(client);
    let mut told_all = Vec::new();
    for ask in asks {
        told_all.push(told(&kept.ask(ask, Duration::from_secs(60)).await, prefix));
    }
    told_all
}

#[track_caller]
fn assert_same(who: &str, asks: &[Ask], (left, right): (&[String], &[String])) {
    let faults: Vec<String> = asks
        .iter()
        .zip(left.iter().zip(right))
        .filter(|(_, (left, right))| left != right)
        .map(|(ask, (left, right))| format!("{who}: {ask:?}\n--- one\n{left}\n--- other\n{right}"))
        .collect();
    assert_eq!(left.len(), right.len());
    assert!(
        faults.is_empty(),
        "{} of {} differ\n{}",
        faults.len(),
        asks.len(),
        faults.join("\n\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_worlds_that_differ_in_hidden_things_answer_alike() {
    let twins = twins::both().await;
    for who in ["anonymous", "rita", "walt", "sue"] {
        let both = twins.iter().map(async |Twin { world, names }| {
            let client = if who == "anonymous" {
                world.anonymous()
            } else {
                world.as_(who)
            };
            let asks: Vec<Ask> = comparable(names)
                .into_iter()
                .map(|probe| probe.ask)
                .collect();
            let told = answers(&client, &asks, &world.db("")).await;
            (asks, told)
        });
        let both = join_all(both).await;
        assert!(both[0].0.len() > 500, "{}", both[0].0.len());
        assert_same(who, &both[0].0, (&both[0].1, &both[1].1));
    }
}

/// Writes by somebody who may write the red documents: each is answered alike in both worlds.
#[tokio::test(flavor = "multi_thread")]
async fn two_worlds_take_writes_alike() {
    let twins = twins::both().await;
    let third = format!("2-{:032x}", 30);
    let body = |text: Value| text.to_string();
    let write = |method: &'static str, path: &str, text: String| Ask {
        method,
        path: path.to_owned(),
        headers: vec![("content-type", "application/json".to_owned())],
        body: text,
    };
    // A revision made by CouchDB is a digest of the whole document, hidden fields included; so what gets one here
    // has none.
    let forged = json!({ "_id": "d30", "_rev": format!("3-{:032x}", 31), "team": "red", "title": "pushed",
        "_revisions": { "start": 3, "ids": [format!("{:032x}", 31), format!("{:032x}", 30)] } });
    let asks = |db: &str| {
        let at = |rest: &str| format!("/{db}/{rest}");
        vec![
            write(
                "PUT",
                &at("new"),
                body(json!({ "team": "red", "title": "new" })),
            ),
            write(
                "PUT",
                &at("new"),
                body(json!({ "team": "red", "title": "again" })),
            ),
            write("PUT", &at("d10"), body(json!({ "team": "red" }))),
            write(
                "PUT",
                &at("d10"),
                body(json!({ "_rev": "1-abc", "team": "red" })),
            ),
            write(
                "PUT",
                &at("d20"),
                body(json!({ "_rev": format!("2-{:032x}", 66), "team": "red" })),
            ),
            write("PUT", &at("elsewhere"), body(json!({ "team": "blue" }))),
            write(
                "POST",
                &at("_revs_diff"),
                body(
                    json!({ "d20": ["1-abc"], "d25": ["1-abc"], "d15": ["4-abc"], "d35": ["3-abc"] }),
                ),
            ),
            write(
                "POST",
                &at("_bulk_docs"),
                body(json!({ "new_edits": false, "docs": [forged] })),
            ),
            write(
                "POST",
                &at("_bulk_docs"),
                body(json!({ "docs": [
                { "_id": "more", "team": "red" }, { "_id": "d30", "_rev": third, "team": "red" }, { "_id": "other", "team": "blue" } ] })),
            ),
            write("DELETE", &at("new?rev=1-abc"), String::new()),
            write("DELETE", &at("d25?rev=1-abc"), String::new()),
            write("DELETE", &at("d15?rev=1-abc"), String::new()),
            write(
                "PUT",
                &at("_local/checkpoint"),
                body(json!({ "last_seq": "1" })),
            ),
            write("GET", &at("_local/checkpoint"), String::new()),
            write(
                "GET",
                &at("_changes?style=all_docs&include_docs=true"),
                String::new(),
            ),
        ]
    };
    let both = twins.iter().map(async |Twin { world, names }| {
        let asks = asks(&names.db);
        let told = answers(&world.as_("walt"), &asks, &world.db("")).await;
        (asks, told)
    });
    let both = join_all(both).await;
    assert_same("walt", &both[0].0, (&both[0].1, &both[1].1));
}

/// A pull by an unmodified PouchDB asks the same and hears the same in both worlds.
#[tokio::test(flavor = "multi_thread")]
async fn two_worlds_replicate_alike() {
    let twins = twins::both().await;
    // Checkpoints are named by the URL, and hold times and a session of their own.
    let locals = Regex::new(
        r#"_local/[A-Za-z0-9._~%-]+|"(?:session_id|start_time|end_time|_rev|rev)":"[^"]*""#,
    )
    .unwrap();
    let since = Regex::new("(since|last-event-id)=[^&]*").unwrap();
    let mut traces = Vec::new();
    for Twin { world, .. } in &twins {
        let mut pouch = Pouch::start(world);
        let rita = world.as_("rita");
        pouch.ok(&rita, json!({ "op": "open", "db": "mine" }));
        let pull = json!({ "op": "replicate", "source": "@vault", "target": "mine" });
        // The second one begins at the checkpoint of the first.
        for _ in 0..2 {
            pouch.ok(&rita, pull.clone());
        }
        assert_eq!(pouch.ids(&rita, "mine"), "d10 d20 d30");
        let trace = pouch.ok(&rita, json!({ "op": "trace" }));
        let lines = trace.as_array().unwrap().iter().map(|entry| {
            let url = entry["url"].as_str().unwrap();
            let (_, path) = url.split_once("//").unwrap();
            let (_, path) = path.split_once('/').unwrap();
            let path = since
                .replace_all(path.as_bytes(), &b"$1=#"[..])
                .into_owned();
            let body = entry["body"]
                .as_str()
                .unwrap_or_default()
                .as_bytes()
                .to_vec();
            let answer = Answer {
                status: 0,
                headers: http::HeaderMap::new(),
                body: [path, b"\n".to_vec(), body].concat().into(),
                cut: false,
            };
            let told = told(&answer, &world.db(""));
            let told = if url.contains("/_local/") {
                String::from_utf8(locals.replace_all(told.as_bytes(), &b"#"[..]).into_owned())
                    .unwrap()
            } else {
                told
            };
            format!("{} {} {told}", entry["method"], entry["status"])
        });
        traces.push(lines.collect::<Vec<_>>());
    }
    assert!(traces[0].len() > 8, "{:#?}", traces[0]);
    assert_eq!(traces[0], traces[1]);
}

const WORK: &str = r#"
[[rule]]
name = "readers"
databases = ["@vault"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "find"]
documents = { team = "red" }

[[rule]]
name = "updaters"
databases = ["@vault"]
callers = { roles = ["writer"] }
permit = ["read", "changes", "find", "update", "delete"]
hide = ["secret"]
documents = { team = "red" }
"#;

/// For every route that names one document: what is hidden is answered as what is absent, and CouchDB is asked the
/// same for both.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_and_absent_are_the_same_answer_and_the_same_work() {
    let backend = crate::support::backend().authority.parse().unwrap();
    let tap = Tap::start(backend).await;
    let world = World::behind(tap.address, WORK, "").await;
    let stored = json!([
        { "_id": "hidden-1", "team": "blue", "title": "t", "secret": "s", "_attachments": { "plain": { "content_type": "text/plain", "data": "aGlkZGVu" } } },
        { "_id": "red", "team": "red" },
    ]);
    world.database("vault", stored).await;
    let kept = world.backend().get("/@vault/hidden-1").await.yes();
    let rev = kept["_rev"].as_str().unwrap().to_owned();
    let names = |id: &str| Names {
        db: world.db("vault"),
        documents: [(id.to_owned(), vec![rev.clone()])].into(),
        files: vec!["plain".to_owned(), "other".to_owned()],
        locals: vec!["any".to_owned()],
        raw_local: "_local/raw",
        hidden_db: world.db("none"),
        hidden_user: "none".to_owned(),
        index: "any".to_owned(),
        hidden_ddoc: "none".to_owned(),
    };
    let of = |id: &str| -> Vec<Ask> {
        let mut all = probes(&names(id));
        let main = format!("/{}/", world.db("vault"));
        all.retain(|probe| {
            let named = probe.ask.path.contains(id) || probe.ask.body.contains(id);
            named && !probe.feed && probe.ask.path.starts_with(&main)
        });
        all.into_iter().map(|probe| probe.ask).collect()
    };
    let (hidden, absent) = (of("hidden-1"), of("absent-1"));
    assert!(
        hidden.len() > 100 && hidden.len() == absent.len(),
        "{} {}",
        hidden.len(),
        absent.len()
    );
    for who in ["anonymous", "rita", "walt", "tom"] {
        let client = if who == "anonymous" {
            world.anonymous()
        } else {
            world.as_(who)
        };
        let mut sides = Vec::new();
        let mut kept = Kept::new(&client);
        // The first request of a caller looks him up.
        kept.ask(&hidden[0], Duration::from_secs(60)).await;
        tap.take();
        for (hidden, absent) in hidden.iter().zip(&absent) {
            let mut pair = [String::new(), String::new()];
            for (side, (ask, id)) in pair
                .iter_mut()
                .zip([(hidden, "hidden-1"), (absent, "absent-1")])
            {
                let answer = kept.ask(ask, Duration::from_secs(60)).await;
                // What couchwarden follows by itself comes at its own time.
                let mut asked = tap.take();
                asked.retain(|asked| !asked.contains(" /couchwarden/_changes"));
                let asked = asked.join("\n");
                *side = format!("{}\n{asked}", told(&answer, &world.db("vault")))
                    .replace(id, "--------");
            }
            sides.push(pair);
        }
        let (left, right): (Vec<String>, Vec<String>) =
            sides.into_iter().map(|[left, right]| (left, right)).unzip();
        assert_same(who, &hidden, (&left, &right));
    }
    assert_eq!(world.backend().get("/@vault/hidden-1").await.yes(), kept);
}
