//! The names of query parameters: aliases, and where CouchDB folds their case.

use std::borrow::Cow;

/// How an endpoint reads the names of its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::route) enum Names {
    /// As they are.
    Exact,
    /// `couch_mrview_http:parse_param`: `start_key` is `startkey`, and so on.
    View,
    /// `chttpd_db:parse_changes_query`: the case of the names it knows does not matter.
    Changes,
    /// Parameters go to a function of a design document under the names they were sent with, but
    /// CouchDB may read them as those of a view.
    Function,
}

impl Names {
    /// The one name by which a parameter is known.
    pub(super) fn canonical(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => name.into(),
            Self::View | Self::Function => canonical_of_views(name).into(),
            Self::Changes => canonical_of_changes(name),
        }
    }
}

const FOLDED: [&str; 14] = [
    "feed",
    "descending",
    "since",
    "last-event-id",
    "limit",
    "style",
    "heartbeat",
    "timeout",
    "include_docs",
    "conflicts",
    "attachments",
    "att_encoding_info",
    "filter",
    "seq_interval",
];

/// The case of these names does not matter; `last-event-id` sets what `since` sets.
pub(super) fn canonical_of_changes(name: &str) -> Cow<'_, str> {
    match FOLDED.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(&"last-event-id") => Cow::Borrowed("since"),
        Some(known) => Cow::Borrowed(known),
        None => Cow::Borrowed(name),
    }
}

/// CouchDB's aliases.
pub(super) fn canonical_of_views(name: &str) -> &str {
    match name {
        "start_key" => "startkey",
        "end_key" => "endkey",
        "start_key_doc_id" => "startkey_docid",
        "end_key_doc_id" => "endkey_docid",
        other => other,
    }
}
