//! One object, array or string as bytes: its members, elements, text.
//!
//! Invariant: names are compared after unescaping, each name occurs once, and values come with their own bytes.

use std::borrow::Cow;
use std::ops::Range;

use super::JsonError;
use super::names::Names;
use super::scan::closing;
use super::token::Cursor;

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// The name, unescaped.
    pub key: Cow<'a, str>,
    /// The value's bytes, without the white space around it.
    pub value: &'a [u8],
    /// Where name and value stand in the object's bytes, from the first quote to the end of the value.
    pub whole: Range<usize>,
    /// The value, known to be UTF-8.
    pub(super) text: &'a str,
}

/// The members of an object, as [`members`] gives them. Stops after an error.
#[derive(Debug)]
pub struct Members<'a> {
    entries: Entries<'a>,
    /// None where a name may occur again.
    names: Option<Names<'a>>,
    /// Where the brackets of the object stand, if that is known.
    brackets: &'a [usize],
}

/// The elements of an array, as [`elements`] gives them. Stops after an error.
#[derive(Debug)]
pub struct Elements<'a> {
    entries: Entries<'a>,
}

/// The top-level members of one object. A name that occurs twice, and anything after the object, is an error.
pub fn members(object: &[u8]) -> Members<'_> {
    proven_members(object, &[])
}

/// The same, and a name may occur again.
pub fn repeated_members(object: &[u8]) -> Members<'_> {
    Members {
        names: None,
        ..members(object)
    }
}

/// The same as [`members`] for an object whose brackets are known to balance, and where they stand.
pub(super) fn proven_members<'a>(object: &'a [u8], brackets: &'a [usize]) -> Members<'a> {
    Members {
        entries: Entries::Fresh(object),
        names: Some(Names::default()),
        brackets,
    }
}

/// The elements of one array. Anything after the array is an error.
pub fn elements(array: &[u8]) -> Elements<'_> {
    Elements {
        entries: Entries::Fresh(array),
    }
}

/// The text of a value that is a string.
pub fn string(bytes: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    let mut cursor = Cursor::new(bytes)?;
    cursor.white();
    if cursor.peek() != Some(b'"') {
        return Err(JsonError::Expected("a string"));
    }
    let raw = cursor.string()?;
    cursor.end()?;
    raw.unescape()
}

/// Appends a text as a JSON string. Everything beyond ASCII stays as it is.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((place, byte)) = rest
        .iter()
        .enumerate()
        .find(|(_, byte)| matches!(**byte, b'"' | b'\\' | 0..0x20))
    {
        let (plain, after) = rest.split_at_checked(place).unwrap_or_default();
        out.extend_from_slice(plain);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// How far an iterator has come.
#[derive(Debug)]
enum Entries<'a> {
    Fresh(&'a [u8]),
    Within(Cursor<'a>),
    Done,
}

impl<'a> Entries<'a> {
    /// Moves to the next entry, if there is one. Leaves itself `Done`, so that an error ends it.
    fn advance(
        &mut self,
        open: u8,
        close: u8,
        what: &'static str,
    ) -> Result<Option<Cursor<'a>>, JsonError> {
        let (mut cursor, more) = match std::mem::replace(self, Self::Done) {
            Self::Fresh(bytes) => {
                let mut cursor = Cursor::new(bytes)?;
                cursor.white();
                if cursor.peek().is_some_and(|byte| byte != open) {
                    return Err(JsonError::Expected(what));
                }
                let more = cursor.open(open, close)?;
                (cursor, more)
            }
            Self::Within(mut cursor) => {
                let more = cursor.more(close)?;
                (cursor, more)
            }
            Self::Done => return Ok(None),
        };
        if !more {
            cursor.end()?;
            return Ok(None);
        }
        Ok(Some(cursor))
    }
}

impl<'a> Members<'a> {
    fn read(&mut self) -> Result<Option<Member<'a>>, JsonError> {
        let Some(mut cursor) = self.entries.advance(b'{', b'}', "an object")? else {
            return Ok(None);
        };
        let start = cursor.offset();
        let key = cursor.string()?.unescape()?;
        if let Some(names) = &mut self.names {
            names.add(key.clone())?;
        }
        cursor.colon()?;
        let place = cursor.offset();
        let text = match closing(cursor.text().as_bytes(), &mut self.brackets, place) {
            Some(end) => {
                cursor.skip(end.saturating_sub(place));
                cursor.since(place)
            }
            None => cursor.value(1)?,
        };
        let whole = start..cursor.offset();
        self.entries = Entries::Within(cursor);
        Ok(Some(Member {
            key,
            value: text.as_bytes(),
            whole,
            text,
        }))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl<'a> Elements<'a> {
    fn read(&mut self) -> Result<Option<&'a [u8]>, JsonError> {
        let Some(mut cursor) = self.entries.advance(b'[', b']', "an array")? else {
            return Ok(None);
        };
        let value = cursor.value(1)?.as_bytes();
        self.entries = Entries::Within(cursor);
        Ok(Some(value))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
