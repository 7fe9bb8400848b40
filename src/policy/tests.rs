//! What the language promises as a whole: deny by default, forbid wins, order does not matter.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other plan fails the test"
)]

use std::sync::Arc;

use proptest::prelude::*;

use crate::caller::Caller;
use crate::caller::Role;
use crate::caller::User;
use crate::caller::UserName;
use crate::json::Value;
use crate::route::{Call, DatabaseCall, DbName, DocId, Maintenance, Method, Query, Route};

use super::{Lens, Plan, Policy, PolicySettings, Reads, Verdict};

pub(super) fn policy(text: &str) -> Policy {
    let settings = PolicySettings {
        attributes: vec!["numbers".to_owned()],
    };
    Policy::load(&[("test.toml".to_owned(), text.to_owned())], &settings).unwrap()
}

pub(super) fn user(name: &str, roles: &[&str]) -> Caller {
    let roles = roles
        .iter()
        .map(|role| Role::parse(role).unwrap())
        .collect();
    Caller::User(Arc::new(User::new(UserName::parse(name).unwrap(), roles)))
}

pub(super) fn administrator() -> Caller {
    Caller::Administrator(Arc::new(User::new(
        UserName::parse("ops").unwrap(),
        Vec::new(),
    )))
}

pub(super) fn route(method: &str, target: &str) -> Route {
    Route::parse(method, target, Some("other")).unwrap()
}

