//! Rows come from an index, the documents that decide about them are read a moment later, and somebody writes in
//! between: no row is shown unless its document was visible all the time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Client, Fake, Seen, Step, World, chunked, plain};

const BY_PERMIT: &str = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "find", "view:d/v"]
documents = { kind = "open" }
"#;

const BY_FORBID: &str = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "find", "view:d/v"]

[[rule]]
name      = "closed"
databases = ["@notes"]
callers   = { everyone = true }
forbid    = ["read", "find", "view:d/*"]
documents = { kind = "shut" }
"#;

/// How many keys there are.
const KEYS: u64 = 12;

/// A version of a document.
#[derive(Debug, Clone, Copy)]
struct Version {
    /// No other one has it.
    n: u64,
    open: bool,
    key: u64,
}

impl Version {
    fn document(&self, id: &str) -> Value {
        let kind = if self.open { "open" } else { "shut" };
        json!({ "_id": id, "_rev": format!("{}-a", self.n), "kind": kind, "key": self.key, "n": self.n })
    }

    /// What the view makes of it: two rows alike, and one somewhere else.
    fn rows(&self, id: &str) -> Vec<(u64, String, Value)> {
        let row = |key: u64| (key, id.to_owned(), json!({ "n": self.n }));
        let other = KEYS + self.key * 5 % KEYS;
        vec![row(self.key), row(self.key), row(other)]
    }
}

/// A CouchDB in which somebody writes before and after each request is answered.
struct Model {
    random: u64,
    /// How many writes there are at most each time.
    busy: u64,
    seq: u64,
    documents: BTreeMap<String, Version>,
    changed: BTreeMap<String, u64>,
    /// Which versions were ever visible.
    open: HashSet<u64>,
    /// Which versions have been read as documents in the current answer.
    read: HashSet<u64>,
    /// How often rows have been asked for.
    asked: usize,
    /// What is written once rows have been answered: kind and key, or none for a deletion.
    later: Vec<(&'static str, Option<(bool, u64)>)>,
}

impl Model {
    fn new(seed: u64, busy: u64) -> Self {
        let mut model = Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            busy,
            seq: 0,
            documents: BTreeMap::new(),
            changed: BTreeMap::new(),
            open: HashSet::new(),
            read: HashSet::new(),
            asked: 0,
            later: Vec::new(),
        };
        for n in 0..8 {
            model.write(&format!("still-{n}"), Some(true));
            model.write(&format!("busy-{n}"), None);
        }
        model
    }

