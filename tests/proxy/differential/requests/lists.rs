//! `_all_docs` and its sisters.

use serde_json::{Value, json};

use super::{Draw, Request, Shape};
use crate::differential::model::Twin;

impl Draw<'_> {
    pub(super) fn list(&mut self) -> Request {
        if self.couchdb && self.one_in(12) {
            return self.sister();
        }
        let path = match self.partition() {
            Some(partition) => format!("/_partition/{partition}/_all_docs"),
            None => "/_all_docs".to_owned(),
        };
        let inside = path != "/_all_docs";
        let mut request = Request::get("_all_docs", &path, Twin::Winners);
        let mut query = Vec::new();
        self.flags(&mut query, &["include_docs", "descending"]);
        if query.contains(&("include_docs", "true".to_owned())) {
            let names = ["conflicts", "attachments", "att_encoding_info"];
            self.flags(&mut query, &names);
        }
        if self.couchdb {
            let names = ["update_seq", "stable", "sorted"];
            self.flags(&mut query, if inside { &[] } else { &names });
        }
        match self.random.u32(0..7) {
            0 => query.push(("keys", json!(self.ids()).to_string())),
            1 => request = request.with_body(json!({ "keys": self.ids() })),
            2 => query.push(("key", json!(self.id()).to_string())),
            3 if self.couchdb => {
                query.push(("limit", self.random.u32(1..4).to_string()));
                request.query = query;
                request.shape = Shape::Walk;
                return request;
            }
            _ => self.range_of_ids(&mut query),
        }
        self.window(&mut query);
        request.query = query;
        request
    }

    fn range_of_ids(&mut self, query: &mut Vec<(&'static str, String)>) {
        self.flags(query, &["inclusive_end"]);
        for names in [["startkey", "start_key"], ["endkey", "end_key"]] {
            if self.random.bool() {
                query.push((self.pick(&names), json!(self.id()).to_string()));
            }
        }
    }

    /// Lists of what this caller may not see, or has none of.
    fn sister(&mut self) -> Request {
        let (endpoint, path) = self.pick(&[
            ("_design_docs", "/_design_docs"),
            ("_local_docs", "/_local_docs"),
            ("_local", "/_local/mine"),
            ("design document", "/_design/none"),
        ]);
        let mut request = Request::get(endpoint, path, Twin::Winners);
        if endpoint.ends_with("_docs") {
            self.flags(&mut request.query, &["include_docs", "descending"]);
            self.window(&mut request.query);
        }
        request
    }

    pub(super) fn queries(&mut self) -> Request {
        let all = self.some_queries(|draw| {
            let mut query = json!({});
            match draw.random.u32(0..5) {
                0 => query["keys"] = json!(draw.ids()),
                1 => query["startkey"] = json!(draw.id()),
                2 => query["endkey"] = json!(draw.id()),
                3 => query["key"] = json!(draw.id()),
                _ => {}
            }
            query
        });
        Request::post(
            "_all_docs/queries",
            "/_all_docs/queries",
            all,
            Twin::Winners,
        )
    }

    /// Several of these, each with some parameters more.
    pub(super) fn some_queries(&mut self, mut one: impl FnMut(&mut Self) -> Value) -> Value {
        let mut all = self.several(3, |draw| {
            let mut query = one(draw);
            for name in ["include_docs", "descending"] {
                if draw.some() {
                    query[name] = json!(draw.random.bool());
                }
            }
            for (name, most) in [("limit", 4), ("skip", 3)] {
                if draw.some() {
                    query[name] = json!(draw.random.u32(0..most));
                }
            }
            query
        });
        all.push(one(self));
        json!({ "queries": all })
    }
}
