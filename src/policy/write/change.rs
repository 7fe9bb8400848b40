//! What a write changes: fields that may be altered, and those that a tombstone keeps.
//!
//! Invariant: CouchDB's own members (`_id`, `_rev`, …, but not `_attachments`) are no field of anyone's.

use crate::json::FieldPath;
use crate::json::Fields;
use crate::json::Value;
use crate::json::is_couchdbs_own;

use crate::policy::write::denied::{Denied, forbidden};

/// Security: a member that begins with an underscore is CouchDB's to give a meaning to, today (`_replication_id`) or
/// in a later version (`_access`): whoever is under rules leaves it as it is stored.
/// (`a_member_with_an_underscore_is_nobodys_to_write`)
pub(in crate::policy) fn reserved_stay(stored: Option<&Value>, new: &Value) -> Result<(), Denied> {
    let members = |document: &Value| {
        let object = document.as_object()?;
        let reserved = object.iter().filter(|(name, _)| is_reserved(name));
        Some(reserved.map(|(name, _)| name.to_owned()).collect())
    };
    let mut names: Vec<String> = members(new).unwrap_or_default();
    if new.get("_deleted").and_then(Value::as_bool) != Some(true) {
        names.extend(stored.and_then(members).unwrap_or_default());
    }
    for name in names {
        if stored.and_then(|stored| stored.get(&name)) != new.get(&name) {
            return Err(forbidden(&format!("the member `{name}` is reserved")));
        }
    }
    Ok(())
}

fn is_reserved(name: &str) -> bool {
    name.starts_with('_') && name != "_attachments" && !is_couchdbs_own(name)
}

/// Everything that differs must be covered by a path that may be changed.
pub(in crate::policy) fn may_change(
    change: &[FieldPath],
    stored: &Value,
    new: &Value,
) -> Result<(), Denied> {
    for path in Fields::all().changed(stored, new) {
        let place = path.names().unwrap_or_default();
        let covered =
            covers(change, &place, stored.at(&place)) && covers(change, &place, new.at(&place));
        if !covered {
            return Err(forbidden(&format!("the field `{path}` may not be changed")));
        }
    }
    Ok(())
}

/// What a tombstone still has must be as stored, or may be changed.
pub(in crate::policy) fn may_leave(
    change: &[FieldPath],
    stored: &Value,
    new: &Value,
) -> Result<(), Denied> {
    for path in Fields::all().changed(stored, new) {
        let place = path.names().unwrap_or_default();
        if !covers(change, &place, new.at(&place)) {
            return Err(forbidden(&format!("the field `{path}` may not be changed")));
        }
    }
    Ok(())
}

/// Is the place, or everything in it, covered? Nothing is covered by anything.
fn covers(change: &[FieldPath], place: &[&str], value: Option<&Value>) -> bool {
    let Some(value) = value else { return true };
    if change.iter().any(|path| path.covers(place)) {
        return true;
    }
    match value {
        Value::Object(object) if !object.is_empty() => object
            .iter()
            .all(|(key, value)| covers(change, &[place, &[key]].concat(), Some(value))),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => false,
    }
}
