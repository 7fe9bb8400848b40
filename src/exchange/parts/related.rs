//! A document with its attachments behind it, as `multipart/related`: the document is read and judged, the
//! attachments stream on.
//!
//! CouchDB takes the bytes of all parts as one stream and cuts it by the lengths that the document names, in
//! the order of its `_attachments`. So the parts must be those that the document announces.
//!
//! Invariant: a body whose parts are not the ones announced, one by one and byte by byte, is cut before its end,
//! so that CouchDB stores nothing of it. The bytes that CouchDB can't store the document without go on when the end
//! of the client's body has been seen, and not before.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, Cut};
use crate::budget::Share;
use crate::exchange::parts::multipart::{Parts, Token, field};
use crate::exchange::write::attachments::following;
use crate::exchange::write::written::new_id;
use crate::json::Value;
use crate::refusal::{Limit, Refusal};

const BROKEN: Refusal = Refusal::BadRequest("the multipart body can't be read");

/// A body of which the document has been read.
#[derive(Debug)]
pub(crate) struct Related {
    parts: Parts,
}

/// A body for CouchDB: the judged document, then the attachments as they arrive.
#[derive(Debug)]
pub(crate) struct Outgoing {
    parts: Parts,
    boundary: String,
    ready: VecDeque<Bytes>,
    announced: VecDeque<Announced>,
    current: Option<Announced>,
    left: u64,
    tail: u64,
    /// The end of the client's body has been seen, and nothing stands where nothing may.
    ended: bool,
}

/// A part that the client has announced.
#[derive(Debug, Clone, Copy)]
struct Announced {
    length: u64,
    /// What is stored already is not sent again.
    kept: bool,
}

impl Related {
    /// Reads the document, which is not longer than `limit`, and counts it.
    pub(crate) async fn read(
        (body, mut share): (Body, Option<Share>),
        content_type: &str,
        limit: usize,
    ) -> Result<(Bytes, Self), Refusal> {
        let mut parts = Parts::new(body, content_type).ok_or(BROKEN)?;
        let Some(Token::Head(head)) = parts.next().await.map_err(Cut::refusal)? else {
            return Err(BROKEN);
        };
        let head = str::from_utf8(&head).map_err(|_| BROKEN)?;
        let kind = field(head, "content-type").and_then(|kind| kind.split(';').next());
        if kind.is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::UnsupportedMedia(
                "Content-Type must be application/json",
            ));
        }
        let mut document = BytesMut::new();
        while let Some(Token::Data(data)) = parts.next().await.map_err(Cut::refusal)? {
            if document.len().saturating_add(data.len()) > limit {
                return Err(Refusal::TooLarge(Limit::Body));
            }
            if let Some(share) = &mut share {
                share.count(&data)?;
            }
            document.extend_from_slice(&data);
        }
        let document = document.freeze();
        let document = match share {
            Some(share) => share.keep(document),
            None => document,
        };
        Ok((document, Self { parts }))
    }

    /// Puts the judged document before the parts. `sent`: those that the client has announced, in their order.
    pub(crate) fn behind(
        self,
        sent: &[(String, Option<u64>)],
        document: &Value,
    ) -> Result<Outgoing, Refusal> {
        let kept = following(document);
        let announced = sent.iter().map(|(name, length)| {
            Some(Announced {
                length: (*length)?,
                kept: kept.iter().any(|(kept, _)| kept == name),
            })
        });
        let announced: Option<VecDeque<Announced>> = announced.collect();
        let announced = announced.ok_or(Refusal::BadRequest(
            "an attachment that follows must say its length",
        ))?;
        let boundary = new_id().ok_or(Refusal::Internal("no random bytes"))?;
        let mut first =
            format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n").into_bytes();
        document.write(&mut first);
        let around = opening(&boundary).len() as u64;
        let kept = announced.iter().filter(|part| part.kept);
        let lengths = kept.map(|part| part.length.saturating_add(around));
        let left = lengths.fold(first.len() as u64, u64::saturating_add);
        let closing = closing(&boundary).len() as u64;
        let kept = announced.iter().rev().filter(|part| part.kept);
        let empty = kept.take_while(|part| part.length == 0).count() as u64;
        Ok(Outgoing {
            parts: self.parts,
            left: left.saturating_add(closing),
            tail: closing.saturating_add(empty.saturating_mul(around)),
            boundary,
            ready: VecDeque::from([Bytes::from(first)]),
            announced,
            current: None,
            ended: false,
        })
    }
}

impl Outgoing {
    /// For `Content-Type`.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/related; boundary=\"{}\"", self.boundary)
    }

    /// Whether anything follows the document at all.
    pub(crate) fn has_parts(&self) -> bool {
        self.announced.iter().any(|part| part.kept)
    }

    /// So many bytes at the end CouchDB does not need: it stores the document as soon as it has the attachments.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Reads to the end what will not be sent on.
    pub(crate) async fn drain(mut self) -> Result<(), Refusal> {
        let next = |outgoing: &mut Self, cx: &mut Context<'_>| Pin::new(outgoing).poll_frame(cx);
        while let Some(frame) = std::future::poll_fn(|cx| next(&mut self, cx)).await {
            frame.map_err(Cut::refusal)?;
        }
        Ok(())
    }

    fn take(&mut self, token: Option<Token>) -> Result<(), Cut> {
        match (token, self.current) {
            (Some(Token::Head(_)), None) => {
                let part = self.announced.pop_front().ok_or(Cut::ClientBroken)?;
                if part.kept {
                    self.ready.push_back(opening(&self.boundary).into());
                }
                self.current = Some(part);
            }
            (Some(Token::Data(data)), Some(part)) => {
                let left = part.length.checked_sub(data.len() as u64);
                let length = left.ok_or(Cut::ClientBroken)?;
                self.current = Some(Announced { length, ..part });
                if part.kept {
                    self.ready.push_back(data);
                }
            }
            (Some(Token::PartEnd), Some(part)) if part.length == 0 => self.current = None,
            (Some(Token::End), None) if self.announced.is_empty() => {}
            (None, None) => {
                self.ready.push_back(closing(&self.boundary).into());
                self.ended = true;
            }
            (_, _) => return Err(Cut::ClientBroken),
        }
        Ok(())
    }

    /// What may go on now.
    ///
    /// Security: CouchDB stores the document and answers as soon as it has the bytes of the last attachment. Were they
    /// sent before the end of the client's body is known, a body that turns out to be none would be stored, and what
    /// stands behind it would be lost, or taken for a request.
    /// (`nothing_that_couchdb_could_store_is_sent_before_the_clients_end`)
    fn next(&mut self) -> Option<Bytes> {
        let length = self.ready.front()?.len() as u64;
        let left = self.left.saturating_sub(length);
        if left <= self.tail && !self.ended {
            return None;
        }
        self.left = left;
        self.ready.pop_front()
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(bytes) = self.next() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
            let token = match ready!(self.parts.poll_next(cx)) {
                Ok(token) => token,
                Err(cut) => return Poll::Ready(Some(Err(cut))),
            };
            if let Err(cut) = self.take(token) {
                return Poll::Ready(Some(Err(cut)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn opening(boundary: &str) -> String {
    format!("\r\n--{boundary}\r\n\r\n")
}

fn closing(boundary: &str) -> String {
    format!("\r\n--{boundary}--")
}

#[cfg(test)]
mod tests;
