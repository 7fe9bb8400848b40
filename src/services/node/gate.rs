//! Nodes written by CouchDB's own API: the same judgement, CouchDB's answers.
//!
//! A document is a single-level node with `_id` and `_rev`. What would write nodes in another way than one
//! document after another is closed, to administrators too: an attachment, a copy, a purge, the revisions of
//! a replicator, which CouchDB would store without asking what they replace.
//!
//! Invariant: no route that writes documents of the node database but design documents and local ones is
//! passed on to CouchDB.

use std::iter::empty;
use std::net::IpAddr;

use super::writing::{Asked, Body};
use super::{Answer, Nodes};
use crate::caller::Caller;
use crate::couch::behalf::apart;
use crate::exchange::write::judge::settle;
use crate::exchange::write::refused::Refused;
use crate::exchange::write::stored::stored;
use crate::exchange::write::written::Written;
use crate::json::{Object, Value};
use crate::policy::{Policy, WriteRules};
use crate::refusal::Refusal;
use crate::route::query::DocumentQuery;
use crate::route::{Call, DatabaseCall, DesignCall, Maintenance, Method, NodeId, Query, Route};

/// How a route of CouchDB's API would write nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// One document, by `PUT`, `POST` or `DELETE`.
    Document,
    /// `_bulk_docs`
    Documents,
    /// In a way that is closed.
    Closed(&'static str),
}

/// Who writes by CouchDB's API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'w> {
    pub(crate) caller: &'w Caller,
    pub(crate) peer: IpAddr,
    /// What policy demands of the document besides.
    pub(crate) rules: Option<&'w WriteRules>,
    /// The policy in force.
    pub(crate) policy: &'w Policy,
}

impl Nodes {
    /// How this route writes nodes; nothing, if it does not.
    pub(crate) fn gate(&self, route: &Route) -> Option<Gate> {
        let Call::Database { db, call } = &route.call else {
            return None;
        };
        if *db != self.settings.database {
            return None;
        }
        // Security: a rewrite asked for by `GET` may go on as a `PUT`. (`functions_write_no_nodes_by_any_method`)
        if !route.may_write() {
            return None;
        }
        gate_of(call, route.method)
    }

    /// `PUT`, `POST` or `DELETE` of one document.
    pub(crate) async fn write_document(
        &self,
        writer: Writer<'_>,
        query: &DocumentQuery,
        written: Written,
    ) -> Result<Answer, Refusal> {
        if query.new_edits == Some(false) {
            return Err(Refusal::Forbidden(FORCED));
        }
        let deletes = written.deletes();
        let answer = Box::pin(self.write_one(writer, written)).await;
        match answer {
            // As CouchDB answers what validation refuses, and every `PUT` that is done.
            Err(Refusal::Malformed(reason)) => Err(Refusal::ForbiddenBecause(reason)),
            Err(refusal) => Err(refusal),
            Ok(answer) if deletes => Ok(answer),
            Ok(answer) => Ok(Answer {
                status: 201,
                ..answer
            }),
        }
    }

    /// `_bulk_docs`: one after another; a node that is refused has its row, the others are written.
    pub(crate) async fn write_documents(
        &self,
        writer: Writer<'_>,
        body: Value,
    ) -> Result<Answer, Refusal> {
        let forced = body.get("new_edits").and_then(Value::as_bool) == Some(false);
        let docs = body.get("docs").and_then(Value::as_array);
        let docs = docs.ok_or(Refusal::BadRequest(
            "POST body must include `docs` parameter.",
        ))?;
        let mut rows = Vec::with_capacity(docs.len());
        for document in docs {
            let query = DocumentQuery::default();
            let written = Written::read(None, &query, None, document.clone())?;
            let id = written.id.clone();
            let done = match forced {
                true => Err(Refusal::Forbidden(FORCED)),
                false => apart(Box::pin(self.write_one(writer, written))).await,
            };
            match done {
                Ok(_) if forced => {}
                Ok(answer) => rows.push(Value::parse(&answer.body).unwrap_or(Value::Null)),
                Err(refusal) => rows.push(row(&id, refusal)?),
            }
        }
        let mut bytes = Value::Array(rows).to_bytes();
        bytes.push(b'\n');
        Ok(Answer {
            status: 201,
            body: bytes.into(),
            etag: None,
        })
    }

    async fn write_one(&self, writer: Writer<'_>, written: Written) -> Result<Answer, Refusal> {
        let id = NodeId::parse(&written.id)
            .map_err(|_| Refusal::Forbidden("only nodes are written among nodes"))?;
        let deletes = written.deletes();
        let written = self.by_policy(writer, written).await?;
        let rev = written.rev.clone();
        let query = Query::default();
        let asked = Asked {
            caller: writer.caller,
            id: &id,
            query: &query,
            peer: Some(writer.peer),
            if_match: None,
            if_none_match: None,
            replaces: Some(rev.as_deref()),
        };
        if deletes {
            return Box::pin(self.delete(asked, writer.policy)).await;
        }
        let Value::Object(mut document) = written.document else {
            return Err(Refusal::BadRequest("Document must be a JSON object"));
        };
        document.remove("_id");
        document.remove("_rev");
        Box::pin(self.put(asked, Body::Single(document.into()))).await
    }

