//! Who asks.
//!
//! Invariant: a `UserName` or `Role` holds no control character, no character that ICU ignores when it
//! collates, and a role holds no comma and does not begin with `_`: they are safe in a header of proxy
//! authentication, and two different ones never compare equal anywhere behind us.

use std::sync::Arc;

/// Who asks. `_admin` comes from our configuration alone, hence its own variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Sent no credentials at all.
    Anonymous,
    /// A user who proved his name.
    User(Arc<User>),
    /// A user whose name the configuration lists under `[identity] administrators`.
    Administrator(Arc<User>),
}

/// A user who proved his name, with the roles of his `_users` document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// The name he logged in with.
    pub name: UserName,
    /// His roles, sorted, without repetition.
    pub roles: Vec<Role>,
    /// The values of `[nodes] attributes` in his own full node: (path, value as text).
    /// A path that holds an array gives one entry for each text in it.
    pub attributes: Vec<(String, String)>,
}

/// The name of a user, see the module's invariant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Box<str>);

/// A role of a user, see the module's invariant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role(Box<str>);

/// A name or role that can't be told safely to CouchDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name or role that CouchDB and couchwarden read alike")]
pub struct NameError;

impl Caller {
    /// The name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.user().map(|user| user.name.as_str())
    }

    /// The user behind the caller, administrators included.
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::Anonymous => None,
            Self::User(user) | Self::Administrator(user) => Some(user),
        }
    }

    /// Whether this is an administrator.
    pub fn is_administrator(&self) -> bool {
        match self {
            Self::Administrator(_) => true,
            Self::Anonymous | Self::User(_) => false,
        }
    }
}
