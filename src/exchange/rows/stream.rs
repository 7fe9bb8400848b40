//! An answer made row by row while CouchDB sends it.
//!
//! A feed whose lease has ended forgets what has not been sent, and ends in its own shape behind what has been: the
//! client comes back, goes on from there, and is judged anew.
//!
//! Invariant: memory holds one chunk of the network and one row, never the body; whatever goes wrong after
//! the head has left is a [`Cut`], so that a partial answer never looks complete.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;

use super::emit::{Arrivals, Output, emit, note};
use super::feed_clock::FeedClock;
use super::filter::{RowFilter, broken};
use super::frame::Layout;
use super::held::{Held, Waiting, Watch, gather};
use super::limit::Window;
use super::meanwhile::Meanwhile;
use super::oversized::{Unread, shows_a_leaf};
use super::pages::{PageEnd, Pages};
use super::reply::{Arrived, Reply};
use crate::body::{Body, Cut, boxed};
use crate::budget::Share;
use crate::couch::Pace;
use crate::exchange::context::Context;
use crate::exchange::reauthorize::Lease;
use crate::exchange::redact::RowOutcome;
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rewrite::Subrequest;
use crate::json::{Event, JsonError, Row, Splitter};

/// The rows of one answer on their way.
#[derive(Debug)]
pub(crate) struct Rows {
    context: Arc<Context>,
    pages: Box<dyn Pages>,
    filter: Box<dyn RowFilter>,
    layout: Layout,
    window: Window,
    splitter: Splitter,
    reply: Reply,
    end: PageEnd,
    cache: RevisionCache,
    pace: Pace,
    /// What the row takes that has begun, and those that are held.
    share: Share,
    /// Rows that wait for a document, and all rows behind them.
    held: Vec<Held>,
    /// Where rows and their documents are of two moments.
    watch: Option<Watch>,
    /// How many rows of the page lie behind the last one that was looked at.
    passed: u64,
    /// Whose documents could not be read in their rows.
    unread: Vec<String>,
    /// What a feed does while there is nothing to show.
    pulse: Option<FeedClock>,
    lease: Option<Lease>,
    out: Vec<u8>,
    shown: u64,
    started: bool,
    state: State,
    sent: Sent,
}

/// What the client has got.
#[derive(Debug, Default)]
struct Sent {
    /// The frame was opened.
    started: bool,
    /// And closed.
    closed: bool,
    /// The sequence to go on from, as CouchDB wrote it.
    last: Option<Vec<u8>>,
}

impl Sent {
    /// Nothing yet, of a feed that begins there.
    fn nothing(begins: Option<&Vec<u8>>) -> Self {
        Self {
            last: begins.cloned(),
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The window is full; what is left of the page is read so that the connection can be used again.
    Draining,
    Done,
}

/// What an answer is made of.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) pages: Box<dyn Pages>,
    pub(crate) filter: Box<dyn RowFilter>,
    pub(crate) layout: Layout,
    pub(crate) window: Window,
    /// For a feed that waits.
    pub(crate) pulse: Option<FeedClock>,
    /// For a feed: how long it may go on.
    pub(crate) lease: Option<Lease>,
}

impl Recipe {
    /// Of an answer that ends by itself.
    pub(crate) fn new(
        pages: impl Pages + 'static,
        filter: impl RowFilter + 'static,
        layout: Layout,
        window: Window,
    ) -> Self {
        Self {
            pages: Box::new(pages),
            filter: Box::new(filter),
            layout,
            window,
            pulse: None,
            lease: None,
        }
    }
}

/// A query that has been judged: what is asked first, and how its answer is made. None where nothing can match.
pub(crate) type Prepared = Option<(Subrequest, Recipe)>;

/// How much of an answer waits until it is known that it can be made.
pub(crate) const MOST_HELD: usize = 256 * 1024;

impl Rows {
    /// `first` is the answer to the first part; `meanwhile` has begun before it was asked for.
    pub(crate) fn new(
        context: Arc<Context>,
        recipe: Recipe,
        meanwhile: Option<Meanwhile>,
        first: Reply,
    ) -> Self {
        let Recipe {
            pages,
            filter,
            layout,
            window,
            pulse,
            lease,
        } = recipe;
        let frame = pages.frame(layout);
        let splitter = Splitter::new(frame, context.largest_row()).passing_over();
        let sent = Sent::nothing(filter.place());
        let (cache, share) = (context.known(), context.share());
        let mut rows = Self {
            context,
            pages,
            filter,
            layout,
            window,
            splitter,
            reply: first,
            end: PageEnd::default(),
            cache,
            pace: Pace::default(),
            share,
            held: Vec::new(),
            watch: meanwhile.map(Watch::new),
            passed: 0,
            unread: Vec::new(),
            pulse,
            lease,
            out: Vec::new(),
            shown: 0,
            started: false,
            state: State::Reading,
            sent,
        };
        rows.set_clock();
        rows
    }

