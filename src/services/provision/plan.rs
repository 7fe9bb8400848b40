//! What is wanted for a user, laid beside what is there: the steps that are missing, in their order.
//!
//! The name of his database stands on his user document as the role `provisioned:DB`: he can write other
//! members of that document himself, but no role, so nobody claims the database of somebody else.
//!
//! Invariant: nothing is planned where everything is as it should be, and nothing comes into a database
//! before its `_security`.

use crate::caller::{Role, User};
use crate::couch::REPLICATION;
use crate::json::{Object, Value};
use crate::route::DbName;
use crate::services::ddocs::{Change, Design, compare};

/// Before the name of the database that was made for a user.
const PROVISIONED: &str = "provisioned:";

/// The role that opens a database to a caller (`policies/userdb.toml`).
const OPENS: &str = "user_database:";

/// What is there.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// `_security` of his database; nothing if it is not there.
    pub(super) security: Option<Value>,
    /// Its design documents.
    pub(super) designs: Vec<Value>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Make the database.
    Create,
    /// Set `_security`.
    Secure(Value),
    /// Write a design document.
    Install(Design, Value),
}

/// A database that is another's, though its name stands with this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database belongs to somebody else")]
pub(super) struct Foreign;

/// The database that this user document remembers.
pub(super) fn remembered(user: &Value) -> Option<DbName> {
    first_database(roles(user))
}

/// The user document with the name of his database on it.
pub(super) fn remember(user: &Value, db: &DbName) -> Value {
    let mut user = user.clone();
    let mut all: Vec<Value> = roles(&user).map(Value::from).collect();
    for prefix in [PROVISIONED, OPENS] {
        let role = Value::from(format!("{prefix}{}", db.as_str()));
        if !all.contains(&role) {
            all.push(role);
        }
    }
    if let Some(user) = user.as_object_mut() {
        user.insert("roles", all);
    }
    user
}

/// The database that was made for this user, by his roles.
pub(super) fn provisioned(user: &User) -> Option<DbName> {
    let roles = user.roles.iter().map(Role::as_str);
    first_database(roles)
}

fn first_database<'a>(roles: impl Iterator<Item = &'a str>) -> Option<DbName> {
    let names = roles.filter_map(|role| role.strip_prefix(PROVISIONED));
    let dbs = names.filter_map(|name| DbName::parse(name).ok());
    // Should an administrator ever have given him two, everybody means the same one.
    dbs.filter(DbName::is_user_database).min()
}

/// The roles of a user document.
pub(super) fn roles(user: &Value) -> impl Iterator<Item = &str> {
    let roles = user.get("roles").and_then(Value::as_array);
    roles.unwrap_or_default().iter().filter_map(Value::as_str)
}

/// What is missing for this user's database.
pub(super) fn steps(name: &str, wanted: &[Design], found: &Found) -> Result<Vec<Step>, Foreign> {
    let mut steps = Vec::new();
    let secured = match &found.security {
        None => {
            steps.push(Step::Create);
            security(name, &Value::Null)
        }
        Some(security) if is_foreign(name, security) => return Err(Foreign),
        Some(found) => security(name, found),
    };
    if found.security.as_ref() != Some(&secured) {
        steps.push(Step::Secure(secured));
    }
    for design in wanted {
        let stored = found
            .designs
            .iter()
            .find(|stored| design.is_named_as(stored));
        match compare(design, stored) {
            Change::Nothing => {}
            Change::Build(_) | Change::Replace(_) => {
                steps.push(Step::Install(design.clone(), design.over(stored)));
            }
        }
    }
    Ok(steps)
}

/// `_security` for this user alone. The roles that a mailbox has been given stay.
///
/// Security: `members.users`, which CouchDB does not know, leaves a database open to everybody
/// (`a_half_made_database_is_repaired`).
fn security(name: &str, found: &Value) -> Value {
    let roles = found.at(&["members", "roles"]).and_then(Value::as_array);
    let mut roles = roles.unwrap_or_default().to_vec();
    // CouchDB's own default, of a database that nobody has secured yet.
    roles.retain(|role| role.as_str() != Some("_admin"));
    object([
        ("owner", name.into()),
        (
            "admins",
            object([
                ("names", Vec::new().into()),
                ("roles", vec!["_admin".into()].into()),
            ]),
        ),
        (
            "members",
            object([("names", vec![name.into()].into()), ("roles", roles.into())]),
        ),
    ])
}

