use std::cmp::Ordering;

use proptest::prelude::*;

use crate::json::Value;

use super::{Strings, collate, compare};

fn value(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

#[test]
fn values_sort_as_in_couchdbs_documentation() {
    let sorted = [
        "null",
        "false",
        "true",
        "-1e300",
        "-2",
        "-1.5",
        "-1",
        "0",
        "1",
        "1.5",
        "2",
        "9007199254740992",
        "9007199254740993",
        "1e300",
        r#""""#,
        r#""a""#,
        r#""A""#,
        r#""aa""#,
        r#""b""#,
        r#""B""#,
        r#""ba""#,
        "[]",
        r#"["a"]"#,
        r#"["b"]"#,
        r#"["b","c"]"#,
        r#"["b","c","a"]"#,
        r#"["b","d"]"#,
        "{}",
        r#"{"a":1}"#,
        r#"{"a":2}"#,
        r#"{"b":1}"#,
        r#"{"b":2}"#,
        r#"{"b":2,"a":1}"#,
        r#"{"b":2,"c":2}"#,
    ];
    for (at, a) in sorted.iter().enumerate() {
        for (other, b) in sorted.iter().enumerate() {
            assert_eq!(collate(&value(a), &value(b)), at.cmp(&other), "{a} and {b}");
        }
    }
}

#[test]
fn numbers_of_any_spelling_compare_by_value() {
    for (a, b, order) in [
        ("1", "1.0", Ordering::Equal),
        ("100", "1e2", Ordering::Equal),
        ("-0", "0", Ordering::Equal),
        ("0", "-0.0", Ordering::Equal),
        ("1", "1.5", Ordering::Less),
        ("-1", "-1.5", Ordering::Greater),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567891",
            Ordering::Less,
        ),
        ("123456789012345678901234567890", "1e20", Ordering::Greater),
        ("-123456789012345678901234567890", "-1e20", Ordering::Less),
    ] {
        assert_eq!(collate(&value(a), &value(b)), order, "{a} and {b}");
    }
}

#[test]
fn icu_takes_for_equal_what_an_exact_comparison_does_not() {
    let (plain, soft) = (Value::from("alice"), Value::from("ali\u{AD}ce"));
    assert_eq!(collate(&plain, &soft), Ordering::Equal);
    assert_ne!(compare(&plain, &soft, Strings::Exact), Ordering::Equal);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(value("null")),
        any::<bool>().prop_map(Value::Bool),
        (-3_i64..4).prop_map(Value::from),
        prop_oneof![Just("1.5"), Just("-0.0"), Just("1e2")].prop_map(value),
        "[aAbB\u{AD}]{0,3}".prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(Value::Array)
    })
}

proptest! {
    #[test]
    fn it_is_an_order(a in any_value(), b in any_value(), c in any_value()) {
        prop_assert_eq!(collate(&a, &a), Ordering::Equal);
        prop_assert_eq!(collate(&a, &b), collate(&b, &a).reverse());
        if collate(&a, &b).is_le() && collate(&b, &c).is_le() {
            prop_assert!(collate(&a, &c).is_le());
        }
    }
}
