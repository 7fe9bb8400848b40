//! The frames in which CouchDB streams its answers, fed chunk by chunk: one row in memory, never the whole.
//!
//! `feed` takes the blocks of an eventsource feed.
//!
//! Rows are found and proven in one pass over their structure, so the layout of the lines does not matter.
//! Invariant: where the network cuts makes no difference; what is not exactly one complete frame is an error.

mod feed;

use std::ops::Range;

use super::frame::{Event, Frame, State};
use super::row::{Row, refuse_error};
use super::scan::Ending;
use super::skip::Skip;
use super::token::Cursor;
use super::{JsonError, edit, events};

/// The longest member beside the rows.
const MAX_MEMBER: usize = 64 * 1024;
/// The most members beside the rows.
const MAX_MEMBERS: usize = 64;
/// After a long row, a buffer larger than this is given back.
const KEEP: usize = 256 * 1024;

/// Takes an answer apart while it comes in.
#[derive(Debug)]
pub struct Splitter {
    frame: Frame,
    max_row: usize,
    buffer: Vec<u8>,
    /// Up to here the buffer has been read.
    read: usize,
    state: State,
    /// One more newline belongs to the layout.
    spare: bool,
    /// The value that starts at `read`, as far as it has been looked at.
    ending: Option<Ending>,
    /// The last row, if nothing has been pushed since, and where its brackets stand.
    row: Range<usize>,
    brackets: Option<Vec<usize>>,
    names: Vec<String>,
    events: events::Block,
    /// Whether rows that are too long or too deep are passed over; else they are errors.
    skips: bool,
    /// Whether the rows are documents that a client sends: any member may be in them.
    sent: bool,
    skip: Option<Skip>,
    unread: Vec<u8>,
}

/// An event, with places in the buffer.
enum Found {
    Start,
    Member(Range<usize>),
    RowsStart,
    Row(Range<usize>),
    Unread,
    RowsEnd,
    Heartbeat,
    EventId(Range<usize>),
    End,
}

impl Splitter {
    /// For one answer, no row of which may be longer than `max_row` bytes.
    pub fn new(frame: Frame, max_row: usize) -> Self {
        Self {
            frame,
            max_row,
            buffer: Vec::new(),
            read: 0,
            state: State::Start,
            spare: false,
            ending: None,
            row: 0..0,
            brackets: None,
            names: Vec::new(),
            events: events::Block::default(),
            skips: false,
            sent: false,
            skip: None,
            unread: Vec::new(),
        }
    }

    /// Rows that are objects and too long or too deep are [`Event::Unread`].
    #[must_use]
    pub fn passing_over(mut self) -> Self {
        self.skips = true;
        self
    }

    /// For a batch of documents as a client sends it. Of what is passed over, [`Event::Unread`] has the `_id`, as JSON,
    /// if it has one.
    pub fn of_batch(max_row: usize) -> Self {
        Self {
            sent: true,
            ..Self::new(Frame::Rows("docs"), max_row).passing_over()
        }
    }

