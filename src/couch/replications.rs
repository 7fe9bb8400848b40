//! What the replicator tells about its jobs.

use super::{Couch, CouchError};
use crate::json::Value;
use crate::route::{DbName, ServerCall, Text};

impl Couch {
    /// `_scheduler/docs/DB/ID`; nothing if the replicator knows of no such document.
    pub(crate) async fn job(&self, db: &DbName, id: &str) -> Result<Option<Value>, CouchError> {
        let id = Text::parse(id).map_err(|_| CouchError::Name)?;
        let call = ServerCall::SchedulerDocs(Some(db.clone()), Some(id));
        self.run(self.server(call)).await?.found()
    }
}
