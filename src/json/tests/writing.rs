//! The lens: what was hidden comes back, what was not seen cannot be set or destroyed.

use super::*;

fn value(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn check(hide: &str, stored: &str, sent: &str) -> Result<String, HiddenFieldSent> {
    let fields = Fields::except(hide.split(' ').map(|path| FieldPath::parse(path).unwrap()));
    fields
        .restore(&value(stored), value(sent))
        .map(|whole| whole.to_string())
}

#[test]
fn hidden_fields_return_to_their_place() {
    let stored = r#"{"_rev":"1","a":{"p":1,"x":2},"s":0,"l":[{"p":1,"x":1},{"p":2,"x":2}]}"#;
    let sent = r#"{"_rev":"1","n":1,"a":{"x":3},"l":[{"x":1},{"x":5}]}"#;
    let whole = r#"{"_rev":"1","a":{"p":1,"x":3},"s":0,"l":[{"p":1,"x":1},{"p":2,"x":5}],"n":1}"#;
    assert_eq!(check("a.p s l.*.p", stored, sent).unwrap(), whole);
}

#[test]
fn what_would_set_or_destroy_hidden_fields_is_refused() {
    let stored = r#"{"a":{"p":1,"x":2},"l":[{"p":1},{"x":2}]}"#;
    let sent = |place: &str| Err(HiddenFieldSent::Sent(place.to_owned()));
    let lost = |place: &str| Err(HiddenFieldSent::Destroyed(place.to_owned()));
    assert_eq!(
        check("**.p", stored, r#"{"a":{"p":1},"l":[{},{}]}"#),
        sent("a.p")
    );
    assert_eq!(
        check("**.p", stored, r#"{"a":{},"l":[{},{}],"n":{"p":1}}"#),
        sent("n.p")
    );
    assert_eq!(check("**.p", stored, r#"{"a":{},"l":[{}]}"#), lost("l"));
    assert_eq!(
        check("**.p", stored, r#"{"l":[{},{"p":1}]}"#),
        sent("l.1.p")
    );
    assert_eq!(check("**.p", stored, r#"{"a":1,"l":[{},{}]}"#), lost("a"));
    assert!(check("q", stored, r#"{"l":[]}"#).is_ok());
}

#[test]
fn what_is_left_of_an_object_that_is_taken_away_stays() {
    let stored = r#"{"a":{"p":1,"x":2},"b":{"c":{"p":1}},"d":{"e":{"p":1,"x":1},"y":1}}"#;
    let check = |sent: &str| check("**.p", stored, sent).unwrap();
    assert_eq!(
        check("{}"),
        r#"{"a":{"p":1},"b":{"c":{"p":1}},"d":{"e":{"p":1}}}"#
    );
    assert_eq!(
        check(r#"{"b":{},"d":{"y":2}}"#),
        r#"{"a":{"p":1},"b":{"c":{"p":1}},"d":{"e":{"p":1},"y":2}}"#
    );
    assert_eq!(
        check(r#"{"b":{"c":{"x":1},"z":1}}"#),
        r#"{"a":{"p":1},"b":{"c":{"p":1,"x":1},"z":1},"d":{"e":{"p":1}}}"#
    );
}

#[test]
fn what_is_put_back_leaves_what_was_sent_as_it_is() {
    let fields = Fields::except([FieldPath::parse("**.p").unwrap()]);
    let check = |stored: &str, sent: &str| {
        let whole = fields.put_back(&value(stored), value(sent));
        whole.map(|whole| whole.to_string())
    };
    let stored = r#"{"p":0,"a":{"p":1,"x":2},"l":[{"p":1},{"x":2}]}"#;
    for (sent, whole) in [
        ("{}", None),
        (
            r#"{"l":[{},{}]}"#,
            Some(r#"{"p":0,"a":{"p":1},"l":[{"p":1},{}]}"#),
        ),
        (
            r#"{"p":9,"a":{"p":8},"l":[{"p":7},{"p":6}]}"#,
            Some(r#"{"p":9,"a":{"p":8},"l":[{"p":7},{"p":6}]}"#),
        ),
        (
            r#"{"a":{"y":1},"l":[{},{}],"n":{"p":1}}"#,
            Some(r#"{"p":0,"a":{"p":1,"y":1},"l":[{"p":1},{}],"n":{"p":1}}"#),
        ),
        (r#"{"a":1,"l":[{},{}]}"#, None),
    ] {
        assert_eq!(check(stored, sent).ok().as_deref(), whole, "{sent}");
    }
}

fn changes(stored: &str, new: &str) -> Vec<String> {
    Fields::all()
        .changed(&value(stored), &value(new))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn changes_are_named_by_their_leaves() {
    assert_eq!(
        changes(
            r#"{"_rev":"1","a":1,"b":{"c":1}}"#,
            r#"{"_rev":"2","b":{"c":1},"a":1.0}"#
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        changes(
            r#"{"a":{"b":1,"c":[1,2]}}"#,
            r#"{"a":{"b":2,"c":[1,2,{"d":1}]},"x.y":{}}"#
        ),
        ["a.b", "a.c.2.d", "x\\.y"]
    );
    assert_eq!(
        changes(r#"{"a":{"b":1},"_attachments":{"f":{}}}"#, r#"{"a":5}"#),
        ["a", "_attachments.f"]
    );
    assert_eq!(changes("1", "2"), ["**"]);
    assert_eq!(changes(r#"{"n":1}"#, r#"{"n":1.0}"#), [""; 0]);
    // JavaScript writes a stored double so, and it is the same double.
    assert_eq!(
        changes(r#"{"n":1.0e17}"#, r#"{"n":100000000000000000}"#),
        [""; 0]
    );
    for large in ["9007199254740993.0", "9.007199254740993e15"] {
        let new = format!(r#"{{"n":[{large}]}}"#);
        assert_eq!(changes(r#"{"n":[9007199254740993]}"#, &new), ["n.0"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn sending_back_what_was_shown_changes_nothing(stored in document(), fields in fields()) {
        let shown = fields.cut_value(&stored, Kind::Document);
        prop_assert_eq!(fields.restore(&stored, shown), Ok(stored));
    }

    #[test]
    fn what_is_shown_after_a_write_is_what_was_sent(stored in document(), other in document(), fields in fields()) {
        let sent = fields.cut_value(&other, Kind::Document);
        if let Ok(whole) = fields.restore(&stored, sent.clone()) {
            // An empty object is not there if hidden members return into it.
            let shown = fields.cut_value(&whole, Kind::Document);
            prop_assert_eq!(filled(&shown), filled(&sent));
            for path in fields.hidden() {
                if let Some(place) = path.names().filter(|_| !path.to_string().contains(['0', '1', '_'])) {
                    prop_assert_eq!(whole.at(&place), stored.at(&place));
                }
            }
        }
    }

    #[test]
    fn documents_without_changes_are_equal(stored in document(), new in document()) {
        let own = |value: &Value| {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove("_id");
            value
        };
        prop_assert_eq!(Fields::all().changed(&stored, &new).is_empty(), own(&stored) == own(&new));
        prop_assert!(Fields::all().changed(&stored, &stored).is_empty());
    }

    #[test]
    fn what_is_within_something_wider_is_shown_by_it_too(
        narrow in fields(), wide in fields(), both in any::<bool>(), document in document(),
    ) {
        let wide = if both { narrow.clone().union(wide) } else { wide };
        if narrow.is_within(&wide) {
            let mut places = Vec::new();
            scalars(&document, &mut Vec::new(), &mut places);
            for place in places {
                let place: Vec<&str> = place.iter().map(String::as_str).collect();
                prop_assert!(!narrow.shows_scalar(&place) || wide.shows_scalar(&place), "{place:?}");
            }
        }
    }
}

/// Without members that are empty objects.
fn filled(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut filled_object = Object::new();
            for (name, value) in object.iter() {
                let value = filled(value);
                if value != Object::new().into() {
                    filled_object.append(name, value);
                }
            }
            filled_object.into()
        }
        Value::Array(list) => Value::Array(list.iter().map(filled).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn scalars(value: &Value, trail: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return found.push(trail.clone());
        }
    };
    for (name, value) in members {
        trail.push(name);
        scalars(value, trail, found);
        trail.pop();
    }
}

#[test]
fn paths_tell_what_is_within_what() {
    let paths = |list: &[&str]| -> Vec<FieldPath> {
        let paths = list.iter().map(|text| FieldPath::parse(text).unwrap());
        paths.collect()
    };
    let only = |list: &[&str]| Fields::only(paths(list));
    let except = |list: &[&str]| Fields::except(paths(list));
    let within = [
        (only(&["a"]), only(&["b"]).union(only(&["a"]))),
        (only(&["a.b"]), only(&["a"])),
        (only(&["a", "c.d"]), except(&["b", "c.e"])),
        (only(&["a"]), Fields::all().hiding(paths(&["b"]))),
        (except(&["a", "b"]), except(&["a"])),
    ];
    for (narrow, wide) in within {
        assert!(narrow.is_within(&wide), "{narrow:?} {wide:?}");
        assert!(!wide.is_within(&narrow), "{wide:?} {narrow:?}");
    }
    let apart = [
        (only(&["a"]), only(&["b"])),
        (only(&["a"]), except(&["a.b"])),
        (only(&["*"]), except(&["b"])),
        (only(&["a"]), Fields::all().hiding(paths(&["**.b"]))),
    ];
    for (one, other) in apart {
        assert!(!one.is_within(&other), "{one:?} {other:?}");
    }
}
