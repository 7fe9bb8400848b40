//! Requests drawn at random: each endpoint that reads, its parameters alone and together.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::{Value, json};

use super::data::{Data, IDS};
use super::model::Twin;
use super::rules::Rules;

/// How answers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As it is.
    Plain,
    /// Rows in an order that CouchDB does not promise.
    Unordered,
    /// `_find` from bookmark to bookmark, put together.
    Pages,
    /// `_changes` from `last_seq` to `last_seq`, put together.
    Feed,
}

/// One request; the same for couchwarden and for the twin.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) endpoint: &'static str,
    pub(super) method: &'static str,
    /// Behind the name of the database.
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    pub(super) twin: Twin,
    pub(super) shape: Shape,
}

impl Request {
    fn get(endpoint: &'static str, path: &str, twin: Twin) -> Self {
        Self {
            endpoint,
            method: "GET",
            path: path.to_owned(),
            query: Vec::new(),
            body: None,
            twin,
            shape: Shape::Plain,
        }
    }

    fn post(endpoint: &'static str, path: &str, body: Value, twin: Twin) -> Self {
        Self {
            method: "POST",
            body: Some(body),
            ..Self::get(endpoint, path, twin)
        }
    }

    /// Does a filter choose some of the leaves of a document?
    pub(super) fn chooses_leaves(&self) -> bool {
        let has = |name: &str, wanted: fn(&str) -> bool| {
            let mut query = self.query.iter();
            query.any(|(other, value)| *other == name && wanted(value))
        };
        has("style", |style| style == "all_docs") && has("filter", |filter| filter != "_doc_ids")
    }

    /// Path and query behind the name of the database.
    pub(super) fn target(&self) -> String {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        if query.is_empty() {
            return self.path.clone();
        }
        format!("{}?{}", self.path, query.join("&"))
    }

    /// The same with a parameter or a member of the body less.
    pub(super) fn simpler(&self) -> Vec<Self> {
        let mut all = Vec::new();
        // What these choose between, the model answers from different twins.
        let kept = ["style", "rev", "open_revs"];
        for at in 0..self.query.len() {
            let mut less = self.clone();
            if !kept.contains(&less.query.remove(at).0) {
                all.push(less);
            }
        }
        if let Some(Value::Object(members)) = &self.body {
            for (name, value) in members {
                let mut less = members.clone();
                if name != "selector" && name != "docs" {
                    less.remove(name);
                    all.push(Self {
                        body: Some(Value::Object(less.clone())),
                        ..self.clone()
                    });
                }
                if let Value::Array(elements) = value {
                    for at in 0..elements.len() {
                        let mut shorter = elements.clone();
                        shorter.remove(at);
                        let mut less = members.clone();
                        less.insert(name.clone(), Value::Array(shorter));
                        all.push(Self {
                            body: Some(Value::Object(less)),
                            ..self.clone()
                        });
                    }
                }
            }
        }
        all
    }

    pub(super) fn draw(random: &mut Rng, data: &Data, rules: &Rules) -> Self {
        match random.u32(0..20) {
            0..3 => list(random, data),
            3 => queries(random, data),
            4..7 => document(random, data),
            7 => attachment(random, data),
            8 => bulk_get(random, data),
            9 => diff(random, data),
            10..13 => changes(random, data, rules),
            13..16 => find(random, rules),
            _ => view(random, data, rules),
        }
    }
}

/// Everything but letters and digits as `%XX`.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn pick<'v, T>(random: &mut Rng, of: &'v [T]) -> &'v T {
    &of[random.usize(0..of.len())]
}

fn some(random: &mut Rng) -> bool {
    random.u32(0..4) == 0
}

/// Mostly one that is stored.
fn id(random: &mut Rng, data: &Data) -> String {
    match random.u32(0..6) {
        0 => (*pick(random, &IDS)).to_owned(),
        _ if data.documents.is_empty() => "a".to_owned(),
        _ => pick(random, &data.documents).id.clone(),
    }
}

/// A leaf's revision, mostly of this document.
fn rev(random: &mut Rng, data: &Data, id: &str) -> String {
    let document = data.documents.iter().find(|document| document.id == id);
    match document {
        Some(document) if random.u32(0..5) > 0 && !document.leaves.is_empty() => {
            pick(random, &document.leaves).rev().to_owned()
        }
        Some(_) | None => "3-00000000000000000000000000000000".to_owned(),
    }
}

fn ids(random: &mut Rng, data: &Data) -> Vec<String> {
    (0..random.usize(0..6)).map(|_| id(random, data)).collect()
}

