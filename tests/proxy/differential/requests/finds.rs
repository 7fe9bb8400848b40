//! `_find`, `_explain`, `_index`.

use serde_json::{Map, Value, json};

use super::{Draw, Request, Shape};
use crate::differential::model::{INDEXES, Twin};

const FIELDS: [&str; 9] = [
    "_id",
    "type",
    "owner",
    "n",
    "tags",
    "list",
    "nested",
    "nested.shown",
    "secret",
];

impl Draw<'_> {
    /// Mostly a field that nobody hides.
    fn field(&mut self) -> &'static str {
        let open: Vec<&str> = FIELDS
            .into_iter()
            .filter(|name| self.rules.may_name(name))
            .collect();
        match self.couchdb && self.one_in(30) {
            true => self.pick(&FIELDS),
            false => self.pick(&open),
        }
    }

    pub(super) fn selector(&mut self, depth: u32) -> Value {
        let field = self.field();
        let value = self.pick(&[
            json!("a"),
            json!("b"),
            json!(1),
            json!(null),
            json!("alice"),
            json!({ "b": 1 }),
            json!([1, 2]),
        ]);
        let several = |draw: &mut Self| json!(draw.several(3, |draw| draw.selector(depth - 1)));
        let kinds = if self.couchdb { 20 } else { 14 };
        match self.random.u32(0..if depth == 0 { 9 } else { kinds }) {
            0 | 1 => json!({ field: value }),
            2 => json!({ field: { "$ne": value } }),
            3 => json!({ field: { "$gt": value } }),
            4 => json!({ field: { "$lte": value } }),
            5 => json!({ field: { "$in": [value, 1, "b"] } }),
            6 => json!({ field: { "$exists": self.random.bool() } }),
            7 => json!({}),
            8 => json!({ field: { "$type": "string" } }),
            9 => json!({ "$or": several(self) }),
            10 => json!({ "$and": several(self) }),
            11 => json!({ "$nor": several(self) }),
            12 => json!({ "$not": { field: { "$lt": value } } }),
            13 => json!({ field: { "$elemMatch": { "$gt": 0 } } }),
            14 => json!({ field: { "$allMatch": { "$ne": value } } }),
            15 => json!({ field: { "$nin": [value] } }),
            16 => json!({ field: { "$regex": "^a" } }),
            17 => json!({ field: { "$size": 2 } }),
            18 => json!({ field: { "$mod": [2, 1] } }),
            _ => json!({ field: { "$all": [1] }, "type": { "$gte": "a" } }),
        }
    }

    pub(super) fn find(&mut self) -> Request {
        let mut body = Map::new();
        body.insert("selector".into(), self.selector(2));
        if self.some() {
            let fields: Vec<&str> = match self.couchdb {
                true => self.several(4, Self::field),
                false => ["_id", "type", "owner", "list"]
                    .into_iter()
                    .filter(|name| self.rules.may_name(name))
                    .collect(),
            };
            body.insert("fields".into(), json!(fields));
        }
        let mut shape = Shape::Unordered;
        if self.some() {
            let order = self.pick(&["asc", "desc"]);
            let field = match self.couchdb && self.random.bool() {
                true => self.pick(&["n", "type", "owner"]),
                false => "_id",
            };
            body.insert("sort".into(), json!([{ field: order }]));
            if field == "_id" {
                shape = Shape::Plain;
            }
        }
        if self.some() {
            body.insert("conflicts".into(), json!(self.random.u32(0..5) > 0));
        }
        if self.couchdb {
            self.choices(&mut body);
        }
        if self.random.bool() {
            body.insert("limit".into(), json!(self.random.u32(1..5)));
            shape = Shape::Pages;
        } else if self.some() && shape == Shape::Plain {
            body.insert("skip".into(), json!(self.random.u32(0..5)));
        }
        let path = match self.partition() {
            Some(partition) => format!("/_partition/{partition}/_find"),
            None => "/_find".to_owned(),
        };
        Request {
            shape,
            ..Request::post("_find", &path, Value::Object(body), Twin::Indexed)
        }
    }

    /// How CouchDB goes about it.
    fn choices(&mut self, body: &mut Map<String, Value>) {
        if self.one_in(6) {
            body.insert("execution_stats".into(), json!(true));
        }
        if self.one_in(8) {
            let index = self.pick(&INDEXES);
            let named = [
                json!(index.name),
                json!([index.name, index.name]),
                json!("none"),
            ];
            let named = self.pick(&named);
            body.insert("use_index".into(), named);
        }
        if self.one_in(8) {
            body.insert("allow_fallback".into(), json!(self.random.bool()));
        }
        if self.one_in(8) {
            body.insert("update".into(), json!(true));
        }
        if self.one_in(8) {
            body.insert("stable".into(), json!(self.random.bool()));
        }
        if self.one_in(8) {
            body.insert("r".into(), json!(1));
        }
    }

    pub(super) fn explain(&mut self) -> Request {
        if self.one_in(4) {
            let mut request = Request::get("_index", "/_index", Twin::Indexed);
            self.window(&mut request.query);
            return request;
        }
        let mut request = self.find();
        request.endpoint = "_explain";
        request.path = request.path.replace("_find", "_explain");
        request.shape = Shape::Plain;
        request
    }
}
