use http::Response;

use super::{Carries, Manner, Reuse, leaves_open};
use crate::route::Route;

fn answer(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut answer = Response::builder().status(status);
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    answer.body(()).unwrap()
}

#[test]
fn an_answer_leaves_the_connection_open_where_its_end_is_sure() {
    let length = [("content-length", "2")];
    let chunked = [("transfer-encoding", "chunked")];
    let none = [("content-length", "0")];
    for (status, fields, bare, carried) in [
        (200, &length[..], true, true),
        (200, &chunked, true, true),
        (201, &none, true, true),
        (206, &length, true, true),
        (301, &none, true, true),
        // Without a length it ends with the connection; with two it ends twice.
        (200, &[], false, false),
        (200, &[length[0], chunked[0]], false, false),
        // CouchDB may not have read the body.
        (400, &length, true, false),
        (404, &length, true, false),
        (409, &chunked, true, false),
        (413, &length, true, false),
        (500, &length, false, false),
        (503, &chunked, false, false),
        // These have no body, whatever they announce.
        (204, &[], true, true),
        (204, &none, true, true),
        (204, &length, false, false),
        (204, &chunked, false, false),
        (304, &none, true, true),
        (304, &length, false, false),
        (304, &chunked, false, false),
    ] {
        let answer = answer(status, fields);
        assert_eq!(leaves_open(&answer, false), bare, "{status} {fields:?}");
        assert_eq!(leaves_open(&answer, true), carried, "{status} {fields:?}");
    }
    let mut old = answer(200, &length);
    *old.version_mut() = http::Version::HTTP_10;
    assert!(!leaves_open(&old, false));
}

#[test]
fn only_bodies_that_couchdb_reads_whole_share_a_connection() {
    let all = [Carries::Nothing, Carries::Json, Carries::Stream];
    for (request, shares) in [
        ("GET /db/doc", [true, true, false]),
        ("PUT /db/doc", [true, true, false]),
        ("POST /db", [true, true, false]),
        ("POST /db/_bulk_docs", [true, true, false]),
        ("POST /db/_design/d/_view/v", [true, true, false]),
        ("GET /db/_changes", [true, true, false]),
        ("PUT /db", [true, false, false]),
        ("DELETE /db", [true, false, false]),
        ("GET /db/doc/name", [true, false, false]),
        ("PUT /db/doc/name", [true, false, false]),
        ("POST /db/_ensure_full_commit", [true, false, false]),
        ("GET /db/_changes?feed=eventsource", [false; 3]),
        ("GET /db/_changes?feed=longpoll", [false; 3]),
        ("GET /db/_changes?feed=continuous", [false; 3]),
        ("GET /_db_updates", [false; 3]),
        ("GET /db/_design/d/_show/s", [false; 3]),
        ("GET /db/_design/d/_list/l/v", [false; 3]),
        ("POST /db/_design/d/_update/u", [false; 3]),
        ("GET /db/_design/d/_rewrite/x", [false; 3]),
        ("GET /_session", [false; 3]),
        ("POST /_replicate", [false; 3]),
    ] {
        let (method, target) = request.split_once(' ').unwrap();
        let manner = Manner::of(&Route::parse(method, target, None).unwrap());
        let reused = all.map(|carries| Reuse::of(manner, carries) == Reuse::IfWhole);
        assert_eq!(reused, shares, "{request}");
    }
}

#[test]
fn a_body_in_parts_is_no_json() {
    for (kind, coding, json) in [
        (Some("application/json"), None, true),
        (Some("Application/JSON; charset=utf-8"), None, true),
        (Some("application/json"), Some("gzip"), false),
        (Some("multipart/related; boundary=b"), None, false),
        (Some("application/jsonx"), None, false),
        (None, None, false),
    ] {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [("content-type", kind), ("content-encoding", coding)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let is_json = Carries::whole(&headers) == Carries::Json;
        assert_eq!(is_json, json, "{headers:?}");
    }
}
