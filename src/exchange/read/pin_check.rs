//! CouchDB's own groups, where they hold rows of the caller's pin only. It groups keys that collate alike, so a group of
//! `alice` can hold what stands under `ali\u00ADce` too; where a result can't be made here, that is looked up first.
//!
//! Invariant: the rows that were looked at are those that are added up: both answers name the state of the index.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame as BodyFrame;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};

use crate::body::{Body, Cut, boxed};
use crate::budget::Share;
use crate::client::Answered;
use crate::exchange::context::Context;
use crate::exchange::rows::list_row::ListRow;
use crate::exchange::rows::pages::list_part;
use crate::json::{Event, Frame, JsonError, Splitter, Value};
use crate::policy::ViewLens;
use crate::refusal::Refusal;
use crate::route::query::{Update, ViewQuery};

/// A state of an index, as `update_seq` names it: the sum of the sequences of its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State(String);

impl State {
    /// Reads an `update_seq`. What stands behind the sum is in no order.
    fn read(json: &[u8]) -> Result<Self, JsonError> {
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
fn as_it_is(query: &mut ViewQuery) {
    query.update = Some(Update::False);
}

/// The groups of CouchDB's in this range, once every row in it was seen to be inside the pin.
///
/// Both answers are begun, and seen to be of one state, before either is read: however many rows there are, nothing is
/// lost unless the index moves on in that moment.
///
/// Security: what CouchDB has added up must be what was looked at. The index only moves on, and what was begun later is
/// of no earlier state of any shard, so where the sums of their sequences are equal the shards are as well.
/// (`other_functions_are_not_run_over_rows_that_only_collate_like_the_pin`)
///
/// # Errors
///
/// [`Refusal::Forbidden`] where a row is not, [`Refusal::Unavailable`] where the index does not hold still.
pub(crate) async fn groups(
    context: &Context,
    lens: &ViewLens,
    range: &ViewQuery,
) -> Result<Body, Refusal> {
    let mut rows = range.clone();
    (rows.reduce, rows.group) = (Some(false), None);
    let mut sums = range.clone();
    as_it_is(&mut sums);
    for _ in 0..ATTEMPTS {
        let mut looked = Opened::ask(context, &rows).await?;
        let inside = looked.until(Some(lens), |opened| opened.state.is_some());
        if !inside.await? {
            return Err(OUTSIDE);
        }
        // Once it has been brought up to date it is new enough, and may stay as it is.
        as_it_is(&mut rows);
        let mut summed = Opened::ask(context, &sums).await?;
        summed.keep();
        summed.until(None, |opened| opened.state.is_some()).await?;
        if looked.state.is_none() {
            return Err(Cut::Filter.refusal());
        }
        if looked.state != summed.state {
            continue;
        }
        return match looked.until(Some(lens), |_| false).await? {
            true => Ok(summed.into_body()),
            false => Err(OUTSIDE),
        };
    }
    Err(Refusal::Unavailable(1))
}

/// How often it is tried to begin both in one state.
const ATTEMPTS: usize = 100;

const OUTSIDE: Refusal = Refusal::Forbidden("results of this view are not open to you");

/// An answer that is read as far as it must be.
struct Opened {
    upstream: Answered,
    splitter: Splitter,
    /// The state of the index, once it has told it.
    state: Option<State>,
    /// What has been read, where it is read again.
    read: Option<Vec<Bytes>>,
    /// How many bytes that are.
    kept: usize,
    /// Of that, and of the row that has begun.
    share: Share,
    ended: bool,
}

impl Opened {
    async fn ask(context: &Context, query: &ViewQuery) -> Result<Self, Refusal> {
        Ok(Self {
            upstream: context.first(list_part(query)).await?,
            splitter: Splitter::new(Frame::Rows("rows"), context.largest_row()),
            state: None,
            read: None,
            kept: 0,
            share: context.share(),
            ended: false,
        })
    }

    /// Keeps what is read from now on.
    fn keep(&mut self) {
        self.read = Some(Vec::new());
    }

    /// Reads on until this holds, or to the end. Whether all rows so far are inside the pin.
    async fn until(
        &mut self,
        lens: Option<&ViewLens>,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<bool, Refusal> {
        let broken = |_| Cut::Filter.refusal();
        while !self.ended && !enough(self) {
            let frame = self.upstream.frame().await.transpose();
            match frame.map_err(Cut::refusal)? {
                Some(frame) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.splitter.push(&data);
                    if let Some(read) = &mut self.read {
                        self.kept = self.kept.saturating_add(data.len());
                        read.push(data);
                    }
                }
                None => {
                    self.splitter.finish().map_err(broken)?;
                    self.ended = true;
                }
            }
            let held = self.kept.saturating_add(self.splitter.buffered());
            self.share.set(held)?;
            let inside = absorb(&mut self.splitter, lens, &mut self.state);
            if !inside.map_err(broken)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What has been read, and the rest.
    fn into_body(self) -> Body {
        let read = self.read.unwrap_or_default().into_iter();
        let share = self.share;
        let read = stream::iter(read).map(move |data| {
            let _counted = &share;
            Ok(BodyFrame::data(data))
        });
        boxed(StreamBody::new(read.chain(BodyStream::new(self.upstream))))
    }
}

/// Whether all rows so far are inside the pin.
fn absorb(
    splitter: &mut Splitter,
    lens: Option<&ViewLens>,
    state: &mut Option<State>,
) -> Result<bool, JsonError> {
    while let Some(event) = splitter.next()? {
        match event {
            Event::Member {
                key: "update_seq",
                value,
            } => *state = Some(State::read(value)?),
            Event::Row(_) => {
                let Some(lens) = lens else { continue };
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
