//! The order of structural writes: those after which the tree could be broken if two of them were judged
//! side by side (a parent is added, a node becomes a user node, is created or is deleted).
//!
//! The order is kept in CouchDB itself, so that it holds through any number of couchwardens: one document,
//! [`ID`], whose revision says how many structural writes have been decided. A writer
//!
//! 1. reads that document, settles the write that it holds if that has not been done yet, and reads all
//!    changes up to now;
//! 2. judges his write by what he has read;
//! 3. decides it: he replaces the document, naming the revision of step 1, by one that holds his whole write.
//!    If somebody else was first, CouchDB answers 409, and he begins anew;
//! 4. does it.
//!
//! Between 1 and 3 no other structural write can have been decided, and those decided before have been done:
//! what he judged by is what his write meets. Other writes may come between, but they only take away.
//!
//! *When a couchwarden dies*, or is slow: before step 3 nothing has happened. After it, whoever comes next
//! finds the write in the document and does it in step 1. It may be done twice, by the two of them, and is
//! not done again later: a change or a deletion names the revision that it replaces, which is a leaf once
//! only; a creation is stored under a revision that was chosen in step 3, and storing a revision that is
//! there, or was, changes nothing.
//!
//! *On a cluster* two nodes may each take a different write over one revision, for a moment. Only an answer
//! of 201 counts here, which CouchDB gives when a majority of a document's copies has taken it: 202 is a
//! failure, and the writer begins anew. All couchwardens must send to one and the same node of the cluster
//! (the first of `[couchdb] nodes`), so that what one has written the next one reads.
//!
//! Invariant: a structural write that is done was decided, and decided writes are done one after another.

use super::store::Store;
use crate::couch::{Couch, CouchError};
use crate::exchange::write::written::new_id;
use crate::json::{Object, Value};
use crate::refusal::Refusal;
use crate::route::{DbName, DocId, Rev};

/// The document that keeps the order. No node can have its id.
pub(super) const ID: &str = "couchwarden:order";

/// The order, as it is kept in CouchDB.
#[derive(Debug)]
pub(super) struct Order {
    couch: Couch,
    db: DbName,
    id: DocId,
}

/// Where in the order a writer stands: at this revision of the document; nothing, if there is none yet.
#[derive(Debug)]
pub(super) struct Point(Option<String>);

/// One write of one document.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) id: DocId,
    /// The revision that it replaces, perhaps a tombstone.
    base: Option<String>,
    /// The revision that a creation makes.
    rev: Option<String>,
    /// Without revisions.
    document: Object,
}

impl Write {
    /// Over a document that is there.
    pub(super) fn change(id: DocId, base: &str, document: Object) -> Self {
        Self {
            id,
            base: Some(base.to_owned()),
            rev: None,
            document,
        }
    }

    /// Where there is none, or only the tombstone of one.
    pub(super) fn creation(
        id: DocId,
        tombstone: Option<&str>,
        document: Object,
    ) -> Result<Self, Refusal> {
        let digest = new_id().ok_or(Refusal::Internal("no random bytes"))?;
        let generation = match tombstone {
            None => 0,
            Some(rev) => Rev::parse(rev)
                .map_err(|_| Refusal::Internal("the revision of a stored node cannot be read"))?
                .generation(),
        };
        let next = generation.checked_add(1).ok_or(Refusal::Internal(
            "the revision of a stored node cannot be read",
        ))?;
        Ok(Self {
            id,
            base: tombstone.map(str::to_owned),
            rev: Some(format!("{next}-{digest}")),
            document,
        })
    }

