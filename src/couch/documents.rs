//! Documents: by id, in numbers, all revisions; and the one way to write one.
//!
//! Invariant: answers stand in the order of what was asked, and an answer that can't be laid beside its
//! question is an error.

use std::collections::HashMap;

use super::{Answer, Couch, CouchError};
use crate::json::{Object, Value};
use crate::route::{DatabaseCall, DbName, DocId, List, Maintenance, Method, Rev};

/// How many documents are asked for at once.
const BATCH: usize = 500;

impl Couch {
    /// The winning revision; nothing if the document is absent or deleted.
    pub(crate) async fn read(&self, db: &DbName, id: &DocId) -> Result<Option<Value>, CouchError> {
        let errand = self.errand(db, Method::Get, DatabaseCall::Document(id.clone()), &[]);
        self.run(errand).await?.found()
    }

    /// The winning revisions of many documents. A deleted one is `{"_id","_rev","_deleted":true}`.
    pub(crate) async fn read_many(
        &self,
        db: &DbName,
        ids: &[&str],
    ) -> Result<Vec<Option<Value>>, CouchError> {
        self.read_each(db, ids).await?.into_iter().collect()
    }

    /// The same; an error of its own for each that is there and too long or too deep to be read.
    pub(crate) async fn read_each(
        &self,
        db: &DbName,
        ids: &[&str],
    ) -> Result<Vec<Result<Option<Value>, CouchError>>, CouchError> {
        let mut found = Vec::with_capacity(ids.len());
        let mut batches: Vec<_> = ids.chunks(BATCH).rev().collect();
        while let Some(batch) = batches.pop() {
            match self.read_batch(db, batch).await {
                Err(CouchError::TooDeep | CouchError::TooLong(_)) if batch.len() > 1 => {
                    halve(&mut batches, batch);
                }
                Err(error @ (CouchError::TooDeep | CouchError::TooLong(_))) => {
                    found.push(Err(error));
                }
                outcome => found.extend(outcome?.into_iter().map(Ok)),
            }
        }
        Ok(found)
    }

    async fn read_batch(
        &self,
        db: &DbName,
        ids: &[&str],
    ) -> Result<Vec<Option<Value>>, CouchError> {
        let call = DatabaseCall::List(List::All);
        let mut errand = self.errand(db, Method::Post, call, &[("include_docs", "true")]);
        let keys: Vec<Value> = ids.iter().map(|id| Value::from(*id)).collect();
        errand.body = Some(object([("keys", keys.into())]));
        let Some(answer) = self.run(errand).await?.found()? else {
            return Ok(ids.iter().map(|_| None).collect());
        };
        let rows = answer.get("rows").and_then(Value::as_array);
        let rows = rows.ok_or(CouchError::Unreadable("no rows"))?;
        if rows.len() != ids.len() {
            return Err(CouchError::Unreadable("not one row for each key"));
        }
        rows.iter()
            .zip(ids)
            .map(|(row, id)| document_of(row, id))
            .collect()
    }

    /// Revisions with their histories, bodies of deleted ones included. Where no revision is named, every
    /// leaf; nothing for what CouchDB does not have.
    pub(crate) async fn read_revisions(
        &self,
        db: &DbName,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<Vec<Vec<Value>>, CouchError> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut batches: Vec<_> = wanted.chunks(BATCH).rev().collect();
        while let Some(batch) = batches.pop() {
            match self.read_revisions_of(db, batch).await {
                Err(CouchError::TooLong(_)) if batch.len() > 1 => halve(&mut batches, batch),
                outcome => found.extend(outcome?),
            }
        }
        Ok(found)
    }

    /// The same; none for what is there and too long or too deep to be read.
    pub(crate) async fn read_readable(
        &self,
        db: &DbName,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<Vec<Option<Vec<Value>>>, CouchError> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut batches = vec![wanted];
        while let Some(batch) = batches.pop() {
            match self.read_revisions(db, batch).await {
                Err(CouchError::TooDeep | CouchError::TooLong(_)) if batch.len() > 1 => {
                    halve(&mut batches, batch);
                }
                Err(CouchError::TooDeep | CouchError::TooLong(_)) => found.push(None),
                outcome => found.extend(outcome?.into_iter().map(Some)),
            }
        }
        Ok(found)
    }

    /// Which of these revisions CouchDB does not have; `asked` is a list of them for each document.
    pub(crate) async fn missing(&self, db: &DbName, asked: Object) -> Result<Object, CouchError> {
        let mut errand = self.errand(db, Method::Post, DatabaseCall::MissingRevs, &[]);
        errand.body = Some(asked.into());
        let answer = self.run(errand).await?.found()?;
        let mut answer = answer.ok_or(CouchError::Unreadable("no database"))?;
        let missing = answer
            .as_object_mut()
            .and_then(|answer| answer.remove("missing_revs"));
        match missing {
            Some(Value::Object(missing)) => Ok(missing),
            Some(_) | None => Err(CouchError::Unreadable("no missing revisions")),
        }
    }

