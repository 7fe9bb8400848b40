//! What is hidden is gone, what is shown is there byte for byte: against a model that knows paths only.

use super::*;

fn check(fields: &Fields, kind: Kind, text: &str) -> String {
    let mut out = Vec::new();
    fields
        .cut(text.as_bytes(), kind, &mut out)
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    String::from_utf8(out).unwrap()
}

fn except(paths: &[&str]) -> Fields {
    Fields::except(paths.iter().map(|path| FieldPath::parse(path).unwrap()))
}

fn only(paths: &[&str]) -> Fields {
    Fields::only(paths.iter().map(|path| FieldPath::parse(path).unwrap()))
}

#[test]
fn commas_are_repaired_and_the_rest_stays() {
    let text = "{ \"a\" : 1.0 ,\n\"b\": [1, 2,3] , \"c\":\"\\u00e9\" }";
    assert_eq!(
        check(&except(&["a"]), Kind::Plain, text),
        "{\n\"b\": [1, 2,3] , \"c\":\"\\u00e9\" }"
    );
    assert_eq!(
        check(&except(&["b"]), Kind::Plain, text),
        "{ \"a\" : 1.0 , \"c\":\"\\u00e9\" }"
    );
    assert_eq!(
        check(&except(&["c"]), Kind::Plain, text),
        "{ \"a\" : 1.0 ,\n\"b\": [1, 2,3] }"
    );
    assert_eq!(check(&except(&["a", "b", "c"]), Kind::Plain, text), "{}");
    assert_eq!(
        check(&except(&["b.0", "b.2"]), Kind::Plain, text),
        "{ \"a\" : 1.0 ,\n\"b\": [ 2] , \"c\":\"\\u00e9\" }"
    );
    assert_eq!(check(&except(&["a", "zz"]), Kind::Plain, "{\"a\":1}"), "{}");
}

#[test]
fn a_hidden_name_survives_under_no_spelling() {
    let text = r#"{"a":{"\u0070assword":1,"x":"password"},"passwor\u0064":2,"Password":3}"#;
    assert_eq!(
        check(&except(&["**.password"]), Kind::Plain, text),
        r#"{"a":{"x":"password"},"Password":3}"#
    );
    assert_eq!(
        check(&except(&["a.password"]), Kind::Plain, text),
        r#"{"a":{"x":"password"},"passwor\u0064":2,"Password":3}"#
    );
}

