//! What the replicator tells about its jobs; and `_local` documents, which do not replicate.

use super::{Couch, CouchError};
use crate::json::{Object, Value};
use crate::route::{DatabaseCall, DbName, LocalId, Method, ServerCall, Text};

impl Couch {
    /// `_scheduler/docs/DB/ID`; nothing if the replicator knows of no such document.
    pub(crate) async fn job(&self, db: &DbName, id: &str) -> Result<Option<Value>, CouchError> {
        let id = Text::parse(id).map_err(|_| CouchError::Name)?;
        let call = ServerCall::SchedulerDocs(Some(db.clone()), Some(id));
        self.run(self.server(call)).await?.found()
    }

    /// A `_local` document.
    pub(crate) async fn local(
        &self,
        db: &DbName,
        id: &LocalId,
    ) -> Result<Option<Value>, CouchError> {
        let call = DatabaseCall::Local(id.clone());
        let errand = self.errand(db, Method::Get, call, &[]);
        self.run(errand).await?.found()
    }

    /// Sets one member of a `_local` document, whoever has written it last.
    pub(crate) async fn put_local(
        &self,
        db: &DbName,
        id: &LocalId,
        member: &str,
        value: Value,
    ) -> Result<(), CouchError> {
        let found = self.local(db, id).await?;
        let rev = found.as_ref().and_then(|found| found.get("_rev"));
        let mut document = Object::new();
        if let Some(rev) = rev {
            document.insert("_rev", rev.clone());
        }
        document.insert(member, value);
        match self.replace_local(db, id, document).await {
            Ok(()) | Err(CouchError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes a `_local` document, which names the revision that it replaces.
    pub(crate) async fn replace_local(
        &self,
        db: &DbName,
        id: &LocalId,
        document: Object,
    ) -> Result<(), CouchError> {
        let call = DatabaseCall::Local(id.clone());
        let mut errand = self.errand(db, Method::Put, call, &[]);
        errand.body = Some(document.into());
        let written = self.run(errand).await?.found()?;
        written.map(|_| ()).ok_or(CouchError::Status(404))
    }
}
