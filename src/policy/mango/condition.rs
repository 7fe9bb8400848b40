//! A selector in CouchDB's normal form, as a tree.

use std::sync::Arc;

use crate::policy::mango::constant::Constant;
use crate::policy::pattern::{PatternError, Template};

/// A path from the top of a document.
pub(in crate::policy) type Path = Arc<[String]>;

/// CouchDB's normal form.
#[derive(Debug, Clone)]
pub(in crate::policy) enum Node {
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
pub(in crate::policy) enum Test {
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
pub(in crate::policy) enum Comparison {
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

impl Node {
    pub(in crate::policy) fn fields(&self, found: &mut Vec<Vec<String>>) {
        match self {
            Self::Everything | Self::Test(_) => (),
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().for_each(|node| node.fields(found)),
            Self::Not(node) => node.fields(found),
            Self::Field(path, _) => found.push(path.to_vec()),
        }
    }
}
