//! The checks of a request head, and the fields that go on.
//!
//! Invariant: each check is complete by itself; their order decides only which refusal is told.

use crate::config::Limits;
use crate::refusal::{Limit, Refusal};
use http::header::{self, GetAll, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Version};

/// The methods of CouchDB's API, for `Allow` as well.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "COPY", "OPTIONS"];
const ALLOW: &str = "GET, HEAD, POST, PUT, DELETE, COPY, OPTIONS";

/// What hyper's list of fields costs beside its text (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// How a field that was sent more than once is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    /// It can't be: whoever reads the first and whoever reads the last would disagree.
    Refused,
    /// It can't be, unless it says the same twice (some HTTP libraries add one to the caller's own).
    Same,
    /// A list in several lines (RFC 9110 section 5.3).
    List,
    /// The crumbs of HTTP/2 (RFC 9113 section 8.2.3).
    Crumbs,
}

/// The fields that go on. Everything else ends here: hop-by-hop fields, `Forwarded` and its kin,
/// identity headers in any spelling, names with underscores.
///
/// Security: an allow list, so that a field that CouchDB learns to believe tomorrow does not pass
/// (leaks A1, A7, A8; `identity_headers_do_not_pass_in_any_spelling`).
static KEPT: [(HeaderName, Repeated); 19] = [
    (header::ACCEPT, Repeated::List),
    (header::CONTENT_TYPE, Repeated::Same),
    (HeaderName::from_static("content-md5"), Repeated::Refused),
    (header::IF_MATCH, Repeated::List),
    (header::IF_NONE_MATCH, Repeated::List),
    (header::RANGE, Repeated::Refused),
    (header::IF_RANGE, Repeated::Refused),
    (header::AUTHORIZATION, Repeated::Refused),
    (header::COOKIE, Repeated::Crumbs),
    (header::ORIGIN, Repeated::Refused),
    (header::REFERER, Repeated::Refused),
    (header::USER_AGENT, Repeated::Refused),
    (header::ACCESS_CONTROL_REQUEST_METHOD, Repeated::Refused),
    (header::ACCESS_CONTROL_REQUEST_HEADERS, Repeated::List),
    (HeaderName::from_static("destination"), Repeated::Refused),
    (HeaderName::from_static("last-event-id"), Repeated::Refused),
    (
        HeaderName::from_static("x-requested-with"),
        Repeated::Refused,
    ),
    (
        HeaderName::from_static("x-couch-full-commit"),
        Repeated::Refused,
    ),
    (HeaderName::from_static("sec-fetch-site"), Repeated::Refused),
];

/// Names under which a POST may ask to be another method, without separators.
const OVERRIDES: &[&str] = &["xhttpmethodoverride", "xmethodoverride", "xhttpmethod"];

const ONE_HOST: Refusal = Refusal::BadRequest("a request has exactly one host");

/// HTTP/1 heads are bounded by hyper's parser too; HTTP/2 lists are bounded here and by h2.
pub(super) fn check_size(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    let target = parts.uri.path().len() + parts.uri.query().map_or(0, |query| query.len() + 1);
    if target > limits.target {
        return Err(Refusal::TooLarge(Limit::Target));
    }
    let fields: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
        .sum();
    // The overhead is counted against the number of fields, not against the bytes of the head.
    let bytes = fields.saturating_sub(parts.headers.len() * FIELD_OVERHEAD);
    if parts.headers.len() > limits.fields || bytes + target > limits.head {
        return Err(Refusal::TooLarge(Limit::Head));
    }
    Ok(())
}

/// Security: `TRACE`, `CONNECT`, unknown and lower-case methods end here (leaks A11).
pub(super) fn method(method: &Method) -> Result<&'static str, Refusal> {
    METHODS
        .iter()
        .find(|known| **known == method.as_str())
        .copied()
        .ok_or(Refusal::Method(ALLOW))
}

