//! JSON values as trees: what rules judge, and what writes are made of.
//!
//! Invariant: a number keeps its text and an object the order of its members; no object holds one name twice. Finding a
//! member by its name costs the same in an object of any size.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;

use hashbrown::HashTable;

use super::number::Number;
use super::token::Cursor;
use super::{JsonError, MAX_DEPTH, edit};

/// A JSON value whose numbers keep their text and whose members keep their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as text.
    Number(Number),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

impl Value {
    /// Reads strict JSON (RFC 8259): UTF-8 without a BOM, one value, unique names, bounded depth.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut cursor = Cursor::new(bytes)?;
        let mut room = Room::of(bytes);
        cursor.white();
        let value = read(&mut cursor, &mut room, 0)?;
        cursor.end()?;
        Ok(value)
    }

    /// Appends the value as compact JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(number.as_str().as_bytes()),
            Self::String(text) => edit::quote(text, out),
            Self::Array(elements) => {
                out.push(b'[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    element.write(out);
                }
                out.push(b']');
            }
            Self::Object(object) => object.write(out),
        }
    }

    /// The value as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// The member of this name, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object().and_then(|object| object.get(key))
    }

    /// What lies at a concrete path; numbers index arrays.
    pub fn at<'v>(&'v self, path: &[&str]) -> Option<&'v Self> {
        path.iter().try_fold(self, |value, step| match value {
            Self::Object(object) => object.get(step),
            Self::Array(elements) => elements.get(index(step)?),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => None,
        })
    }

    /// Is this `null`?
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<&Number> {
        if let Self::Number(number) = self {
            Some(number)
        } else {
            None
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(elements) = self {
            Some(elements)
        } else {
            None
        }
    }

    /// The elements to change, if this is an array.
    pub fn as_array_mut(&mut self) -> Option<&mut [Self]> {
        if let Self::Array(elements) = self {
            Some(elements)
        } else {
            None
        }
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self {
            Some(object)
        } else {
            None
        }
    }

    /// Every text in it: itself, or each element of an array. Objects and `null` hold none.
    pub fn texts(&self) -> Vec<String> {
        let one = |value: &Self| match value {
            Self::String(text) => Some(text.clone()),
            Self::Number(number) => Some(number.as_str().to_owned()),
            Self::Bool(flag) => Some(flag.to_string()),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        };
        match self {
            Self::Array(elements) => elements.iter().filter_map(one).collect(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Object(_) => {
                one(self).into_iter().collect()
            }
        }
    }

    /// The members to change, if this is an object.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        if let Self::Object(object) = self {
            Some(object)
        } else {
            None
        }
    }
}

