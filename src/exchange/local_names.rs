//! `_local` documents: each caller's checkpoints live under names of their own, so that nobody reads or
//! disturbs another's.
//!
//! Invariant: a private name is the prefix of one caller and the whole of the client's own id, so two callers
//! never share a name, and the names of one caller stand together.

use super::read::pin::json;
use crate::caller::Caller;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::LocalId;
use crate::route::query::ViewQuery;
use crate::secret::Key;

/// What every name of ours begins with.
const PREFIX: &str = "couchwarden-";
/// What every id in a list of local documents begins with.
const LOCAL: &str = "_local/";
/// The first text behind all of those.
const BEHIND: &str = "_local0";

/// Makes the names under which callers' checkpoints are stored.
#[derive(Debug, Clone)]
pub(crate) struct Locals {
    key: Key,
}

/// The names of one caller.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    /// `couchwarden-DIGITS-`
    prefix: String,
}

impl Locals {
    pub(crate) fn new(key: Key) -> Self {
        Self { key }
    }

    /// The names of this caller.
    ///
    /// # Errors
    ///
    /// Anonymous callers have no checkpoints: they would all share them.
    pub(crate) fn space(&self, caller: &Caller) -> Result<Space, Refusal> {
        let name = caller.name().ok_or(Refusal::Unauthorized)?;
        let tag = self.key.sign(&[name.as_bytes()]);
        let digits: String = tag
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Space {
            prefix: format!("{PREFIX}{digits}-"),
        })
    }

    /// Where the gaps in what this caller was given are noted: under no name of anybody's space, whose digits are
    /// hexadecimal. None for those who have no checkpoints.
    pub(crate) fn gaps(&self, caller: &Caller) -> Option<LocalId> {
        let space = self.space(caller).ok()?;
        let digits = space.prefix.strip_prefix(PREFIX)?.trim_end_matches('-');
        LocalId::parse(&format!("{PREFIX}gaps-{digits}")).ok()
    }

    /// The private name of a checkpoint of this caller.
    pub(crate) fn private(&self, caller: &Caller, id: &LocalId) -> Result<LocalId, Refusal> {
        self.space(caller)?.private(id)
    }
}

impl Space {
    /// The private name of a checkpoint.
    pub(crate) fn private(&self, id: &LocalId) -> Result<LocalId, Refusal> {
        LocalId::parse(&format!("{}{}", self.prefix, id.as_str()))
            .map_err(|_| Refusal::Internal("a private name is no name"))
    }

    /// The id that the caller knows, for one of their private ids; both begin with `_local/`.
    pub(crate) fn public(&self, id: &str) -> Option<String> {
        let own = id.strip_prefix(LOCAL)?.strip_prefix(&*self.prefix)?;
        Some(format!("{LOCAL}{own}"))
    }

    /// The query inside this space; none where it can match nothing.
    pub(crate) fn narrow(&self, mut query: ViewQuery) -> Result<Option<ViewQuery>, Refusal> {
        // Ids are keys here, and a partition has no local documents.
        (query.startkey_docid, query.endkey_docid) = (None, None);
        if let Some(keys) = &query.keys {
            query.keys = Some(self.keys(keys)?);
            return Ok(Some(query));
        }
        if let Some(key) = query.key.take() {
            let key = text("key", &key)?;
            let Some(own) = key.strip_prefix(LOCAL) else {
                return Ok(None);
            };
            query.key = Some(self.quoted(own));
            return Ok(Some(query));
        }
        let (low, high) = match query.descending {
            false => (query.startkey.take(), query.endkey.take()),
            true => (query.endkey.take(), query.startkey.take()),
        };
        let low = low.map(|low| text("startkey", &low)).transpose()?;
        let high = high.map(|high| text("endkey", &high)).transpose()?;
        let beyond = low.as_deref().is_some_and(|low| low >= BEHIND);
        if beyond || high.as_deref().is_some_and(|high| high < LOCAL) {
            return Ok(None);
        }
        let inside = |key: Option<String>| key?.strip_prefix(LOCAL).map(|own| self.quoted(own));
        let (low, high) = (inside(low), inside(high));
        let end_is_asked = if query.descending { &low } else { &high }.is_some();
        query.inclusive_end |= !end_is_asked;
        let low = low.unwrap_or_else(|| self.quoted(""));
        let high = high.unwrap_or_else(|| self.last());
        let (start, end) = if query.descending {
            (high, low)
        } else {
            (low, high)
        };
        (query.startkey, query.endkey) = (Some(start), Some(end));
        Ok(Some(query))
    }

    /// Keys that are no ids of local documents are passed over, as in CouchDB.
    fn keys(&self, keys: &str) -> Result<String, Refusal> {
        let keys = json("keys", keys)?;
        let keys = keys
            .as_array()
            .ok_or(Refusal::BadRequest("`keys` parameter must be an array."))?;
        let own = keys
            .iter()
            .filter_map(|key| key.as_str()?.strip_prefix(LOCAL));
        let private = own.map(|own| Value::from(format!("{LOCAL}{}{own}", self.prefix)));
        Ok(Value::Array(private.collect()).to_string())
    }

    fn quoted(&self, own: &str) -> String {
        Value::from(format!("{LOCAL}{}{own}", self.prefix)).to_string()
    }

    /// A text behind all names of this space: the hyphen at the end of the prefix is raised by one.
    fn last(&self) -> String {
        let digits = self.prefix.trim_end_matches('-');
        Value::from(format!("{LOCAL}{digits}.")).to_string()
    }
}

/// A key of a list of ids, which is a text.
fn text(name: &str, key: &str) -> Result<String, Refusal> {
    match json(name, key)? {
        Value::String(key) => Ok(key),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(Refusal::BadQuery(format!(
                "`{name}` of local documents is a string"
            )))
        }
    }
}

#[cfg(test)]
mod tests;
