//! How CouchDB lays out its answers, and what they hold.
//!
//! Invariant: the members beside the rows, the rows and the end come as events in the order of the bytes.

/// How an answer is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The body is one value: one row. A bare number or word needs white space after it.
    Document,
    /// `[row, row]`
    Array,
    /// `{"…":…,"rows":[row, row],"…":…}`, with the name of the member that holds the rows.
    Rows(&'static str),
    /// One object on each line: the continuous feed.
    Lines,
    /// `data:` and `id:` lines: the eventsource feed.
    EventSource,
}

/// What a frame holds, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The frame has begun.
    Start,
    /// A top-level member beside the rows.
    Member {
        /// Its name, unescaped.
        key: &'a str,
        /// Its value.
        value: &'a [u8],
    },
    /// The rows begin.
    RowsStart,
    /// A row: one JSON value without the white space around it, UTF-8, its structure proven.
    Row(&'a [u8]),
    /// A row that is too long or too deep, of which only the beginning is there, unproven; in a batch its `_id`.
    Unread(&'a [u8]),
    /// The rows have ended.
    RowsEnd,
    /// A newline beyond those of the layout, or a heartbeat of an eventsource feed: to be passed on at once.
    Heartbeat,
    /// The value of the `id:` line that follows a row of an eventsource feed.
    EventId(&'a [u8]),
    /// The frame is complete. Feeds of lines and events have no such end.
    End,
}

/// What is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Start,
    FirstMember,
    Name,
    Colon,
    MemberValue,
    AfterMember,
    FirstRow,
    Row,
    AfterRow,
    /// The one row of a document, or one of those on lines.
    Bare,
    AfterLine,
    Events,
    End,
    Done,
    Broken,
}
