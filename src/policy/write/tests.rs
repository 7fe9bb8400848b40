#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other plan fails the test"
)]

mod uncovering;

use crate::policy::tests::{plan, policy, user, value};
use crate::policy::{Denied, Edited, Plan, WriteRules};

fn rules(rules: &[&str]) -> WriteRules {
    let rule = |(index, text): (usize, &&str)| {
        format!(
            "[[rule]]\nname='r{index}'\ndatabases=['d']\ncallers={{roles=['n:{{n}}']}}\n{text}\n"
        )
    };
    let policy = policy(&rules.iter().enumerate().map(rule).collect::<String>());
    match plan(
        &policy,
        &user("u", &["n:1", "n:2"]),
        "POST",
        "/d/_bulk_docs",
    ) {
        Plan::Write(rules) => *rules,
        other => panic!("{other:?}"),
    }
}

fn judge(rules: &WriteRules, stored: Option<&str>, new: &str) -> Result<String, Denied> {
    let stored = stored.map(value);
    rules
        .judge(stored.as_ref(), value(new))
        .map(|document| document.to_string())
}

#[track_caller]
fn passes(rules: &WriteRules, stored: Option<&str>, new: &str, expected: &str) {
    assert_eq!(judge(rules, stored, new).as_deref(), Ok(expected));
}

#[track_caller]
fn forbidden(rules: &WriteRules, stored: Option<&str>, new: &str) {
    assert!(
        matches!(judge(rules, stored, new), Err(Denied::Forbidden(_))),
        "{new}"
    );
}

const OWN: &str = "permit=['replicate']\ndocuments={n='{n}'}";

