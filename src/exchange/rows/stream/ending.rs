//! How an answer ends: at its last row, at the client's limit, or because the right to a feed has gone.
//!
//! A feed whose lease has ended forgets what has not been sent, and ends in its own shape behind what has been:
//! the client comes back, goes on from there, and is judged anew.

use std::mem;

use bytes::Bytes;

use super::{Rows, State};
use crate::body::Cut;
use crate::exchange::reauthorize::Lease;

/// What the client has got.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The frame was opened.
    started: bool,
    /// And closed.
    closed: bool,
    /// The sequence to go on from, as CouchDB wrote it.
    last: Option<Vec<u8>>,
}

impl Sent {
    /// Nothing yet, of a feed that begins there.
    pub(crate) fn nothing(begins: Option<&Vec<u8>>) -> Self {
        Self {
            last: begins.cloned(),
            ..Self::default()
        }
    }
}

impl Rows {
    /// Security: nothing that was judged by rights that have gone is sent. (`a_lost_role_ends_an_open_feed`)
    pub(crate) async fn next_under(&mut self, mut lease: Lease) -> Result<Option<Bytes>, Cut> {
        tokio::select! {
            biased;
            () = lease.ended() => {}
            chunk = self.next() => {
                let chunk = chunk?;
                if lease.holds().await {
                    self.lease = Some(lease);
                    self.note_sent();
                    return Ok(chunk);
                }
            }
        }
        Ok(self.stop())
    }

    fn note_sent(&mut self) {
        self.sent = Sent {
            started: self.started,
            closed: self.state != State::Reading,
            last: self.filter.place().cloned(),
        };
    }

    /// Ends the frame behind what has been sent, if it has not ended yet.
    fn stop(&mut self) -> Option<Bytes> {
        self.out.clear();
        self.held.clear();
        self.reply.end();
        self.state = State::Done;
        if self.sent.closed {
            return None;
        }
        if !self.sent.started {
            self.layout.open(&mut self.out);
        }
        let last = self.sent.last.as_ref();
        let last = last.and_then(|last| self.filter.seal(last));
        let tail = last.as_ref().map(|last| ("last_seq", last.as_str()));
        self.layout.close(tail, &mut self.out);
        Some(Bytes::from(mem::take(&mut self.out))).filter(|end| !end.is_empty())
    }

    /// Writes the end of the frame, once.
    pub(crate) fn finish(&mut self) {
        if self.state != State::Reading {
            return;
        }
        if !self.started {
            self.layout.open(&mut self.out);
        }
        let mark = self.out.len();
        self.layout.before(self.shown == 0, &mut self.out);
        let seen = self.filter.last(&mut self.out);
        if self.window.take(seen) {
            self.layout.after("", &mut self.out);
        } else {
            self.out.truncate(mark);
        }
        let tail = self.tail();
        let tail = tail.as_ref().map(|(name, value)| (*name, value.as_str()));
        self.layout.close(tail, &mut self.out);
        let page_is_read = self.pages.size().is_some_and(|size| self.end.rows >= size);
        self.state = if page_is_read {
            State::Draining
        } else {
            State::Done
        };
        if self.state == State::Done {
            self.reply.end();
        }
    }

    /// The member after the rows: where the client may go on.
    fn tail(&self) -> Option<(&'static str, String)> {
        let of_rows = self.filter.member_behind(&self.end, self.window.is_full());
        of_rows.or_else(|| self.pages.member_behind(self.passed, &self.end))
    }
}
