//! One permit in a database carried out: each call to the code that serves it.
//!
//! `verbatim` passes on what no lens is about, `clear_lists` finds lists that a lens would leave as they are, `writes`
//! serves bodies that are not only JSON.
//!
//! Invariant: a new call does not compile until it is named in [`Exchange::answer`].

pub(crate) mod accept;
pub(crate) mod answer;
pub(crate) mod context;
pub(crate) mod doc_locks;
pub(crate) mod errors;
pub(crate) mod gaps;
pub(crate) mod generations;
pub(crate) mod head;
pub(crate) mod local_names;
pub(crate) mod reauthorize;
pub(crate) mod redact;
pub(crate) mod revisions;
pub mod rewrite;
mod unanswered;
pub(crate) mod upstream;
mod verbatim;

pub(crate) mod parts;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod write;

pub use answer::Answer;
pub use read::offline::in_parts;

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderName, IF_NONE_MATCH, USER_AGENT};

use crate::budget::{Budget, Share};
use crate::caller::UserName;
use crate::config::Limits;
use crate::couch::Couch;
use crate::exchange::context::Context;
use crate::exchange::doc_locks::DocLocks;
use crate::exchange::gaps::Gaps;
use crate::exchange::local_names::Locals;
use crate::exchange::read::changes;
use crate::exchange::read::changes::ChangesLens;
use crate::exchange::read::design::Designs;
use crate::exchange::read::document::Preferences;
use crate::exchange::read::revs_diff::{Diff, missing};
use crate::exchange::read::views::Named;
use crate::exchange::read::{bulk_get, document, find, index, info, lists, local, views};
use crate::exchange::reauthorize::Lease;
use crate::exchange::rewrite::Rewrite;
use crate::exchange::upstream::Upstream;
use crate::exchange::write::answer as batches;
use crate::exchange::write::batch::SentBatch;
use crate::intake::Intake;
use crate::policy::{Permit, Plan};
use crate::refusal::Refusal;
use crate::route::{DatabaseCall, DbName, DesignCall, DesignName, FunctionName, List, Method};
use crate::secret::Seal;

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Everything that a request in a database meets on its way to CouchDB and back.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) couch: Couch,
    pub(crate) upstream: Upstream,
    pub(crate) rewrite: Rewrite,
    pub(crate) designs: Designs,
    pub(crate) turns: DocLocks,
    pub(crate) locals: Locals,
    pub(crate) gaps: Gaps,
    pub(crate) seal: Arc<Seal>,
    pub(crate) limits: Limits,
}

/// A request that policy has permitted.
pub(crate) struct Permitted {
    pub(crate) permit: Permit,
    /// The revision of the document by which an attachment was judged.
    pub(crate) judged: Option<String>,
    /// What an open feed goes on by.
    pub(crate) lease: Option<Lease>,
    pub(crate) intake: Intake,
}

/// What is left of a request whose body is here.
struct Collected {
    context: Context,
    lease: Option<Lease>,
    body: Bytes,
    if_none_match: Option<String>,
    last_event_id: Option<String>,
    accept: Option<String>,
    user_agent: Option<String>,
}

