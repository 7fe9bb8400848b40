//! The laws of writing: what was read may be written back, what was written is read, and nothing hidden is learnt
//! by it.

use std::sync::Arc;

use proptest::prelude::*;

use super::edit::judge;
use super::forced::judge_forced;
use super::leaves::{Leaf, Leaves};
use super::refused::Refused;
use super::stored::Replaced;
use super::written::Written;
use crate::budget::Counted;
use crate::caller::{Caller, User, UserName};
use crate::json::{Object, Value};
use crate::policy::{Plan, Policy, PolicySettings, Verdict, WriteRules};
use crate::route::query::DocumentQuery;
use crate::route::{DocId, Route};

/// What `walt` may write in `db`, by these conditions of their one rule.
fn rules(conditions: &str) -> WriteRules {
    let text = format!(
        "[[rule]]\nname = 'own'\ndatabases = ['db']\ncallers = {{ names = ['walt'] }}\npermit = ['replicate']\n{conditions}"
    );
    let files = [("db.toml".to_owned(), text)];
    let policy = Policy::load(&files, &PolicySettings::default()).unwrap();
    let user = User::new(UserName::parse("walt").unwrap(), Vec::new());
    let route = Route::parse("PUT", "/db/a", None).unwrap();
    let Verdict::Permit(permit) = policy.decide(&Caller::User(Arc::new(user)), route) else {
        panic!("walt may write");
    };
    let Plan::Write(rules) = permit.plan().clone() else {
        panic!("under rules: {conditions}")
    };
    *rules
}

fn object(members: Vec<(String, Value)>) -> Value {
    let mut object = Object::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    object.into()
}

/// Names so few that they often meet the rules.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "secret"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::from("x")),
        Just(Value::from(1_i64)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..3).prop_map(object),
        ]
    })
}

fn stub(text: &str) -> Value {
    Value::parse(
        format!(
            r#"{{"content_type":"a/b","revpos":1,"digest":"md5-{text}","length":1,"stub":true}}"#
        )
        .as_bytes(),
    )
    .unwrap()
}

/// A document with attachments, as it is stored.
fn document() -> impl Strategy<Value = Value> {
    let fields = prop::collection::vec((name(), value()), 0..4);
    let attached = prop::collection::vec(name(), 0..3);
    (fields, attached).prop_map(|(mut fields, attached)| {
        fields.push(("_id".to_owned(), "a".into()));
        fields.push(("_rev".to_owned(), "1-a".into()));
        if !attached.is_empty() {
            let stubs = attached.into_iter().map(|name| (name.clone(), stub(&name)));
            fields.push(("_attachments".to_owned(), object(stubs.collect())));
        }
        object(fields)
    })
}

const LENSES: [&str; 5] = [
    "hide = ['secret']",
    "hide = ['**.secret', 'a.b']",
    "hide = ['_attachments']",
    "hide = ['_attachments.secret', 'c']",
    "show = ['a', 'b.c', '_attachments.a']",
];

fn without_empty_objects(value: &Value) -> Value {
    if let Some(members) = value.as_object() {
        let members = members
            .iter()
            .map(|(name, value)| (name.to_owned(), without_empty_objects(value)));
        let is_empty = |value: &Value| value.as_object().is_some_and(Object::is_empty);
        return object(members.filter(|(_, value)| !is_empty(value)).collect());
    }
    match value.as_array() {
        Some(values) => Value::from(values.iter().map(without_empty_objects).collect::<Vec<_>>()),
        None => value.clone(),
    }
}

fn written(id: &str, document: Value, new_edits: bool) -> Option<Written> {
    let query = DocumentQuery {
        new_edits: Some(new_edits),
        ..Default::default()
    };
    Written::read(Some(&DocId::parse(id).unwrap()), &query, None, document).ok()
}

fn set(mut document: Value, name: &str, value: impl Into<Value>) -> Value {
    document.as_object_mut().unwrap().insert(name, value);
    document
}

fn replacing(document: Option<&Value>) -> Replaced {
    Replaced {
        document: document.cloned().map(Counted::free),
        ..Default::default()
    }
}

