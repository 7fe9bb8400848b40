//! A request target taken apart: segments, each decoded exactly once, and the raw query.
//!
//! CouchDB splits the path at `/`, drops empty segments, and decodes each of the rest once, `+` being a
//! space (`chttpd:handle_request_int`). It resolves no dots. What another reader would understand
//! differently is refused here: empty and dot segments, bad escapes, null characters, backslashes.
//!
//! Invariant: this is the only place where percent-escapes are decoded.

use std::borrow::Cow;

use super::RouteError;
use super::name::is_own_database;

/// A request target in origin form.
pub(super) struct Target<'a> {
    pub(super) segments: Vec<Segment<'a>>,
    /// Does the path end with a slash?
    pub(super) slash: bool,
    /// What stands after `?`, raw.
    pub(super) query: &'a str,
}

/// One segment of a path.
pub(super) struct Segment<'a> {
    raw: &'a str,
    text: Cow<'a, str>,
}

impl<'a> Segment<'a> {
    /// One segment by itself; [`split`] makes those of a path.
    pub(super) fn new(raw: &'a str) -> Result<Self, RouteError> {
        if raw.is_empty() {
            return Err(RouteError::Ambiguous("empty path segments are not allowed"));
        }
        if raw.contains('\\') {
            return Err(RouteError::Ambiguous(
                "a backslash in a path must be escaped",
            ));
        }
        let text = decode(raw)?;
        if matches!(&*text, "." | "..") {
            return Err(RouteError::Ambiguous("dot segments are not resolved"));
        }
        Ok(Self { raw, text })
    }

    /// The decoded text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a segment at a place where reserved words stand. Such a word is spelt literally.
    ///
    /// Security: CouchDB reads `%5Fall_docs` as `_all_docs`; other readers see a document.
    /// (a_reserved_word_in_disguise_is_refused)
    pub(super) fn word(&self) -> Result<&str, RouteError> {
        if self.text.starts_with('_') && self.raw != self.text {
            return Err(RouteError::Ambiguous(
                "a reserved word is spelt with escapes",
            ));
        }
        Ok(&self.text)
    }

    /// What stands after `prefix%2F`, for the prefixes `_design` and `_local`, which clients send in
    /// this spelling (PouchDB and nano escape whole ids).
    pub(super) fn after_escaped_slash(&self, prefix: &str) -> Option<&str> {
        let rest = self.raw.strip_prefix(prefix)?;
        let slash = rest.get(..3)?;
        let rest = self.text.strip_prefix(prefix)?.strip_prefix('/')?;
        slash.eq_ignore_ascii_case("%2F").then_some(rest)
    }
}

/// Takes a target apart.
pub(super) fn split(target: &str) -> Result<Target<'_>, RouteError> {
    check_characters(target)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(path) = path.strip_prefix('/') else {
        return Err(RouteError::Ambiguous(
            "the request target is not an absolute path",
        ));
    };
    let (path, slash) = path
        .strip_suffix('/')
        .map_or((path, path.is_empty()), |path| (path, true));
    let mut segments = Vec::new();
    if !(path.is_empty() && target.starts_with('/') && !target.starts_with("//")) {
        for raw in path.split('/') {
            segments.push(Segment::new(raw)?);
        }
    }
    Ok(Target {
        segments,
        slash,
        query,
    })
}

/// Refuses raw characters that no URL has.
pub(super) fn check_characters(raw: &str) -> Result<(), RouteError> {
    if raw.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#') {
        return Err(RouteError::Ambiguous(
            "the URL has characters that must be escaped",
        ));
    }
    Ok(())
}

/// RFC 3986 section 2.3: these are never escaped.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Decodes percent-escapes once; `+` is a space (`[chttpd] decode_plus_to_space`, on by default).
pub(super) fn decode(raw: &str) -> Result<Cow<'_, str>, RouteError> {
    if !raw.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => escaped(rest.next(), rest.next())?,
            b'+' => b' ',
            other => other,
        });
    }
    if bytes.contains(&0) {
        return Err(RouteError::Ambiguous(
            "the request target has a null character",
        ));
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| RouteError::Ambiguous("the request target is not UTF-8"))
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8, RouteError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let byte = digit(high)
        .zip(digit(low))
        .map(|(high, low)| high * 16 + low);
    // CouchDB's words for it (chttpd:check_url_encoding).
    byte.and_then(|byte| u8::try_from(byte).ok())
        .ok_or(RouteError::Ambiguous("invalid_url_encoding"))
}

/// Does an end of a replication, a URL or a name, lead to couchwarden's own database? Whatever host it names: which
/// addresses are CouchDB's can't be told from here.
pub(crate) fn leads_to_own_database(end: &str) -> bool {
    let path = end.split(['?', '#']).next().unwrap_or_default();
    let last = path.split('/').rfind(|segment| !segment.is_empty());
    // An escape that can't be read is nobody's name.
    let Some(name) = last.and_then(|last| decode(last).ok()) else {
        return false;
    };
    // CouchDB reads `shards/00000000-7fffffff/name.1234567890` as `name`.
    let of_shard = name
        .strip_prefix("shards/")
        .and_then(|rest| rest.rsplit('/').next())
        .map(|rest| rest.split('.').next().unwrap_or(rest));
    is_own_database(of_shard.unwrap_or(&name))
}

#[cfg(test)]
mod tests;
