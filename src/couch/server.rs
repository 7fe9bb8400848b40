//! What we ask of the server as a whole, and of a database as a whole.

use super::{Couch, CouchError, Errand, Goes, pairs};
use crate::client::Kind;
use crate::json::{Object, Value};
use crate::route::{Call, ClusterNodeCall, DatabaseCall, DbName, Method, Route, ServerCall, Text};

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

    /// The server administrators of CouchDB's configuration, who have no document; none where that is not
    /// told.
    pub(crate) async fn administrators(&self) -> Result<Vec<String>, CouchError> {
        let section = self.section("admins").await?;
        Ok(section.iter().map(|(name, _)| name.to_owned()).collect())
    }

    /// Whether CouchDB serves some hosts other paths than it is asked for; not, where that is not told.
    pub(crate) async fn has_virtual_hosts(&self) -> Result<bool, CouchError> {
        let section = self.section("vhosts").await?;
        Ok(section.iter().any(|(_, path)| path.as_str() != Some("")))
    }

    /// A section of CouchDB's configuration; empty where it is not told.
    async fn section(&self, name: &str) -> Result<Object, CouchError> {
        let text = |text| Text::parse(text).map_err(|_| CouchError::Name);
        let call = ClusterNodeCall::Config(Some(text(name)?), None);
        let node = text("_local")?;
        let answer = self
            .run(self.server(ServerCall::ClusterNode { node, call }))
            .await?;
        if answer.status != 200 {
            return Ok(Object::new());
        }
        match Value::parse(&answer.body)? {
            Value::Object(section) => Ok(section),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Ok(Object::new()),
        }
    }

    /// `GET /{db}`; nothing if there is no such database.
    pub(crate) async fn info(&self, db: &DbName) -> Result<Option<Value>, CouchError> {
        self.run(self.errand(db, Method::Get, DatabaseCall::Itself, &[]))
            .await?
            .found()
    }

    pub(super) fn server(&self, call: ServerCall) -> Errand {
        Errand {
            route: Route {
                call: Call::Server(call),
                method: Method::Get,
                query: pairs(&[]),
            },
            goes: Goes::Administrator,
            body: None,
            kind: Kind::Request,
            forwarded_for: None,
            most: usize::MAX,
        }
    }
}
