//! The road to the node service.

use http::header::{IF_MATCH, IF_NONE_MATCH};

use super::{Pipeline, text};
use crate::filter::answer::Answer;
use crate::intake::Intake;
use crate::node::Asked;
use crate::policy::Permit;
use crate::refusal::Refusal;
use crate::route::NodeCall;

impl Pipeline {
    /// `/node` and `/node/ID`.
    pub(super) async fn node(
        &self,
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
            }),
        };
        let body = intake.body.collect(self.limits.body).await?;
        crate::own::node(nodes, permit, asked, body).await
    }
}