pub(super) fn value(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

pub(super) fn plan(policy: &Policy, caller: &Caller, method: &str, target: &str) -> Plan {
    match policy.decide(caller, route(method, target)) {
        Verdict::Permit(permit) => permit.into_parts().2,
        other => panic!("{method} {target}: {other}"),
    }
}

pub(super) fn lens(policy: &Policy, caller: &Caller, target: &str) -> Lens {
    match plan(policy, caller, "GET", target) {
        Plan::Read(
            Reads::Documents(lens)
            | Reads::Changes {
                rows: lens,
                docs: _,
            },
        ) => lens,
        other => panic!("{target}: {other:?}"),
    }
}

pub(super) fn says(policy: &Policy, caller: &Caller, method: &str, target: &str) -> String {
    policy.decide(caller, route(method, target)).to_string()
}

#[test]
fn without_rules_nothing_is_open() {
    let empty = policy("");
    for target in [
        "/d",
        "/d/x",
        "/d/_all_docs",
        "/d/_changes",
        "/d/_design/a/_view/b",
        "/d/x/a",
        "/d/_local/x",
    ] {
        assert_eq!(
            says(&empty, &Caller::Anonymous, "GET", target),
            "401",
            "{target}"
        );
        assert_eq!(
            says(&empty, &user("u", &["r"]), "GET", target),
            "404",
            "{target}"
        );
        assert_eq!(
            says(&empty, &administrator(), "GET", target),
            "permit",
            "{target}"
        );
    }
    for target in ["/_active_tasks", "/_node/_local/_config", "/_utils/"] {
        assert_eq!(
            says(&empty, &Caller::Anonymous, "GET", target),
            "401",
            "{target}"
        );
        assert_eq!(
            says(&empty, &user("u", &["r"]), "GET", target),
            "403",
            "{target}"
        );
    }
    for target in ["/", "/_up", "/_uuids", "/_session", "/node", "/session"] {
        assert_eq!(
            says(&empty, &Caller::Anonymous, "GET", target),
            "permit, own",
            "{target}"
        );
    }
    assert_eq!(says(&empty, &Caller::Anonymous, "GET", "/_all_dbs"), "401");
    assert_eq!(
        says(&empty, &user("u", &[]), "GET", "/_all_dbs"),
        "permit, own"
    );
}

#[test]
fn absent_hidden_and_forbidden_are_told_apart_by_what_is_known() {
    let policy =
        policy("[[rule]]\nname='r'\ndatabases=['d']\ncallers={roles=['r']}\npermit=['read']\n");
    let (reader, other) = (user("u", &["r"]), user("u", &[]));
    assert_eq!(says(&policy, &reader, "GET", "/d/_changes"), "403");
    assert_eq!(says(&policy, &reader, "PUT", "/d/x"), "403");
    assert_eq!(says(&policy, &reader, "GET", "/d/_design/x"), "403");
    assert_eq!(says(&policy, &reader, "GET", "/d/_security"), "403");
    assert_eq!(says(&policy, &reader, "GET", "/d"), "permit, info");
    assert_eq!(says(&policy, &reader, "GET", "/e"), "404");
    assert_eq!(says(&policy, &other, "GET", "/d/_changes"), "404");
    assert_eq!(says(&policy, &other, "GET", "/d"), "404");
    assert_eq!(says(&policy, &Caller::Anonymous, "GET", "/d/x"), "401");
    // A batch is judged row by row, even for those who may write nothing; unless they are nobody.
    assert_eq!(
        says(&policy, &reader, "POST", "/d/_bulk_docs"),
        "permit, write nothing"
    );
    assert_eq!(
        says(&policy, &Caller::Anonymous, "POST", "/d/_bulk_docs"),
        "401"
    );
}

#[test]
fn reading_documents_does_not_show_design_documents() {
    let policy = policy(
        "[[rule]]\nname='r'\ndatabases=['d']\ncallers={everyone=true}\npermit=['replicate']\n\
         [[rule]]\nname='s'\ndatabases=['d']\ncallers={roles=['dev']}\npermit=['design', 'design-write']\n",
    );
    let (plain, dev) = (user("u", &[]), user("u", &["dev"]));
    let all = lens(&policy, &plain, "/d/_all_docs");
    assert!(all.judge("_design/x", None).is_none());
    assert!(all.judge("x", None).is_some());
    assert_eq!(says(&policy, &plain, "GET", "/d/x"), "permit");
    assert_eq!(says(&policy, &dev, "GET", "/d/_all_docs"), "permit");
    assert_eq!(says(&policy, &dev, "GET", "/d/_design/x"), "permit");
    assert_eq!(says(&policy, &plain, "PUT", "/d/_design/x"), "403");
    assert_eq!(says(&policy, &dev, "PUT", "/d/_design/x"), "permit");
    // Sequences carry a fingerprint, so changes are never served untouched.
    assert_eq!(
        says(&policy, &dev, "GET", "/d/_changes"),
        "permit, changes r+s, docs r+s"
    );
}

#[test]
fn wildcards_and_captures_never_reach_couchdbs_own_databases() {
    let policy = policy(
        "[[rule]]\nname='r'\ndatabases=['*']\ncallers={everyone=true}\npermit=['read']\n\
         [[rule]]\nname='s'\ndatabases=['{db}']\ncallers={roles=['user_database:{db}']}\npermit=['read']\n",
    );
    assert_eq!(
        says(
            &policy,
            &user("u", &["user_database:_users"]),
            "GET",
            "/_users/x"
        ),
        "404"
    );
    assert_eq!(says(&policy, &user("u", &[]), "GET", "/users/x"), "permit");
}

/// No request names it; should one, neither a wildcard nor a capture nor an administrator's right reaches it.
#[test]
fn nobody_is_permitted_anything_in_the_database_of_couchwarden() {
    let policy = policy(
        "[[rule]]\nname='r'\ndatabases=['*']\ncallers={everyone=true}\npermit=['read','write','changes','find','info','maintain','security']\n\
         [[rule]]\nname='s'\ndatabases=['{db}']\ncallers={roles=['user_database:{db}']}\npermit=['read']\nadministrators=true\n",
    );
    let id = DocId::parse("x").unwrap();
    let calls = [
        (Method::Get, DatabaseCall::Itself),
        (Method::Delete, DatabaseCall::Itself),
        (Method::Get, DatabaseCall::Document(id.clone())),
        (Method::Put, DatabaseCall::Document(id)),
        (Method::Get, DatabaseCall::Changes),
        (Method::Post, DatabaseCall::Find),
        (Method::Post, DatabaseCall::BulkDocs),
        (Method::Put, DatabaseCall::Security),
        (Method::Post, DatabaseCall::Maintain(Maintenance::Purge)),
    ];
    let callers = [
        Caller::Anonymous,
        user("u", &["user_database:couchwarden"]),
        administrator(),
    ];
    for caller in callers {
        assert!(!policy.may_do_something(&caller, "couchwarden"));
        assert!(policy.may_do_something(&caller, "couchwardens"));
        for (method, call) in calls.clone() {
            let call = Call::Database {
                db: DbName::own(),
                call,
            };
            let route = Route {
                call,
                method,
                query: Query::default(),
            };
            let Verdict::Deny(denial) = policy.decide(&caller, route) else {
                panic!("{caller:?} is not denied {method:?}");
            };
            let expected = if caller == Caller::Anonymous {
                401
            } else {
                404
            };
            assert_eq!(denial.refusal.status(), expected);
        }
    }
}

#[test]
fn captures_of_one_binding_stay_together() {
    let policy = policy(
        "[[rule]]\nname='r'\ndatabases=['{db}']\ncallers={roles=['{db}:{part}']}\npermit=['read']\ndocuments={part='{part}'}\n",
    );
    let caller = user("u", &["a:1", "b:2"]);
    let a = lens(&policy, &caller, "/a/_all_docs");
    assert!(a.judge("x", Some(&value(r#"{"part":"1"}"#))).is_some());
    assert!(a.judge("x", Some(&value(r#"{"part":"2"}"#))).is_none());
    assert_eq!(says(&policy, &caller, "GET", "/c/x"), "404");
    // Two readings are none.
    assert_eq!(says(&policy, &user("u", &["a:1:2"]), "GET", "/a/x"), "404");
}

#[test]
fn what_cannot_be_evaluated_forbids_and_never_permits() {
    let policy = policy(
        "[[rule]]\nname='own'\ndatabases=['d']\ncallers={everyone=true}\npermit=['read']\ndocuments={owner='{user}'}\n\
         [[rule]]\nname='all'\ndatabases=['e']\ncallers={everyone=true}\npermit=['read']\n\
         [[rule]]\nname='not'\ndatabases=['e']\ncallers={everyone=true}\nforbid=['read']\ndocuments={owner={'$ne'='{user}'}}\n\
         [[rule]]\nname='split'\ndatabases=['e']\ncallers={roles=['no:{a}:{b}']}\nforbid=['read']\ndocuments={a='{a}'}\n\
         [[rule]]\nname='claim'\ndatabases=['f']\ncallers={everyone=true}\npermit=['read']\ndocuments={a='{claim:x}'}\n",
    );
    let caller = user("u", &["no:1:2:3"]);
    assert_eq!(says(&policy, &Caller::Anonymous, "GET", "/d/x"), "401");
    assert_eq!(says(&policy, &caller, "GET", "/f/x"), "404");
    assert!(
        lens(&policy, &user("u", &[]), "/e/_all_docs")
            .judge("x", Some(&value(r#"{"owner":"u"}"#)))
            .is_some()
    );
    assert!(
        lens(&policy, &Caller::Anonymous, "/e/_all_docs")
            .judge("x", Some(&value(r#"{"owner":"u"}"#)))
            .is_none()
    );
    assert!(
        lens(&policy, &caller, "/e/_all_docs")
            .judge("x", Some(&value(r#"{"owner":"u"}"#)))
            .is_none()
    );
}

#[test]
fn administrators_are_bound_only_where_a_rule_says_so() {
    let policy = policy(
        "[[rule]]\nname='all'\ndatabases=['d', 'e']\ncallers={everyone=true}\nforbid=['find']\n\
         [[rule]]\nname='hash'\ndatabases=['d']\ncallers={everyone=true}\nadministrators=true\nhide=['hash']\n\
         [[rule]]\nname='no'\ndatabases=['d']\ncallers={everyone=true}\nadministrators=true\nforbid=['changes']\n",
    );
    let ops = administrator();
    assert_eq!(
        says(&policy, &ops, "POST", "/d/_find"),
        "permit, lens everything hide hash"
    );
    assert_eq!(says(&policy, &ops, "GET", "/d/_changes"), "403");
    assert_eq!(
        says(&policy, &ops, "GET", "/d/x"),
        "permit, lens everything hide hash"
    );
    assert_eq!(says(&policy, &ops, "GET", "/e/x"), "permit");
    assert_eq!(says(&policy, &ops, "DELETE", "/e"), "permit");
}

#[test]
fn an_attachment_waits_for_its_document_where_the_document_decides() {
    let policy = policy(
        "[[rule]]\nname='r'\ndatabases=['d']\ncallers={everyone=true}\npermit=['read']\ndocuments={open=true}\n\
         [[rule]]\nname='i'\ndatabases=['i']\ncallers={everyone=true}\npermit=['read']\ndocuments={_id='a'}\nhide=['_attachments.secret']\n",
    );
    let ask = || match policy.decide(&user("u", &[]), route("GET", "/d/x/photo")) {
        Verdict::Ask(question) => question,
        other => panic!("{other}"),
    };
    let permit = ask()
        .settle(Some(&value(r#"{"_id":"x","_rev":"3-abc","open":true}"#)))
        .unwrap();
    assert_eq!(permit.route().query.value("rev"), Some("3-abc"));
    assert!(
        ask()
            .settle(Some(&value(r#"{"_id":"x","_rev":"3-abc","open":false}"#)))
            .is_err()
    );
    assert!(
        ask()
            .settle(Some(&value(r#"{"_id":"y","_rev":"3-abc","open":true}"#)))
            .is_err()
    );
    assert!(ask().settle(None).is_err());
    assert_eq!(
        says(&policy, &user("u", &[]), "GET", "/i/a/photo"),
        "permit, lens i"
    );
    assert_eq!(says(&policy, &user("u", &[]), "GET", "/i/a/secret"), "404");
    assert_eq!(says(&policy, &user("u", &[]), "GET", "/i/b/photo"), "404");
}

#[test]
fn what_runs_code_is_open_only_without_a_lens() {
    let rules =
        "[[rule]]\nname='f'\ndatabases=['d']\ncallers={everyone=true}\npermit=['function:a/*']\n";
    let reads =
        "[[rule]]\nname='r'\ndatabases=['d']\ncallers={everyone=true}\npermit=['read', 'design']\n";
    let hides = "[[rule]]\nname='h'\ndatabases=['d']\ncallers={everyone=true}\nhide=['x']\n";
    let show = |rules: &str| {
        says(
            &policy(rules),
            &user("u", &[]),
            "GET",
            "/d/_design/a/_show/s",
        )
    };
    assert_eq!(show(rules), "403");
    assert_eq!(show(&format!("{rules}{reads}")), "permit");
    assert_eq!(show(&format!("{rules}{reads}{hides}")), "403");
    let open = policy(&format!("{rules}{reads}"));
    assert_eq!(
        says(&open, &user("u", &[]), "GET", "/d/_design/a/_rewrite/x"),
        "403"
    );
    assert_eq!(
        says(&open, &user("u", &[]), "POST", "/d/_design/a/_update/x"),
        "403"
    );
}

#[test]
fn the_values_of_the_callers_node_make_bindings() {
    let policy = policy(
        "[[rule]]\nname='r'\ndatabases=['d']\ncallers={everyone=true}\npermit=['read']\ndocuments={number='{node:numbers}'}\n",
    );
    assert!(policy.uses_attributes());
    let numbers = vec![
        ("numbers".to_owned(), "1".to_owned()),
        ("numbers".to_owned(), "2".to_owned()),
    ];
    let caller = user("u", &[]).with_attributes(numbers);
    let seen = lens(&policy, &caller, "/d/_all_docs");
    for (number, visible) in [("1", true), ("2", true), ("3", false)] {
        let document = value(&format!(r#"{{"number":"{number}"}}"#));
        assert_eq!(seen.judge("x", Some(&document)).is_some(), visible);
    }
    assert_eq!(says(&policy, &user("u", &[]), "GET", "/d/x"), "404");
}

/// A small policy as data, so that a naive reader can judge it.
#[derive(Debug, Clone)]
struct Small {
    db: &'static str,
    role: &'static str,
    permits: bool,
    action: &'static str,
    owner: Option<&'static str>,
}

fn small() -> impl Strategy<Value = Small> {
    (
        prop::sample::select(vec!["d", "e", "*"]),
        prop::sample::select(vec!["r", "s"]),
        any::<bool>(),
        prop::sample::select(vec!["read", "changes", "replicate", "find"]),
        prop::option::of(prop::sample::select(vec!["o", "p"])),
    )
        .prop_map(|(db, role, permits, action, owner)| Small {
            db,
            role,
            permits,
            action,
            owner,
        })
}

fn text(rules: &[Small]) -> String {
    let rule = |(index, rule): (usize, &Small)| {
        let effect = if rule.permits { "permit" } else { "forbid" };
        let documents = rule
            .owner
            .map(|owner| format!("documents = {{ owner = '{owner}' }}\n"))
            .unwrap_or_default();
        format!(
            "[[rule]]\nname = 'r{index}'\ndatabases = ['{}']\ncallers = {{ roles = ['{}'] }}\n{effect} = ['{}']\n{documents}",
            rule.db, rule.role, rule.action
        )
    };
    rules.iter().enumerate().map(rule).collect()
}

/// Does this caller see a document of this owner in `d` through `_all_docs`? Ten lines, no cleverness.
fn naive(rules: &[Small], role: &str, owner: &str) -> bool {
    let meets = |rule: &&Small| {
        (rule.db == "d" || rule.db == "*")
            && rule.role == role
            && (rule.action == "read" || rule.action == "replicate")
            && rule.owner.is_none_or(|own| own == owner)
    };
    rules.iter().filter(meets).any(|rule| rule.permits)
        && rules.iter().filter(meets).all(|rule| rule.permits)
}

fn sees(policy: &Policy, role: &str, owner: &str) -> bool {
    let document = value(&format!(r#"{{"_id":"x","owner":"{owner}"}}"#));
    match policy.decide(&user("u", &[role]), route("GET", "/d/_all_docs")) {
        Verdict::Permit(permit) => match permit.plan() {
            Plan::Read(Reads::Documents(lens)) => lens.judge("x", Some(&document)).is_some(),
            other => panic!("{other:?}"),
        },
        Verdict::Deny(_) => false,
        Verdict::Ask(_) => panic!("nothing to ask"),
    }
}

const CASES: [(&str, &str); 4] = [("r", "o"), ("r", "p"), ("s", "o"), ("s", "q")];

proptest! {
    #[test]
    fn decide_is_what_a_naive_reader_decides(rules in prop::collection::vec(small(), 0..6)) {
        let policy = policy(&text(&rules));
        for (role, owner) in CASES {
            prop_assert_eq!(sees(&policy, role, owner), naive(&rules, role, owner), "{} {}", role, owner);
        }
    }

    #[test]
    fn forbidding_never_widens_and_permitting_never_narrows(
        rules in prop::collection::vec(small(), 0..6), more in small()
    ) {
        let before = policy(&text(&rules));
        let after = policy(&text(&[rules, vec![more.clone()]].concat()));
        for (role, owner) in CASES {
            let (was, is) = (sees(&before, role, owner), sees(&after, role, owner));
            let right = if more.permits { is >= was } else { is <= was };
            prop_assert!(right, "{} {}", role, owner);
        }
    }

    #[test]
    fn order_and_files_do_not_matter(
        rules in prop::collection::vec(small(), 0..6).prop_shuffle(), cut in any::<prop::sample::Index>()
    ) {
        let whole = text(&rules);
        let one = policy(&whole);
        // The same rules under the same names, the other way round, in two files.
        let mut blocks: Vec<&str> =
            whole.split("[[rule]]\n").filter(|block| !block.is_empty()).collect();
        blocks.reverse();
        let at = cut.index(blocks.len() + 1);
        let file = |blocks: &[&str]| blocks.iter().map(|block| format!("[[rule]]\n{block}")).collect::<String>();
        let (left, right) = blocks.split_at(at);
        let files = [("a".to_owned(), file(left)), ("b".to_owned(), file(right))];
        let two = Policy::load(&files, &PolicySettings::default()).unwrap();
        prop_assert_eq!(one.fingerprint(), two.fingerprint());
        for (role, owner) in CASES {
            prop_assert_eq!(sees(&one, role, owner), sees(&two, role, owner));
        }
    }

    #[test]
    fn who_may_do_nothing_is_told_that_nothing_is_there(rules in prop::collection::vec(small(), 0..6)) {
        let policy = policy(&text(&rules));
        for role in ["r", "s"] {
            let caller = user("u", &[role]);
            let known = policy.may_do_something(&caller, "d");
            for (method, target) in [("GET", "/d/x"), ("GET", "/d/_changes"), ("POST", "/d/_find"), ("GET", "/d")] {
                let verdict = says(&policy, &caller, method, target);
                prop_assert_eq!(known, verdict != "404", "{} {}", target, verdict);
            }
        }
    }
}

#[test]
fn what_a_replicator_can_not_follow_is_told() {
    let rule = |name: &str, permit: &str| {
        format!(
            "[[rule]]\nname='{name}'\ndatabases=['d']\ncallers={{everyone=true}}\npermit={permit}\n"
        )
    };
    let rules = policy(&format!(
        "{}{}{}",
        rule("wakes", "['changes']"),
        rule("reads", "['read', 'changes']"),
        rule("replicates", "['replicate']")
    ));
    let told = rules.explain_feeds();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told.first()
            .is_some_and(|line| line.starts_with("rule `wakes` "))
    );
}
