//! The frames that rows travel in, laid out as CouchDB lays them out.

use crate::json::{Frame, quote};

/// The frame of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `{"rows":[…]}`, `{"docs":[…]}`, `{"results":[…]}`
    Rows(&'static str),
    /// `[…]`
    Array,
    /// A line for each row.
    Lines,
    /// Server-Sent Events.
    Events,
}

/// A member after the rows.
pub(crate) type Tail<'a> = (&'static str, &'a str);

impl Layout {
    /// The frame in which CouchDB sends the same.
    pub(crate) fn upstream(self) -> Frame {
        match self {
            Self::Rows(member) => Frame::Rows(member),
            Self::Array => Frame::Array,
            Self::Lines => Frame::Lines,
            Self::Events => Frame::EventSource,
        }
    }

    /// What stands before the first row.
    pub(crate) fn open(self, out: &mut Vec<u8>) {
        match self {
            Self::Rows(member) => {
                out.push(b'{');
                quote(member, out);
                out.extend_from_slice(b":[\r\n");
            }
            Self::Array => out.push(b'['),
            Self::Lines | Self::Events => {}
        }
    }

    /// What stands before a row: `first` when none has been shown yet.
    pub(crate) fn before(self, first: bool, out: &mut Vec<u8>) {
        match (self, first) {
            (Self::Rows(_) | Self::Array, false) => out.extend_from_slice(b",\r\n"),
            (Self::Rows(_) | Self::Array, true) | (Self::Lines, _) => {}
            (Self::Events, _) => out.extend_from_slice(b"data: "),
        }
    }

    /// What stands behind a row; `id` is its sequence in an event stream.
    pub(crate) fn after(self, id: &str, out: &mut Vec<u8>) {
        match self {
            Self::Rows(_) | Self::Array => {}
            Self::Lines => out.push(b'\n'),
            Self::Events => {
                out.extend_from_slice(b"\nid: ");
                quote(id, out);
                out.extend_from_slice(b"\n\n");
            }
        }
    }

    /// What keeps the connection alive while there is nothing to show.
    pub(crate) fn heartbeat(self, out: &mut Vec<u8>) {
        match self {
            Self::Rows(_) | Self::Lines | Self::Array => out.push(b'\n'),
            Self::Events => out.extend_from_slice(b"event: heartbeat\ndata: \n\n"),
        }
    }

    /// What stands behind the last row.
    pub(crate) fn close(self, tail: Option<Tail<'_>>, out: &mut Vec<u8>) {
        match self {
            Self::Rows(_) => {
                out.extend_from_slice(b"\r\n]");
                if let Some((name, value)) = tail {
                    out.extend_from_slice(b",\r\n");
                    quote(name, out);
                    out.push(b':');
                    quote(value, out);
                }
                out.extend_from_slice(b"}\n");
            }
            Self::Array => out.extend_from_slice(b"]\n"),
            Self::Lines => {
                if let Some((name, value)) = tail {
                    out.push(b'{');
                    quote(name, out);
                    out.push(b':');
                    quote(value, out);
                    out.extend_from_slice(b"}\n");
                }
            }
            Self::Events => {}
        }
    }
}