    /// The clock runs while the feed waits, and while it does nothing else.
    fn set_clock(&mut self) {
        if let Some(pulse) = &mut self.pulse {
            match self.pages.waits() {
                true => pulse.wait(),
                false => pulse.rest(),
            }
        }
    }

    /// The answer as a body.
    pub(crate) fn into_body(self) -> Body {
        let chunks = stream::try_unfold(self, |mut rows| async move {
            let chunk = match rows.lease.take() {
                Some(lease) => rows.next_under(lease).await?,
                None => rows.next().await?,
            };
            Ok(chunk.map(|chunk| (BodyFrame::data(chunk), rows)))
        });
        boxed(StreamBody::new(chunks))
    }

    /// Reads on until a row is shown or the rows have ended; whether anything was shown.
    pub(crate) async fn shows_something(&mut self) -> Result<bool, Cut> {
        while self.shown == 0 && self.state == State::Reading {
            self.step().await?;
        }
        Ok(self.shown > 0)
    }

    /// Reads so much of the answer before it is sent, or all of it.
    pub(crate) async fn gather_answer(&mut self, most: usize) -> Result<(), Cut> {
        while self.state != State::Done && self.out.len() < most {
            self.step().await?;
        }
        Ok(())
    }

    /// The next chunk of the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        while self.out.is_empty() && self.state != State::Done {
            self.step().await?;
        }
        if self.out.is_empty() {
            return Ok(None);
        }
        if let Some(rights) = self.filter.gap() {
            self.context.note_gap(rights).await?;
        }
        Ok(Some(Bytes::from(mem::take(&mut self.out))))
    }

    /// Takes one chunk from CouchDB, or turns the page.
    ///
    /// Security: the clock is looked at first, so that rows that nobody sees don't put the end off.
    /// (`hidden_rows_put_the_end_of_a_feed_off_by_nothing`)
    async fn step(&mut self) -> Result<(), Cut> {
        let arrived = match (&mut self.pulse, self.state) {
            (Some(pulse), State::Reading) => tokio::select! {
                biased;
                () = pulse.beat() => {
                    self.pulsate();
                    return Ok(());
                }
                arrived = self.reply.next() => arrived?,
            },
            (Some(_) | None, _) => self.reply.next().await?,
        };
        match (arrived, self.state) {
            (Arrived::Head, _) | (Arrived::Data(_), State::Draining | State::Done) => Ok(()),
            (Arrived::Data(data), State::Reading) => {
                self.splitter.push(&data);
                if self.watch.is_some() {
                    self.gather(data.len()).await?;
                }
                self.count_held()?;
                self.read().await
            }
            (Arrived::End, State::Draining | State::Done) => {
                self.state = State::Done;
                Ok(())
            }
            (Arrived::End, State::Reading) => {
                self.reply.end();
                self.splitter.finish().map_err(|error| broken(&error))?;
                self.read().await?;
                match self.state {
                    State::Reading => self.turn(),
                    State::Draining | State::Done => {
                        self.state = State::Done;
                        Ok(())
                    }
                }
            }
        }
    }

    async fn gather(&mut self, bytes: usize) -> Result<(), Cut> {
        let (pages, watched) = (&*self.pages, self.watch.is_some());
        gather(pages, watched, &mut self.reply, &mut self.splitter, bytes).await
    }

    /// Takes new rows for those whose documents have changed meanwhile.
    async fn renew(&mut self) -> Result<(), Cut> {
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        let waiting = Waiting {
            context: &self.context,
            filter: &mut *self.filter,
            cache: &mut self.cache,
            held: &mut self.held,
            pages: &*self.pages,
            are_whole_page: self.passed == 0 && self.reply.has_ended(),
            end: &mut self.end,
        };
        watch.renew(waiting).await
    }

    /// Counts the row that has begun, what is ready to go, and the rows that wait.
    fn count_held(&mut self) -> Result<(), Cut> {
        let waiting = self.held.iter().filter_map(|held| held.row.as_ref());
        let waiting: usize = waiting.map(Vec::len).sum();
        let ready = self.splitter.buffered().saturating_add(self.out.len());
        let held = self.share.set(ready.saturating_add(waiting));
        held.map_err(|_| Cut::NoRoom)
    }

    /// Nothing to show for a while: a heartbeat, or the end.
    fn pulsate(&mut self) {
        if !self.started {
            self.started = true;
            self.layout.open(&mut self.out);
        }
        match &self.pulse {
            Some(pulse) if !pulse.ends() => self.layout.heartbeat(&mut self.out),
            Some(_) => self.finish(),
            None => {}
        }
    }

    /// Judges what has arrived, reading further documents where a row needs them.
    async fn read(&mut self) -> Result<(), Cut> {
        let before = self.shown;
        self.absorb().map_err(|error| broken(&error))?;
        self.look_at_unread().await?;
        let mut watched = self.watch.is_some() && !self.held.is_empty();
        if self.cache.is_waiting() && self.watch.is_none() {
            // One round of reading serves the rows that come next as well.
            self.gather(0).await?;
            self.count_held()?;
            self.absorb().map_err(|error| broken(&error))?;
            self.look_at_unread().await?;
        }
        while watched || self.cache.is_waiting() {
            if self.cache.is_waiting() {
                self.context.fill(&mut self.cache, &mut self.pace).await?;
            }
            // Security: after each reading, and before anything is judged by what was read.
            // (`no_row_is_shown_that_a_hidden_version_has_emitted`)
            if self.watch.is_some() && !self.held.is_empty() {
                self.renew().await?;
                self.count_held()?;
            }
            watched = false;
            self.settle().map_err(|error| broken(&error))?;
            self.look_at_unread().await?;
        }
        match self.filter.rows_share_documents() {
            true => self.cache.forget_others(),
            false => self.cache.forget(),
        }
        if let Some(pulse) = self.pulse.as_mut().filter(|_| self.shown > before) {
            pulse.shown();
        }
        Ok(())
    }

    /// Whose documents could not be read must be hidden.
    async fn look_at_unread(&mut self) -> Result<(), Cut> {
        for id in mem::take(&mut self.unread) {
            let lens = self.filter.documents().cloned();
            let lens = lens.ok_or(Cut::Filter)?;
            if shows_a_leaf(&self.context, &lens, &id).await? {
                return Err(broken(&JsonError::TooLong(self.context.largest_row())));
            }
        }
        Ok(())
    }

    /// Takes the events of one chunk.
    fn absorb(&mut self) -> Result<(), JsonError> {
        let Self {
            splitter,
            unread,
            context,
            layout,
            started,
            ..
        } = self;
        let mut arrivals = Arrivals {
            remembers_rows: self.pages.remembers_rows(),
            pages: &mut *self.pages,
            layout: *layout,
            filter: &mut *self.filter,
            cache: &mut self.cache,
            end: &mut self.end,
            held: &mut self.held,
            watch: self.watch.as_mut(),
            passed: &mut self.passed,
            window: &mut self.window,
            shown: &mut self.shown,
            out: &mut self.out,
            unread,
            context,
        };
        while let Some(event) = splitter.next()? {
            if !*started {
                *started = true;
                layout.open(arrivals.out);
            }
            match event {
                Event::Row(_) => arrivals.row(splitter.row())?,
                Event::Unread(head) => {
                    let Unread { row, id } = Unread::of(head, context)?;
                    if !arrivals.window.is_full() {
                        arrivals.unread.push(id);
                    }
                    match arrivals.filter.is_more_than_a_document() {
                        true => arrivals.row(Row::aside(&row))?,
                        false => arrivals.pass_over(),
                    }
                }
                Event::Member { key, value } => {
                    arrivals.end.note(key, value)?;
                }
                Event::Start => arrivals.filter.begin(),
                // Heartbeats are our own.
                Event::Heartbeat
                | Event::RowsStart
                | Event::RowsEnd
                | Event::EventId(_)
                | Event::End => {}
            }
        }
        if self.window.is_full() && self.held.is_empty() && !self.pages.read_to_their_ends() {
            self.finish();
        }
        Ok(())
    }

    /// Judges again the rows that waited, in their order.
    fn settle(&mut self) -> Result<(), JsonError> {
        self.cache.begin_again();
        for held in mem::take(&mut self.held) {
            if !self.held.is_empty() {
                if let (Some(row), false) = (&held.row, self.cache.has_noted_enough()) {
                    let row = Row::aside(row);
                    note(&mut *self.filter, row, &mut self.cache, &mut self.out)?;
                }
                self.held.push(held);
                continue;
            }
            if self.window.is_full() {
                continue;
            }
            let Some(row) = &held.row else {
                self.passed += held.stands_for;
                continue;
            };
            let mut output = Output {
                layout: self.layout,
                shown: &mut self.shown,
                unread: &mut self.unread,
                context: &self.context,
                pages: &mut *self.pages,
            };
            let (cache, out) = (&mut self.cache, &mut self.out);
            let aside = Row::aside(row);
            let window = &mut self.window;
            match emit(&mut *self.filter, aside, cache, &mut output, window, out)? {
                RowOutcome::Pending => self.held.push(held),
                RowOutcome::Shown | RowOutcome::Hidden => self.passed += held.stands_for,
            }
        }
        if !self.held.is_empty() {
            self.cache.forget_unneeded();
        }
        if self.window.is_full() && self.held.is_empty() && !self.pages.read_to_their_ends() {
            self.finish();
        }
        Ok(())
    }

    /// Security: nothing that was judged by rights that have gone is sent. (`a_lost_role_ends_an_open_feed`)
    async fn next_under(&mut self, mut lease: Lease) -> Result<Option<Bytes>, Cut> {
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
    fn finish(&mut self) {
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

    /// A page has ended: the next one, or the end of the answer.
    fn turn(&mut self) -> Result<(), Cut> {
        self.cache.forget();
        let end = mem::take(&mut self.end);
        let next = match self.window.is_full() {
            true => Ok(None),
            false => self.pages.next(self.window, self.shown, &end),
        };
        let next = next.map_err(|error| broken(&error))?;
        let Some(part) = next else {
            self.end = end;
            self.finish();
            self.state = State::Done;
            return Ok(());
        };
        self.passed = 0;
        if let Some(watch) = &mut self.watch {
            watch.turn();
        }
        if let Some(sequence) = end.last_seq {
            self.filter.reach(sequence);
        }
        self.set_clock();
        let frame = self.pages.frame(self.layout);
        self.splitter = Splitter::new(frame, self.context.largest_row()).passing_over();
        let begun = self.filter.ask(&self.context, part, self.pages.range());
        self.reply = Reply::awaited(begun);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
