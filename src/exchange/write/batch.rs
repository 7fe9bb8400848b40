//! The body of `_bulk_docs` as it comes in: its documents one after the other, and what stands beside them.
//!
//! What a document means depends on `new_edits`, which may stand behind all of them (PouchDB puts it there), and of a
//! batch that can't be read to its end nothing is stored. So documents are held as they were sent until the batch is
//! here, and are then read, judged and stored part by part.
//!
//! Invariant: what is held is counted. The limit of a body is one for each document: a longer one is not held, and is
//! refused in its row.

use std::borrow::Cow;
use std::collections::VecDeque;

use http_body_util::BodyExt as _;

use super::bulk::{Batch, Entry, entry, refused_entry};
use super::refused::Refused;
use super::written::new_id;
use crate::body::{Body, Cut};
use crate::budget::{NoRoom, Share, weight};
use crate::caller::Caller;
use crate::exchange::local_names::Locals;
use crate::intake::json_body::{DEPTH, aside, bad_json};
use crate::json::{Event, JsonError, Splitter, Value, members, string};
use crate::refusal::Refusal;

/// Documents that together take so much when they are parsed are judged and stored together. One may take more.
const PART: usize = 8 * 1024 * 1024;
/// So many times what a part is long is left for judging it and sending it on.
const AHEAD: usize = 3;
/// What a document takes beside its bytes: its ids, what is found out about it, and its answer.
const ROW: usize = 1024;

const TOO_DEEP: &str = "a document may not nest so deeply";
const TOO_LONG: &str = "a document may not be so long, or nest so deeply";
const TOO_LARGE: &str = "the document takes too much memory";

/// A batch as the client sent it, which is here as a whole.
#[derive(Debug)]
pub(crate) struct SentBatch {
    new_edits: bool,
    rows: VecDeque<SentRow>,
    /// What the rows that are held are long.
    length: usize,
    /// What all rows take beside that.
    beside: usize,
    /// What the rows that are held will take when they are parsed.
    weight: usize,
    share: Option<Share>,
}

