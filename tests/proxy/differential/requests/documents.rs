//! One document: its winner, a revision, its leaves, its attachments.

use serde_json::json;

use super::{Draw, Request, Shape, encode};
use crate::differential::model::Twin;

impl Draw<'_> {
    pub(super) fn document(&mut self) -> Request {
        let id = self.id();
        let path = format!("/{}", encode(&id));
        let mut request = match self.random.u32(0..5) {
            0 => self.open_revs(&id, &path),
            1 => self.revision(&id, &path),
            _ => self.winner(&path),
        };
        if request.shape == Shape::Plain {
            self.ways(&mut request);
        }
        request
    }

    fn open_revs(&mut self, id: &str, path: &str) -> Request {
        let mut request = Request::get("document open_revs", path, Twin::Leaves);
        let named = match self.random.bool() {
            true => "all".to_owned(),
            false => {
                let mut revs = self.several(4, |draw| draw.rev(id));
                revs.push(self.rev(id));
                json!(revs).to_string()
            }
        };
        request.query.push(("open_revs", named));
        let names = [
            "revs",
            "attachments",
            "latest",
            "att_encoding_info",
            "conflicts",
        ];
        let names = if self.couchdb {
            &names[..]
        } else {
            &names[..3]
        };
        self.flags(&mut request.query, names);
        if self.couchdb && self.some() {
            request.headers.push(("accept", "multipart/mixed"));
        }
        request.shape = Shape::Unordered;
        request
    }

    fn revision(&mut self, id: &str, path: &str) -> Request {
        let mut request = Request::get("document rev", path, Twin::Leaves);
        request.query.push(("rev", self.rev(id)));
        let names = ["revs", "attachments", "att_encoding_info"];
        self.flags(&mut request.query, &names);
        // CouchDB takes `latest` for the winner; the embedded server does not.
        if self.couchdb && self.some() {
            request.query.push(("latest", "true".to_owned()));
            request.twin = Twin::Winners;
        }
        if self.couchdb && self.some() {
            self.since(id, &mut request);
        }
        request
    }

    fn winner(&mut self, path: &str) -> Request {
        let mut request = Request::get("document", path, Twin::Winners);
        let names = [
            "revs",
            "conflicts",
            "deleted_conflicts",
            "attachments",
            "att_encoding_info",
            "meta",
            "revs_info",
            "local_seq",
            "deleted",
        ];
        let names = if self.couchdb {
            &names[..]
        } else {
            &names[..6]
        };
        self.flags(&mut request.query, names);
        request
    }

    /// Attachments newer than what somebody has.
    fn since(&mut self, id: &str, request: &mut Request) {
        let revs = self.several(3, |draw| draw.rev(id));
        request.query.push(("atts_since", json!(revs).to_string()));
    }

    /// Sometimes by its head only, or only if it has changed.
    fn ways(&mut self, request: &mut Request) {
        match self.random.u32(0..8) {
            0 => request.method = "HEAD",
            1 => request.shape = Shape::Tagged,
            2 if self.couchdb => request.headers.push(("accept", "multipart/related")),
            _ => {}
        }
    }

    pub(super) fn attachment(&mut self) -> Request {
        let id = self.id();
        let name = self.pick(&["note.txt", "pic/1.png", "secret.bin"]);
        let path = format!("/{}/{name}", encode(&id));
        let mut request = Request::get("attachment", &path, Twin::Winners);
        if self.random.bool() {
            request.query.push(("rev", self.rev(&id)));
            request.twin = Twin::Leaves;
        }
        if self.couchdb {
            request.shape = Shape::Bytes;
            match self.random.u32(0..8) {
                0 => request.method = "HEAD",
                1 => request.shape = Shape::Tagged,
                _ => {}
            }
            if self.some() {
                let ranges = [
                    "bytes=0-3",
                    "bytes=2-",
                    "bytes=-2",
                    "bytes=90-99",
                    "bytes=1-1,3-4",
                ];
                request.headers.push(("range", self.pick(&ranges)));
            }
            if self.some() {
                request.headers.push(("accept-encoding", "gzip"));
            }
        }
        request
    }
}
