//! Requests drawn at random: each endpoint that reads, its parameters alone and together.

mod documents;
mod feeds;
mod finds;
mod keeping;
mod lists;
mod revisions;
mod views;

use fastrand::Rng;
use serde_json::{Value, json};

use super::data::{Data, IDS, PARTITIONS};
use super::model::{Twin, see};
use super::rules::Rules;
use crate::support::backend;

/// How answers are read and compared.
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
    /// A list or a view, each page beginning at the last row of the one before, put together.
    Walk,
    /// `_changes`, a line for each row.
    Lines,
    /// `_changes`, an event for each row.
    Events,
    /// Bytes, with the headers that say what they are.
    Bytes,
    /// Asked for twice, the second time with the entity tag of the first answer.
    Tagged,
}

/// One request; the same for couchwarden and for the twin.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) endpoint: &'static str,
    pub(super) method: &'static str,
    /// Behind the name of the database.
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Option<Value>,
    pub(super) twin: Twin,
    pub(super) shape: Shape,
}

type Query = Vec<(&'static str, String)>;

/// Asking for what, of whom.
pub(super) struct Draw<'r> {
    random: &'r mut Rng,
    data: &'r Data,
    rules: &'r Rules,
    /// CouchDB itself knows more than the embedded server does.
    couchdb: bool,
}

impl Request {
    fn get(endpoint: &'static str, path: &str, twin: Twin) -> Self {
        Self {
            endpoint,
            method: "GET",
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            twin,
            shape: Shape::Plain,
        }
    }

    fn post(endpoint: &'static str, path: &str, body: Value, twin: Twin) -> Self {
        Self::get(endpoint, path, twin).with_body(body)
    }

    fn with_body(self, body: Value) -> Self {
        Self {
            method: "POST",
            body: Some(body),
            ..self
        }
    }

    /// What a run counts it as: each view by one name.
    pub(super) fn counted_as(&self) -> &'static str {
        if self.path.contains("/_view/") && !self.path.ends_with("/queries") {
            return match self.parameter("reduce") == Some("false") || !self.is_reduced() {
                true => "view",
                false => "sums",
            };
        }
        self.endpoint
    }

    fn is_reduced(&self) -> bool {
        self.twin == Twin::Pinned
    }

    /// A parameter of the query string.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        let found = query.find(|(other, _)| *other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Is a parameter `true`?
    pub(super) fn has(&self, name: &str) -> bool {
        self.parameter(name) == Some("true")
    }

    /// A member of the body.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.body.as_ref()?.get(name)
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
        let kept = ["style", "rev", "open_revs", "latest", "reduce"];
        for at in 0..self.query.len() {
            let mut less = self.clone();
            if !kept.contains(&less.query.remove(at).0) {
                all.push(less);
            }
        }
        let smaller = self.body.as_ref().map(smaller).unwrap_or_default();
        all.extend(smaller.into_iter().map(|body| Self {
            body: Some(body),
            ..self.clone()
        }));
        all
    }

    pub(super) fn draw(random: &mut Rng, data: &Data, rules: &Rules) -> Self {
        let couchdb = backend().is_couchdb();
        let mut draw = Draw {
            random,
            data,
            rules,
            couchdb,
        };
        match draw.random.u32(0..25) {
            24 => draw.keeping(),
            0..3 => draw.list(),
            3 => draw.queries(),
            4..7 => draw.document(),
            7 => draw.attachment(),
            8 | 9 => draw.bulk_get(),
            10 => draw.diff(),
            11..14 => draw.changes(),
            14..17 => draw.find(),
            17 if couchdb => draw.explain(),
            18 if couchdb => draw.view_queries(),
            _ => draw.view(),
        }
    }
}

/// A body without one of its members, or one of its elements.
fn smaller(body: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    match body {
        Value::Object(members) => {
            for (name, value) in members {
                if !["selector", "docs", "queries", "doc_ids"].contains(&name.as_str()) {
                    let mut less = members.clone();
                    less.remove(name);
                    all.push(Value::Object(less));
                }
                for value in smaller(value) {
                    let mut less = members.clone();
                    less.insert(name.clone(), value);
                    all.push(Value::Object(less));
                }
            }
        }
        Value::Array(elements) => {
            for (at, value) in elements.iter().enumerate() {
                let mut less = elements.clone();
                less.remove(at);
                all.push(json!(less));
                for value in smaller(value) {
                    let mut less = elements.clone();
                    less[at] = value;
                    all.push(json!(less));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all
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

impl Draw<'_> {
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.usize(0..of.len())].clone()
    }

    /// One time in so many.
    fn one_in(&mut self, of: u32) -> bool {
        self.random.u32(0..of) == 0
    }

    fn some(&mut self) -> bool {
        self.one_in(4)
    }

    fn several<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.random.usize(0..most)).map(|_| one(self)).collect()
    }

    /// Mostly one that is stored.
    fn id(&mut self) -> String {
        if self.data.documents.is_empty() || self.one_in(6) {
            return self.data.spell(self.random.usize(0..IDS.len()));
        }
        let at = self.random.usize(0..self.data.documents.len());
        self.data.documents[at].id.clone()
    }

    fn ids(&mut self) -> Vec<String> {
        self.several(6, Self::id)
    }

    /// A revision, mostly a leaf of this document.
    fn rev(&mut self, id: &str) -> String {
        let rev = self.usual_rev(id);
        if !self.couchdb || !self.one_in(20) {
            return rev;
        }
        let odd = [
            "1-",
            "007-abc",
            "+1-a",
            "0-",
            "0-a",
            "x",
            "",
            "1-zz zz",
            "1-ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        ];
        match self.random.u32(0..3) {
            0 => format!("0{rev}"),
            1 => rev.to_uppercase(),
            _ => self.pick(&odd).to_owned(),
        }
    }

    fn usual_rev(&mut self, id: &str) -> String {
        let mut documents = self.data.documents.iter();
        let document = documents.find(|document| document.id == id);
        match document.filter(|document| !document.leaves.is_empty()) {
            Some(document) if self.random.u32(0..6) > 0 => {
                let leaf = &document.leaves[self.random.usize(0..document.leaves.len())];
                // Earlier revisions are in the twin where their leaf is.
                let shown = see(self.rules, id, leaf).is_some();
                let back = match shown && self.one_in(4) {
                    true => self.random.usize(0..leaf.history.len()),
                    false => 0,
                };
                leaf.history[back].clone()
            }
            Some(_) | None => "3-00000000000000000000000000000000".to_owned(),
        }
    }

    fn partition(&mut self) -> Option<&'static str> {
        let inside = self.data.partitioned && self.random.bool();
        inside.then(|| self.pick(&PARTITIONS))
    }

    fn flags(&mut self, query: &mut Query, names: &[&'static str]) {
        for name in names {
            if self.some() {
                let off = self.one_in(6);
                query.push((name, if off { "false" } else { "true" }.to_owned()));
            }
        }
    }

    fn window(&mut self, query: &mut Query) {
        if self.some() {
            query.push(("limit", self.random.u32(0..6).to_string()));
        }
        if self.some() {
            query.push(("skip", self.random.u32(0..4).to_string()));
        }
    }
}
