//! The blocks of an eventsource feed: a row and its id, or a heartbeat.

use super::{Found, Splitter};
use crate::json::frame::State;
use crate::json::row::refuse_error;
use crate::json::skip::Skip;
use crate::json::{JsonError, events};

impl Splitter {
    pub(super) fn find_event(&mut self) -> Result<Option<Found>, JsonError> {
        loop {
            let start = self.read;
            let bytes = self.buffer.get(start..).unwrap_or_default();
            let length = match self.events.line(bytes, self.max_row) {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(None),
                Err(error) => return self.pass_over(error),
            };
            let line = bytes.get(..length).unwrap_or_default();
            let place = |value: &[u8], line: &[u8]| {
                let end = start.saturating_add(line.len());
                end.saturating_sub(value.len())..end
            };
            let read = match self.events.read(line) {
                Ok(read) => read,
                Err(error) => return self.pass_over(error),
            };
            self.read = start.saturating_add(length).saturating_add(1);
            match read {
                events::Line::Nothing => (),
                events::Line::Heartbeat => return Ok(Some(Found::Heartbeat)),
                events::Line::Data { value, line } => {
                    refuse_error(value)?;
                    self.brackets = None;
                    return Ok(Some(Found::Row(place(value, line))));
                }
                events::Line::Id { value, line } => {
                    return Ok(Some(Found::EventId(place(value, line))));
                }
            }
        }
    }

    /// Passes over the row that starts here, if that is what the error is about.
    fn pass_over(&mut self, error: JsonError) -> Result<Option<Found>, JsonError> {
        if !self.skips || !matches!(error, JsonError::TooLong(_) | JsonError::TooDeep) {
            return Err(error);
        }
        let bytes = self.buffer.get(self.read..).unwrap_or_default();
        let before = self.events.pass_over(bytes).ok_or(error)?;
        self.read = self.read.saturating_add(before);
        self.skip = Some(Skip::until(State::Events));
        Ok(self.skip_on())
    }
}
