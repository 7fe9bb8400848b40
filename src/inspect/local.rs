//! `_local` documents: each caller's checkpoints live under names of his own, so that nobody reads or
//! disturbs another's.

use crate::caller::Caller;
use crate::refusal::Refusal;
use crate::route::LocalId;
use crate::secret::Key;

/// Makes the names under which a caller's checkpoints are stored.
#[derive(Debug, Clone)]
pub(crate) struct Locals {
    key: Key,
}

impl Locals {
    pub(crate) fn new(key: Key) -> Self {
        Self { key }
    }

    /// The private name of a checkpoint.
    ///
    /// # Errors
    ///
    /// Anonymous callers have no checkpoints: they would all share them.
    pub(crate) fn private(&self, caller: &Caller, id: &LocalId) -> Result<LocalId, Refusal> {
        let name = caller.name().ok_or(Refusal::Unauthorized)?;
        let tag = self.key.sign(&[name.as_bytes(), id.as_str().as_bytes()]);
        let digits: String = tag
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        LocalId::parse(&format!("couchwarden-{digits}")).map_err(|_| Refusal::Internal)
    }
}
