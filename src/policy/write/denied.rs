//! Why a write is denied.

/// Why a write is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A delete of what is not there for the caller.
    #[error("missing")]
    Missing,
    /// A write over what is not there for the caller: as if someone had just written it.
    #[error("Document update conflict.")]
    Conflict,
    /// The caller may not do this to a document that they know.
    #[error("{0}")]
    Forbidden(String),
}

pub(in crate::policy) fn forbidden(reason: &str) -> Denied {
    Denied::Forbidden(reason.to_owned())
}
