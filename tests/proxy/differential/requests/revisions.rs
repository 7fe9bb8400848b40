//! What replicators ask: many revisions at once, and which of them are missing.

use serde_json::{Map, Value, json};

use super::{Draw, Request};
use crate::differential::model::Twin;

impl Draw<'_> {
    pub(super) fn bulk_get(&mut self) -> Request {
        let docs = self.several(5, |draw| {
            let id = draw.id();
            let mut entry = json!({ "id": id, "rev": draw.rev(&id) });
            if draw.couchdb && draw.one_in(8) {
                entry["atts_since"] = json!(draw.several(3, |draw| draw.rev(&id)));
            }
            if draw.couchdb && draw.one_in(8) {
                entry.as_object_mut().unwrap().remove("rev");
            }
            if draw.couchdb && draw.one_in(20) {
                entry["rev"] = draw.pick(&[json!("x"), json!(""), json!("1-"), json!(7)]);
            }
            if draw.couchdb && draw.one_in(20) {
                entry["id"] = draw.pick(&[json!(""), json!("_x"), json!("_design/none"), json!(7)]);
            }
            entry
        });
        let mut request = Request::post(
            "_bulk_get",
            "/_bulk_get",
            json!({ "docs": docs }),
            Twin::Leaves,
        );
        let names = [
            "revs",
            "attachments",
            "latest",
            "att_encoding_info",
            "local_seq",
        ];
        let names = if self.couchdb {
            &names[..]
        } else {
            &names[..3]
        };
        self.flags(&mut request.query, names);
        if self.couchdb && self.some() {
            let kinds = ["multipart/mixed", "multipart/related"];
            request.headers.push(("accept", self.pick(&kinds)));
        }
        request
    }

    pub(super) fn diff(&mut self) -> Request {
        let mut asked = Map::new();
        for _ in 0..self.random.usize(0..5) {
            let id = self.id();
            let mut revs = self.several(4, |draw| draw.rev(&id));
            if !self.couchdb {
                revs.sort();
                revs.dedup();
            }
            asked.insert(id, json!(revs));
        }
        let endpoint = self.pick(&["_revs_diff", "_missing_revs"]);
        Request::post(
            endpoint,
            &format!("/{endpoint}"),
            Value::Object(asked),
            Twin::Leaves,
        )
    }
}
