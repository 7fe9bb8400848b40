//! Which headers pass, and to whom.

use super::*;

fn upstream() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [
        "server",
        "x-couch-request-id",
        "x-couchdb-body-time",
        "etag",
        "set-cookie",
        "www-authenticate",
        "connection",
        "transfer-encoding",
        "access-control-allow-origin",
    ] {
        headers.insert(name, HeaderValue::from_static("x"));
    }
    headers
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(HeaderName::as_str).collect()
}

#[test]
fn an_administrator_sees_the_headers_of_couchdb() {
    let passed = verbatim(&upstream(), true);
    assert_eq!(
        names(&passed),
        [
            "server",
            "x-couch-request-id",
            "x-couchdb-body-time",
            "etag"
        ]
    );
}

#[test]
fn others_see_no_version_and_no_headers_that_are_not_listed() {
    assert_eq!(names(&verbatim(&upstream(), false)), ["etag"]);
}
