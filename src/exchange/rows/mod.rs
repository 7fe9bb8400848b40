//! Rows that stream: judged and written one by one.

pub(crate) mod again;
pub(crate) mod answer;
pub(crate) mod cursor;
pub(crate) mod emit;
pub(crate) mod feed_clock;
pub(crate) mod filter;
pub(crate) mod frame;
pub(crate) mod held;
pub(crate) mod limit;
pub(crate) mod list_row;
pub(crate) mod meanwhile;
pub(crate) mod multi_query;
pub(crate) mod oversized;
pub(crate) mod pages;
pub(crate) mod reply;
pub(crate) mod stream;
