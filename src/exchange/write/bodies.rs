//! Writes by their bodies: JSON is collected and judged; most of this file is for what is not only JSON, attachments,
//! documents with attachments behind them, forms.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderName, IF_MATCH, REFERER};

use super::answer;
use super::attachment::judge_attachment;
use super::attachments::{check_name, check_unread};
use super::bulk::ids;
use super::copy::copy;
use super::form::form;
use super::form::is_from_here;
use super::tombstones::tombstones;
use crate::body::full;
use crate::caller::UserName;
use crate::client::Answered;
use crate::exchange::answer::Answer;
use crate::exchange::doc_locks::Mode;
use crate::exchange::head::matched;
use crate::exchange::parts::multipart::Several;
use crate::exchange::parts::related::Related;
use crate::exchange::{Exchange, Permitted, database};
use crate::intake::{Inbound, Intake};
use crate::json::FieldPath;
use crate::policy::{Permit, WriteRules};
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, DesignCall, DocId, Method, Route};

impl Exchange {
    /// `PUT`, `POST` or `DELETE` of one document: each kind of body in its own way.
    pub(crate) async fn write<F>(
        &self,
        request: Permitted,
        is_free: impl FnOnce(UserName) -> F + Send,
    ) -> Result<Answer, Refusal>
    where
        F: Future<Output = Result<bool, Refusal>> + Send,
    {
        let Permitted { permit, intake, .. } = request;
        let rules = permit.writes()?.clone();
        let if_match = if_match(&intake, &rules)?;
        match Several::of(permit.route(), intake.header(&CONTENT_TYPE))? {
            Some(Several::Related) => return self.related(permit, &rules, intake).await,
            Some(Several::Form) => return self.form(permit, &rules, intake).await,
            None => {}
        }
        let budget = Arc::clone(&intake.budget);
        let (body, share) = intake.body.collect_apart(self.limits.body).await?;
        let context = self.context(permit, &budget, share.map(Arc::new))?;
        let with = (&self.turns, is_free);
        answer::document(context, &rules, with, if_match.as_deref(), body).await
    }

    /// `COPY` of a document.
    pub(crate) async fn copy(&self, request: Permitted) -> Result<Answer, Refusal> {
        let Permitted { permit, intake, .. } = request;
        let rules = permit.writes()?.clone();
        let if_match = if_match(&intake, &rules)?;
        let context = self.context(permit, &intake.budget, None)?;
        copy(context, &rules, &self.turns, if_match.as_deref()).await
    }

    /// An attachment: judged by its document, then its bytes pass as they come.
    pub(crate) async fn attachment(&self, request: Permitted) -> Result<Answer, Refusal> {
        let Permitted {
            permit, mut intake, ..
        } = request;
        let rules = permit.writes()?.clone();
        let context = self.context(permit, &intake.budget, None)?;
        storable(context.permit.route())?;
        let (if_match, kind) = (if_match(&intake, &rules)?, text(&intake, &CONTENT_TYPE));
        let judged =
            judge_attachment(&context, &rules, if_match.as_deref(), kind.as_deref()).await?;
        // The revision that was judged says the same.
        intake.headers.remove(IF_MATCH);
        self.pass(Permitted {
            permit: context.permit,
            judged,
            lease: None,
            intake,
        })
        .await
    }

    /// A document with its attachments behind it: the document is judged, the attachments pass as they come.
    async fn related(
        &self,
        permit: Permit,
        rules: &WriteRules,
        intake: Intake,
    ) -> Result<Answer, Refusal> {
        let context = self.context(permit, &intake.budget, None)?;
        let (if_match, kind) = (if_match(&intake, rules)?, text(&intake, &CONTENT_TYPE));
        // What CouchDB does not check keeps its turn while it is sent, so it must all be here.
        let body = match context.permit.route().query.document()?.new_edits {
            Some(false) => (full(intake.body.collect(self.limits.body).await?), None),
            Some(true) | None => intake.body.stream_with_share(),
        };
        let sent = Related::read(body, &kind.unwrap_or_default(), self.limits.body).await?;
        answer::related(context, rules, &self.turns, if_match.as_deref(), sent).await
    }

    /// A form that uploads attachments.
    async fn form(
        &self,
        permit: Permit,
        rules: &WriteRules,
        intake: Intake,
    ) -> Result<Answer, Refusal> {
        is_from_here(intake.header(&REFERER), &intake.host)?;
        let kind = text(&intake, &CONTENT_TYPE).unwrap_or_default();
        let context = self.context(permit, &intake.budget, None)?;
        let body = intake.body.collect(self.limits.body).await?;
        form(context, rules, &self.turns, &kind, body).await
    }

