//! Whether a name is still to be had: no stranger becomes a user whose name means somebody already, by a node
//! or by an account in `_users`.
//!
//! Invariant: a name of which we can't find out is not free.

use super::Nodes;
use super::tree::Tree;
use crate::caller::UserName;
use crate::refusal::Refusal;

impl Nodes {
    /// Is nobody known by this name, and nobody ever was? Whoever took one that stands in the `nodeAdmins` of
    /// some node would write that node, and whoever took that of a node would be its user.
    pub(crate) async fn is_free(&self, name: &UserName) -> Result<bool, Refusal> {
        self.store.catch_up().await?;
        let means =
            |tree: &Tree| tree.find(name.as_str()).is_some() || tree.administers(name.as_str());
        Ok(!self.store.look(means) && self.identity.is_free(name).await?)
    }
}
