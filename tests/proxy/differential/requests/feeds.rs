//! `_changes`: its four feeds, its filters and styles.

use serde_json::json;

use super::{Draw, Request, Shape};
use crate::differential::model::Twin;

impl Draw<'_> {
    pub(super) fn changes(&mut self) -> Request {
        let mut request = Request::get("_changes", "/_changes", Twin::Leaves);
        // By default a row is about the winner; by this style about every leaf.
        match self.random.u32(0..4) > 0 {
            true => request.query.push(("style", "all_docs".to_owned())),
            false => request.twin = Twin::Winners,
        }
        self.flags(&mut request.query, &["include_docs", "descending"]);
        if request.has("include_docs") {
            let names = ["conflicts", "attachments", "att_encoding_info"];
            let names = if self.couchdb {
                &names[..]
            } else {
                &names[..2]
            };
            self.flags(&mut request.query, names);
        }
        if self.couchdb && self.one_in(8) {
            request.query.push(("seq_interval", "2".to_owned()));
        }
        let mut request = self.filter(request);
        // Without `style=all_docs` a feed has rows that the twin has not: of the end of what somebody had.
        let all_docs = request.twin == Twin::Leaves;
        match self.random.u32(0..5) {
            0 if all_docs => {
                let limit = self.random.u32(0..5).to_string();
                request.query.push(("limit", limit));
            }
            1 if !request.has("descending") => {
                let limit = self.random.u32(1..4).to_string();
                request.query.push(("limit", limit));
                request.shape = Shape::Feed;
            }
            2 if self.couchdb => self.waiting(&mut request),
            3 if self.couchdb && self.some() => {
                let since = self.pick(&["0", "now"]).to_owned();
                let name = self.pick(&["since", "last-event-id"]);
                request.query.push((name, since));
            }
            _ => {}
        }
        request
    }

    fn filter(&mut self, mut request: Request) -> Request {
        let whole = !self.rules.hides_fields() && self.rules.pin.is_none();
        match self.random.u32(0..9) {
            0 => {
                request.query.push(("filter", "_doc_ids".into()));
                let ids = json!(self.ids()).to_string();
                request.query.push(("doc_ids", ids));
            }
            1 => {
                request.query.push(("filter", "_doc_ids".into()));
                request = request.with_body(json!({ "doc_ids": self.ids() }));
            }
            2 | 3 => {
                request.query.push(("filter", "_selector".into()));
                let selector = self.selector(2);
                request = request.with_body(json!({ "selector": selector }));
            }
            4 if self.couchdb => request.query.push(("filter", "_design".into())),
            5 if whole => {
                request.query.retain(|(name, _)| *name != "style");
                request.query.push(("filter", "app/typed".into()));
                request.twin = Twin::Whole;
            }
            6 if whole => {
                request.query.retain(|(name, _)| *name != "style");
                request.query.push(("filter", "_view".into()));
                request.query.push(("view", "app/sums".into()));
                request.twin = Twin::Whole;
            }
            _ => {}
        }
        request
    }

    /// Feeds that wait for what changes next, for a moment.
    fn waiting(&mut self, request: &mut Request) {
        let (feed, shape) = self.pick(&[
            ("longpoll", Shape::Plain),
            ("continuous", Shape::Lines),
            ("eventsource", Shape::Events),
        ]);
        request.query.push(("feed", feed.to_owned()));
        request.query.push(("timeout", "150".to_owned()));
        request.shape = shape;
    }
}