    async fn read_revisions_of(
        &self,
        db: &DbName,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<Vec<Vec<Value>>, CouchError> {
        let mut errand = self.errand(db, Method::Post, DatabaseCall::BulkGet, &[("revs", "true")]);
        let docs = wanted.iter().map(|(id, rev)| {
            let mut one = vec![("id", Value::from(*id))];
            one.extend(rev.map(|rev| ("rev", Value::from(rev))));
            object(one)
        });
        errand.body = Some(object([("docs", docs.collect::<Vec<_>>().into())]));
        let Some(answer) = self.run(errand).await?.found()? else {
            return Ok(wanted.iter().map(|_| Vec::new()).collect());
        };
        let by_id = revisions_by_id(&answer)?;
        let of = |id: &str, rev: Option<&str>| -> Vec<Value> {
            let all = by_id.get(id).into_iter().flatten();
            all.filter(|doc| rev.is_none() || text(doc, "_rev") == rev)
                .map(|doc| (*doc).clone())
                .collect()
        };
        Ok(wanted.iter().map(|(id, rev)| of(id, *rev)).collect())
    }

    /// One revision, the bytes of its attachments inside.
    pub(crate) async fn read_with_attachments(
        &self,
        db: &DbName,
        id: &DocId,
        rev: &str,
    ) -> Result<Option<Value>, CouchError> {
        let query = [("attachments", "true"), ("rev", rev)];
        let errand = self.errand(db, Method::Get, DatabaseCall::Document(id.clone()), &query);
        self.run(errand).await?.found()
    }

    /// Every leaf of a document with its history, bodies of deleted ones included.
    pub(crate) async fn leaves(&self, db: &DbName, id: &DocId) -> Result<Vec<Value>, CouchError> {
        let query = [("open_revs", "all"), ("revs", "true")];
        let errand = self.errand(db, Method::Get, DatabaseCall::Document(id.clone()), &query);
        let Some(answer) = self.run(errand).await?.found()? else {
            return Ok(Vec::new());
        };
        let leaves = answer
            .as_array()
            .ok_or(CouchError::Unreadable("no list of revisions"))?;
        Ok(leaves
            .iter()
            .filter_map(|leaf| leaf.get("ok").cloned())
            .collect())
    }

    /// Writes a document, which names the revision that it replaces.
    ///
    /// Only a 201 counts, or for a tombstone a 200: by a 202 a cluster says that too few of its copies have
    /// taken it, and another revision may still win.
    pub(crate) async fn put(
        &self,
        db: &DbName,
        id: &DocId,
        document: &Value,
    ) -> Result<Rev, CouchError> {
        let mut errand = self.errand(db, Method::Put, DatabaseCall::Document(id.clone()), &[]);
        errand.body = Some(document.clone());
        let answer = created(&self.run(errand).await?)?;
        let rev = text(&answer, "rev").and_then(|rev| Rev::parse(rev).ok());
        rev.ok_or(CouchError::Unreadable("no revision"))
    }

    /// Writes a document under the revision and the history that it names (`_rev`, `_revisions`). To do it
    /// again changes nothing. Only a 201 counts, as for [`Self::put`].
    pub(crate) async fn graft(&self, db: &DbName, document: &Value) -> Result<(), CouchError> {
        let mut errand = self.errand(db, Method::Post, DatabaseCall::BulkDocs, &[]);
        let docs = Value::from(vec![document.clone()]);
        errand.body = Some(object([("docs", docs), ("new_edits", false.into())]));
        let answer = created(&self.run(errand).await?)?;
        // Rows are errors: validation has refused it.
        let rows = answer.as_array().unwrap_or_default();
        match rows.iter().any(|row| row.get("error").is_some()) {
            true => Err(CouchError::Status(403)),
            false => Ok(()),
        }
    }

    /// Documents in the order of their ids, after the one named.
    pub(crate) async fn page(
        &self,
        db: &DbName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>, CouchError> {
        let start = after.map(|id| Value::from(id).to_string());
        let limit = limit.to_string();
        let mut query = vec![("include_docs", "true"), ("limit", limit.as_str())];
        if let Some(start) = &start {
            query.extend([("startkey", start.as_str()), ("skip", "1")]);
        }
        let errand = self.errand(db, Method::Get, DatabaseCall::List(List::All), &query);
        let Some(answer) = self.run(errand).await?.found()? else {
            return Ok(Vec::new());
        };
        let rows = answer.get("rows").and_then(Value::as_array);
        let rows = rows.ok_or(CouchError::Unreadable("no rows"))?;
        Ok(rows
            .iter()
            .filter_map(|row| row.get("doc"))
            .filter(|doc| !doc.is_null())
            .cloned()
            .collect())
    }

    /// The ids and revisions of the first documents before an id, in the order of ids.
    pub(crate) async fn ids_before(
        &self,
        db: &DbName,
        end: &str,
        limit: usize,
    ) -> Result<Vec<(String, String)>, CouchError> {
        let (end, limit) = (Value::from(end).to_string(), limit.to_string());
        let query = [("endkey", end.as_str()), ("limit", limit.as_str())];
        let errand = self.errand(db, Method::Get, DatabaseCall::List(List::All), &query);
        let Some(answer) = self.run(errand).await?.found()? else {
            return Ok(Vec::new());
        };
        let rows = answer.get("rows").and_then(Value::as_array);
        let rows = rows.ok_or(CouchError::Unreadable("no rows"))?;
        let pair = |row: &Value| {
            let rev = text(row.get("value")?, "rev")?;
            Some((text(row, "id")?.to_owned(), rev.to_owned()))
        };
        Ok(rows.iter().filter_map(pair).collect())
    }

    /// Removes documents without a trace: these revisions, each the only leaf of its document.
    pub(crate) async fn purge(
        &self,
        db: &DbName,
        documents: &[(String, String)],
    ) -> Result<(), CouchError> {
        let call = DatabaseCall::Maintain(Maintenance::Purge);
        let mut errand = self.errand(db, Method::Post, call, &[]);
        let documents = documents.iter();
        errand.body =
            Some(object(documents.map(|(id, rev)| {
                (id.as_str(), Value::from(vec![rev.as_str().into()]))
            })));
        let done = self.run(errand).await?.found()?;
        done.map(|_| ()).ok_or(CouchError::Status(404))
    }

    /// The Mango indexes, as `_index` lists them.
    pub(crate) async fn indexes(&self, db: &DbName) -> Result<Vec<Value>, CouchError> {
        let errand = self.errand(db, Method::Get, DatabaseCall::Index, &[]);
        let Some(answer) = self.run(errand).await?.found()? else {
            return Ok(Vec::new());
        };
        let listed = answer.get("indexes").and_then(Value::as_array);
        Ok(listed.ok_or(CouchError::Unreadable("no indexes"))?.to_vec())
    }
}

/// Puts a batch whose answer is too long back in two halves, the first one next.
fn halve<'w, W>(batches: &mut Vec<&'w [W]>, batch: &'w [W]) {
    let (first, second) = batch.split_at(batch.len() / 2);
    batches.push(second);
    batches.push(first);
}

/// The document in a row of `_all_docs`, which must be the row for this id.
fn document_of(row: &Value, id: &str) -> Result<Option<Value>, CouchError> {
    if text(row, "key") != Some(id) {
        return Err(CouchError::Unreadable("a row for another key"));
    }
    if row.get("error").is_some() {
        return Ok(None);
    }
    match row.get("doc") {
        Some(doc) if !doc.is_null() => Ok(Some(doc.clone())),
        Some(_) | None => {
            let rev = row.get("value").and_then(|value| text(value, "rev"));
            let rev = rev.ok_or(CouchError::Unreadable("a row without its document"))?;
            Ok(Some(object([
                ("_id", id.into()),
                ("_rev", rev.into()),
                ("_deleted", true.into()),
            ])))
        }
    }
}

/// The documents of a `_bulk_get`, however the server has grouped them.
fn revisions_by_id(answer: &Value) -> Result<HashMap<&str, Vec<&Value>>, CouchError> {
    let results = answer.get("results").and_then(Value::as_array);
    let results = results.ok_or(CouchError::Unreadable("no results"))?;
    let mut by_id: HashMap<&str, Vec<&Value>> = HashMap::new();
    for result in results {
        let docs = result.get("docs").and_then(Value::as_array);
        for doc in docs
            .unwrap_or_default()
            .iter()
            .filter_map(|doc| doc.get("ok"))
        {
            let id = text(doc, "_id").ok_or(CouchError::Unreadable("a document without id"))?;
            let known = by_id.entry(id).or_default();
            if known
                .iter()
                .all(|other| other.get("_rev") != doc.get("_rev"))
            {
                known.push(doc);
            }
        }
    }
    Ok(by_id)
}

/// The JSON of a write that a majority has taken.
fn created(answer: &Answer) -> Result<Value, CouchError> {
    match answer.status {
        200 | 201 => Ok(Value::parse(&answer.body)?),
        409 | 412 => Err(CouchError::Conflict),
        status => Err(CouchError::Status(status)),
    }
}

pub(super) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

/// An object of these members, whose names are all different.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut object = Object::new();
    for (key, value) in members {
        object.insert(key, value);
    }
    object.into()
}
