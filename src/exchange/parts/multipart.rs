//! A client's multipart body, taken apart while it arrives (RFC 2046 section 5.1.1).
//!
//! Nothing of it is passed on as it came: whoever reads it here writes it anew for CouchDB. So where RFC 2046 is
//! generous (a preamble, an epilogue, padding behind a boundary), nothing is lost by being strict.
//!
//! Invariant: what is not exactly one delimiter after another is an error; nothing before the first one is
//! skipped, and a body that ends before its last delimiter is broken. Behind that stands at most one line end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use memchr::memmem::Finder;

use crate::body::{Body, Cut};
use crate::refusal::Refusal;
use crate::route::{Method, Route};

const LINE_END: &[u8] = b"\r\n";

/// The longest head of a part.
const LONGEST_HEAD: usize = 16 * 1024;

const FORM: &str = "multipart/form-data";
const OTHER: Refusal = Refusal::UnsupportedMedia("a body of several parts is not read here");

/// What a body of several parts writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Several {
    /// `PUT` of a document with its attachments behind it, `multipart/related`.
    Related,
    /// `POST` to a document of a form, `multipart/form-data`.
    Form,
}

impl Several {
    /// What the body of this request is, if CouchDB reads it in parts.
    ///
    /// Security: CouchDB stops reading at the last boundary, so no such body may go on as it came. Its own test is of
    /// the very letters (`chttpd_db:db_doc_req`); what is spelt otherwise is refused, lest another version takes it
    /// for what we don't. (`what_couchdb_could_take_for_several_parts_is_refused`)
    pub(crate) fn of(route: &Route, content_type: Option<&str>) -> Result<Option<Self>, Refusal> {
        let kind = content_type.unwrap_or_default();
        if route.document().is_none() {
            return Ok(None);
        }
        match route.method {
            Method::Put if kind.starts_with("multipart/related;") => Ok(Some(Self::Related)),
            Method::Put if is_multipart(kind) => Err(OTHER),
            Method::Post if kind.split(';').next() == Some(FORM) => Ok(Some(Self::Form)),
            Method::Post => Err(Refusal::UnsupportedMedia(
                "Content-Type must be multipart/form-data",
            )),
            Method::Get | Method::Head | Method::Put | Method::Delete | Method::Copy => Ok(None),
        }
    }
}

/// Whether this `Content-Type` could be one of several parts to anybody.
pub(crate) fn is_multipart(content_type: &str) -> bool {
    content_type
        .to_ascii_lowercase()
        .split([',', ';'])
        .any(|one| one.trim().starts_with("multipart"))
}

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A part begins; its header fields.
    Head(Bytes),
    /// Some bytes of the part.
    Data(Bytes),
    /// The part ends.
    PartEnd,
    /// The last part has ended. The body may still turn out to go on.
    End,
}

/// The parts of a body.
pub(crate) struct Parts {
    body: Body,
    delimiter: Vec<u8>,
    finder: Finder<'static>,
    buffer: BytesMut,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Delimiter,
    Head,
    Data,
    End,
}

impl Parts {
    /// The body of a request with this `Content-Type`; `None` where it names no boundary.
    pub(crate) fn new(body: Body, content_type: &str) -> Option<Self> {
        let delimiter = format!("\r\n--{}", boundary(content_type)?).into_bytes();
        Some(Self {
            body,
            finder: Finder::new(&delimiter).into_owned(),
            delimiter,
            // The first delimiter stands at the beginning, without the line end before it.
            buffer: BytesMut::from("\r\n"),
            at: At::Delimiter,
        })
    }

