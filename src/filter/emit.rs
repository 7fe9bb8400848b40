//! One visible row, written inside the window and the frame.

use crate::filter::known::Known;
use crate::filter::layout::Layout;
use crate::filter::rows::Judge;
use crate::filter::sight::Seen;
use crate::filter::window::Window;
use crate::json::{JsonError, Row};

/// Where a row is written, and how many have been.
pub(crate) struct Place<'a> {
    pub(crate) layout: Layout,
    pub(crate) shown: &'a mut u64,
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
    let seen = judge.row(row, known, out)?;
    if window.take(seen) {
        *place.shown += 1;
        place.layout.after(judge.event_id(), out);
    } else {
        out.truncate(mark);
    }
    Ok(seen)
}
