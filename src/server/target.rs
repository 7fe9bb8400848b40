//! Targets as people type them: `curl 'http://…/_view/v?key="x"'` sends the quotes as they are. RFC 3986 has
//! no place for them, so hyper refuses the request before anybody could answer it; CouchDB reads them as
//! themselves. They are percent-encoded here, below hyper, which is what the client should have sent: in the
//! request lines of HTTP/1, and by [`super::frames`] in the header blocks of HTTP/2.
//!
//! To know a request line from a body, this reader counts bodies that have a `Content-Length`. After
//! a request whose end it would have to guess or parse (`Transfer-Encoding`, `Expect`, `Upgrade`, `CONNECT`, an odd
//! length), it changes nothing on this connection any more.
//!
//! A target with a fragment (`/db#x`) is refused: hyper would drop the fragment and take the rest for what was meant.
//!
//! None of this can smuggle anything: hyper parses what comes out of here and nobody parses what went in, so there are no
//! two readers who could disagree. What has to hold is that no body is changed, since a
//! body that grew would end inside itself: heads are ended, and lengths read, as httparse and hyper do it, and whatever
//! those would not take, they refuse, which ends the connection.
//!
//! Since it knows where a head begins, it also tells how long one may take: hyper's own timer runs while a connection is
//! idle, too, which may be longer. Where it is lost, a connection is idle no longer than a head may take.
//!
//! Invariant: nothing but the bytes of [`is_foreign`] in an origin-form target changes, and `#` in a request line, however
//! the network cuts the stream.

use super::foreign::{encoded, is_foreign};
use super::frames::Frames;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// No line that ends or frames a body is longer; of longer lines the beginning is enough.
const KEPT: usize = 128;

/// A connection whose targets are mended.
pub(super) struct Typed<S> {
    inner: S,
    client: Client,
    /// What was read, is mended, and did not fit.
    rest: Vec<u8>,
    listening: Listening,
    /// None over HTTP/2, whose frames are no heads yet.
    head: Option<HeadClock>,
}

