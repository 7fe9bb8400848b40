//! Mango selectors, read as `mango_selector:normalize` reads them, plus `$pattern` and captures for policies.
//!
//! The tree that comes out is CouchDB's normal form: fields pushed down to the operators, negations pushed to
//! the leaves at the top level and left as they are inside `$elemMatch`, `$allMatch` and `$keyMapMatch`.
//! `normal` makes it, `matching` evaluates it.
//!
//! Invariant: what CouchDB refuses or can't evaluate is refused here, so is `$text`; a selector that names no
//! field where it needs one is refused too.

use crate::json::Value;

use crate::policy::mango::condition::{Node, SelectorError, Test};
use crate::policy::mango::matching::Target;
use crate::policy::mango::normal::{Named, Reader};
use crate::policy::pattern::Names;
use crate::policy::pattern::binding::{Binding, Truth};

/// A selector, ready to be matched.
#[derive(Debug, Clone)]
pub struct Selector {
    pub(in crate::policy) root: Node,
}

impl Selector {
    /// A client's selector, to learn which fields it names: whether a document matches it is CouchDB's to tell.
    pub fn client(value: &Value) -> Result<Self, SelectorError> {
        let mut reader = Reader {
            names: None,
            named: Some(Named::default()),
        };
        Self::read(value, &mut reader)?;
        let Named { paths, absent, .. } = reader.named.unwrap_or_default();
        let fields = paths.into_iter().map(|path| {
            let test = match absent.contains(&path) {
                true => Test::Exists(false),
                // Whichever it is.
                false => Test::Regex(None),
            };
            Node::Field(path, Box::new(Node::Test(test)))
        });
        Ok(Self {
            root: Node::And(fields.collect()),
        })
    }

    /// A selector without captures or `$pattern`, complete.
    pub fn parse(value: &Value) -> Result<Self, SelectorError> {
        Self::read(
            value,
            &mut Reader {
                names: None,
                named: None,
            },
        )
    }

    /// A policy's selector: with captures and `$pattern`.
    pub(in crate::policy) fn rule(value: &Value, names: &mut Names) -> Result<Self, SelectorError> {
        Self::read(
            value,
            &mut Reader {
                names: Some(names),
                named: None,
            },
        )
    }

    fn read(value: &Value, reader: &mut Reader<'_>) -> Result<Self, SelectorError> {
        let members = value.as_object().ok_or(SelectorError::NotAnObject)?;
        Ok(Self {
            root: if members.is_empty() {
                Node::Everything
            } else {
                reader.normal(value)?
            },
        })
    }

    /// Does the document match?
    pub fn matches(&self, document: &Value) -> bool {
        self.truth(Target::Value(document), &Binding::default())
            .is_yes()
    }

    pub(in crate::policy) fn truth(&self, target: Target<'_>, binding: &Binding) -> Truth {
        self.root.truth(target, binding)
    }

    /// The fields that it names: concrete paths, each once. What stands inside `$elemMatch` and its like is
    /// named by the field that they apply to.
    pub fn named_fields(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        self.root.fields(&mut found);
        found.sort();
        found.dedup();
        found
    }

    /// Of a client's, the fields that it asks to be absent.
    pub fn absent_fields(&self) -> Vec<Vec<String>> {
        let Node::And(nodes) = &self.root else {
            return Vec::new();
        };
        let mut absent = Vec::new();
        for node in nodes {
            if let Node::Field(path, test) = node
                && matches!(**test, Node::Test(Test::Exists(false)))
            {
                absent.push(path.to_vec());
            }
        }
        absent
    }

    /// Can it be judged by the document's id alone?
    pub(in crate::policy) fn only_id(&self) -> bool {
        self.named_fields()
            .iter()
            .all(|path| path.first().is_some_and(|name| name == "_id"))
    }
}

#[cfg(test)]
mod tests;
