//! One row that has come: written inside the window and the frame, left out, or held until its document is here.

use super::cursor::Tail;
use super::filter::RowFilter;
use super::frame::Layout;
use super::held::{Held, Watch};
use super::limit::Window;
use super::oversized::Unread;
use super::pages::{PageEnd, Pages};
use crate::exchange::context::Context;
use crate::exchange::redact::RowOutcome;
use crate::exchange::revisions::RevisionCache;
use crate::json::{JsonError, Row};

/// Where a row is written, and how many have been.
pub(crate) struct Output<'a> {
    pub(crate) layout: Layout,
    pub(crate) shown: &'a mut u64,
    /// Whose documents could not be read in their rows.
    pub(crate) unread: &'a mut Vec<String>,
    pub(crate) context: &'a Context,
    /// What was shown of these rows by pages before.
    pub(crate) pages: &'a mut dyn Pages,
}

/// Judges one row and writes it if it is visible and inside the window.
pub(crate) fn emit(
    filter: &mut dyn RowFilter,
    row: Row<'_>,
    cache: &mut RevisionCache,
    output: &mut Output<'_>,
    window: &mut Window,
    out: &mut Vec<u8>,
) -> Result<RowOutcome, JsonError> {
    let mark = out.len();
    output.layout.before(*output.shown == 0, out);
    let seen = match filter.row(row, cache, out) {
        Err(JsonError::TooLarge) => {
            out.truncate(mark);
            output.layout.before(*output.shown == 0, out);
            aside(filter, row, cache, output, out)?
        }
        judged => judged?,
    };
    let seen = match seen {
        RowOutcome::Shown if output.pages.shows_once() => once(filter, row, cache, output.pages)?,
        RowOutcome::Shown | RowOutcome::Hidden | RowOutcome::Pending => seen,
    };
    if window.take(seen) {
        *output.shown += 1;
        output.layout.after(filter.event_id(), out);
    } else {
        out.truncate(mark);
    }
    Ok(seen)
}

/// A visible row that a page before has held as well was shown then, or passed over.
fn once(
    filter: &dyn RowFilter,
    row: Row<'_>,
    cache: &mut RevisionCache,
    pages: &mut dyn Pages,
) -> Result<RowOutcome, JsonError> {
    let id = filter.source(row, cache)?;
    Ok(match pages.is_new(&id, row)? {
        true => RowOutcome::Shown,
        false => RowOutcome::Hidden,
    })
}

/// Judges what can be told of a row whose document takes too much to be judged.
fn aside(
    filter: &mut dyn RowFilter,
    row: Row<'_>,
    cache: &mut RevisionCache,
    output: &mut Output<'_>,
    out: &mut Vec<u8>,
) -> Result<RowOutcome, JsonError> {
    let Unread { row, id } = Unread::of(row.bytes(), output.context)?;
    output.unread.push(id);
    match filter.is_more_than_a_document() {
        true => filter.row(Row::aside(&row), cache, out),
        false => Ok(RowOutcome::Hidden),
    }
}

/// What a row needs that has just come.
pub(crate) struct Arrivals<'r> {
    pub(crate) remembers_rows: bool,
    pub(crate) pages: &'r mut dyn Pages,
    pub(crate) layout: Layout,
    pub(crate) filter: &'r mut dyn RowFilter,
    pub(crate) cache: &'r mut RevisionCache,
    pub(crate) end: &'r mut PageEnd,
    pub(crate) held: &'r mut Vec<Held>,
    pub(crate) watch: Option<&'r mut Watch>,
    pub(crate) passed: &'r mut u64,
    pub(crate) window: &'r mut Window,
    pub(crate) shown: &'r mut u64,
    pub(crate) out: &'r mut Vec<u8>,
    pub(crate) unread: &'r mut Vec<String>,
    pub(crate) context: &'r Context,
}

impl Arrivals<'_> {
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
            self.held.push(watch.hold(row, self.filter, self.cache)?);
            return Ok(());
        }
        if !self.held.is_empty() {
            self.held.push(Held::row(row));
            // Noted now, so that one round of reading serves the whole chunk.
            note(self.filter, row, self.cache, self.out)?;
            return Ok(());
        }
        let mut output = Output {
            layout: self.layout,
            shown: self.shown,
            unread: self.unread,
            context: self.context,
            pages: &mut *self.pages,
        };
        let (filter, cache, window) = (&mut *self.filter, &mut *self.cache, &mut *self.window);
        match emit(filter, row, cache, &mut output, window, self.out)? {
            RowOutcome::Pending => self.held.push(Held::row(row)),
            RowOutcome::Shown | RowOutcome::Hidden => *self.passed += 1,
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
    cache: &mut RevisionCache,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let mark = out.len();
    let judged = filter.row(row, cache, out);
    out.truncate(mark);
    match judged {
        Ok(_) | Err(JsonError::TooLarge) => Ok(()),
        Err(error) => Err(error),
    }
}
