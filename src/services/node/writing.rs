//! `PUT` and `DELETE` of nodes.
//!
//! A write is judged by what is stored now, and done over the revision that it was judged by; if that has
//! changed meanwhile it is judged again. Without `If-Match` the last one that was judged wins.
//!
//! Invariant: nothing is written that was not judged by the revision that it replaces; what changes the
//! tree keeps to the order as well (see `order`).

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::draft::{Authorization, Draft, wrong};
use super::merge::merge;
use super::order::Write;
use super::rules::{Writer, is_structural, validate, validate_delete};
use super::stored::origin;
use super::tree::Document;
use super::unmerge::unmerge;
use super::{Answer, Nodes, Shape, flag, known, names, told};
use crate::caller::{Caller, UserName};
use crate::couch::CouchError;
use crate::intake::json_body;
use crate::json::{FieldPath, Object, Value};
use crate::policy::Policy;
use crate::refusal::{Limit, Refusal};
use crate::route::{DocId, NodeId, Query};

/// How long a write may take, waiting for others included.
const DEADLINE: Duration = Duration::from_secs(20);

/// The largest node, in bytes of JSON: each reader of a child reads it too.
const LARGEST: usize = 1 << 20;

const REFUSED: Refusal = Refusal::Forbidden("the database does not take this node");

/// Who asks for what, and under which conditions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Who.
    pub(crate) caller: &'a Caller,
    /// Which node.
    pub(crate) id: &'a NodeId,
    /// The query.
    pub(crate) query: &'a Query,
    /// The caller's own address; nobody's, on the command line.
    pub(crate) peer: Option<IpAddr>,
    /// `If-Match`
    pub(crate) if_match: Option<&'a str>,
    /// `If-None-Match`
    pub(crate) if_none_match: Option<&'a str>,
    /// By CouchDB's API: the revision that is replaced, or that there is none to replace.
    pub(crate) replaces: Option<Option<&'a str>>,
}

/// A write that was judged.
struct Judged {
    write: Write,
    structural: bool,
    /// What will be under the id, but for its revision.
    becomes: Value,
    creates: bool,
    /// Is the password that it had gone after it?
    ends_sessions: bool,
}

