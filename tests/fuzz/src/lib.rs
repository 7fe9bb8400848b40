//! What the fuzz targets check: one function for each, which panics where something does not hold.
//!
//! `targets/` hands libFuzzer's bytes to them, and `tests/corpus.rs` the committed corpus, on stable and in every
//! `cargo test`. They know couchwarden as everybody does, by what its `lib.rs` makes public.
//!
//! Invariant: any bytes at all are fine as input; whatever panics is a finding.

mod bulk;
mod json;
mod model;
mod multipart;
mod path;
mod query;
mod route;

pub use bulk::bulk;
pub use json::json;
pub use multipart::multipart;
pub use path::path;
pub use query::query;
pub use route::route;
