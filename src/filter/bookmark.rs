//! Bookmarks of `_find`: CouchDB's own names the last row that was looked at, hidden or not, so it leaves only
//! sealed, with the number of rows behind it that have been consumed.

use std::sync::Arc;

use crate::json::Value;
use crate::secret::Seal;

/// Seals and opens bookmarks for one caller, one database and one query.
#[derive(Debug, Clone)]
pub(crate) struct Bookmarks {
    seal: Arc<Seal>,
    context: Vec<u8>,
}

impl Bookmarks {
    /// `query` is what must stay the same from page to page.
    pub(crate) fn new(seal: Arc<Seal>, db: &str, fingerprint: &[u8], query: &[u8]) -> Self {
        let context = [
            b"bookmark\0",
            db.as_bytes(),
            b"\0",
            fingerprint,
            b"\0",
            query,
        ]
        .concat();
        Self { seal, context }
    }

    /// A bookmark for the client.
    pub(crate) fn seal(&self, bookmark: &Value, consumed: u64) -> String {
        let place = Value::Array(vec![bookmark.clone(), Value::Number(consumed.into())]);
        self.seal.seal(&self.context, &place.to_bytes())
    }

    /// The place that a client's bookmark stands for; none for one that was not made here for this query.
    pub(crate) fn open(&self, bookmark: &str) -> Option<(Value, u64)> {
        let place = Value::parse(&self.seal.open(&self.context, bookmark)?).ok()?;
        match place.as_array()? {
            [bookmark, Value::Number(consumed)] => Some((bookmark.clone(), consumed.as_u64()?)),
            _ => None,
        }
    }
}
