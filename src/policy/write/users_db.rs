//! Documents of `_users`: what a caller who is no administrator may make of an account, whatever rules permit.
//!
//! They are written by the service account, which CouchDB's own check (`_design/_auth`) does not bind, so the
//! check is made here as well.
//!
//! Invariant: nobody but an administrator sets a role, or what passwords are verified by; an account's name is
//! that of its id.

use crate::caller::UserName;
use crate::json::Value;
use crate::route::{DbName, Method, Route};

use crate::policy::write::denied::{Denied, forbidden};

/// What the id of an account begins with.
pub(in crate::policy) const PREFIX: &str = "org.couchdb.user:";

/// What CouchDB makes of a password. One who could set `iterations` could also make each login last for hours.
const VERIFIERS: [&str; 7] = [
    "password_scheme",
    "pbkdf2_prf",
    "password_sha",
    "derived_key",
    "salt",
    "iterations",
    "preserve_salt",
];

/// How a write in a database is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Served {
    /// As any document.
    AsAny,
    /// As an account.
    AsAccount,
    /// Not at all.
    Never,
}

/// Accounts are made, changed and ended one by one: by `PUT` and `DELETE` under their own id, or by a `POST` that
/// names it in its body.
pub(in crate::policy) fn served(route: &Route, administrator: bool) -> Served {
    if administrator || !route.db().is_some_and(DbName::holds_accounts) {
        return Served::AsAny;
    }
    match (route.document(), route.method) {
        (Some(_), Method::Put | Method::Delete) => Served::AsAccount,
        (None, Method::Post) if route.is_of_a_database() => Served::AsAccount,
        (Some(_) | None, _) => Served::Never,
    }
}

/// The name of the account of this id.
pub(in crate::policy) fn name(id: &str) -> Option<UserName> {
    UserName::parse(id.strip_prefix(PREFIX)?).ok()
}

/// Is `new`, hidden fields put back, an account that its user may leave in place of `stored`?
pub(in crate::policy) fn check(stored: Option<&Value>, new: &Value) -> Result<(), Denied> {
    let id = new.get("_id").and_then(Value::as_str).unwrap_or_default();
    let name = name(id).ok_or_else(|| forbidden("this is not the id of an account"))?;
    if new.get("_deleted").and_then(Value::as_bool) == Some(true) {
        return Ok(());
    }
    let says = |member: &str, text: &str| new.get(member).and_then(Value::as_str) == Some(text);
    if !says("name", name.as_str()) {
        return Err(forbidden("`name` must be the name in the id"));
    }
    if !says("type", "user") {
        return Err(forbidden("`type` must be `user`"));
    }
    let none = Value::Array(Vec::new());
    let before = stored.map_or(Some(&none), |stored| stored.get("roles"));
    if new.get("roles") != before {
        return Err(forbidden("only administrators may set roles"));
    }
    for verifier in VERIFIERS {
        if new.get(verifier) != stored.and_then(|stored| stored.get(verifier)) {
            return Err(forbidden("send a `password`; CouchDB makes the rest"));
        }
    }
    match new.get("password") {
        None | Some(Value::String(_)) => Ok(()),
        Some(_) => Err(forbidden("`password` must be a text")),
    }
}

#[cfg(test)]
mod tests;
