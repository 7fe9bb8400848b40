//! The answer, seen through the permit's lens while it streams.
//!
//! `answer` makes what is sent, `stream` drives it row by row and `multipart` part by part, `rows` knows the shapes
//! of rows and `sight` judges each document in them; the rest is one file for each endpoint. `offline` is for
//! the fuzz targets.
//!
//! Invariant: nothing reaches a client but an [`Answer`]; a row is shown only after it was judged; a filter
//! that fails cuts the connection, it never falls back to pass-through.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod attachments;
pub(crate) mod copy;
pub(crate) mod design;
pub(crate) mod diff;
pub(crate) mod errors;
pub(crate) mod feeds;
pub(crate) mod find;
pub(crate) mod form;
pub(crate) mod gaps;
pub(crate) mod head;
pub(crate) mod indexes;
pub(crate) mod info;
pub(crate) mod lease;
pub(crate) mod lists;
pub(crate) mod locals;
pub(crate) mod single;
pub(crate) mod tombstones;
pub(crate) mod unjudged;
pub(crate) mod writes;

mod accept;
mod again;
mod bookmark;
mod changes;
mod document;
mod emit;
mod exact;
mod known;
mod layout;
mod leaves;
mod meanwhile;
pub(crate) mod multipart;
mod offline;
mod pages;
mod parts;
mod project;
mod pulse;
mod reduce;
mod reply;
mod rows;
mod several;
mod sight;
mod sort_order;

mod stream;
mod tail;
mod unread;
mod views;
mod window;

pub use answer::Answer;
pub use offline::in_parts;

#[cfg(test)]
mod tests;
