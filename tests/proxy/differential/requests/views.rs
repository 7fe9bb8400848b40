//! Views: rows, sums, pages, several queries at once.

use serde_json::{Value, json};

use super::{Draw, Query, Request, Shape};
use crate::differential::model::Twin;

const VIEWS: [(&str, bool); 9] = [
    ("by_n", false),
    ("by_type", false),
    ("sums", true),
    ("stats", true),
    ("count", true),
    ("script", true),
    ("distinct", true),
    ("mixed", true),
    ("linked", false),
];

impl Draw<'_> {
    fn view_path(&mut self, name: &str) -> String {
        match self.partition() {
            Some(partition) => format!("/_partition/{partition}/_design/parts/_view/{name}"),
            None => format!("/_design/app/_view/{name}"),
        }
    }

    pub(super) fn view(&mut self) -> Request {
        let (name, reduces) = self.pick(&VIEWS);
        let path = self.view_path(name);
        let inside = path.starts_with("/_partition");
        let twin = if reduces { Twin::Pinned } else { Twin::Whole };
        let mut request = Request::get(name, &path, twin);
        let mut query = Vec::new();
        let rows = !reduces || self.random.bool();
        if reduces && rows {
            query.push(("reduce", "false".into()));
        }
        self.flags(&mut query, &["descending"]);
        if self.couchdb && !inside {
            self.flags(&mut query, &["update_seq", "stable", "sorted"]);
            if self.one_in(8) {
                query.push(("update", self.pick(&["true", "false", "lazy"]).to_owned()));
            }
        }
        match rows {
            true => self.documents_beside(reduces, &mut query),
            false => self.groups(name, &mut query),
        }
        match self.random.u32(0..8) {
            0 => {
                query.push(("key", self.key().to_string()));
                if self.couchdb && self.one_in(10) {
                    self.range(&mut query);
                }
            }
            1 => query.push(("keys", json!(self.several(4, Self::key)).to_string())),
            2 => request = request.with_body(json!({ "keys": self.several(4, Self::key) })),
            3 | 4 if self.couchdb || self.rules.pin.is_none() => self.range(&mut query),
            5 if rows && self.couchdb => {
                query.push(("limit", self.random.u32(1..4).to_string()));
                request.query = query;
                request.shape = Shape::Walk;
                return request;
            }
            _ => {}
        }
        self.window(&mut query);
        request.query = query;
        request
    }

    fn documents_beside(&mut self, reduces: bool, query: &mut Query) {
        self.flags(query, &["include_docs"]);
        // Of sums the model has all leaves.
        if !reduces && query.contains(&("include_docs", "true".to_owned())) {
            let names = ["conflicts", "attachments", "att_encoding_info"];
            let names = if self.couchdb {
                &names[..]
            } else {
                &names[..1]
            };
            self.flags(query, names);
        }
    }

    fn groups(&mut self, name: &str, query: &mut Query) {
        // Other functions than CouchDB's own three run over whole groups of pinned rows only.
        let whole = matches!(name, "script" | "distinct");
        match self.random.u32(0..4) {
            _ if whole && !(self.couchdb && self.one_in(10)) => {
                query.push(("group", "true".into()));
            }
            0 => query.push(("group", "true".into())),
            1 => query.push(("group_level", self.random.u32(0..4).to_string())),
            2 if self.couchdb && self.some() => {
                query.push(("group", self.random.bool().to_string()));
                query.push(("group_level", self.random.u32(0..3).to_string()));
            }
            _ => {}
        }
        if self.couchdb && self.some() {
            query.push(("reduce", "true".into()));
        }
    }

    fn range(&mut self, query: &mut Query) {
        let [low, high] = [self.key(), self.key()].map(|key| key.to_string());
        if self.random.u32(0..4) > 0 {
            query.push((self.pick(&["startkey", "start_key"]), low));
            if self.some() {
                let names = ["startkey_docid", "start_key_doc_id"];
                query.push((self.pick(&names), self.id()));
            }
        }
        if self.random.bool() {
            query.push((self.pick(&["endkey", "end_key"]), high));
            if self.couchdb && self.some() {
                query.push((self.pick(&["endkey_docid", "end_key_doc_id"]), self.id()));
            }
            self.flags(query, &["inclusive_end"]);
        }
    }

    fn key(&mut self) -> Value {
        if let Some(pin) = self.rules.pin.clone()
            && !(self.couchdb && self.one_in(10))
        {
            let pinned = self.pick(&pin);
            return match self.random.bool() {
                true => json!(pinned),
                false => json!([pinned, "alice"]),
            };
        }
        self.pick(&[
            json!("a"),
            json!("b"),
            json!(1),
            json!(null),
            json!(["a", "alice"]),
            json!(["a"]),
            json!({ "b": 1 }),
            json!("A"),
            json!(["a", {}]),
            json!({}),
            json!(["b", null]),
            json!({ "c": 2, "b": 1 }),
            json!("1"),
        ])
    }

    /// Several queries in one request.
    pub(super) fn view_queries(&mut self) -> Request {
        let (name, reduces) = self.pick(&VIEWS);
        let path = format!("/_design/app/_view/{name}/queries");
        let twin = if reduces { Twin::Pinned } else { Twin::Whole };
        let rows = !reduces || self.random.bool();
        let whole = matches!(name, "script" | "distinct");
        let body = self.some_queries(|draw| {
            let mut query = json!({});
            if reduces && rows {
                query["reduce"] = json!(false);
            }
            if !rows && (whole || draw.random.bool()) {
                query["group"] = json!(true);
            } else if !rows && draw.random.bool() {
                query["group_level"] = json!(draw.random.u32(0..3));
            }
            match draw.random.u32(0..4) {
                0 => query["keys"] = json!(draw.several(4, Self::key)),
                1 => query["key"] = draw.key(),
                2 => query["startkey"] = draw.key(),
                _ => {}
            }
            query
        });
        Request::post("view queries", &path, body, twin)
    }
}
