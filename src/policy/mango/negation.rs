//! Negations: pushed to the leaves at the top, left in place inside elements, as CouchDB does.
//!
//! Invariant: a field must be there for the opposite of its test to hold; `$exists` alone can ask for its absence.

use crate::policy::mango::condition::{Comparison, Node, Path, Test};

/// Before negations are settled.
pub(in crate::policy) enum Raw {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Nor(Vec<Self>),
    Field(Path, Test),
    Test(Test),
}

/// `norm_negations`.
pub(in crate::policy) fn settle(raw: Raw) -> Node {
    match raw {
        Raw::And(parts) => Node::And(parts.into_iter().map(settle).collect()),
        Raw::Or(parts) => Node::Or(parts.into_iter().map(settle).collect()),
        Raw::Not(part) => negate(*part),
        Raw::Nor(parts) => Node::And(parts.into_iter().map(negate).collect()),
        Raw::Field(path, test) => Node::Field(path, Box::new(Node::Test(test))),
        Raw::Test(test) => Node::Test(test),
    }
}

fn negate(raw: Raw) -> Node {
    match raw {
        Raw::And(parts) => Node::Or(parts.into_iter().map(negate).collect()),
        Raw::Or(parts) => Node::And(parts.into_iter().map(negate).collect()),
        Raw::Not(part) => settle(*part),
        Raw::Nor(parts) => Node::Or(parts.into_iter().map(settle).collect()),
        Raw::Field(path, test) => Node::Field(path, Box::new(opposite(test))),
        Raw::Test(test) => opposite(test),
    }
}

/// A field must still be there for the opposite of its test to hold.
fn opposite(test: Test) -> Node {
    match test {
        Test::Compare(comparison, constant) => {
            Node::Test(Test::Compare(comparison.opposite(), constant))
        }
        Test::In(constants) => Node::Test(Test::NotIn(constants)),
        Test::NotIn(constants) => Node::Test(Test::In(constants)),
        Test::Exists(exists) => Node::Test(Test::Exists(!exists)),
        test @ (Test::All(_)
        | Test::Type(_)
        | Test::Mod(..)
        | Test::Size(_)
        | Test::BeginsWith(_)
        | Test::Regex(_)
        | Test::Pattern(_)
        | Test::ElemMatch(_)
        | Test::AllMatch(_)
        | Test::KeyMapMatch(_)) => Node::Not(Box::new(Node::Test(test))),
    }
}

/// Inside elements negations stay where they are.
pub(in crate::policy) fn plain(raw: Raw) -> Node {
    match raw {
        Raw::And(parts) => Node::And(parts.into_iter().map(plain).collect()),
        Raw::Or(parts) => Node::Or(parts.into_iter().map(plain).collect()),
        Raw::Not(part) => Node::Not(Box::new(plain(*part))),
        Raw::Nor(parts) => Node::Not(Box::new(Node::Or(parts.into_iter().map(plain).collect()))),
        Raw::Field(path, test) => Node::Field(path, Box::new(Node::Test(test))),
        Raw::Test(test) => Node::Test(test),
    }
}

impl Comparison {
    fn opposite(self) -> Self {
        match self {
            Self::Lt => Self::Gte,
            Self::Lte => Self::Gt,
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Gte => Self::Lt,
            Self::Gt => Self::Lte,
        }
    }
}