    /// Nobody writes but what is said: first these, and those once rows have been answered.
    fn quiet(
        documents: &[(&'static str, bool, u64)],
        later: &[(&'static str, Option<(bool, u64)>)],
    ) -> Self {
        let mut model = Self::new(1, 0);
        model.documents.clear();
        for (id, open, key) in documents {
            model.put(id, *open, *key);
        }
        model.later = later.to_vec();
        model
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 8) % below
    }

    fn write(&mut self, id: &str, open: Option<bool>) {
        let open = open.unwrap_or_else(|| self.draw(2) == 0);
        let key = self.draw(KEYS);
        self.put(id, open, key);
    }

    fn put(&mut self, id: &str, open: bool, key: u64) {
        self.seq += 1;
        let version = Version {
            n: self.seq,
            open,
            key,
        };
        if open {
            self.open.insert(version.n);
        }
        self.documents.insert(id.to_owned(), version);
        self.changed.insert(id.to_owned(), self.seq);
    }

    fn delete(&mut self, id: &str) {
        self.seq += 1;
        self.documents.remove(id);
        self.changed.insert(id.to_owned(), self.seq);
    }

    fn stir(&mut self) {
        for _ in 0..self.draw(self.busy + 1) {
            let id = format!("busy-{}", self.draw(8));
            match self.draw(6) {
                0 => self.delete(&id),
                _ => self.write(&id, None),
            }
        }
    }

    fn stir_sometimes(&mut self) {
        if self.draw(16) == 0 {
            self.stir();
        }
    }

    fn answer(&mut self, seen: &Seen) -> Vec<Step> {
        self.stir();
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let steps = match path {
            "/notes/_changes" => self.changes(&query),
            "/notes/_all_docs" => self.all_docs(&body),
            "/notes/_design/d" => plain(200, r#"{"_id":"_design/d","views":{"v":{"map":"code"}}}"#),
            "/notes/_design/d/_view/v" => self.view(&query, &body),
            "/notes/_find" => self.find(&body),
            _ => plain(404, r#"{"error":"not_found","reason":"missing"}"#),
        };
        self.stir();
        if path.ends_with("/v") || path.ends_with("/_find") {
            self.asked += 1;
            for (id, version) in std::mem::take(&mut self.later) {
                match version {
                    Some((open, key)) => self.put(id, open, key),
                    None => self.delete(id),
                }
            }
        }
        steps
    }

    fn changes(&self, query: &BTreeMap<String, String>) -> Vec<Step> {
        let since = match query["since"].as_str() {
            "now" => self.seq,
            since => since.split('-').next().unwrap().parse().unwrap(),
        };
        let changed = self.changed.iter().filter(|(_, seq)| **seq > since);
        let results: Vec<Value> = changed
            .map(|(id, seq)| json!({ "seq": format!("{seq}-x"), "id": id, "changes": [] }))
            .collect();
        let answer =
            json!({ "results": results, "last_seq": format!("{}-x", self.seq), "pending": 0 });
        plain(200, &answer.to_string())
    }

    fn all_docs(&mut self, body: &Value) -> Vec<Step> {
        let mut rows = Vec::new();
        for id in body["keys"].as_array().unwrap() {
            // One after the other.
            self.stir_sometimes();
            let id = id.as_str().unwrap();
            rows.push(match self.documents.get(id) {
                None => json!({ "key": id, "error": "not_found" }),
                Some(version) => {
                    self.read.insert(version.n);
                    let doc = version.document(id);
                    json!({ "id": id, "key": id, "value": { "rev": doc["_rev"] }, "doc": doc })
                }
            });
        }
        plain(200, &json!({ "rows": rows }).to_string())
    }

    fn view(&mut self, query: &BTreeMap<String, String>, body: &Value) -> Vec<Step> {
        let mut rows: Vec<_> = self
            .documents
            .iter()
            .flat_map(|(id, version)| version.rows(id))
            .collect();
        rows.sort_by_key(|(key, id, _)| (*key, id.clone()));
        let number = |name: &str| query.get(name).map(|text| text.parse::<u64>().unwrap());
        let descending = query.get("descending").is_some_and(|text| text == "true");
        if descending {
            rows.reverse();
        }
        let bound =
            |key: &str, id: &str| Some((number(key).or(number("key"))?, query.get(id).cloned()));
        let (start, end) = (
            bound("startkey", "startkey_docid"),
            bound("endkey", "endkey_docid"),
        );
        let (low, high) = if descending {
            (end, start)
        } else {
            (start, end)
        };
        rows.retain(|(key, id, _)| {
            low.as_ref().is_none_or(|(bound, from)| {
                key > bound || key == bound && from.as_ref().is_none_or(|from| id >= from)
            }) && high.as_ref().is_none_or(|(bound, to)| {
                key < bound || key == bound && to.as_ref().is_none_or(|to| id <= to)
            })
        });
        if let Some(keys) = body["keys"].as_array() {
            rows.retain(|(key, ..)| keys.contains(&json!(key)));
        }
        let skip = usize::try_from(number("skip").unwrap_or(0)).unwrap();
        let limit = number("limit").map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let with_docs = query.get("include_docs").is_some_and(|text| text == "true");
        let rows = rows.into_iter().skip(skip).take(limit);
        let rows: Vec<String> = rows
            .map(|(key, id, value)| {
                let mut row = json!({ "id": id, "key": key, "value": value });
                if with_docs {
                    self.stir_sometimes();
                    let doc = self.documents.get(&id).map(|version| version.document(&id));
                    row["doc"] = doc.into();
                }
                row.to_string()
            })
            .collect();
        let text = format!(
            "{{\"total_rows\":9,\"offset\":0,\"rows\":[\r\n{}\r\n]}}",
            rows.join(",\r\n")
        );
        chunked(text.as_bytes().chunks(100))
    }

    /// Sorted by `key`. Its bookmarks name the row behind which the next page begins.
    fn find(&mut self, body: &Value) -> Vec<Step> {
        let mut index: Vec<_> = self
            .documents
            .iter()
            .map(|(id, version)| (version.key, id.clone(), version.n))
            .collect();
        index.sort();
        let after = body["bookmark"].as_str().map(|text| {
            let (key, id) = text.split_once('/').unwrap();
            (key.parse::<u64>().unwrap(), id.to_owned())
        });
        index.retain(|(key, id, _)| {
            after
                .as_ref()
                .is_none_or(|after| (*key, id.clone()) > *after)
        });
        let number = |name: &str| usize::try_from(body[name].as_u64().unwrap()).unwrap();
        let (skip, limit) = (number("skip"), number("limit"));
        let page: Vec<_> = index.into_iter().skip(skip).take(limit).collect();
        let last = page
            .last()
            .map_or("nil".to_owned(), |(key, id, _)| format!("{key}/{id}"));
        let mut docs = Vec::new();
        for (_, id, n) in page {
            self.stir_sometimes();
            if let Some(version) = self.documents.get(&id) {
                if version.n == n {
                    self.read.insert(n);
                }
                docs.push(version.document(&id).to_string());
            }
        }
        let text = format!(
            "{{\"docs\":[\r\n{}\r\n],\r\n\"bookmark\":\"{last}\"}}",
            docs.join(",\r\n")
        );
        chunked(text.as_bytes().chunks(100))
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                plain.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 3;
            }
            byte => {
                plain.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap()
}

async fn before(model: Model, policies: &str) -> (World, Arc<Mutex<Model>>) {
    let model = Arc::new(Mutex::new(model));
    let told = Arc::clone(&model);
    let fake = Fake::start(move |seen| told.lock().unwrap().answer(seen)).await;
    let world = World::before(&fake, &policies.replace('@', ""), "").await;
    (world, model)
}

const VIEW: &str = "/notes/_design/d/_view/v";

/// Every kind of answer from a view, as lists of rows.
async fn views(rita: &Client, kind: usize) -> Vec<Value> {
    let keys = json!({ "keys": [1, 3, 5, 7, 14, 16] });
    let several =
        json!({ "queries": [{ "limit": 9 }, { "descending": true, "include_docs": true }] });
    let get = async |query: &str| rita.get(&format!("{VIEW}?{query}")).await;
    let answer: Answer = match kind {
        0 => get("").await,
        1 => get("include_docs=true").await,
        2 => get("limit=11&skip=3").await,
        3 => get("descending=true").await,
        4 => get("startkey=2&endkey=9&sorted=false").await,
        5 => get("descending=true&limit=14&include_docs=true").await,
        6 => rita.post(VIEW, keys).await,
        _ => {
            let answer = rita.post(&format!("{VIEW}/queries"), several).await.yes();
            let results = answer["results"].as_array().unwrap();
            let rows = results
                .iter()
                .map(|one| one["rows"].as_array().unwrap().clone());
            return rows.flatten().collect();
        }
    };
    answer.yes()["rows"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_shown_that_a_hidden_version_has_emitted() {
    let mut shown = [0; 3];
    for (seed, policies) in [BY_PERMIT, BY_FORBID].iter().cycle().take(6).enumerate() {
        let busy = 1 + seed as u64 / 2;
        let (world, model) = before(Model::new(seed as u64 + 1, busy), policies).await;
        let rita = world.as_("rita");
        for round in 0..40 {
            model.lock().unwrap().read.clear();
            let rows = views(&rita, round % 8).await;
            let model = model.lock().unwrap();
            for row in &rows {
                let n = row["value"]["n"].as_u64().unwrap();
                let what = format!("seed {seed}, round {round}: {row}");
                assert!(model.open.contains(&n), "a hidden version: {what}");
                assert!(model.read.contains(&n), "judged by another version: {what}");
                if let Some(doc) = row.get("doc").filter(|doc| !doc.is_null()) {
                    let n = doc["n"].as_u64().unwrap();
                    assert!(model.open.contains(&n), "a hidden document: {what}");
                }
                shown[usize::from(row["id"].as_str().unwrap().starts_with("busy"))] += 1;
            }
            if [0, 1, 3].contains(&(round % 8)) {
                // Whatever stands still is there, each row as often as it was emitted.
                let still = |row: &&Value| row["id"].as_str().unwrap().starts_with("still");
                assert_eq!(
                    rows.iter().filter(still).count(),
                    24,
                    "seed {seed}, round {round}"
                );
                shown[2] += 1;
            }
            let mut places: Vec<String> = rows
                .iter()
                .map(|row| format!("{} {}", row["id"], row["key"]))
                .collect();
            places.sort();
            let third = places.windows(5).any(|rows| rows.first() == rows.last());
            assert!(!third, "seed {seed}, round {round}: {places:?}");
        }
    }
    // Those that are written all the time are not simply left out.
    assert!(shown[1] > shown[0] / 20, "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_found_document_does_not_stand_where_a_hidden_version_stood() {
    let mut busy = 0;
    for (seed, policies) in [BY_PERMIT, BY_FORBID].iter().cycle().take(6).enumerate() {
        let (world, model) =
            before(Model::new(seed as u64 + 11, 1 + seed as u64 / 2), policies).await;
        let rita = world.as_("rita");
        for (round, limit) in [100, 5, 9, 100, 3].into_iter().cycle().take(30).enumerate() {
            model.lock().unwrap().read.clear();
            let query = json!({ "selector": { "key": { "$gte": 0 } }, "sort": ["key"], "limit": limit, "update": false });
            let found = rita.post("/notes/_find", query).await.yes();
            let docs = found["docs"].as_array().unwrap();
            let model = model.lock().unwrap();
            for doc in docs {
                let n = doc["n"].as_u64().unwrap();
                let what = format!("seed {seed}, round {round}: {doc}");
                assert!(model.open.contains(&n), "a hidden version: {what}");
                assert!(model.read.contains(&n), "found as another version: {what}");
                busy += u64::from(doc["_id"].as_str().unwrap().starts_with("busy"));
            }
            let keys: Vec<u64> = docs
                .iter()
                .map(|doc| doc["key"].as_u64().unwrap())
                .collect();
            assert!(keys.is_sorted(), "seed {seed}, round {round}: {keys:?}");
            let still = docs
                .iter()
                .filter(|doc| doc["_id"].as_str().unwrap().starts_with("still"));
            assert!(
                limit < 100 || still.count() == 8,
                "seed {seed}, round {round}: {docs:?}"
            );
        }
    }
    assert!(busy > 100, "{busy}");
}

/// What stands still, what is given, taken, moved, altered, ended, and what stays hidden.
const BEFORE: [(&str, bool, u64); 8] = [
    ("altered", true, 2),
    ("ended", true, 6),
    ("given", false, 3),
    ("given-moved", false, 4),
    ("hidden", false, 5),
    ("moved", true, 8),
    ("still", true, 1),
    ("taken", true, 7),
];
const LATER: [(&str, Option<(bool, u64)>); 7] = [
    ("altered", Some((true, 2))),
    ("ended", None),
    ("given", Some((true, 3))),
    ("given-moved", Some((true, 9))),
    ("hidden", Some((false, 6))),
    ("moved", Some((true, 0))),
    ("taken", Some((false, 7))),
];

/// Rows by id, key and version.
fn in_words(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| format!("{} {} {}", row["id"], row["key"], row["value"]["n"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_has_changed_is_asked_for_again() {
    for policies in [BY_PERMIT, BY_FORBID] {
        for query in ["", "include_docs=true", "limit=100", "sorted=false"] {
            let (world, model) = before(Model::quiet(&BEFORE, &LATER), policies).await;
            let answer = world.as_("rita").get(&format!("{VIEW}?{query}")).await;
            let n = |id: &str| model.lock().unwrap().documents[id].n;
            let row = |id: &str, key: u64| format!("\"{id}\" {key} {}", n(id));
            let (still, altered, given) = (row("still", 1), row("altered", 2), row("given", 3));
            let expected = [
                still.clone(),
                still,
                altered.clone(),
                altered,
                given.clone(),
                given,
                row("given", 15),
                row("still", 17),
                row("altered", 22),
            ];
            assert_eq!(in_words(&answer.yes()["rows"]), expected, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn found_documents_that_have_changed_are_looked_for_again() {
    for policies in [BY_PERMIT, BY_FORBID] {
        let (world, _) = before(Model::quiet(&BEFORE, &LATER), policies).await;
        let query = json!({ "selector": { "key": { "$gte": 0 } }, "sort": ["key"] });
        let found = world.as_("rita").post("/notes/_find", query).await;
        assert_eq!(found.ids(), "moved still altered given given-moved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_documents_are_not_asked_for_again() {
    let documents = [
        ("gone", false, 3),
        ("hidden", false, 5),
        ("still", true, 1),
        ("taken", true, 2),
    ];
    let later = [
        ("gone", None),
        ("hidden", Some((false, 5))),
        ("taken", Some((false, 2))),
    ];
    let find = json!({ "selector": { "key": { "$gte": 0 } } });
    for policies in [BY_PERMIT, BY_FORBID] {
        let (world, model) = before(Model::quiet(&documents, &later), policies).await;
        let rita = world.as_("rita");
        assert_eq!(rita.get(VIEW).await.ids(), "still still still");
        assert_eq!(model.lock().unwrap().asked, 1);
        model.lock().unwrap().later = vec![("hidden", Some((false, 6)))];
        assert_eq!(rita.post("/notes/_find", find.clone()).await.ids(), "still");
        assert_eq!(model.lock().unwrap().asked, 2);
    }
}

/// With hidden versions, and without them.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_versions_change_no_answer_from_a_view() {
    let hidden = [
        ("gone", false, 3),
        ("given", false, 4),
        ("hidden", false, 5),
    ];
    let still = [("still", true, 1), ("too", true, 5)];
    let given = ("given", Some((true, 9)));
    let with = [given, ("hidden", Some((false, 6))), ("gone", None)];
    for policies in [BY_PERMIT, BY_FORBID] {
        for query in ["", "include_docs=true", "limit=3", "descending=true&skip=1"] {
            let mut texts = Vec::new();
            for (before_it, later) in [
                ([&still[..], &hidden].concat(), &with[..]),
                (still.to_vec(), &[given]),
            ] {
                let mut model = Model::quiet(&before_it, later);
                // The same number for the same document.
                model.documents.get_mut("still").unwrap().n = 1;
                model.documents.get_mut("too").unwrap().n = 2;
                let (world, _) = before(model, policies).await;
                let answer = world.as_("rita").get(&format!("{VIEW}?{query}")).await;
                texts.push((answer.status, answer.text().to_owned()));
            }
            assert!(texts[0].1.contains("still"), "{}", texts[0].1);
            assert_eq!(texts[0], texts[1], "{query}");
        }
    }
}

/// Each page of CouchDB's goes on at the last row of the one before, which by then may have gone elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_row_that_moves_between_two_pages_takes_no_other_with_it() {
    let documents = [
        ("a", true, 1),
        ("hidden", false, 2),
        ("next", true, 3),
        ("then", true, 4),
    ];
    for moved in [None, Some((false, 0)), Some((false, 5))] {
        for policies in [BY_PERMIT, BY_FORBID] {
            for limit in 3..7 {
                let model = Model::quiet(&documents, &[("hidden", moved)]);
                let (world, _) = before(model, policies).await;
                let page = world
                    .as_("rita")
                    .get(&format!("{VIEW}?limit={limit}"))
                    .await;
                let ids = ["a", "a", "next", "next", "then", "then"];
                assert_eq!(page.ids(), ids[..limit].join(" "), "{limit} {moved:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_found_documents_leave_nothing_out() {
    let shut = ["a", "b", "f"].map(|id| (id, false, 1));
    let open = ["c", "d", "e", "g", "h", "i", "j", "k", "l", "m"].map(|id| (id, true, 1));
    let (world, _) = before(Model::quiet(&[&shut[..], &open].concat(), &[]), BY_PERMIT).await;
    let rita = world.as_("rita");
    for limit in 1..6 {
        let mut found = Vec::new();
        let mut query = json!({ "selector": { "key": 1 }, "limit": limit });
        loop {
            let page = rita.post("/notes/_find", query.clone()).await;
            if page.ids().is_empty() {
                break;
            }
            found.push(page.ids());
            query["bookmark"] = page.yes()["bookmark"].clone();
        }
        assert_eq!(found.join(" "), "c d e g h i j k l m", "pages of {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_tombstone_is_judged_by_that_tombstone() {
    let listed = AtomicBool::new(false);
    let fake = Fake::start(move |seen| {
        let first = !listed.swap(true, Ordering::SeqCst);
        match seen.target.split('?').next().unwrap() {
            "/notes/_all_docs" if first => plain(
                200,
                r#"{"rows":[{"id":"a","key":"a","value":{"rev":"2-b","deleted":true},"doc":null}]}"#,
            ),
            // It has been written again.
            "/notes/_all_docs" => plain(
                200,
                r#"{"rows":[{"id":"a","key":"a","value":{"rev":"3-c"},"doc":{"_id":"a","_rev":"3-c","kind":"open"}}]}"#,
            ),
            _ => plain(
                200,
                r#"{"results":[{"id":"a","docs":[{"ok":{"_id":"a","_rev":"2-b","_deleted":true,"kind":"shut"}}]}]}"#,
            ),
        }
    })
    .await;
    let world = World::before(&fake, &BY_PERMIT.replace('@', ""), "").await;
    let keys = json!({ "keys": ["a"] });
    let told = world.as_("rita").post("/notes/_all_docs", keys).await.yes();
    assert_eq!(told["rows"], json!([{ "key": "a", "error": "not_found" }]));
}

/// How many documents there are, and for how many seconds they are written: `just moments` takes more of both.
#[expect(
    clippy::disallowed_methods,
    reason = "no configuration file is read by a test"
)]
fn measure(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[derive(Default)]
struct Told {
    rows: usize,
    hidden: usize,
    answers: usize,
}

impl Told {
    fn line(&mut self, line: &str) {
        self.rows += usize::from(line.contains("open-"));
        self.hidden += usize::from(line.contains("shut-"));
    }
}

/// Writes some documents at a time, each of which becomes visible that was hidden, or hidden that was visible; says how
/// many.
async fn write(backend: Client, db: String, plan: Plan) -> usize {
    let (mut written, mut model) = (0, Model::new(7, 0));
    let mut turned: HashMap<u64, bool> = HashMap::new();
    let all = backend.get(&format!("/{db}/_all_docs")).await.yes();
    let rows = all["rows"].as_array().unwrap().iter();
    let mut revs: BTreeMap<String, Value> = rows
        .map(|row| {
            (
                row["id"].as_str().unwrap().to_owned(),
                row["value"]["rev"].clone(),
            )
        })
        .collect();
    while Instant::now() < plan.until {
        let numbers = (0..plan.at_once).map(|_| model.draw(plan.count));
        let numbers: HashSet<u64> = numbers.collect();
        let mut docs = Vec::new();
        for n in numbers {
            let turned = turned.entry(n).or_default();
            *turned = !*turned;
            let mut doc = plan.note(n, *turned);
            doc["_rev"] = revs[doc["_id"].as_str().unwrap()].clone();
            docs.push(doc);
        }
        let path = format!("/{db}/_bulk_docs");
        let stored = backend.post(&path, json!({ "docs": docs })).await.yes();
        for row in stored.as_array().unwrap() {
            revs.insert(row["id"].as_str().unwrap().to_owned(), row["rev"].clone());
            written += 1;
        }
        plan.written.store(written, Ordering::SeqCst);
    }
    plan.written.store(usize::MAX, Ordering::SeqCst);
    written
}

/// What everybody does.
#[derive(Clone)]
struct Plan {
    count: u64,
    at_once: usize,
    bytes: usize,
    until: Instant,
    written: Arc<AtomicUsize>,
}

impl Plan {
    /// Every second one is hidden, until it is turned.
    fn note(&self, n: u64, turned: bool) -> Value {
        let hidden = n.is_multiple_of(2) != turned;
        let kind = if hidden { "shut" } else { "open" };
        let secret = format!("{kind}-{}", "x".repeat(self.bytes));
        json!({ "_id": format!("note-{n:06}"), "n": n, "kind": kind, "secret": secret })
    }

    /// Waits until more has been written.
    async fn wait(&self) {
        let before = self.written.load(Ordering::SeqCst);
        while self.written.load(Ordering::SeqCst) < before.saturating_add(200) {
            if self.written.load(Ordering::SeqCst) == usize::MAX {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn read(reader: Client, slow: bool, plan: Plan) -> Told {
    let mut told = Told::default();
    let queries = [
        "",
        "?include_docs=true",
        "?descending=true&sorted=false",
        "?limit=60&skip=5",
    ];
    for query in queries.iter().cycle() {
        if Instant::now() >= plan.until {
            break;
        }
        let mut feed = reader
            .feed(&format!("/@notes/_design/d/_view/v{query}"))
            .await;
        assert_eq!(feed.status, 200);
        let mut last = String::new();
        for at in 1.. {
            let Some(line) = feed.line().await else { break };
            if slow && at % (plan.count / 4) == 1 {
                plan.wait().await;
            }
            told.line(&line);
            last = line;
        }
        assert_eq!(last, "]}", "{query} was cut");
        let find = json!({ "selector": { "n": { "$gte": 0 } }, "limit": 40 });
        let found = reader.post("/@notes/_find", find).await;
        found.text().lines().for_each(|line| told.line(line));
        told.answers += 2;
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hidden_version_is_shown_while_all_is_written() {
    let rules = r#"
[[rule]]
name = "reader"
databases = ["@notes"]
callers = { names = ["$rita"] }
permit = ["read", "find", "view:d/v"]
documents = { kind = "open" }
[[rule]]
name = "writer"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["read", "find", "view:d/v"]
[[rule]]
name = "closed"
databases = ["@notes"]
callers = { names = ["$walt"] }
forbid = ["read", "find", "view:d/v"]
documents = { kind = "shut" }
"#;
    let count = measure("MOMENTS_ROWS", 500) as u64;
    let seconds = measure("MOMENTS_SECONDS", 2) as u64;
    let world = World::start(rules).await;
    world
        .database(
            "notes",
            json!([{ "_id": "_design/d", "views": { "v": {
        "map": "function (doc) { if (doc.secret) emit(doc.n, doc.secret); }" } } }]),
        )
        .await;
    let mut plan = Plan {
        count,
        at_once: measure("MOMENTS_AT_ONCE", 50),
        bytes: measure("MOMENTS_BYTES", 4000),
        until: Instant::now(),
        written: Arc::default(),
    };
    for first in (0..count).step_by(1000) {
        let some = first..(first + 1000).min(count);
        let docs = some.map(|n| plan.note(n, false)).collect();
        world.fill("notes", Value::Array(docs)).await;
    }
    let one = "/@notes/_design/d/_view/v?limit=1";
    world.as_("rita").get(one).await.yes();
    plan.until = Instant::now() + Duration::from_secs(seconds);
    let writer = tokio::spawn(write(world.backend(), world.db("notes"), plan.clone()));
    let readers: Vec<_> = ["rita", "walt"]
        .into_iter()
        .flat_map(|name| [false, true].map(|slow| (world.as_(name), slow)))
        .map(|(reader, slow)| tokio::spawn(read(reader, slow, plan.clone())))
        .collect();
    let mut told = Told::default();
    for reader in readers {
        let read = reader.await.unwrap();
        told.rows += read.rows;
        told.hidden += read.hidden;
        told.answers += read.answers;
    }
    let written = writer.await.unwrap();
    let said = format!(
        "{written} changes of sight in {seconds} s; {} rows of {} answers, {} of hidden versions",
        told.rows, told.answers, told.hidden
    );
    assert!(told.hidden == 0 && told.rows > 0 && written > 0, "{said}");
    tell(&said);
}

#[expect(clippy::print_stderr, reason = "what was measured")]
fn tell(text: &str) {
    eprintln!("{text}");
}
