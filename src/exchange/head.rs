//! Which headers of CouchDB's answer reach the client.
//!
//! Invariant: cookies and hop-by-hop headers of CouchDB never pass. An administrator gets the rest as it is;
//! others get what is on the list.

use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, ETAG, HeaderName, LAST_MODIFIED,
    LOCATION, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response};

use crate::exchange::rewrite::{PLACELESS, REQUEST_ID};
use crate::policy::{Fingerprint, Lens};
use crate::refusal::Refusal;

/// What passes to callers who are no administrators. A `Location` does where CouchDB has made it, and not of its own
/// address.
const PASSED: [HeaderName; 14] = [
    ACCEPT_RANGES,
    ALLOW,
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_SECURITY_POLICY,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    RETRY_AFTER,
    VARY,
    HeaderName::from_static("content-md5"),
];

/// What CouchDB says of an attachment; no more passes to anybody, for its writer may have had a hand in the rest.
const OF_ATTACHMENTS: [HeaderName; 7] = [
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    REQUEST_ID,
];

/// The headers of an answer that is an attachment.
pub(crate) fn attachment(upstream: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(OF_ATTACHMENTS.len());
    for name in &OF_ATTACHMENTS {
        if let Some(value) = upstream.get(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers
}

/// The headers of an answer that streams through untouched.
pub(crate) fn verbatim(upstream: &HeaderMap, administrator: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(upstream.len());
    for (name, value) in upstream {
        if passes(name, administrator) || (*name == LOCATION && path(value).is_some()) {
            headers.append(name.clone(), value.clone());
        }
    }
    let cached = kept_by_their_own(&headers);
    headers.insert(CACHE_CONTROL, cached);
    headers
}

/// What is told to caches, without what would let them keep the answer for others.
///
/// Security: CouchDB's `must-revalidate` lets a shared cache keep the answer to a login, and a function may say
/// `public` (RFC 9111 section 3.5). (`no_answer_may_be_kept_for_others`)
fn kept_by_their_own(headers: &HeaderMap) -> HeaderValue {
    const PRIVATE: HeaderValue = HeaderValue::from_static("private");
    let mut text = String::from("private");
    let told = headers.get_all(CACHE_CONTROL).iter();
    let told = told.filter_map(|value| value.to_str().ok());
    for one in told.flat_map(|value| value.split(',')).map(str::trim) {
        let name = one.split('=').next().unwrap_or_default().trim();
        let shares = ["", "private", "public", "s-maxage"];
        if !shares.iter().any(|word| name.eq_ignore_ascii_case(word)) {
            text.extend([", ", one]);
        }
    }
    HeaderValue::from_str(&text).unwrap_or(PRIVATE)
}

fn passes(name: &HeaderName, administrator: bool) -> bool {
    if !administrator {
        return PASSED.contains(name);
    }
    let text = name.as_str();
    let ours = [SET_COOKIE, WWW_AUTHENTICATE, DATE].contains(name);
    let hop = matches!(
        text,
        "connection" | "keep-alive" | "transfer-encoding" | "upgrade" | "trailer" | "te"
    );
    !ours && !hop && !text.starts_with("proxy-") && !text.starts_with("access-control-")
}

/// Is the head of the answer to this request, for an attachment, the one that CouchDB has made?
///
/// Security: CouchDB writes the stored type of the attachment into it as it is. A line end there ends the header, and
/// two of them the head: what follows would be headers, and a whole answer, of the writer's choice. Then a header stands
/// twice, or those are missing that CouchDB writes behind the type, our own name for the request among them. No coding
/// was asked for, so CouchDB has named none.
/// (`a_stored_type_that_is_no_header_gets_nowhere`)
pub(crate) fn is_whole<B>(answer: &Response<B>, request_id: &str) -> bool {
    let headers = answer.headers();
    let once = headers.keys_len() == headers.len();
    let framed = !(headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH));
    let coded = headers.contains_key(CONTENT_ENCODING);
    let named = headers.get(REQUEST_ID);
    once && framed && !coded && named.is_some_and(|named| *named == request_id)
}

/// The path of a place that CouchDB names.
fn path(location: &HeaderValue) -> Option<&str> {
    let (_, rest) = location.to_str().ok()?.split_once("://")?;
    rest.strip_prefix(PLACELESS)
        .filter(|path| path.starts_with('/'))
}

/// Says where something is as its client reaches it: `here` is where they have come from, without a path.
pub(crate) fn place(headers: &mut HeaderMap, here: &str) {
    let place = headers.get(LOCATION).and_then(path);
    let place = place.map(|path| HeaderValue::from_str(&format!("{here}{path}")));
    match place {
        None => {}
        Some(Ok(place)) => {
            headers.insert(LOCATION, place);
        }
        Some(Err(_)) => {
            headers.remove(LOCATION);
        }
    }
}

/// The headers of JSON that went through a lens: nobody but this caller may keep it.
pub(crate) fn filtered() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private, must-revalidate"),
    );
    headers
}

/// The entity tag of a revision seen through a lens (RFC 9110 section 8.8.3).
pub(crate) fn etag(rev: &str, fingerprint: &Fingerprint) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{rev}-{fingerprint}\"")).ok()
}

/// The entity tag that whoever sees documents through this lens gets with this one.
pub(crate) fn tag(id: &str, rev: &str, lens: &Lens) -> Option<HeaderValue> {
    match lens.is_clear_for(id.starts_with("_design/")) {
        true => HeaderValue::from_str(&format!("\"{rev}\"")).ok(),
        false => etag(rev, &lens.fingerprint()),
    }
}

/// The revision that an `If-Match` stands for: CouchDB's own tag is one, ours is one with what it was seen through.
/// What was seen otherwise is not what would be changed now.
pub(crate) fn matched(if_match: &str, fingerprint: &Fingerprint) -> Result<String, Refusal> {
    let tag = if_match.trim().trim_matches('"');
    match tag.rsplit_once('-') {
        Some((rev, seen)) if rev.contains('-') => match seen == fingerprint.to_string() {
            true => Ok(rev.to_owned()),
            false => Err(Refusal::Conflict),
        },
        Some(_) | None => Ok(tag.to_owned()),
    }
}

/// Whether `If-None-Match` names this tag (RFC 9110 section 13.1.2, weak comparison).
pub(crate) fn matches(if_none_match: &str, tag: &HeaderValue) -> bool {
    if if_none_match.trim() == "*" {
        return true;
    }
    let tags = if_none_match
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.into_iter()
        .any(|listed| listed.as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests;
