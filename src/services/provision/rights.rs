//! What a user may see of the shared database, and what he has to give back when he may not any more.
//!
//! Invariant: only what came from the shared database is taken away: a document that shares a revision with
//! one that is there, and that policy hides from this user now.

use std::sync::Arc;

use super::Provisioning;
use super::replication::{is_deleted, is_taken_away, taken_away};
use crate::caller::{Caller, User};
use crate::couch::CouchError;
use crate::couch::behalf::apart;
use crate::json::Value;
use crate::policy::{Permit, Plan, Reads, Verdict};
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, DbName, DocId, History, List, Method, Query, Route};
use crate::services::node::with_attributes;

/// How many documents are looked at in one go.
const PAGE: usize = 200;

impl Provisioning {
    /// A text that is the same as long as this user sees the same.
    pub(super) async fn rights(&self, user: &User) -> Result<String, Refusal> {
        Ok(rights_of(self.sight(user).await?.as_ref()))
    }

    /// His permit to read the shared database; none if he may not.
    pub(super) async fn sight(&self, user: &User) -> Result<Option<Permit>, Refusal> {
        let route = Route {
            call: Call::Database {
                db: self.ends.shared.clone(),
                call: DatabaseCall::List(List::All),
            },
            method: Method::Get,
            query: Query::default(),
        };
        let policy = self.policy.load_full();
        let caller = Caller::User(Arc::new(user.clone()));
        let caller = with_attributes(self.nodes.as_deref(), &policy, caller).await?;
        Ok(match policy.decide(&caller, route) {
            Verdict::Permit(permit) => Some(permit),
            Verdict::Deny(_) | Verdict::Ask(_) => None,
        })
    }

    /// Deletes from a user's database what he may not see any more.
    ///
    /// Security: a database of one's own would else keep what a lost role had shown (leaks I7;
    /// `a_lost_role_takes_its_documents_away`).
    pub(super) async fn take_away(&self, user: &User, db: &DbName) -> Result<(), Refusal> {
        let permit = self.sight(user).await?;
        let mut after: Option<String> = None;
        loop {
            let page = self.take_from_page(permit.as_ref(), db, after.as_deref());
            after = apart(Box::pin(page)).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The last id of the page, if others may follow.
    async fn take_from_page(
        &self,
        permit: Option<&Permit>,
        db: &DbName,
        after: Option<&str>,
    ) -> Result<Option<String>, Refusal> {
        let page = self.couch.page(db, after, PAGE).await?;
        let ids: Vec<&str> = page
            .iter()
            .filter_map(|doc| doc.get("_id")?.as_str())
            .collect();
        let shared = self.couch.read_many(&self.ends.shared, &ids).await?;
        for (id, stored) in ids.iter().zip(&shared) {
            let hidden = stored
                .as_ref()
                .is_some_and(|stored| !sees(permit, id, stored));
            if hidden && !id.starts_with("_design/") {
                apart(self.take_one(db, id)).await?;
            }
        }
        let last = ids.last().filter(|_| page.len() >= PAGE);
        Ok(last.map(|id| (*id).to_owned()))
    }

    /// Brings back what was taken away from a user who may see it again. Its tombstone stands over the revision
    /// that he once had, in his database and on his devices, and only a newer one would show through: so the
    /// shared document is written again as it is.
    pub(super) async fn bring_back(&self, user: &User, db: &DbName) -> Result<(), Refusal> {
        let permit = self.sight(user).await?;
        let mut since = Some("0".to_owned());
        while let Some(from) = since {
            let page = self.bring_from_page(permit.as_ref(), db, &from);
            since = apart(Box::pin(page)).await?;
        }
        Ok(())
    }

    /// From where to go on, if more changes may follow.
    async fn bring_from_page(
        &self,
        permit: Option<&Permit>,
        db: &DbName,
        since: &str,
    ) -> Result<Option<String>, Refusal> {
        let Some(changes) = self.couch.changed_documents(db, since, PAGE).await? else {
            return Ok(None);
        };
        let taken = changes.documents.iter().filter(|doc| is_taken_away(doc));
        let ids: Vec<&str> = taken.filter_map(|doc| doc.get("_id")?.as_str()).collect();
        let shared = self.couch.read_many(&self.ends.shared, &ids).await?;
        for (id, stored) in ids.iter().zip(shared) {
            let stored = stored.filter(|stored| !is_deleted(stored));
            if let Some(stored) = stored.filter(|stored| sees(permit, id, stored)) {
                apart(self.bring_one(db, id, &stored)).await?;
            }
        }
        Ok(Some(changes.last_seq).filter(|_| !changes.complete))
    }

    async fn bring_one(&self, db: &DbName, id: &str, stored: &Value) -> Result<(), Refusal> {
        let id = DocId::parse(id)
            .map_err(|_| Refusal::Internal("a stored id is no name of a document"))?;
        let rev = stored.get("_rev").and_then(Value::as_str);
        let leaves = self.couch.leaves(db, &id).await?;
        let known = leaves.iter().flat_map(revisions);
        if !known.into_iter().any(|known| Some(known.as_str()) == rev) {
            // What has changed since comes by itself.
            return Ok(());
        }
        match self.couch.put(&self.ends.shared, &id, stored).await {
            // Who writes at the same time makes it newer too.
            Ok(_) | Err(CouchError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn take_one(&self, db: &DbName, id: &str) -> Result<(), Refusal> {
        let id = DocId::parse(id)
            .map_err(|_| Refusal::Internal("a stored id is no name of a document"))?;
        let theirs = self.couch.leaves(&self.ends.shared, &id).await?;
        let known: Vec<String> = theirs.iter().flat_map(revisions).collect();
        for leaf in self.couch.leaves(db, &id).await? {
            let deleted = is_deleted(&leaf);
            let came = revisions(&leaf).iter().any(|rev| known.contains(rev));
            let rev = leaf.get("_rev").and_then(Value::as_str);
            if let Some(rev) = rev.filter(|_| came && !deleted) {
                let tombstone = taken_away(id.as_str(), rev);
                match self.couch.put(db, &id, &tombstone).await {
                    // He writes at the same time; his next change is judged when the next look comes to it.
                    Ok(_) | Err(CouchError::Conflict) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// [`Provisioning::rights`] by a permit.
pub(super) fn rights_of(permit: Option<&Permit>) -> String {
    let Some(permit) = permit else {
        return "nothing".to_owned();
    };
    let rights = permit.fingerprint();
    rights.map_or_else(|| "everything".to_owned(), |rights| rights.to_string())
}

/// A deleted document tells nothing any more, and its end travels by itself.
fn sees(permit: Option<&Permit>, id: &str, stored: &Value) -> bool {
    is_deleted(stored) || shows(permit, id, stored)
}

/// Is this document, or this tombstone, one that the user may see?
pub(super) fn shows(permit: Option<&Permit>, id: &str, document: &Value) -> bool {
    match permit.map(Permit::plan) {
        Some(Plan::Verbatim) => true,
        Some(Plan::Read(Reads::Documents(lens))) => lens.judge(id, Some(document)).is_some(),
        Some(Plan::Read(_) | Plan::Here | Plan::Write(_) | Plan::KeepInTombstones(_)) | None => {
            false
        }
    }
}

/// `3-c`, `2-b`, `1-a`: a leaf and what it grew from.
fn revisions(leaf: &Value) -> Vec<String> {
    let history = History::of(leaf);
    let revs = history.iter().flat_map(History::iter);
    revs.map(|rev| rev.as_str().to_owned()).collect()
}
