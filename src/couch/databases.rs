//! Databases as a whole: made, and who may enter.

use super::{Couch, CouchError};
use crate::json::Value;
use crate::route::{DatabaseCall, DbName, Method};

impl Couch {
    /// Makes a database; it may be there already.
    pub(crate) async fn create(&self, db: &DbName) -> Result<(), CouchError> {
        let errand = self.errand(db, Method::Put, DatabaseCall::Itself, &[]);
        match self.run(errand).await?.found() {
            Ok(_) | Err(CouchError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// `_security`, empty where nobody has set one; nothing if there is no such database.
    pub(crate) async fn security(&self, db: &DbName) -> Result<Option<Value>, CouchError> {
        self.run(self.errand(db, Method::Get, DatabaseCall::Security, &[]))
            .await?
            .found()
    }

    /// Sets `_security`. CouchDB keeps no revisions of it: the last one to write it wins.
    pub(crate) async fn put_security(&self, db: &DbName, to: &Value) -> Result<(), CouchError> {
        let mut errand = self.errand(db, Method::Put, DatabaseCall::Security, &[]);
        errand.body = Some(to.clone());
        let done = self.run(errand).await?.found()?;
        done.map(|_| ()).ok_or(CouchError::Status(404))
    }
}