/// On top of the only leaf.
fn next(document: Value) -> Value {
    let ids = Value::parse(br#"{"start":2,"ids":["b","a"]}"#).unwrap();
    set(set(document, "_rev", "2-b"), "_revisions", ids)
}

fn leaves_of(leaf: Option<Value>) -> Leaves {
    Leaves::stored(leaf.map(Counted::free)).unwrap()
}

fn without_history(document: Value) -> Value {
    let mut document = set(document, "_rev", "1-a");
    document.as_object_mut().unwrap().remove("_revisions");
    document
}

proptest! {
    #[test]
    fn who_writes_back_what_he_read_changes_nothing(stored in document(), lens in prop::sample::select(LENSES.to_vec())) {
        let rules = rules(lens);
        let view = rules.view(&stored).unwrap();
        let passed = judge(&rules, written("a", view.clone(), true).unwrap(), &replacing(Some(&stored)), None);
        prop_assert_eq!(&passed.unwrap().document, &stored);
        let mut leaves = leaves_of(Some(stored.clone()));
        let passed = judge_forced(&rules, written("a", next(view), false).unwrap(), &mut leaves, (None, None)).unwrap();
        prop_assert_eq!(passed.bytes_of, None, "stubs have their parent");
        prop_assert_eq!(without_history(passed.document), stored);
    }

    #[test]
    fn who_reads_what_he_wrote_finds_what_he_sent(
        stored in document(), sent in document(), lens in prop::sample::select(LENSES.to_vec()),
    ) {
        let rules = rules(lens);
        // Stubs stand for what is there; of the others they send the bytes.
        let mut sent = sent;
        if let Some(attachments) = sent.as_object_mut().and_then(|sent| sent.get_mut("_attachments")?.as_object_mut()) {
            for (name, one) in attachments.iter_mut() {
                let there = rules.view(&stored).unwrap();
                if there.at(&["_attachments", name]).is_none() {
                    *one = Value::parse(br#"{"content_type":"a/b","data":"eA=="}"#).unwrap();
                }
            }
        }
        if let Ok(passed) = judge(&rules, written("a", sent.clone(), true).unwrap(), &replacing(Some(&stored)), None) {
            let seen = rules.view(&passed.document).unwrap();
            // An empty object that is sent is filled with what is hidden in it, and then nothing of it is shown.
            prop_assert_eq!(without_empty_objects(&seen), without_empty_objects(&sent));
        }
    }

    /// Their ids are pinned: whatever they send under another one is answered the same, whether it exists or not.
    #[test]
    fn nothing_hidden_is_learnt_by_writing(
        hidden in document(), sent in document(),
        deleted in any::<bool>(), rev in prop::sample::select(vec![None, Some("1-a"), Some("9-z")]),
        condition in prop::sample::select(vec!["", "hide = ['secret']\n", "change = ['a']\n"]),
    ) {
        let rules = rules(&format!("{condition}[rule.documents]\n_id = {{ '$pattern' = '{{user}}:*' }}"));
        let mut sent = set(sent, "_id", "other:1");
        sent.as_object_mut().unwrap().remove("_rev");
        if let Some(rev) = rev {
            sent = set(sent, "_rev", rev);
        }
        if deleted {
            sent = set(sent, "_deleted", true);
        }
        let hidden = set(hidden, "_id", "other:1");
        let plain = |stored: Option<&Value>| -> Result<(), Refused> {
            judge(&rules, written("other:1", sent.clone(), true).unwrap(), &replacing(stored), None).map(drop)
        };
        prop_assert!(plain(None).is_err());
        prop_assert_eq!(plain(None), plain(Some(&hidden)));
        let forced = |leaf: Option<Value>| -> Result<(), Refused> {
            let mut leaves = leaves_of(leaf);
            judge_forced(&rules, written("other:1", sent.clone(), false).unwrap(), &mut leaves, (None, None)).map(drop)
        };
        prop_assert!(forced(None).is_err());
        prop_assert_eq!(forced(None), forced(Some(hidden)));
    }
}

/// Something that is done to a document with several leaves.
#[derive(Debug, Clone)]
enum Done {
    /// An administrator sets what the writer may not change.
    Set(i64),
    /// The writer updates or deletes a leaf.
    Checked { leaf: usize, deletes: bool },
    /// The same without `new_edits`, this many generations above the leaf, which they name or not.
    Forced {
        leaf: usize,
        deletes: bool,
        above: u64,
        names: bool,
    },
}

fn done() -> impl Strategy<Value = Done> {
    let deletes = || prop::bool::weighted(0.3);
    prop_oneof![
        any::<i8>().prop_map(|value| Done::Set(value.into())),
        (0..4_usize, deletes()).prop_map(|(leaf, deletes)| Done::Checked { leaf, deletes }),
        (0..4_usize, deletes(), 1..6_u64, any::<bool>()).prop_map(
            |(leaf, deletes, above, names)| Done::Forced {
                leaf,
                deletes,
                above,
                names
            }
        ),
    ]
}

/// A revision that extends another one, or that seems to.
fn above(document: &Value, generations: u64, names: bool, serial: usize) -> Value {
    let rev = document.get("_rev").and_then(Value::as_str).unwrap();
    let (generation, digest) = rev.split_once('-').unwrap();
    let start = generation.parse::<u64>().unwrap() + generations;
    let mut ids: Vec<Value> = (0..generations)
        .map(|n| format!("{serial:x}f{n}").into())
        .collect();
    if names {
        ids.push(digest.into());
    }
    let rev = format!("{start}-{}", ids[0].as_str().unwrap());
    let mut revisions = Object::new();
    revisions.insert("start", start);
    revisions.insert("ids", Value::from(ids));
    set(set(document.clone(), "_rev", rev), "_revisions", revisions)
}

fn kept(leaf: Option<&Leaf>) -> Option<(Option<Value>, Option<Value>)> {
    let document = &leaf?.document;
    Some((
        document.get("secret").cloned(),
        document.get("fixed").cloned(),
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// What a document has that its writer may not change is changed by others only, whatever leaves they make and end.
    #[test]
    fn no_leaf_brings_back_what_its_writer_may_not_change(all in prop::collection::vec(done(), 1..14)) {
        let rules = rules("hide = ['secret']\nchange = ['a']");
        let first = Value::parse(br#"{"_id":"a","_rev":"1-a","secret":0,"fixed":0,"a":0}"#).unwrap();
        let mut leaves = leaves_of(Some(first));
        for (serial, done) in all.into_iter().enumerate() {
            let Some(now) = leaves.winner().map(|now| now.document.clone()) else { break };
            let now_rev = now.get("_rev").and_then(Value::as_str);
            let before = kept(leaves.winner());
            let sent = |leaf: usize, deletes: bool| {
                let leaf = leaves.iter().nth(leaf % leaves.iter().count())?;
                let mut document = set(rules.view(&leaf.document)?, "a", i64::try_from(serial).unwrap());
                if deletes {
                    document = Value::parse(format!(r#"{{"_id":"a","_rev":{},"_deleted":true}}"#, document.get("_rev")?).as_bytes()).unwrap();
                }
                Some((leaf.document.clone(), document))
            };
            let made = match done {
                Done::Set(value) => {
                    let document = set(set((*now).clone(), "secret", value), "fixed", value);
                    leaves.grow(above(&document, 1, true, serial));
                    continue;
                }
                Done::Checked { leaf, deletes } => sent(leaf, deletes).and_then(|(leaf, document)| {
                    let rev = leaf.get("_rev")?.as_str()?;
                    let is_winner = Some(rev) == now_rev;
                    let next = leaves.winner_without(Some(rev)).filter(|_| deletes && is_winner);
                    let replaced = Replaced {
                        document: Some(leaf.clone()),
                        winner: (!is_winner).then(|| now.clone()),
                        next: next.map(|next| next.document.clone()),
                    };
                    let passed = judge(&rules, written("a", document, true)?, &replaced, None).ok()?;
                    Some(above(&set(passed.document, "_rev", rev), 1, true, serial))
                }),
                Done::Forced { leaf, deletes, above: generations, names } => sent(leaf, deletes).and_then(|(_, document)| {
                    let document = above(&document, generations, names, serial);
                    let passed = judge_forced(&rules, written("a", document, false)?, &mut leaves, (None, None)).ok()?;
                    Some(passed.document)
                }),
            };
            if let Some(made) = made {
                leaves.grow(made);
            }
            if leaves.winner().is_some() {
                prop_assert_eq!(kept(leaves.winner()), before, "{:#?}", leaves);
            }
        }
    }
}
