use crate::json::Value;

use super::{Selector, SelectorError};
use crate::policy::combines_nothing;

fn value(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

#[track_caller]
fn check(selector: &str, document: &str, expected: bool) {
    let parsed = Selector::parse(&value(selector)).unwrap();
    assert_eq!(
        parsed.matches(&value(document)),
        expected,
        "{selector} on {document}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_operator_decides_as_couchdb_does() {
    let table: &[(&str, &str, bool)] = &[
        ("{}", r#"{"a":1}"#, true),
        // Equality, by itself and nested.
        (r#"{"a":1}"#, r#"{"a":1.0}"#, true),
        (r#"{"a":1}"#, r#"{"a":"1"}"#, false),
        (r#"{"a":1}"#, "{}", false),
        (r#"{"a":null}"#, "{}", false),
        (r#"{"a":null}"#, r#"{"a":null}"#, true),
        (r#"{"a":{}}"#, r#"{"a":{}}"#, true),
        (r#"{"a":{}}"#, r#"{"a":{"b":1}}"#, false),
        (r#"{"a":[1,2]}"#, r#"{"a":[1,2]}"#, true),
        (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":2}}"#, true),
        (r#"{"a":{"$eq":{"b":1}}}"#, r#"{"a":{"b":1,"c":2}}"#, false),
        (r#"{"a.b":1}"#, r#"{"a":{"b":1}}"#, true),
        (r#"{"a\\.b":1}"#, r#"{"a.b":1}"#, true),
        (r#"{"a\\.b":1}"#, r#"{"a":{"b":1}}"#, false),
        (r#"{"a.1":5}"#, r#"{"a":[4,5]}"#, true),
        (r#"{"a.01":5}"#, r#"{"a":[4,5]}"#, true),
        (r#"{"a.2":5}"#, r#"{"a":[4,5]}"#, false),
        (r#"{"a.-0":4}"#, r#"{"a":[4,5]}"#, true),
        (r#"{"a.-1":5}"#, r#"{"a":[4,5]}"#, false),
        (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#, true),
        (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":3}"#, false),
        // Comparison: any type with any other, in CouchDB's order.
        (r#"{"a":{"$gt":1}}"#, r#"{"a":"x"}"#, true),
        (r#"{"a":{"$gt":null}}"#, r#"{"a":false}"#, true),
        (r#"{"a":{"$gt":null}}"#, "{}", false),
        (r#"{"a":{"$gte":1,"$lt":3}}"#, r#"{"a":1}"#, true),
        (r#"{"a":{"$gte":1,"$lt":3}}"#, r#"{"a":3}"#, false),
        (r#"{"a":{"$lte":"B"}}"#, r#"{"a":"b"}"#, true),
        (r#"{"a":{"$lt":"b"}}"#, r#"{"a":"B"}"#, false),
        (r#"{"a":{"$ne":1}}"#, r#"{"a":2}"#, true),
        (r#"{"a":{"$ne":1}}"#, "{}", false),
        (r#"{"a":"alice"}"#, "{\"a\":\"ali\u{AD}ce\"}", true),
        // Lists.
        (r#"{"a":{"$in":[1,2]}}"#, r#"{"a":2}"#, true),
        (r#"{"a":{"$in":[1,2]}}"#, r#"{"a":[3,2]}"#, true),
        (r#"{"a":{"$in":[[1]]}}"#, r#"{"a":[1]}"#, false),
        (r#"{"a":{"$in":[]}}"#, r#"{"a":1}"#, false),
        (r#"{"a":{"$nin":[1,2]}}"#, r#"{"a":3}"#, true),
        (r#"{"a":{"$nin":[1,2]}}"#, r#"{"a":[3,2]}"#, false),
        (r#"{"a":{"$nin":[]}}"#, r#"{"a":1}"#, true),
        (r#"{"a":{"$nin":[1]}}"#, "{}", false),
        (r#"{"a":{"$all":[1,2]}}"#, r#"{"a":[2,3,1]}"#, true),
        (r#"{"a":{"$all":[1,2]}}"#, r#"{"a":[1]}"#, false),
        (r#"{"a":{"$all":[[1,2]]}}"#, r#"{"a":[1,2]}"#, true),
        (r#"{"a":{"$all":[]}}"#, r#"{"a":[1]}"#, false),
        (r#"{"a":{"$all":[1]}}"#, r#"{"a":1}"#, false),
        (r#"{"a":{"$size":2}}"#, r#"{"a":[1,2]}"#, true),
        (r#"{"a":{"$size":2}}"#, r#"{"a":"ab"}"#, false),
        // Elements.
        (r#"{"a":{"$elemMatch":{"$gt":2}}}"#, r#"{"a":[1,3]}"#, true),
        (
            r#"{"a":{"$elemMatch":{"b":1}}}"#,
            r#"{"a":[{"b":2},{"b":1}]}"#,
            true,
        ),
        (r#"{"a":{"$elemMatch":{"b":1}}}"#, r#"{"a":{"b":1}}"#, false),
        (r#"{"a":{"$elemMatch":{"b":1}}}"#, r#"{"a":[]}"#, false),
        (r#"{"a":{"$allMatch":{"$gt":2}}}"#, r#"{"a":[3,4]}"#, true),
        (r#"{"a":{"$allMatch":{"$gt":2}}}"#, r#"{"a":[3,1]}"#, false),
        (r#"{"a":{"$allMatch":{"$gt":2}}}"#, r#"{"a":[]}"#, false),
        (
            r#"{"a":{"$keyMapMatch":{"$eq":"k"}}}"#,
            r#"{"a":{"k":1}}"#,
            true,
        ),
        (
            r#"{"a":{"$keyMapMatch":{"$eq":"k"}}}"#,
            r#"{"a":["k"]}"#,
            false,
        ),
        // Below an element a negation is not pushed to the leaf: what is not there is not equal.
        (
            r#"{"a":{"$elemMatch":{"$not":{"b":1}}}}"#,
            r#"{"a":[{}]}"#,
            true,
        ),
        (
            r#"{"a":{"$elemMatch":{"b":{"$not":{"$eq":1}}}}}"#,
            r#"{"a":[{}]}"#,
            true,
        ),
        // Kinds, existence.
        (r#"{"a":{"$type":"object"}}"#, r#"{"a":{}}"#, true),
        (r#"{"a":{"$type":"array"}}"#, r#"{"a":{}}"#, false),
        (r#"{"a":{"$exists":true}}"#, r#"{"a":null}"#, true),
        (r#"{"a":{"$exists":false}}"#, r#"{"a":null}"#, false),
        (r#"{"a":{"$exists":false}}"#, "{}", true),
        (r#"{"a.b":{"$exists":false}}"#, r#"{"a":1}"#, false),
        (r#"{"a":{"$not":{"$exists":true}}}"#, "{}", true),
        // Arithmetic: integers only.
        (r#"{"a":{"$mod":[4,1]}}"#, r#"{"a":5}"#, true),
        (r#"{"a":{"$mod":[4,-1]}}"#, r#"{"a":-5}"#, true),
        (r#"{"a":{"$mod":[4,1]}}"#, r#"{"a":5.0}"#, false),
        // Strings.
        (r#"{"a":{"$beginsWith":"ab"}}"#, r#"{"a":"abc"}"#, true),
        (r#"{"a":{"$beginsWith":"ab"}}"#, r#"{"a":["abc"]}"#, false),
        (r#"{"a":{"$regex":"^a.c$"}}"#, r#"{"a":"abc"}"#, true),
        (r#"{"a":{"$regex":"^a.c$"}}"#, r#"{"a":"aäc"}"#, false),
        (r#"{"a":{"$regex":"b"}}"#, r#"{"a":5}"#, false),
        // Combination and negation.
        (r#"{"$and":[]}"#, "{}", true),
        (r#"{"$or":[]}"#, "{}", true),
        (r#"{"$or":[{"a":1},{"b":1}]}"#, r#"{"b":1}"#, true),
        (
            r#"{"a":{"$or":[{"b":1},{"c":1}]}}"#,
            r#"{"a":{"c":1}}"#,
            true,
        ),
        (r#"{"$nor":[{"a":1},{"b":1}]}"#, r#"{"a":2,"b":2}"#, true),
        (r#"{"$nor":[{"a":1},{"b":1}]}"#, r#"{"a":2}"#, false),
        (r#"{"$not":{"a":1}}"#, r#"{"a":2}"#, true),
        (r#"{"$not":{"a":1}}"#, "{}", false),
        (r#"{"$not":{"a":{"$regex":"x"}}}"#, r#"{"a":"y"}"#, true),
        (r#"{"$not":{"a":{"$regex":"x"}}}"#, "{}", false),
        (r#"{"$not":{"$not":{"a":1}}}"#, r#"{"a":1}"#, true),
        (r#"{"$not":{"a":1,"b":2}}"#, r#"{"a":1,"b":3}"#, true),
    ];
    for (selector, document, expected) in table {
        check(selector, document, *expected);
    }
}

#[test]
fn what_couchdb_refuses_is_refused() {
    for bad in [
        "5",
        "[]",
        r#"{"$and":{}}"#,
        r#"{"$or":1}"#,
        r#"{"$nor":1}"#,
        r#"{"$not":[]}"#,
        r#"{"$not":1}"#,
        r#"{"a":{"$in":1}}"#,
        r#"{"a":{"$nin":1}}"#,
        r#"{"a":{"$all":1}}"#,
        r#"{"a":{"$exists":1}}"#,
        r#"{"a":{"$type":1}}"#,
        r#"{"a":{"$mod":[1]}}"#,
        r#"{"a":{"$mod":[0,1]}}"#,
        r#"{"a":{"$mod":[1.5,1]}}"#,
        r#"{"a":{"$size":-1}}"#,
        r#"{"a":{"$size":1.0}}"#,
        r#"{"a":{"$regex":1}}"#,
        r#"{"a":{"$regex":"("}}"#,
        r#"{"a":{"$regex":"(?=x)"}}"#,
        r#"{"a":{"$beginsWith":1}}"#,
        r#"{"a":{"$elemMatch":1}}"#,
        r#"{"a":{"$elemMatch":{"$nor":[{"b":1}]}}}"#,
        r#"{"a":{"$what":1}}"#,
        r#"{"$text":"x"}"#,
        r#"{"$default":{"$text":"x"}}"#,
        r#"{"$where":"x"}"#,
        r#"{"$eq":1}"#,
        r#"{"$not":{}}"#,
        r#"{"$not":{"$eq":1}}"#,
        r#"{"a..b":1}"#,
        r#"{"":1}"#,
        r#"{"a":{"$pattern":"x*"}}"#,
    ] {
        assert!(Selector::parse(&value(bad)).is_err(), "{bad}");
    }
    let deep = format!(
        "{}{}{}",
        r#"{"$not":"#.repeat(100),
        r#"{"a":1}"#,
        "}".repeat(100)
    );
    assert!(matches!(
        Selector::parse(&value(&deep)),
        Err(SelectorError::BadArgument(_))
    ));
}

/// As CouchDB 3.5.2 answered, a document of `{"n":1}`.
#[test]
fn a_condition_without_a_field_is_about_the_whole_document() {
    for (selector, expected) in [
        (r#"{"$and":[{}]}"#, false),
        (r#"{"$or":[{}]}"#, false),
        (r#"{"$nor":[{}]}"#, true),
        (r#"{"$and":[{},{"n":1}]}"#, false),
        (r#"{"$or":[{},{"n":1}]}"#, true),
        (r#"{"$nor":[{},{"n":1}]}"#, false),
        (r#"{"$nor":[{"$nor":[{}]}]}"#, false),
        (r#"{"$or":[1,{"n":1}]}"#, true),
        (r#"{"$and":[[]]}"#, false),
        (r#"{"$gt":1,"n":1}"#, true),
        (r#"{"$and":[{"$eq":{"n":1}}]}"#, true),
    ] {
        check(selector, r#"{"n":1}"#, expected);
    }
}

#[test]
fn a_condition_on_the_whole_document_names_it() {
    let named = |selector| Selector::client(&value(selector)).unwrap().named_fields();
    let whole = [Vec::<String>::new()];
    assert_eq!(
        named(r#"{"$and":[{"$gt":{"secret":5}},{"$gt":null}]}"#),
        whole
    );
    assert_eq!(named(r#"{"$or":[{"$in":[{"secret":5}]}]}"#), whole);
    // Whatever a document holds, it is not empty.
    assert!(named(r#"{"$nor":[{},{"$and":[{}]}]}"#).is_empty());
}

#[test]
fn what_combines_nothing_is_known() {
    let nothing = |selector| combines_nothing(&value(selector));
    for selector in [
        r#"{"$or":[]}"#,
        r#"{"$and":[]}"#,
        r#"{"$nor":[]}"#,
        r#"{"$not":{"$or":[]}}"#,
        r#"{"n":{"$or":[]}}"#,
    ] {
        assert!(nothing(selector), "{selector}");
    }
    for selector in ["{}", r#"{"$nor":[{"$or":[]}]}"#, r#"{"$or":[],"n":1}"#] {
        assert!(!nothing(selector), "{selector}");
    }
}

#[test]
fn an_empty_combination_is_found_wherever_an_index_could_serve_it() {
    let holds = |selector| crate::policy::holds_empty_combination(&value(selector));
    for selector in [
        r#"{"$or":[]}"#,
        r#"{"$and":[{"$or":[]}]}"#,
        r#"{"$nor":[{"$and":[]},{"n":1}]}"#,
        r#"{"$or":[],"n":1}"#,
        r#"{"n":{"$not":{"$and":[]}}}"#,
        r#"{"n":{"m":{"$nor":[]}}}"#,
    ] {
        assert!(holds(selector), "{selector}");
    }
    for selector in [
        "{}",
        r#"{"$or":[{"n":1}]}"#,
        r#"{"n":{"$eq":{"$or":[]}}}"#,
        r#"{"n":{"$elemMatch":{"$or":[]}}}"#,
        r#"{"n":{"$in":[]}}"#,
    ] {
        assert!(!holds(selector), "{selector}");
    }
}

#[test]
fn the_fields_that_must_be_absent_are_told() {
    let absent = |selector| {
        let absent = Selector::client(&value(selector)).unwrap().absent_fields();
        absent.iter().map(|path| path.join(".")).collect::<Vec<_>>()
    };
    for selector in [
        r#"{"a.b":{"$exists":false}}"#,
        r#"{"a":{"b":{"$exists":false}}}"#,
        r#"{"$not":{"a.b":{"$exists":true}}}"#,
        r#"{"a":{"$not":{"b":{"$exists":true}}}}"#,
        r#"{"$nor":[{"x":1},{"a.b":{"$exists":true}}]}"#,
        r#"{"$nor":[{"$nor":[{"a.b":{"$exists":false}}]}]}"#,
        r#"{"$or":[{"a.b":{"$exists":true}},{"a.b":{"$exists":false}}]}"#,
        r#"{"$nor":[{"$not":{"$not":{"a":{"b":{"$exists":true,"$gt":1}}}}}]}"#,
    ] {
        assert_eq!(absent(selector), ["a.b"], "{selector}");
    }
    for selector in [
        r#"{"a.b":{"$exists":true}}"#,
        r#"{"$nor":[{"a.b":{"$exists":false}}]}"#,
        r#"{"$not":{"$not":{"a.b":{"$exists":true}}}}"#,
        r#"{"a.b":{"$ne":1}}"#,
        r#"{"a":{"$elemMatch":{"b":{"$exists":false}}}}"#,
    ] {
        assert!(absent(selector).is_empty(), "{selector}");
    }
}

#[test]
fn a_clients_regular_expression_is_couchdbs_to_compile() {
    let selector = Selector::client(&value(r#"{"a":{"$regex":"(?=x)"}}"#)).unwrap();
    assert!(!selector.matches(&value(r#"{"a":"x"}"#)));
    assert_eq!(selector.named_fields(), [["a"]]);
}

#[test]
fn every_field_is_named_wherever_it_stands() {
    let selector = value(
        r#"{"a":1,"$or":[{"b.c":1},{"$not":{"d\\.e":{"$gt":1}}}],"f":{"g":{"$elemMatch":{"h":1}}},"$nor":[{"i":{"$exists":false}}]}"#,
    );
    let named = Selector::client(&selector).unwrap().named_fields();
    let named: Vec<Vec<&str>> = named
        .iter()
        .map(|path| path.iter().map(String::as_str).collect())
        .collect();
    assert_eq!(
        named,
        [
            vec!["a"],
            vec!["b", "c"],
            vec!["d.e"],
            vec!["f", "g"],
            vec!["i"]
        ]
    );
}

#[test]
fn a_selector_takes_no_more_than_its_paths() {
    // Each test below a long path would have the path to itself.
    let long = "a.".repeat(2000) + "a";
    let tests = r#"{"b":1},"#.repeat(2000) + r#"{"b":1}"#;
    let wide = format!(r#"{{"{long}":{{"$and":[{tests}]}}}}"#);
    assert_eq!(
        Selector::client(&value(&wide)).err(),
        Some(SelectorError::TooLarge)
    );
    let named = format!(r#"{{"{}":{{"$and":[{}]}}}}"#, "x".repeat(20_000), tests);
    assert_eq!(
        Selector::client(&value(&named)).err(),
        Some(SelectorError::TooLarge)
    );
    // As many as this are asked for.
    let many = (0..20_000).map(|n| format!(r#"{{"_id":"d{n}"}}"#));
    let many = format!(r#"{{"$or":[{}]}}"#, many.collect::<Vec<_>>().join(","));
    let many = Selector::client(&value(&many)).unwrap();
    assert_eq!(many.named_fields(), [["_id"]]);
}

#[test]
fn a_field_takes_no_more_than_its_steps() {
    let wide = vec!["a"; 512].join(".");
    assert_eq!(
        crate::policy::field_steps(&wide).map(|steps| steps.len()),
        Ok(512)
    );
    let endless = "a.".repeat(1_000_000) + "a";
    assert_eq!(
        crate::policy::field_steps(&endless).err(),
        Some(SelectorError::TooLarge)
    );
}
