//! What we ask of the server as a whole, and of a database as a whole.

use super::{Couch, CouchError, Errand, pairs};
use crate::client::Kind;
use crate::json::Value;
use crate::route::{Call, DatabaseCall, DbName, Method, Route, ServerCall};

impl Couch {
    /// Whether CouchDB is up, by `/_up`.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from answering.
    pub(crate) async fn up(&self) -> Result<(), CouchError> {
        match self.run(self.server(ServerCall::Up)).await?.status {
            200 => Ok(()),
            status => Err(CouchError::Status(status)),
        }
    }

    /// The names of all databases, in CouchDB's order.
    pub(crate) async fn all_dbs(&self) -> Result<Vec<String>, CouchError> {
        let answer = self.run(self.server(ServerCall::AllDbs)).await?.found()?;
        let names = answer.as_ref().and_then(Value::as_array);
        let names = names.ok_or(CouchError::Unreadable("no list of databases"))?;
        Ok(names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect())
    }

    /// `GET /{db}`; nothing if there is no such database.
    pub(crate) async fn info(&self, db: &DbName) -> Result<Option<Value>, CouchError> {
        self.run(self.errand(db, Method::Get, DatabaseCall::Itself, &[]))
            .await?
            .found()
    }

    pub(super) fn server(&self, call: ServerCall) -> Errand<'_> {
        Errand {
            route: Route {
                call: Call::Server(call),
                method: Method::Get,
                query: pairs(&[]),
            },
            account: &self.account,
            body: None,
            kind: Kind::Request,
            forwarded_for: None,
        }
    }
}
