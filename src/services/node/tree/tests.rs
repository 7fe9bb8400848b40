use super::{Broken, Document, NodeHeader, Tree};

fn knot(parents: &[&str], user: bool) -> Document {
    Document::Node(NodeHeader {
        rev: "1-a".into(),
        parents: parents.iter().map(|id| (*id).into()).collect(),
        user,
        admins: vec!["bob".into()],
    })
}

fn tree(nodes: &[(&str, &[&str])]) -> Tree {
    let mut tree = Tree::default();
    for (id, parents) in nodes {
        tree.note(id, knot(parents, false));
    }
    tree
}

fn order(tree: &Tree, id: &str) -> Result<String, Broken> {
    let parents = tree.node(id).unwrap().parents.clone();
    tree.order(id, &parents).map(|order| order.join(" "))
}

#[test]
fn ancestors_come_before_those_who_inherit_from_them() {
    let tree = tree(&[
        ("n", &["left", "right"]),
        ("left", &["root"]),
        ("right", &["root"]),
        ("root", &[]),
    ]);
    assert_eq!(order(&tree, "n").unwrap(), "root left right n");
    let parents = ["n".into(), "root".into()];
    assert_eq!(
        tree.order("new", &parents).unwrap().join(" "),
        "root left right n new"
    );
}

#[test]
fn broken_ancestry_is_named() {
    let mut tree = tree(&[
        ("a", &["gone"]),
        ("n", &["m"]),
        ("m", &["n"]),
        ("s", &["s"]),
        ("b", &["u"]),
    ]);
    tree.note("u", knot(&[], true));
    let names = |node: &str, parent: &str| (node.to_owned(), parent.to_owned());
    let (node, parent) = names("a", "gone");
    assert_eq!(order(&tree, "a"), Err(Broken::Missing { node, parent }));
    let (node, parent) = names("b", "u");
    assert_eq!(order(&tree, "b"), Err(Broken::User { node, parent }));
    assert_eq!(order(&tree, "n"), Err(Broken::Loop("n".into())));
    assert_eq!(order(&tree, "s"), Err(Broken::Loop("s".into())));
    tree.note("gone", Document::Gone("2-b".into()));
    assert!(order(&tree, "a").is_err());
}

#[test]
fn links_follow_every_change() {
    let mut tree = tree(&[("a", &["root"]), ("b", &["root", "root"]), ("root", &[])]);
    let children = |tree: &Tree| tree.children("root").collect::<Vec<_>>().join(" ");
    assert_eq!(children(&tree), "a b");
    tree.note("a", knot(&[], false));
    tree.note("b", Document::Gone("2-b".into()));
    assert_eq!(children(&tree), "");
    assert!(tree.administers("bob"));
    tree.note("a", Document::Other("3-c".into()));
    tree.note("root", Document::Gone("2-b".into()));
    assert!(!tree.administers("bob"));
    assert!(tree.ids().is_empty());
}

#[test]
fn a_chain_may_be_deep_but_not_endless() {
    let id = |at: usize| format!("n{at}");
    let mut tree = Tree::default();
    for at in 0..600 {
        let parent = id(at + 1);
        let parents: &[&str] = if at < 599 { &[&parent] } else { &[] };
        tree.note(&id(at), knot(parents, false));
    }
    assert!(order(&tree, "n87").is_ok());
    assert_eq!(order(&tree, "n86"), Err(Broken::TooDeep("n86".into())));
}

#[test]
fn a_parent_may_not_put_a_node_below_too_deep() {
    let id = |at: usize| format!("n{at}");
    let mut tree = Tree::default();
    for at in 0..400 {
        let parent = id(at + 1);
        tree.note(&id(at), knot(&[&parent], false));
        tree.note(&format!("m{at}"), knot(&[&format!("m{}", at + 1)], false));
    }
    tree.note("n400", knot(&[], false));
    tree.note("m400", knot(&[], false));
    assert_eq!(tree.too_deep_below("n400", &["m399".into()]), None);
    assert!(tree.too_deep_below("n400", &["m200".into()]).is_some());
}
