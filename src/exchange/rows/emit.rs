//! One row that has come: written inside the window and the frame, left out, or held until its document is here.

use super::cursor::Tail;
use super::filter::RowFilter;
use super::frame::Layout;
use super::held::{Held, Watch};
use super::limit::Window;
use super::oversized::Unread;
use super::pages::{PageEnd, Pages};
use crate::exchange::context::Asker;
use crate::exchange::redact::Seen;
use crate::exchange::revisions::Known;
use crate::json::{JsonError, Row};

/// Where a row is written, and how many have been.
pub(crate) struct Place<'a> {
    pub(crate) layout: Layout,
    pub(crate) shown: &'a mut u64,
    /// Whose documents could not be read in their rows.
    pub(crate) unread: &'a mut Vec<String>,
    pub(crate) asker: &'a Asker,
    /// What was shown of these rows by pages before.
    pub(crate) pages: &'a mut dyn Pages,
}

/// Judges one row and writes it if it is visible and inside the window.
pub(crate) fn emit(
    filter: &mut dyn RowFilter,
    row: Row<'_>,
    known: &mut Known,
    place: &mut Place<'_>,
    window: &mut Window,
    out: &mut Vec<u8>,
) -> Result<Seen, JsonError> {
    let mark = out.len();
    place.layout.before(*place.shown == 0, out);
    let seen = match filter.row(row, known, out) {
        Err(JsonError::TooLarge) => {
            out.truncate(mark);
            place.layout.before(*place.shown == 0, out);
            aside(filter, row, known, place, out)?
        }
        judged => judged?,
    };
    let seen = match seen {
        Seen::Shown if place.pages.shows_once() => once(filter, row, known, place.pages)?,
        Seen::Shown | Seen::Hidden | Seen::Later => seen,
    };
    if window.take(seen) {
        *place.shown += 1;
        place.layout.after(filter.event_id(), out);
    } else {
        out.truncate(mark);
    }
    Ok(seen)
}

/// A visible row that a page before has held as well was shown then, or passed over.
fn once(
    filter: &dyn RowFilter,
    row: Row<'_>,
    known: &mut Known,
    pages: &mut dyn Pages,
) -> Result<Seen, JsonError> {
    let id = filter.source(row, known)?;
    Ok(match pages.is_new(&id, row)? {
        true => Seen::Shown,
        false => Seen::Hidden,
    })
}

/// Judges what can be told of a row whose document takes too much to be judged.
fn aside(
    filter: &mut dyn RowFilter,
    row: Row<'_>,
    known: &mut Known,
    place: &mut Place<'_>,
    out: &mut Vec<u8>,
) -> Result<Seen, JsonError> {
    let Unread { row, id } = Unread::of(row.bytes(), place.asker)?;
    place.unread.push(id);
    match filter.is_more_than_a_document() {
        true => filter.row(Row::aside(&row), known, out),
        false => Ok(Seen::Hidden),
    }
}

/// What a row needs that has just come.
pub(crate) struct Desk<'r> {
    pub(crate) remembers_rows: bool,
    pub(crate) pages: &'r mut dyn Pages,
    pub(crate) layout: Layout,
    pub(crate) filter: &'r mut dyn RowFilter,
    pub(crate) known: &'r mut Known,
    pub(crate) end: &'r mut PageEnd,
    pub(crate) held: &'r mut Vec<Held>,
    pub(crate) watch: Option<&'r mut Watch>,
    pub(crate) passed: &'r mut u64,
    pub(crate) window: &'r mut Window,
    pub(crate) shown: &'r mut u64,
    pub(crate) out: &'r mut Vec<u8>,
    pub(crate) unread: &'r mut Vec<String>,
    pub(crate) asker: &'r Asker,
}

impl Desk<'_> {
    /// Writes it, leaves it out, or lets it wait.
    pub(crate) fn row(&mut self, row: Row<'_>) -> Result<(), JsonError> {
        if self.pages.has_come(row)? {
            return Ok(());
        }
        self.end.rows += 1;
        if self.remembers_rows {
            self.end.tail = Tail::with(self.end.tail.take(), row)?;
        }
        if self.window.is_full() {
            return Ok(());
        }
        if let Some(watch) = &mut self.watch {
            self.held.push(watch.hold(row, self.filter, self.known)?);
            return Ok(());
        }
        if !self.held.is_empty() {
            self.held.push(Held::row(row));
            // Noted now, so that one round of reading serves the whole chunk.
            note(self.filter, row, self.known, self.out)?;
            return Ok(());
        }
        let mut place = Place {
            layout: self.layout,
            shown: self.shown,
            unread: self.unread,
            asker: self.asker,
            pages: &mut *self.pages,
        };
        let (filter, known, window) = (&mut *self.filter, &mut *self.known, &mut *self.window);
        match emit(filter, row, known, &mut place, window, self.out)? {
            Seen::Later => self.held.push(Held::row(row)),
            Seen::Shown | Seen::Hidden => *self.passed += 1,
        }
        Ok(())
    }

    /// A row that is not looked at.
    pub(crate) fn pass_over(&mut self) {
        self.end.rows += 1;
        if !self.window.is_full() {
            match self.held.last_mut() {
                Some(held) => held.stands_for += 1,
                None => *self.passed += 1,
            }
        }
    }
}

/// Judges a row only to note what it needs.
pub(crate) fn note(
    filter: &mut dyn RowFilter,
    row: Row<'_>,
    known: &mut Known,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let mark = out.len();
    let judged = filter.row(row, known, out);
    out.truncate(mark);
    match judged {
        Ok(_) | Err(JsonError::TooLarge) => Ok(()),
        Err(error) => Err(error),
    }
}
