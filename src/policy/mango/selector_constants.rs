//! The fields that a selector fixes: what a document must have to match it.
//!
//! Who creates a document under a rule with `change` may set these as well: they have no choice about them.
//!
//! Invariant: only what must be there for the document to match at all is fixed: by equality, `$in` or `$pattern`.

use crate::json::FieldPath;
use crate::json::Value;

use crate::policy::mango::condition::{Comparison, Node, Test};
use crate::policy::mango::matching::Target;
use crate::policy::mango::selector::Selector;
use crate::policy::pattern::binding::Binding;

/// The paths at which this document has what the selector demands.
pub(in crate::policy) fn fixed_fields(
    selector: &Selector,
    document: &Value,
    binding: &Binding,
) -> Vec<FieldPath> {
    let mut found = Vec::new();
    collect(&selector.root, document, binding, &mut found);
    found
}

fn collect(node: &Node, document: &Value, binding: &Binding, found: &mut Vec<FieldPath>) {
    match node {
        Node::And(nodes) => nodes
            .iter()
            .for_each(|node| collect(node, document, binding, found)),
        // The branch that holds is the one that they chose.
        Node::Or(nodes) => {
            let holds = |node: &&Node| node.truth(Target::Value(document), binding).is_yes();
            nodes
                .iter()
                .filter(holds)
                .for_each(|node| collect(node, document, binding, found));
        }
        Node::Field(path, condition) => match &**condition {
            Node::Test(Test::Compare(Comparison::Eq, _) | Test::In(_) | Test::Pattern(_)) => {
                found.extend(FieldPath::concrete(path.iter()));
            }
            Node::Everything
            | Node::And(_)
            | Node::Or(_)
            | Node::Not(_)
            | Node::Field(..)
            | Node::Test(_) => (),
        },
        Node::Everything | Node::Not(_) | Node::Test(_) => (),
    }
}
