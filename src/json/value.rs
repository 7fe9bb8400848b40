//! JSON values as trees: what rules judge, and what writes are made of.
//!
//! Invariant: a number keeps its text and an object the order of its members; no object holds one name twice.

use std::fmt;

use super::number::Number;
use super::object::Object;
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
        cursor.white();
        let value = read(&mut cursor, 0)?;
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
            Self::Object(object) => {
                out.push(b'{');
                for (index, (key, value)) in object.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    edit::quote(key, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
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

fn read(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, JsonError> {
    match cursor.peek() {
        Some(b'{') => read_object(cursor, deeper(depth)?),
        Some(b'[') => read_array(cursor, deeper(depth)?),
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

fn read_object(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, JsonError> {
    let mut members = Vec::new();
    let mut more = cursor.open(b'{', b'}')?;
    while more {
        let key = cursor.string()?.unescape()?.into_owned();
        cursor.colon()?;
        members.push((key, read(cursor, depth)?));
        more = cursor.more(b'}')?;
        if more && cursor.peek() != Some(b'"') {
            return Err(cursor.wrong());
        }
    }
    Object::unique(members).map(Value::Object)
}

fn read_array(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, JsonError> {
    let mut elements = Vec::new();
    let mut more = cursor.open(b'[', b']')?;
    while more {
        elements.push(read(cursor, depth)?);
        more = cursor.more(b']')?;
    }
    Ok(Value::Array(elements))
}
