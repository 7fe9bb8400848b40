//! A client's multipart body, taken apart while it arrives (RFC 2046 section 5.1.1).
//!
//! Invariant: what is not exactly one delimiter after another is an error; nothing before the first one is
//! skipped, and a body that ends before its last delimiter is broken.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use memchr::memmem::Finder;

use crate::body::{Body, Cut};

/// The longest head of a part.
const LONGEST_HEAD: usize = 16 * 1024;

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A part begins; its header fields.
    Head(Bytes),
    /// Some bytes of the part.
    Data(Bytes),
    /// The part ends.
    PartEnd,
    /// The last part has ended; what follows means nothing.
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
                    if let Ok(data) = frame.into_data()
                        && self.at != At::End
                    {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(cut)) => return Poll::Ready(Err(cut)),
                None if self.at == At::End => return Poll::Ready(Ok(None)),
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
            At::End => Ok(None),
        }
    }

    fn delimiter(&mut self) -> Result<Option<Token>, Cut> {
        let length = self.delimiter.len();
        let Some(after) = self.buffer.get(length..length + 2) else {
            return Ok(None);
        };
        let (last, next) = (after == b"--", after == b"\r\n");
        if !self.buffer.starts_with(&self.delimiter) || !(last || next) {
            return Err(Cut::ClientBroken);
        }
        if last {
            self.buffer.clear();
            self.at = At::End;
            return Ok(Some(Token::End));
        }
        // The end of this line may already be the empty one that ends the head.
        let _ = self.buffer.split_to(length);
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

/// A parameter of a field such as `form-data; name="x"`.
pub(crate) fn parameter<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    value.split(';').skip(1).find_map(|one| {
        let (key, value) = one.split_once('=')?;
        let quoted = value
            .trim()
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| quoted.unwrap_or(value.trim()))
    })
}

/// The boundary, of the characters that RFC 2046 allows in one.
fn boundary(content_type: &str) -> Option<&str> {
    let boundary = parameter(content_type, "boundary")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let legal = boundary.bytes().all(legal) && (1..=70).contains(&boundary.len());
    legal.then_some(boundary)
}

#[cfg(test)]
mod tests;