/// What is to be done with a node.
#[derive(Clone, Copy)]
enum Change<'c> {
    Put(&'c Wanted),
    /// These fields stay in its tombstone.
    Delete(&'c [FieldPath]),
}

/// A node as it was sent.
pub(crate) enum Body<'b> {
    /// JSON: the full node, or with `?single-level` the single-level one.
    Sent(&'b [u8]),
    /// The single-level node.
    Single(Value),
}

/// What is to be written.
pub(super) struct Wanted {
    pub(super) draft: Draft,
    /// Are the properties those of the single-level node?
    alone: bool,
    /// The hash of a new password.
    pub(super) hash: Option<String>,
}

impl Nodes {
    /// `PUT /node/ID`: the body is the full node, or with `?single-level` the single-level one.
    pub(crate) async fn put(&self, asked: Asked<'_>, body: Body<'_>) -> Result<Answer, Refusal> {
        in_time(async {
            self.store.catch_up().await?;
            let writer = self.writer(asked);
            let creates = self.store.look(|tree| {
                let found = tree.find(writer.id);
                writer.may_put(found)?;
                Ok::<bool, Refusal>(!matches!(found, Some(Document::Node(_))))
            })?;
            if let (true, false, Some(peer)) =
                (creates, asked.caller.is_administrator(), asked.peer)
            {
                self.strangers.count(peer)?;
            }
            known(asked.query, &["single-level"])?;
            let (value, alone) = match body {
                Body::Sent(body) => (sent(body)?, flag(asked.query, "single-level")?),
                Body::Single(value) => (sent(&value.to_bytes())?, true),
            };
            let mut wanted = Wanted {
                draft: Draft::read(writer.id, value)?,
                alone,
                hash: None,
            };
            if let Authorization::Password(password) = &wanted.draft.authorization {
                // Nobody gets the work of a hash done before he has been judged.
                self.judge_any(asked, Change::Put(&wanted)).await?;
                wanted.hash = Some(self.identity.hash(password).await?);
            }
            Box::pin(self.write(asked, Change::Put(&wanted))).await
        })
        .await
    }

    /// `DELETE /node/ID`. Its tombstone keeps what rules of this policy decide by.
    pub(crate) async fn delete(
        &self,
        asked: Asked<'_>,
        policy: &Policy,
    ) -> Result<Answer, Refusal> {
        let kept = policy.decision_fields(self.settings.database.as_str());
        in_time(self.write(asked, Change::Delete(&kept))).await
    }

    fn writer<'a>(&self, asked: Asked<'a>) -> Writer<'a> {
        Writer {
            caller: asked.caller,
            id: asked.id.as_str(),
            self_service: self.settings.self_service,
            creation: self.settings.creation,
        }
    }

    /// Judges and writes until nobody comes between.
    async fn write(&self, asked: Asked<'_>, change: Change<'_>) -> Result<Answer, Refusal> {
        let _turn = self.turn.lock().await;
        loop {
            self.store.catch_up().await?;
            let mut judged = self.judge_any(asked, change).await?;
            if judged.structural {
                let point = self.order.enter(&self.store).await?;
                judged = self.judge_any(asked, change).await?;
                if judged.structural && !self.order.decide(point, &judged.write).await? {
                    continue;
                }
            }
            let Judged {
                write, structural, ..
            } = &judged;
            let rev = match self.order.carry_out(write).await {
                Ok(rev) => rev,
                Err(CouchError::Conflict) if *structural => {
                    match self.order.was_done(write).await? {
                        Some(rev) => rev,
                        None => continue,
                    }
                }
                Err(CouchError::Conflict) => continue,
                // A design document of the database has its own rules.
                Err(CouchError::Status(403)) => return Err(REFUSED),
                Err(error) => return Err(error.into()),
            };
            return self.written(asked.id.as_str(), judged, &rev).await;
        }
    }

    async fn judge_any(&self, asked: Asked<'_>, change: Change<'_>) -> Result<Judged, Refusal> {
        match change {
            // Its future is large; boxed, nobody who waits for it pays for it.
            Change::Put(wanted) => Box::pin(self.judge(asked, wanted)).await,
            Change::Delete(kept) => Box::pin(self.judge_delete(asked, kept)).await,
        }
    }

    /// Makes known what was written, and answers.
    async fn written(&self, id: &str, judged: Judged, rev: &str) -> Result<Answer, Refusal> {
        let mut becomes = judged.becomes;
        if let Some(object) = becomes.as_object_mut() {
            object.insert("_rev", rev);
        }
        let document = Document::read(&becomes)
            .ok_or(Refusal::Internal("a node that was made cannot be read"))?;
        self.store.wrote(id, document).await;
        // Security: a new password ends what the old one has opened, here at once.
        // (`a_new_password_ends_sessions_and_logins`, `an_old_password_put_back_opens_no_old_session`)
        match UserName::parse(id) {
            Ok(name) if judged.ends_sessions => self.identity.end_sessions(&name).await,
            Ok(name) => self.identity.forget(&name).await,
            Err(_) => {}
        }
        let mut answer = Object::new();
        answer.insert("ok", true);
        answer.insert("id", id);
        answer.insert("rev", rev);
        let mut body = Value::from(answer).to_bytes();
        body.push(b'\n');
        Ok(Answer {
            status: match judged.creates {
                true => 201,
                false => 200,
            },
            body: body.into(),
            etag: None,
        })
    }

    async fn judge_delete(&self, asked: Asked<'_>, kept: &[FieldPath]) -> Result<Judged, Refusal> {
        let writer = self.writer(asked);
        let found = self.store.look(|tree| tree.find(writer.id).cloned());
        writer.may_delete(found.as_ref())?;
        let Some(Document::Node(knot)) = &found else {
            return Err(Refusal::Missing);
        };
        known(asked.query, &[])?;
        self.precondition(asked, found.as_ref())?;
        self.store.look(|tree| validate_delete(tree, &writer))?;
        let tombstone = self.tombstone(writer.id, &knot.rev, kept).await?;
        let id = DocId::parse(writer.id).map_err(|_| Refusal::IllegalDocument)?;
        Ok(Judged {
            becomes: tombstone.clone().into(),
            write: Write::change(id, &knot.rev, tombstone),
            structural: is_structural(Some(knot), None),
            creates: false,
            ends_sessions: knot.user,
        })
    }

    /// First who may, then what may be.
    async fn judge(&self, asked: Asked<'_>, wanted: &Wanted) -> Result<Judged, Refusal> {
        let writer = self.writer(asked);
        let Wanted { draft, alone, .. } = wanted;
        let found = self.store.look(|tree| tree.find(writer.id).cloned());
        let found = found.as_ref();
        writer.may_put(found)?;
        let stranger = found.is_none() && draft.is_user() && !asked.caller.is_administrator();
        let is_free = match UserName::parse(writer.id) {
            Ok(name) if stranger => self.is_free(&name).await?,
            Ok(_) | Err(_) => !stranger,
        };
        writer.may_become(found, draft, is_free)?;
        let knot = match found {
            Some(Document::Node(knot)) => Some(knot),
            Some(Document::Other(_) | Document::Gone(_)) | None => None,
        };
        let inherited = self.store.inherited(writer.id, &draft.parents).await;
        let old = self.stored(&writer, knot).await?;
        if let Ok(inherited) = &inherited {
            let new = match alone {
                true => laid(inherited, &draft.properties),
                false => draft.properties.clone(),
            };
            let old = old.full.as_ref().map(|full| &full.properties);
            writer.may_set(&self.settings.attributes, knot, old, &new)?;
        }
        self.precondition(asked, found)?;
        self.store.look(|tree| validate(tree, &writer, draft))?;
        let administrator = asked.caller.is_administrator();
        let inherited = inherited.map_err(|trouble| told(trouble, writer.id, administrator))?;
        let own = match alone {
            true => draft.properties.clone(),
            false => taken_out(inherited, &draft.properties)?,
        };
        let hash = self.hash(&draft.authorization, wanted.hash.as_deref(), &old)?;
        let document = draft.document(writer.id, own, origin(&old, asked.caller), hash.as_deref());
        let id = DocId::parse(writer.id).map_err(|_| Refusal::IllegalDocument)?;
        let becomes = document.clone().into();
        let write = match found {
            Some(Document::Node(knot)) => Write::change(id, &knot.rev, document),
            Some(Document::Gone(rev)) => Write::creation(id, Some(rev), document)?,
            Some(Document::Other(_)) | None => Write::creation(id, None, document)?,
        };
        Ok(Judged {
            write,
            structural: is_structural(knot, Some(draft)),
            becomes,
            creates: knot.is_none(),
            ends_sessions: old.hash().is_some_and(|old| hash.as_deref() != Some(old)),
        })
    }

    /// `If-Match` and `If-None-Match` (RFC 9110 section 13.1), by any tag that this caller can have got.
    fn precondition(&self, asked: Asked<'_>, found: Option<&Document>) -> Result<(), Refusal> {
        let exists = matches!(found, Some(Document::Node(_)));
        let id = asked.id.as_str();
        let stands = |rev: Option<&str>| match (found, rev) {
            (Some(Document::Node(knot)), Some(rev)) => *knot.rev == *rev,
            (Some(Document::Gone(_)) | None, None) => true,
            (Some(found), Some(rev)) => found.rev() == rev,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if asked.replaces.is_some_and(|rev| !stands(rev)) {
            return Err(Refusal::Conflict);
        }
        let tags = || -> Vec<String> {
            let signature = |alone| {
                self.store
                    .look(|tree| self.store.signature(tree, id, alone))
            };
            let signatures = [signature(true), signature(false)];
            let signatures = signatures.into_iter().filter_map(|one| one.ok().flatten());
            let tags = signatures.flat_map(|one| Shape::ALL.map(|shape| shape.tag(&one)));
            tags.collect()
        };
        if let Some(list) = asked.if_match {
            let strong = |tag: &String| list.split(',').any(|one| one.trim() == tag);
            if !(exists && (list.trim() == "*" || tags().iter().any(strong))) {
                return Err(Refusal::Precondition("the node is not as `If-Match` says"));
            }
        }
        if let Some(list) = asked.if_none_match
            && exists
            && (list.trim() == "*" || tags().iter().any(|tag| names(list, tag)))
        {
            return Err(Refusal::Precondition(
                "the node is as `If-None-Match` says it is not",
            ));
        }
        Ok(())
    }
}

fn laid(inherited: &Object, own: &Object) -> Object {
    match merge(inherited.clone().into(), &own.clone().into()) {
        Value::Object(full) => full,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Object::new()
        }
    }
}

/// What the node must hold itself, to be read as it was put.
fn taken_out(inherited: Object, full: &Object) -> Result<Object, Refusal> {
    match unmerge(&inherited.into(), &full.clone().into()) {
        Ok(Some(Value::Object(own))) => Ok(own),
        Ok(_) => Ok(Object::new()),
        Err(path) => wrong(format!("`{path}` is inherited and can't be left out")),
    }
}

fn sent(body: &[u8]) -> Result<Value, Refusal> {
    match body.len() > LARGEST {
        true => Err(Refusal::TooLarge(Limit::Body)),
        false => json_body::value(body),
    }
}

/// Waits for a write no longer than its client would.
async fn in_time(write: impl Future<Output = Result<Answer, Refusal>>) -> Result<Answer, Refusal> {
    match timeout(DEADLINE, write).await {
        Ok(answer) => answer,
        Err(_) => Err(Refusal::Unavailable(1)),
    }
}