/// What could make two readers see two requests, or one request become another.
pub(super) fn check_framing(parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    // Security: an upgraded connection is a tunnel past every filter, and a client that sends on at once
    // would have its bytes read as a request (leaks A16; `upgrades_are_refused`). RFC 9110 section 7.8
    // lets a server ignore the field; we refuse, since what follows may be of another protocol. 501
    // because it is a function we don't have, not a fault in the request.
    if headers.contains_key(header::UPGRADE) || headers.contains_key("http2-settings") {
        return Err(Refusal::NotImplemented("connections are not upgraded here"));
    }
    check_transfer_encoding(parts)?;
    let mut expectations = headers.get_all(header::EXPECT).iter();
    if !expectations.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::Expectation);
    }
    // Security: CouchDB would turn the POST that we judged into a DELETE (leaks A9).
    if headers.keys().any(is_override) {
        return Err(Refusal::BadRequest(
            "the method can't be overridden by a header",
        ));
    }
    Ok(())
}

/// `gzip, chunked` and `chunked` twice pass hyper, which then forwards something else (edge C1).
fn check_transfer_encoding(parts: &Parts) -> Result<(), Refusal> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if parts.version != Version::HTTP_11 {
        return Err(Refusal::BadRequest("transfer codings belong to HTTP/1.1"));
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::NotImplemented(
            "the only transfer coding is one `chunked`",
        ));
    }
    Ok(())
}

fn is_override(name: &HeaderName) -> bool {
    let bare: String = name
        .as_str()
        .chars()
        .filter(|c| *c != '-' && *c != '_')
        .collect();
    OVERRIDES.contains(&bare.as_str())
}

/// The one host of the request, in lower case, which must be one of our names. A trusted proxy may say what
/// it was asked for itself; a list of hosts says nothing.
pub(super) fn host(parts: &Parts, names: &[String], trusted: bool) -> Result<String, Refusal> {
    let asked = asked_host(parts)?;
    let forwarded = one(parts, "x-forwarded-host").filter(|_| trusted);
    let host = match forwarded.filter(|host| !host.as_bytes().contains(&b',')) {
        Some(forwarded) => parse_host(forwarded.as_bytes())?,
        None => asked,
    };
    let name = Authority::try_from(host.as_str()).map_err(|_| ONE_HOST)?;
    let known = names.is_empty() || names.iter().any(|known| known == name.host());
    known.then_some(host).ok_or(Refusal::Misdirected)
}

/// Whether the client speaks TLS, to us or to a trusted proxy that says so.
pub(super) fn is_tls(parts: &Parts, own: bool, trusted: bool) -> bool {
    let forwarded = one(parts, "x-forwarded-proto").filter(|_| trusted);
    match forwarded.map(HeaderValue::as_bytes) {
        Some(b"https") => true,
        Some(b"http") => false,
        Some(_) | None => own,
    }
}

/// The value of a field that was sent once.
fn one<'p>(parts: &'p Parts, name: &str) -> Option<&'p HeaderValue> {
    let mut values = parts.headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// What the client asked for. The authority of an absolute-form target, or HTTP/2's
/// `:authority`, goes before `Host` (RFC 9112 section 3.2.2), which must be right all the same.
fn asked_host(parts: &Parts) -> Result<String, Refusal> {
    let mut fields = parts.headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => Some(parse_host(field.as_bytes())?),
        (None, None) => None,
        (_, Some(_)) => return Err(ONE_HOST),
    };
    let scheme = parts.uri.scheme_str();
    if scheme.is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Refusal::BadRequest(
            "the scheme of the target is not served",
        ));
    }
    let authority = match parts.uri.authority() {
        Some(authority) => Some(parse_host(authority.as_str().as_bytes())?),
        None => None,
    };
    Ok(match (authority, field) {
        (Some(authority), Some(field)) if parts.version == Version::HTTP_2 => {
            if authority != field {
                return Err(ONE_HOST);
            }
            authority
        }
        // HTTP/1 needs the field even where the target has a host of its own.
        (Some(authority), Some(_)) => authority,
        (Some(authority), None) if parts.version == Version::HTTP_2 => authority,
        (None, Some(field)) => field,
        (Some(_) | None, None) => return Err(ONE_HOST),
    })
}

