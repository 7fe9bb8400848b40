//! CouchDB's Mango: selectors, read and evaluated as CouchDB does, and its order of JSON values.

pub(in crate::policy) mod collate;
pub(in crate::policy) mod condition;
pub(in crate::policy) mod constant;
pub(in crate::policy) mod matching;
pub(in crate::policy) mod negation;
pub(in crate::policy) mod normal;
pub(in crate::policy) mod selector;
pub(in crate::policy) mod selector_constants;
