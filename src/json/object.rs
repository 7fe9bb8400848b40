//! JSON objects as trees.
//!
//! Invariant: members keep their order, and no name occurs twice.

use std::collections::{HashMap, HashSet};

use super::JsonError;
use super::value::Value;

/// An object: members in their order, names unique. Equal when the members are, in whatever order.
#[derive(Debug, Clone, Default)]
pub struct Object(Vec<(String, Value)>);

/// Up to this many members, comparing names in pairs is faster than hashing them.
const FEW: usize = 16;

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// These members; a name that occurs twice is an error.
    pub fn unique(members: Vec<(String, Value)>) -> Result<Self, JsonError> {
        let mut names = HashSet::new();
        for (index, (key, _)) in members.iter().enumerate() {
            let twice = if members.len() > FEW {
                !names.insert(key)
            } else {
                members
                    .iter()
                    .take(index)
                    .any(|(earlier, _)| earlier == key)
            };
            if twice {
                return Err(JsonError::DuplicateKey(key.clone()));
            }
        }
        Ok(Self(members))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is there no member?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is there a member of this name?
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value of this name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// The value of this name, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0
            .iter_mut()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// Replaces the value in its place, or appends the member. Returns the value that was there.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        self.0.push((key, value));
        None
    }

    /// Appends a member whose name is known to be new.
    pub(super) fn append(&mut self, key: &str, value: Value) {
        self.0.push((key.to_owned(), value));
    }

    pub(super) fn lookup(&self) -> Lookup<'_> {
        if self.len() > FEW {
            Lookup::Many(self.iter().collect())
        } else {
            Lookup::Few(self)
        }
    }

    /// Takes the member out; the others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let place = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(place).1)
    }

    /// The members, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The members, in order, their values to be changed.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Value)> {
        self.0.iter_mut().map(|(key, value)| (key.as_str(), value))
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let mut pairs = self.iter().zip(other.iter());
        if pairs.all(|((one, _), (two, _))| one == two) {
            return self
                .iter()
                .zip(other.iter())
                .all(|((_, one), (_, two))| one == two);
        }
        let other = other.lookup();
        self.iter()
            .all(|(key, value)| other.get(key) == Some(value))
    }
}

/// Finds members of an object by name, however many there are.
pub(super) enum Lookup<'o> {
    Few(&'o Object),
    Many(HashMap<&'o str, &'o Value>),
}

impl<'o> Lookup<'o> {
    pub(super) fn get(&self, key: &str) -> Option<&'o Value> {
        match self {
            Self::Few(object) => object.get(key),
            Self::Many(members) => members.get(key).copied(),
        }
    }
}
