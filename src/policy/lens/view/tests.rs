#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other plan fails the test"
)]

use crate::json::Value;
use crate::policy::tests::{plan, policy, user, value};
use crate::policy::{Needs, Plan, Reads, Row, ViewLens};

fn view(rules: &[&str], roles: &[&str]) -> ViewLens {
    let rule = |(index, text): (usize, &&str)| {
        format!(
            "[[rule]]\nname='r{index}'\ndatabases=['d']\ncallers={{roles=['n:{{n}}']}}\n{text}\n"
        )
    };
    let policy = policy(&rules.iter().enumerate().map(rule).collect::<String>());
    match plan(&policy, &user("u", roles), "GET", "/d/_design/v/_view/w") {
        Plan::Read(Reads::View(lens)) => *lens,
        other => panic!("{other:?}"),
    }
}

fn row(lens: &ViewLens, key: &str, doc: Option<&str>) -> bool {
    let (key, doc) = (value(key), doc.map(value));
    let row = Row {
        id: Some("x"),
        key: &key,
        value: &Value::Null,
        doc: doc.as_ref(),
    };
    let source = lens.source(row.id, row.doc);
    lens.judge(&row, &source).is_some()
}

#[test]
fn keys_pin_whole_keys_and_first_elements() {
    let lens = view(&["permit=['view:v/w']\nkeys='{n}'"], &["n:2", "n:1"]);
    assert_eq!(lens.pins(), Some(&[Value::from("1"), Value::from("2")][..]));
    assert_eq!(lens.needs_document(), Needs::Nothing);
    for (key, inside) in [
        (r#""1""#, true),
        (r#"["1",5]"#, true),
        (r#"["1"]"#, true),
        (r#""3""#, false),
        (r#"[["1"]]"#, false),
        (r#"["3","1"]"#, false),
        ("1", false),
        ("null", false),
        ("{}", false),
    ] {
        assert_eq!(lens.key_is_inside(&value(key)), inside, "{key}");
        assert_eq!(row(&lens, key, None), inside, "{key}");
    }
}

#[test]
fn a_key_that_only_collates_alike_is_outside() {
    let lens = view(&["permit=['view:v/w']\nkeys='{n}'"], &["n:alice"]);
    assert!(!lens.key_is_inside(&Value::from("ali\u{AD}ce")));
    assert!(!lens.key_is_inside(&Value::Array(vec![Value::from("ali\u{AD}ce")])));
}

#[test]
fn one_set_of_captures_must_do_for_key_document_and_row() {
    let lens = view(
        &["permit=['view:v/w']\nkeys='{n}'\ndocuments={owner='{n}'}"],
        &["n:1", "n:2"],
    );
    assert_eq!(lens.needs_document(), Needs::Document);
    assert!(row(&lens, r#""1""#, Some(r#"{"owner":"1"}"#)));
    assert!(!row(&lens, r#""1""#, Some(r#"{"owner":"2"}"#)));
    assert!(!row(&lens, r#""1""#, None));
}

#[test]
fn rows_are_selected_by_what_they_are() {
    let lens = view(
        &["permit=['view:v/w']\nrows={key='{n}', 'value.open'=true}"],
        &["n:1"],
    );
    assert_eq!(lens.pins(), None);
    assert_eq!(lens.needs_document(), Needs::Nothing);
    let judge = |key: &str, found: &str| {
        let (key, found) = (value(key), value(found));
        let row = Row {
            id: Some("x"),
            key: &key,
            value: &found,
            doc: None,
        };
        lens.judge(&row, &lens.source(row.id, None)).is_some()
    };
    assert!(judge(r#""1""#, r#"{"open":true}"#));
    assert!(!judge(r#""1""#, r#"{"open":false}"#));
    assert!(!judge(r#""2""#, r#"{"open":true}"#));
    let by_doc = view(&["permit=['view:v/w']\nrows={'doc.open'=true}"], &["n:1"]);
    assert_eq!(by_doc.needs_document(), Needs::Document);
    assert!(row(&by_doc, "1", Some(r#"{"open":true}"#)));
    assert!(!row(&by_doc, "1", None));
}

#[test]
fn rows_may_be_reduced_only_where_keys_alone_decide() {
    let allowed = |rules: &[&str]| view(rules, &["n:1"]).reduce_allowed();
    assert!(allowed(&["permit=['view:v/w']\nkeys='{n}'\nreduce=true"]));
    assert!(allowed(&[
        "permit=['view:v/*']\nkeys='{n}'\nreduce=true\nhide=['a']",
        "hide=['b']"
    ]));
    assert!(!allowed(&["permit=['view:v/w']\nkeys='{n}'"]));
    assert!(!allowed(&["permit=['view:v/w']\ndocuments={a=1}"]));
    assert!(!allowed(&[
        "permit=['view:v/w']\nkeys='{n}'\nreduce=true",
        "permit=['view:v/w']\nkeys='x'"
    ]));
    assert!(!allowed(&[
        "permit=['view:v/w']\nkeys='{n}'\nreduce=true",
        "forbid=['view:v/w']\ndocuments={a=1}"
    ]));
    assert!(allowed(&["permit=['view:v/w']"]));
    assert!(!allowed(&["permit=['view:v/w']", "hide=['b']"]));
}

#[test]
fn included_documents_need_read() {
    let lens = view(&["permit=['view:v/w']"], &["n:1"]);
    assert!(lens.documents().judge("x", Some(&value("{}"))).is_none());
    let lens = view(&["permit=['view:v/w', 'read']\ndocuments={a=1}"], &["n:1"]);
    assert!(
        lens.documents()
            .judge("x", Some(&value(r#"{"a":1}"#)))
            .is_some()
    );
}

#[test]
fn forbidden_documents_give_no_rows() {
    let lens = view(
        &[
            "permit=['view:v/w']",
            "forbid=['view:v/w']\ndocuments={secret=true}",
        ],
        &["n:1"],
    );
    assert!(row(&lens, "1", Some("{}")));
    assert!(!row(&lens, "1", Some(r#"{"secret":true}"#)));
    assert!(!row(&lens, "1", None));
}
