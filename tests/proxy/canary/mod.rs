//! Canaries: secrets are planted everywhere, and no answer to anybody holds one that he may not see.
//!
//! `ground` plants them, each with its audience; `routes` makes the requests from the grammar's list of endpoints,
//! `words` says with what each is asked; `reading` finds all that can be read in an answer.

mod ground;
mod reading;
mod routes;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use serde_json::Value;

use self::ground::{CALLERS, Ground};

pub(crate) use self::ground::Names;
pub(crate) use self::routes::{Probe, endpoints, probes};
use crate::support::{Answer, Ask, Kept};

/// Leaks that are known and not closed yet: who, which endpoint, what. It must be empty.
const OPEN: &[(&str, &str, &str)] = &[];

/// How many connections each caller has.
const CONNECTIONS: usize = 2;

/// What was seen, by whom, of what.
#[derive(Default)]
struct Sightings {
    /// Who saw which canary anywhere.
    seen: BTreeSet<(&'static str, String)>,
    /// Who, at which endpoint, saw what he may not; with the first request that showed it.
    leaks: BTreeMap<(&'static str, &'static str, String), String>,
    /// Requests that nothing answered.
    silent: Vec<String>,
}

impl Sightings {
    fn look(
        &mut self,
        ground: &Ground,
        caller: &'static str,
        probe: &Probe,
        (answer, readings): (&Answer, &[Vec<u8>]),
    ) {
        let asked = format!("{:?}", probe.ask);
        if answer.status == 0 {
            self.silent.push(format!("{caller}: {asked}"));
        }
        for text in readings {
            for canary in ground.canaries.in_text(text) {
                self.seen.insert((caller, canary.text.clone()));
                // What the client has said himself, he may hear.
                if canary.audience.contains(&caller) || asked.contains(&canary.text) {
                    continue;
                }
                let leak = (caller, probe.kind, canary.what.clone());
                let body = String::from_utf8_lossy(&answer.body);
                let answered = format!("{} {:?} {body}", answer.status, answer.headers);
                let answered: String = answered.chars().take(2000).collect();
                self.leaks
                    .entry(leak)
                    .or_insert_with(|| format!("{asked}\n        {answered}"));
            }
        }
    }