/// One document of it.
#[derive(Debug)]
enum SentRow {
    /// Its bytes, and what they will take when they are parsed.
    Document(Box<[u8]>, usize),
    /// Not to be read, under this id, and why.
    Unread(Option<String>, &'static str),
}

impl SentBatch {
    /// Reads the body, which is counted to this share. No document may be longer than `longest`.
    pub(crate) async fn read(
        (mut body, share): (Body, Option<Share>),
        longest: usize,
    ) -> Result<Self, Refusal> {
        let mut batch = Self {
            new_edits: true,
            rows: VecDeque::new(),
            length: 0,
            beside: 0,
            weight: 0,
            share,
        };
        let mut splitter = Splitter::of_batch(longest);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Cut::refusal)?.into_data() else {
                continue;
            };
            splitter.push(&data);
            while let Some(event) = splitter.next().map_err(|error| unreadable(&error))? {
                batch.take(event)?;
            }
            let ahead = batch.length.min(PART).saturating_mul(AHEAD);
            batch.count(splitter.buffered().saturating_add(ahead))?;
        }
        splitter.finish().map_err(|error| unreadable(&error))?;
        batch.count(0)?;
        Ok(batch)
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        match event {
            Event::Member { key, value } => {
                self.set(key, &Value::parse(value).map_err(|error| bad_json(&error))?)
            }
            Event::Row(row) => {
                let weight = weight(row);
                self.weight = self.weight.saturating_add(weight);
                self.length = self.length.saturating_add(row.len());
                self.push(SentRow::Document(row.into(), weight));
                Ok(())
            }
            Event::Unread(id) => {
                let id = string(id).ok().map(Cow::into_owned);
                let length = id.as_ref().map_or(0, String::len);
                self.beside = self.beside.saturating_add(length);
                self.push(SentRow::Unread(id, TOO_LONG));
                Ok(())
            }
            Event::Start
            | Event::RowsStart
            | Event::RowsEnd
            | Event::Heartbeat
            | Event::EventId(_)
            | Event::End => Ok(()),
        }
    }

    fn push(&mut self, row: SentRow) {
        self.beside = self.beside.saturating_add(ROW);
        self.rows.push_back(row);
    }

    /// A member beside the documents.
    fn set(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        match (name, value) {
            ("new_edits", Value::Bool(flag)) => self.new_edits = *flag,
            ("w", _) | ("all_or_nothing", Value::Bool(false)) => {}
            _ => return Err(Refusal::Malformed(format!("`{name}` is not known here"))),
        }
        Ok(())
    }

    /// Counts what is held, and so many bytes more.
    fn count(&mut self, more: usize) -> Result<(), NoRoom> {
        let held = self.length.saturating_add(self.beside).saturating_add(more);
        self.share.as_mut().map_or(Ok(()), |share| share.set(held))
    }

    /// Whether every document of a batch of several parts is one, so that nothing is stored where another is none.
    pub(crate) fn check(
        &self,
        mut share: Share,
        locals: &Locals,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        if self.weight <= PART {
            return Ok(());
        }
        aside(self.length, || {
            for row in &self.rows {
                let weight = match row {
                    SentRow::Document(_, weight) => *weight,
                    SentRow::Unread(..) => continue,
                };
                match share.set(weight) {
                    Ok(()) => read(row, self.new_edits, locals, caller).map(drop)?,
                    // It will be refused in its row.
                    Err(NoRoom::Ever) => {}
                    Err(full) => return Err(full.into()),
                }
            }
            Ok(())
        })
    }

    /// The next documents, and the share that counts them; none behind the last.
    pub(crate) fn next(
        &mut self,
        mut share: Share,
        locals: &Locals,
        caller: &Caller,
    ) -> Result<Option<(Batch, Share)>, Refusal> {
        let mut rows = Vec::new();
        let mut length = 0_usize;
        while let Some(row) = self.rows.pop_front() {
            let SentRow::Document(bytes, weight) = &row else {
                rows.push(row);
                continue;
            };
            let together = share.weight().saturating_add(*weight);
            let is_first = share.weight() == 0;
            if !is_first && (together > PART || share.set(together).is_err()) {
                self.rows.push_front(row);
                break;
            }
            self.length = self.length.saturating_sub(bytes.len());
            length = length.saturating_add(bytes.len());
            match is_first.then(|| share.set(together)) {
                None | Some(Ok(())) => rows.push(row),
                Some(Err(NoRoom::Ever)) => rows.push(SentRow::Unread(id(bytes), TOO_LARGE)),
                Some(Err(full)) => return Err(full.into()),
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let new_edits = self.new_edits;
        let entries = aside(length, || {
            let rows = rows.into_iter();
            rows.map(|row| read(&row, new_edits, locals, caller))
                .collect::<Result<_, _>>()
        })?;
        self.count(0)?;
        Ok(Some((Batch::of(new_edits, entries), share)))
    }
}

fn read(
    row: &SentRow,
    new_edits: bool,
    locals: &Locals,
    caller: &Caller,
) -> Result<Entry, Refusal> {
    let bytes = match row {
        SentRow::Document(bytes, _) => bytes,
        SentRow::Unread(id, why) => {
            let id = id
                .clone()
                .or_else(new_id)
                .ok_or(Refusal::Internal("no random bytes"))?;
            let why = Refused::forbidden(why);
            return Ok(Entry::Refused { id, why });
        }
    };
    let document = Value::parse(bytes).map_err(|error| bad_json(&error))?;
    // It stands in a list in an object.
    match document.depth() > DEPTH.saturating_sub(2) {
        true => refused_entry(&document, TOO_DEEP),
        false => entry(document, new_edits, locals, caller),
    }
}

/// The id of a document that is not read any further.
fn id(document: &[u8]) -> Option<String> {
    let mut members = members(document).map_while(Result::ok);
    let id = members.find(|member| member.key == "_id")?;
    string(id.value).ok().map(Cow::into_owned)
}

fn unreadable(error: &JsonError) -> Refusal {
    if matches!(error, JsonError::Expected(_)) {
        return Refusal::BadRequest("the body must be an object with a list `docs`");
    }
    bad_json(error)
}

#[cfg(test)]
mod tests;
