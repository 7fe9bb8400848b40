//! One round: a real database and its twins are filled, and each request is asked of both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::compare::{self, Told};
use super::data::{Data, Document};
use super::model::{TWINS, Twin, design, everything};
use super::requests::{Request, Shape};
use super::rules::Rules;
use crate::support::{Client, World};

/// More pages than any answer here has.
const PAGES: usize = 60;

#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) data: Data,
    pub(super) rules: Rules,
    pub(super) requests: Vec<Request>,
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

pub(super) async fn run(round: &Round) -> Vec<Difference> {
    let world = World::plain(&round.rules.text()).await;
    fill(&world, round).await;
    let (caller, administrator) = (world.as_("rita"), world.backend());
    let mut found = Vec::new();
    for request in &round.requests {
        let got = ask(&caller, "real", request).await;
        let wanted = ask(&administrator, request.twin.name(), request).await;
        if let Some(told) = compare::difference(request, (&round.data, &round.rules), &got, &wanted)
        {
            let request = request.clone();
            let statuses = (got.status, wanted.status);
            found.push(Difference {
                request,
                told,
                statuses,
            });
        }
    }
    found
}

async fn fill(world: &World, round: &Round) {
    let backend = world.backend();
    let store = async |db: &str, rows: Vec<Value>| {
        let batch = json!({ "new_edits": false, "docs": rows });
        let stored = backend.post(&format!("/@{db}/_bulk_docs"), batch).await;
        assert_eq!(stored.yes(), json!([]), "{db}");
    };
    world.database("real", json!([design(None)])).await;
    for row in everything(&round.data) {
        store("real", vec![row]).await;
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
    for twin in TWINS.into_iter().filter(asked) {
        let code = design(round.rules.pin.as_deref());
        let first = if twin.runs_code() {
            json!([code])
        } else {
            json!([])
        };
        world.database(twin.name(), first).await;
        for id in feed.column("id") {
            let Some(document) = documents.get(id.as_str().unwrap()) else {
                continue;
            };
            let rows = twin.rows(document, &round.rules);
            if !rows.is_empty() {
                store(twin.name(), rows).await;
            }
        }
    }
}

/// Asks, page after page where the answer comes in pages.
async fn ask(client: &Client, db: &str, request: &Request) -> Told {
    let mut request = request.clone();
    let mut all: Option<Told> = None;
    for _ in 0..PAGES {
        let path = format!("/@{db}{}", request.target());
        let answer = match &request.body {
            Some(body) => client.send(request.method, &path, body.clone()).await,
            None => client.get(&path).await,
        };
        let told = Told::of(&answer);
        let (rows, next) = match request.shape {
            Shape::Plain | Shape::Unordered => return told,
            Shape::Pages => ("docs", "bookmark"),
            Shape::Feed => ("results", "last_seq"),
        };
        let page = told.json.clone();
        let whole = match all.take() {
            None => told,
            Some(whole) => whole.with_page(told, rows),
        };
        let count = page[rows].as_array().map_or(0, Vec::len);
        if whole.status != 200 || count == 0 {
            return whole;
        }
        match request.shape {
            Shape::Feed => {
                request.query.retain(|(name, _)| *name != "since");
                let since = page[next]
                    .as_str()
                    .map_or_else(|| page[next].to_string(), str::to_owned);
                request.query.push(("since", since));
            }
            Shape::Pages | Shape::Plain | Shape::Unordered => {
                request.body.as_mut().unwrap()[next] = page[next].clone();
            }
        }
        all = Some(whole);
    }
    panic!("pages without end: {request:?}");
}