    /// The deletes of an administrator, where tombstones keep something.
    pub(crate) async fn keep_in_tombstones(
        &self,
        request: Permitted,
        fields: &[FieldPath],
    ) -> Result<Answer, Refusal> {
        let Permitted { permit, intake, .. } = request;
        if let Some(several) = Several::of(permit.route(), intake.header(&CONTENT_TYPE))? {
            return self.in_parts(permit, several, fields, intake).await;
        }
        let Intake { body, .. } = intake;
        let (bytes, share) = body.collect_apart(self.limits.body).await?;
        let body = Inbound::empty();
        let intake = Intake { body, ..intake };
        check_unread(&bytes)?;
        let context = self.context(permit, &intake.budget, None)?;
        let sent = (intake, bytes, share);
        tombstones(&context, fields, &self.turns, sent, &self.limits).await
    }

    /// The request without its body, and the body.
    pub(crate) async fn whole(&self, intake: Intake) -> Result<(Intake, Bytes), Refusal> {
        let Intake { body, .. } = intake;
        let bytes = body.collect(self.limits.body).await?;
        let body = Inbound::empty();
        Ok((Intake { body, ..intake }, bytes))
    }

    /// Sends what is not judged, or not any more. A write has its turn: between judging a write that CouchDB does
    /// not check and storing it, no other may pass.
    ///
    /// Security: every way to write a document whose id is known is here. What functions write under other ids
    /// and what CouchDB does by itself (`_replicate`, `_purge`) passes couchwarden by.
    /// (`no_way_to_write_lets_a_forged_history_roll_it_back`)
    pub(crate) async fn in_turn(
        &self,
        permit: &Permit,
        rev: Option<&str>,
        intake: Intake,
    ) -> Result<Response<Answered>, Refusal> {
        let (upstream, rewrite) = (&self.upstream, &self.rewrite);
        match sending(permit.route()) {
            Sending::Nothing => upstream.send(rewrite.verbatim(permit, rev, intake)?).await,
            Sending::Bytes(id) => {
                let turn = self.turns.later(&database(permit)?, id.as_str());
                let outbound = rewrite.verbatim(permit, rev, intake)?;
                upstream.send_late(turn, 0, outbound).await
            }
            Sending::Documents(id) => {
                let (intake, body) = self.whole(intake).await?;
                check_unread(&body)?;
                let named = match id {
                    Some(_) => Vec::new(),
                    None => ids(&body),
                };
                let ids = named.iter().map(String::as_str);
                let ids = ids.chain(id.map(DocId::as_str));
                let db = database(permit)?;
                let pass = Mode::Shared;
                let turn = self.turns.take(db.as_str(), ids, pass).await;
                let intake = intake.with_body(body, &self.limits);
                let outbound = rewrite.verbatim(permit, rev, intake)?;
                upstream.send_in(turn, outbound).await
            }
        }
    }
}

/// How a request that is not judged writes.
enum Sending<'r> {
    /// No document, or none that it names.
    Nothing,
    /// This document, by bytes that pass as they come.
    Bytes(&'r DocId),
    /// This one, or those that its body names.
    Documents(Option<&'r DocId>),
}

fn sending(route: &Route) -> Sending<'_> {
    let Call::Database { db: _, call } = &route.call else {
        return Sending::Nothing;
    };
    if !route.may_write() {
        return Sending::Nothing;
    }
    if let Some(id) = route.document() {
        return Sending::Documents(Some(id));
    }
    if let DatabaseCall::Attachment { doc: id, .. }
    | DatabaseCall::CopyDocument { to: id, .. }
    | DatabaseCall::Design {
        call: DesignCall::Update(_, Some(id)),
        ..
    } = call
    {
        return Sending::Bytes(id);
    }
    let posted = route.is_of_a_database() && route.method == Method::Post;
    match posted || matches!(call, DatabaseCall::BulkDocs) {
        true => Sending::Documents(None),
        false => Sending::Nothing,
    }
}

/// An attachment that is put under a name that it may have, or anything else.
pub(crate) fn storable(route: &Route) -> Result<(), Refusal> {
    match route.attachment() {
        Some((_, name)) if route.method == Method::Put => check_name(name.as_str()),
        Some(_) | None => Ok(()),
    }
}

fn text(intake: &Intake, name: &HeaderName) -> Option<String> {
    intake.header(name).map(str::to_owned)
}

/// The revision that `If-Match` names.
fn if_match(intake: &Intake, rules: &WriteRules) -> Result<Option<String>, Refusal> {
    let tag = intake.header(&IF_MATCH);
    tag.map(|tag| matched(tag, &rules.reads().fingerprint()))
        .transpose()
}
