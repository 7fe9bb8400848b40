//! Documents: by id, in numbers, all revisions; and the one way to write one.
//!
//! Invariant: answers stand in the order of what was asked, and an answer that can't be laid beside its
//! question is an error. What is read for a request is counted as long as it is held.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Answer, Couch, CouchError};
use crate::budget::{Counted, Share};
use crate::json::{Object, Value};
use crate::route::{DatabaseCall, DbName, DocId, List, Maintenance, Method, Rev, in_url};

/// How many documents are asked for at once.
const BATCH: usize = 500;
/// What an answer about several documents may take, in bytes: where it takes more, fewer are asked for.
const PART: usize = 8 * 1024 * 1024;
/// So many revisions of one document are asked for one by one at most. For each of them CouchDB reads all the revisions
/// that the document has.
const ONE_BY_ONE: usize = 16;
/// What a path and its query may take, in bytes: CouchDB reads a request line of 8 KiB.
const LINE: usize = 7000;

/// Documents as they were found: all leaves of one, or none where it is there and too long or too deep to be read.
pub(crate) type Revisions = Option<Vec<Counted<Value>>>;

/// How many documents are asked for at once: fewer where they are long.
#[derive(Debug)]
pub(crate) struct Pace(usize);

impl Default for Pace {
    fn default() -> Self {
        Self(BATCH)
    }
}

impl Pace {
    /// Goes on with fewer than this, if that can help; else gives the error back.
    fn slow_down(&mut self, asked: usize, error: CouchError) -> Result<(), CouchError> {
        let helps = matches!(
            error,
            CouchError::TooDeep | CouchError::TooLong(_) | CouchError::NoRoom
        );
        if !helps || asked < 2 {
            return Err(error);
        }
        self.0 = asked / 2;
        Ok(())
    }

    /// How many are asked for at once now.
    pub(crate) fn most(&self) -> usize {
        self.0
    }

    fn speed_up(&mut self) {
        self.0 = self.0.saturating_mul(2).min(BATCH);
    }
}

/// The first of these things, each once, and how many of the list they stand for.
fn distinct<T: Copy + Eq + Hash>(list: &[T], most: usize) -> (Vec<T>, usize) {
    let mut seen = HashSet::new();
    let mut first = Vec::new();
    for (place, one) in list.iter().enumerate() {
        if seen.contains(one) {
            continue;
        }
        if first.len() == most {
            return (first, place);
        }
        seen.insert(*one);
        first.push(*one);
    }
    (first, list.len())
}

impl Couch {
    /// The winning revision; nothing if the document is absent or deleted.
    pub(crate) async fn read(&self, db: &DbName, id: &DocId) -> Result<Option<Value>, CouchError> {
        let errand = self.errand(db, Method::Get, DatabaseCall::Document(id.clone()), &[]);
        self.run(errand).await?.found()
    }

    /// The winning revision, counted as long as it is held.
    pub(crate) async fn read_one(
        &self,
        db: &DbName,
        id: &DocId,
    ) -> Result<Option<Counted<Value>>, CouchError> {
        let errand = self.errand(db, Method::Get, DatabaseCall::Document(id.clone()), &[]);
        let found = self.run(errand).await?.kept()?;
        Ok(found.map(|(document, share)| Counted::new(document, share)))
    }

    /// The winning revisions of many documents. A deleted one is `{"_id","_rev","_deleted":true}`.
    pub(crate) async fn read_many(
        &self,
        db: &DbName,
        ids: &[&str],
    ) -> Result<Vec<Option<Value>>, CouchError> {
        let (mut found, mut pace) = (Vec::with_capacity(ids.len()), Pace::default());
        while let Some(rest) = ids.get(found.len()..).filter(|rest| !rest.is_empty()) {
            for one in self.read_some(db, rest, &mut pace).await? {
                found.push(one?.map(Counted::into_inner));
            }
        }
        Ok(found)
    }

    /// The winning revisions of the first of these documents, of at least one and of as many as may be held together.
    /// An error of its own for each that is there and too long or too deep to be read.
    pub(crate) async fn read_some(
        &self,
        db: &DbName,
        ids: &[&str],
        pace: &mut Pace,
    ) -> Result<Vec<Result<Option<Counted<Value>>, CouchError>>, CouchError> {
        let (found, stands_for) = loop {
            let (batch, stands_for) = distinct(ids, pace.0);
            match self.read_batch(db, &batch).await {
                Ok(found) => {
                    pace.speed_up();
                    let found = found.into_iter().map(Ok);
                    break (batch.into_iter().zip(found).collect(), stands_for);
                }
                Err(error) => match pace.slow_down(batch.len(), error) {
                    Ok(()) => {}
                    Err(error @ (CouchError::TooDeep | CouchError::TooLong(_))) => {
                        let found: HashMap<&str, Result<_, CouchError>> = batch
                            .into_iter()
                            .map(|id| (id, Err(error.clone())))
                            .collect();
                        break (found, stands_for);
                    }
                    Err(error) => return Err(error),
                },
            }
        };
        let of = |id: &&str| found.get(id).cloned().unwrap_or(Ok(None));
        Ok(ids.iter().take(stands_for).map(of).collect())
    }

