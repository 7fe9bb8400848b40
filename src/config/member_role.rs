//! The role by which `_security.members` lets in whoever comes through couchwarden: one for all databases, or with
//! `{db}` one for each.
//!
//! Invariant: it is a role that nobody reads as another, whatever the database's name.

use std::borrow::Cow;
use std::sync::Arc;

use super::words::is_role;
use crate::route::DbName;

/// Where the name of the database goes.
const DATABASE: &str = "{db}";

/// `warden`, or `warden:{db}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRole(Arc<str>);

impl MemberRole {
    /// Takes a role with at most one `{db}` in it, and not at its beginning: there a name could begin with `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.replacen(DATABASE, "", 1);
        let legal = is_role(text) && !text.starts_with(DATABASE) && !rest.contains(['{', '}']);
        legal.then(|| Self(text.into()))
    }

    /// The role for this database; none where it is by database and there is no database.
    pub fn of(&self, db: Option<&DbName>) -> Option<Cow<'_, str>> {
        if !self.0.contains(DATABASE) {
            return Some(Cow::Borrowed(&*self.0));
        }
        db.map(|db| Cow::Owned(self.0.replacen(DATABASE, db.as_str(), 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::MemberRole;
    use crate::route::DbName;

    #[test]
    fn a_role_with_a_database_in_it_is_that_of_no_other_database() {
        let role = MemberRole::parse("warden:{db}").unwrap();
        let of = |name: &str| {
            role.of(DbName::parse(name).ok().as_ref())
                .unwrap()
                .into_owned()
        };
        assert_eq!(of("notes"), "warden:notes");
        assert_eq!(of("a/b+(c)"), "warden:a/b+(c)");
        assert_eq!(role.of(None), None);
        let one = MemberRole::parse("warden").unwrap();
        assert_eq!(one.of(None).unwrap(), "warden");
    }

    #[test]
    fn what_is_no_role_is_refused() {
        for text in [
            "",
            "_admin",
            "a b",
            "a,b",
            "w:{name}",
            "{db}:{db}",
            "w:{db",
            "_{db}",
            "{db}",
        ] {
            assert_eq!(MemberRole::parse(text), None, "{text}");
        }
    }
}
