//! What is a history, and what is none.

use super::History;
use crate::json::Value;

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_history_has_one_meaning() {
    let good = [
        r#"{"_rev":"1-a"}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c"]}}"#,
        r#"{"_revisions":{"start":3,"ids":["c","b"]}}"#,
        r#"{"_rev":"18446744073709551616-z","_revisions":{"start":18446744073709551616,"ids":["z","y"]}}"#,
        r#"{"_rev":"340282366920938463463374607431768211455-z","_revisions":{"start":340282366920938463463374607431768211455,"ids":["z","y"]}}"#,
        r#"{"_rev":"1-0123456789ABCDEF0123456789abcdef","_revisions":{"start":1,"ids":["0123456789abcdef0123456789ABCDEF"]}}"#,
    ];
    for document in good {
        assert!(History::of(&json(document)).is_some(), "{document}");
    }
    let bad = [
        r"{}",
        r#"{"_rev":"0-a"}"#,
        r#"{"_rev":1}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["x","b"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":2,"ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":"3","ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3.0,"ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":-3,"ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":[]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":"c"}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c",2]}}"#,
        // More revisions than generations.
        r#"{"_rev":"2-c","_revisions":{"start":2,"ids":["c","b","a"]}}"#,
        r#"{"_rev":"1-c","_revisions":{"start":18446744073709551616,"ids":["c"]}}"#,
        // One more than what is taken for a generation at all.
        r#"{"_rev":"340282366920938463463374607431768211456-z"}"#,
        r#"{"_revisions":{"start":340282366920938463463374607431768211456,"ids":["z"]}}"#,
        r#"{"_revisions":{"start":3e0,"ids":["c"]}}"#,
        r#"{"_revisions":{"start":0,"ids":["c"]}}"#,
        r#"{"_rev":"1-c","_revisions":null}"#,
    ];
    for document in bad {
        assert!(History::of(&json(document)).is_none(), "{document}");
    }
}

#[test]
fn a_history_names_a_revision_for_each_generation() {
    let told = json(r#"{"_revisions":{"start":18446744073709551616,"ids":["c","b","a"]}}"#);
    let told = History::of(&told).unwrap();
    let named: Vec<&str> = told.iter().map(crate::route::Rev::as_str).collect();
    assert_eq!(
        named,
        [
            "18446744073709551616-c",
            "18446744073709551615-b",
            "18446744073709551614-a"
        ]
    );
    assert_eq!(told.parent().unwrap().as_str(), "18446744073709551615-b");
    assert_eq!(told.length(), 3);
}
