//! `Accept` as CouchDB reads it.

use super::*;

#[test]
fn a_client_that_says_nothing_takes_everything() {
    assert!(accepts(None, "multipart/mixed"));
    assert!(accepts(Some("*/*"), "multipart/mixed"));
    assert!(accepts(
        Some("application/json, */*;q=0.1"),
        "multipart/related"
    ));
}

#[test]
fn a_type_is_taken_by_its_name_or_its_group() {
    assert!(accepts(Some("multipart/mixed"), "multipart/mixed"));
    assert!(accepts(Some("multipart/*"), "multipart/related"));
    assert!(!accepts(Some("application/json"), "multipart/mixed"));
    assert!(!accepts(Some("multipart/related"), "multipart/mixed"));
}

#[test]
fn a_type_of_no_weight_is_refused() {
    assert!(!accepts(
        Some("*/*, multipart/mixed;q=0"),
        "multipart/mixed"
    ));
    assert!(!accepts(Some("*/*, multipart/*; q=0.0"), "multipart/mixed"));
    assert!(!accepts(Some("multipart/mixed;q=none"), "multipart/mixed"));
    assert!(accepts(Some("multipart/mixed;q=none"), "application/json"));
}
