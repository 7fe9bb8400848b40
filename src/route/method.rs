//! The methods of the API.
//!
//! Invariant: a method outside this list is never part of a route.

/// The methods that the API uses. `OPTIONS` is answered by CORS and never becomes a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`: the same as `GET` without the body, and judged alike.
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `COPY`, CouchDB's own.
    Copy,
}

impl Method {
    /// By its exact name; methods are case-sensitive.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            "POST" => Some(Self::Post),
            "PUT" => Some(Self::Put),
            "DELETE" => Some(Self::Delete),
            "COPY" => Some(Self::Copy),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Copy => "COPY",
        }
    }

    /// Is it one of CouchDB's list for a call? `HEAD` is wherever `GET` is, listed or not.
    pub(super) fn is_among(self, allowed: &str) -> bool {
        let name = if self == Self::Head {
            "GET"
        } else {
            self.as_str()
        };
        allowed.split(',').any(|known| known == name)
    }
}
