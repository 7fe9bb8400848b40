//! A value of a view's parameter as it was spelt: text in the query string, or JSON in a body.
//!
//! CouchDB reads both with one function (`couch_mrview_http:parse_param`), which is less strict in the
//! query string; the error texts are its own.
//!
//! Invariant: both spellings of a value give the same value or an error.

use super::error::{QueryError, natural};

/// A value as it was spelt.
pub(super) enum Spelt<'a> {
    /// Decoded text from the query string.
    Text(&'a str),
    /// JSON text from a body.
    Json(&'a str),
}

impl Spelt<'_> {
    /// A JSON value, kept as text.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Text(text) | Self::Json(text) => (*text).to_owned(),
        }
    }

    /// A word, which in a body may be a JSON string or a bare `true`, `false` or number.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Json(json) => {
                serde_json::from_str::<String>(json).unwrap_or_else(|_| json.trim().to_owned())
            }
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<String, QueryError> {
        match self {
            Self::Text(text) => Ok((*text).to_owned()),
            Self::Json(json) => serde_json::from_str(json)
                .map_err(|_| QueryError::Parse(format!("`{name}` is not a string"))),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, QueryError> {
        match self.word().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(QueryError::Parse(format!(
                "Invalid boolean parameter: {:?}",
                self.word()
            ))),
        }
    }

    /// `couch_mrview_http:parse_pos_int`; in a body only a number is one.
    pub(super) fn natural(&self) -> Result<u64, QueryError> {
        let text = self.json();
        let shown = match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Json(json) => (*json).to_owned(),
        };
        let digits = text.trim_start_matches(['-', '+']);
        if let Some(number) = natural(text.trim()) {
            Ok(number)
        } else if natural(digits).is_some() {
            Err(QueryError::Parse(format!(
                "Invalid value for positive integer: {}",
                text.trim()
            )))
        } else {
            Err(QueryError::Parse(format!(
                "Invalid value for integer: {shown}"
            )))
        }
    }

    pub(super) fn one_of<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> Result<T, QueryError> {
        let word = self.word();
        let found = known
            .iter()
            .find(|(text, _)| *text == word)
            .map(|(_, value)| *value);
        found.ok_or_else(|| QueryError::Parse(format!("Invalid value for `{name}`.")))
    }
}
