//! Design documents and the indexes that CouchDB makes of them.

use super::documents::text;
use super::{Couch, CouchError};
use crate::client::ClientError;
use crate::json::Value;
use crate::route::{
    DatabaseCall, DbName, DesignCall, DesignName, DocId, FunctionName, List, Method, Rev,
    ServerCall,
};

impl Couch {
    /// All design documents of a database; nothing if there is no such database.
    pub(crate) async fn designs(&self, db: &DbName) -> Result<Option<Vec<Value>>, CouchError> {
        let call = DatabaseCall::List(List::Design);
        let errand = self.errand(db, Method::Get, call, &[("include_docs", "true")]);
        let Some(answer) = self.run(errand).await?.found()? else {
            return Ok(None);
        };
        let rows = answer.get("rows").and_then(Value::as_array);
        let rows = rows.ok_or(CouchError::Unreadable("no rows"))?;
        let docs = rows.iter().filter_map(|row| row.get("doc"));
        Ok(Some(docs.filter(|doc| !doc.is_null()).cloned().collect()))
    }

    /// Writes a design document, which CouchDB compiles first.
    pub(crate) async fn put_design(
        &self,
        db: &DbName,
        name: &DesignName,
        document: &Value,
    ) -> Result<Rev, CouchError> {
        let call = DatabaseCall::Document(design_id(name)?);
        let mut errand = self.errand(db, Method::Put, call, &[]);
        errand.body = Some(document.clone());
        let answer = self.run(errand).await?;
        if matches!(answer.status, 400 | 403) {
            let told = Value::parse(&answer.body).ok();
            let reason = told.as_ref().and_then(|told| text(told, "reason"));
            return Err(CouchError::Refused(reason.unwrap_or_default().to_owned()));
        }
        let answer = answer.found()?.ok_or(CouchError::Status(404))?;
        let rev = text(&answer, "rev").and_then(|rev| Rev::parse(rev).ok());
        rev.ok_or(CouchError::Unreadable("no revision"))
    }

    /// Deletes a document at this revision; it may be gone already.
    pub(crate) async fn delete(
        &self,
        db: &DbName,
        id: &DocId,
        rev: &str,
    ) -> Result<(), CouchError> {
        let call = DatabaseCall::Document(id.clone());
        let errand = self.errand(db, Method::Delete, call, &[("rev", rev)]);
        self.run(errand).await?.found().map(|_| ())
    }

    /// Asks a view for no row at all, which CouchDB answers once the index is up to date. False: it is still
    /// being built, and goes on being built.
    pub(crate) async fn is_built(
        &self,
        db: &DbName,
        ddoc: &DesignName,
        view: &FunctionName,
    ) -> Result<bool, CouchError> {
        let call = DatabaseCall::Design {
            ddoc: ddoc.clone(),
            call: DesignCall::View(view.clone()),
        };
        let query = [("limit", "0"), ("reduce", "false")];
        let errand = self.errand(db, Method::Get, call, &query);
        match self.run(errand).await {
            Ok(answer) => answer.found()?.map(|_| true).ok_or(CouchError::Status(404)),
            Err(CouchError::Client(ClientError::Slow)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How much of the index of a design document has been made, in percent, over all shards; nothing if
    /// none is being made.
    pub(crate) async fn indexing(
        &self,
        db: &DbName,
        ddoc: &DesignName,
    ) -> Result<Option<u64>, CouchError> {
        let answer = self.run(self.server(ServerCall::ActiveTasks)).await?;
        let Some(Value::Array(tasks)) = answer.found()? else {
            return Ok(None);
        };
        // A task names a shard: `shards/00000000-7fffffff/DB.1700000000`.
        let (shard, id) = (format!("/{}.", db.as_str()), design_id(ddoc)?);
        let ours = tasks.iter().filter(|task| {
            text(task, "design_document") == Some(id.as_str())
                && text(task, "database").is_some_and(|database| database.contains(&shard))
        });
        let number = |task: &Value, name: &str| {
            let number = task.get(name).and_then(Value::as_number);
            number
                .and_then(|number| number.as_u64())
                .unwrap_or_default()
        };
        let (mut done, mut all) = (0_u64, 0_u64);
        for task in ours {
            done = done.saturating_add(number(task, "changes_done"));
            all = all.saturating_add(number(task, "total_changes"));
        }
        Ok(done.saturating_mul(100).checked_div(all))
    }
}

fn design_id(name: &DesignName) -> Result<DocId, CouchError> {
    DocId::parse(&format!("_design/{}", name.as_str())).map_err(|_| CouchError::Name)
}
