//! JSON objects as trees.
//!
//! Invariant: members keep their order, and no name occurs twice. Finding a member by its name costs the same in an
//! object of any size.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;

use hashbrown::HashTable;

use super::value::Value;
use super::{JsonError, edit};

/// An object: members in their order, names unique. Equal when the members are, in whatever order.
///
/// [`Self::get`] and [`Self::insert`] take constant time, [`Self::remove`] as long as the object is.
#[derive(Debug, Clone, Default)]
pub struct Object {
    members: Vec<(String, Value)>,
    /// Where each name stands, once there are more than [`FEW`].
    places: Option<Box<HashTable<usize>>>,
}

/// Up to this many members, comparing names in pairs is faster than hashing them.
const FEW: usize = 16;

/// Security: with a secret of this process, or a client could choose names that all fall on one place.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// These members; a name that occurs twice is an error.
    pub fn unique(members: Vec<(String, Value)>) -> Result<Self, JsonError> {
        if members.len() > FEW {
            let places = Some(Box::new(places(&members)?));
            return Ok(Self { members, places });
        }
        for (index, (key, _)) in members.iter().enumerate() {
            if members
                .iter()
                .take(index)
                .any(|(earlier, _)| earlier == key)
            {
                return Err(JsonError::DuplicateKey(key.clone()));
            }
        }
        Ok(Self {
            members,
            places: None,
        })
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Is there no member?
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Is there a member of this name?
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value of this name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.places {
            None => self.members.iter().find(|(name, _)| name == key),
            Some(_) => self.members.get(self.place(key)?),
        }
        .map(|(_, value)| value)
    }

    /// The value of this name, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let place = self.place(key)?;
        self.members.get_mut(place).map(|(_, value)| value)
    }

    fn place(&self, key: &str) -> Option<usize> {
        let is_here = |at: &usize| is_at(&self.members, *at, key);
        match &self.places {
            None => self.members.iter().position(|(name, _)| name == key),
            Some(places) => places.find(HASHER.hash_one(key), is_here).copied(),
        }
    }

    /// Replaces the value in its place, or appends the member. Returns the value that was there.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        self.push(key, value);
        None
    }

    /// Appends a member whose name is known to be new.
    pub(super) fn append(&mut self, key: &str, value: Value) {
        self.push(key.to_owned(), value);
    }

    fn push(&mut self, key: String, value: Value) {
        let at = self.len();
        self.members.push((key, value));
        let hash = |at: &usize| hash_at(&self.members, *at);
        match &mut self.places {
            Some(places) => {
                places.insert_unique(hash(&at), at, hash);
            }
            None => self.find_places(),
        }
    }

    /// Takes the member out; the others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let place = self.place(key)?;
        let (_, value) = self.members.remove(place);
        self.find_places();
        Some(value)
    }

    fn find_places(&mut self) {
        let many = self.len() > FEW;
        self.places = many
            .then(|| places(&self.members).ok().map(Box::new))
            .flatten();
    }

    /// Appends the object as compact JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (key, value)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            edit::quote(key, out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }

    /// The members, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.members
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The members, in order, their values to be changed.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Value)> {
        self.members
            .iter_mut()
            .map(|(key, value)| (key.as_str(), value))
    }
}

/// Where each name stands; one that occurs twice is an error.
fn places(members: &[(String, Value)]) -> Result<HashTable<usize>, JsonError> {
    let mut places = HashTable::with_capacity(members.len());
    for (index, (key, _)) in members.iter().enumerate() {
        let hash = HASHER.hash_one(key.as_str());
        if places.find(hash, |at| is_at(members, *at, key)).is_some() {
            return Err(JsonError::DuplicateKey(key.clone()));
        }
        places.insert_unique(hash, index, |at| hash_at(members, *at));
    }
    Ok(places)
}

fn is_at(members: &[(String, Value)], at: usize, key: &str) -> bool {
    members.get(at).is_some_and(|(name, _)| name == key)
}

fn hash_at(members: &[(String, Value)], at: usize) -> u64 {
    members
        .get(at)
        .map_or(0, |(name, _)| HASHER.hash_one(name.as_str()))
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
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
        self.iter()
            .all(|(key, value)| other.get(key) == Some(value))
    }
}
