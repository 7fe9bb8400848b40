//! The database itself: how much is in it, and what is taken out of it for good.

use serde_json::{Map, Value, json};

use super::{Draw, Request};
use crate::differential::data::PARTITIONS;
use crate::differential::model::Twin;

impl Draw<'_> {
    pub(super) fn keeping(&mut self) -> Request {
        if !self.couchdb {
            return Request::get("database", "", Twin::Pinned);
        }
        match self.random.u32(0..4) {
            0 => self.purge(),
            1 if self.data.partitioned => {
                let path = format!("/_partition/{}", self.pick(&PARTITIONS));
                Request::get("partition", &path, Twin::Pinned)
            }
            2 => Request {
                method: "HEAD",
                ..Request::get("database", "", Twin::Pinned)
            },
            _ => Request::get("database", "", Twin::Pinned),
        }
    }

    fn purge(&mut self) -> Request {
        let mut asked = Map::new();
        for _ in 0..self.random.usize(0..4) {
            let id = self.id();
            let revs = self.several(4, |draw| draw.rev(&id));
            asked.insert(id, json!(revs));
        }
        Request::post("_purge", "/_purge", Value::Object(asked), Twin::Pinned)
    }
}