/// How long the head may take that is being read.
#[derive(Debug)]
struct HeadClock {
    limit: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl HeadClock {
    /// It runs from when a head begins to its end.
    fn set(&mut self, runs: bool) {
        match (runs, &self.until) {
            (true, None) => self.until = Some(Box::pin(sleep(self.limit))),
            (true, Some(_)) => {}
            (false, _) => self.until = None,
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.until {
            Some(until) => until
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            None => Poll::Pending,
        }
    }
}

/// Whether the client is listened to while it is answered. hyper does not, so that a client may end its side before it
/// has its answer; an answer without end must end when its client leaves.
#[derive(Debug, Clone, Default)]
pub(super) struct Listening(Arc<AtomicBool>, Arc<Followed>);

/// How far requests are followed.
#[derive(Debug, Default)]
struct Followed {
    lost: AtomicBool,
    /// How many are being answered of those behind which nothing is followed.
    answering: AtomicUsize,
}

/// An answer behind which nothing is followed, as long as it lives.
#[derive(Debug)]
pub(super) struct Answering(Arc<Followed>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens as long as it lives.
#[derive(Debug)]
pub(super) struct Listens(Listening);

impl Listening {
    pub(super) fn begin(self) -> Listens {
        self.0.store(true, Ordering::Relaxed);
        Listens(self)
    }

    /// To be kept until a request is answered, where that must be known.
    pub(super) fn answering(&self) -> Option<Answering> {
        let followed = &self.1;
        followed.lost.load(Ordering::Relaxed).then(|| {
            followed.answering.fetch_add(1, Ordering::Relaxed);
            Answering(Arc::clone(followed))
        })
    }
}

impl Drop for Listens {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// What the client sends.
enum Client {
    Lines(Lines),
    Frames(Frames),
}

/// Where the next byte of the client's stream stands.
#[derive(Debug, Default)]
struct Lines {
    place: Place,
    /// The beginning of the line or method that is being read.
    line: Vec<u8>,
    /// The length of the body of this request.
    length: Option<u64>,
    /// This head frames its body in a way that is not followed.
    lost: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the method, or in the empty lines that may come before it.
    #[default]
    Method,
    /// At the first byte of the target.
    Target,
    /// In a target that begins with a slash.
    Path,
    /// In the rest of the request line.
    Version,
    /// In a field.
    Field,
    /// In a body with so many bytes to come.
    Body(u64),
    /// Nothing is looked at any more.
    Lost,
}

impl<S> Typed<S> {
    /// The first head begins with the connection.
    pub(super) fn http1(inner: S, head_time: Duration) -> (Self, Listening) {
        let mut typed = Self::new(inner, Client::Lines(Lines::default()));
        let mut head = HeadClock {
            limit: head_time,
            until: None,
        };
        head.set(true);
        typed.head = Some(head);
        let listening = typed.listening.clone();
        (typed, listening)
    }

    pub(super) fn http2(inner: S) -> Self {
        Self::new(inner, Client::Frames(Frames::new()))
    }

    fn new(inner: S, client: Client) -> Self {
        let rest = Vec::new();
        Self {
            inner,
            client,
            rest,
            listening: Listening::default(),
            head: None,
        }
    }

    /// Nothing has come.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(head) = &mut self.head else {
            return Poll::Pending;
        };
        if let Client::Lines(lines) = &self.client
            && lines.is_in_head()
        {
            head.set(true);
        }
        let followed = &self.listening.1;
        if followed.lost.load(Ordering::Relaxed) {
            head.set(followed.answering.load(Ordering::Relaxed) == 0);
        }
        head.poll_over(cx)
    }

    /// Something has been followed.
    fn set_clock(&mut self) {
        let Self {
            client,
            head,
            listening,
            ..
        } = self;
        if let (Client::Lines(lines), Some(head)) = (client, head) {
            head.set(lines.is_in_head());
            if lines.place == Place::Lost {
                listening.1.lost.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Hands out as much of the rest as fits.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let fits = self.rest.len().min(buffer.remaining());
        let later = self.rest.split_off(fits);
        buffer.put_slice(&self.rest);
        self.rest = later;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Typed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            self.give(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        loop {
            if Pin::new(&mut self.inner)
                .poll_read(cx, buffer)?
                .is_pending()
            {
                return self.poll_head(cx);
            }
            let read = buffer.filled().get(before..).unwrap_or_default();
            let ended = read.is_empty();
            let mended = self.client.follow(read);
            self.set_clock();
            let Some(mended) = mended else {
                return Poll::Ready(Ok(()));
            };
            self.rest = mended;
            buffer.set_filled(before);
            self.give(buffer);
            // To have read nothing would mean that the client has ended.
            if ended || buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Typed<S> {
    /// Ready when the client has ended its side. What it sends instead is kept for who reads next.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.rest.is_empty() {
            return Poll::Pending;
        }
        let mut piece = [0; 1024];
        let mut buffer = ReadBuf::new(&mut piece);
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer));
        let sent = buffer.filled();
        if read.is_err() || sent.is_empty() {
            return Poll::Ready(());
        }
        self.rest = self.client.follow(sent).unwrap_or_else(|| sent.to_vec());
        // Who waits for these bytes was told of none.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Client {
    /// What is to be read instead of these bytes; nothing if they may stay.
    fn follow(&mut self, read: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Lines(lines) => {
                let foreign = lines.follow(read);
                (!foreign.is_empty()).then(|| encoded(read, &foreign))
            }
            Self::Frames(frames) => frames.follow(read),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Typed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        if self.listening.0.load(Ordering::Relaxed) && self.poll_left(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }
}

impl Lines {
    fn is_in_head(&self) -> bool {
        match self.place {
            Place::Method => !self.line.is_empty(),
            Place::Target | Place::Path | Place::Version | Place::Field => true,
            Place::Body(_) | Place::Lost => false,
        }
    }

    /// Goes on by these bytes, and tells which of them need to be encoded.
    fn follow(&mut self, read: &[u8]) -> Vec<usize> {
        let mut foreign = Vec::new();
        let mut rest = read;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.place {
                Place::Lost => break,
                Place::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.place = match left.saturating_sub(here as u64) {
                        0 => Place::Method,
                        left => Place::Body(left),
                    };
                    rest.get(here..).unwrap_or_default()
                }
                Place::Path if is_foreign(byte) => {
                    foreign.push(read.len() - rest.len());
                    after
                }
                Place::Target | Place::Path | Place::Version if byte == b'#' => {
                    foreign.push(read.len() - rest.len());
                    self.step(byte);
                    after
                }
                Place::Method | Place::Target | Place::Path | Place::Version | Place::Field => {
                    self.step(byte);
                    after
                }
            };
        }
        foreign
    }

    /// One byte of a head.
    fn step(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Method, b'\r' | b'\n') if self.line.is_empty() => {}
            (Place::Method, b' ') => {
                // What follows it is no request of ours.
                self.lost |= self.line == b"CONNECT";
                self.place = Place::Target;
            }
            // Without a space there is no target: the line ends, and hyper refuses it.
            (Place::Method | Place::Field, b'\n') => self.end_line(),
            (Place::Method | Place::Field, byte) => {
                if self.line.len() <= KEPT {
                    self.line.push(byte);
                }
            }
            (Place::Target, b'/') => self.place = Place::Path,
            (Place::Target | Place::Path | Place::Version, b'\n') => {
                self.line.clear();
                self.place = Place::Field;
            }
            (Place::Target | Place::Path, _) if byte == b' ' || self.place == Place::Target => {
                self.place = Place::Version;
            }
            (Place::Target | Place::Path | Place::Version | Place::Body(_) | Place::Lost, _) => {}
        }
    }

    /// A field, or the empty line that ends a head.
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if self.place == Place::Field && line.is_empty() {
            let length = self.length.take().filter(|length| *length > 0);
            self.place = match (self.lost, length) {
                (true, _) => Place::Lost,
                (false, Some(length)) => Place::Body(length),
                (false, None) => Place::Method,
            };
            return;
        }
        self.place = Place::Field;
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line
            .split_at_checked(colon.unwrap_or(0))
            .unwrap_or_default();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-length") {
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            let length = std::str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok());
            let plain = digits.iter().all(u8::is_ascii_digit) && line.len() < KEPT;
            // A second one, or one that is no number, is for hyper to refuse.
            self.lost |= self.length.is_some() || !plain || length.is_none();
            self.length = length;
        }
        self.lost |= is("transfer-encoding") || is("expect") || is("upgrade");
    }
}

#[cfg(test)]
mod tests;
