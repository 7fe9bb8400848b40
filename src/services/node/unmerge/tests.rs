use proptest::prelude::*;

use super::unmerge;
use crate::json::Value;
use crate::services::node::merge::merge;
use crate::services::node::merge::tests::{any_value, model};

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn check(left: &str, wanted: &str, own: &str) {
    let (left, wanted) = (json(left), json(wanted));
    let found = unmerge(&left, &wanted).unwrap();
    let text = found
        .as_ref()
        .map_or("nothing".to_owned(), Value::to_string);
    assert_eq!(text, own, "{left} to {wanted}");
    if let Some(own) = found {
        assert_eq!(merge(left, &own), wanted);
    }
}

fn stays(left: &str, wanted: &str, path: &str) {
    let refused = unmerge(&json(left), &json(wanted)).unwrap_err();
    assert_eq!(refused.to_string(), path, "{left} to {wanted}");
}

#[test]
fn only_what_differs_is_kept() {
    check(
        r#"{"a":1,"b":{"c":2,"d":3}}"#,
        r#"{"a":1,"b":{"c":2,"d":4},"e":5}"#,
        r#"{"b":{"d":4},"e":5}"#,
    );
    check(r#"{"a":1}"#, r#"{"a":1}"#, "nothing");
    check(r#"{"a":1.0}"#, r#"{"a":1}"#, "nothing");
    check(r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":null}"#);
    check(r#"{"a":{"b":1}}"#, r#"{"a":"leaf"}"#, r#"{"a":"leaf"}"#);
    check(r#"{"a":5}"#, r#"{"a":{}}"#, r#"{"a":{}}"#);
}

#[test]
fn an_array_is_kept_up_to_its_last_difference() {
    check("[1,2,3]", "[1,9,3]", "[1,9]");
    check(r#"[{"a":1},[2],3]"#, r#"[{"a":1},[2],4]"#, "[{},[],4]");
    check("[1]", "[1,2]", "[1,2]");
    check("[]", "[]", "nothing");
}

#[test]
fn the_kind_of_a_container_is_kept_too() {
    check(r#"{"0":1}"#, "[1]", "[]");
    check("[1]", r#"{"0":1}"#, "{}");
    check("[1]", r#"{"0":1,"a":2}"#, r#"{"a":2}"#);
    check("[{}]", "[[]]", "[[]]");
}

#[test]
fn what_is_inherited_can_not_be_left_out() {
    stays(r#"{"a":1}"#, "{}", "a");
    stays(r#"{"a":{"b":{"c":1}}}"#, r#"{"a":{"b":{}}}"#, "a.b.c");
    stays(r#"{"list":[1,2,3]}"#, r#"{"list":[1,2]}"#, "list.2");
    stays(r#"{"a.b":{"c\\":1}}"#, r#"{"a.b":{}}"#, r"a\.b.c\\");
    stays(
        r#"{"__proto__":{"a":1}}"#,
        r#"{"__proto__":{}}"#,
        "__proto__.a",
    );
    stays(r#"{"a":1}"#, "[1]", "a");
}

/// Is there a path of the left that no wanted value shadows?
fn is_left_out(left: &Value, wanted: &Value, steps: &[&str]) -> bool {
    let (last, above) = steps.split_last().unwrap();
    let holder = |value: &Value| value.at(above).cloned();
    let (Some(left), Some(wanted)) = (holder(left), holder(wanted)) else {
        return false;
    };
    let container = matches!(wanted, Value::Array(_) | Value::Object(_));
    container && left.at(&[last]).is_some() && wanted.at(&[last]).is_none()
}

proptest! {
    #[test]
    fn what_is_kept_gives_what_was_wanted(left in any_value(), wanted in any_value()) {
        match unmerge(&left, &wanted) {
            Ok(Some(own)) => prop_assert_eq!(model::merge(&left, &own), wanted),
            Ok(None) => prop_assert_eq!(left, wanted),
            Err(stays) => prop_assert!(is_left_out(&left, &wanted, &stays.steps())),
        }
    }

    /// Whatever any value of its own could make of the left is put back by `unmerge`.
    #[test]
    fn what_can_be_made_is_made(left in any_value(), right in any_value()) {
        let wanted = model::merge(&left, &right);
        let own = unmerge(&left, &wanted).unwrap();
        let made = own.map_or(left.clone(), |own| model::merge(&left, &own));
        prop_assert_eq!(made, wanted);
    }
}
