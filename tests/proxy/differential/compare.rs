//! Two answers compared: that to a caller with that of the model, but for what is listed.

use serde_json::{Map, Value, json};

use super::data::Data;
use super::listed::LISTED;
use super::model::Twin;
use super::requests::{Request, Shape};
use super::rules::Rules;
use crate::support::Answer;

/// An answer as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) cut: bool,
    pub(super) json: Value,
}

/// A request that was answered twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'c> {
    pub(super) request: &'c Request,
    pub(super) data: &'c Data,
    pub(super) rules: &'c Rules,
    /// CouchDB itself fails at it, whoever asks.
    pub(super) fails: bool,
}

/// The headers that say what bytes are.
const HEADERS: [&str; 5] = [
    "content-type",
    "content-length",
    "content-range",
    "content-encoding",
    "accept-ranges",
];

impl Told {
    pub(super) fn of(answer: &Answer, shape: Shape) -> Self {
        let text = String::from_utf8_lossy(&answer.body);
        let kind = answer.header("content-type").unwrap_or_default();
        let bytes = || parts(kind, &text).unwrap_or_else(|| json!({ "bytes": text }));
        let json = match shape {
            Shape::Lines if answer.status == 200 => results(text.lines()),
            Shape::Events if answer.status == 200 => {
                results(text.lines().filter_map(|line| line.strip_prefix("data: ")))
            }
            Shape::Bytes if answer.status < 300 => {
                let mut json = json!({ "body": bytes() });
                for name in HEADERS {
                    if let Some(value) = answer.header(name) {
                        json[name] = json!(value);
                    }
                }
                json
            }
            Shape::Plain
            | Shape::Unordered
            | Shape::Pages
            | Shape::Feed
            | Shape::Walk
            | Shape::Lines
            | Shape::Events
            | Shape::Bytes
            | Shape::Tagged => serde_json::from_slice(&answer.body).unwrap_or_else(|_| bytes()),
        };
        Self {
            status: answer.status,
            cut: answer.cut,
            json,
        }
    }

    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.json = json!({ "first": self.json, name: value });
        self
    }

    /// With the rows of the next page.
    pub(super) fn with_page(mut self, page: Self, rows: &str) -> Self {
        self.cut |= page.cut;
        if page.status != 200 {
            return page;
        }
        if let (Some(all), Some(more)) =
            (self.json[rows].as_array_mut(), page.json[rows].as_array())
        {
            all.extend(more.iter().cloned());
        }
        self
    }
}

/// A body in several parts as a list, what is JSON in it as such.
fn parts(kind: &str, text: &str) -> Option<Value> {
    let (_, boundary) = kind
        .strip_prefix("multipart/")
        .and_then(|kind| kind.split_once("boundary="))?;
    let mark = format!("--{}", boundary.trim_matches('"'));
    let mut all = Vec::new();
    for part in text.split(&mark).skip(1) {
        if part.starts_with("--") {
            return Some(json!(all));
        }
        let part = part.strip_prefix("\r\n")?;
        let (head, body) = part.split_once("\r\n\r\n")?;
        let body = body.strip_suffix("\r\n")?;
        let kind = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Type: "))?;
        all.push(match kind {
            _ if kind.starts_with("multipart/") => parts(kind, body)?,
            _ if kind.starts_with("application/json") && !head.contains("filename") => {
                serde_json::from_str(body).ok()?
            }
            _ => json!({ "head": head, "bytes": body }),
        });
    }
    None
}

/// The rows of a feed that has one in each line.
fn results<'t>(lines: impl Iterator<Item = &'t str>) -> Value {
    let rows: Vec<Value> = lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!({ "broken": line })))
        .filter(|row| row.get("last_seq").is_none())
        .collect();
    json!({ "results": rows })
}