    /// Takes the next bytes. Call [`Self::next`] until it gives `None` before the next push.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.read >= self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.read);
        }
        self.read = 0;
        self.row = 0..0;
        if self.buffer.capacity() > KEEP && self.buffer.len() < KEEP / 2 {
            self.buffer.shrink_to(KEEP / 2);
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// How many bytes are held of what was pushed.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next event, or `None` if it takes more input. After an error, every call is an error.
    #[expect(
        clippy::should_implement_trait,
        reason = "an event borrows from the splitter, so this is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, JsonError> {
        let found = self.find().inspect_err(|_| self.state = State::Broken)?;
        self.row = match &found {
            Some(Found::Row(row)) => row.clone(),
            _ => 0..0,
        };
        let slice = |range: Range<usize>| self.buffer.get(range).unwrap_or_default();
        Ok(found.map(|found| match found {
            Found::Start => Event::Start,
            Found::Member(value) => Event::Member {
                key: self.names.last().map(String::as_str).unwrap_or_default(),
                value: slice(value),
            },
            Found::RowsStart => Event::RowsStart,
            Found::Row(row) => Event::Row(slice(row)),
            Found::Unread => Event::Unread(&self.unread),
            Found::RowsEnd => Event::RowsEnd,
            Found::Heartbeat => Event::Heartbeat,
            Found::EventId(id) => Event::EventId(slice(id)),
            Found::End => Event::End,
        }))
    }

    /// The row of the last event, with what is known about it.
    pub fn row(&self) -> Row<'_> {
        let bytes = self.buffer.get(self.row.clone()).unwrap_or_default();
        Row::new(bytes, self.brackets.as_deref().unwrap_or_default())
    }

    /// The input has ended. An error if the frame has not, or if events are still to be taken.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        let rest = self.buffer.get(self.read..).unwrap_or_default();
        let empty = rest
            .iter()
            .all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        if self.skip.is_some() {
            return Err(JsonError::Truncated);
        }
        match (self.state, self.frame) {
            (State::Done | State::AfterLine, _) | (State::Bare, Frame::Lines) if empty => Ok(()),
            (State::Start, Frame::Lines | Frame::EventSource) if rest.is_empty() => Ok(()),
            (State::Events, _) if rest.is_empty() && self.events.is_closed() => Ok(()),
            (State::Done | State::Broken, _) => Err(JsonError::Syntax(0)),
            _ => Err(JsonError::Truncated),
        }
    }

    fn find(&mut self) -> Result<Option<Found>, JsonError> {
        loop {
            if self.skip.is_some() {
                return Ok(self.skip_on());
            }
            if self.state == State::Start && matches!(self.frame, Frame::Lines | Frame::EventSource)
            {
                self.state = if self.frame == Frame::Lines {
                    State::Bare
                } else {
                    State::Events
                };
                return Ok(Some(Found::Start));
            }
            if self.state == State::Events {
                return self.find_event();
            }
            if self.state == State::End {
                self.state = State::Done;
                return Ok(Some(Found::End));
            }
            if self.ending.is_none() && self.gap() {
                return Ok(Some(Found::Heartbeat));
            }
            let Some(byte) = self.buffer.get(self.read).copied() else {
                return Ok(None);
            };
            let before = (self.state, self.read);
            if let Some(found) = self.take(byte)? {
                return Ok(Some(found));
            }
            if before == (self.state, self.read) {
                return Ok(None);
            }
        }
    }

    /// Skips white space; true at a newline that is a heartbeat.
    fn gap(&mut self) -> bool {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.buffer.get(self.read) {
            let newline = *byte == b'\n';
            self.read = self.read.saturating_add(1);
            if newline && self.state == State::AfterLine {
                self.state = State::Bare;
            } else if newline && !std::mem::take(&mut self.spare) && self.state != State::Done {
                return true;
            }
        }
        false
    }

    /// One token, which begins with this byte. Neither an event nor progress: it takes more input.
    fn take(&mut self, byte: u8) -> Result<Option<Found>, JsonError> {
        match (self.state, byte) {
            (State::Start, _) => self.start(byte),
            (State::FirstMember, b'}') | (State::AfterMember, b'}') => self.close(),
            (State::FirstMember | State::Name, b'"') => self.name(),
            (State::Colon, b':') => Ok(self.pass(State::MemberValue)),
            (State::MemberValue, b'[') if self.is_rows() => {
                self.pass(State::FirstRow);
                Ok(Some(Found::RowsStart))
            }
            (State::MemberValue, _) if self.is_rows() => {
                Err(JsonError::Expected("an array of rows"))
            }
            (State::MemberValue, _) => Ok(self
                .value(MAX_MEMBER, State::AfterMember)?
                .map(Found::Member)),
            (State::AfterMember, b',') => Ok(self.pass(State::Name)),
            (State::FirstRow | State::AfterRow, b']') => {
                self.pass(if self.frame == Frame::Array {
                    State::End
                } else {
                    State::AfterMember
                });
                Ok(Some(Found::RowsEnd))
            }
            (State::FirstRow | State::Row, _) => self.row_here(State::AfterRow),
            (State::AfterRow, b',') => Ok(self.pass(State::Row)),
            (State::Bare, _) if self.frame == Frame::Document => self.row_here(State::End),
            (State::Bare, b'{') => self.row_here(State::AfterLine),
            // CouchDB writes an error that strikes it in the middle as an object of its own.
            (State::AfterRow, b'{') if !self.sent => Err(JsonError::ErrorInside),
            _ => Err(JsonError::Syntax(self.read)),
        }
    }

    fn start(&mut self, byte: u8) -> Result<Option<Found>, JsonError> {
        match (self.frame, byte) {
            (Frame::Rows(_), b'{') => self.pass(State::FirstMember),
            (Frame::Array, b'[') => {
                self.state = State::MemberValue;
                None
            }
            (Frame::Document | Frame::Lines | Frame::EventSource, _) => {
                self.state = State::Bare;
                None
            }
            (Frame::Rows(_), _) => return Err(JsonError::Expected("an object")),
            (Frame::Array, _) => return Err(JsonError::Expected("an array")),
        };
        Ok(Some(Found::Start))
    }

    fn close(&mut self) -> Result<Option<Found>, JsonError> {
        let Frame::Rows(rows) = self.frame else {
            return Err(JsonError::Syntax(self.read));
        };
        if !self.names.iter().any(|name| name == rows) {
            let error = !self.sent && self.names.iter().any(|name| name == "error");
            return Err(if error {
                JsonError::ErrorInside
            } else {
                JsonError::Expected("an object with rows")
            });
        }
        Ok(self.pass(State::End))
    }

    /// Passes over one byte, after which a newline is layout.
    fn pass(&mut self, next: State) -> Option<Found> {
        self.read = self.read.saturating_add(1);
        self.spare = true;
        self.state = next;
        None
    }

    /// Is the value that is due the array of rows?
    fn is_rows(&self) -> bool {
        match self.frame {
            Frame::Rows(rows) => self.names.last().is_some_and(|name| name == rows),
            Frame::Array => true,
            Frame::Document | Frame::Lines | Frame::EventSource => false,
        }
    }

    fn name(&mut self) -> Result<Option<Found>, JsonError> {
        let Some(place) = self.value(MAX_MEMBER, State::Colon)? else {
            return Ok(None);
        };
        let name = edit::string(self.buffer.get(place).unwrap_or_default())?.into_owned();
        if self.names.contains(&name) {
            return Err(JsonError::DuplicateKey(name));
        }
        if self.names.len() >= MAX_MEMBERS {
            return Err(JsonError::TooLong(MAX_MEMBER));
        }
        self.names.push(name);
        Ok(None)
    }

    fn row_here(&mut self, next: State) -> Result<Option<Found>, JsonError> {
        let place = match self.value(self.max_row, next) {
            Err(JsonError::TooLong(_) | JsonError::TooDeep)
                if self.skips && self.buffer.get(self.read) == Some(&b'{') =>
            {
                self.ending = None;
                let skip = Skip::until(next);
                self.skip = Some(match self.sent {
                    true => skip.keeping_id(),
                    false => skip,
                });
                return Ok(self.skip_on());
            }
            place => place?,
        };
        let Some(place) = place else { return Ok(None) };
        let row = self.buffer.get(place.clone()).unwrap_or_default();
        match self.frame {
            Frame::Rows(_) if self.sent => (),
            Frame::Rows(_) | Frame::Lines | Frame::EventSource => refuse_error(row)?,
            Frame::Document | Frame::Array => (),
        }
        self.spare = false;
        Ok(Some(Found::Row(place)))
    }

    /// Goes on past a row that is not read.
    fn skip_on(&mut self) -> Option<Found> {
        let bytes = self.buffer.get(self.read..).unwrap_or_default();
        let end = self.skip.as_mut()?.feed(bytes);
        self.read = self.read.saturating_add(end.unwrap_or(bytes.len()));
        end?;
        let skip = self.skip.take()?;
        self.state = skip.next;
        self.spare = false;
        self.unread = skip.into_head();
        Some(Found::Unread)
    }

    /// The value that starts here, once all of it is there.
    fn value(&mut self, limit: usize, next: State) -> Result<Option<Range<usize>>, JsonError> {
        let start = self.read;
        let bytes = self.buffer.get(start..).unwrap_or_default();
        let spare = &mut self.brackets;
        let ending = self.ending.get_or_insert_with(|| {
            Ending::of(bytes.first().copied(), spare.take().unwrap_or_default())
        });
        let end = ending.feed(bytes)?;
        if end.unwrap_or(bytes.len()) > limit {
            return Err(JsonError::TooLong(limit));
        }
        let Some(end) = end else { return Ok(None) };
        let value = bytes.get(..end).unwrap_or_default();
        match value.first() {
            Some(b'{' | b'[') => std::str::from_utf8(value)
                .map(|_| ())
                .map_err(|_| JsonError::NotUtf8)?,
            Some(b'"') => edit::string(value).map(|_| ())?,
            Some(_) | None => {
                let mut cursor = Cursor::new(value)?;
                cursor.scalar()?;
                cursor.end()?;
            }
        }
        self.brackets = self.ending.take().and_then(Ending::into_brackets);
        self.read = start.saturating_add(end);
        self.spare = true;
        self.state = next;
        Ok(Some(start..self.read))
    }
}