/// `_security` of a database whose owner is gone: administrators only.
pub(super) fn locked(found: &Value) -> Value {
    let mut locked = found.as_object().cloned().unwrap_or_default();
    let nobody = [
        ("names", Vec::new().into()),
        ("roles", vec!["_admin".into()].into()),
    ];
    locked.insert("members", object(nobody.clone()));
    locked.insert("admins", object(nobody));
    locked.into()
}

/// Somebody else's, or nobody's of ours: it names an owner, members or roles that are not this user's.
fn is_foreign(name: &str, security: &Value) -> bool {
    if let Some(owner) = security.get("owner") {
        return owner.as_str() != Some(name);
    }
    let texts = |path: &[&str]| -> Vec<&str> {
        let all = security.at(path).and_then(Value::as_array);
        all.unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
            .collect()
    };
    let others = texts(&["members", "names"])
        .iter()
        .any(|other| *other != name);
    others
        || texts(&["members", "roles"])
            .iter()
            .any(|role| *role != "_admin" && !role.starts_with(REPLICATION))
}

/// `_security` that lets replications in by these roles, and of the others that are there by those that are `kept`;
/// nothing, if that is so.
pub(super) fn replicating(
    security: &Value,
    wanted: &[&str],
    kept: impl Fn(&str) -> bool,
) -> Option<Value> {
    let mut security = security.as_object().cloned().unwrap_or_default();
    let members = security.get("members").and_then(Value::as_object);
    let mut members = members.cloned().unwrap_or_default();
    let found = members.get("roles").and_then(Value::as_array);
    let found = found.unwrap_or_default();
    let goes_on = |role: &&Value| {
        let replication = role.as_str().filter(|role| role.starts_with(REPLICATION));
        replication.is_none_or(|role| wanted.contains(&role) || kept(role))
    };
    let mut roles: Vec<Value> = found.iter().filter(goes_on).cloned().collect();
    let mut changed = roles.len() != found.len();
    for role in wanted {
        if !roles.iter().any(|known| known.as_str() == Some(*role)) {
            roles.push((*role).into());
            changed = true;
        }
    }
    members.insert("roles", roles);
    security.insert("members", members);
    changed.then(|| security.into())
}

/// The roles of replications that a `_security` lets in.
pub(super) fn replications(security: &Value) -> impl Iterator<Item = &str> {
    let roles = security.at(&["members", "roles"]).and_then(Value::as_array);
    let roles = roles.unwrap_or_default().iter().filter_map(Value::as_str);
    roles.filter(|role| role.starts_with(REPLICATION))
}

/// When a role of a replication was made, in seconds since 1970; long ago, if it does not say.
pub(super) fn made(role: &str) -> u64 {
    let rest = role.strip_prefix(REPLICATION).unwrap_or_default();
    let time = rest.split(':').next().unwrap_or_default();
    time.parse().unwrap_or_default()
}

/// `_security` with the roles that open a voicemail database to its owners; nothing if they are there.
pub(super) fn voicemail(db: &DbName, security: &Value) -> Option<Value> {
    let mut security = security.as_object().cloned().unwrap_or_default();
    let members = security.get("members").and_then(Value::as_object);
    let mut members = members.cloned().unwrap_or_default();
    let roles = members.get("roles").and_then(Value::as_array);
    let mut roles = roles.unwrap_or_default().to_vec();
    let before = roles.len();
    for role in [
        format!("{OPENS}{}", db.as_str()),
        "update:user_db:".to_owned(),
    ] {
        if !roles.iter().any(|known| known.as_str() == Some(&role)) {
            roles.push(role.into());
        }
    }
    if roles.len() == before {
        return None;
    }
    members.insert("roles", roles);
    security.insert("members", members);
    Some(security.into())
}

/// The role that says that a caller owns this database.
pub(super) fn owning_role(db: &DbName) -> String {
    format!("{OPENS}{}", db.as_str())
}

/// An object of these members, whose names are all different.
pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut object = Object::new();
    for (key, value) in members {
        object.insert(key, value);
    }
    object.into()
}
