//! Who asks.
//!
//! Invariant: a `UserName` or `Role` holds no control character, no character that ICU ignores when it
//! collates, and no text that Unicode would spell in another way: two different ones are never the same
//! text for anybody behind us. Neither begins or ends with a space, and a role holds no comma and does
//! not begin with `_`: both arrive unchanged through the headers of proxy authentication.

use std::fmt;
use std::sync::{Arc, LazyLock};

use icu_collator::options::{CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed};
use icu_normalizer::ComposingNormalizerBorrowed;

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

/// A user who proved his name, with the roles of his `_users` document or of his token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// The name he logged in with.
    pub name: UserName,
    /// His roles, sorted, without repetition.
    pub roles: Vec<Role>,
    /// The values of `[nodes] attributes` in his own full node: (path, value as text).
    /// A path that holds an array gives one entry for each text in it.
    pub attributes: Vec<(String, String)>,
    /// The claims of the token he came with: (name, value as text), as above.
    pub claims: Vec<(String, String)>,
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

    /// The roles, none for anonymous callers.
    pub fn roles(&self) -> &[Role] {
        self.user().map_or(&[], |user| &user.roles)
    }

    /// The same caller with the values of his own node.
    #[must_use]
    pub fn with_attributes(self, attributes: Vec<(String, String)>) -> Self {
        let with_attributes = |user: Arc<User>| {
            let mut user = Arc::unwrap_or_clone(user);
            user.attributes = attributes;
            Arc::new(user)
        };
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::User(user) => Self::User(with_attributes(user)),
            Self::Administrator(user) => Self::Administrator(with_attributes(user)),
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

impl User {
    /// A user without attributes; the roles are put in order here.
    pub fn new(name: UserName, mut roles: Vec<Role>) -> Self {
        roles.sort();
        roles.dedup();
        Self {
            name,
            roles,
            attributes: Vec::new(),
            claims: Vec::new(),
        }
    }
}

impl UserName {
    /// Longer names are nobody's.
    const LONGEST: usize = 512;

    /// Takes a name that everybody behind us reads as we do.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let legal = text.len() <= Self::LONGEST && is_plain(text);
        if legal {
            Ok(Self(text.into()))
        } else {
            Err(NameError)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Role {
    /// Longer roles would crowd the head of a request.
    const LONGEST: usize = 1024;

    /// Takes a role that everybody behind us reads as we do.
    ///
    /// Security: CouchDB splits the header at `\s*,\s*`, byte by byte in Latin-1, where the bytes 0x85
    /// and 0xA0 are spaces: a role that ends with one of them would lose it and become another
    /// (`a_role_arrives_as_it_is`).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let legal = text.len() <= Self::LONGEST
            && is_plain(text)
            && !text.contains(',')
            && !text.starts_with('_')
            && !matches!(text.as_bytes().last(), Some(0x85 | 0xA0));
        if legal {
            Ok(Self(text.into()))
        } else {
            Err(NameError)
        }
    }

    /// The role.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Is this text one that is not mistaken for another, see the module's invariant?
fn is_plain(text: &str) -> bool {
    if text.is_empty()
        || text.starts_with(char::is_whitespace)
        || text.ends_with(char::is_whitespace)
    {
        return false;
    }
    if text.is_ascii() {
        return !text.bytes().any(|byte| byte.is_ascii_control());
    }
    ComposingNormalizerBorrowed::new_nfc().is_normalized(text)
        && !text.chars().any(|c| c.is_control() || is_ignored(c))
}

/// Does ICU's root collation, by which CouchDB compares, take a text with and without this character
/// for the same? A collator that can't be made ignores everything, so that every name is refused.
fn is_ignored(c: char) -> bool {
    static ROOT: LazyLock<Option<CollatorBorrowed<'static>>> = LazyLock::new(|| {
        let mut options = CollatorOptions::default();
        options.strength = Some(Strength::Tertiary);
        Collator::try_new(icu_collator::CollatorPreferences::default(), options).ok()
    });
    if c.is_ascii() {
        return c.is_control();
    }
    let mut bytes = [0; 4];
    let text = c.encode_utf8(&mut bytes);
    ROOT.as_ref()
        .is_none_or(|root| root.compare("", text).is_eq())
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
