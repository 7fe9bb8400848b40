//! Narrowing: what a pinned caller asks, and what CouchDB is asked.

use std::sync::Arc;

use super::narrow;
use crate::caller::{Caller, Role, User, UserName};
use crate::policy::{Plan, Policy, PolicySettings, Reads, Verdict, ViewLens};
use crate::route::Route;

const RULES: &str = r#"
[[rule]]
name = "pinned"
databases = ["calls"]
callers = { roles = ["number:{number}"] }
permit = ["view:d/v"]
keys = "{number}"
"#;

fn lens(numbers: &[&str]) -> ViewLens {
    let files = [("calls.toml".to_owned(), RULES.to_owned())];
    let policy = Policy::load(&files, &PolicySettings::default()).unwrap();
    let roles = numbers
        .iter()
        .map(|number| Role::parse(&format!("number:{number}")).unwrap());
    let user = User::new(UserName::parse("sue").unwrap(), roles.collect());
    let route = Route::parse("GET", "/calls/_design/d/_view/v", None).unwrap();
    let Verdict::Permit(permit) = policy.decide(&Caller::User(Arc::new(user)), route) else {
        panic!("the view is open to her");
    };
    let Plan::Read(Reads::View(lens)) = permit.plan().clone() else {
        panic!("through a lens");
    };
    *lens
}

/// The ranges that CouchDB is asked for, as `startkey..endkey`, or the refusal.
fn check(numbers: &[&str], query: &str) -> Result<Vec<String>, u16> {
    let target = format!("/calls/_design/d/_view/v?{query}");
    let query = Route::parse("GET", &target, None)
        .unwrap()
        .query
        .view()
        .unwrap();
    let text = |key: &Option<String>| key.clone().unwrap_or_default();
    match narrow(query, &lens(numbers)) {
        Err(refusal) => Err(refusal.status()),
        Ok(ranges) => Ok(ranges
            .iter()
            .map(|range| match (&range.key, &range.keys) {
                (Some(key), _) => format!("key {key}"),
                (_, Some(keys)) => format!("keys {keys}"),
                _ => {
                    let end = if range.inclusive_end {
                        ""
                    } else {
                        " exclusive"
                    };
                    format!("{}..{}{end}", text(&range.startkey), text(&range.endkey))
                }
            })
            .collect()),
    }
}

const BEYOND: &str = "{\"\u{ffff}\":{}}";

#[test]
fn a_query_without_keys_becomes_one_range_for_each_kind_of_key() {
    let asked = check(&["1"], "").unwrap();
    assert_eq!(
        asked,
        [
            "\"1\"..\"1\"".to_owned(),
            format!("[\"1\"]..[\"1\",{BEYOND}]")
        ]
    );
}

#[test]
fn several_values_are_asked_in_couchdbs_order() {
    let asked = check(&["2", "1"], "").unwrap();
    let order: Vec<&str> = asked
        .iter()
        .map(|range| range.split("..").next().unwrap())
        .collect();
    assert_eq!(order, ["\"1\"", "\"2\"", "[\"1\"]", "[\"2\"]"]);
    let backwards = check(&["2", "1"], "descending=true").unwrap();
    let order: Vec<&str> = backwards
        .iter()
        .map(|range| range.split("..").nth(1).unwrap())
        .collect();
    assert_eq!(order, ["[\"2\"]", "[\"1\"]", "\"2\"", "\"1\""]);
}

#[test]
fn a_range_inside_the_pin_stays_as_it_is() {
    let asked = check(
        &["1"],
        "startkey=[\"1\",5]&endkey=[\"1\",7]&inclusive_end=false",
    )
    .unwrap();
    assert_eq!(asked, ["[\"1\",5]..[\"1\",7] exclusive"]);
    let backwards = check(
        &["1"],
        "descending=true&startkey=[\"1\",7]&endkey=[\"1\",5]",
    )
    .unwrap();
    assert_eq!(backwards, ["[\"1\",7]..[\"1\",5]"]);
}

#[test]
fn what_is_outside_the_pin_is_refused() {
    for query in [
        "key=\"2\"",
        "key=[\"2\",1]",
        "keys=[\"1\",\"2\"]",
        "startkey=[\"2\"]&endkey=[\"2\",{}]",
        "startkey=[\"1\",{\"z\":1}]&endkey=[\"0\"]",
    ] {
        assert_eq!(check(&["1"], query), Err(403), "{query}");
    }
}

#[test]
fn a_key_inside_the_pin_is_asked_as_it_is() {
    assert_eq!(check(&["1"], "key=\"1\"").unwrap(), ["key \"1\""]);
    assert_eq!(
        check(&["1"], "keys=[\"1\",[\"1\",3]]").unwrap(),
        ["keys [\"1\",[\"1\",3]]"]
    );
}

#[test]
fn a_key_that_only_collates_like_the_pin_is_outside() {
    // ICU takes the two for the same word.
    assert_eq!(check(&["alice"], "key=\"ali\u{ad}ce\""), Err(403));
}

#[test]
fn a_key_that_is_not_json_is_a_bad_query() {
    assert_eq!(check(&["1"], "key=1x"), Err(400));
    assert_eq!(narrow_refusal("startkey={\"a\":1,\"a\":2}"), 400);
}

fn narrow_refusal(query: &str) -> u16 {
    check(&["1"], query).err().unwrap_or(500)
}
