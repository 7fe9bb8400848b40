//! Whether a name is still to be had: no stranger becomes a user whose name means somebody already.
//!
//! Invariant: a name of which we can't find out is not free.

use super::Nodes;
use crate::identity::present::ANONYMOUS;
use crate::refusal::Refusal;
use crate::route::DbName;

impl Nodes {
    /// Is nobody known by this name, and nobody ever was? That no node has or had the id, the caller knows.
    pub(super) async fn is_free(&self, name: &str) -> Result<bool, Refusal> {
        let reserved = self
            .settings
            .reserved
            .iter()
            .any(|reserved| reserved == name);
        if reserved || name == ANONYMOUS || self.store.look(|tree| tree.administers(name)) {
            return Ok(false);
        }
        let users = DbName::parse("_users").map_err(|_| Refusal::Internal)?;
        let id = format!("org.couchdb.user:{name}");
        let found = self.couch.read_many(&users, &[&id]).await?;
        // A tombstone counts: roles and databases may still be the deleted user's.
        if found.into_iter().flatten().next().is_some() {
            return Ok(false);
        }
        let administrators = self.couch.administrators().await?;
        Ok(!administrators
            .iter()
            .any(|administrator| administrator == name))
    }
}
