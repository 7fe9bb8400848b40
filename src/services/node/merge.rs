//! The pure part of inheritance: a value and what overrides it → one value.
//!
//! A *leaf* is `null`, a boolean, a number or a string. A *container* is an object, or an array: an
//! object whose keys are the indexes. `merge(left, right)` is, by the case of its two sides:
//!
//! - the right is a leaf: the right. (`null` is a leaf like others, it removes nothing: it is shown.)
//! - the left is a leaf, the right a container: the right.
//! - both are containers: the keys of both; where both have a key, the merge of its two values. The
//!   result is of the right's kind, except that a right array whose keys and the left's together are
//!   not exactly `0, 1, …, n-1` gives an object.
//!
//! An empty container is therefore nothing special: it overrides a leaf, and takes nothing from a
//! container, so that no property is ever removed. Keys keep the order of the left, new ones follow.
//!
//! A full node is the fold of its full parents from left to right, and then its own properties:
//! see [`super::single`].
//!
//! Invariant: every leaf of the right stands in the result at its path, and every path of the left is
//! there unless a leaf of the right stands at it or above it.

use std::collections::HashMap;

use crate::json::{Object, Value};

/// Lays the right over the left.
pub(crate) fn merge(left: Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => merge_arrays(left, right),
        (Value::Object(left), Value::Object(right)) => {
            let right = right.iter().map(|(key, value)| (key.to_owned(), value));
            Value::Object(object(merge_members(left.into_iter(), right)))
        }
        (Value::Array(left), Value::Object(right)) => {
            let left = left
                .into_iter()
                .enumerate()
                .map(|(at, value)| (at.to_string(), value));
            let right = right.iter().map(|(key, value)| (key.to_owned(), value));
            Value::Object(object(merge_members(left, right)))
        }
        (Value::Object(left), Value::Array(right)) => {
            let right = right
                .iter()
                .enumerate()
                .map(|(at, value)| (at.to_string(), value));
            array(merge_members(left.into_iter(), right))
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), right) => {
            right.clone()
        }
        (
            Value::Array(_) | Value::Object(_),
            leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)),
        ) => leaf.clone(),
    }
}

fn merge_arrays(mut left: Vec<Value>, right: &[Value]) -> Value {
    let common = left.len().min(right.len());
    for (old, new) in left.iter_mut().zip(right) {
        *old = merge(std::mem::replace(old, Value::Null), new);
    }
    left.extend(right.iter().skip(common).cloned());
    Value::Array(left)
}

fn merge_members<'a>(
    left: impl Iterator<Item = (String, Value)>,
    right: impl Iterator<Item = (String, &'a Value)>,
) -> Vec<(String, Value)> {
    let mut members: Vec<(String, Value)> = left.collect();
    let mut places: HashMap<String, usize> = members
        .iter()
        .enumerate()
        .map(|(at, (key, _))| (key.clone(), at))
        .collect();
    for (key, new) in right {
        if let Some((_, old)) = places.get(&key).and_then(|at| members.get_mut(*at)) {
            *old = merge(std::mem::replace(old, Value::Null), new);
        } else {
            places.insert(key.clone(), members.len());
            members.push((key, new.clone()));
        }
    }
    members
}

/// An array if the keys are exactly the indexes of one, an object otherwise.
fn array(members: Vec<(String, Value)>) -> Value {
    let places: HashMap<String, usize> =
        (0..members.len()).map(|at| (at.to_string(), at)).collect();
    if !members.iter().all(|(key, _)| places.contains_key(key)) {
        return Value::Object(object(members));
    }
    let mut elements: Vec<(usize, Value)> = members
        .into_iter()
        .filter_map(|(key, value)| Some((*places.get(&key)?, value)))
        .collect();
    elements.sort_by_key(|(at, _)| *at);
    Value::Array(elements.into_iter().map(|(_, value)| value).collect())
}

/// The keys differ, since `merge_members` has put equal ones together.
fn object(members: Vec<(String, Value)>) -> Object {
    Object::unique(members).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;