#[test]
fn nobody_takes_a_document_or_pushes_one_away() {
    let rules = rules(&[OWN]);
    passes(
        &rules,
        None,
        r#"{"_id":"x","n":"1"}"#,
        r#"{"_id":"x","n":"1"}"#,
    );
    forbidden(&rules, None, r#"{"_id":"x","n":"3"}"#);
    passes(
        &rules,
        Some(r#"{"_id":"x","n":"1"}"#),
        r#"{"_id":"x","n":"1","a":1}"#,
        r#"{"_id":"x","n":"1","a":1}"#,
    );
    forbidden(
        &rules,
        Some(r#"{"_id":"x","n":"1"}"#),
        r#"{"_id":"x","n":"3"}"#,
    );
    // Not even from one of their scopes to another: captures of one binding stay together.
    forbidden(
        &rules,
        Some(r#"{"_id":"x","n":"1"}"#),
        r#"{"_id":"x","n":"2"}"#,
    );
}

#[test]
fn a_document_that_is_not_seen_is_as_absent() {
    let rules = rules(&[OWN]);
    let hidden = r#"{"_id":"x","n":"3"}"#;
    assert_eq!(
        judge(&rules, Some(hidden), r#"{"_id":"x","_rev":"1-a","n":"1"}"#),
        Err(Denied::Conflict)
    );
    assert_eq!(
        judge(
            &rules,
            Some(hidden),
            r#"{"_id":"x","_rev":"1-a","_deleted":true}"#
        ),
        Err(Denied::Missing)
    );
    assert_eq!(
        judge(&rules, None, r#"{"_id":"x","_rev":"1-a","_deleted":true}"#),
        Err(Denied::Missing)
    );
    // What they could not create either is forbidden both times.
    assert_eq!(
        judge(&rules, Some(hidden), r#"{"_id":"x","n":"4"}"#),
        judge(&rules, None, r#"{"_id":"x","n":"4"}"#)
    );
}

#[test]
fn a_tombstone_keeps_what_rules_decide_by() {
    let rules = rules(&[
        OWN,
        "permit=['read']\ndocuments={'deep.er'=1, list={'$elemMatch'={a=1}}, gone={'$exists'=false}}",
    ]);
    passes(
        &rules,
        Some(r#"{"_id":"x","n":"1","a":1,"deep":{"er":2,"other":3},"list":[1]}"#),
        r#"{"_id":"x","_deleted":true,"gone":5,"n":"9"}"#,
        r#"{"_id":"x","_deleted":true,"n":"1","deep":{"er":2},"list":[1]}"#,
    );
}

/// The tombstone has no attachments any more, so what decides by them shows other fields of it.
#[test]
fn nobody_uncovers_what_a_tombstone_keeps() {
    let sealed = "hide=['pin','note']\ndocuments={'_attachments.seal'={'$exists'=true}}";
    let by_pin = "permit=['find']\ndocuments={pin='4711'}";
    let stored = r#"{"_id":"x","n":"1","pin":"4711","note":"s","_attachments":{"seal":{}}}"#;
    let tombstone = r#"{"_id":"x","_deleted":true}"#;
    forbidden(&rules(&[OWN, sealed, by_pin]), Some(stored), tombstone);
    // Whether there is anything to uncover is nothing to learn either.
    let bare = r#"{"_id":"x","n":"1","_attachments":{"seal":{}}}"#;
    forbidden(&rules(&[OWN, sealed, by_pin]), Some(bare), tombstone);
    // What is kept they know, and nothing else is left of the document.
    let kept = r#"{"_id":"x","_deleted":true,"n":"1"}"#;
    passes(&rules(&[OWN, sealed]), Some(stored), tombstone, kept);
    let open = r#"{"_id":"x","n":"1","pin":"4711"}"#;
    let kept = r#"{"_id":"x","_deleted":true,"n":"1","pin":"4711"}"#;
    passes(&rules(&[OWN, sealed, by_pin]), Some(open), tombstone, kept);
}

#[test]
fn a_reserved_member_stays_as_it_is_stored() {
    let rules = rules(&["permit=['replicate']\nhide=['_hidden']"]);
    let stored = r#"{"_id":"x","_access":["a"],"_hidden":1}"#;
    let same = r#"{"_id":"x","_access":["a"],"n":1}"#;
    let whole = r#"{"_id":"x","_access":["a"],"_hidden":1,"n":1}"#;
    passes(&rules, Some(stored), same, whole);
    forbidden(&rules, Some(stored), r#"{"_id":"x","_access":["b"]}"#);
    forbidden(&rules, Some(stored), r#"{"_id":"x"}"#);
    forbidden(&rules, None, same);
    let end = r#"{"_id":"x","_deleted":true}"#;
    passes(&rules, Some(stored), end, end);
}

#[test]
fn hidden_fields_come_back_and_may_not_be_sent() {
    let rules = rules(&["permit=['replicate']\nhide=['secret']"]);
    let stored = r#"{"_id":"x","a":1,"secret":2}"#;
    passes(
        &rules,
        Some(stored),
        r#"{"_id":"x","a":3}"#,
        r#"{"_id":"x","a":3,"secret":2}"#,
    );
    forbidden(&rules, Some(stored), r#"{"_id":"x","a":3,"secret":2}"#);
    forbidden(&rules, None, r#"{"_id":"x","secret":2}"#);
    forbidden(
        &rules,
        Some(stored),
        r#"{"_id":"x","_deleted":true,"secret":2}"#,
    );
}

#[track_caller]
fn becomes(rules: &WriteRules, edited: Edited, stored: &str, new: &str, expected: Option<&str>) {
    let judged = rules.judge_edit(Some(&value(stored)), value(new), edited);
    assert_eq!(judged.ok(), expected.map(value), "{new}");
}

#[test]
fn what_may_have_been_hidden_from_its_editor_is_put_back() {
    let rules = rules(&[
        "permit=['replicate']\ndocuments={owner='u'}",
        "permit=['replicate']\nhide=['price', 'list.*.cost']\ndocuments={members='u'}",
        "hide=['draft']\ndocuments={state='draft'}",
    ]);
    let own = r#"{"_id":"x","owner":"u","price":1,"draft":2,"note":3}"#;
    let edit = r#"{"_id":"x","owner":"u","note":4}"#;
    // As it is today, all of it is seen.
    becomes(&rules, Edited::AsItIs, own, edit, Some(edit));
    // Another rule hid one field while the document was another, and another rule shows no price.
    let whole = r#"{"_id":"x","owner":"u","note":4,"price":1,"draft":2}"#;
    becomes(&rules, Edited::Unknown, own, edit, Some(whole));
    // No other rule has ever shown this one, but the rule that hides may have been about it.
    let hidden = r#"{"_id":"x","owner":"u","note":4,"draft":2}"#;
    becomes(&rules, Edited::AtSomeTime, own, edit, Some(hidden));
    let both = own.replace(r#""owner""#, r#""members":"u","owner""#);
    let edit = r#"{"_id":"x","members":"u","owner":"u","note":4}"#;
    let whole = r#"{"_id":"x","members":"u","owner":"u","note":4,"price":1,"draft":2}"#;
    becomes(&rules, Edited::AtSomeTime, &both, edit, Some(whole));
    // What is sent has been seen, and what nothing hides may go.
    let seen = r#"{"_id":"x","owner":"u","price":null,"draft":7}"#;
    becomes(&rules, Edited::Unknown, own, seen, Some(seen));
    // Elements of lists have no names.
    let list = r#"{"_id":"x","owner":"u","draft":1,"list":[{"n":1,"cost":1},{"n":2,"cost":2}]}"#;
    let edit = r#"{"_id":"x","owner":"u","draft":1,"list":[{"n":1},{"n":3,"cost":5}]}"#;
    let whole = r#"{"_id":"x","owner":"u","draft":1,"list":[{"n":1,"cost":1},{"n":3,"cost":5}]}"#;
    becomes(&rules, Edited::Unknown, list, edit, Some(whole));
    let shorter = r#"{"_id":"x","owner":"u","draft":1,"list":[{"n":1}]}"#;
    becomes(&rules, Edited::Unknown, list, shorter, None);
    let without = r#"{"_id":"x","owner":"u","draft":1}"#;
    becomes(&rules, Edited::Unknown, list, without, None);
}

#[test]
fn only_listed_fields_change() {
    let rules = rules(&[
        "permit=['read', 'update', 'create', 'delete']\nchange=['name', 'cf*', 'settings.tone']\ndocuments={n='{n}'}",
    ]);
    let stored = r#"{"_id":"x","n":"1","name":"a","fixed":1,"settings":{"tone":1,"volume":2}}"#;
    passes(
        &rules,
        Some(stored),
        r#"{"_id":"x","n":"1","name":"b","cfu":"+1","fixed":1.0,"settings":{"tone":2,"volume":2}}"#,
        r#"{"_id":"x","n":"1","name":"b","cfu":"+1","fixed":1.0,"settings":{"tone":2,"volume":2}}"#,
    );
    for new in [
        r#"{"_id":"x","n":"1","name":"a","fixed":2,"settings":{"tone":1,"volume":2}}"#,
        r#"{"_id":"x","n":"1","name":"a","settings":{"tone":1,"volume":2}}"#,
        r#"{"_id":"x","n":"1","name":"a","fixed":1,"settings":{"tone":1,"volume":3}}"#,
        r#"{"_id":"x","n":"1","name":"a","fixed":1,"settings":{"tone":1}}"#,
        r#"{"_id":"x","n":"1","name":"a","fixed":1}"#,
        r#"{"_id":"x","n":"1","name":"a","fixed":1,"new":1,"settings":{"tone":1,"volume":2}}"#,
        r#"{"_id":"x","_deleted":true,"fixed":2}"#,
    ] {
        forbidden(&rules, Some(stored), new);
    }
    // Who creates sets these, and what the selector asks for.
    passes(
        &rules,
        None,
        r#"{"_id":"x","n":"1","name":"a","settings":{"tone":1}}"#,
        r#"{"_id":"x","n":"1","name":"a","settings":{"tone":1}}"#,
    );
    forbidden(&rules, None, r#"{"_id":"x","n":"1","fixed":1}"#);
    forbidden(
        &rules,
        None,
        r#"{"_id":"x","n":"1","settings":{"tone":1,"volume":2}}"#,
    );
    passes(
        &rules,
        Some(stored),
        r#"{"_id":"x","_deleted":true}"#,
        r#"{"_id":"x","_deleted":true,"n":"1"}"#,
    );
}

#[test]
fn forbidding_counts_for_the_stored_and_the_new_document() {
    let rules = rules(&[
        "permit=['replicate']",
        "forbid=['update', 'delete']\ndocuments={locked=true}",
    ]);
    forbidden(
        &rules,
        Some(r#"{"_id":"x","locked":true}"#),
        r#"{"_id":"x"}"#,
    );
    forbidden(
        &rules,
        Some(r#"{"_id":"x"}"#),
        r#"{"_id":"x","locked":true}"#,
    );
    forbidden(
        &rules,
        Some(r#"{"_id":"x","locked":true}"#),
        r#"{"_id":"x","_deleted":true}"#,
    );
    passes(
        &rules,
        None,
        r#"{"_id":"x","locked":true}"#,
        r#"{"_id":"x","locked":true}"#,
    );
}

#[test]
fn each_action_is_its_own() {
    let rules = rules(&["permit=['read', 'create']"]);
    passes(&rules, None, r#"{"_id":"x"}"#, r#"{"_id":"x"}"#);
    // A new document over a tombstone is a new document.
    passes(
        &rules,
        Some(r#"{"_id":"x","_deleted":true}"#),
        r#"{"_id":"x"}"#,
        r#"{"_id":"x"}"#,
    );
    forbidden(&rules, Some(r#"{"_id":"x"}"#), r#"{"_id":"x","a":1}"#);
    forbidden(
        &rules,
        Some(r#"{"_id":"x"}"#),
        r#"{"_id":"x","_deleted":true}"#,
    );
    forbidden(&rules, None, r#"{"_id":"_design/x"}"#);
    forbidden(&rules, None, r#"{"_id":"_local/x"}"#);
    forbidden(&rules, None, r#"{"_id":"_other"}"#);
    forbidden(&rules, None, r#"{"_id":"x","_deleted":1}"#);
}

#[test]
fn who_writes_without_reading_replaces_what_he_may_write() {
    let rules = rules(&["permit=['create', 'update']\ndocuments={n='{n}'}"]);
    passes(
        &rules,
        Some(r#"{"_id":"x","n":"1","a":1}"#),
        r#"{"_id":"x","n":"1","b":1}"#,
        r#"{"_id":"x","n":"1","b":1}"#,
    );
    assert_eq!(
        judge(
            &rules,
            Some(r#"{"_id":"x","n":"3"}"#),
            r#"{"_id":"x","n":"1"}"#
        ),
        Err(Denied::Conflict)
    );
}
