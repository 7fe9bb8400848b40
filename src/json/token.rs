//! The grammar of JSON, token by token, over text that is known to be UTF-8.
//!
//! Invariant: whatever is accepted here is accepted by RFC 8259, and a string is unescaped in one way only.

use std::borrow::Cow;

use super::JsonError;
use super::scan::Balance;

/// A place in a JSON text.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    /// The bytes between the quotes.
    pub(super) text: &'a str,
    /// Is there a backslash in it?
    pub(super) escaped: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
        Ok(Self { text, at: 0 })
    }

    /// At this place of a text, which is after a token.
    pub(super) fn within(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The bytes that are still to be read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn skip(&mut self, length: usize) {
        self.at = self.at.saturating_add(length);
    }

    /// The text from an earlier offset up to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The error for what stands here.
    pub(super) fn wrong(&self) -> JsonError {
        if self.is_done() {
            JsonError::Truncated
        } else {
            JsonError::Syntax(self.at)
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Skips white space.
    #[inline]
    pub(super) fn white(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.skip(1);
        }
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.white();
        if self.is_done() {
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    /// This byte must stand here.
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.skip(1);
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    /// Opens a container; true if it has a first entry.
    pub(super) fn open(&mut self, open: u8, close: u8) -> Result<bool, JsonError> {
        self.byte(open)?;
        self.white();
        if self.peek() == Some(close) {
            self.skip(1);
            return Ok(false);
        }
        Ok(true)
    }

    /// After an entry: true if a comma announces another one, false if the container has been closed.
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Result<bool, JsonError> {
        self.white();
        match self.peek() {
            Some(b',') => {
                self.skip(1);
                self.white();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.skip(1);
                Ok(false)
            }
            Some(_) | None => Err(self.wrong()),
        }
    }

    /// The colon between a name and its value.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), JsonError> {
        self.white();
        self.byte(b':')?;
        self.white();
        Ok(())
    }

    pub(super) fn word(&mut self, word: &str) -> Result<(), JsonError> {
        word.bytes().try_for_each(|byte| self.byte(byte))
    }

    /// Reads a string; its escapes are looked at by [`Raw::unescape`] only.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Raw<'a>, JsonError> {
        self.byte(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let plain = plain(self.rest());
            self.skip(plain);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.skip(1);
                    // What follows a backslash is ASCII, or `unescape` refuses it.
                    if self.peek().is_none_or(|byte| byte < 0x20) {
                        return Err(self.wrong());
                    }
                    self.skip(1);
                }
                Some(_) | None => return Err(self.wrong()),
            }
        }
        let text = self.since(start);
        self.skip(1);
        Ok(Raw { text, escaped })
    }

    /// Passes over a value that stands inside `depth` containers. Strings and numbers are read strictly; a container
    /// has its structure proven, its strings' escapes and its scalars are not looked at.
    #[inline]
    pub(super) fn value(&mut self, depth: usize) -> Result<&'a str, JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{' | b'[') => {
                let length = Balance::new(depth).feed(self.rest())?;
                self.skip(length.ok_or(JsonError::Truncated)?);
            }
            Some(_) | None => self.scalar()?,
        }
        Ok(self.since(start))
    }

    /// Passes over a word or number.
    pub(super) fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) | None => self.number().map(|_| ()),
        }
    }

    /// Reads a number, as text.
    pub(super) fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.skip(1);
        }
        match self.peek() {
            Some(b'0') => self.skip(1),
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.skip(1);
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.skip(1);
            if let Some(b'+' | b'-') = self.peek() {
                self.skip(1);
            }
            self.digits()?;
        }
        Ok(self.since(start))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong());
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip(1);
        }
        Ok(())
    }
}

impl<'a> Raw<'a> {
    /// What the string means. A bad escape or a lone surrogate is an error.
    pub(super) fn unescape(self) -> Result<Cow<'a, str>, JsonError> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.text));
        }
        let mut plain = String::with_capacity(self.text.len());
        let mut pieces = self.text.split('\\');
        plain.push_str(pieces.next().unwrap_or_default());
        while let Some(piece) = pieces.next() {
            let mut rest = piece.chars();
            match rest.next() {
                Some('"') => plain.push('"'),
                Some('/') => plain.push('/'),
                Some('b') => plain.push('\u{8}'),
                Some('f') => plain.push('\u{c}'),
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some('t') => plain.push('\t'),
                Some('u') => {
                    let (unit, after) = unit(rest.as_str())?;
                    rest = after.chars();
                    if (0xD800..0xDC00).contains(&unit) {
                        // The second half must follow at once: `\uD83D` `\uDE00`.
                        let second = pieces.next().filter(|_| after.is_empty());
                        let second = second.and_then(|piece| piece.strip_prefix('u'));
                        let (low, after) = self::unit(second.ok_or(JsonError::Syntax(0))?)?;
                        rest = after.chars();
                        let pair = char::decode_utf16([unit, low]).next();
                        plain.push(pair.and_then(Result::ok).ok_or(JsonError::Syntax(0))?);
                    } else {
                        plain.push(char::from_u32(unit.into()).ok_or(JsonError::Syntax(0))?);
                    }
                }
                // `\\` splits into an empty piece and the text after it.
                None => {
                    plain.push('\\');
                    rest = pieces.next().ok_or(JsonError::Syntax(0))?.chars();
                }
                Some(_) => return Err(JsonError::Syntax(0)),
            }
            plain.push_str(rest.as_str());
        }
        Ok(Cow::Owned(plain))
    }
}

/// How many bytes come before the first one that means something in a string: quote, backslash, control character.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (eights, tail) = bytes.as_chunks::<8>();
    let mut length = 0_usize;
    for eight in eights {
        let word = u64::from_le_bytes(*eight);
        // Below its lowest high bit each of these is exact, and only the lowest one counts.
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
        let quotes = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quotes | controls) & HIGH;
        if found != 0 {
            return length.saturating_add((found.trailing_zeros() / 8) as usize);
        }
        length = length.saturating_add(8);
    }
    let rest = tail
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
        .unwrap_or(tail.len());
    length.saturating_add(rest)
}

/// The UTF-16 unit that four hexadecimal digits spell, and what follows them.
fn unit(text: &str) -> Result<(u16, &str), JsonError> {
    let (digits, after) = text.split_at_checked(4).ok_or(JsonError::Syntax(0))?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(JsonError::Syntax(0));
    }
    let unit = u16::from_str_radix(digits, 16).map_err(|_| JsonError::Syntax(0))?;
    Ok((unit, after))
}