#[test]
fn couchdbs_own_members_stay_in_documents() {
    let text = r#"{"_id":"x","_rev":"1-a","_attachments":{},"a":1}"#;
    assert_eq!(
        check(&only(&["b"]), Kind::Document, text),
        r#"{"_id":"x","_rev":"1-a"}"#
    );
    assert_eq!(
        check(&except(&["**"]), Kind::Document, text),
        r#"{"_id":"x","_rev":"1-a"}"#
    );
    assert_eq!(check(&only(&["a"]), Kind::Plain, text), r#"{"a":1}"#);
}

#[test]
fn showing_keeps_the_containers_on_the_way() {
    let text = r#"{"a":{"b":1,"c":2},"d":[{"e":1},{"f":2},3],"g":5}"#;
    assert_eq!(
        check(&only(&["a.b", "d.*.e", "g.h"]), Kind::Plain, text),
        r#"{"a":{"b":1},"d":[{"e":1},{}]}"#
    );
}

#[test]
fn an_object_whose_members_are_all_hidden_is_not_there() {
    let text = r#"{"a":{"p":1},"b":{"c":{"p":1,"q":2}},"d":{},"e":[{"p":1}],"f":{"p":1,"x":2}}"#;
    for (hide, shown) in [
        (
            &["a.p"][..],
            r#"{"b":{"c":{"p":1,"q":2}},"d":{},"e":[{"p":1}],"f":{"p":1,"x":2}}"#,
        ),
        (
            &["a.p", "b.c.p", "b.c.q"],
            r#"{"d":{},"e":[{"p":1}],"f":{"p":1,"x":2}}"#,
        ),
        (&["**.p", "**.q", "f.x"], r#"{"d":{},"e":[{}]}"#),
        (
            &["*.p"],
            r#"{"b":{"c":{"p":1,"q":2}},"d":{},"e":[{"p":1}],"f":{"x":2}}"#,
        ),
    ] {
        assert_eq!(check(&except(hide), Kind::Plain, text), shown, "{hide:?}");
        // What can't be searched for is walked.
        let walked = [hide, &["zz*.0"]].concat();
        assert_eq!(
            check(&except(&walked), Kind::Plain, text),
            shown,
            "{hide:?}"
        );
    }
    let shown = r#"{"b":{"c":{"q":2}}}"#;
    assert_eq!(
        check(
            &only(&["b.c.q", "a.x", "d.x.y", "g"]),
            Kind::Plain,
            r#"{"a":{"p":1},"b":{"c":{"p":1,"q":2}}}"#
        ),
        shown
    );
    // The value itself is there, whatever is left of it.
    assert_eq!(check(&except(&["p"]), Kind::Plain, r#"{"p":1}"#), "{}");
}

#[test]
fn scalars_are_whole_or_null() {
    assert_eq!(check(&only(&["a"]), Kind::Plain, " 5"), "null");
    assert_eq!(check(&except(&["a"]), Kind::Plain, " 5"), " 5");
}

#[test]
fn a_union_hides_only_what_both_sides_hide() {
    let both = except(&["a", "b"]).union(only(&["b"]));
    assert_eq!(
        check(&both, Kind::Plain, r#"{"a":1,"b":2,"c":3}"#),
        r#"{"b":2,"c":3}"#
    );
    let both = both.hiding([FieldPath::parse("c").unwrap()]);
    assert_eq!(
        check(
            &both.union(Fields::all()),
            Kind::Plain,
            r#"{"a":1,"b":2,"c":3}"#
        ),
        r#"{"a":1,"b":2}"#
    );
}

#[test]
fn a_query_may_name_only_what_is_wholly_shown() {
    let fields = except(&["a.b", "c"]);
    for (place, may) in [
        (&["a"][..], false),
        (&["a", "b"], false),
        (&["a", "b", "x"], false),
        (&["a", "x"], true),
        (&["c"], false),
        (&["d"], true),
        (&["_id"], true),
    ] {
        assert_eq!(fields.may_name(place), may, "{place:?}");
    }
    let fields = only(&["a.b"]);
    for (place, may) in [
        (&["a"][..], false),
        (&["a", "b"], true),
        (&["a", "b", "x"], true),
        (&["d"], false),
        (&["_id"], true),
    ] {
        assert_eq!(fields.may_name(place), may, "{place:?}");
    }
}

#[test]
fn a_search_is_not_misled_by_look_alikes() {
    for (hide, text, shown) in [
        (
            "doc.p",
            r#"{"doc":{"x":"\"p\":1","p":2,"p" : [{"p":1}],"q":{"p":3}},"p":4}"#,
            r#"{"doc":{"x":"\"p\":1","q":{"p":3}},"p":4}"#,
        ),
        (",", r#"{"x":"y",",":1}"#, r#"{"x":"y"}"#),
        (": ", r#"{"x": ": ", ": ":{"a":"}"}}"#, r#"{"x": ": "}"#),
        (
            "a.p",
            r#"{"\"a":{"p":1},"x\\":{"a":{"p":2}},"a" : {"p":3}}"#,
            r#"{"\"a":{"p":1},"x\\":{"a":{"p":2}}}"#,
        ),
        (
            "p",
            r#"{"q\"p":1,"q\\":"p","p":"\\\"p\":,"}"#,
            r#"{"q\"p":1,"q\\":"p"}"#,
        ),
        (
            "*.p",
            r#"[{"p":1},["p",{"p":2}],"p"]"#,
            r#"[{},["p",{"p":2}],"p"]"#,
        ),
        (
            "**.p",
            r#"[[[[[[[[[[{"p":1,"q":{"p":2}}]]]]]]]]]]"#,
            r#"[[[[[[[[[[{}]]]]]]]]]]"#,
        ),
        (
            "a.p",
            r#"{"\u0061":{"p":1},"b":{"p":2}}"#,
            r#"{"b":{"p":2}}"#,
        ),
        ("a/b", r#"{"a\/b":1}"#, "{}"),
    ] {
        assert_eq!(check(&except(&[hide]), Kind::Plain, text), shown, "{hide}");
    }
}

#[test]
fn broken_structure_is_an_error_even_where_nothing_is_cut() {
    for text in [
        r#"{"x":{"y":[}}"#,
        r#"{"x":{"y":"a}}"#,
        r#"{"x":[1"#,
        "{\"x\":[\"\n\"]}",
        r#"{"x":[\"]}"#,
        r#"{"x":1}}"#,
    ] {
        assert!(
            except(&["a.b"])
                .cut(text.as_bytes(), Kind::Plain, &mut Vec::new())
                .is_err(),
            "{text}"
        );
    }
}

/// Does the path match exactly this place?
fn hits(steps: &[Step], place: &[String]) -> bool {
    match (steps, place) {
        ([], []) => true,
        ([Step::Deep, rest @ ..], _) if hits(rest, place) => true,
        ([Step::Deep, ..], [_, below @ ..]) => hits(steps, below),
        ([step, rest @ ..], [name, below @ ..]) => takes(step, name) && hits(rest, below),
        _ => false,
    }
}

fn takes(step: &Step, name: &str) -> bool {
    match step {
        Step::Name(own) => own == name,
        Step::Like(pieces) => name.starts_with(&pieces[0]), // only `cf*` is drawn
        Step::Any | Step::Deep => true,
    }
}

/// Could something below this place match?
fn leads(steps: &[Step], place: &[String]) -> bool {
    match (steps, place) {
        ([], _) => false,
        (_, []) => true,
        ([Step::Deep, rest @ ..], [_, below @ ..]) => leads(steps, below) || leads(rest, place),
        ([step, rest @ ..], [name, below @ ..]) => takes(step, name) && leads(rest, below),
    }
}

fn covered(paths: &[FieldPath], place: &[String]) -> bool {
    (0..=place.len()).any(|end| paths.iter().any(|path| hits(path.steps(), &place[..end])))
}

fn shows(fields: &Fields, place: &[String], scalar: bool) -> bool {
    let shown = |clause: &Clause| match clause {
        Clause::All => true,
        Clause::Except(paths) => !covered(paths, place),
        Clause::Only(paths) => {
            covered(paths, place) || !scalar && paths.iter().any(|path| leads(path.steps(), place))
        }
    };
    !covered(fields.hidden(), place)
        && fields.clauses().iter().any(shown)
        && fields.both().is_none_or(|both| shows(both, place, scalar))
}

fn model(fields: &Fields, kind: Kind, value: &Value, place: &mut Vec<String>) -> Option<Value> {
    let scalar = !matches!(value, Value::Object(_) | Value::Array(_));
    let own = kind == Kind::Document
        && place
            .first()
            .is_some_and(|name| name.starts_with('_') && name != "_attachments");
    let shown = own || shows(fields, place, scalar);
    if !shown && (scalar || !place.is_empty()) {
        return None;
    }
    let mut step = |name: &str, value: &Value| {
        place.push(name.to_owned());
        let shown = model(fields, kind, value, place);
        place.pop();
        shown
    };
    Some(match value {
        Value::Object(object) => {
            let mut shown = Object::new();
            for (key, value) in object.iter() {
                let emptied = |cut: &Value| cut == &Object::new().into() && cut != value;
                if let Some(cut) = step(key, value).filter(|cut| !emptied(cut)) {
                    shown.insert(key, cut);
                }
            }
            Value::Object(shown)
        }
        Value::Array(elements) => Value::Array(
            elements
                .iter()
                .enumerate()
                .filter_map(|(n, value)| step(&n.to_string(), value))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

fn is_subsequence(short: &[u8], long: &[u8]) -> bool {
    let mut long = long.iter();
    short.iter().all(|byte| long.any(|other| other == byte))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn the_bytes_the_tree_and_the_model_agree(value in prop_oneof![4 => document(), 1 => tree()], fields in fields(), plain: bool, dice: u64) {
        let kind = if plain { Kind::Plain } else { Kind::Document };
        let expected = model(&fields, kind, &value, &mut Vec::new()).unwrap_or(Value::Null);
        prop_assert_eq!(&fields.cut_value(&value, kind), &expected);

        let text = spelling(&value, dice);
        let cut = check(&fields, kind, &text);
        let read: Value = Value::parse(cut.as_bytes()).unwrap();
        prop_assert_eq!(read.to_bytes(), expected.to_bytes());
        if matches!(value, Value::Object(_) | Value::Array(_)) {
            prop_assert!(is_subsequence(cut.as_bytes(), text.as_bytes()));
        }
        if expected == value && cut != "null" {
            prop_assert_eq!(cut, text);
        }
    }

    #[test]
    fn the_search_cuts_as_the_walk_does(value in document(), paths in paths(), hidden in paths(), escape: bool, dice: u64) {
        let named = |path: &FieldPath| matches!(path.steps().last(), Some(Step::Name(_))) && !path.to_string().contains(['0', '1', 'f']);
        let paths: Vec<FieldPath> = paths.into_iter().filter(named).collect();
        let hidden: Vec<FieldPath> = hidden.into_iter().filter(named).collect();
        let fields = Fields::except(paths).hiding(hidden);
        let text = if escape { spelling(&value, dice) } else { format!(" {value} ") };
        assert!(search::Search::of(&fields).is_some());
        let (mut found, mut walked, mut in_row) = (Vec::new(), Vec::new(), Vec::new());
        fields.cut(text.as_bytes(), Kind::Document, &mut found).unwrap();
        cut::cut(&fields.spot(Kind::Document), text.as_bytes(), &mut walked).unwrap();
        let walked = String::from_utf8(walked).unwrap();
        prop_assert_eq!(&String::from_utf8(found).unwrap(), &walked);

        let mut splitter = Splitter::new(Frame::Array, 1 << 20);
        splitter.push(format!("[{{\"a\":[[]],\"doc\":{text},\"b\":{{}}}}]").as_bytes());
        while !matches!(splitter.next().unwrap(), Some(Event::Row(_))) {}
        let row = splitter.row();
        prop_assert!(row.members().eq(members(row.bytes())));
        let doc = row.members().find(|member| member.as_ref().unwrap().key == "doc").unwrap().unwrap();
        row.cut(&doc, &fields, Kind::Document, &mut in_row).unwrap();
        prop_assert_eq!(String::from_utf8(in_row).unwrap(), walked.trim());
    }

    #[test]
    fn at_says_what_a_cut_does(value in document(), fields in fields(), place in prop::collection::vec(key(), 1..4)) {
        let steps: Vec<&str> = place.iter().map(String::as_str).collect();
        let cut = fields.cut_value(&value, Kind::Document);
        if let Some(stored) = value.at(&steps).filter(|_| !place.iter().any(|step| step == "0" || step == "1")) {
            match fields.at(&steps) {
                Visibility::Visible => prop_assert_eq!(cut.at(&steps), Some(stored)),
                Visibility::Hidden => prop_assert_eq!(cut.at(&steps), None),
                Visibility::Partly => (),
            }
        }
    }

    #[test]
    fn cutting_twice_changes_nothing(value in document(), paths in paths()) {
        // Indexes move when elements go; all other paths name the same thing before and after.
        let paths: Vec<FieldPath> = paths.into_iter().filter(|path| !path.to_string().contains(['0', '1'])).collect();
        let fields = Fields::except(paths);
        let once = fields.cut_value(&value, Kind::Document);
        prop_assert_eq!(fields.cut_value(&once, Kind::Document), once);
    }
}