    async fn read_batch(
        &self,
        db: &DbName,
        ids: &[&str],
    ) -> Result<Vec<Option<Counted<Value>>>, CouchError> {
        let call = DatabaseCall::List(List::All);
        let mut errand = self.errand(db, Method::Post, call, &[("include_docs", "true")]);
        errand.most = most(ids);
        let keys: Vec<Value> = ids.iter().map(|id| Value::from(*id)).collect();
        errand.body = Some(object([("keys", keys.into())]));
        let Some((answer, share)) = self.run(errand).await?.kept()? else {
            return Ok(ids.iter().map(|_| None).collect());
        };
        let rows = member(answer, "rows").ok_or(CouchError::Unreadable("no rows"))?;
        if rows.len() != ids.len() {
            return Err(CouchError::Unreadable("not one row for each key"));
        }
        let found = rows.into_iter().zip(ids).map(|(row, id)| {
            let document = document_of(row, id)?;
            Ok(document.map(|document| Counted::new(document, share.clone())))
        });
        found.collect()
    }

    /// Revisions with their histories, bodies of deleted ones included. Where no revision is named, every
    /// leaf; nothing for what CouchDB does not have.
    pub(crate) async fn read_revisions(
        &self,
        db: &DbName,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<Vec<Vec<Counted<Value>>>, CouchError> {
        let (mut found, mut pace) = (Vec::with_capacity(wanted.len()), Pace::default());
        while let Some(rest) = wanted.get(found.len()..).filter(|rest| !rest.is_empty()) {
            for one in self.read_some_revisions(db, rest, &mut pace).await? {
                found.push(one.ok_or(CouchError::TooLong(self.limit))?);
            }
        }
        Ok(found)
    }

    /// Revisions as [`Self::read_revisions`] reads them: the first of these, at least one and as many as may be held
    /// together. None for what is there and too long or too deep to be read.
    pub(crate) async fn read_some_revisions(
        &self,
        db: &DbName,
        wanted: &[(&str, Option<&str>)],
        pace: &mut Pace,
    ) -> Result<Vec<Revisions>, CouchError> {
        let (found, stands_for) = loop {
            let (batch, stands_for) = distinct(wanted, pace.0);
            match self.read_revisions_of(db, &batch).await {
                Ok(found) => {
                    pace.speed_up();
                    let found = found.into_iter().map(Some);
                    break (batch.into_iter().zip(found).collect(), stands_for);
                }
                Err(error) => match pace.slow_down(batch.len(), error) {
                    Ok(()) => {}
                    Err(CouchError::TooDeep | CouchError::TooLong(_)) => {
                        let none: HashMap<_, Revisions> =
                            batch.into_iter().map(|one| (one, None)).collect();
                        break (none, stands_for);
                    }
                    Err(error) => return Err(error),
                },
            }
        };
        let of = |one| found.get(one).cloned().flatten();
        Ok(wanted.iter().take(stands_for).map(of).collect())
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
    ) -> Result<Vec<Vec<Counted<Value>>>, CouchError> {
        let (together, one_by_one) = grouped(wanted);
        let mut by_id = ById::new();
        let mut left = most(wanted);
        for (id, revs) in together {
            let query = [("open_revs", revs.as_str()), ("revs", "true")];
            let mut errand = self.errand(db, Method::Get, DatabaseCall::Document(id), &query);
            errand.most = left;
            let Some((answer, share)) = self.run(errand).await?.kept()? else {
                continue;
            };
            left = left.saturating_sub(share.as_ref().map_or(0, |share| share.weight()));
            let Value::Array(docs) = answer else {
                return Err(CouchError::Unreadable("no list of revisions"));
            };
            add_revisions(&mut by_id, docs, share.as_ref())?;
        }
        if !one_by_one.is_empty() {
            let query = [("revs", "true")];
            let mut errand = self.errand(db, Method::Post, DatabaseCall::BulkGet, &query);
            errand.most = left;
            let docs = one_by_one.into_iter().map(|(id, rev)| {
                let mut one = vec![("id", Value::from(id))];
                one.extend(rev.map(|rev| ("rev", Value::from(rev))));
                object(one)
            });
            errand.body = Some(object([("docs", docs.collect::<Vec<_>>().into())]));
            let Some((answer, share)) = self.run(errand).await?.kept()? else {
                return Ok(wanted.iter().map(|_| Vec::new()).collect());
            };
            // However the server has grouped them.
            let results = member(answer, "results").ok_or(CouchError::Unreadable("no results"))?;
            let docs = results.into_iter();
            let docs = docs.flat_map(|result| member(result, "docs").unwrap_or_default());
            add_revisions(&mut by_id, docs, share.as_ref())?;
        }
        let of = |id: &str, rev: Option<&str>| -> Vec<Counted<Value>> {
            let all = by_id.get(id);
            match rev {
                None => all.map(|all| all.values().cloned().collect()),
                Some(rev) => all.and_then(|all| Some(vec![all.get(rev)?.clone()])),
            }
            .unwrap_or_default()
        };
        Ok(wanted.iter().map(|(id, rev)| of(id, *rev)).collect())
    }

    /// One revision, the bytes of its attachments inside.
    pub(crate) async fn read_with_attachments(
        &self,
        db: &DbName,
        id: &DocId,
        rev: &str,
    ) -> Result<Option<Counted<Value>>, CouchError> {
        let query = [("attachments", "true"), ("rev", rev)];
        let errand = self.errand(db, Method::Get, DatabaseCall::Document(id.clone()), &query);
        let found = self.run(errand).await?.kept()?;
        Ok(found.map(|(document, share)| Counted::new(document, share)))
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

/// What an answer about these may take.
fn most<T>(asked: &[T]) -> usize {
    match asked.len() > 1 {
        true => PART,
        false => usize::MAX,
    }
}

/// The elements of this member of an object.
fn member(answer: Value, name: &str) -> Option<Vec<Value>> {
    let Value::Object(mut members) = answer else {
        return None;
    };
    match members.remove(name)? {
        Value::Array(elements) => Some(elements),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            None
        }
    }
}

/// The document in a row of `_all_docs`, which must be the row for this id.
fn document_of(row: Value, id: &str) -> Result<Option<Value>, CouchError> {
    if text(&row, "key") != Some(id) {
        return Err(CouchError::Unreadable("a row for another key"));
    }
    if row.get("error").is_some() {
        return Ok(None);
    }
    let rev = row.get("value").and_then(|value| text(value, "rev"));
    let rev = rev.map(str::to_owned);
    let Value::Object(mut row) = row else {
        return Ok(None);
    };
    match row.remove("doc") {
        Some(doc) if !doc.is_null() => Ok(Some(doc)),
        Some(_) | None => {
            let rev = rev.ok_or(CouchError::Unreadable("a row without its document"))?;
            Ok(Some(object([
                ("_id", id.into()),
                ("_rev", rev.into()),
                ("_deleted", true.into()),
            ])))
        }
    }
}

/// Documents by id and revision.
type ById = HashMap<String, HashMap<String, Counted<Value>>>;
/// A revision of a document, or every leaf of it.
type Wanted<'w> = (&'w str, Option<&'w str>);

/// Those of which several of one document are asked for together, as `open_revs` names them, and the rest. A caller
/// may have made thousands of leaves of one document, under whatever names.
fn grouped<'w>(wanted: &[Wanted<'w>]) -> (Vec<(DocId, String)>, Vec<Wanted<'w>>) {
    let mut named: BTreeMap<&str, (DocId, Vec<String>)> = BTreeMap::new();
    let mut rest = Vec::new();
    for one in wanted {
        let Some((id, rev)) = in_a_line(*one) else {
            rest.push(*one);
            continue;
        };
        let (_, revs) = named.entry(one.0).or_insert_with(|| (id, Vec::new()));
        revs.push(rev);
    }
    named.retain(|_, (_, revs)| revs.len() > ONE_BY_ONE);
    let few = wanted.iter().filter(|one| in_a_line(**one).is_some());
    rest.extend(few.filter(|(id, _)| !named.contains_key(id)));
    let mut together = Vec::new();
    for (id, revs) in named.into_values() {
        let mut list = String::new();
        for rev in revs {
            if !list.is_empty() && room(&id) < listed(&list) + listed(&rev) {
                together.push((id.clone(), format!("[{list}]")));
                list.clear();
            }
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&rev);
        }
        together.push((id, format!("[{list}]")));
    }
    (together, rest)
}

