use super::Reducer;
use crate::json::Value;

/// The sum of these values, one after the other.
fn sum(values: &str) -> String {
    let values = Value::parse(values.as_bytes()).unwrap();
    let mut values = values.as_array().unwrap().iter().cloned();
    let first = Reducer::Sum.of_row(values.next().unwrap()).unwrap();
    values
        .fold(first, |sum, value| {
            Reducer::Sum.with_row(&sum, value).unwrap()
        })
        .to_string()
}

/// As CouchDB 3.5.2 answered.
#[test]
fn values_are_added_as_couchdb_adds_them() {
    for (values, expected) in [
        ("[1,2.5]", "3.5"),
        ("[9007199254740993,9007199254740993]", "18014398509481986"),
        ("[100000000000000000000,1]", "100000000000000000001"),
        ("[[1,2],3]", "[4,2]"),
        ("[[]]", "[0]"),
        (r#"[{"a":1},{"a":2,"b":[1]}]"#, r#"{"a":3,"b":[1]}"#),
        (r#"[{"a":"t"}]"#, r#"{"a":"t"}"#),
    ] {
        assert_eq!(sum(values), expected, "{values}");
    }
}

#[test]
fn a_value_that_cannot_be_added_takes_the_place_of_its_sum_alone() {
    for (values, cause) in [
        (r#"["x"]"#, r#""x""#),
        (r#"[1,"x",2]"#, r#""x""#),
        ("[null,1]", "null"),
        ("[true]", "true"),
        (r#"[["a"]]"#, "[0]"),
        (r#"[{"a":"t"},{"a":1}]"#, "1"),
        (r#"[{"a":1},2]"#, "2"),
    ] {
        let sum = sum(values);
        assert!(
            sum.starts_with(r#"{"error":"builtin_reduce_error""#),
            "{sum}"
        );
        assert!(sum.ends_with(&format!(r#""caused_by":{cause}}}"#)), "{sum}");
    }
}
