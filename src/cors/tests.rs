//! Which origins may what.

use super::Cors;
use http::HeaderMap;

const PAGE: &str = "https://dashboard.example.com";

fn cors() -> Cors {
    Cors::new(&[PAGE.to_owned()])
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields = fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
    fields.collect()
}

fn preflight(origin: &str) -> HeaderMap {
    let fields = [("origin", origin), ("access-control-request-method", "PUT")];
    cors().preflight("OPTIONS", &headers(&fields)).unwrap()
}

#[test]
fn a_known_origin_may_use_the_api_with_credentials() {
    let answer = preflight(PAGE);
    assert_eq!(answer["access-control-allow-origin"], PAGE);
    assert_eq!(answer["access-control-allow-credentials"], "true");
    assert!(
        answer["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("COPY")
    );
    assert!(
        answer["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("if-match")
    );
    assert_eq!(answer["vary"], "origin");
}

#[test]
fn an_unknown_origin_gets_nothing() {
    for origin in [
        "https://evil.example",
        "https://dashboard.example.com.evil.example",
        "https://dashboard.example.com:444",
        "http://dashboard.example.com",
        "HTTPS://dashboard.example.com",
        "null",
    ] {
        let answer = preflight(origin);
        let names: Vec<_> = answer.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["vary"], "{origin}");
    }
}

#[test]
fn only_a_preflight_is_answered_as_one() {
    let asked = headers(&[("origin", PAGE), ("access-control-request-method", "PUT")]);
    assert!(cors().preflight("GET", &asked).is_none());
    assert!(
        cors()
            .preflight("OPTIONS", &headers(&[("origin", PAGE)]))
            .is_none()
    );
}

#[test]
fn what_the_database_says_of_origins_is_replaced() {
    let mut answer = headers(&[("access-control-allow-origin", "*"), ("vary", "Accept")]);
    cors().dress(None, &mut answer);
    assert!(!answer.contains_key("access-control-allow-origin"));
    let varies: Vec<_> = answer.get_all("vary").iter().collect();
    assert_eq!(varies, ["Accept", "origin"]);
    cors().dress(Some(PAGE), &mut answer);
    assert_eq!(answer["access-control-allow-origin"], PAGE);
    assert!(
        answer["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("etag")
    );
    assert_eq!(answer.get_all("vary").iter().count(), 2);
}

#[test]
fn a_foreign_page_is_known_by_its_origin() {
    let foreign = |fields: &[(&'static str, &str)]| {
        cors().is_foreign(&headers(fields), true, "db.example.com:443")
    };
    assert!(!foreign(&[]), "no browser");
    assert!(!foreign(&[("origin", PAGE)]));
    assert!(!foreign(&[("origin", "https://db.example.com")]));
    assert!(foreign(&[("origin", "https://evil.example")]));
    assert!(foreign(&[("origin", "null")]));
    assert!(foreign(&[("origin", "http://db.example.com")]));
    assert!(foreign(&[("sec-fetch-site", "cross-site")]));
    assert!(!foreign(&[("sec-fetch-site", "same-origin")]));
    assert!(!foreign(&[("sec-fetch-site", "none")]));
}