type Query = Vec<(&'static str, String)>;

fn flags(random: &mut Rng, query: &mut Query, names: &[&'static str]) {
    for name in names {
        if some(random) {
            query.push((
                name,
                if random.u32(0..6) == 0 {
                    "false"
                } else {
                    "true"
                }
                .to_owned(),
            ));
        }
    }
}

fn window(random: &mut Rng, query: &mut Query) {
    if some(random) {
        query.push(("limit", random.u32(0..6).to_string()));
    }
    if some(random) {
        query.push(("skip", random.u32(0..4).to_string()));
    }
}

fn list(random: &mut Rng, data: &Data) -> Request {
    let mut request = Request::get("_all_docs", "/_all_docs", Twin::Winners);
    let query = &mut request.query;
    flags(random, query, &["include_docs", "descending"]);
    if query
        .iter()
        .any(|(name, value)| *name == "include_docs" && value == "true")
    {
        flags(
            random,
            query,
            &["conflicts", "attachments", "att_encoding_info"],
        );
    }
    window(random, query);
    match random.u32(0..6) {
        0 => query.push(("keys", json!(ids(random, data)).to_string())),
        1 => {
            let keys = ids(random, data);
            request = Request {
                method: "POST",
                body: Some(json!({ "keys": keys })),
                ..request
            };
        }
        2 => query.push(("key", json!(id(random, data)).to_string())),
        _ => {
            flags(random, query, &["inclusive_end"]);
            if random.bool() {
                let name = if random.bool() {
                    "startkey"
                } else {
                    "start_key"
                };
                query.push((name, json!(id(random, data)).to_string()));
            }
            if random.bool() {
                query.push((
                    if random.bool() { "endkey" } else { "end_key" },
                    json!(id(random, data)).to_string(),
                ));
            }
        }
    }
    request
}

fn queries(random: &mut Rng, data: &Data) -> Request {
    let one = |random: &mut Rng| match random.u32(0..4) {
        0 => json!({ "keys": ids(random, data) }),
        1 => json!({ "startkey": id(random, data), "include_docs": true }),
        2 => json!({ "limit": random.u32(0..4), "descending": true }),
        _ => json!({ "key": id(random, data) }),
    };
    let all: Vec<Value> = (0..random.usize(1..4)).map(|_| one(random)).collect();
    Request::post(
        "_all_docs/queries",
        "/_all_docs/queries",
        json!({ "queries": all }),
        Twin::Winners,
    )
}

fn document(random: &mut Rng, data: &Data) -> Request {
    let id = id(random, data);
    let path = format!("/{}", encode(&id));
    match random.u32(0..4) {
        0 => {
            let mut request = Request::get("document open_revs", &path, Twin::Leaves);
            let revs: Vec<String> = (0..random.usize(1..4))
                .map(|_| rev(random, data, &id))
                .collect();
            let named = if random.bool() {
                "all".to_owned()
            } else {
                json!(revs).to_string()
            };
            request.query.push(("open_revs", named));
            flags(
                random,
                &mut request.query,
                &["revs", "attachments", "latest"],
            );
            request.shape = Shape::Unordered;
            request
        }
        1 => {
            let mut request = Request::get("document rev", &path, Twin::Leaves);
            request.query.push(("rev", rev(random, data, &id)));
            flags(
                random,
                &mut request.query,
                &["revs", "attachments", "latest", "att_encoding_info"],
            );
            request
        }
        _ => {
            let mut request = Request::get("document", &path, Twin::Winners);
            let names = [
                "revs",
                "conflicts",
                "deleted_conflicts",
                "attachments",
                "att_encoding_info",
                "meta",
            ];
            flags(random, &mut request.query, &names);
            request
        }
    }
}

fn attachment(random: &mut Rng, data: &Data) -> Request {
    let id = id(random, data);
    let name = pick(random, &["note.txt", "pic/1.png", "secret.bin"]);
    let path = format!("/{}/{name}", encode(&id));
    let mut request = Request::get("attachment", &path, Twin::Winners);
    if random.bool() {
        request.query.push(("rev", rev(random, data, &id)));
        request.twin = Twin::Leaves;
    }
    request
}

fn bulk_get(random: &mut Rng, data: &Data) -> Request {
    let one = |random: &mut Rng| {
        let id = id(random, data);
        let rev = rev(random, data, &id);
        json!({ "id": id, "rev": rev })
    };
    let docs: Vec<Value> = (0..random.usize(0..5)).map(|_| one(random)).collect();
    let mut request = Request::post(
        "_bulk_get",
        "/_bulk_get",
        json!({ "docs": docs }),
        Twin::Leaves,
    );
    flags(
        random,
        &mut request.query,
        &["revs", "attachments", "latest"],
    );
    request
}

fn diff(random: &mut Rng, data: &Data) -> Request {
    let mut asked = serde_json::Map::new();
    for _ in 0..random.usize(0..5) {
        let id = id(random, data);
        // CouchDB calls a revision missing that is stored and asked for twice.
        let revs: BTreeSet<String> = (0..random.usize(0..3))
            .map(|_| rev(random, data, &id))
            .collect();
        asked.insert(id, json!(revs));
    }
    let endpoint = if random.bool() {
        "_revs_diff"
    } else {
        "_missing_revs"
    };
    Request::post(
        endpoint,
        &format!("/{endpoint}"),
        Value::Object(asked),
        Twin::Leaves,
    )
}

fn changes(random: &mut Rng, data: &Data, rules: &Rules) -> Request {
    let mut request = Request::get("_changes", "/_changes", Twin::Leaves);
    // By default a row is about the winner; by this style about every leaf.
    if random.u32(0..3) > 0 {
        request.query.push(("style", "all_docs".to_owned()));
    } else {
        request.twin = Twin::Winners;
    }
    flags(random, &mut request.query, &["include_docs", "descending"]);
    if request
        .query
        .iter()
        .any(|(name, value)| *name == "include_docs" && value == "true")
    {
        flags(random, &mut request.query, &["conflicts", "attachments"]);
    }
    match random.u32(0..8) {
        0 => {
            request.query.push(("filter", "_doc_ids".into()));
            request
                .query
                .push(("doc_ids", json!(ids(random, data)).to_string()));
        }
        1 => {
            request.query.push(("filter", "_doc_ids".into()));
            request = Request {
                method: "POST",
                body: Some(json!({ "doc_ids": ids(random, data) })),
                ..request
            };
        }
        2 | 3 => {
            request.query.push(("filter", "_selector".into()));
            let selector = selector(random, rules, 2);
            request = Request {
                method: "POST",
                body: Some(json!({ "selector": selector })),
                ..request
            };
        }
        4 if !rules.hides_fields() && rules.pin.is_none() => {
            request.query.retain(|(name, _)| *name != "style");
            request.query.push(("filter", "app/typed".into()));
            request.twin = Twin::Whole;
        }
        5 if !rules.hides_fields() && rules.pin.is_none() => {
            request.query.retain(|(name, _)| *name != "style");
            request.query.push(("filter", "_view".into()));
            request.query.push(("view", "app/sums".into()));
            request.twin = Twin::Whole;
        }
        _ => {}
    }
    // Without `style=all_docs` a feed has rows that the twin has not: of the end of what somebody had.
    let all_docs = request.twin == Twin::Leaves;
    match random.u32(0..4) {
        0 if all_docs => request.query.push(("limit", random.u32(0..5).to_string())),
        1 if request
            .query
            .iter()
            .all(|(name, value)| *name != "descending" || value == "false") =>
        {
            request.query.push(("limit", random.u32(1..4).to_string()));
            request.shape = Shape::Feed;
        }
        _ => {}
    }
    request
}

/// Names only fields that nobody hides.
fn selector(random: &mut Rng, rules: &Rules, depth: u32) -> Value {
    let hidden = rules.hidden_somewhere();
    let free = |name: &str| {
        hidden
            .iter()
            .all(|path| path.split('.').next() != Some(name))
    };
    let fields: Vec<&str> = ["type", "owner", "n", "tags", "_id", "nested"]
        .into_iter()
        .filter(|name| free(name))
        .collect();
    let field = *pick(random, &fields);
    let value = pick(
        random,
        &[
            json!("a"),
            json!("b"),
            json!(1),
            json!(null),
            json!("alice"),
            json!({ "b": 1 }),
            json!([1, 2]),
        ],
    )
    .clone();
    match random.u32(0..if depth == 0 { 9 } else { 14 }) {
        0 | 1 => json!({ field: value }),
        2 => json!({ field: { "$ne": value } }),
        3 => json!({ field: { "$gt": value } }),
        4 => json!({ field: { "$lte": value } }),
        5 => json!({ field: { "$in": [value, 1, "b"] } }),
        6 => json!({ field: { "$exists": random.bool() } }),
        7 => json!({}),
        8 => json!({ field: { "$type": "string" } }),
        9 => {
            json!({ "$or": (0..random.usize(0..3)).map(|_| selector(random, rules, depth - 1)).collect::<Vec<_>>() })
        }
        10 => {
            json!({ "$and": (0..random.usize(0..3)).map(|_| selector(random, rules, depth - 1)).collect::<Vec<_>>() })
        }
        11 => {
            json!({ "$nor": (0..random.usize(0..3)).map(|_| selector(random, rules, depth - 1)).collect::<Vec<_>>() })
        }
        12 => json!({ "$not": { field: { "$lt": value } } }),
        _ => json!({ field: { "$elemMatch": { "$gt": 0 } } }),
    }
}

fn find(random: &mut Rng, rules: &Rules) -> Request {
    let mut body = serde_json::Map::new();
    body.insert("selector".into(), selector(random, rules, 2));
    let hidden = rules.hidden_somewhere();
    if some(random) {
        let fields: Vec<&str> = ["_id", "type", "owner", "list"]
            .into_iter()
            .filter(|name| {
                hidden
                    .iter()
                    .all(|path| path.split('.').next() != Some(name))
            })
            .collect();
        body.insert("fields".into(), json!(fields));
    }
    let mut shape = Shape::Unordered;
    if some(random) {
        let order = if random.bool() { "asc" } else { "desc" };
        body.insert("sort".into(), json!([{ "_id": order }]));
        shape = Shape::Plain;
    }
    if some(random) {
        body.insert("conflicts".into(), json!(true));
    }
    if random.bool() {
        body.insert("limit".into(), json!(random.u32(1..5)));
        shape = Shape::Pages;
    } else if some(random) && shape == Shape::Plain {
        body.insert("skip".into(), json!(random.u32(0..5)));
    }
    Request {
        shape,
        ..Request::post("_find", "/_find", Value::Object(body), Twin::Winners)
    }
}

fn view(random: &mut Rng, data: &Data, rules: &Rules) -> Request {
    let (name, reduces) = *pick(
        random,
        &[
            ("by_n", false),
            ("by_type", false),
            ("sums", true),
            ("stats", true),
            ("count", true),
            ("script", true),
            ("distinct", true),
            ("mixed", true),
            ("linked", false),
        ],
    );
    let path = format!("/_design/app/_view/{name}");
    let twin = if reduces { Twin::Pinned } else { Twin::Whole };
    let mut request = Request::get(name, &path, twin);
    let query = &mut request.query;
    let rows = !reduces || random.bool();
    if reduces && rows {
        query.push(("reduce", "false".into()));
    }
    flags(random, query, &["descending"]);
    if rows {
        flags(random, query, &["include_docs"]);
        // Of sums the model has all leaves.
        if !reduces
            && query
                .iter()
                .any(|(name, value)| *name == "include_docs" && value == "true")
        {
            flags(random, query, &["conflicts"]);
        }
    } else {
        // Other functions than CouchDB's own three run over whole groups of pinned rows only.
        let whole = matches!(name, "script" | "distinct");
        match random.u32(0..4) {
            _ if whole => query.push(("group", "true".into())),
            0 => query.push(("group", "true".into())),
            1 => query.push(("group_level", random.u32(0..4).to_string())),
            _ => {}
        }
    }
    window(random, query);
    let key = |random: &mut Rng| match &rules.pin {
        Some(pin) => match random.bool() {
            true => json!(pick(random, pin)),
            false => json!([pick(random, pin), "alice"]),
        },
        None => pick(
            random,
            &[
                json!("a"),
                json!("b"),
                json!(1),
                json!(null),
                json!(["a", "alice"]),
                json!(["a"]),
                json!({ "b": 1 }),
                json!("A"),
            ],
        )
        .clone(),
    };
    match random.u32(0..6) {
        0 => query.push(("key", key(random).to_string())),
        1 => {
            let keys: Vec<Value> = (0..random.usize(0..4)).map(|_| key(random)).collect();
            query.push(("keys", json!(keys).to_string()));
        }
        2 => {
            let keys: Vec<Value> = (0..random.usize(0..4)).map(|_| key(random)).collect();
            request = Request {
                method: "POST",
                body: Some(json!({ "keys": keys })),
                ..request
            };
        }
        3 if rules.pin.is_none() => {
            query.push(("startkey", key(random).to_string()));
            query.push(("endkey", key(random).to_string()));
            flags(random, query, &["inclusive_end"]);
        }
        4 if rules.pin.is_none() => {
            query.push(("startkey", key(random).to_string()));
            if random.bool() {
                query.push(("startkey_docid", id(random, data)));
            }
        }
        _ => {}
    }
    request
}