fn parse_host(text: &[u8]) -> Result<String, Refusal> {
    const BAD_HOST: Refusal = Refusal::BadRequest("the host is not a name or address with a port");
    let text = str::from_utf8(text).map_err(|_| BAD_HOST)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if text.is_empty() || !text.bytes().all(legal) {
        return Err(BAD_HOST);
    }
    let authority = Authority::try_from(text).map_err(|_| BAD_HOST)?;
    // `name:` and `name:99999` parse as authorities; a name without letters does as well.
    let rest = text.strip_prefix(authority.host()).ok_or(BAD_HOST)?;
    let port_good = match rest.strip_prefix(':') {
        Some(port) => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
        None => rest.is_empty(),
    };
    let host_good = authority
        .host()
        .bytes()
        .any(|b| b.is_ascii_alphanumeric() || b == b':');
    (port_good && host_good)
        .then(|| text.to_ascii_lowercase())
        .ok_or(BAD_HOST)
}

/// The target in origin-form. Raw bytes above 0x7F pass hyper; here they end.
pub(super) fn target(parts: &Parts, method: &str, limits: &Limits) -> Result<String, Refusal> {
    let (path, query) = (parts.uri.path(), parts.uri.query());
    let mut target = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
    target.push_str(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    let rooted = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    if !rooted || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::BadRequest(
            "the target is not a path of visible ASCII",
        ));
    }
    if target.len() > limits.target {
        return Err(Refusal::TooLarge(Limit::Target));
    }
    Ok(target)
}

/// The fields on the list, each once.
pub(super) fn keep(sent: &HeaderMap) -> Result<HeaderMap, Refusal> {
    let mut kept = HeaderMap::with_capacity(8);
    for (name, repeated) in &KEPT {
        let mut values = sent.get_all(name).iter();
        let Some(first) = values.next() else {
            continue;
        };
        let rest: Vec<&HeaderValue> = values.collect();
        if let Some(value) = one_value(name, first, &rest, *repeated)? {
            kept.insert(name.clone(), value);
        }
    }
    Ok(kept)
}

fn one_value(
    name: &HeaderName,
    first: &HeaderValue,
    rest: &[&HeaderValue],
    repeated: Repeated,
) -> Result<Option<HeaderValue>, Refusal> {
    const REPEATED: Refusal = Refusal::BadRequest("a header that means one thing was sent twice");
    const NOT_ASCII: Refusal = Refusal::BadRequest("a header holds more than visible ASCII");
    let visible = first.to_str().is_ok() && rest.iter().all(|value| value.to_str().is_ok());
    if !visible {
        // What a browser calls itself, or where it comes from, is no reason to refuse it.
        let decoration = *name == header::USER_AGENT || *name == header::REFERER;
        return if decoration { Ok(None) } else { Err(NOT_ASCII) };
    }
    let separator: &[u8] = match repeated {
        _ if rest.is_empty() => return Ok(Some(first.clone())),
        Repeated::Same if rest.iter().all(|value| *value == first) => {
            return Ok(Some(first.clone()));
        }
        Repeated::Refused | Repeated::Same => return Err(REPEATED),
        Repeated::List => b", ",
        Repeated::Crumbs => b"; ",
    };
    let values = std::iter::once(&first).chain(rest);
    let values: Vec<&[u8]> = values.map(|value| value.as_bytes()).collect();
    let joined = values.join(separator);
    HeaderValue::from_bytes(&joined)
        .map(Some)
        .map_err(|_| NOT_ASCII)
}

/// `gzip` is inflated on the way in, `identity` is nothing, anything else is not read here.
pub(super) fn is_gzip(codings: &GetAll<'_, HeaderValue>) -> Result<bool, Refusal> {
    let mut gzip = false;
    for (index, coding) in codings.iter().enumerate() {
        let coding = coding.as_bytes().to_ascii_lowercase();
        match coding.as_slice() {
            b"gzip" | b"x-gzip" if index == 0 => gzip = true,
            b"identity" if index == 0 => {}
            _ => {
                return Err(Refusal::UnsupportedMedia(
                    "the only content coding is one `gzip`",
                ));
            }
        }
    }
    Ok(gzip)
}
