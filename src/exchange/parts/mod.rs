//! Bodies in several parts (RFC 2046 section 5.1).

pub(crate) mod answers;
pub(crate) mod multipart;
pub(crate) mod related;