impl Exchange {
    /// Carries out the permit of a call in a database: the one place where calls are told apart. `is_free` says whether
    /// an account may be opened by a name.
    #[expect(clippy::too_many_lines, reason = "one arm for each call, nothing else")]
    pub(crate) async fn answer<F>(
        &self,
        request: Permitted,
        call: &DatabaseCall,
        is_free: impl FnOnce(UserName) -> F + Send,
    ) -> Result<Answer, Refusal>
    where
        F: Future<Output = Result<bool, Refusal>> + Send,
    {
        match request.permit.plan() {
            Plan::Verbatim => return self.pass(request).await,
            Plan::KeepInTombstones(fields) => {
                let fields = Arc::clone(fields);
                return self.keep_in_tombstones(request, &fields).await;
            }
            Plan::Here | Plan::Read(_) | Plan::Write(_) => {}
        }
        let method = request.permit.route().method;
        match call {
            DatabaseCall::Itself => match method {
                Method::Get | Method::Head => {
                    info::info(&self.couch, &database(&request.permit)?).await
                }
                Method::Post | Method::Put | Method::Delete | Method::Copy => {
                    Box::pin(self.write(request, is_free)).await
                }
            },
            DatabaseCall::Document(_) => match method {
                Method::Get | Method::Head => self.document(request).await,
                Method::Post | Method::Put | Method::Delete | Method::Copy => {
                    Box::pin(self.write(request, is_free)).await
                }
            },
            DatabaseCall::Attachment { .. } => match method {
                // Of its document the revision that was judged, not the one that is newest by now.
                Method::Get | Method::Head => {
                    request.permit.documents()?;
                    self.pass(request).await
                }
                Method::Post | Method::Put | Method::Delete | Method::Copy => {
                    self.attachment(request).await
                }
            },
            DatabaseCall::CopyDocument { .. } => self.copy(request).await,
            DatabaseCall::BulkDocs => self.bulk_docs(request).await,
            DatabaseCall::List(List::Local)
            | DatabaseCall::ListQueries(List::Local)
            | DatabaseCall::Local(_)
            | DatabaseCall::CopyLocal { .. } => self.locals(request, call).await,
            DatabaseCall::List(List::All | List::Design) | DatabaseCall::PartitionAllDocs(_) => {
                self.list(request, false).await
            }
            DatabaseCall::ListQueries(List::All | List::Design) => self.list(request, true).await,
            DatabaseCall::PartitionView {
                partition: _,
                ddoc,
                view,
            }
            | DatabaseCall::Design {
                ddoc,
                call: DesignCall::View(view),
            } => Box::pin(self.view(request, (ddoc, view), false)).await,
            DatabaseCall::Design {
                ddoc,
                call: DesignCall::ViewQueries(view),
            } => Box::pin(self.view(request, (ddoc, view), true)).await,
            DatabaseCall::BulkGet => self.bulk_get(request).await,
            DatabaseCall::Changes => self.changes(request).await,
            DatabaseCall::Find | DatabaseCall::PartitionFind(_) => self.find(request).await,
            DatabaseCall::Explain | DatabaseCall::PartitionExplain(_) => {
                self.explain(request).await
            }
            DatabaseCall::Index
            | DatabaseCall::IndexNamed { .. }
            | DatabaseCall::IndexBulkDelete => self.index(request).await,
            DatabaseCall::RevsDiff => self.revs_diff(request, Diff::RevsDiff).await,
            DatabaseCall::MissingRevs => self.revs_diff(request, Diff::MissingRevs).await,
            // Passed on as they are, or not at all.
            DatabaseCall::EnsureFullCommit
            | DatabaseCall::Security
            | DatabaseCall::Maintain(_)
            | DatabaseCall::PartitionInfo(_)
            | DatabaseCall::PartitionSearch { .. }
            | DatabaseCall::PartitionNouveau { .. }
            | DatabaseCall::TempView
            | DatabaseCall::Design {
                ddoc: _,
                call:
                    DesignCall::Info
                    | DesignCall::Search(_)
                    | DesignCall::SearchInfo(_)
                    | DesignCall::SearchDiskSize(_)
                    | DesignCall::Nouveau(_)
                    | DesignCall::NouveauInfo(_)
                    | DesignCall::Show(..)
                    | DesignCall::List { .. }
                    | DesignCall::Update(..)
                    | DesignCall::Rewrite(_),
            } => Err(Refusal::Internal(
                "policy gave this call another plan than it is served by",
            )),
        }
    }

    async fn document(&self, request: Permitted) -> Result<Answer, Refusal> {
        let lens = request.permit.documents()?.clone();
        let Collected {
            context,
            if_none_match,
            accept,
            user_agent,
            ..
        } = self.collect(request).await?;
        let preferred = Preferences {
            if_none_match: if_none_match.as_deref(),
            accept: accept.as_deref(),
            user_agent: user_agent.as_deref(),
        };
        Box::pin(document::document(context, lens, preferred)).await
    }

    async fn list(&self, request: Permitted, several: bool) -> Result<Answer, Refusal> {
        let lens = request.permit.documents()?.clone();
        let clear = lens.is_clear();
        let Collected { context, body, .. } = match self.filtered(request, clear, several).await? {
            ControlFlow::Break(answer) => return Ok(answer),
            ControlFlow::Continue(request) => request,
        };
        if several {
            return Box::pin(lists::documents_queries(context, lens, &body)).await;
        }
        let sent = posted(&context, &body);
        lists::documents(context, lens, sent).await
    }

    async fn view(
        &self,
        request: Permitted,
        (ddoc, view): (&DesignName, &FunctionName),
        several: bool,
    ) -> Result<Answer, Refusal> {
        let lens = request.permit.view()?.clone();
        let clear = lens.is_clear();
        let Collected { context, body, .. } = match self.filtered(request, clear, several).await? {
            ControlFlow::Break(answer) => return Ok(answer),
            ControlFlow::Continue(request) => request,
        };
        let named = Named {
            ddoc,
            view,
            designs: &self.designs,
        };
        if several {
            return views::view_queries(context, lens, named, &body).await;
        }
        let sent = posted(&context, &body);
        views::view(context, lens, named, sent).await
    }

    /// The request for a list with its body, or the answer where the lens would leave all of it as it is. `clear`: the
    /// lens hides nothing but `_local` documents.
    async fn filtered(
        &self,
        request: Permitted,
        clear: bool,
        several: bool,
    ) -> Result<ControlFlow<Answer, Collected>, Refusal> {
        if !clear {
            return Ok(ControlFlow::Continue(self.collect(request).await?));
        }
        let (request, untouched) = self.is_untouched(request, several).await?;
        Ok(match untouched {
            true => ControlFlow::Break(self.pass(request).await?),
            false => ControlFlow::Continue(self.collect(request).await?),
        })
    }