/// The array index that a step of a path spells, in its one spelling.
pub(super) fn index(step: &str) -> Option<usize> {
    let canonical = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| canonical)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<Vec<Self>> for Value {
    fn from(elements: Vec<Self>) -> Self {
        Self::Array(elements)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl Value {
    /// What it takes of the memory, in bytes, as far as it is not inside itself.
    pub fn size(&self) -> usize {
        let own = |value: &Self| value.size().saturating_add(size_of::<Self>());
        match self {
            Self::Null | Self::Bool(_) => 0,
            Self::Number(number) => number.as_str().len(),
            Self::String(text) => text.capacity(),
            Self::Array(elements) => elements.iter().map(own).sum(),
            Self::Object(members) => members
                .iter()
                .map(|(name, value)| own(value).saturating_add(name.len() + 48))
                .sum(),
        }
    }

    /// How deep arrays and objects nest; none in a scalar.
    pub fn depth(&self) -> usize {
        let below = match self {
            Self::Object(object) => object.iter().map(|(_, value)| value.depth()).max(),
            Self::Array(elements) => elements.iter().map(Self::depth).max(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => return 0,
        };
        below.unwrap_or(0).saturating_add(1)
    }
}

fn read(cursor: &mut Cursor<'_>, room: &mut Room, depth: usize) -> Result<Value, JsonError> {
    match cursor.peek() {
        Some(b'{') => read_object(cursor, room, deeper(depth)?),
        Some(b'[') => read_array(cursor, room, deeper(depth)?),
        Some(b'"') => Ok(Value::String(cursor.string()?.unescape()?.into_owned())),
        Some(b't') => cursor.word("true").map(|()| Value::Bool(true)),
        Some(b'f') => cursor.word("false").map(|()| Value::Bool(false)),
        Some(b'n') => cursor.word("null").map(|()| Value::Null),
        Some(_) => Ok(Value::Number(Number::of(cursor.number()?))),
        None => Err(JsonError::Truncated),
    }
}

fn deeper(depth: usize) -> Result<usize, JsonError> {
    if depth < MAX_DEPTH {
        Ok(depth.saturating_add(1))
    } else {
        Err(JsonError::TooDeep)
    }
}

fn read_object(cursor: &mut Cursor<'_>, room: &mut Room, depth: usize) -> Result<Value, JsonError> {
    let entries = room.next();
    let mut more = cursor.open(b'{', b'}')?;
    let mut members = Vec::with_capacity(if more { entries } else { 0 });
    while more {
        let key = cursor.string()?.unescape()?.into_owned();
        cursor.colon()?;
        members.push((key, read(cursor, room, depth)?));
        more = cursor.more(b'}')?;
        if more && cursor.peek() != Some(b'"') {
            return Err(cursor.wrong());
        }
    }
    Object::unique(members).map(Value::Object)
}

fn read_array(cursor: &mut Cursor<'_>, room: &mut Room, depth: usize) -> Result<Value, JsonError> {
    let entries = room.next();
    let mut more = cursor.open(b'[', b']')?;
    let mut elements = Vec::with_capacity(if more { entries } else { 0 });
    while more {
        elements.push(read(cursor, room, depth)?);
        more = cursor.more(b']')?;
    }
    Ok(Value::Array(elements))
}

/// How many entries each container of a text has, in the order in which they open: a list that grows takes up to three
/// times as much as one that is made as long as it will be.
#[derive(Debug, Default)]
struct Room {
    entries: std::vec::IntoIter<u32>,
}

impl Room {
    /// A text that is shorter than this is not looked at beforehand.
    const LONG: usize = 16 * 1024;

    /// Of a text that need not be JSON.
    fn of(text: &[u8]) -> Self {
        if text.len() < Self::LONG {
            return Self::default();
        }
        let (mut entries, mut open): (Vec<u32>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut bytes = text;
        while let Some((first, rest)) = bytes.split_first() {
            bytes = rest;
            match first {
                b'"' => bytes = after_string(rest),
                // What nests deeper is not read.
                b'{' | b'[' if open.len() < MAX_DEPTH => {
                    open.push(entries.len());
                    entries.push(1);
                }
                b'{' | b'[' => break,
                b'}' | b']' => {
                    open.pop();
                }
                b',' => {
                    let here = open.last().and_then(|here| entries.get_mut(*here));
                    if let Some(here) = here {
                        *here = here.saturating_add(1);
                    }
                }
                _ => {}
            }
        }
        Self {
            entries: entries.into_iter(),
        }
    }

    fn next(&mut self) -> usize {
        let entries = self.entries.next().unwrap_or_default();
        usize::try_from(entries).unwrap_or_default()
    }
}

/// What stands behind the end of a string.
fn after_string(mut text: &[u8]) -> &[u8] {
    while let Some(place) = memchr::memchr2(b'"', b'\\', text) {
        let length = match text.get(place) {
            Some(b'"') => return text.get(place.saturating_add(1)..).unwrap_or_default(),
            Some(_) | None => 2,
        };
        text = text.get(place.saturating_add(length)..).unwrap_or_default();
    }
    &[]
}

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
