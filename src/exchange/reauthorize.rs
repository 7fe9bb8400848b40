//! How long an open feed may go on: as long as it is found, again and again, that who asked would be permitted
//! the same now. It is asked when something may have changed, and in any case four times in a
//! `[limits] feed_lease`.
//!
//! Long answers that are no feeds (views, lists, documents) are made to their end by the rules that they began
//! with.
//!
//! Invariant: nothing is sent after the term for which the last question was answered yes. A question that
//! can't be answered is a no.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::body::{Body, Cut, boxed};

/// A question that is being answered: would the same be permitted now?
type Asked = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Asks the question.
pub(crate) type Ask = Arc<dyn Fn() -> Asked + Send + Sync>;

/// The right to go on with one feed, to be renewed.
pub(crate) struct Lease {
    ask: Ask,
    /// Tells when it is worth asking.
    changed: watch::Receiver<()>,
    term: Duration,
    until: Instant,
    /// A question that is on its way, and when it was asked.
    asked: Option<(Instant, Asked)>,
}

impl Lease {
    /// `whole` is the time after which nothing is sent by rights that have gone. What is remembered may be half as
    /// old, so that the term of each answer is the other half.
    pub(crate) fn new(ask: Ask, changed: watch::Receiver<()>, whole: Duration) -> Self {
        let term = whole / 2;
        Self {
            ask,
            changed,
            term,
            until: Instant::now() + term,
            asked: None,
        }
    }

    /// Renews itself until it is refused. All state is kept here: a wait that is dropped loses nothing.
    pub(crate) async fn ended(&mut self) {
        loop {
            let (begun, asked) = match &mut self.asked {
                Some(asked) => asked,
                None => {
                    let due = self.until - self.term / 2;
                    tokio::select! {
                        () = sleep_until(due) => {}
                        changed = self.changed.changed() => if changed.is_err() {
                            return;
                        }
                    }
                    self.asked.insert((Instant::now(), (self.ask)()))
                }
            };
            let begun = *begun;
            let granted = asked.await;
            self.asked = None;
            if !granted {
                return;
            }
            self.until = begun + self.term;
        }
    }

    /// Whether it is in force. Where its term is over, because the client or CouchDB was slow, it is asked for anew.
    pub(crate) async fn holds(&mut self) -> bool {
        let now = Instant::now();
        if now < self.until {
            return true;
        }
        self.asked = None;
        let granted = (self.ask)().await;
        self.until = now + self.term;
        granted
    }

    /// A body that streams untouched, and is cut when the lease ends.
    pub(crate) fn cut(self, body: Body) -> Body {
        let frames = stream::try_unfold((body, self), |(mut body, mut lease)| async move {
            let data = loop {
                let frame = tokio::select! {
                    biased;
                    () = lease.ended() => return Err(Cut::Stopped),
                    frame = body.frame() => frame.transpose()?,
                };
                match frame.map(Frame::into_data) {
                    None => return Ok(None),
                    Some(Ok(data)) => break data,
                    // CouchDB sends no trailers.
                    Some(Err(_)) => {}
                }
            };
            if !lease.holds().await {
                return Err(Cut::Stopped);
            }
            Ok(Some((Frame::data(data), (body, lease))))
        });
        boxed(StreamBody::new(frames))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({:?})", self.term)
    }
}

#[cfg(test)]
mod tests;
