//! Mango selectors, read as `mango_selector:normalize` reads them, plus `$pattern` and captures for policies.
//!
//! The tree that comes out is CouchDB's normal form: fields pushed down to the operators, negations pushed to
//! the leaves at the top level and left as they are inside `$elemMatch`, `$allMatch` and `$keyMapMatch`.
//! `normal` makes it, `matching` evaluates it.
//!
//! Invariant: what CouchDB refuses or can't evaluate is refused here, so is `$text`; a selector that names no
//! field where it needs one is refused too.

use crate::json::Value;

use super::binding::{Binding, Truth};
use super::constant::Constant;
use super::matching::Target;
use super::normal::{Named, Path, Reader};
use super::pattern::{Names, PatternError, Template};

/// A selector, ready to be matched.
#[derive(Debug, Clone)]
pub struct Selector {
    pub(super) root: Node,
}

/// CouchDB's normal form.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// The empty selector.
    Everything,
    And(Vec<Self>),
    /// An empty one holds, as in CouchDB.
    Or(Vec<Self>),
    Not(Box<Self>),
    Field(Path, Box<Self>),
    Test(Test),
}

/// One operator on one value.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Compare(Comparison, Constant),
    In(Vec<Constant>),
    NotIn(Vec<Constant>),
    All(Vec<Constant>),
    Exists(bool),
    Type(String),
    Mod(i128, i128),
    Size(u64),
    BeginsWith(Constant),
    /// `None` for a client's, which is CouchDB's to compile.
    Regex(Option<Box<regex::bytes::Regex>>),
    Pattern(Vec<Template>),
    ElemMatch(Box<Node>),
    AllMatch(Box<Node>),
    KeyMapMatch(Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Lt,
    Lte,
    Eq,
    Ne,
    Gte,
    Gt,
}

/// Why a value is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A selector is an object.
    #[error("a selector must be an object")]
    NotAnObject,
    /// An operator with an argument that it does not take.
    #[error("bad argument for operator `{0}`")]
    BadArgument(String),
    /// No such operator, or one that is not supported here.
    #[error("invalid operator `{0}`")]
    InvalidOperator(String),
    /// An operator stands where a field must.
    #[error("`{0}` needs a field to apply to")]
    MissingField(String),
    /// A field name with an empty part.
    #[error("invalid field name `{0}`")]
    InvalidField(String),
    /// A regular expression that can't be used here.
    #[error("the regular expression `{0}` is not supported")]
    Regex(String),
    /// A variable where only a constant can stand.
    #[error("captures can't be used in `{0}`")]
    Capture(String),
    /// A client's, whose paths take too much.
    #[error("the selector is too large: its fields nest too deep, or are too many")]
    TooLarge,
    /// A bad `$pattern` or capture.
    #[error("{0}")]
    Pattern(String),
}

impl From<PatternError> for SelectorError {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error.to_string())
    }
}

impl Selector {
    /// A client's selector, to learn which fields it names: whether a document matches it is CouchDB's to tell.
    pub fn client(value: &Value) -> Result<Self, SelectorError> {
        let mut reader = Reader {
            names: None,
            named: Some(Named::default()),
        };
        Self::read(value, &mut reader)?;
        let named = reader.named.unwrap_or_default().paths;
        let beyond = || Box::new(Node::Test(Test::Regex(None)));
        let fields = named.into_iter().map(|path| Node::Field(path, beyond()));
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
    pub(super) fn rule(value: &Value, names: &mut Names) -> Result<Self, SelectorError> {
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

    pub(super) fn truth(&self, target: Target<'_>, binding: &Binding) -> Truth {
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

    /// Can it be judged by the document's id alone?
    pub(super) fn only_id(&self) -> bool {
        self.named_fields()
            .iter()
            .all(|path| path.first().is_some_and(|name| name == "_id"))
    }
}

impl Node {
    fn fields(&self, found: &mut Vec<Vec<String>>) {
        match self {
            Self::Everything | Self::Test(_) => (),
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().for_each(|node| node.fields(found)),
            Self::Not(node) => node.fields(found),
            Self::Field(path, _) => found.push(path.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests;
