//! Splitting and decoding.

use super::*;

fn texts(target: &str) -> Option<(Vec<String>, bool)> {
    let target = split(target).ok()?;
    Some((
        target
            .segments
            .iter()
            .map(|segment| segment.text().to_owned())
            .collect(),
        target.slash,
    ))
}

#[track_caller]
fn check(target: &str, segments: &[&str], slash: bool) {
    let segments = segments.iter().map(|&segment| segment.to_owned()).collect();
    assert_eq!(texts(target), Some((segments, slash)), "{target}");
}

#[test]
fn a_target_is_split_at_slashes() {
    check("/", &[], true);
    check("/?a/b", &[], true);
    check("/a", &["a"], false);
    check("/a/", &["a"], true);
    check("/a/b%2Fc/d?e/f", &["a", "b/c", "d"], false);
    for target in [
        "", "a", "//", "//a", "/a//", "/a//b", "?", "/a\\b", "/a?b#c", "/a\tb",
    ] {
        assert_eq!(texts(target), None, "{target}");
    }
}

#[test]
fn a_text_is_decoded_once() {
    for (raw, text) in [
        ("a+b", "a b"),
        ("%2B", "+"),
        ("%2525", "%25"),
        ("%c3%A9", "\u{e9}"),
        ("", ""),
    ] {
        assert_eq!(decode(raw).unwrap(), text);
    }
    for raw in [
        "%",
        "%4",
        "%4g",
        "%\u{e9}",
        "%00",
        "%ff",
        "%c0%af",
        "%ed%a0%80",
        "%+1",
    ] {
        assert!(decode(raw).is_err(), "{raw}");
    }
}

#[test]
fn the_slash_of_an_id_may_be_escaped() {
    let after = |raw| {
        Segment::new(raw)
            .unwrap()
            .after_escaped_slash("_design")
            .map(str::to_owned)
    };
    assert_eq!(after("_design%2Fx").as_deref(), Some("x"));
    assert_eq!(after("_design%2fx%2Fy").as_deref(), Some("x/y"));
    assert_eq!(after("_design%2F%78").as_deref(), Some("x"));
    for raw in [
        "_design",
        "_designx",
        "%5Fdesign%2Fx",
        "_design%2",
        "_Design%2Fx",
    ] {
        assert_eq!(
            Segment::new(raw).ok().and_then(|_| after(raw)),
            None,
            "{raw}"
        );
    }
}

#[test]
fn an_end_of_a_replication_leads_to_its_last_segment() {
    for end in [
        "couchwarden",
        "couchwarden/",
        "http://h/couchwarden",
        "http://a:b@h:1/x/couchwarden/?y=z",
        "https://h/%63ouchwarde%6E#x",
        "http://h/shards%2F00000000-7fffffff%2Fcouchwarden.1796055646",
    ] {
        assert!(leads_to_own_database(end), "{end}");
    }
    for end in [
        "",
        "/",
        "couchwardens",
        "http://h/couchwarden/x",
        "http://h/x%2Fcouchwarden",
        "http://h/x?couchwarden",
        "http://h/%zz",
        "http://h/shards%2F00000000-7fffffff%2Fx.1796055646",
    ] {
        assert!(!leads_to_own_database(end), "{end}");
    }
}