    /// What policy makes of the document, for those under rules: hidden fields are put back. What is said
    /// about logging in stays as it was sent: `draft` keeps a stored hash by itself.
    async fn by_policy(&self, writer: Writer<'_>, written: Written) -> Result<Written, Refusal> {
        let Some(rules) = writer.rules else {
            return Ok(written);
        };
        let said = written.document.at(&["metadata", "authorization"]).cloned();
        let db = &self.settings.database;
        let mut found = stored(&self.couch, db, rules, &written, false).await?;
        let judged = settle(&self.couch, db, rules, written.clone(), &mut found, empty()).await?;
        let mut document = judged.map_err(Refused::into_refusal)?;
        let metadata = document
            .as_object_mut()
            .and_then(|document| document.get_mut("metadata")?.as_object_mut());
        if let (Some(metadata), Some(said)) = (metadata, said) {
            metadata.insert("authorization", said);
        }
        Ok(Written {
            document,
            ..written
        })
    }
}

/// What a route that may write does to nodes.
fn gate_of(call: &DatabaseCall, method: Method) -> Option<Gate> {
    match call {
        DatabaseCall::Document(id) if !id.is_design() => Some(match method {
            Method::Put | Method::Delete => Gate::Document,
            Method::Post | Method::Copy | Method::Get | Method::Head => Gate::Closed(ATTACHMENTS),
        }),
        DatabaseCall::Attachment { doc, name: _ } if !doc.is_design() => {
            Some(Gate::Closed(ATTACHMENTS))
        }
        DatabaseCall::Itself if method == Method::Post => Some(Gate::Document),
        DatabaseCall::BulkDocs => Some(Gate::Documents),
        DatabaseCall::CopyDocument { to, .. } if !to.is_design() => {
            Some(Gate::Closed("nodes are not copied"))
        }
        DatabaseCall::Maintain(Maintenance::Purge) => Some(Gate::Closed("nodes are not purged")),
        DatabaseCall::Design { ddoc: _, call } => match call {
            DesignCall::Update(..) | DesignCall::Rewrite(_) => {
                Some(Gate::Closed("nodes are not written by functions"))
            }
            DesignCall::Info
            | DesignCall::View(_)
            | DesignCall::ViewQueries(_)
            | DesignCall::Search(_)
            | DesignCall::SearchInfo(_)
            | DesignCall::SearchDiskSize(_)
            | DesignCall::Nouveau(_)
            | DesignCall::NouveauInfo(_)
            | DesignCall::Show(..)
            | DesignCall::List { .. } => None,
        },
        // Reading, design documents, checkpoints, and what concerns the database as a whole.
        DatabaseCall::Document(_)
        | DatabaseCall::Attachment { .. }
        | DatabaseCall::Itself
        | DatabaseCall::CopyDocument { .. }
        | DatabaseCall::Maintain(_)
        | DatabaseCall::List(_)
        | DatabaseCall::ListQueries(_)
        | DatabaseCall::BulkGet
        | DatabaseCall::Changes
        | DatabaseCall::Find
        | DatabaseCall::Explain
        | DatabaseCall::Index
        | DatabaseCall::IndexNamed { .. }
        | DatabaseCall::IndexBulkDelete
        | DatabaseCall::RevsDiff
        | DatabaseCall::MissingRevs
        | DatabaseCall::EnsureFullCommit
        | DatabaseCall::Security
        | DatabaseCall::PartitionInfo(_)
        | DatabaseCall::PartitionAllDocs(_)
        | DatabaseCall::PartitionFind(_)
        | DatabaseCall::PartitionExplain(_)
        | DatabaseCall::PartitionView { .. }
        | DatabaseCall::PartitionSearch { .. }
        | DatabaseCall::PartitionNouveau { .. }
        | DatabaseCall::Local(_)
        | DatabaseCall::CopyLocal { .. }
        | DatabaseCall::TempView => None,
    }
}

const ATTACHMENTS: &str = "a node has no attachments";

const FORCED: &str = "nodes are written with new_edits";

/// The row of a document that was not written. Whatever is no fault of the document fails the request.
fn row(id: &str, refusal: Refusal) -> Result<Value, Refusal> {
    let error = match refusal.status() {
        400 | 403 => "forbidden",
        401 => "unauthorized",
        404 | 409 => "conflict",
        _ => return Err(refusal),
    };
    let reason = match error {
        "conflict" => Refusal::Conflict.reason().to_owned(),
        _ => refusal.reason().to_owned(),
    };
    let mut row = Object::new();
    row.insert("id", id);
    row.insert("error", error);
    row.insert("reason", reason);
    Ok(row.into())
}
