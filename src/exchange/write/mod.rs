//! What is written: read, judged, stored, answered.

pub(crate) mod answer;
pub(crate) mod attachment;
pub(crate) mod attachments;
pub(crate) mod batch;
pub(crate) mod bodies;
pub(crate) mod bulk;
pub(crate) mod copy;
pub(crate) mod edit;
pub(crate) mod forced;
pub(crate) mod form;
pub(crate) mod judge;
pub(crate) mod leaves;
pub(crate) mod refused;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
pub(crate) mod tombstones;
pub(crate) mod unjudged;
pub(crate) mod written;
