//! The edge, byte by byte: over TLS, through the real server, intake and client, to an upstream that writes
//! down what it gets.
//!
//! Each case of `tests/corpus/raw` is either refused with no complete request upstream, or becomes exactly
//! the well-formed request it says.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test says what must hold by failing"
)]

mod blocks;
mod cases;
mod endings;
mod frames;
mod matrix;
mod proxy;
mod shares;
mod upstream;
