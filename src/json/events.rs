//! The lines of an eventsource feed, as CouchDB writes them.
//!
//! Invariant: one block holds one row and then its id, or is a heartbeat; any other shape is an error.

use super::JsonError;
use super::token::Cursor;

/// The block that is being read, line by line.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// So much of the line has no newline in it.
    scanned: usize,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Empty,
    Beat,
    /// A row has been passed over, its line end is due.
    Passed,
    Row,
    Id,
}

/// What a line says; values come with the line without its line end, whose last bytes they are.
pub(super) enum Line<'a> {
    Nothing,
    Heartbeat,
    Data { value: &'a [u8], line: &'a [u8] },
    Id { value: &'a [u8], line: &'a [u8] },
}

impl Block {
    /// The length of the first line without its newline, once that is there.
    pub(super) fn line(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, JsonError> {
        let fresh = bytes.get(self.scanned..).unwrap_or_default();
        let length = memchr::memchr(b'\n', fresh).map(|place| self.scanned.saturating_add(place));
        if length.unwrap_or(bytes.len()) > limit.saturating_add(b"data: \r".len()) {
            return Err(JsonError::TooLong(limit));
        }
        self.scanned = if length.is_some() { 0 } else { bytes.len() };
        Ok(length)
    }

    /// Takes one line.
    pub(super) fn read<'a>(&mut self, line: &'a [u8]) -> Result<Line<'a>, JsonError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // To a browser a carriage return ends a line, wherever it stands.
        if memchr::memchr(b'\r', line).is_some() {
            return Err(JsonError::Syntax(0));
        }
        let (name, value) =
            match memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon)) {
                Some((name, value)) => (
                    name,
                    value
                        .strip_prefix(b": ")
                        .or(value.strip_prefix(b":"))
                        .unwrap_or(value),
                ),
                None => (line, Default::default()),
            };
        match (name, self.stage) {
            (b"", Stage::Passed) if line.is_empty() => {
                self.stage = Stage::Row;
                Ok(Line::Nothing)
            }
            (b"", _) if line.is_empty() => {
                let closed = std::mem::take(&mut self.stage);
                Ok(if matches!(closed, Stage::Empty | Stage::Beat) {
                    Line::Heartbeat
                } else {
                    Line::Nothing
                })
            }
            (b"", Stage::Empty) => Ok(Line::Nothing),
            (b"event", Stage::Empty) if value == b"heartbeat" => {
                self.stage = Stage::Beat;
                Ok(Line::Nothing)
            }
            (b"data", Stage::Beat) if value.is_empty() => Ok(Line::Nothing),
            (b"data", Stage::Empty) => {
                let mut cursor = Cursor::new(value)?;
                cursor.white();
                cursor.value(0)?;
                cursor.end()?;
                self.stage = Stage::Row;
                Ok(Line::Data { value, line })
            }
            (b"id", Stage::Row) => {
                std::str::from_utf8(value).map_err(|_| JsonError::NotUtf8)?;
                self.stage = Stage::Id;
                Ok(Line::Id { value, line })
            }
            _ if name.starts_with(b"{") => Err(JsonError::ErrorInside),
            _ => Err(JsonError::Syntax(0)),
        }
    }

    /// Where the object begins of a row that is too long or too deep: the rest of its line is passed over by another.
    pub(super) fn pass_over(&mut self, bytes: &[u8]) -> Option<usize> {
        let label: [&[u8]; 2] = [b"data: {", b"data:{"];
        let label = label.into_iter().find(|label| bytes.starts_with(label));
        let label = label.filter(|_| self.stage == Stage::Empty)?;
        *self = Self {
            scanned: 0,
            stage: Stage::Passed,
        };
        Some(label.len().saturating_sub(1))
    }

    /// Is no block open, and no line?
    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Empty
    }
}
