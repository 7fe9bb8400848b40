//! What `Destination` may say.

use super::*;
use crate::route::{Call, Method, Route};

fn copy(source: &str, destination: &str) -> Result<Option<String>, RouteError> {
    Route::parse("COPY", &format!("/db/{source}"), Some(destination))
        .map(|route| route.destination())
}

#[track_caller]
fn check(destination: &str, rendered: &str) {
    assert_eq!(
        copy("doc", destination).unwrap().as_deref(),
        Some(rendered),
        "{destination}"
    );
}

#[test]
fn a_destination_is_a_document_id() {
    check("x", "x");
    check("x?rev=1-a", "x?rev=1-a");
    check("a+b", "a%20b");
    check("a%2Fb", "a%2Fb");
    check("_design/x", "_design/x");
    check("_design%2fx", "_design/x");
    check("_design%2Fx%2Fy?rev=2-b", "_design/x%2Fy?rev=2-b");
    assert_eq!(
        copy("_local/a", "_local%2Fb?rev=0-1").unwrap().as_deref(),
        Some("_local/b?rev=0-1")
    );
}

#[test]
fn other_destinations_are_refused() {
    for destination in [
        "",
        "/db/x",
        "/x",
        "http://h/db/x",
        "https://h/x",
        "a/b",
        "x?rev=1-a&w=1",
        "x?w=1",
        "x?",
        "x?rev=",
        "x?rev=1-%61",
        "x?rev=1-a?rev=2-b",
        "x#y",
        "x y",
        "%5Fdesign/x",
        "%5Fdesign%2Fx",
        "_x",
        "..",
        "_design/..",
        "_design/",
        "x%zz",
        "_local/x",
        "%ff",
        "x%00",
        "_design/x/y",
        "file:///x",
    ] {
        let found = copy("doc", destination);
        assert!(
            matches!(
                found,
                Err(RouteError::Ambiguous(_) | RouteError::Bad(_) | RouteError::IllegalDocument)
            ),
            "{destination} is {found:?}"
        );
    }
    assert!(copy("_local/a", "b").is_err());
    assert!(Route::parse("COPY", "/db/doc", None).is_err());
}

#[test]
fn only_copy_reads_it() {
    let route = Route::parse("PUT", "/db/doc", Some("x")).unwrap();
    assert_eq!((route.method, route.destination()), (Method::Put, None));
    assert!(matches!(
        route.call,
        Call::Database {
            call: DatabaseCall::Document(_),
            ..
        }
    ));
}
