//! What a writer does not see, they make nobody show them.

use proptest::prelude::*;
use proptest::sample;

use super::rules;
use crate::json::{Kind, Object, Value};
use crate::policy::tests::value;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A value of few forms, so that rules often match and documents are often alike.
fn small(depth: u32) -> BoxedStrategy<String> {
    let scalar = prop_oneof![Just("1".to_owned()), Just("2".to_owned())];
    if depth == 0 {
        return scalar.boxed();
    }
    let object =
        proptest::collection::btree_map(sample::select(&NAMES[..]), small(depth - 1), 0..3)
            .prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            });
    prop_oneof![2 => scalar, 1 => object].boxed()
}

fn document() -> impl Strategy<Value = Value> {
    let members = ["k", "a", "b", "c"].map(|name| (Just(name), proptest::option::of(small(2))));
    members.prop_map(|members| {
        let mut document = Object::new();
        document.insert("_id", "x");
        for (name, text) in members {
            if let Some(text) = text {
                document.insert(name, value(&text));
            }
        }
        Value::Object(document)
    })
}

/// One of them is always there, so that something may be written.
const WRITES: [&str; 4] = [
    "permit=['replicate']",
    "permit=['replicate']\nhide=['a']",
    "permit=['replicate']\ndocuments={k=1}",
    "permit=['update']\nshow=['k']",
];

fn rule() -> impl Strategy<Value = String> {
    let effect = prop_oneof![
        Just("permit=['read']\n"),
        Just("permit=['find']\n"),
        Just("permit=['replicate']\n"),
        Just("permit=['update', 'delete']\n"),
        Just(""),
    ];
    let paths = ["a", "b", "a.b", "*.a", "k", "**.c"];
    let path = sample::select(paths.to_vec());
    let fields = (prop_oneof![Just("hide"), Just("show")], path)
        .prop_map(|(what, path)| format!("{what}=['{path}']\n"));
    let condition = sample::select(vec!["k=1", "k=2", "k={'$exists'=false}", "a=1", "'a.b'=1"]);
    (
        effect,
        proptest::option::of(fields),
        proptest::option::of(condition),
    )
        .prop_filter_map("a rule permits or hides", |(effect, fields, condition)| {
            let fields = match (effect, fields) {
                ("", Some(fields)) if fields.starts_with("show") => return None,
                ("", None) => return None,
                (_, fields) => fields.unwrap_or_default(),
            };
            let condition = condition.map(|text| format!("documents={{{text}}}\n"));
            Some(format!("{effect}{fields}{}", condition.unwrap_or_default()))
        })
}

/// Every scalar and empty container of a value, with its place.
fn leaves(value: Option<&Value>, trail: &str, found: &mut Vec<String>) {
    match value {
        Some(Value::Object(object)) if !object.is_empty() => {
            for (name, value) in object.iter() {
                leaves(Some(value), &format!("{trail}.{name}"), found);
            }
        }
        Some(value) => found.push(format!("{trail}={value}")),
        None => {}
    }
}

fn leaves_of(value: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    leaves(value, "", &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_a_writer_does_not_see_he_makes_nobody_show_him(
        writes in sample::select(WRITES.to_vec()),
        texts in proptest::collection::vec(rule(), 0..4),
        stored in document(),
        new in document(),
        deletes in proptest::bool::weighted(0.1),
    ) {
        let texts = texts.iter().map(String::as_str).chain([writes]);
        let rules = rules(&texts.collect::<Vec<_>>());
        let seen = |document: &Value| {
            let shown = [&rules.reads, &rules.finds].map(|lens| {
                let fields = lens.judge("x", Some(document))?;
                Some(fields.cut_value(document, Kind::Document))
            });
            let written = rules.view(document);
            (leaves_of(written.as_ref()), shown.iter().flat_map(|view| leaves_of(view.as_ref())).collect::<Vec<_>>())
        };
        let mut new = new;
        if deletes {
            new.as_object_mut().unwrap().insert("_deleted", true);
        }
        let (as_writer, as_reader) = seen(&stored);
        let sent = leaves_of(Some(&new));
        if let Ok(whole) = rules.judge(Some(&stored), new) {
            for leaf in seen(&whole).1 {
                prop_assert!(
                    as_writer.contains(&leaf) || as_reader.contains(&leaf) || sent.contains(&leaf)
                        || !leaves_of(Some(&stored)).contains(&leaf),
                    "{leaf} of {stored} shows in {whole}"
                );
            }
        }
    }
}
