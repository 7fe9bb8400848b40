//! What tells a design document that is wanted from the one that is there.
//!
//! Invariant: no lines come out where, and only where, writing would change nothing.

use super::document::{Design, indexed};
use crate::json::{Object, Value};

/// What is to be done with one design document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// It is not there yet, or its views are others: an index is to be built before it is put in place.
    Build(Vec<String>),
    /// Only members that no index depends on differ.
    Replace(Vec<String>),
    /// It is as it should be.
    Nothing,
}

/// Compares the document that is wanted with the one that is stored.
pub(crate) fn compare(wanted: &Design, stored: Option<&Value>) -> Change {
    let empty = Object::new();
    let mut before = stored.and_then(Value::as_object).unwrap_or(&empty).clone();
    for own in ["_id", "_rev", "_attachments"] {
        before.remove(own);
    }
    if stored.is_some() && before == wanted.fields {
        return Change::Nothing;
    }
    let mut lines = Vec::new();
    members(&before, &wanted.fields, "", &mut lines);
    if wanted.any_view().is_some() && indexed(&before) != wanted.index() {
        Change::Build(lines)
    } else {
        Change::Replace(lines)
    }
}

fn members(before: &Object, after: &Object, above: &str, lines: &mut Vec<String>) {
    for (name, old) in before.iter() {
        let path = format!("{above}{name}");
        match (old, after.get(name)) {
            (old, Some(new)) if old == new => {}
            (Value::Object(old), Some(Value::Object(new))) => {
                members(old, new, &format!("{path}."), lines);
            }
            (old, Some(new)) => {
                lines.push(format!("~ {path}"));
                texts(&text(old), &text(new), lines);
            }
            (_, None) => lines.push(format!("- {path}")),
        }
    }
    let added = after.iter().filter(|(name, _)| !before.contains(name));
    for (name, new) in added {
        match new {
            Value::Object(new) => members(&Object::new(), new, &format!("{above}{name}."), lines),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => lines.push(format!("+ {above}{name}")),
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The lines that differ: what is alike at the beginning and at the end is left out.
fn texts(old: &str, new: &str, lines: &mut Vec<String>) {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end = old.iter().rev().zip(new.iter().rev());
    let end = end.take_while(|(a, b)| a == b).count();
    let end = end.min(old.len().min(new.len()).saturating_sub(start));
    let middle = |all: &[&str], mark: char| -> Vec<String> {
        let last = all.len().saturating_sub(end);
        let shown = all.get(start..last).unwrap_or_default();
        shown
            .iter()
            .map(|line| format!("    {mark} {line}"))
            .collect()
    };
    lines.extend(middle(&old, '-'));
    lines.extend(middle(&new, '+'));
}
