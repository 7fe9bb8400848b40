//! What couchwarden does beside proxying; nothing here is needed to judge a request for CouchDB.

pub(crate) mod ddocs;
pub(crate) mod node;
pub(crate) mod provision;
pub(crate) mod session;
