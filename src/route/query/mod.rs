//! The query parameters of a request: canonical names, decoded values, none twice.
//!
//! Every value is kept as it was sent, valid or not, so that an administrator gets CouchDB's own answer.
//! Where a lens applies, [`Query::view`], [`Query::changes`] and [`Query::document`] read them into types
//! as CouchDB reads them, and refuse what they do not know.
//!
//! Invariant: no name occurs twice, neither by an alias nor by another case where CouchDB ignores case.

mod changes;
mod document;
mod error;
mod names;
mod spelt;
mod view;

use super::RouteError;
use super::path;

pub use changes::{ChangesQuery, Feed, Heartbeat};
pub use document::{DocumentQuery, OpenRevs};
pub use error::QueryError;
pub(super) use names::Names;
pub use view::{Stale, Update, ViewQuery};

/// The query parameters of a route, in the order they came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(Box<str>, Box<str>)>,
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

#[cfg(test)]
mod tests;
