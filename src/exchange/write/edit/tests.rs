//! Single writes against what is stored, forced ones against every leaf.

use std::sync::Arc;

use super::judge;
use crate::budget::Counted;
use crate::caller::{Caller, User, UserName};
use crate::exchange::write::forced::judge_forced;
use crate::exchange::write::leaves::Leaves;
use crate::exchange::write::stored::Replaced;
use crate::exchange::write::written::Written;
use crate::json::Value;
use crate::policy::{Plan, Policy, PolicySettings, Verdict, WriteRules};
use crate::route::query::DocumentQuery;
use crate::route::{DocId, Route};

const RULES: &str = r#"
[[rule]]
name = "own"
databases = ["db"]
callers = { names = ["walt"] }
permit = ["read", "write"]
change = ["text"]
hide = ["secret"]
[rule.documents]
owner = { "$eq" = "walt" }
"#;

fn rules() -> WriteRules {
    let files = [("db.toml".to_owned(), RULES.to_owned())];
    let policy = Policy::load(&files, &PolicySettings::default()).unwrap();
    let user = User::new(UserName::parse("walt").unwrap(), Vec::new());
    let route = Route::parse("PUT", "/db/a", None).unwrap();
    let Verdict::Permit(permit) = policy.decide(&Caller::User(Arc::new(user)), route) else {
        panic!("walt may write");
    };
    let Plan::Write(rules) = permit.plan().clone() else {
        panic!("under rules")
    };
    *rules
}

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn written(text: &str) -> Written {
    let id = DocId::parse("a").unwrap();
    Written::read(Some(&id), &DocumentQuery::default(), None, json(text)).unwrap()
}

/// What is sent on, or the word for the error.
fn check(sent: &str, stored: Option<&str>) -> Result<String, &'static str> {
    let replaced = Replaced {
        document: stored.map(|stored| Counted::free(json(stored))),
        ..Default::default()
    };
    let judged = judge(&rules(), written(sent), &replaced, None);
    judged
        .map(|passed| passed.document.to_string())
        .map_err(|refused| refused.error)
}

fn check_forced(sent: &str, leaves: &[&str]) -> Result<String, &'static str> {
    let stored = leaves.iter().map(|leaf| Counted::free(json(leaf)));
    let mut leaves = Leaves::stored(stored).unwrap();
    let judged = judge_forced(&rules(), written(sent), &mut leaves, (None, None));
    judged
        .map(|passed| passed.document.to_string())
        .map_err(|refused| refused.error)
}

const MINE: &str = r#"{"_id":"a","_rev":"1-a","owner":"walt","text":"old","secret":7}"#;
const OTHERS: &str = r#"{"_id":"a","_rev":"1-a","owner":"rita","text":"old"}"#;

