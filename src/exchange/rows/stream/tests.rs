//! When a feed ends: by what it has shown, at the same moment with and without hidden rows. In paused time, with a
//! CouchDB that writes what it is told to.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Recipe, Rows};
use crate::body::boxed;
use crate::caller::{Caller, User, UserName};
use crate::config::Config;
use crate::exchange::read::change_pages::ChangesPages;
use crate::exchange::read::change_rows::{ChangeRows, Sequences};
use crate::exchange::read::changes::pulse;
use crate::exchange::read::offline::context;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::reply::Reply;
use crate::policy::{Permit, Plan, Policy, PolicySettings, Reads, Verdict};
use crate::route::Route;
use crate::route::query::{ChangesQuery, Heartbeat};
use crate::secret::{Seal, Secret};

/// Nothing listens there.
const CONFIG: &str = "
[listen]
address = '127.0.0.1:0'
[couchdb]
nodes = ['http://127.0.0.1:1']
user = 'warden'
password = 'errand'
proxy_secret = 'shared'
[identity.session]
secret = '0123456789abcdef'
[policies]
directory = 'policies'
";

const RULES: &str = "
[[rule]]
name      = 'own'
databases = ['db']
callers   = { everyone = true }
permit    = ['read', 'changes']
documents = { _id = { '$beginsWith' = 'own' } }
";

fn permit(target: &str) -> Permit {
    let files = [("test".to_owned(), RULES.to_owned())];
    let policy = Policy::load(&files, &PolicySettings::default()).unwrap();
    let user = User::new(UserName::parse("walt").unwrap(), Vec::new());
    let route = Route::parse("GET", target, None).unwrap();
    let verdict = policy.decide(&Caller::User(Arc::new(user)), route);
    let Verdict::Permit(permit) = verdict else {
        panic!("{verdict}")
    };
    permit
}

fn query(target: &str) -> ChangesQuery {
    permit(target).route().query.changes().unwrap()
}

/// What is written at which millisecond.
type Script = Vec<(u64, String)>;

/// A feed that waits already, of which CouchDB tells these rows.
fn feed(parameters: &str, script: Script) -> Rows {
    let target = format!("/db/_changes?{parameters}");
    let (permit, query) = (permit(&target), query(&target));
    let rules = permit.fingerprint().unwrap();
    let Plan::Read(Reads::Changes { rows, docs }) = permit.plan().clone() else {
        panic!("under a rule")
    };
    let begun = Instant::now();
    let frames = stream::iter(script).then(move |(at, text)| async move {
        sleep_until(begun + Duration::from_millis(at)).await;
        Ok::<_, Infallible>(Frame::data(Bytes::from(text)))
    });
    let body = StreamBody::new(frames.chain(stream::pending()));
    let body = boxed(body.map_err(|never| match never {}));
    let layout = match parameters.contains("eventsource") {
        true => Layout::Events,
        false => Layout::Lines,
    };
    let seal = Arc::new(Seal::new(&Secret::new("a secret of this test"), "test"));
    let filter = ChangeRows {
        rows,
        docs,
        with_docs: false,
        with_conflicts: false,
        chosen: crate::exchange::read::change_rows::Chosen::All,
        all_leaves: false,
        sequences: Sequences::new(seal, "db", rules, ""),
        last: Some(b"\"0\"".to_vec()),
        shown: String::new(),
    };
    let pulse = pulse(&query);
    let pages = ChangesPages::waiting(query, Heartbeat::Default);
    let recipe = Recipe {
        pages: Box::new(pages),
        filter: Box::new(filter),
        layout,
        window: Window::ALL,
        pulse,
        lease: None,
    };
    let config = Config::parse(CONFIG, Path::new("/test.toml")).unwrap();
    let context = context(permit, &config).unwrap();
    Rows::new(Arc::new(context), recipe, None, Reply::Begun(body))
}

/// What a client gets, and when: sealed sequences by their length.
async fn told(parameters: &str, script: Script) -> Vec<(u128, usize, bool)> {
    let mut rows = feed(parameters, script);
    let begun = Instant::now();
    let mut told = Vec::new();
    while let Some(chunk) = rows.next().await.unwrap() {
        let shows = chunk.windows(6).any(|window| window == b"\"own-1");
        told.push((begun.elapsed().as_millis(), chunk.len(), shows));
    }
    told.push((begun.elapsed().as_millis(), 0, false));
    told
}

fn row(feed: &str, sequence: usize, id: &str) -> String {
    let row = format!(r#"{{"seq":"{sequence}-x","id":"{id}","changes":[{{"rev":"1-a"}}]}}"#);
    match feed {
        "eventsource" => format!("data: {row}\nid: \"{sequence}-x\"\n\n"),
        _ => format!("{row}\n"),
    }
}

/// Two rows that are shown, and as many hidden ones as are told.
fn script(feed: &str, hidden_every: Option<u64>) -> Script {
    let shown = [100, 400].map(|at| (at, row(feed, 1, "own-1")));
    let hidden = hidden_every.into_iter().flat_map(|every| {
        let times = (0..70_000 / every).map(move |n| n * every);
        times.map(|at| (at, row(feed, 2, "hidden")))
    });
    let mut all: Script = shown.into_iter().chain(hidden).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

#[tokio::test(start_paused = true)]
async fn hidden_rows_put_the_end_of_a_feed_off_by_nothing() {
    for feed in ["continuous", "eventsource"] {
        for (timeout, end) in [
            ("500", 900),
            ("10", 10),
            ("0", 0),
            ("60000", 60_400),
            ("99999999", 60_400),
        ] {
            let parameters = format!("feed={feed}&timeout={timeout}");
            let alone = told(&parameters, script(feed, None)).await;
            assert_eq!(alone.last().unwrap().0, end, "{parameters}");
            for every in [50, 450, 30_000] {
                let beside = told(&parameters, script(feed, Some(every))).await;
                assert_eq!(beside, alone, "{parameters}, a hidden row every {every} ms");
            }
        }
        // Without one, a minute; and a heartbeat leaves none.
        let parameters = format!("feed={feed}");
        let alone = told(&parameters, script(feed, None)).await;
        assert_eq!(alone.last().unwrap().0, 60_400);
        assert_eq!(told(&parameters, script(feed, Some(300))).await, alone);
    }
}

#[tokio::test(start_paused = true)]
async fn hidden_rows_neither_quicken_nor_still_a_heart() {
    for parameters in [
        "feed=continuous&heartbeat=1000&timeout=500",
        "feed=eventsource&heartbeat=1000",
    ] {
        let kind = parameters.split(['=', '&']).nth(1).unwrap();
        let mut beats = Vec::new();
        for every in [None, Some(40), Some(1000)] {
            let mut rows = feed(parameters, script(kind, every));
            let begun = Instant::now();
            let mut told = Vec::new();
            let listening = async {
                while let Some(chunk) = rows.next().await.unwrap() {
                    told.push((begun.elapsed().as_millis(), chunk.len()));
                }
            };
            let ended = timeout(Duration::from_millis(5500), listening).await;
            assert!(ended.is_err(), "a feed with a heartbeat has no end");
            beats.push(told);
        }
        assert_eq!(beats[0].len(), 7, "{:?}", beats[0]);
        assert!(beats.iter().all(|told| *told == beats[0]), "{beats:?}");
    }
}
