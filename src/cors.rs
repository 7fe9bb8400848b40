//! Cross-origin requests of browsers: who may read answers, and whose writes count.
//!
//! Pure functions over header fields. Origins are compared as text: a browser sends exactly
//! `scheme://host[:port]` in lower case.
//!
//! Invariant: an origin that is not configured gets no `Access-Control-*` field at all, and `*` is never
//! answered, since answers carry credentials.

#[cfg(test)]
mod tests;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What CouchDB's own API needs.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, COPY";
const HEADERS: &str = "accept, authorization, content-type, destination, if-match, if-none-match, \
    last-event-id, origin, range, referer, x-couch-full-commit, x-requested-with";
const EXPOSED: &str = "accept-ranges, cache-control, content-length, content-range, content-type, etag, \
    location, retry-after, x-couch-request-id, x-request-id";

/// How long a browser may remember the preflight's answer, in seconds.
const MAX_AGE: &str = "600";

/// The origins whose pages may use us with credentials.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Vec<Box<str>>,
}

impl Cors {
    /// From the configuration, which has checked them.
    pub fn new(origins: &[String]) -> Self {
        let origins = origins
            .iter()
            .map(|origin| origin.as_str().into())
            .collect();
        Self { origins }
    }

    /// The fields of the answer (204) to a preflight; `None` if the request is not one.
    pub fn preflight(&self, method: &str, request: &HeaderMap) -> Option<HeaderMap> {
        let origin = text(request, &header::ORIGIN)?;
        let wanted = request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if method != "OPTIONS" || !wanted {
            return None;
        }
        let mut answer = HeaderMap::with_capacity(6);
        self.dress(Some(origin), &mut answer);
        if self.knows(origin) {
            answer.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
                (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
            ] {
                answer.insert(name, HeaderValue::from_static(value));
            }
        }
        Some(answer)
    }

    /// Puts the fields on an answer, whoever made it. What CouchDB said about origins is removed.
    pub fn dress(&self, origin: Option<&str>, answer: &mut HeaderMap) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            answer.remove(name);
        }
        if self.origins.is_empty() {
            return;
        }
        // A cache must not give one origin's answer to another, nor to none.
        vary_by_origin(answer);
        // Security: reflecting any origin would let any page read for the user (leaks A12;
        // `an_unknown_origin_gets_nothing`).
        let Some(origin) = origin.filter(|origin| self.knows(origin)) else {
            return;
        };
        if let Ok(value) = HeaderValue::from_str(origin) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
            let yes = HeaderValue::from_static("true");
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            let exposed = HeaderValue::from_static(EXPOSED);
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Whether a page of another, unlisted origin made the browser send this. A request that changes
    /// something and whose caller is known by a cookie only is to be refused then (leaks A13).
    ///
    /// Without `Origin` and `Sec-Fetch-Site` it is no browser of today, or a page of our own.
    pub fn is_foreign(&self, request: &HeaderMap, tls: bool, host: &str) -> bool {
        if let Some(value) = request.get(header::ORIGIN) {
            let Ok(origin) = value.to_str() else {
                return true;
            };
            return !(self.knows(origin) || is_own(origin, tls, host));
        }
        let site = request.get(HeaderName::from_static("sec-fetch-site"));
        site.is_some_and(|site| site == "cross-site" || site == "same-site")
    }

    fn knows(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| **known == *origin)
    }
}

/// The origin of this server itself, as the client calls it. Behind a proxy that ends TLS the scheme may
/// differ from ours, but then our own pages are not served by us.
fn is_own(origin: &str, tls: bool, host: &str) -> bool {
    let (scheme, port) = if tls {
        ("https://", ":443")
    } else {
        ("http://", ":80")
    };
    let host = host.strip_suffix(port).unwrap_or(host);
    origin.strip_prefix(scheme) == Some(host)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn vary_by_origin(answer: &mut HeaderMap) {
    let varies = answer.get_all(header::VARY).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').any(|name| {
            let name = name.trim();
            name == "*" || name.eq_ignore_ascii_case("origin")
        })
    });
    if !varies {
        answer.append(header::VARY, HeaderValue::from_static("origin"));
    }
}
