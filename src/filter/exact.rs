//! Whether CouchDB's own groups hold rows of the caller's pin only. It groups keys that collate alike, so a group of
//! `alice` can hold what stands under `ali\u00ADce` too; where a result can't be made here, that is looked up first.
//!
//! Invariant: the rows that were looked at are those that are added up: both answers name the state of the index.

use std::collections::VecDeque;

use http_body_util::BodyExt as _;

use crate::body::Cut;
use crate::filter::answer::first;
use crate::filter::ask::Asker;
use crate::filter::pages::list_part;
use crate::filter::rows::ListRow;
use crate::json::{Event, Frame, JsonError, Splitter, Value};
use crate::policy::ViewLens;
use crate::refusal::Refusal;
use crate::route::query::{Update, ViewQuery};

/// A state of an index, as `update_seq` names it: the sum of the sequences of its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State(String);

impl State {
    /// Reads an `update_seq`. What stands behind the sum is in no order.
    pub(crate) fn read(json: &[u8]) -> Result<Self, JsonError> {
        let sequence = match Value::parse(json)? {
            Value::String(text) => text,
            Value::Number(number) => number.as_str().to_owned(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(JsonError::Expected("an update sequence"));
            }
        };
        let sum = sequence.split('-').next().unwrap_or_default();
        Ok(Self(sum.to_owned()))
    }
}

/// Asks for the newest rows of the same copies of the index, and for its state.
pub(crate) fn pin_down(query: &mut ViewQuery) {
    (query.stale, query.update) = (None, None);
    query.stable = Some(true);
    query.update_seq = true;
    query.sorted = None;
}

/// Asks for the index as it is, which has just been brought up to date: what is written meanwhile would move it on.
pub(crate) fn as_it_is(query: &mut ViewQuery) {
    query.update = Some(Update::False);
}

/// The state of the index in which every row of these ranges is inside the pin; none where there is no range.
///
/// # Errors
///
/// [`Refusal::Forbidden`] where a row is not.
pub(crate) async fn state(
    asker: &Asker,
    lens: &ViewLens,
    ranges: &VecDeque<ViewQuery>,
) -> Result<Option<State>, Refusal> {
    let mut known = None;
    for range in ranges {
        let mut range = range.clone();
        if known.is_some() {
            as_it_is(&mut range);
        }
        let found = look(asker, lens, &range).await?;
        // Something was written meanwhile.
        if known.as_ref().is_some_and(|known| *known != found) {
            return Err(Refusal::Unavailable(1));
        }
        known = Some(found);
    }
    Ok(known)
}

async fn look(asker: &Asker, lens: &ViewLens, range: &ViewQuery) -> Result<State, Refusal> {
    let mut query = range.clone();
    (query.reduce, query.group) = (Some(false), None);
    let mut upstream = first(asker, list_part(&query)).await?;
    let mut splitter = Splitter::new(Frame::Rows("rows"), asker.largest_row());
    let mut state = None;
    loop {
        let frame = upstream.frame().await.transpose().map_err(Cut::refusal)?;
        let ended = frame.is_none();
        match frame {
            Some(frame) => splitter.push(&frame.into_data().unwrap_or_default()),
            None => splitter.finish().map_err(|_| Cut::Filter.refusal())?,
        }
        let inside = absorb(&mut splitter, lens, &mut state);
        if !inside.map_err(|_| Cut::Filter.refusal())? {
            return Err(Refusal::Forbidden(
                "results of this view are not open to you",
            ));
        }
        if ended {
            return state.ok_or(Cut::Filter.refusal());
        }
    }
}

/// Whether all rows so far are inside the pin.
fn absorb(
    splitter: &mut Splitter,
    lens: &ViewLens,
    state: &mut Option<State>,
) -> Result<bool, JsonError> {
    while let Some(event) = splitter.next()? {
        match event {
            Event::Member {
                key: "update_seq",
                value,
            } => *state = Some(State::read(value)?),
            Event::Row(_) => {
                let row = ListRow::read(splitter.row())?;
                let key = row.key.ok_or(JsonError::Expected("a row of a view"))?;
                if !lens.key_is_inside(&Value::parse(key)?) {
                    return Ok(false);
                }
            }
            Event::Member { .. }
            | Event::Unread(_)
            | Event::Start
            | Event::RowsStart
            | Event::RowsEnd
            | Event::Heartbeat
            | Event::EventId(_)
            | Event::End => {}
        }
    }
    Ok(true)
}
