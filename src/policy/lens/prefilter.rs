//! Selectors to push down to CouchDB: they let through all that the rules show, and more.
//!
//! Invariant: never stricter than the rule. Comparisons with captured text are exact here and collated there:
//! only those that are wider there stay; `$pattern`, `$regex` and everything under a negation is left out.

use crate::json::Object;
use crate::json::Value;

use crate::policy::grants::Applied;
use crate::policy::mango::collate::Strings;
use crate::policy::mango::condition::{Comparison, Node, Test};
use crate::policy::mango::constant::Constant;
use crate::policy::pattern::binding::Binding;

/// More alternatives than these are no help.
const MOST: usize = 64;

/// One of these rules matches. `None`: nothing can be told.
pub(in crate::policy) fn any<'a>(rules: impl Iterator<Item = &'a Applied>) -> Option<Value> {
    let mut alternatives: Vec<Value> = Vec::new();
    for applied in rules {
        let selector = applied.rule.documents.as_ref()?;
        for binding in applied.bindings.as_deref()? {
            let wider = widen(&selector.root, binding)?;
            if !alternatives.contains(&wider) {
                alternatives.push(wider);
            }
            if alternatives.len() > MOST {
                return None;
            }
        }
    }
    match alternatives.len() {
        0 => None,
        1 => alternatives.pop(),
        _ => Some(object("$or", Value::Array(alternatives))),
    }
}

/// The same, for which no index is chosen: one over a field can only be used where every alternative names it.
pub(in crate::policy) fn without_index(selector: Value) -> Value {
    let nothing = object("_id", object("$in", Value::Array(Vec::new())));
    object("$or", Value::Array(vec![selector, nothing]))
}

/// A selector that is implied; `None`: everything.
fn widen(node: &Node, binding: &Binding) -> Option<Value> {
    match node {
        Node::Everything | Node::Not(_) | Node::Test(_) => None,
        Node::And(nodes) => {
            let mut parts: Vec<Value> = nodes
                .iter()
                .filter_map(|node| widen(node, binding))
                .collect();
            if parts.len() > 1 {
                Some(object("$and", Value::Array(parts)))
            } else {
                parts.pop()
            }
        }
        // An empty `$or` holds.
        Node::Or(nodes) if nodes.is_empty() => None,
        Node::Or(nodes) => {
            let parts: Option<Vec<Value>> = nodes.iter().map(|node| widen(node, binding)).collect();
            Some(object("$or", Value::Array(parts?)))
        }
        Node::Field(path, condition) => {
            let condition = match &**condition {
                Node::Test(Test::Exists(false)) => object("$exists", Value::Bool(false)),
                Node::Test(test) => {
                    operator(test, binding).unwrap_or_else(|| object("$exists", Value::Bool(true)))
                }
                // Whatever is tested, the field is there.
                Node::Everything | Node::And(_) | Node::Or(_) | Node::Not(_) | Node::Field(..) => {
                    object("$exists", Value::Bool(true))
                }
            };
            Some(object(&spelt(path), condition))
        }
    }
}

fn operator(test: &Test, binding: &Binding) -> Option<Value> {
    let values = |constants: &[Constant]| {
        let values: Option<Vec<Value>> = constants
            .iter()
            .map(|one| one.value(binding).map(std::borrow::Cow::into_owned))
            .collect();
        values.map(Value::Array)
    };
    let collated = |constants: &[Constant]| {
        constants
            .iter()
            .all(|one| one.strings() == Strings::Collated)
    };
    match test {
        Test::Compare(Comparison::Eq, constant) => {
            Some(object("$eq", constant.value(binding)?.into_owned()))
        }
        Test::Compare(comparison, constant) if constant.strings() == Strings::Collated => Some(
            object(comparison.name(), constant.value(binding)?.into_owned()),
        ),
        Test::Compare(..) => None,
        Test::In(constants) => Some(object("$in", values(constants)?)),
        Test::NotIn(constants) if collated(constants) => Some(object("$nin", values(constants)?)),
        Test::Type(kind) => Some(object("$type", Value::String(kind.clone()))),
        Test::Size(size) => Some(object("$size", Value::from(*size))),
        // A number is equal to others there that are not the same here, and so on: not worth the risk.
        Test::NotIn(_)
        | Test::All(_)
        | Test::Exists(_)
        | Test::Mod(..)
        | Test::BeginsWith(_)
        | Test::Regex(_)
        | Test::Pattern(_)
        | Test::ElemMatch(_)
        | Test::AllMatch(_)
        | Test::KeyMapMatch(_) => None,
    }
}

impl Comparison {
    pub(in crate::policy) fn name(self) -> &'static str {
        match self {
            Self::Lt => "$lt",
            Self::Lte => "$lte",
            Self::Eq => "$eq",
            Self::Ne => "$ne",
            Self::Gte => "$gte",
            Self::Gt => "$gt",
        }
    }
}

fn object(name: &str, value: Value) -> Value {
    let mut object = Object::new();
    object.insert(name, value);
    Value::Object(object)
}

/// As Mango spells a path. No name has a backslash: reading a selector drops them all, as CouchDB does.
fn spelt(path: &[String]) -> String {
    let names: Vec<String> = path.iter().map(|name| name.replace('.', "\\.")).collect();
    names.join(".")
}
