//! One round: a real database and its twins are filled, and each request is asked of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use futures_util::{StreamExt as _, future::join_all};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::compare::{Case, Told};
use super::data::{Data, Document};
use super::model::{INDEXES, TWINS, Twin, designs, everything, in_batches};
use super::requests::{Request, Shape};
use super::rules::Rules;
use crate::support::{Answer, Client, World, backend};

/// More pages than any answer here has.
const PAGES: usize = 60;
/// Between two hidden writes.
const PAUSE: Duration = Duration::from_millis(60);
/// Fewer than make CouchDB compact the database, which would take the bodies of earlier revisions.
const WRITES: usize = 50;

#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) data: Data,
    pub(super) rules: Rules,
    pub(super) requests: Vec<Request>,
    /// What somebody writes meanwhile: documents that the caller may not see.
    pub(super) hidden: Vec<Value>,
}

/// What came of a round.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) found: Vec<Difference>,
    /// How often each listed difference was met.
    pub(super) listed: BTreeMap<&'static str, usize>,
}

/// A request whose answer is not the twin's.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    pub(super) request: Request,
    pub(super) told: String,
    /// The statuses of both answers.
    pub(super) statuses: (u16, u16),
}

impl Difference {
    /// What a finding is told apart by from others.
    pub(super) fn kind(&self) -> String {
        let (got, wanted) = self.statuses;
        format!(
            "<{} {} {got} {wanted}>",
            self.request.method, self.request.endpoint
        )
    }
}

pub(super) async fn run(round: &Round) -> Outcome {
    let world = World::plain(&round.rules.text()).await;
    fill(&world, round).await;
    let turn = Arc::new(Mutex::new(()));
    let writer = write(world.backend(), round.hidden.clone(), Arc::clone(&turn));
    let writer = tokio::spawn(writer);
    let asking = Asking {
        round,
        caller: world.as_("rita"),
        keeper: world.as_("ops"),
        administrator: world.backend(),
        turn: &turn,
    };
    let (last, first): (Vec<&Request>, Vec<&Request>) =
        (round.requests.iter()).partition(|request| request.endpoint == "_purge");
    let answers = stream::iter(first).map(|request| asking.compare(request));
    let mut compared: Vec<_> = answers.buffered(at_once()).collect().await;
    // What takes documents away comes last, one after the other.
    for request in last {
        compared.push(Box::pin(asking.compare(request)).await);
    }
    let mut outcome = Outcome::default();
    for compared in compared {
        match compared {
            Ok(listed) => {
                for name in listed {
                    *outcome.listed.entry(name).or_default() += 1;
                }
            }
            Err(difference) => outcome.found.push(difference),
        }
    }
    writer.abort();
    let _ = writer.await;
    outcome
}

/// Requests at a time.
fn at_once() -> usize {
    if backend().is_couchdb() { 6 } else { 1 }
}

/// Who asks what of whom.
struct Asking<'r> {
    round: &'r Round,
    caller: Client,
    /// An administrator of couchwarden.
    keeper: Client,
    /// One of CouchDB's, past couchwarden.
    administrator: Client,
    turn: &'r Mutex<()>,
}

impl Asking<'_> {
    /// CouchDB lets nobody purge but its administrators, whatever rules say.
    fn caller_of(&self, request: &Request) -> &Client {
        match request.endpoint {
            "_purge" => &self.keeper,
            _ => &self.caller,
        }
    }

    /// The listed differences between both answers, or what else differs.
    async fn compare(&self, request: &Request) -> Result<Vec<&'static str>, Difference> {
        // A bookmark of the embedded server counts documents, so whatever is written between two pages moves them.
        let counts = request.endpoint == "_find" && !backend().is_couchdb();
        let _quiet = if counts {
            Some(self.turn.lock().await)
        } else {
            None
        };
        let (got, wanted) = tokio::join!(
            ask(self.caller_of(request), "real", request),
            ask(&self.administrator, request.twin.name(), request)
        );
        let fails = got.status == 502 && {
            let own = ask(&self.administrator, "real", request).await;
            own.status == 500
        };
        let case = Case {
            request,
            data: &self.round.data,
            rules: &self.round.rules,
            fails,
        };
        let compared = case.compare(&got, &wanted);
        let reason = got
            .json
            .get("reason")
            .map_or_else(String::new, Value::to_string);
        compared.map_err(|told| Difference {
            request: request.clone(),
            told: format!("{told} {reason}"),
            statuses: (got.status, wanted.status),
        })
    }
}

