//! The configuration: one file, all of whose mistakes are told at once, each with its line.
//!
//! `raw` reads what the file says; `values` has the types of what it means, `meaning` goes from one to the
//! other. Defaults stand in `meaning` and `limits` only.
//!
//! Invariant: a `Config` that exists can be run: nothing in it is checked again later. Only this module
//! reads the environment.

mod couchdb;
mod jwk;
mod limits;
mod meaning;
mod member_role;
mod network;
mod origin;
mod provisioning;
mod raw;
mod signing;
#[cfg(test)]
mod tests;
mod tokens;
mod values;
mod words;

pub use jwk::{Algorithm, TokenKey};
pub use member_role::MemberRole;
pub use network::Network;
pub use origin::Origin;
pub use signing::{Signing, SigningKey};

pub use values::{
    Bcrypt, Config, CouchDb, Identity, Limits, Listen, Login, Nodes, Present, Provisioning,
    SentRoles, Session, SharePercents, TokenRules, TokenVoucher, Voucher,
};

use crate::mistake::Mistake;
use std::path::Path;

impl Config {
    /// Reads the file, and the files and variables that it names.
    pub fn load(path: &Path) -> Result<Self, Vec<Mistake>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![Mistake {
                file: path.display().to_string(),
                line: 1,
                message: format!("can't be read: {error}"),
            }]
        })?;
        Self::parse(&text, path)
    }

    /// Reads this text as if it stood at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Vec<Mistake>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that reads the environment"
        )]
        let environment = |name: &str| std::env::var(name).ok();
        meaning::read(text, path, &environment)
    }
}
