use std::collections::HashMap;

use proptest::prelude::*;

use super::{Broken, Single, full, order};
use crate::json::{Object, Value};
use crate::node::merge::merge;
use crate::node::merge::tests::any_value;

fn node(id: &str, parents: &[&str], properties: &str) -> Single {
    let mut document = Value::parse(properties.as_bytes()).unwrap();
    let mut metadata = Object::new();
    metadata.insert("nodeId", id);
    metadata.insert(
        "parents",
        parents
            .iter()
            .map(|id| Value::from(*id))
            .collect::<Vec<_>>(),
    );
    let object = document.as_object_mut().unwrap();
    object.insert("_id", id);
    object.insert("_rev", "1-a");
    object.insert("metadata", metadata);
    Single::read(&document).unwrap()
}

fn tree(nodes: &[Single]) -> HashMap<String, Single> {
    nodes
        .iter()
        .map(|node| (node.id.clone(), node.clone()))
        .collect()
}

fn full_text(nodes: &[Single]) -> Result<String, Broken> {
    let all = tree(nodes);
    let order = order(nodes.first().unwrap(), &all)?;
    Ok(Value::from(full(&order)).to_string())
}

#[test]
fn a_full_node_is_the_fold_of_its_full_parents_and_itself() {
    let nodes = [
        node("n", &["left", "right"], r#"{"own":1,"both":{"n":1}}"#),
        node(
            "left",
            &["root"],
            r#"{"a":"left","both":{"left":1},"list":[1,2]}"#,
        ),
        node("right", &["root"], r#"{"a":"right","list":[9]}"#),
        node("root", &[], r#"{"a":"root","b":"root","list":[0,0,3]}"#),
    ];
    let expected = r#"{"a":"right","b":"root","list":[9,0,3],"both":{"left":1,"n":1},"own":1}"#;
    assert_eq!(full_text(&nodes).unwrap(), expected);
}

/// `right` brings `root`'s `a` again, over what `left` has set: parents count as full nodes.
#[test]
fn a_later_parent_overrides_with_what_it_inherits_too() {
    let nodes = [
        node("n", &["left", "right"], "{}"),
        node("left", &["root"], r#"{"a":"left"}"#),
        node("right", &["root"], "{}"),
        node("root", &[], r#"{"a":"root"}"#),
    ];
    assert_eq!(full_text(&nodes).unwrap(), r#"{"a":"root"}"#);
}

#[test]
fn broken_ancestry_is_named() {
    let missing = [node("n", &["gone"], "{}")];
    let expected = Broken::Missing {
        node: "n".into(),
        parent: "gone".into(),
    };
    assert_eq!(full_text(&missing), Err(expected));
    let around = [node("n", &["m"], "{}"), node("m", &["n"], "{}")];
    assert_eq!(full_text(&around), Err(Broken::Loop("n".into())));
    assert_eq!(
        full_text(&[node("n", &["n"], "{}")]),
        Err(Broken::Loop("n".into()))
    );
    let mut user = node("u", &[], "{}");
    user.metadata.insert("authorization", Object::new());
    let expected = Broken::User {
        node: "n".into(),
        parent: "u".into(),
    };
    assert_eq!(full_text(&[node("n", &["u"], "{}"), user]), Err(expected));
}

#[test]
fn a_thousand_generations_do_not_exhaust_the_stack() {
    let id = |at: usize| format!("n{at}");
    let nodes: Vec<Single> = (0..1000)
        .map(|at| node(&id(at), &[&id(at + 1)], "{}"))
        .chain([node("n1000", &[], r#"{"a":1}"#)])
        .collect();
    assert_eq!(full_text(&nodes).unwrap(), r#"{"a":1}"#);
}

#[test]
fn what_is_not_a_node_is_not_read() {
    for text in [
        "{}",
        r#"{"_id":"a","_rev":"1-a"}"#,
        r#"{"_id":"a","_rev":"1-a","metadata":{}}"#,
        r#"{"_id":"a","_rev":"1-a","metadata":{"nodeId":"b"}}"#,
        r#"{"_id":"a","_rev":"1-a","metadata":{"nodeId":"a","parents":"b"}}"#,
        r#"{"_id":"a","_rev":"1-a","metadata":{"nodeId":"a","parents":[1]}}"#,
        r#"{"_id":"_design/a","_rev":"1-a","metadata":{"nodeId":"_design/a"}}"#,
    ] {
        assert_eq!(
            Single::read(&Value::parse(text.as_bytes()).unwrap()),
            None,
            "{text}"
        );
    }
}

#[test]
fn only_administrators_see_the_hash() {
    let mut user = node("u", &[], r#"{"a":1,"_attachments":{}}"#);
    let authorization = Value::parse(br#"{"type":"bcrypt","crypted":"canary"}"#).unwrap();
    user.metadata.insert("authorization", authorization);
    let shown = |administrator, raw| {
        user.shown(user.own().clone(), administrator, raw)
            .to_string()
    };
    assert!(shown(true, false).contains("canary"));
    let own = r#"{"a":1,"metadata":{"nodeId":"u","parents":[],"authorization":{"type":"bcrypt"}}}"#;
    assert_eq!(shown(false, false), own);
    assert!(shown(false, true).starts_with(r#"{"_id":"u","_rev":"1-a","a":1,"#));
    user.metadata.insert("authorization", "canary");
    assert!(
        !user
            .shown(Object::new(), false, false)
            .to_string()
            .contains("canary")
    );
}

/// The formula of the definition, evaluated as it stands, over and over.
fn model(node: &Single, all: &HashMap<String, Single>) -> Value {
    let parents = node.parents.iter().map(|parent| model(&all[parent], all));
    let inherited = parents.fold(Value::from(Object::new()), |left, right| {
        merge(left, &right)
    });
    merge(inherited, &Value::from(node.own.clone()))
}

proptest! {
    /// Node `n` may have any of `n+1 …` as parents: diamonds and chains, and no loops.
    #[test]
    fn a_full_node_is_what_the_formula_says(
        properties in prop::collection::vec((any_value(), any_value()), 2..7),
        edges in prop::collection::vec(prop::collection::vec(1..6_usize, 0..3), 7),
    ) {
        let count = properties.len();
        let nodes: Vec<Single> = properties.iter().zip(&edges).enumerate().map(|(at, ((a, b), steps))| {
            let parents: Vec<String> =
                steps.iter().map(|step| at + step).filter(|to| *to < count).map(|to| format!("n{to}")).collect();
            let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
            node(&format!("n{at}"), &parents, &format!(r#"{{"a":{a},"b":{b}}}"#))
        }).collect();
        let all = tree(&nodes);
        let order = order(&nodes[0], &all).unwrap();
        prop_assert_eq!(Value::from(full(&order)), model(&nodes[0], &all));
    }
}