/// Writes hidden documents again and again, in all ways, each when it is its turn.
async fn write(backend: Client, hidden: Vec<Value>, turn: Arc<Mutex<()>>) {
    for (at, row) in hidden.iter().cycle().take(WRITES).enumerate() {
        let written = turn.lock().await;
        let mut row = row.clone();
        let id = super::requests::encode(row["_id"].as_str().unwrap());
        let path = format!("/@real/{id}");
        let stored = backend.get(&path).await;
        if stored.status == 200 {
            let rev = stored.json()["_rev"].as_str().unwrap().to_owned();
            if at % 5 == 4 {
                backend.delete(&format!("{path}?rev={rev}")).await;
                continue;
            }
            row["_rev"] = json!(rev);
        }
        backend.put(&path, row).await;
        drop(written);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn fill(world: &World, round: &Round) {
    let backend = world.backend();
    let store = async |db: &str, rows: Vec<Value>| {
        let batch = json!({ "new_edits": false, "docs": rows });
        let stored = backend.post(&format!("/@{db}/_bulk_docs"), batch).await;
        assert_eq!(stored.yes(), json!([]), "{db}");
    };
    let partitioned = round.data.partitioned;
    let query = |asked: bool| if asked { "&partitioned=true" } else { "" };
    world
        .database_with(
            "real",
            query(partitioned),
            json!(designs(partitioned, None)),
        )
        .await;
    for rows in in_batches(&everything(&round.data)) {
        store("real", rows).await;
    }
    if crate::support::backend().is_couchdb() {
        for index in INDEXES {
            let definition = index.definition();
            backend.post("/@real/_index", definition).await.yes();
        }
    }
    // A feed tells the documents in the order in which they changed last.
    let feed = backend.get("/@real/_changes").await;
    let documents: BTreeMap<&str, &Document> = round
        .data
        .documents
        .iter()
        .map(|document| (document.id.as_str(), document))
        .collect();
    let asked = |twin: &Twin| round.requests.iter().any(|request| request.twin == *twin);
    let ids = feed.column("id");
    let twins = TWINS.into_iter().filter(asked).map(async |twin| {
        let code = match twin.runs_code() {
            true => designs(partitioned, round.rules.pin.as_deref()),
            false => Vec::new(),
        };
        world
            .database_with(twin.name(), query(partitioned), json!(code))
            .await;
        let shown = ids
            .iter()
            .filter_map(|id| documents.get(id.as_str().unwrap()))
            .map(|document| twin.rows(document, &round.rules));
        let mut shown: Vec<Vec<Value>> = shown.filter(|rows| !rows.is_empty()).collect();
        let last: Vec<Value> = shown.iter_mut().filter_map(Vec::pop).collect();
        for rows in in_batches(&shown) {
            store(twin.name(), rows).await;
        }
        match feeds(round, twin) {
            true => {
                for row in last {
                    store(twin.name(), vec![row]).await;
                }
            }
            false => store(twin.name(), last).await,
        }
        let couchdb = crate::support::backend().is_couchdb();
        for index in INDEXES.into_iter().filter(|_| couchdb) {
            let open = match twin {
                Twin::Indexed => index.is_open(&round.rules),
                Twin::Pinned => true,
                Twin::Leaves | Twin::Winners | Twin::Whole => false,
            };
            if open {
                let path = format!("/@{}/_index", twin.name());
                backend.post(&path, index.definition()).await.yes();
            }
        }
        if couchdb && twin.runs_code() {
            for db in ["real", twin.name()] {
                let view = format!("/@{db}/_design/app/_view/by_n?limit=0");
                backend.get(&view).await.yes();
            }
        }
    });
    join_all(twins).await;
}

/// Does the order count in which documents are written?
fn feeds(round: &Round, twin: Twin) -> bool {
    let mut requests = round.requests.iter();
    requests.any(|request| request.twin == twin && request.endpoint == "_changes")
}

/// Asks, page after page where the answer comes in pages.
async fn ask(client: &Client, db: &str, request: &Request) -> Told {
    let mut request = request.clone();
    let mut all: Option<Told> = None;
    for _ in 0..PAGES {
        let answer = once(client, db, &request, None).await;
        let told = Told::of(&answer, request.shape);
        let rows = match request.shape {
            Shape::Plain | Shape::Unordered | Shape::Lines | Shape::Events | Shape::Bytes => {
                return told;
            }
            Shape::Tagged => {
                let Some(tag) = answer.header("etag") else {
                    return told;
                };
                let again = once(client, db, &request, Some(tag)).await;
                return told.with("again", json!(again.status));
            }
            Shape::Pages => "docs",
            Shape::Feed => "results",
            Shape::Walk => "rows",
        };
        let page = told.json.clone();
        let whole = match all.take() {
            None => told,
            Some(whole) => whole.with_page(told, rows),
        };
        let last = page[rows].as_array().and_then(|rows| rows.last());
        if whole.status != 200 || whole.cut {
            return whole;
        }
        let Some(last) = last else { return whole };
        match request.shape {
            Shape::Feed => {
                request.query.retain(|(name, _)| *name != "since");
                let since = page["last_seq"]
                    .as_str()
                    .map_or_else(|| page["last_seq"].to_string(), str::to_owned);
                request.query.push(("since", since));
            }
            Shape::Walk => {
                let taken = ["startkey", "startkey_docid", "skip"];
                request.query.retain(|(name, _)| !taken.contains(name));
                let id = last["id"].as_str().unwrap_or_default().to_owned();
                request.query.push(("startkey", last["key"].to_string()));
                request.query.push(("startkey_docid", id));
                request.query.push(("skip", "1".to_owned()));
            }
            Shape::Pages => {
                request.body.as_mut().unwrap()["bookmark"] = page["bookmark"].clone();
            }
            Shape::Plain
            | Shape::Unordered
            | Shape::Lines
            | Shape::Events
            | Shape::Bytes
            | Shape::Tagged => {}
        }
        all = Some(whole);
    }
    // Two rows of one document under one key lead such a walk back to the first of them, in CouchDB too.
    match (request.shape, all) {
        (Shape::Walk, Some(all)) => all,
        _ => panic!("pages without end: {request:?}"),
    }
}

async fn once(client: &Client, db: &str, request: &Request, tag: Option<&str>) -> Answer {
    let path = format!("/@{db}{}", request.target());
    let mut headers = request.headers.clone();
    let body = match &request.body {
        Some(body) => {
            headers.push(("content-type", "application/json"));
            body.to_string()
        }
        None => String::new(),
    };
    headers.extend(tag.map(|tag| ("if-none-match", tag)));
    client.ask(request.method, &path, &headers, body).await
}
