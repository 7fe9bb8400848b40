//! One visible row, written inside the window and the frame.

use super::frame::Layout;
use super::limit::Window;
use super::oversized::Unread;
use super::revisions::Known;
use super::row::Judge;
use super::sort_order::SortOrder;
use crate::exchange::context::Asker;
use crate::exchange::read::bookmark::Position;
use crate::exchange::redact::Seen;
use crate::json::{JsonError, Row};

/// Where a row is written, and how many have been.
pub(crate) struct Place<'a> {
    pub(crate) layout: Layout,
    pub(crate) shown: &'a mut u64,
    /// Whose documents could not be read in their rows.
    pub(crate) unread: &'a mut Vec<String>,
    pub(crate) asker: &'a Asker,
    /// What was shown of these rows by pages before.
    pub(crate) cursor: Option<(&'a mut Position, &'a mut SortOrder)>,
}

/// Judges one row and writes it if it is visible and inside the window.
pub(crate) fn emit(
    judge: &mut Judge,
    row: Row<'_>,
    known: &mut Known,
    place: &mut Place<'_>,
    window: &mut Window,
    out: &mut Vec<u8>,
) -> Result<Seen, JsonError> {
    let mark = out.len();
    place.layout.before(*place.shown == 0, out);
    let seen = match judge.row(row, known, out) {
        Err(JsonError::TooLarge) => {
            out.truncate(mark);
            place.layout.before(*place.shown == 0, out);
            aside(judge, row, known, place, out)?
        }
        judged => judged?,
    };
    let seen = match (&mut place.cursor, seen) {
        (Some((cursor, order)), Seen::Shown) => once(judge, row, known, (cursor, order))?,
        (Some(_) | None, seen) => seen,
    };
    if window.take(seen) {
        *place.shown += 1;
        place.layout.after(judge.event_id(), out);
    } else {
        out.truncate(mark);
    }
    Ok(seen)
}

/// A visible row that a page before has held as well was shown then, or passed over; so was one that stands before it.
fn once(
    judge: &Judge,
    row: Row<'_>,
    known: &mut Known,
    (cursor, order): (&mut Position, &mut SortOrder),
) -> Result<Seen, JsonError> {
    let id = judge.source(row, known)?;
    if cursor.has_shown(&id) || order.goes_back(row.bytes())? {
        return Ok(Seen::Hidden);
    }
    cursor.note_shown(&id);
    Ok(Seen::Shown)
}

/// Judges what can be told of a row whose document takes too much to be judged.
fn aside(
    judge: &mut Judge,
    row: Row<'_>,
    known: &mut Known,
    place: &mut Place<'_>,
    out: &mut Vec<u8>,
) -> Result<Seen, JsonError> {
    let Unread { row, id } = Unread::of(row.bytes(), place.asker)?;
    place.unread.push(id);
    match judge.is_more_than_a_document() {
        true => judge.row(Row::aside(&row), known, out),
        false => Ok(Seen::Hidden),
    }
}
