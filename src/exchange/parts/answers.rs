//! CouchDB's multipart answers (RFC 2046 section 5.1), taken apart while they come in: headers and documents are
//! collected under a limit, attachments pass chunk by chunk.
//!
//! Invariant: what is read is accounted for byte by byte; whatever stands where something else is due is a cut.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use memchr::memmem;

use crate::body::{Body, Cut};
use crate::budget::Share;

/// The longest head of a part: it holds the name of an attachment.
const LONGEST_HEAD: usize = 64 * 1024;

/// An answer that is being read.
#[derive(Debug)]
pub(crate) struct Parts {
    upstream: Body,
    buffer: BytesMut,
    /// What the buffer takes.
    share: Share,
}

/// The head of a part.
#[derive(Debug)]
pub(crate) struct Head {
    /// Its lines as they came, without the empty one that ends it.
    text: String,
}

impl Parts {
    pub(crate) fn new(upstream: Body, share: Share) -> Self {
        Self {
            upstream,
            buffer: BytesMut::new(),
            share,
        }
    }

    /// Waits for more; false at the end.
    async fn more(&mut self) -> Result<bool, Cut> {
        while let Some(frame) = self.upstream.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            if !data.is_empty() {
                self.buffer.extend_from_slice(&data);
                let held = self.share.set(self.buffer.len());
                held.map_err(|_| Cut::NoRoom)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Everything before a mark, which is taken away with it.
    pub(crate) async fn until(&mut self, mark: &[u8], limit: usize) -> Result<Bytes, Cut> {
        self.within(mark, limit).await?.ok_or(Cut::Filter)
    }

    /// The same; of what is too long the beginning, as an error, and the rest is passed over.
    pub(crate) async fn until_or_past(
        &mut self,
        mark: &[u8],
        limit: usize,
    ) -> Result<Result<Bytes, Bytes>, Cut> {
        if let Some(found) = self.within(mark, limit).await? {
            return Ok(Ok(found));
        }
        let begins = self.buffer.split_to(limit.min(self.buffer.len())).freeze();
        self.past(mark).await?;
        Ok(Err(begins))
    }

    /// Passes over everything before a mark, and over the mark.
    pub(crate) async fn past(&mut self, mark: &[u8]) -> Result<(), Cut> {
        loop {
            if let Some(place) = memmem::find(&self.buffer, mark) {
                drop(self.buffer.split_to(place.saturating_add(mark.len())));
                return Ok(());
            }
            // The mark may have begun at the end of what is there.
            let seen = self.buffer.len().saturating_sub(mark.len());
            drop(self.buffer.split_to(seen));
            if !self.more().await? {
                return Err(Cut::Filter);
            }
        }
    }

    /// Everything before a mark, which is taken away with it; none if that is too long.
    async fn within(&mut self, mark: &[u8], limit: usize) -> Result<Option<Bytes>, Cut> {
        let mut looked = 0;
        loop {
            let fresh = self.buffer.get(looked..).unwrap_or_default();
            if let Some(place) = memmem::find(fresh, mark) {
                let found = self.buffer.split_to(looked.saturating_add(place)).freeze();
                drop(self.buffer.split_to(mark.len()));
                return Ok(Some(found));
            }
            if self.buffer.len() > limit.saturating_add(mark.len()) {
                return Ok(None);
            }
            // The mark may have begun at the end of what is there.
            looked = self.buffer.len().saturating_sub(mark.len());
            if !self.more().await? {
                return Err(Cut::Filter);
            }
        }
    }

    /// Takes this text away if it is what comes next.
    pub(crate) async fn next_is(&mut self, text: &[u8]) -> Result<bool, Cut> {
        while self.buffer.len() < text.len() && text.starts_with(&self.buffer) {
            if !self.more().await? {
                return Ok(false);
            }
        }
        if !self.buffer.starts_with(text) {
            return Ok(false);
        }
        drop(self.buffer.split_to(text.len()));
        Ok(true)
    }

    /// Takes away what must come next.
    pub(crate) async fn expect(&mut self, text: &[u8]) -> Result<(), Cut> {
        match self.next_is(text).await? {
            true => Ok(()),
            false => Err(Cut::Filter),
        }
    }

    /// The head of a part, behind the line of its boundary.
    pub(crate) async fn head(&mut self) -> Result<Head, Cut> {
        self.expect(b"\r\n").await?;
        let text = self.until(b"\r\n\r\n", LONGEST_HEAD).await?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| Cut::Filter)?;
        Ok(Head { text })
    }

    /// Some of the next bytes, at most so many, at least one.
    pub(crate) async fn data(&mut self, most: u64) -> Result<Bytes, Cut> {
        if self.buffer.is_empty() && !self.more().await? {
            return Err(Cut::Upstream);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(self.buffer.split_to(self.buffer.len().min(most)).freeze())
    }

    /// Nothing but the end of a line may follow.
    pub(crate) async fn end(&mut self) -> Result<(), Cut> {
        self.next_is(b"\r\n").await?;
        match self.buffer.is_empty() && !self.more().await? {
            true => Ok(()),
            false => Err(Cut::Filter),
        }
    }
}

impl Head {
    /// The value of a header.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.text.split("\r\n").find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The boundary of the parts inside this one, if it has any.
    pub(crate) fn boundary(&self) -> Option<Vec<u8>> {
        boundary(self.value("content-type")?)
    }
}

/// The boundary that a media type names, if it is one of several parts.
pub(crate) fn boundary(media_type: &str) -> Option<Vec<u8>> {
    let (name, parameters) = media_type.split_once(';')?;
    if !name.trim().starts_with("multipart/") {
        return None;
    }
    let value = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let value = value.trim_matches('"');
    (!value.is_empty()).then(|| value.as_bytes().to_vec())
}
