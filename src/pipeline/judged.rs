//! Permits whose body or answer is judged: each plan to the file that serves it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Conditions, Pipeline, database};
use crate::caller::UserName;
use crate::filter::answer::Answer;
use crate::filter::ask::Asker;
use crate::filter::diff::{Diff, missing};
use crate::filter::feeds::ChangesLens;
use crate::filter::lease::Lease;
use crate::filter::lists::Named;
use crate::filter::single::Wanted;
use crate::filter::{feeds, find, indexes, lists, locals, single, writes};
use crate::policy::{Lens, Permit, Plan, ViewLens, WriteRules};
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, DesignCall, DesignName, FunctionName, Method};

impl Pipeline {
    /// Carries out a permit whose body or answer is judged.
    pub(super) async fn filtered(
        &self,
        permit: Permit,
        lease: Option<Lease>,
        body: Bytes,
        conditions: &Conditions,
    ) -> Result<Answer, Refusal> {
        let Conditions {
            if_match,
            if_none_match,
            last_event_id,
            accept,
        } = conditions;
        let method = permit.route().method;
        let seal = Arc::clone(&self.seal);
        match permit.plan().clone() {
            Plan::Verbatim
            | Plan::Attachment(_)
            | Plan::AttachmentWrite(_)
            | Plan::Copy(_)
            | Plan::Tombstones(_)
            | Plan::Own => Err(Refusal::Internal),
            Plan::Info => self.own.info(&self.couch, &database(&permit)?).await,
            Plan::Document(lens) => {
                let wanted = Wanted {
                    if_none_match: if_none_match.as_deref(),
                    accept: accept.as_deref(),
                };
                Box::pin(single::document(self.asker(permit)?, lens, wanted)).await
            }
            Plan::Documents(lens) if is_several(&permit) => {
                Box::pin(lists::documents_queries(self.asker(permit)?, lens, &body)).await
            }
            Plan::Documents(lens) => {
                let body = optional(method, body);
                lists::documents(self.asker(permit)?, lens, body).await
            }
            Plan::Changes { rows, docs } => {
                let body = optional(method, body);
                let lens = ChangesLens { rows, docs };
                let last = last_event_id.as_deref();
                let lease = lease.ok_or(Refusal::Internal)?;
                feeds::changes(self.asker(permit)?, lens, lease, seal, last, body).await
            }
            Plan::Find(lens) => find::find(self.asker(permit)?, lens, seal, body).await,
            Plan::Explain(lens) => indexes::explain(self.asker(permit)?, lens, body).await,
            Plan::Index(lens) => indexes::index(self.asker(permit)?, lens, body).await,
            Plan::BulkGet(lens) => {
                let accept = accept.as_deref();
                single::bulk_get(self.asker(permit)?, lens, accept, &body).await
            }
            Plan::RevsDiff(lens) => self.diff(permit, lens, body).await,
            Plan::View(lens) => Box::pin(self.view(permit, *lens, body)).await,
            Plan::Write(rules) => {
                let asker = self.asker(permit)?;
                let is_free = |name: UserName| async move { self.is_free(&name).await };
                let with = (&self.turns, is_free);
                writes::document(asker, &rules, with, if_match.as_deref(), body).await
            }
            Plan::BulkWrite(rules) => self.bulk(permit, &rules, body).await,
            Plan::Local => Box::pin(self.local(permit, body)).await,
        }
    }

    async fn bulk(
        &self,
        permit: Permit,
        rules: &WriteRules,
        body: Bytes,
    ) -> Result<Answer, Refusal> {
        let asker = self.asker(permit)?;
        let (caller, db) = (asker.permit.caller().clone(), asker.db.clone());
        let answer = writes::bulk(asker, rules, &self.turns, &self.locals, body).await?;
        let denied = answer.denied().to_vec();
        self.tell_denied(&caller, &db, denied).await;
        Ok(answer)
    }

    /// May somebody open an account by this name?
    async fn is_free(&self, name: &UserName) -> Result<bool, Refusal> {
        match &self.nodes {
            Some(nodes) => nodes.is_free(name).await,
            None => self.identity.is_free(name).await,
        }
    }

    async fn view(&self, permit: Permit, lens: ViewLens, body: Bytes) -> Result<Answer, Refusal> {
        let (ddoc, view) = view_of(&permit).ok_or(Refusal::Internal)?;
        let named = Named {
            ddoc: &ddoc,
            view: &view,
            designs: &self.designs,
        };
        if is_several(&permit) {
            let queries = lists::view_queries(self.asker(permit)?, lens, named, &body);
            return Box::pin(queries).await;
        }
        let body = optional(permit.route().method, body);
        lists::view(self.asker(permit)?, lens, named, body).await
    }

    async fn local(&self, permit: Permit, body: Bytes) -> Result<Answer, Refusal> {
        let is_list = matches!(
            permit.route().call,
            Call::Database {
                call: DatabaseCall::List(_),
                ..
            }
        );
        if is_several(&permit) {
            return locals::queries(self.asker(permit)?, &self.locals, &body).await;
        }
        if is_list {
            let body = optional(permit.route().method, body);
            return locals::list(self.asker(permit)?, &self.locals, body).await;
        }
        locals::document(self.asker(permit)?, &self.locals, body).await
    }

    async fn diff(&self, permit: Permit, lens: Lens, body: Bytes) -> Result<Answer, Refusal> {
        let call = &permit.route().call;
        let older = matches!(
            call,
            Call::Database {
                call: DatabaseCall::MissingRevs,
                ..
            }
        );
        let kind = if older {
            Diff::MissingRevs
        } else {
            Diff::RevsDiff
        };
        missing(self.asker(permit)?, lens, kind, body).await
    }

    pub(super) fn asker(&self, permit: Permit) -> Result<Asker, Refusal> {
        // Rows with the bytes of attachments are as long as what a client may send.
        let query = &permit.route().query;
        let bytes = query.has("attachments") || query.has("atts_since");
        let row = match bytes {
            true => self.limits.row.max(self.limits.body),
            false => self.limits.row,
        };
        Ok(Asker {
            upstream: self.upstream.clone(),
            rewrite: self.rewrite.clone(),
            couch: self.couch.clone(),
            db: database(&permit)?,
            permit,
            row,
            silence: self.limits.feed_idle,
        })
    }
}

fn view_of(permit: &Permit) -> Option<(DesignName, FunctionName)> {
    // Of several queries each is one of the view.
    let Call::Database { call, .. } = permit.route().call.one_query() else {
        return None;
    };
    if let DatabaseCall::PartitionView { ddoc, view, .. } = call {
        return Some((ddoc, view));
    }
    let DatabaseCall::Design {
        ddoc,
        call: DesignCall::View(view),
    } = call
    else {
        return None;
    };
    Some((ddoc, view))
}

/// Is it one of the endpoints that answer several queries at once?
pub(super) fn is_several(permit: &Permit) -> bool {
    let call = &permit.route().call;
    call.one_query() != *call
}

/// A body counts with `POST` only.
pub(super) fn optional(method: Method, body: Bytes) -> Option<Bytes> {
    (method == Method::Post && !body.is_empty()).then_some(body)
}
