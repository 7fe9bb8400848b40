//! Permits whose body or answer is judged: each plan to the file that serves it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Conditions, Pipeline, database};
use crate::budget::{Budget, Share};
use crate::caller::UserName;
use crate::filter::answer::Answer;
use crate::filter::ask::Asker;
use crate::filter::diff::{Diff, missing};
use crate::filter::feeds::ChangesLens;
use crate::filter::lease::Lease;
use crate::filter::lists::Named;
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
            last_event_id,
            accept,
            budget,
            share,
            ..
        } = conditions;
        let method = permit.route().method;
        let seal = Arc::clone(&self.seal);
        let asker = |permit| self.asker(permit, budget, share.clone());
        match permit.plan().clone() {
            Plan::Verbatim
            | Plan::Attachment(_)
            | Plan::AttachmentWrite(_)
            | Plan::Copy(_)
            | Plan::Tombstones(_)
            | Plan::Own => Err(Refusal::Internal),
            Plan::Info => self.own.info(&self.couch, &database(&permit)?).await,
            Plan::Document(lens) => {
                Box::pin(single::document(asker(permit)?, lens, conditions.wanted())).await
            }
            Plan::Documents(lens) if is_several(&permit) => {
                Box::pin(lists::documents_queries(asker(permit)?, lens, &body)).await
            }
            Plan::Documents(lens) => {
                let body = optional(method, body);
                lists::documents(asker(permit)?, lens, body).await
            }
            Plan::Changes { rows, docs } => {
                let body = optional(method, body);
                let lens = ChangesLens { rows, docs };
                let (asker, lease) = (asker(permit)?, lease.ok_or(Refusal::Internal)?);
                feeds::changes(asker, lens, lease, seal, last_event_id.as_deref(), body).await
            }
            Plan::Find(lens) => find::find(asker(permit)?, lens, seal, body).await,
            Plan::Explain(lens) => indexes::explain(asker(permit)?, lens, body).await,
            Plan::Index(lens) => indexes::index(asker(permit)?, lens, body).await,
            Plan::BulkGet(lens) => {
                let asker = asker(permit)?;
                single::bulk_get(asker, lens, accept.as_deref(), &body).await
            }
            Plan::RevsDiff(lens) => diff(asker(permit)?, lens, body).await,
            Plan::View(lens) => Box::pin(self.view(asker(permit)?, *lens, body)).await,
            Plan::Write(rules) => {
                let (asker, rev) = (asker(permit)?, if_match.as_deref());
                self.write(asker, &rules, rev, body).await
            }
            Plan::BulkWrite(rules) => self.bulk(asker(permit)?, &rules, body).await,
            Plan::Local => Box::pin(self.local(asker(permit)?, body)).await,
        }
    }

    async fn write(
        &self,
        asker: Asker,
        rules: &WriteRules,
        if_match: Option<&str>,
        body: Bytes,
    ) -> Result<Answer, Refusal> {
        let is_free = |name: UserName| async move { self.is_free(&name).await };
        let with = (&self.turns, is_free);
        writes::document(asker, rules, with, if_match, body).await
    }

    async fn bulk(&self, asker: Asker, rules: &WriteRules, body: Bytes) -> Result<Answer, Refusal> {
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

    async fn view(&self, asker: Asker, lens: ViewLens, body: Bytes) -> Result<Answer, Refusal> {
        let (ddoc, view) = view_of(&asker.permit).ok_or(Refusal::Internal)?;
        let named = Named {
            ddoc: &ddoc,
            view: &view,
            designs: &self.designs,
        };
        if is_several(&asker.permit) {
            return Box::pin(lists::view_queries(asker, lens, named, &body)).await;
        }
        let body = optional(asker.permit.route().method, body);
        lists::view(asker, lens, named, body).await
    }

    async fn local(&self, asker: Asker, body: Bytes) -> Result<Answer, Refusal> {
        let is_list = matches!(
            asker.permit.route().call,
            Call::Database {
                call: DatabaseCall::List(_),
                ..
            }
        );
        if is_several(&asker.permit) {
            return Box::pin(locals::queries(asker, &self.locals, &body)).await;
        }
        if is_list {
            let body = optional(asker.permit.route().method, body);
            return locals::list(asker, &self.locals, body).await;
        }
        locals::document(asker, &self.locals, body).await
    }

    /// What asks CouchDB on behalf of a request that has this budget, and whose body has this share of it.
    pub(super) fn asker(
        &self,
        permit: Permit,
        budget: &Arc<Budget>,
        share: Option<Arc<Share>>,
    ) -> Result<Asker, Refusal> {
        // Rows with the bytes of attachments are as long as what a client may send.
        let query = &permit.route().query;
        let bytes = query.has("attachments") || query.has("atts_since");
        let row = match bytes {
            true => self.limits.row.max(self.limits.body),
            false => self.limits.row,
        };
        let db = database(&permit)?;
        Ok(Asker {
            upstream: self.upstream.clone(),
            rewrite: self.rewrite.clone(),
            couch: self.couch.counted(budget),
            budget: Arc::clone(budget),
            _share: share,
            gaps: self.gaps.of(permit.caller(), &db),
            db,
            permit,
            row,
            silence: self.limits.feed_idle,
        })
    }
}

async fn diff(asker: Asker, lens: Lens, body: Bytes) -> Result<Answer, Refusal> {
    let older = matches!(
        asker.permit.route().call,
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
    missing(asker, lens, kind, body).await
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
