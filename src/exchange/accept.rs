//! Whether a client takes an answer in several parts, by its `Accept` (RFC 9110 section 12.5.1), as CouchDB's HTTP
//! server reads it.
//!
//! Invariant: a header that can't be read accepts nothing but JSON.

/// Kinds of answers that hold documents together with their attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One document and its attachments (RFC 2387).
    Related,
    /// Several documents (RFC 2046 section 5.1.3).
    Mixed,
}

impl Kind {
    /// As a media type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Related => "multipart/related",
            Self::Mixed => "multipart/mixed",
        }
    }
}

/// Is this media type accepted? A client that says nothing accepts everything.
pub(crate) fn accepts(accept: Option<&str>, kind: &str) -> bool {
    let Some(listed) = accept.map_or(Some(vec![("*/*", 1.0)]), read) else {
        return kind == "application/json";
    };
    let (main, _) = kind.split_once('/').unwrap_or((kind, ""));
    let is_group = |name: &str| name.strip_suffix("/*") == Some(main);
    let mut wanted = false;
    for (name, weight) in listed {
        let own = name == kind || is_group(name);
        if own && weight == 0.0 {
            return false;
        }
        wanted |= (own || name == "*/*") && weight > 0.0;
    }
    wanted
}

/// Names and weights.
fn read(accept: &str) -> Option<Vec<(&str, f32)>> {
    accept
        .split(',')
        .map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let name = parts.next()?;
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(Some(1.0), |text| text.parse().ok())?;
            Some((name, weight))
        })
        .collect()
}

#[cfg(test)]
mod tests;