#[test]
fn a_hidden_field_is_put_back() {
    let sent = check(r#"{"_rev":"1-a","owner":"walt","text":"new"}"#, Some(MINE)).unwrap();
    let sent = json(&sent);
    assert_eq!(sent.get("secret"), Some(&json("7")));
    assert_eq!(sent.get("text"), Some(&json("\"new\"")));
}

#[test]
fn a_write_that_may_not_be_is_refused() {
    let cases = [
        (
            r#"{"_rev":"1-a","owner":"walt","text":"new","secret":8}"#,
            Some(MINE),
            "forbidden",
        ),
        (
            r#"{"_rev":"1-a","owner":"rita","text":"new"}"#,
            Some(MINE),
            "forbidden",
        ),
        (
            r#"{"_rev":"1-a","owner":"walt","other":1}"#,
            Some(MINE),
            "forbidden",
        ),
        (r#"{"owner":"walt","text":"new"}"#, Some(MINE), "conflict"),
        (
            r#"{"_rev":"2-b","owner":"walt","text":"new"}"#,
            None,
            "conflict",
        ),
    ];
    for (sent, stored, error) in cases {
        assert_eq!(check(sent, stored), Err(error), "{sent}");
    }
}

#[test]
fn what_is_hidden_is_answered_as_what_is_absent() {
    let write = r#"{"_rev":"1-a","owner":"walt","text":"new"}"#;
    assert_eq!(check(write, Some(OTHERS)), check(write, None));
    let delete = r#"{"_rev":"1-a","_deleted":true}"#;
    assert_eq!(check(delete, Some(OTHERS)), check(delete, None));
    assert_eq!(check(delete, None), Err("not_found"));
}

#[test]
fn a_forced_write_is_judged_against_every_leaf() {
    let extends =
        r#"{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"owner":"walt","text":"new"}"#;
    assert!(check_forced(extends, &[MINE]).is_ok());
    let another = r#"{"_id":"a","_rev":"1-z","owner":"rita"}"#;
    assert_eq!(check_forced(extends, &[MINE, another]), Err("forbidden"));
}

#[test]
fn a_forged_history_cannot_roll_a_field_back() {
    let leaf = r#"{"_id":"a","_rev":"5-e","owner":"walt","text":"old","grade":2,"secret":7}"#;
    // An ancestor long gone is named, and a generation that would win.
    let forged = r#"{"_rev":"99-f","_revisions":{"start":99,"ids":["f","x"]},"owner":"walt","text":"new","grade":1}"#;
    assert_eq!(check_forced(forged, &[leaf]), Err("forbidden"));
    let honest = r#"{"_rev":"99-f","_revisions":{"start":99,"ids":["f","x"]},"owner":"walt","text":"new","grade":2}"#;
    let sent = json(&check_forced(honest, &[leaf]).unwrap());
    assert_eq!(
        sent.get("secret"),
        Some(&json("7")),
        "restored from the winner"
    );
}

#[test]
fn a_stub_without_its_parent_would_sink_the_batch() {
    let stub = r#"{"_rev":"9-b","_revisions":{"start":9,"ids":["b"]},"owner":"walt","_attachments":{"f":{"stub":true}}}"#;
    assert_eq!(check_forced(stub, &[MINE]), Err("forbidden"));
}

#[test]
fn a_history_names_no_other_revision_than_the_one_judged() {
    // CouchDB takes the revision to replace from `_revisions`, whatever `_rev` says.
    let other =
        r#"{"_rev":"1-a","_revisions":{"start":2,"ids":["b","a"]},"owner":"walt","text":"new"}"#;
    assert_eq!(check(other, Some(MINE)), Err("forbidden"));
    let same = r#"{"_rev":"1-a","_revisions":{"start":1,"ids":["a"]},"owner":"walt","text":"new"}"#;
    let sent = json(&check(same, Some(MINE)).unwrap());
    assert_eq!(sent.get("_revisions"), None);
    let named = written(r#"{"_revisions":{"start":2,"ids":["b","a"]}}"#);
    assert_eq!(named.rev.as_deref(), Some("2-b"));
}

#[test]
fn a_losing_leaf_wins_only_over_what_its_writer_may_write() {
    let check = |sent: &str, winner: &str| {
        let replaced = Replaced {
            document: Some(Counted::free(json(MINE))),
            winner: Some(Counted::free(json(winner))),
            next: None,
        };
        let judged = judge(&rules(), written(sent), &replaced, None);
        judged.map(drop).map_err(|refused| refused.error)
    };
    let update = r#"{"_rev":"1-a","owner":"walt","text":"new"}"#;
    let delete = r#"{"_rev":"1-a","_deleted":true}"#;
    let others = r#"{"_id":"a","_rev":"1-f","owner":"rita"}"#;
    let own = r#"{"_id":"a","_rev":"1-f","owner":"walt"}"#;
    assert_eq!(check(update, others), Err("conflict"));
    assert_eq!(check(delete, others), Ok(()));
    // It has fields that they do not see, or may not change: as if someone had just written it.
    assert_eq!(check(update, own), Err("conflict"));
    assert_eq!(check(delete, own), Ok(()));
}