impl Case<'_> {
    /// The listed differences between two answers, or what else is wrong.
    pub(super) fn compare(&self, got: &Told, wanted: &Told) -> Result<Vec<&'static str>, String> {
        let mut wanted = wanted.clone();
        self.model(&mut wanted.json);
        // The names of databases, when they were made, and what they have been through.
        let mut got = got.clone();
        for told in [&mut got, &mut wanted] {
            if let Some(members) = told.json.as_object_mut() {
                let of_one = ["dbname", "db_name", "instance_start_time"];
                members.retain(|name, _| !of_one.contains(&name.as_str()));
                if matches!(self.request.endpoint, "database" | "partition") {
                    let taken = ["sizes", "purge_seq", "update_seq"];
                    members.retain(|name, _| !taken.contains(&name.as_str()));
                }
            }
        }
        let (one, other, touched) = self.settled(&got, &wanted, None);
        if !same(&one, &other) {
            return Err(format!(
                "differ at {}\ngot    {} {}{}\nwanted {} {}",
                place(&one.json, &other.json),
                one.status,
                one.json,
                if one.cut { " (cut)" } else { "" },
                other.status,
                other.json
            ));
        }
        // An entry of the list is met where the answers would differ without it.
        let met = touched.into_iter().filter(|at| {
            let (one, other, _) = self.settled(&got, &wanted, Some(*at));
            !same(&one, &other)
        });
        Ok(met.map(|at| LISTED[at].name).collect())
    }

    /// Both answers without what is listed, but for one entry; and the entries that changed something.
    fn settled(
        &self,
        got: &Told,
        wanted: &Told,
        without: Option<usize>,
    ) -> (Told, Told, Vec<usize>) {
        let (mut got, mut wanted) = (got.clone(), wanted.clone());
        let mut touched = Vec::new();
        for (at, listed) in LISTED.iter().enumerate() {
            if without == Some(at) {
                continue;
            }
            let before = (got.clone(), wanted.clone());
            (listed.settle)(self, &mut got, &mut wanted);
            if before != (got.clone(), wanted.clone()) {
                touched.push(at);
            }
        }
        (got, wanted, touched)
    }

    /// What a twin holds and the caller may not see.
    fn model(&self, json: &mut Value) {
        if self.request.endpoint == "view queries" {
            rows_of(json, "results").for_each(|one| self.model_rows(one));
        }
        if self.request.twin.runs_code() {
            self.model_rows(json);
        }
        if self.request.endpoint == "_changes" {
            let design = |row: &Value| {
                row["id"]
                    .as_str()
                    .is_some_and(|id| id.starts_with("_design/"))
            };
            if let Some(results) = json.get_mut("results").and_then(Value::as_array_mut) {
                results.retain(|row| !design(row));
            }
        }
    }

    /// Of whole documents the twin shows everything; what is hidden in their rows is what is hidden in their winners.
    fn model_rows(&self, json: &mut Value) {
        let (data, rules, twin) = (self.data, self.rules, self.request.twin);
        for row in rows_of(json, "rows") {
            let stored = row["id"].as_str().and_then(|id| data.winner(id));
            let sight = match (twin, stored) {
                (Twin::Pinned, _) | (_, None) => Some(rules.hidden_everywhere()),
                (Twin::Leaves | Twin::Winners | Twin::Indexed | Twin::Whole, Some((id, leaf))) => {
                    rules.sight(id, leaf.body())
                }
            };
            let sight = sight.unwrap_or_else(|| rules.hidden_everywhere());
            if let Some(value) = row.get_mut("value") {
                sight.cut_value(value);
            }
            let Some(doc) = row.get_mut("doc").filter(|doc| doc.is_object()) else {
                continue;
            };
            let id = doc["_id"].as_str().unwrap().to_owned();
            let body: Map<String, Value> = doc.as_object().unwrap().clone();
            *doc = rules.see(&id, &body).map_or(Value::Null, Value::Object);
            // A linked document comes without what is hidden in the document of its row, too.
            if let Some(members) = doc.as_object_mut() {
                sight.cut_document(members);
            }
        }
    }
}

fn rows_of<'j>(json: &'j mut Value, name: &str) -> impl Iterator<Item = &'j mut Value> {
    let rows = json.get_mut(name).and_then(Value::as_array_mut);
    rows.into_iter().flatten()
}

/// Where two values begin to differ, and how.
fn place(one: &Value, other: &Value) -> String {
    match (one, other) {
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            let mut pairs = ones.iter().zip(others).enumerate();
            let found = pairs.find(|(_, (one, other))| !alike(one, other));
            found.map_or_else(String::new, |(at, (one, other))| {
                format!("/{at}{}", place(one, other))
            })
        }
        (Value::Object(ones), Value::Object(others)) => {
            let names = ones.keys().chain(others.keys());
            let differ = |name: &&String| {
                let (one, other) = (ones.get(*name), others.get(*name));
                one.zip(other).is_none_or(|(one, other)| !alike(one, other))
            };
            let name = names.into_iter().find(differ);
            name.map_or_else(String::new, |name| {
                let null = Value::Null;
                let [one, other] = [ones, others].map(|all| all.get(name).unwrap_or(&null));
                format!("/{name}{}", place(one, other))
            })
        }
        (one, other) => format!(": {one} | {other}"),
    }
}

fn same(one: &Told, other: &Told) -> bool {
    one.status == other.status && one.cut == other.cut && alike(&one.json, &other.json)
}

/// Alike, but for the last digits of numbers that are no whole ones: they depend on the order of additions.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            if one == other {
                return true;
            }
            let float = one.is_f64() || other.is_f64();
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            // Erlang writes `3.0` where JavaScript writes `3`.
            if float && (one - other).abs() == 0.0 {
                return true;
            }
            let whole = one.fract() == 0.0 && one.abs() < 9e15;
            !whole && (one - other).abs() <= 1e-12 * one.abs().max(other.abs())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|other| alike(value, other))
            };
            one.len() == other.len() && one.iter().all(same)
        }
        (one, other) => one == other,
    }
}
