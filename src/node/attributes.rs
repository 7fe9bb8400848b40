//! What policies may know of a caller's own node: `{node:PATH}`.
//!
//! Invariant: only a user node is anybody's own; a node that can't be followed gives a refusal, never a
//! caller without values.

use std::sync::Arc;

use super::single::{self, Broken, Single};
use super::{Attributes, Nodes, Trouble};
use crate::caller::{Caller, UserName};
use crate::json::Value;
use crate::refusal::Refusal;

impl Nodes {
    /// The caller with the values of `[nodes] attributes` in his own full node, if it is a user node.
    ///
    /// A caller whose node can't be followed is refused: a rule that forbids by a value would let him
    /// pass without it.
    pub(crate) async fn endow(&self, caller: Caller) -> Result<Caller, Refusal> {
        let Some(name) = caller.user().map(|user| user.name.clone()) else {
            return Ok(caller);
        };
        if self.settings.attributes.is_empty() {
            return Ok(caller);
        }
        let read = self.read_attributes(&name);
        let values = self.attributes.try_get_with_by_ref(&name, read).await;
        let values = values.map_err(|refusal: Arc<Refusal>| (*refusal).clone())?;
        Ok(caller.with_attributes(values.to_vec()))
    }

    async fn read_attributes(&self, name: &UserName) -> Result<Attributes, Refusal> {
        let node = self.single(name.as_str()).await?.filter(Single::is_user);
        let Some(node) = node else {
            return Ok(Attributes::default());
        };
        let broken = |broken: Broken| {
            tracing::error!(%broken, user = %name, "a caller's node can't be followed");
            Refusal::Internal
        };
        let ancestors = self
            .ancestors(&node)
            .await
            .map_err(|trouble| match trouble {
                Trouble::Broken(why) => broken(why),
                Trouble::Refused(refusal) => refusal,
            })?;
        let order = single::order(&node, &ancestors).map_err(broken)?;
        let properties = Value::from(single::full(&order));
        let mut found = Vec::new();
        for path in &self.settings.attributes {
            let steps: Vec<&str> = path.split('.').collect();
            if let Some(value) = properties.at(&steps) {
                found.extend(value.texts().into_iter().map(|text| (path.clone(), text)));
            }
        }
        Ok(Arc::new(found))
    }
}
