//! Why a query can't be read into a type, and what all of its readers need.

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

    pub(super) fn unknown(name: &str) -> Self {
        Self::Bad(format!("unknown query parameter `{name}`"))
    }
}

/// A whole number as `list_to_integer` reads it, not negative; too large ones are the largest.
pub(super) fn natural(text: &str) -> Option<u64> {
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
pub(super) fn is_harmless(name: &str) -> bool {
    matches!(name, "_nonce" | "_")
}
