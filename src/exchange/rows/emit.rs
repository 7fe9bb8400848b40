//! One visible row, written inside the window and the frame.

use super::filter::RowFilter;
use super::frame::Layout;
use super::limit::Window;
use super::oversized::Unread;
use super::pages::Pages;
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
