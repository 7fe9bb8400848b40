use proptest::prelude::*;

use super::{Single, full};
use crate::json::{Object, Value};
use crate::services::node::merge::tests::{any_value, model};
use crate::services::node::tree::{Document, Tree};
use crate::services::node::unmerge::unmerge;

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

/// The first of them, with the others as ancestors in the order that the tree gives.
fn full_text(nodes: &[Single]) -> String {
    Value::from(full_of(&nodes[0], nodes)).to_string()
}

fn full_of(node: &Single, nodes: &[Single]) -> Object {
    let mut tree = Tree::default();
    for node in nodes {
        tree.note(
            &node.id,
            Document::read(&node.shown(Object::new(), true, true)).unwrap(),
        );
    }
    let parents: Vec<Box<str>> = node.parents.iter().map(|id| id.as_str().into()).collect();
    let order = tree.order(&node.id, &parents).unwrap();
    let find = |id: &&str| nodes.iter().find(|node| node.id == **id).unwrap();
    full(&order.iter().map(find).collect::<Vec<_>>())
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
    assert_eq!(full_text(&nodes), expected);
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
    assert_eq!(full_text(&nodes), r#"{"a":"root"}"#);
}

#[test]
fn many_generations_do_not_exhaust_the_stack() {
    let id = |at: usize| format!("n{at}");
    let nodes: Vec<Single> = (0..500)
        .map(|at| node(&id(at), &[&id(at + 1)], "{}"))
        .chain([node("n500", &[], r#"{"a":1}"#)])
        .collect();
    assert_eq!(full_text(&nodes), r#"{"a":1}"#);
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

/// The formula of the definition, evaluated as it stands, over and over, with the slow merge.
fn formula(node: &Single, all: &[Single]) -> Value {
    let own = Value::from(node.own.clone());
    model::merge(&inherited(&node.parents, all), &own)
}

fn inherited(parents: &[String], all: &[Single]) -> Value {
    let find = |id: &String| all.iter().find(|node| node.id == *id).unwrap();
    let parents = parents.iter().map(|parent| formula(find(parent), all));
    parents.fold(Value::from(Object::new()), |left, right| {
        model::merge(&left, &right)
    })
}

/// Node `n` may have any of `n+1 …` as parents: diamonds and chains, and no loops.
fn any_tree() -> impl Strategy<Value = Vec<Single>> {
    let properties = prop::collection::vec((any_value(), any_value()), 2..7);
    let edges = prop::collection::vec(prop::collection::vec(1..6_usize, 0..3), 7);
    (properties, edges).prop_map(|(properties, edges)| {
        let count = properties.len();
        let one = |(at, ((a, b), steps)): (usize, (&(Value, Value), &Vec<usize>))| {
            let above = steps.iter().map(|step| at + step).filter(|to| *to < count);
            let parents: Vec<String> = above.map(|to| format!("n{to}")).collect();
            let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
            node(
                &format!("n{at}"),
                &parents,
                &format!(r#"{{"a":{a},"b":{b}}}"#),
            )
        };
        properties.iter().zip(&edges).enumerate().map(one).collect()
    })
}

proptest! {
    #[test]
    fn a_full_node_is_what_the_formula_says(nodes in any_tree()) {
        prop_assert_eq!(Value::from(full_of(&nodes[0], &nodes)), formula(&nodes[0], &nodes));
    }

    /// What is put is read back: the node keeps what is left of it when all that it inherits is taken out.
    #[test]
    fn what_is_put_is_read_back_or_refused(
        mut nodes in any_tree(),
        (a, b) in (any_value(), any_value()),
        keeps in any::<bool>(),
    ) {
        let mut wanted = Object::new();
        wanted.insert("a", a);
        wanted.insert("b", b);
        let mut wanted = Value::from(wanted);
        if keeps {
            // Nothing that is inherited is left out, so nothing may be refused.
            wanted = model::merge(&inherited(&nodes[0].parents, &nodes), &wanted);
        }
        match unmerge(&inherited(&nodes[0].parents, &nodes), &wanted) {
            Ok(own) => {
                let own = own.unwrap_or_else(|| Object::new().into());
                nodes[0].own = own.as_object().unwrap().clone();
                prop_assert_eq!(Value::from(full_of(&nodes[0], &nodes)), wanted);
            }
            Err(path) => prop_assert!(!keeps, "{}", path),
        }
    }
}