    #[track_caller]
    fn assert_none(&self) {
        assert!(
            self.silent.is_empty(),
            "no answer to\n{}",
            self.silent.join("\n")
        );
        let open: BTreeSet<(&str, &str, String)> = OPEN
            .iter()
            .map(|(who, kind, what)| (*who, *kind, (*what).to_owned()))
            .collect();
        let found: BTreeSet<(&str, &str, String)> = self.leaks.keys().cloned().collect();
        let told: Vec<String> = self
            .leaks
            .iter()
            .map(|((who, kind, what), how)| format!("{who} sees {what} at {kind}\n    {how}"))
            .collect();
        assert_eq!(found, open, "\n{}", told.join("\n"));
    }
}

/// Sends the requests as one of the cast, on a few connections.
async fn ask_all(
    ground: &Arc<Ground>,
    caller: &'static str,
    probes: Vec<Probe>,
    sightings: &Arc<Mutex<Sightings>>,
) {
    let queue = Arc::new(Mutex::new(probes));
    let workers = (0..CONNECTIONS).map(|_| {
        let (ground, queue) = (Arc::clone(ground), Arc::clone(&queue));
        let sightings = Arc::clone(sightings);
        tokio::spawn(async move {
            let mut kept = Kept::new(&ground.callers[caller]);
            loop {
                let Some(probe) = queue.lock().unwrap().pop() else {
                    return;
                };
                let bound = Duration::from_secs(if probe.feed { 2 } else { 60 });
                let answer = kept.ask(&probe.ask, bound).await;
                let readings = reading::readings(&answer);
                let told = (&answer, readings.as_slice());
                sightings
                    .lock()
                    .unwrap()
                    .look(&ground, caller, &probe, told);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_shows_anybody_what_he_may_not_see() {
    let ground = Arc::new(Ground::plant().await);
    let sightings = Arc::new(Mutex::new(Sightings::default()));
    let mut all = probes(&ground.names);
    all.retain(|probe| !probe.writes);
    join_all(CALLERS.map(|caller| ask_all(&ground, caller, all.clone(), &sightings))).await;
    let sightings = sightings.lock().unwrap();
    sightings.assert_none();
    // A canary that nobody sees proves nothing: each was there to be found, and its audience found it.
    let unseen: Vec<String> = ground
        .canaries
        .all()
        .flat_map(|canary| canary.audience.iter().map(move |who| (*who, canary)))
        .filter(|(who, canary)| !sightings.seen.contains(&(*who, canary.text.clone())))
        .map(|(who, canary)| format!("{who} never sees {}", canary.what))
        .collect();
    assert!(unseen.is_empty(), "\n{}", unseen.join("\n"));
}

/// What is tried on documents, attachments, checkpoints and the server tells nothing, and what nobody of those who
/// try may write stays as it was.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_to_a_write_shows_what_the_writer_may_not_see() {
    let ground = Arc::new(Ground::plant().await);
    let sightings = Arc::new(Mutex::new(Sightings::default()));
    let before = others(&ground).await;
    let mut all = probes(&ground.names);
    all.retain(|probe| probe.writes);
    // Who may write comes last, so that all others meet everything.
    for caller in ["anonymous", "rita", "fay", "sue", "stan", "walt"] {
        ask_all(&ground, caller, all.clone(), &sightings).await;
    }
    let lists = [
        "_all_docs?include_docs=true",
        "_changes?style=all_docs&include_docs=true",
    ];
    for caller in CALLERS {
        let reads = lists.map(|list| look_at(&format!("/{}/{list}", ground.names.db)));
        ask_all(&ground, caller, reads.to_vec(), &sightings).await;
    }
    assert_eq!(others(&ground).await, before);
    let mut sightings = sightings.lock().unwrap();
    // Who has guessed an id may write under it, where nothing is alive; then others see what he wrote.
    sightings
        .leaks
        .retain(|(_, kind, what), _| *kind != AFTERWARDS || !what.starts_with("id of"));
    sightings.assert_none();
}

const AFTERWARDS: &str = "afterwards";

fn look_at(path: &str) -> Probe {
    Probe {
        kind: AFTERWARDS,
        ask: Ask {
            method: "GET",
            path: path.to_owned(),
            headers: Vec::new(),
            body: String::new(),
        },
        writes: false,
        feed: false,
    }
}

/// All leaves that live and that no writer of the cast may touch, as they are stored.
async fn others(ground: &Ground) -> Vec<Value> {
    let backend = ground.world.backend();
    let mut leaves = Vec::new();
    for id in ground.names.documents.keys() {
        let path = format!("/@vault/{id}?open_revs=all&revs=true");
        let answer = backend
            .ask("GET", &path, &[("accept", "application/json")], "")
            .await;
        let found = answer.yes();
        let rows = found.as_array().unwrap().iter().map(|row| &row["ok"]);
        leaves.extend(
            rows.filter(|leaf| leaf["team"] == "blue" && leaf["_deleted"] != true)
                .cloned(),
        );
    }
    leaves.sort_by_key(ToString::to_string);
    assert_eq!(leaves.len(), 4, "{leaves:?}");
    leaves
}

/// The net has no hole: a planted text that comes back in any coat is caught, and its audience is let through.
#[tokio::test(flavor = "multi_thread")]
async fn a_leak_is_noticed() {
    let ground = Ground::plant().await;
    let canaries: Vec<_> = ground.canaries.all().collect();
    assert!(canaries.len() > 60, "{}", canaries.len());
    for canary in canaries {
        let coats = [
            format!("{{\"x\":\"{}\"}}", canary.text),
            STANDARD.encode(format!("{{\"name\":\"{}\"}}", canary.text)),
            canary
                .text
                .bytes()
                .map(|byte| format!("%{byte:02x}"))
                .collect(),
        ];
        for body in coats {
            let answer = Answer {
                status: 200,
                headers: http::HeaderMap::new(),
                body: body.into(),
                cut: false,
            };
            let readings = reading::readings(&answer);
            let probe = look_at("/");
            for caller in CALLERS {
                let mut sightings = Sightings::default();
                sightings.look(&ground, caller, &probe, (&answer, &readings));
                let leaks =
                    sightings
                        .leaks
                        .contains_key(&(caller, AFTERWARDS, canary.what.clone()));
                let allowed = canary.audience.contains(&caller);
                assert_eq!(leaks, !allowed, "{caller}: {}", canary.what);
            }
        }
    }
}

/// Every template that the grammar knows, read from its source, is among the requests: a new route without a case
/// fails here, or does not compile in `routes`.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_route_is_asked() {
    let ground = Ground::plant().await;
    let asked: BTreeSet<&str> = probes(&ground.names)
        .iter()
        .map(|probe| probe.kind)
        .collect();
    let sources = [
        include_str!("../../../src/route/call.rs"),
        include_str!("../../../src/route/server.rs"),
        include_str!("../../../src/route/database.rs"),
        include_str!("../../../src/route/design.rs"),
        include_str!("../../../src/route/maintenance.rs"),
    ];
    let mut known = BTreeSet::new();
    for source in sources {
        let (_, kinds) = source.split_once("fn kind(").expect("each tells its kinds");
        let (kinds, _) = kinds.split_once("\n    }\n").unwrap();
        known.extend(
            kinds
                .split('"')
                .skip(1)
                .step_by(2)
                .filter(|text| text.starts_with('/')),
        );
        // `server.rs` has three.
        for more in source.split("fn kind(").skip(2) {
            let (kinds, _) = more.split_once("\n    }\n").unwrap();
            known.extend(
                kinds
                    .split('"')
                    .skip(1)
                    .step_by(2)
                    .filter(|text| text.starts_with('/')),
            );
        }
    }
    assert!(known.len() > 90, "{}", known.len());
    let forgotten: Vec<&&str> = known.difference(&asked).collect();
    assert!(forgotten.is_empty(), "no request for {forgotten:#?}");
}

/// Every parameter that the grammar reads into a type, read from its source, is among the requests.
#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_is_asked_with() {
    let ground = Ground::plant().await;
    let all = probes(&ground.names);
    let between = |source: &'static str, begin: &str, end: &str| -> BTreeSet<&'static str> {
        let (_, rest) = source.split_once(begin).unwrap();
        let (names, _) = rest.split_once(end).unwrap();
        // Arms of a match inside an arm stand further in.
        let indent = |line: &str| line.len() - line.trim_start().len();
        let arms = names
            .lines()
            .filter(|line| line.trim_start().starts_with('"'));
        let outer = arms.clone().map(indent).min();
        arms.filter(|line| Some(indent(line)) == outer)
            .filter_map(|line| line.split('"').nth(1))
            .collect()
    };
    let readers = [
        (
            "/{db}/{docid}",
            include_str!("../../../src/route/query/document.rs"),
            "match name {",
            "\n        }\n",
        ),
        (
            "/{db}/_changes",
            include_str!("../../../src/route/query/changes.rs"),
            "match canonical_of_changes(name).as_ref() {",
            "\n        }\n",
        ),
        (
            "/{db}/_design/{ddoc}/_view/{view}",
            include_str!("../../../src/route/query/view.rs"),
            "const NAMES",
            "];",
        ),
    ];
    for (kind, source, begin, end) in readers {
        let known = between(source, begin, end);
        assert!(known.len() > 10, "{kind}: {known:?}");
        let asked: BTreeSet<&str> = all
            .iter()
            .filter(|probe| probe.kind == kind)
            .filter_map(|probe| probe.ask.path.split_once('?'))
            .flat_map(|(_, query)| query.split('&'))
            .filter_map(|pair| pair.split('=').next())
            .collect();
        let forgotten: Vec<&&str> = known.difference(&asked).collect();
        assert!(
            forgotten.is_empty(),
            "{kind}: no request with {forgotten:?}"
        );
    }
}
