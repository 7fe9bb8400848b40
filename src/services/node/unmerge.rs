//! The inverse of [`super::merge`]: what a node must hold itself so that, with what it inherits, it reads as
//! it was put. Pure.
//!
//! `merge(left, unmerge(left, wanted)) == wanted`, and where no value can do that, because `merge` never
//! removes anything, the answer names the first path of the left that would stay.
//!
//! Only what differs is kept. An array is kept up to its last element that differs; those before it that do
//! not differ are kept as what changes nothing: a leaf as it is, a container empty.
//!
//! Numbers are compared by value: CouchDB spells them in its own way anyhow.
//!
//! Invariant: nothing is looked at but the two arguments, so a refusal tells a writer nothing beyond what he
//! inherits and what he has sent.

use std::collections::HashMap;
use std::fmt;

use crate::json::{Object, Value};

/// The way to something in a value, array indexes as text; the innermost step first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steps(Vec<String>);

impl Steps {
    /// The way to the same from one level above.
    pub(super) fn below(mut self, step: &str) -> Self {
        self.0.push(step.to_owned());
        self
    }

    /// The steps, outermost first.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> Vec<&str> {
        self.0.iter().rev().map(String::as_str).collect()
    }
}

/// The path as policies write it: steps joined by dots, a dot within a step behind a backslash.
impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |step: &String| step.replace('\\', "\\\\").replace('.', "\\.");
        let steps: Vec<String> = self.0.iter().rev().map(escape).collect();
        f.write_str(&steps.join("."))
    }
}

/// What makes `wanted` of `left`; nothing, where they are the same. An error is the way to something inherited
/// that `wanted` leaves out.
pub(crate) fn unmerge(left: &Value, wanted: &Value) -> Result<Option<Value>, Steps> {
    let (Some(had), Some(wants)) = (members(left), members(wanted)) else {
        return Ok((left != wanted).then(|| wanted.clone()));
    };
    let places: HashMap<&str, &Value> = wants.iter().map(|(key, value)| (&**key, *value)).collect();
    let mut same: HashMap<&str, Option<Value>> = HashMap::new();
    for (key, old) in &had {
        let new = places
            .get(&**key)
            .ok_or_else(|| Steps::default().below(key))?;
        let differs = unmerge(old, new).map_err(|stays| stays.below(key))?;
        same.insert(key, differs);
    }
    let kept = wants.iter().map(|(key, value)| {
        let differs = same.remove(&**key);
        (
            key,
            *value,
            differs.unwrap_or_else(|| Some((*value).clone())),
        )
    });
    Ok(match wanted {
        Value::Array(_) => {
            let mut elements: Vec<(Value, bool)> = kept
                .map(|(_, value, differs)| match differs {
                    Some(own) => (own, true),
                    None => (neutral(value), false),
                })
                .collect();
            let end = elements.iter().rposition(|(_, differs)| *differs);
            elements.truncate(end.map_or(0, |last| last.saturating_add(1)));
            let nothing = elements.is_empty() && left.as_array().is_some();
            (!nothing).then(|| Value::Array(elements.into_iter().map(|(own, _)| own).collect()))
        }
        Value::Object(_) => {
            let mut own = Object::new();
            for (key, _, differs) in kept {
                if let Some(value) = differs {
                    own.insert(key.to_string(), value);
                }
            }
            let nothing = own.is_empty() && left.as_object().is_some();
            (!nothing).then(|| own.into())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(wanted.clone()),
    })
}

/// The members of a container: an array is an object whose keys are its indexes.
fn members(value: &Value) -> Option<Vec<(std::borrow::Cow<'_, str>, &Value)>> {
    match value {
        Value::Array(elements) => {
            let pairs = elements.iter().enumerate();
            Some(
                pairs
                    .map(|(at, element)| (at.to_string().into(), element))
                    .collect(),
            )
        }
        Value::Object(object) => Some(
            object
                .iter()
                .map(|(key, member)| (key.into(), member))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// What, laid over this value, changes nothing.
fn neutral(value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Object::new().into(),
        leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => leaf.clone(),
    }
}

#[cfg(test)]
mod tests;
