//! What is read: one file for each endpoint.

pub(crate) mod bookmark;
pub(crate) mod bulk_get;
pub(crate) mod change_pages;
pub(crate) mod change_rows;
pub(crate) mod changes;
pub(crate) mod clear_lists;
pub(crate) mod design;
pub(crate) mod document;
pub(crate) mod documents_in_parts;
pub(crate) mod find;
pub(crate) mod find_pages;
pub(crate) mod index;
pub(crate) mod info;
pub(crate) mod judged;
pub(crate) mod lists;
pub(crate) mod local;
pub(crate) mod offline;
pub(crate) mod open_revs;
pub(crate) mod pin;
pub(crate) mod pin_check;
pub(crate) mod query;
pub(crate) mod reduce;
pub(crate) mod revs_diff;
pub(crate) mod views;