    /// The document as it is sent.
    fn whole(&self) -> Value {
        let mut document = self.document.clone();
        let digest = |rev: &str| Value::from(rev.split_once('-').map_or("", |(_, digest)| digest));
        match (&self.rev, &self.base) {
            (None, None) => {}
            (None, Some(base)) => {
                document.insert("_rev", base.as_str());
            }
            (Some(rev), base) => {
                let generation = Rev::parse(rev).map_or(1, |rev| rev.generation());
                let mut revisions = Object::new();
                revisions.insert("start", Value::Number(generation.into()));
                let ids = [Some(rev), base.as_ref()].into_iter().flatten();
                revisions.insert("ids", ids.map(|rev| digest(rev)).collect::<Vec<_>>());
                document.insert("_rev", rev.as_str());
                document.insert("_revisions", revisions);
            }
        }
        document.into()
    }

    /// As the document of the order holds it.
    fn noted(&self) -> Value {
        let text = |rev: &Option<String>| rev.as_deref().map_or(Value::Null, Value::from);
        let mut noted = Object::new();
        noted.insert("base", text(&self.base));
        noted.insert("rev", text(&self.rev));
        noted.insert("document", self.document.clone());
        noted.into()
    }

    fn read(noted: &Value) -> Option<Self> {
        let text = |name: &str| Some(noted.get(name)?.as_str()?.to_owned());
        let document = noted.get("document")?.as_object()?.clone();
        let id = DocId::parse(document.get("_id")?.as_str()?).ok()?;
        let (base, rev) = (text("base"), text("rev"));
        Some(Self {
            id,
            base,
            rev,
            document,
        })
    }
}

impl Order {
    pub(super) fn new(couch: Couch, db: DbName) -> Option<Self> {
        let id = DocId::parse(ID).ok()?;
        Some(Self { couch, db, id })
    }

    /// Step 1: from here on one may judge.
    pub(super) async fn enter(&self, store: &Store) -> Result<Point, Refusal> {
        let found = self.couch.read(&self.db, &self.id).await?;
        let rev = found.as_ref().and_then(|found| found.get("_rev")?.as_str());
        let point = Point(rev.map(str::to_owned));
        store.catch_up().await?;
        let pending = found.as_ref().and_then(|found| found.get("pending"));
        let Some(write) = pending.and_then(Write::read) else {
            return Ok(point);
        };
        let stands = store.look(|tree| {
            tree.find(write.id.as_str())
                .map(|found| found.rev().to_owned())
                == write.base
        });
        if !stands {
            return Ok(point);
        }
        match self.carry_out(&write).await {
            // What CouchDB will not take is done with as well.
            Ok(_) | Err(CouchError::Conflict | CouchError::Status(400..=499)) => {}
            Err(error) => return Err(error.into()),
        }
        store.catch_up().await?;
        Ok(point)
    }

    /// Step 3. False: somebody else was first.
    pub(super) async fn decide(&self, point: Point, write: &Write) -> Result<bool, Refusal> {
        let mut document = Object::new();
        if let Point(Some(rev)) = point {
            document.insert("_rev", rev);
        }
        document.insert("pending", write.noted());
        match self.couch.put(&self.db, &self.id, &document.into()).await {
            Ok(_) => Ok(true),
            Err(CouchError::Conflict | CouchError::Status(202)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Step 4, or all that there is to a write that is not structural. Gives the new revision.
    pub(super) async fn carry_out(&self, write: &Write) -> Result<String, CouchError> {
        let document = write.whole();
        match &write.rev {
            Some(rev) => {
                self.couch.graft(&self.db, &document).await?;
                Ok(rev.clone())
            }
            None => {
                let rev = self.couch.put(&self.db, &write.id, &document).await?;
                Ok(rev.as_str().to_owned())
            }
        }
    }

    /// After a conflict: has somebody else done this write, which was decided? Gives the new revision.
    pub(super) async fn was_done(&self, write: &Write) -> Result<Option<String>, Refusal> {
        let found = self.couch.read_many(&self.db, &[write.id.as_str()]).await?;
        let Some(Value::Object(mut found)) = found.into_iter().flatten().next() else {
            return Ok(None);
        };
        let rev = found.remove("_rev");
        let rev = rev.as_ref().and_then(Value::as_str).map(str::to_owned);
        Ok(rev.filter(|_| found == write.document))
    }
}

#[cfg(test)]
mod tests;
