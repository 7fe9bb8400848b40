//! The index against the slow model, which looks at every rule.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use crate::caller::Caller;
use crate::json::FieldPath;
use crate::policy::grants::{Applied, Grants, Interest};
use crate::policy::rules::rule::Rule;
use crate::policy::tests::{administrator, policy, user};
use crate::policy::{Policy, PolicySettings, Selector};

const DATABASES: [&str; 13] = [
    "d", "e", "_users", "d*", "*", "u{x}", "{x}", "{x}-d", "{user}", "d-{x}-*", "dä*", "*ä",
    "u{x}-d",
];
const NAMES: [&str; 5] = ["ann", "a*", "{x}", "b{x}", "bob"];
const ROLES: [&str; 9] = [
    "r",
    "r:{x}",
    "{x}:r",
    "*",
    "r:{x}:{y}",
    "r:*",
    "rä{x}",
    "{x}ä:r",
    "s",
];
const CONDITIONS: [&str; 5] = [
    "",
    "documents={a=1}\n",
    "documents={'b.c'=1,_id='x'}\n",
    "documents={'$or'=[{a=1},{d={'$exists'=true}}]}\n",
    "documents={_id='x'}\n",
];
const ACTIONS: [&str; 6] = [
    "permit=['read']",
    "permit=['find','changes']\nhide=['h']",
    "forbid=['read']",
    "forbid=['view:v/w']",
    "hide=['a']",
    "permit=['view:v/*','server:up']",
];

/// A rule, as a text; some are none, since nothing binds what they use.
fn rule() -> impl Strategy<Value = String> {
    let some = |all: &'static [&'static str], most| {
        prop::collection::vec(prop::sample::select(all), 0..most)
    };
    let whom = (some(&NAMES, 3), some(&ROLES, 3), any::<bool>(), 0..8_u8);
    (
        prop::collection::vec(prop::sample::select(&DATABASES[..]), 1..4),
        whom,
        prop::sample::select(&ACTIONS[..]),
        prop::sample::select(&CONDITIONS[..]),
        any::<bool>(),
    )
        .prop_map(|(databases, (names, roles, anonymous, dice), action, documents, administrators)| {
            let everyone = dice == 0;
            format!(
                "databases={databases:?}\ncallers={{names={names:?},roles={roles:?},anonymous={anonymous},everyone={everyone}}}\n\
                 administrators={administrators}\n{documents}{action}\n"
            )
            .replace('"', "'")
        })
}

/// Those of the rules that load.
fn load(rules: &[String]) -> Policy {
    let named = rules.iter().enumerate();
    let named = named.map(|(number, rule)| format!("[[rule]]\nname='r{number:02}'\n{rule}"));
    let sound = named.filter(|rule| {
        let files = [("one".to_owned(), rule.clone())];
        Policy::load(&files, &PolicySettings::default()).is_ok()
    });
    policy(&sound.collect::<String>())
}

fn caller() -> impl Strategy<Value = Caller> {
    let role = prop::sample::select(vec![
        "r", "r:1", "1:r", "r:1:2", "r:1:2:3", "s", "rä1", "1ä:r", "other", "r:",
    ]);
    let roles = prop::collection::vec(role, 0..4);
    let name = prop::sample::select(vec!["ann", "bob", "b1", "x", "1"]);
    prop_oneof![
        1 => Just(Caller::Anonymous),
        1 => Just(administrator()),
        8 => (name, roles).prop_map(|(name, roles)| user(name, &roles)),
    ]
}

/// Which rules apply, under which captures.
fn told(grants: &Grants) -> Vec<String> {
    let part = |kind: &'static str, applied: &[Applied]| {
        let told = applied.iter();
        let told = told.map(|one| format!("{kind} {} {:?}", one.rule.name, one.bindings));
        told.collect::<Vec<_>>()
    };
    let mut told = part("permits", &grants.permits);
    told.extend(part("forbids", &grants.forbids));
    told.extend(part("hides", &grants.hides));
    told
}

/// The fields by which rules decide in a database, by a look at each rule.
fn decisive(policy: &Policy, db: &str) -> Vec<FieldPath> {
    let near = |rule: &&Arc<Rule>| rule.databases.iter().any(|pattern| pattern.could_match(db));
    let rules = policy.rules.iter().filter(near);
    let paths = rules
        .filter_map(|rule| rule.documents.as_ref())
        .flat_map(Selector::named_fields);
    let kept = paths.filter(|path| path.first().is_some_and(|name| !name.starts_with('_')));
    let fields: BTreeSet<FieldPath> = kept.filter_map(FieldPath::concrete).collect();
    fields.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn the_index_finds_what_a_look_at_every_rule_finds(
        rules in prop::collection::vec(rule(), 0..12),
        caller in caller(),
        db in prop::sample::select(vec!["d", "e", "dx", "dä", "u1", "u", "1-d", "ann", "_users", "d-1-", "d-1-x", "1", "none", "xä", "ä", "u1-d"]),
    ) {
        let policy = load(&rules);
        let interest = Interest::ANYTHING;
        let slow = Grants::collect(policy.rules.iter(), &caller, db, &interest);
        let found = policy.about_caller(&caller, db);
        let quick = Grants::collect(found.iter().copied(), &caller, db, &interest);
        prop_assert_eq!(told(&quick), told(&slow));
        prop_assert_eq!(&*policy.decision_fields(db), decisive(&policy, db));
    }
}

/// So many rules for tenants, each of which has a role, a database of its own and a part of one that all share.
fn tenants(rules: usize) -> Policy {
    let rule = |number: usize| {
        let (databases, callers) = match number % 7 {
            0 => (
                "'shared'".to_owned(),
                format!("{{ roles = ['tenant:{number}'] }}"),
            ),
            1 => (
                "'shared'".to_owned(),
                format!("{{ roles = ['clerk:{number}:{{x}}'] }}"),
            ),
            2 => (format!("'own-{number}'"), "{ everyone = true }".to_owned()),
            3 => (
                format!("'own-{number}-*'"),
                "{ everyone = true }".to_owned(),
            ),
            4 => (format!("'*-of-{number}'"), "{ everyone = true }".to_owned()),
            5 => (
                "'shared'".to_owned(),
                format!("{{ roles = ['{{x}}:of:{number}'] }}"),
            ),
            _ => (
                "'*'".to_owned(),
                format!("{{ names = ['robot-{number}'] }}"),
            ),
        };
        format!(
            "[[rule]]\nname='r{number:04}'\ndatabases=[{databases}]\ncallers={callers}\npermit=['read','changes']\n\
             documents={{ tenant='{number}' }}\n"
        )
    };
    policy(&(0..rules).map(rule).collect::<String>())
}

#[test]
fn five_thousand_rules_are_looked_at_as_fifty_are() {
    let caller = user("ann", &["tenant:14", "clerk:15:a", "a:of:19", "staff"]);
    for rules in [50, 5000] {
        let policy = tenants(rules);
        for (db, found) in [
            ("shared", 3),
            ("own-16", 1),
            ("own-17-a", 1),
            ("a-of-18", 1),
            ("none", 0),
        ] {
            assert_eq!(
                policy.about_caller(&caller, db).len(),
                found,
                "{rules} {db}"
            );
        }
    }
}
