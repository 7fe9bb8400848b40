use std::collections::BTreeMap;

use proptest::prelude::*;

use super::merge;
use crate::json::{Object, Value};

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn check(left: &str, right: &str, merged: &str) {
    assert_eq!(
        merge(json(left), &json(right)).to_string(),
        merged,
        "{left} and {right}"
    );
}

#[test]
fn leaves_override_and_objects_merge() {
    check(
        r#"{"a":1,"b":{"c":2,"d":3}}"#,
        r#"{"b":{"d":4},"e":5}"#,
        r#"{"a":1,"b":{"c":2,"d":4},"e":5}"#,
    );
    check(r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":null}"#);
    check(r#"{"a":{"b":1}}"#, r#"{"a":null}"#, r#"{"a":null}"#);
    check(r#"{"a":null}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#);
    check(r#"{"a":1.50}"#, r#"{"b":1e2}"#, r#"{"a":1.50,"b":1e2}"#);
}

#[test]
fn arrays_merge_by_index() {
    check("[1,2,3]", "[9]", "[9,2,3]");
    check("[1]", "[null,2]", "[null,2]");
    check(r#"[{"a":1},2]"#, r#"[{"b":3}]"#, r#"[{"a":1,"b":3},2]"#);
}

#[test]
fn an_array_against_an_object_has_the_kind_of_the_right_where_the_keys_allow_it() {
    check("[1,2]", r#"{"1":9}"#, r#"{"0":1,"1":9}"#);
    check("[1,2]", r#"{"a":9}"#, r#"{"0":1,"1":2,"a":9}"#);
    check(r#"{"1":1,"0":0}"#, "[9]", "[9,1]");
    check(r#"{"a":1}"#, "[9]", r#"{"a":1,"0":9}"#);
    check(r#"{"01":1}"#, "[9]", r#"{"01":1,"0":9}"#);
    check(r#"{"2":1}"#, "[9]", r#"{"2":1,"0":9}"#);
}

#[test]
fn an_empty_container_removes_nothing_and_overrides_a_leaf() {
    check(r#"{"a":1}"#, "{}", r#"{"a":1}"#);
    check("[1]", "[]", "[1]");
    check("[1]", "{}", r#"{"0":1}"#);
    check(r#"{"a":1}"#, "[]", r#"{"a":1}"#);
    check("{}", "[]", "[]");
    check("[]", "{}", "{}");
    check(r#"{"a":5}"#, r#"{"a":{}}"#, r#"{"a":{}}"#);
    check(r#"{"a":{}}"#, r#"{"a":5}"#, r#"{"a":5}"#);
}

#[test]
fn a_javascript_key_is_a_key() {
    check(
        r#"{"__proto__":{"a":1}}"#,
        r#"{"__proto__":{"b":2}}"#,
        r#"{"__proto__":{"a":1,"b":2}}"#,
    );
}

/// The definition, word by word, and as slow as it likes: a tree is a map from paths to what stands
/// there.
pub(crate) mod model {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    enum Kind {
        Leaf(Value),
        Array,
        Object,
    }

    type Tree = BTreeMap<Vec<String>, Kind>;

    fn tree(value: &Value, path: &[String], out: &mut Tree) {
        let kind = match value {
            Value::Array(_) => Kind::Array,
            Value::Object(_) => Kind::Object,
            leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Kind::Leaf(leaf.clone())
            }
        };
        out.insert(path.to_vec(), kind);
        let members: Vec<(String, &Value)> = match value {
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(at, v)| (at.to_string(), v))
                .collect(),
            Value::Object(object) => object.iter().map(|(key, v)| (key.to_owned(), v)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        for (key, member) in members {
            tree(member, &[path, &[key]].concat(), out);
        }
    }

    fn keys(tree: &Tree, path: &[String]) -> Vec<String> {
        let below = tree
            .keys()
            .filter(|other| other.len() == path.len() + 1 && other.starts_with(path));
        below.map(|other| other.last().unwrap().clone()).collect()
    }

    fn value(tree: &Tree, path: &[String]) -> Value {
        let member = |key: &String| value(tree, &[path, std::slice::from_ref(key)].concat());
        let keys = keys(tree, path);
        let indexes: Vec<String> = (0..keys.len()).map(|at| at.to_string()).collect();
        match &tree[path] {
            Kind::Leaf(leaf) => leaf.clone(),
            Kind::Array if indexes.iter().all(|at| keys.contains(at)) => {
                Value::Array(indexes.iter().map(member).collect())
            }
            Kind::Array | Kind::Object => {
                let mut object = Object::new();
                for key in &keys {
                    object.insert(key.clone(), member(key));
                }
                Value::Object(object)
            }
        }
    }

    pub(crate) fn merge(left: &Value, right: &Value) -> Value {
        let (mut merged, mut over) = (Tree::new(), Tree::new());
        tree(left, &[], &mut merged);
        tree(right, &[], &mut over);
        for (path, kind) in over {
            // A leaf takes the place of what stands at its path and below.
            if matches!(kind, Kind::Leaf(_)) {
                merged.retain(|other, _| !other.starts_with(&path));
            }
            merged.insert(path, kind);
        }
        value(&merged, &[])
    }
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[ab]?".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab012]|01", inner, 0..4).prop_map(|members| {
                let mut object = Object::new();
                for (key, value) in members {
                    object.insert(key, value);
                }
                Value::from(object)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn merge_is_what_its_definition_says(left in any_value(), right in any_value()) {
        prop_assert_eq!(merge(left.clone(), &right), model::merge(&left, &right));
    }

    #[test]
    fn a_value_over_itself_or_over_nothing_is_itself(value in any_value()) {
        prop_assert_eq!(&merge(value.clone(), &value), &value);
        prop_assert_eq!(merge(Value::Null, &value), value);
    }

    #[test]
    fn laying_the_same_over_it_twice_changes_nothing(left in any_value(), right in any_value()) {
        let once = merge(left, &right);
        prop_assert_eq!(merge(once.clone(), &right), once);
    }
}
