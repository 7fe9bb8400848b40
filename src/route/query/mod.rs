//! The query parameters of a request: canonical names, decoded values, none twice.
//!
//! Every value is kept as it was sent, valid or not, so that an administrator gets CouchDB's own answer.
//! Where a lens applies, [`Query::view`], [`Query::changes`] and [`Query::document`] read them into types
//! as CouchDB reads them, and refuse what they do not know.
//!
//! Invariant: no name occurs twice, neither by an alias nor by another case where CouchDB ignores case.

mod changes;
mod document;
mod spelt;
mod view;

use super::RouteError;
use super::name::Rev;
use super::path;

pub use changes::{ChangesQuery, Feed, Heartbeat};
pub use document::{DocumentQuery, OpenRevs};
pub use view::{Stale, Update, ViewQuery};

/// The query parameters of a route, in the order they came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(Box<str>, Box<str>)>,
}

/// How an endpoint reads the names of its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
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

/// Why a query can't be read into a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// CouchDB answers it with `query_parse_error`.
    #[error("{0}")]
    Parse(String),
    /// CouchDB answers it with `bad_request`, or it is a parameter that we do not know.
    #[error("{0}")]
    Bad(String),
}

impl QueryError {
    /// CouchDB's word for the kind of error.
    pub fn error(&self) -> &'static str {
        match self {
            Self::Parse(_) => "query_parse_error",
            Self::Bad(_) => "bad_request",
        }
    }

    /// The sentence for the client.
    pub fn reason(&self) -> &str {
        match self {
            Self::Parse(reason) | Self::Bad(reason) => reason,
        }
    }

    fn unknown(name: &str) -> Self {
        Self::Bad(format!("unknown query parameter `{name}`"))
    }
}

impl Query {
    /// The parameters, name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a parameter by its canonical name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Is the parameter there, with or without a value (`?single-level`)?
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Sets a parameter, by its canonical name, in the place where it stood or at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.pairs.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, old)) => *old = value.into(),
            None => self.pairs.push((name.into(), value.into())),
        }
    }

    /// Takes a parameter away.
    pub fn remove(&mut self, name: &str) {
        self.pairs.retain(|(known, _)| &**known != name);
    }

    /// Reads them as the parameters of a view or of `_all_docs`.
    pub fn view(&self) -> Result<ViewQuery, QueryError> {
        ViewQuery::read(self)
    }

    /// Reads them as the parameters of `_changes`.
    pub fn changes(&self) -> Result<ChangesQuery, QueryError> {
        ChangesQuery::read(self)
    }

    /// Reads them as the parameters of a document or an attachment.
    pub fn document(&self) -> Result<DocumentQuery, QueryError> {
        DocumentQuery::read(self)
    }

    /// Parses the text after `?`.
    pub(super) fn parse(raw: &str, names: Names) -> Result<Self, RouteError> {
        let mut query = Self::default();
        // CouchDB separates parameters at `;` too (mochiweb_util:parse_qs).
        for piece in raw.split(['&', ';']).filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let name = path::decode(name)?;
            let value = path::decode(value)?;
            if name.is_empty() {
                return Err(RouteError::Ambiguous("a query parameter has no name"));
            }
            // Security: JSONP makes an answer readable cross-site. (a_callback_is_refused)
            if name == "callback" {
                return Err(RouteError::Ambiguous("`callback` is not supported"));
            }
            // Security: of two values CouchDB takes the last; whoever judged the first judged nothing.
            // (a_repeated_parameter_is_refused)
            let meaning = names.canonical(&name);
            if query
                .iter()
                .any(|(known, _)| names.canonical(known) == meaning)
            {
                return Err(RouteError::Ambiguous("a query parameter is given twice"));
            }
            let name = if names == Names::Function {
                name.as_ref()
            } else {
                meaning.as_ref()
            };
            query.pairs.push((name.into(), value.into()));
        }
        Ok(query)
    }
}

impl Names {
    /// The one name by which a parameter is known.
    fn canonical(self, name: &str) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Exact => name.into(),
            Self::View | Self::Function => view::canonical(name).into(),
            Self::Changes => changes::canonical(name),
        }
    }
}

/// A whole number as `list_to_integer` reads it, not negative; too large ones are the largest.
fn natural(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().unwrap_or(u64::MAX);
    (!negative || number == 0).then_some(number)
}

/// Parameters that change nothing: PouchDB and jQuery send them against caches.
fn is_harmless(name: &str) -> bool {
    matches!(name, "_nonce" | "_")
}

#[cfg(test)]
mod tests;
