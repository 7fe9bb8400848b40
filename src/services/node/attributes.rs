//! What policies may know of a caller's own node: `{node:PATH}`.
//!
//! Invariant: only a user node is anybody's own; a node that can't be followed gives a refusal, never a
//! caller without values.

use super::Nodes;
use super::store::Trouble;
use crate::caller::Caller;
use crate::policy::Policy;
use crate::refusal::Refusal;

impl Nodes {
    /// The caller with the values of `[nodes] attributes` in his own full node, if it is a user node.
    ///
    /// A caller whose node can't be followed is refused: a rule that forbids by a value would let him
    /// pass without it.
    pub(crate) async fn with_attributes(&self, caller: Caller) -> Result<Caller, Refusal> {
        let Some(name) = caller.user().map(|user| user.name.clone()) else {
            return Ok(caller);
        };
        if self.settings.attributes.is_empty() {
            return Ok(caller);
        }
        self.store.ready().await?;
        let full = match self.store.full(name.as_str(), false).await {
            Ok(full) => full.filter(|full| full.node.is_user()),
            Err(Trouble::Refused(refusal)) => return Err(refusal),
            Err(Trouble::Broken(broken)) => {
                tracing::error!(%broken, user = %name, "a caller's node can't be followed");
                return Err(Refusal::Internal("the attributes of a node cannot be read"));
            }
        };
        let mut found = Vec::new();
        if let Some(full) = full {
            for path in &self.settings.attributes {
                let mut steps = path.split('.');
                let first = steps.next().and_then(|step| full.properties.get(step));
                let rest: Vec<&str> = steps.collect();
                if let Some(value) = first.and_then(|value| value.at(&rest)) {
                    found.extend(value.texts().into_iter().map(|text| (path.clone(), text)));
                }
            }
        }
        Ok(caller.with_attributes(found))
    }
}

/// The caller with the values of his own node, where a rule asks for one.
pub(crate) async fn with_attributes(
    nodes: Option<&Nodes>,
    policy: &Policy,
    caller: Caller,
) -> Result<Caller, Refusal> {
    match nodes {
        Some(nodes) if policy.uses_attributes() => nodes.with_attributes(caller).await,
        Some(_) | None => Ok(caller),
    }
}
