//! What is stored of a node that is about to be written, and what of it stays.
//!
//! Invariant: who made a node and when never changes, and a password only by another one; a tombstone keeps what
//! rules decide by, and no hash.

use std::sync::Arc;

use super::draft::{Authorization, Origin, wrong};
use super::rules::Writer;
use super::store::{Full, Trouble};
use super::tree::NodeHeader;
use super::{Nodes, told};
use crate::caller::Caller;
use crate::identity::now;
use crate::json::{FieldPath, Object, Value};
use crate::policy::keep_fields;
use crate::refusal::Refusal;

/// What is stored of the node that is written.
#[derive(Default)]
pub(super) struct Stored {
    single: Option<Arc<Full>>,
    pub(super) full: Option<Arc<Full>>,
}

impl Stored {
    fn said(&self, name: &str) -> Option<&Value> {
        self.single.as_ref()?.node.said(name)
    }

    /// The hash of the password that it has.
    pub(super) fn hash(&self) -> Option<&str> {
        self.said("authorization")?.get("crypted")?.as_str()
    }
}

/// Who made the node and when; if nobody has yet, this caller now.
pub(super) fn origin(old: &Stored, caller: &Caller) -> Origin {
    let creator = caller.name().map_or(Value::Null, Value::from);
    if old.single.is_none() {
        return Origin {
            creator,
            time: now().into(),
        };
    }
    let kept = |name| old.said(name).cloned().unwrap_or(Value::Null);
    Origin {
        creator: kept("nodeCreator"),
        time: kept("nodeCtime"),
    }
}

impl Nodes {
    /// What is stored; the full node only where a writer's rights depend on it.
    pub(super) async fn stored(
        &self,
        writer: &Writer<'_>,
        knot: Option<&NodeHeader>,
    ) -> Result<Stored, Refusal> {
        if knot.is_none() {
            return Ok(Stored::default());
        }
        let told = |trouble| told(trouble, writer.id, writer.caller.is_administrator());
        let single = self.store.full(writer.id, true).await.map_err(told)?;
        let asks = !writer.caller.is_administrator() && !self.settings.attributes.is_empty();
        let full = match asks {
            false => None,
            true => match self.store.full(writer.id, false).await {
                Ok(full) => full,
                // What can't be compared is not known to be untouched.
                Err(Trouble::Broken(_)) => return Err(writer.closed()),
                Err(Trouble::Refused(refusal)) => return Err(refusal),
            },
        };
        Ok(Stored { single, full })
    }

    /// The tombstone of this revision of a node. It keeps these fields, so that whoever could read the node by
    /// CouchDB's API learns of its end, and nobody else.
    pub(super) async fn tombstone(
        &self,
        id: &str,
        rev: &str,
        kept: &[FieldPath],
    ) -> Result<Object, Refusal> {
        let mut object = Object::new();
        object.insert("_id", id);
        object.insert("_deleted", true);
        if kept.is_empty() {
            return Ok(object);
        }
        let wanted = [(id, Some(rev))];
        let found = self.couch.read_revisions(&self.settings.database, &wanted);
        // It was there a moment ago: somebody has replaced it since, and CouchDB has forgotten it.
        let stored = found.await?.into_iter().flatten().next();
        let stored = stored.ok_or(Refusal::Unavailable(1))?;
        let mut tombstone = Value::from(object);
        keep_fields(kept, &stored, &mut tombstone);
        let Value::Object(mut tombstone) = tombstone else {
            return Err(Refusal::Internal("a stored node cannot be read"));
        };
        // Security: a hash ends with its node. Its place stays, since rules may ask whether there was one.
        // (`what_is_left_of_a_node_is_no_node_and_holds_no_hash`)
        let metadata = tombstone.get_mut("metadata").and_then(Value::as_object_mut);
        let said = metadata.and_then(|metadata| metadata.get_mut("authorization")?.as_object_mut());
        if let Some(hash) = said.and_then(|said| said.get_mut("crypted")) {
            *hash = "".into();
        }
        Ok(tombstone)
    }

    /// The hash to store.
    pub(super) fn hash(
        &self,
        authorization: &Authorization,
        new: Option<&str>,
        old: &Stored,
    ) -> Result<Option<String>, Refusal> {
        match authorization {
            Authorization::None => Ok(None),
            // Before it is made, anything stands for it.
            Authorization::Password(_) => Ok(Some(new.unwrap_or_default().to_owned())),
            Authorization::Keep => match old.hash() {
                Some(hash) => Ok(Some(hash.to_owned())),
                None => wrong("`metadata.authorization` has no password to keep".to_owned()),
            },
            Authorization::Hash(hash) if self.identity.accepts(hash) => Ok(Some(hash.clone())),
            Authorization::Hash(_) => wrong(
                "`metadata.authorization.crypted` is not a bcrypt hash of an accepted cost"
                    .to_owned(),
            ),
        }
    }
}