/// A revision as `open_revs` can name it beside others, and its document: one that is none fails all.
fn in_a_line((id, rev): Wanted<'_>) -> Option<(DocId, String)> {
    let rev = rev.filter(|rev| Rev::parse(rev).is_ok())?;
    let (id, rev) = (DocId::parse(id).ok()?, Value::from(rev).to_string());
    (listed(&rev) <= room(&id)).then_some((id, rev))
}

/// What revisions of this document may take in a query.
fn room(id: &DocId) -> usize {
    LINE.saturating_sub(in_url(id.as_str()))
}

/// What a part of a list takes in a query, with what stands before and behind it.
fn listed(part: &str) -> usize {
    in_url(part).saturating_add(in_url("[,]"))
}

/// Adds the documents of a list of what was found and what was not.
fn add_revisions(
    by_id: &mut ById,
    docs: impl IntoIterator<Item = Value>,
    share: Option<&Arc<Share>>,
) -> Result<(), CouchError> {
    for doc in docs {
        let Value::Object(mut doc) = doc else {
            continue;
        };
        let Some(doc) = doc.remove("ok") else {
            continue;
        };
        let id = text(&doc, "_id").ok_or(CouchError::Unreadable("a document without id"))?;
        let rev =
            text(&doc, "_rev").ok_or(CouchError::Unreadable("a document without revision"))?;
        let (id, rev) = (id.to_owned(), rev.to_owned());
        let known = by_id.entry(id).or_default();
        known.insert(rev, Counted::new(doc, share.cloned()));
    }
    Ok(())
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
