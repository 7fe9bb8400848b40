//! The road to the node service.

use http::StatusCode;
use http::header::{IF_MATCH, IF_NONE_MATCH};

use super::{Pipeline, text};
use crate::exchange::Permitted;
use crate::exchange::answer::Answer;
use crate::exchange::write::written::Written;
use crate::intake::Intake;
use crate::intake::json_body;
use crate::policy::{Permit, Plan, Policy};
use crate::refusal::Refusal;
use crate::route::{Method, NodeCall};
use crate::services::node::{Asked, Gate, Nodes, Writer};

impl Pipeline {
    /// `/node` and `/node/ID`.
    pub(super) async fn node(
        &self,
        policy: &Policy,
        permit: &Permit,
        call: &NodeCall,
        intake: Intake,
    ) -> Result<Answer, Refusal> {
        let nodes = self.nodes.as_ref().ok_or(Refusal::NoEndpoint)?;
        let (if_match, if_none_match) = (text(&intake, &IF_MATCH), text(&intake, &IF_NONE_MATCH));
        let asked = match call {
            NodeCall::List => None,
            NodeCall::One(id) => Some(Asked {
                caller: permit.caller(),
                id,
                query: &permit.route().query,
                peer: Some(intake.address),
                if_match: if_match.as_deref(),
                if_none_match: if_none_match.as_deref(),
                replaces: None,
            }),
        };
        let body = intake.body.collect(self.exchange.limits.body).await?;
        crate::own::node(nodes, policy, permit, asked, body).await
    }

    /// Nodes written by CouchDB's API: policy has let the caller in, the node service judges the nodes.
    pub(super) async fn through_gate(
        &self,
        (nodes, gate): (&Nodes, Gate),
        policy: &Policy,
        request: Permitted,
    ) -> Result<Answer, Refusal> {
        let Permitted { permit, intake, .. } = request;
        let rules = match permit.plan() {
            Plan::Verbatim | Plan::KeepInTombstones(_) => None,
            Plan::Here | Plan::Read(_) | Plan::Write(_) => Some(permit.writes()?),
        };
        let writer = Writer {
            caller: permit.caller(),
            peer: intake.address,
            rules,
            policy,
        };
        let if_match = text(&intake, &IF_MATCH);
        let route = permit.route();
        let query = route.query.document()?;
        let body = intake.body.collect(self.exchange.limits.body).await?;
        let answer = match (gate, route.document()) {
            (Gate::Closed(reason), _) => return Err(Refusal::Forbidden(reason)),
            (Gate::Documents, _) => {
                let body = json_body::value(&body)?;
                Box::pin(nodes.write_documents(writer, body)).await?
            }
            (Gate::Document, id) => {
                let if_match = if_match.as_deref();
                let written = match (route.method, id) {
                    (Method::Delete, Some(id)) => Written::tombstone(id, &query, if_match)?,
                    _ => Written::read(id, &query, if_match, json_body::value(&body)?)?,
                };
                Box::pin(nodes.write_document(writer, &query, written)).await?
            }
        };
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        Ok(Answer::with(status, answer.body))
    }
}
