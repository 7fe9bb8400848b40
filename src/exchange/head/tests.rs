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
            "etag",
            "cache-control"
        ]
    );
}

#[test]
fn others_see_no_version_and_no_headers_that_are_not_listed() {
    let passed = verbatim(&upstream(), false);
    assert_eq!(names(&passed), ["etag", "cache-control"]);
}

#[test]
fn a_place_is_told_where_couchdb_names_one() {
    let told = |location: &'static str, administrator: bool| {
        let mut upstream = HeaderMap::new();
        upstream.insert(LOCATION, HeaderValue::from_static(location));
        let mut headers = verbatim(&upstream, administrator);
        place(&mut headers, "https://here:6984");
        headers.remove(LOCATION)
    };
    for scheme in ["http", "https"] {
        let location = format!("{scheme}://couchwarden.invalid/db/a%2Fb");
        for administrator in [false, true] {
            let place = told(location.clone().leak(), administrator);
            assert_eq!(place.unwrap(), "https://here:6984/db/a%2Fb");
        }
    }
    // CouchDB's own address, and where a function sends its caller to.
    for other in [
        "http://10.0.0.5:5984/db/a",
        "http://couchwarden.invalid.example/db",
        "https://other.example/http://couchwarden.invalid/",
        "/db/_design/app/_show/x",
    ] {
        assert_eq!(told(other, false), None, "{other}");
        assert_eq!(told(other, true).unwrap(), other);
    }
}
