//! What rules need to know of the configuration.

/// What the configuration says about policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySettings {
    /// The paths that `{node:PATH}` may name: `[nodes] attributes`, which only administrators may write.
    pub attributes: Vec<String>,
}