    /// The next token; `None` at the end of the whole body.
    pub(crate) async fn next(&mut self) -> Result<Option<Token>, Cut> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Token>, Cut>> {
        loop {
            if let Some(token) = self.take()? {
                return Poll::Ready(Ok(Some(token)));
            }
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(cut)) => return Poll::Ready(Err(cut)),
                None if self.is_at_end() => return Poll::Ready(Ok(None)),
                None => return Poll::Ready(Err(Cut::ClientBroken)),
            }
        }
    }

    /// A token of what has arrived so far.
    fn take(&mut self) -> Result<Option<Token>, Cut> {
        match self.at {
            At::Delimiter => self.delimiter(),
            At::Head => self.head(),
            At::Data => Ok(self.data()),
            // Security: CouchDB would read on here, and take what it finds for the next request.
            // (`nothing_may_stand_behind_the_last_boundary`)
            At::End if !LINE_END.starts_with(&self.buffer) => Err(Cut::ClientBroken),
            At::End => Ok(None),
        }
    }

    fn is_at_end(&self) -> bool {
        self.at == At::End && (self.buffer.is_empty() || self.buffer == LINE_END)
    }

    fn delimiter(&mut self) -> Result<Option<Token>, Cut> {
        let length = self.delimiter.len();
        let Some(after) = self.buffer.get(length..length + 2) else {
            return Ok(None);
        };
        let (last, next) = (after == b"--", after == LINE_END);
        if !self.buffer.starts_with(&self.delimiter) || !(last || next) {
            return Err(Cut::ClientBroken);
        }
        let _ = self.buffer.split_to(length);
        if last {
            let _ = self.buffer.split_to(b"--".len());
            self.at = At::End;
            return Ok(Some(Token::End));
        }
        // The end of this line may already be the empty one that ends the head.
        self.at = At::Head;
        self.head()
    }

    fn head(&mut self) -> Result<Option<Token>, Cut> {
        match memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
            Some(end) => {
                let head = self.buffer.split_to(end + 4).freeze();
                self.at = At::Data;
                Ok(Some(Token::Head(head)))
            }
            None if self.buffer.len() > LONGEST_HEAD => Err(Cut::ClientBroken),
            None => Ok(None),
        }
    }

    fn data(&mut self) -> Option<Token> {
        match self.finder.find(&self.buffer) {
            Some(0) => {
                self.at = At::Delimiter;
                Some(Token::PartEnd)
            }
            Some(end) => Some(Token::Data(self.buffer.split_to(end).freeze())),
            None => {
                let sure = (self.buffer.len() + 1).checked_sub(self.delimiter.len())?;
                (sure > 0).then(|| Token::Data(self.buffer.split_to(sure).freeze()))
            }
        }
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// A field of a part's head, by its name in lower case.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A parameter of a field such as `form-data; name="x"`: none where the field can be read in more than one way.
pub(crate) fn parameter<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let mut found = None;
    let (_, mut rest) = value.split_once(';')?;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, more) = parameter_value(after)?;
        let key = key.trim();
        if key.is_empty() || key.contains(['"', ';']) {
            return None;
        }
        if key.eq_ignore_ascii_case(name) && found.replace(value).is_some() {
            return None;
        }
        match more {
            Some(more) if !more.trim().is_empty() => rest = more,
            Some(_) | None => return found,
        }
    }
}

/// The value at the beginning of a text, and what stands behind its semicolon. A backslash within quotes means one
/// thing to RFC 9110 and another to browsers.
fn parameter_value(text: &str) -> Option<(&str, Option<&str>)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, more) = match text.split_once(';') {
            Some((value, more)) => (value, Some(more)),
            None => (text, None),
        };
        let value = value.trim_end();
        return (!value.contains(['"', '\\'])).then_some((value, more));
    };
    let (value, after) = quoted.split_once('"')?;
    let after = after.trim_start();
    let more = after.strip_prefix(';');
    let ends = after.is_empty() || more.is_some();
    (ends && !value.contains('\\')).then_some((value, more))
}

/// The boundary, of the characters that RFC 2046 allows in one.
fn boundary(content_type: &str) -> Option<&str> {
    let boundary = parameter(content_type, "boundary")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let legal = boundary.bytes().all(legal) && (1..=70).contains(&boundary.len());
    (legal && !boundary.ends_with(' ')).then_some(boundary)
}

#[cfg(test)]
mod tests;
