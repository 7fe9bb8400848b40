//! JSON as CouchDB speaks it: values that keep their text, fields cut out of bytes, rows framed out of streams.
//!
//! `value` is the tree (with `number`), `token` the grammar, `scan` the fast structure proof.
//! `path` and `fields` say what is visible, `spot` on the way down; `cut` applies it by walking, `search` by searching,
//! and `restore` undoes it for writers. `edit` walks one object, `rows` a stream in one `frame`, `row` one row of it; `skip` passes over one.
//!
//! Invariant: whatever is ambiguous (duplicate names, broken structure, wrong encoding) is an error, never a guess;
//! what is shown is shown byte for byte.

mod cut;
mod edit;
mod events;
mod fields;
mod frame;
mod names;
mod number;
mod path;
mod restore;
mod row;
mod rows;
mod scan;
mod search;
mod shallow;
mod skip;
mod spot;
mod token;
mod value;

#[cfg(test)]
mod tests;

pub use edit::{Elements, Member, Members, elements, members, quote, repeated_members, string};
pub use fields::{Clause, Fields, Kind, Visibility};
pub use frame::{Event, Frame};
pub use number::Number;
pub use path::{FieldPath, PathError, Step};
pub use restore::HiddenFieldSent;
pub use row::Row;
pub use rows::Splitter;
pub use shallow::shallow;
pub use spot::is_couchdbs_own;
pub use value::{Object, Value};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

/// Why bytes are not taken as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The grammar is broken at this byte.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// The text ends before its value does.
    #[error("the JSON text ends too early")]
    Truncated,
    /// Two members of one object have the same name.
    #[error("the member `{0}` occurs twice")]
    DuplicateKey(String),
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("the JSON text nests too deeply")]
    TooDeep,
    /// The bytes are not UTF-8.
    #[error("the JSON text is not UTF-8")]
    NotUtf8,
    /// A row, or a member beside the rows, is longer than its limit.
    #[error("a row or member is longer than {0} bytes")]
    TooLong(usize),
    /// It would take more memory than there is for one caller.
    #[error("the JSON text takes too much memory")]
    TooLarge,
    /// What others hold leaves no memory for it.
    #[error("there is no memory left for the JSON text")]
    NoRoom,
    /// The text is not of the kind that was asked for: an object, array or string.
    #[error("expected {0}")]
    Expected(&'static str),
    /// CouchDB reported an error in the middle of its answer.
    #[error("the answer carries an error where a row is due")]
    ErrorInside,
}