    async fn changes(&self, request: Permitted) -> Result<Answer, Refusal> {
        let (rows, docs) = request.permit.changes()?;
        let lens = ChangesLens {
            rows: rows.clone(),
            docs: docs.clone(),
        };
        let Collected {
            context,
            lease,
            body,
            last_event_id,
            ..
        } = self.collect(request).await?;
        let (seal, sent) = (Arc::clone(&self.seal), posted(&context, &body));
        let lease = lease.ok_or(Refusal::Internal("a feed without a lease"))?;
        changes::changes(context, lens, lease, seal, last_event_id.as_deref(), sent).await
    }

    async fn find(&self, request: Permitted) -> Result<Answer, Refusal> {
        let lens = request.permit.documents()?.clone();
        let Collected { context, body, .. } = self.collect(request).await?;
        find::find(context, lens, Arc::clone(&self.seal), body).await
    }

    async fn explain(&self, request: Permitted) -> Result<Answer, Refusal> {
        let lens = request.permit.documents()?.clone();
        let Collected { context, body, .. } = self.collect(request).await?;
        index::explain(context, lens, body).await
    }

    async fn index(&self, request: Permitted) -> Result<Answer, Refusal> {
        let lens = request.permit.documents()?.clone();
        let Collected { context, body, .. } = self.collect(request).await?;
        index::index(context, lens, body).await
    }

    async fn bulk_get(&self, request: Permitted) -> Result<Answer, Refusal> {
        let lens = request.permit.documents()?.clone();
        let Collected {
            context,
            body,
            accept,
            ..
        } = self.collect(request).await?;
        bulk_get::bulk_get(context, lens, accept.as_deref(), &body).await
    }

    async fn revs_diff(&self, request: Permitted, kind: Diff) -> Result<Answer, Refusal> {
        let lens = request.permit.documents()?.clone();
        let Collected { context, body, .. } = self.collect(request).await?;
        missing(context, lens, kind, body).await
    }

    async fn bulk_docs(&self, request: Permitted) -> Result<Answer, Refusal> {
        let Permitted { permit, intake, .. } = request;
        let rules = permit.writes()?.clone();
        let context = self.context(permit, &intake.budget, None)?;
        // The limit of a body is one for each of its documents.
        let body = intake.body.up_to(self.limits.bodies).stream_with_share();
        let sent = SentBatch::read(body, self.limits.body).await?;
        Box::pin(batches::bulk(
            context,
            &rules,
            &self.turns,
            &self.locals,
            sent,
        ))
        .await
    }

    async fn locals(&self, request: Permitted, call: &DatabaseCall) -> Result<Answer, Refusal> {
        let Collected { context, body, .. } = self.collect(request).await?;
        if matches!(call, DatabaseCall::ListQueries(_)) {
            return Box::pin(local::queries(context, &self.locals, &body)).await;
        }
        if matches!(call, DatabaseCall::List(_)) {
            let sent = posted(&context, &body);
            return Box::pin(local::list(context, &self.locals, sent)).await;
        }
        local::document(context, &self.locals, body).await
    }

    /// The request with the whole of its body, under the limit.
    async fn collect(&self, request: Permitted) -> Result<Collected, Refusal> {
        let Permitted {
            permit,
            judged: _,
            lease,
            intake,
        } = request;
        let [if_none_match, last_event_id, accept, user_agent] =
            [IF_NONE_MATCH, LAST_EVENT_ID, ACCEPT, USER_AGENT]
                .map(|name| intake.header(&name).map(str::to_owned));
        let budget = Arc::clone(&intake.budget);
        let (body, share) = intake.body.collect_apart(self.limits.body).await?;
        Ok(Collected {
            context: self.context(permit, &budget, share.map(Arc::new))?,
            lease,
            body,
            if_none_match,
            last_event_id,
            accept,
            user_agent,
        })
    }

    /// What asks CouchDB on behalf of a request that has this budget, and whose body has this share of it.
    fn context(
        &self,
        permit: Permit,
        budget: &Arc<Budget>,
        share: Option<Arc<Share>>,
    ) -> Result<Context, Refusal> {
        // Rows with the bytes of attachments are as long as what a client may send.
        let query = &permit.route().query;
        let bytes = query.has("attachments") || query.has("atts_since");
        let row = match bytes {
            true => self.limits.row.max(self.limits.body),
            false => self.limits.row,
        };
        let db = database(&permit)?;
        Ok(Context {
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

fn database(permit: &Permit) -> Result<DbName, Refusal> {
    permit
        .route()
        .db()
        .cloned()
        .ok_or(Refusal::Internal("a call without a database"))
}

/// A body counts with `POST` only.
fn posted(context: &Context, body: &Bytes) -> Option<Bytes> {
    let posted = context.permit.route().method == Method::Post && !body.is_empty();
    posted.then(|| body.clone())
}

#[cfg(test)]
mod tests;
