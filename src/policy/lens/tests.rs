use proptest::prelude::*;

use crate::json::Kind;
use crate::policy::tests::{lens, policy, route, user, value};
use crate::policy::{Lens, Needs, Plan, Policy, Reads, Verdict};

const DB: &str = "databases=['d']\ncallers={roles=['n:{n}']}\n";

fn rules(rules: &[&str]) -> Policy {
    let rule = |(index, text): (usize, &&str)| format!("[[rule]]\nname='r{index}'\n{DB}{text}\n");
    policy(&rules.iter().enumerate().map(rule).collect::<String>())
}

#[track_caller]
fn shown(policy: &Policy, document: &str) -> Option<String> {
    let lens = lens(policy, &user("u", &["n:1"]), "/d/_all_docs");
    let document = value(document);
    let id = document
        .get("_id")
        .and_then(crate::json::Value::as_str)
        .unwrap_or("x")
        .to_owned();
    let fields = lens.judge(&id, Some(&document))?.into_owned();
    Some(fields.cut_value(&document, Kind::Document).to_string())
}

#[test]
fn a_field_is_hidden_only_if_every_rule_that_shows_the_document_hides_it() {
    let policy = rules(&[
        "permit=['read']\ndocuments={a=1}\nhide=['x', 'y']",
        "permit=['read']\ndocuments={b=1}\nhide=['y', 'z']",
        "hide=['w']\ndocuments={c=1}",
    ]);
    let check = |document: &str, expected: Option<&str>| {
        assert_eq!(shown(&policy, document).as_deref(), expected)
    };
    check(r#"{"a":2,"x":1}"#, None);
    check(
        r#"{"a":1,"x":1,"y":1,"z":1,"w":1}"#,
        Some(r#"{"a":1,"z":1,"w":1}"#),
    );
    check(
        r#"{"a":1,"b":1,"x":1,"y":1,"z":1,"w":1}"#,
        Some(r#"{"a":1,"b":1,"x":1,"z":1,"w":1}"#),
    );
    check(
        r#"{"a":1,"b":1,"c":1,"x":1,"w":1}"#,
        Some(r#"{"a":1,"b":1,"c":1,"x":1}"#),
    );
}

#[test]
fn captured_text_compares_letter_by_letter_and_constants_as_couchdb_does() {
    let capture = rules(&["permit=['read']\ndocuments={owner='{n}'}"]);
    let caller = user("u", &["n:alice"]);
    let soft = value("{\"owner\":\"ali\u{AD}ce\"}");
    let lens_of = |policy: &Policy| lens(policy, &caller, "/d/_all_docs");
    assert!(
        lens_of(&capture)
            .judge("x", Some(&value(r#"{"owner":"alice"}"#)))
            .is_some()
    );
    assert!(lens_of(&capture).judge("x", Some(&soft)).is_none());
    let constant = rules(&["permit=['read']\ndocuments={owner='alice'}"]);
    assert!(lens_of(&constant).judge("x", Some(&soft)).is_some());
    // Not equal to what was captured, to the letter.
    let unlike = rules(&["permit=['read']\ndocuments={owner={'$ne'='{n}'}}"]);
    assert!(lens_of(&unlike).judge("x", Some(&soft)).is_some());
    assert!(
        lens_of(&unlike)
            .judge("x", Some(&value(r#"{"owner":"alice"}"#)))
            .is_none()
    );
}

#[test]
fn a_lens_knows_what_it_needs_to_know() {
    let needs =
        |texts: &[&str]| lens(&rules(texts), &user("u", &["n:1"]), "/d/_all_docs").needs_document();
    // Design documents are not shown: the id tells them.
    assert_eq!(needs(&["permit=['read']"]), Needs::Id);
    assert_eq!(
        needs(&["permit=['read', 'design']\nhide=['a']"]),
        Needs::Nothing
    );
    assert_eq!(
        needs(&["permit=['read', 'design']\ndocuments={_id={'$beginsWith'='{n}'}}"]),
        Needs::Id
    );
    assert_eq!(
        needs(&["permit=['read']\ndocuments={a=1}"]),
        Needs::Document
    );
    // A rule that shows everything makes the others idle.
    assert_eq!(
        needs(&["permit=['read']", "permit=['read']\ndocuments={a=1}"]),
        Needs::Id
    );
    assert_eq!(
        needs(&["permit=['read']", "forbid=['read']\ndocuments={a=1}"]),
        Needs::Document
    );
    assert_eq!(
        needs(&["permit=['read', 'design']", "hide=['x']\ndocuments={a=1}"]),
        Needs::Document
    );
}

#[test]
fn what_is_not_known_of_a_document_never_shows_it() {
    let policy = rules(&[
        "permit=['read']\ndocuments={a={'$exists'=false}}",
        "permit=['read']\ndocuments={'$nor'=[{b=1}]}",
    ]);
    assert!(
        lens(&policy, &user("u", &["n:1"]), "/d/_all_docs")
            .judge("x", None)
            .is_none()
    );
    let policy = rules(&["permit=['read']", "forbid=['read']\ndocuments={a=1}"]);
    assert!(
        lens(&policy, &user("u", &["n:1"]), "/d/_all_docs")
            .judge("x", None)
            .is_none()
    );
}

#[test]
fn what_may_not_be_read_may_not_be_named() {
    let may = |texts: &[&str], path: &[&str]| {
        lens(&rules(texts), &user("u", &["n:1"]), "/d/_all_docs").may_name(path)
    };
    let hides = &["permit=['read']\nhide=['a.b', '**.p']"][..];
    for (path, expected) in [
        (&["a"][..], false),
        (&["a", "b"], false),
        (&["a", "b", "c"], false),
        (&["a", "c", "p"], false),
        (&["p"], false),
        (&["_id"], true),
        (&[], false),
    ] {
        assert_eq!(may(hides, path), expected, "{path:?}");
    }
    // Hidden in some documents is hidden enough.
    assert!(!may(
        &["permit=['read']", "hide=['x']\ndocuments={a=1}"],
        &["x"]
    ));
    assert!(!may(
        &[
            "permit=['read']\ndocuments={a=1}",
            "permit=['read']\ndocuments={b=1}\nhide=['x']"
        ],
        &["x"]
    ));
    // What a rule for all documents shows is hidden in none.
    assert!(may(
        &[
            "permit=['read']",
            "permit=['read']\ndocuments={b=1}\nhide=['x']"
        ],
        &["x"]
    ));
    assert!(may(&["permit=['read']\nshow=['x']"], &["x", "y"]));
    assert!(!may(&["permit=['read']\nshow=['x.y']"], &["x"]));
}

/// `_find` under these rules.
fn finds(texts: &[&str]) -> Lens {
    let caller = user("u", &["n:1"]);
    let verdict = rules(texts).decide(&caller, route("POST", "/d/_find"));
    let Verdict::Permit(permit) = verdict else {
        panic!("{verdict}")
    };
    let Plan::Read(Reads::Documents(lens)) = permit.plan() else {
        panic!("nothing is hidden")
    };
    lens.clone()
}

#[test]
fn what_may_not_be_read_is_not_found() {
    let shown = |lens: &Lens, document: &str| {
        let document = value(document);
        let fields = lens.judge("x", Some(&document)).unwrap();
        fields.cut_value(&document, Kind::Document).to_string()
    };
    let whole = r#"{"a":1,"x":1,"y":1}"#;
    let hidden = finds(&["permit=['find']", "permit=['read']\nhide=['x']"]);
    assert_eq!(shown(&hidden, whole), r#"{"a":1,"y":1}"#);
    assert!(!hidden.may_name(&["x"]) && hidden.may_name(&["y"]) && hidden.hides_fields());
    let show = finds(&[
        "permit=['find']\nhide=['y']",
        "permit=['read']\nshow=['x', 'y']",
    ]);
    assert_eq!(shown(&show, whole), r#"{"x":1}"#);
    assert!(show.may_name(&["x"]) && !show.may_name(&["y"]) && !show.may_name(&["a"]));
    // Of documents that they do not read, `find` alone says what is shown.
    let some = finds(&[
        "permit=['find']",
        "permit=['read']\nhide=['x']\ndocuments={a=2}",
    ]);
    assert_eq!(shown(&some, whole), whole);
    assert_eq!(shown(&some, r#"{"a":2,"x":1}"#), r#"{"a":2}"#);
    assert!(!some.may_name(&["x"]));
    assert_eq!(some.needs_document(), Needs::Document);
    // What one rule for reading hides, another may show.
    let several = [
        "permit=['find']\ndocuments={a=1}",
        "permit=['read']\nhide=['x']",
        "permit=['read']\nhide=['y']",
    ];
    assert_eq!(shown(&finds(&several), whole), whole);
    assert_ne!(some.fingerprint(), hidden.fingerprint());
}

#[test]
fn of_leaves_that_fare_each_by_itself_nothing_is_named() {
    let lens = |text: &str| lens(&rules(&[text]), &user("u", &["n:1"]), "/d/_all_docs");
    let by_field = lens("permit=['read']\ndocuments={a=1}");
    let by_id = lens("permit=['read']\ndocuments={_id={'$beginsWith'='x'}}");
    for name in ["_conflicts", "_deleted_conflicts", "_revs_info"] {
        assert!(
            !by_field.may_name(&[name]) && by_id.may_name(&[name]),
            "{name}"
        );
    }
}

#[test]
fn a_hidden_condition_makes_no_index_be_chosen() {
    let filter = |text: &str| {
        let lens = lens(&rules(&[text]), &user("u", &["n:1"]), "/d/_all_docs");
        lens.prefilter().unwrap().to_string()
    };
    assert_eq!(
        filter("permit=['read']\ndocuments={a=1}"),
        r#"{"a":{"$eq":1}}"#
    );
    assert_eq!(
        filter("permit=['read']\ndocuments={a=1}\nhide=['a']"),
        r#"{"$or":[{"a":{"$eq":1}},{"_id":{"$in":[]}}]}"#
    );
}

#[test]
fn fingerprints_cover_what_is_seen_and_nothing_else() {
    let print = |policy: &Policy, roles: &[&str]| {
        lens(policy, &user("u", roles), "/d/_all_docs")
            .fingerprint()
            .to_string()
    };
    let policy = rules(&[
        "permit=['read']\ndocuments={n='{n}'}",
        "permit=['read']\ndocuments={a=1}\nhide=['b']",
    ]);
    let same = rules(&[
        "permit=['read', 'changes']\nhide=['b']\ndocuments={a=1}",
        "permit=['read']\ndocuments={n='{n}'}",
    ]);
    assert_eq!(print(&policy, &["n:1"]), print(&same, &["n:1"]));
    assert_eq!(
        print(&policy, &["n:1", "n:2"]),
        print(&policy, &["n:2", "n:1", "else"])
    );
    assert_ne!(print(&policy, &["n:1"]), print(&policy, &["n:2"]));
    assert_ne!(print(&policy, &["n:1"]), print(&policy, &["n:1", "n:2"]));
    let hidden = rules(&[
        "permit=['read']\ndocuments={n='{n}'}",
        "permit=['read']\ndocuments={a=1}\nhide=['c']",
    ]);
    assert_ne!(print(&policy, &["n:1"]), print(&hidden, &["n:1"]));
    // Stable across processes and versions: clients hold sequences that carry it.
    assert_eq!(print(&policy, &["n:1"]), "302bb3342aa145df");
}

fn documents() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a={'$gt'=1}",
        "a='{n}'",
        "a={'$ne'='{n}'}",
        "a={'$in'=['{n}', 1]}",
        "a={'$nin'=['{n}']}",
        "a={'$exists'=false}",
        "b={'$pattern'='x*'}",
        "b={'$regex'='x'}",
        "b={'$type'='string'}",
        "'b.c'=1",
        "b={'$size'=1}",
        "b={'$not'={'$size'=1}}",
        "a={'$gte'='{n}'}",
        "a={'$beginsWith'='{n}'}",
        "b={'$elemMatch'={c=1}}",
        "b={'$all'=[1]}",
        "'$or'=[]",
    ]);
    prop::collection::vec((leaf, 0..4_u8), 1..4).prop_map(|leaves| {
        let parts: Vec<String> = leaves
            .iter()
            .map(|(leaf, shape)| match shape {
                0 => format!("{{{leaf}}}"),
                1 => format!("{{'$not'={{{leaf}}}}}"),
                2 => format!("{{'$or'=[{{{leaf}}}, {{c=1}}]}}"),
                _ => format!("{{'$nor'=[{{{leaf}}}, {{c=2}}]}}"),
            })
            .collect();
        format!("documents={{'$and'=[{}]}}", parts.join(","))
    })
}

fn document() -> impl Strategy<Value = String> {
    let a = prop::sample::select(vec![
        "",
        r#""a":1,"#,
        r#""a":"1","#,
        "\"a\":\"1\u{AD}\",",
        r#""a":["1"],"#,
        r#""a":5,"#,
    ]);
    let b = prop::sample::select(vec![
        "",
        r#""b":"xy","#,
        r#""b":{"c":1},"#,
        r#""b":[{"c":1}],"#,
        r#""b":[1],"#,
    ]);
    let c = prop::sample::select(vec!["", r#""c":1,"#, r#""c":2,"#, r#""c":3,"#]);
    (a, b, c).prop_map(|(a, b, c)| format!(r#"{{{a}{b}{c}"_id":"x"}}"#))
}

proptest! {
    /// Whatever is pushed down to CouchDB, no visible document gets lost.
    #[test]
    fn a_prefilter_matches_every_visible_document(selector in documents(), document in document()) {
        let policy = rules(&[&format!("permit=['read']\n{selector}")]);
        let lens = lens(&policy, &user("u", &["n:1", "n:2"]), "/d/_all_docs");
        let document = value(&document);
        if lens.judge("x", Some(&document)).is_some()
            && let Some(wider) = lens.prefilter()
        {
            let wider = crate::policy::Selector::parse(&wider).unwrap();
            prop_assert!(wider.matches(&document), "{:?}", lens.prefilter());
        }
    }
}

fn nested(path: &[&str]) -> String {
    match path {
        [] => r#"{"a":{"a":1,"b":1},"b":{"a":1,"b":1}}"#.to_owned(),
        [first, rest @ ..] => format!(r#"{{"{first}":{}}}"#, nested(rest)),
    }
}

proptest! {
    /// Whatever a rule takes away, no selector may name: not it, nor what holds it, nor what is in it.
    #[test]
    fn a_query_naming_a_hidden_field_is_refused(
        steps in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..4),
        hidden in prop::collection::vec(prop::sample::select(vec!["a", "b.a", "a.*.b", "**.b", "a.b.a", "*.a", "a*.a"]), 1..3),
        always in any::<bool>(),
        show in any::<bool>(),
    ) {
        let list = format!("{hidden:?}").replace('"', "'");
        let policy = match (always, show) {
            (true, _) => rules(&["permit=['read', 'find']", &format!("hide={list}")]),
            (false, true) => rules(&[&format!("permit=['read', 'find']\nshow={list}")]),
            (false, false) => rules(&[&format!("permit=['read', 'find']\nhide={list}")]),
        };
        let lens = lens(&policy, &user("u", &["n:1"]), "/d/_all_docs");
        let document = value(&nested(&steps));
        let shown = lens.judge("x", Some(&document)).unwrap().cut_value(&document, Kind::Document);
        let selector = value(&format!(r#"{{"{}":{{"$gt":null}}}}"#, steps.join(".")));
        let named = crate::policy::Selector::client(&selector).unwrap().named_fields();
        let may = named.iter().all(|path| lens.may_name(&path.iter().map(String::as_str).collect::<Vec<_>>()));
        if shown.at(&steps) != document.at(&steps) {
            prop_assert!(!may, "{:?} under {}", steps, list);
        }
    }
}
