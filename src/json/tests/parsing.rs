//! The strict parser, beside serde_json's.

use super::*;

fn check(text: &str) -> Result<String, JsonError> {
    Value::parse(text.as_bytes()).map(|value| value.to_string())
}

#[test]
fn numbers_keep_their_text_and_members_their_order() {
    let text = r#"{"z":1.0,"a":[1e400,-0,9007199254740993],"é":"\u00e9\n"}"#;
    assert_eq!(
        check(text).unwrap(),
        r#"{"z":1.0,"a":[1e400,-0,9007199254740993],"é":"é\n"}"#
    );
}

#[test]
fn a_name_that_occurs_twice_is_an_error_in_every_spelling() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"[{"b":{"":1,"":2}}]"#,
    ] {
        assert!(
            matches!(check(text), Err(JsonError::DuplicateKey(_))),
            "{text}"
        );
        assert!(
            Fields::except([FieldPath::parse("**.x*").unwrap()])
                .cut(text.as_bytes(), Kind::Plain, &mut Vec::new())
                .is_err()
        );
    }
    let many: Vec<String> = (0..200).map(|n| format!("\"k{}\":1", n % 150)).collect();
    let many = format!("{{{}}}", many.join(","));
    assert!(matches!(check(&many), Err(JsonError::DuplicateKey(_))));
    assert!(
        members(many.as_bytes()).any(|member| matches!(member, Err(JsonError::DuplicateKey(_))))
    );
}

#[test]
fn what_is_not_strict_json_is_refused() {
    let deep = "[".repeat(129) + &"]".repeat(129);
    let bad = [
        "",
        " ",
        "\u{feff}{}",
        "{} {}",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "'a'",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "NaN",
        "tru",
        "nullx",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800x\\udc00\"",
        "\"\n\"",
        "\"\t\"",
        "\"abc",
        "\"\\",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "/**/1",
        "\u{a0}1",
        "[}",
        "{]",
        "\"\\u+123\"",
        &deep,
    ];
    for text in bad {
        assert!(check(text).is_err(), "{text}");
        let walk = Fields::except([FieldPath::parse("a.b*").unwrap()]);
        let walked = walk.cut(text.as_bytes(), Kind::Plain, &mut Vec::new());
        assert!(walked.is_err() || text.starts_with("\"\\"), "{text}");
    }
    assert_eq!(Value::parse(b"\"\xff\""), Err(JsonError::NotUtf8));
    assert!(check(&("[".repeat(128) + &"]".repeat(128))).is_ok());
}

#[test]
fn numbers_are_equal_by_value() {
    let same = [
        ("1", "1.0"),
        ("100", "1e2"),
        ("0", "-0.0"),
        ("12.50", "125E-1"),
        ("1e999999999999999999999", "1e999999999999999999999"),
    ];
    for (one, two) in same {
        assert_eq!(Number::parse(one), Number::parse(two));
    }
    for (one, two) in [
        ("9007199254740993", "9007199254740992"),
        ("1", "-1"),
        ("10", "1"),
        ("0.1", "1"),
    ] {
        assert_ne!(Number::parse(one), Number::parse(two));
    }
    assert_eq!(Number::parse("-7").unwrap().as_i64(), Some(-7));
}

#[test]
fn one_object_is_walked_with_its_bytes() {
    let text = br#" { "a" : [1, 2] ,"\u0062":"x" } "#;
    let found: Vec<_> = members(text).map(Result::unwrap).collect();
    assert_eq!(
        (found[0].key.as_ref(), found[0].value),
        ("a", &b"[1, 2]"[..])
    );
    assert_eq!(
        (found[1].key.as_ref(), found[1].value),
        ("b", &b"\"x\""[..])
    );
    assert_eq!(&text[found[0].whole.clone()], br#""a" : [1, 2]"#);
    let found: Vec<_> = elements(b"[ 1 ,{\"a\":[]}, \"]\" ]")
        .map(Result::unwrap)
        .collect();
    assert_eq!(found, [&b"1"[..], b"{\"a\":[]}", b"\"]\""]);
    assert!(elements(b"[1] x").any(|element| element.is_err()));
    assert!(members(b"[]").next().unwrap().is_err());
}

#[test]
fn paths_print_as_they_parse() {
    for text in [
        "a",
        "a.b.*.c",
        "**.password",
        "list.0",
        "a\\.b.c",
        "cf*",
        "*x*y",
        "\\*",
        "a\\\\",
    ] {
        assert_eq!(FieldPath::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "", ".", "a.", ".a", "a..b", "a\\", "a\\b", "x**", "**x", "***",
    ] {
        assert!(FieldPath::parse(text).is_err(), "{text}");
    }
    let path = FieldPath::parse("a*b*c").unwrap();
    assert!(
        path.covers(&["aXbYc", "below"])
            && path.covers(&["abbc"])
            && !path.covers(&["abc1"])
            && !path.covers(&["ac"])
    );
}

proptest! {
    #[test]
    fn any_spelling_is_read_as_serde_json_reads_it(value in tree(), dice: u64) {
        let text = spelling(&value, dice);
        let read = Value::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&read, &value);
        if !text.contains("1e400") {
            let other: serde_json::Value = serde_json::from_str(&text).unwrap();
            let ours: serde_json::Value = serde_json::from_slice(&read.to_bytes()).unwrap();
            prop_assert_eq!(ours, other);
        }
    }

    #[test]
    fn almost_json_is_accepted_only_where_serde_json_accepts_it(text in r#"([{}\[\],:"\\ue10.\-+ \n\ta]|"a"|"b":|null|true|\\u00e9|\\ud83d|\\ude00){0,24}"#) {
        let other = serde_json::from_str::<serde_json::Value>(&text);
        match Value::parse(text.as_bytes()) {
            Ok(_) => prop_assert!(other.is_ok()),
            Err(JsonError::DuplicateKey(_)) => (),
            Err(_) => prop_assert!(other.is_err() || text.contains('e')),
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, fields in fields()) {
        let _ = Value::parse(&bytes);
        let _ = fields.cut(&bytes, Kind::Document, &mut Vec::new());
        let _ = members(&bytes).count();
        let _ = elements(&bytes).count();
        let _ = string(&bytes);
        for frame in [Frame::Document, Frame::Array, Frame::Rows("rows"), Frame::Lines, Frame::EventSource] {
            let mut splitter = Splitter::new(frame, 100);
            splitter.push(&bytes);
            while let Ok(Some(_)) = splitter.next() {}
            let _ = splitter.finish();
        }
    }
}
