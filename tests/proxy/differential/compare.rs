//! Two answers compared, but for what couchwarden leaves out or seals by design.

use serde_json::{Value, json};

use super::data::Data;
use super::model::{Twin, see};
use super::requests::{Request, Shape};
use super::rules::{Rules, cut};
use crate::support::Answer;

/// An answer as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) cut: bool,
    pub(super) json: Value,
}

/// Members that are left out or sealed: what they count or number is what may not be told.
const LEFT_OUT: [&str; 9] = [
    "total_rows",
    "offset",
    "update_seq",
    "last_seq",
    "seq",
    "pending",
    "bookmark",
    "warning",
    "possible_ancestors",
];

impl Told {
    pub(super) fn of(answer: &Answer) -> Self {
        let json = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|_| json!({ "bytes": String::from_utf8_lossy(&answer.body) }));
        Self {
            status: answer.status,
            cut: answer.cut,
            json,
        }
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

/// What is wrong with the answer to a caller, if anything is.
pub(super) fn difference(
    request: &Request,
    (data, rules): (&Data, &Rules),
    got: &Told,
    wanted: &Told,
) -> Option<String> {
    let mut wanted = wanted.clone();
    if request.twin.runs_code() {
        see_rows(&mut wanted.json, request.twin, data, rules);
    }
    let (mut got, mut wanted) = (normal(request, got), normal(request, &wanted));
    if request.endpoint == "_changes" {
        if request.twin == Twin::Winners {
            leave_out_ends(&mut got.json, data, rules);
        }
        leave_out_bytes(&mut got.json, data, rules);
        leave_out_bytes(&mut wanted.json, data, rules);
    }
    if request.chooses_leaves() {
        leave_out_unknown(&mut got.json, data, rules);
        leave_out_unknown(&mut wanted.json, data, rules);
    }
    if got.status == wanted.status && got.cut == wanted.cut && alike(&got.json, &wanted.json) {
        return None;
    }
    Some(format!(
        "got    {} {}{}\nwanted {} {}",
        got.status,
        got.json,
        if got.cut { " (cut)" } else { "" },
        wanted.status,
        wanted.json
    ))
}

/// Where the winner is hidden, a feed tells of the end of what its caller had: a deleted leaf that they may see.
fn leave_out_ends(json: &mut Value, data: &Data, rules: &Rules) {
    let ends = |row: &Value| {
        let winner = row["id"].as_str().and_then(|id| data.winner(id));
        let shown = winner.is_some_and(|(id, leaf)| see(rules, id, leaf).is_some());
        !shown && row["deleted"] == true
    };
    if let Some(rows) = json["results"].as_array_mut() {
        rows.retain(|row| !ends(row));
    }
}

/// Where the winner is hidden, its place in a feed is taken by another leaf, whose attachments come as stubs.
fn leave_out_bytes(json: &mut Value, data: &Data, rules: &Rules) {
    for row in json["results"].as_array_mut().into_iter().flatten() {
        let winner = row["id"].as_str().and_then(|id| data.winner(id));
        let shown = winner.is_some_and(|(id, leaf)| see(rules, id, leaf).is_some());
        let attachments = row.pointer_mut("/doc/_attachments").filter(|_| !shown);
        let attachments = attachments.and_then(Value::as_object_mut);
        for attachment in attachments.into_iter().flat_map(|all| all.values_mut()) {
            if let Some(members) = attachment.as_object_mut() {
                members.retain(|name, _| !["data", "stub", "length"].contains(&name.as_str()));
            }
        }
    }
}

/// Where the winner is hidden, a feed that a filter chooses leaves for tells what it knows: those leaves.
fn leave_out_unknown(json: &mut Value, data: &Data, rules: &Rules) {
    for row in json["results"].as_array_mut().into_iter().flatten() {
        let winner = row["id"].as_str().and_then(|id| data.winner(id));
        let shown = winner.is_some_and(|(id, leaf)| see(rules, id, leaf).is_some());
        if let Some(row) = row.as_object_mut().filter(|_| !shown) {
            row.retain(|name, _| name != "doc" && name != "deleted");
        }
    }
}

/// Of rows that come with whole documents what the rules show.
fn see_rows(json: &mut Value, twin: Twin, data: &Data, rules: &Rules) {
    let rows = ["rows", "results"]
        .into_iter()
        .find(|name| json[*name].is_array());
    let Some(rows) = rows.and_then(|name| json[name].as_array_mut()) else {
        return;
    };
    for row in rows {
        let stored = row["id"].as_str().and_then(|id| data.winner(id));
        let hidden = match (twin, stored) {
            (Twin::Pinned, _) | (_, None) => Some(rules.hide.clone()),
            (Twin::Leaves | Twin::Winners | Twin::Whole, Some((id, leaf))) => {
                rules.hidden(id, leaf.body())
            }
        };
        let hidden = hidden.unwrap_or_default();
        for path in &hidden {
            if let Some(value) = row.get_mut("value") {
                cut(value, path);
            }
        }
        let Some(doc) = row.get_mut("doc").filter(|doc| doc.is_object()) else {
            continue;
        };
        let id = doc["_id"].as_str().unwrap().to_owned();
        let body = doc.as_object().unwrap().clone();
        *doc = rules.see(&id, &body).map_or(Value::Null, Value::Object);
        // A linked document comes without what is hidden in the document of its row, too.
        if doc.is_object() {
            hidden.iter().for_each(|path| cut(doc, path));
        }
    }
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

fn normal(request: &Request, told: &Told) -> Told {
    let mut told = told.clone();
    if told.status >= 400 {
        // Words are ours; of a deletion nobody is told.
        if let Some(members) = told.json.as_object_mut() {
            members.retain(|name, _| name == "error");
        }
        return told;
    }
    leave_out(&mut told.json);
    let rows = told.json.get_mut("rows").and_then(Value::as_array_mut);
    for row in rows.into_iter().flatten() {
        if row.get("id").is_none() {
            spell_group(row);
        }
    }
    if request.endpoint == "_bulk_get" {
        // What is hidden has no entry, and what is absent is answered alike.
        for entry in told.json["results"].as_array_mut().into_iter().flatten() {
            if let Some(docs) = entry["docs"].as_array_mut() {
                docs.retain(|doc| doc.get("error").is_none());
            }
        }
        if let Some(results) = told.json["results"].as_array_mut() {
            results.retain(|entry| {
                entry["docs"]
                    .as_array()
                    .is_some_and(|docs| !docs.is_empty())
            });
        }
    }
    let changes = told.json.get_mut("results").and_then(Value::as_array_mut);
    if let Some(results) = changes.filter(|_| request.endpoint == "_changes") {
        let design = |row: &Value| {
            row["id"]
                .as_str()
                .is_some_and(|id| id.starts_with("_design/"))
        };
        results.retain(|row| !design(row));
    }
    let sorted = request
        .body
        .as_ref()
        .is_some_and(|body| body.get("sort").is_some());
    if matches!(request.shape, Shape::Unordered | Shape::Pages) && !sorted {
        let rows = match told.json.get_mut("docs") {
            Some(docs) => docs.as_array_mut(),
            None => told.json.as_array_mut(),
        };
        if let Some(rows) = rows {
            rows.sort_by_key(Value::to_string);
        }
    }
    told
}

/// CouchDB shows any of the keys of a group, which collate alike, and any of the values that it can't add.
fn spell_group(row: &mut Value) {
    if let Some(key) = row.get_mut("key") {
        let text = key.to_string().replace('\u{ad}', "");
        *key = serde_json::from_str(&text).unwrap();
    }
    if row["value"]["error"] == "builtin_reduce_error" {
        row["value"]["caused_by"].take();
    }
}

fn leave_out(json: &mut Value) {
    match json {
        Value::Object(members) => {
            members.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
            for name in ["_conflicts", "_deleted_conflicts"] {
                let revs = members.get_mut(name).and_then(Value::as_array_mut);
                if let Some(revs) = revs {
                    revs.sort_by_key(Value::to_string);
                }
            }
            members.values_mut().for_each(leave_out);
        }
        Value::Array(elements) => elements.iter_mut().for_each(leave_out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
