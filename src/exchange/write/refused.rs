//! Why a document is not written: one reason, as the answer to a request of its own and as a row of `_bulk_docs`.

use crate::json::{Object, Value};
use crate::policy::Denied;
use crate::refusal::{Limit, Refusal};

/// Why a document is not written, as `_bulk_docs` says it in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: &'static str,
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn forbidden(reason: &str) -> Self {
        Self {
            error: "forbidden",
            reason: reason.to_owned(),
        }
    }

    /// What is stored takes too much to be judged beside what is sent.
    pub(crate) fn too_large() -> Self {
        Self {
            error: "too_large",
            reason: "the document takes too much memory".to_owned(),
        }
    }

    /// A stub that stands for nothing.
    pub(crate) fn missing_stub() -> Self {
        Self {
            error: "missing_stub",
            reason: "an attachment is not stored".to_owned(),
        }
    }

    /// Where one document is no reason to refuse the others: without `new_edits` CouchDB knows no conflict, and
    /// a replicator gives up its batch at any error but `forbidden`.
    pub(crate) fn in_batch(self) -> Self {
        match self.error {
            "conflict" | "not_found" => Self::forbidden("this document may not be written"),
            "missing_stub" => Self::forbidden("an attachment is not stored"),
            "too_large" => Self::forbidden("the document takes too much memory"),
            _ => self,
        }
    }

    /// The refusal of a request that writes this document alone.
    pub(crate) fn into_refusal(self) -> Refusal {
        match self.error {
            "conflict" => Refusal::Conflict,
            "not_found" => Refusal::Missing,
            "missing_stub" => Refusal::MissingStub,
            "too_large" => Refusal::TooLarge(Limit::Body),
            _ => Refusal::ForbiddenBecause(self.reason),
        }
    }

    /// As a row of `_bulk_docs`, where CouchDB knows no `not_found`.
    pub(crate) fn into_row(self, id: &str, rev: Option<&str>) -> Value {
        let (error, reason) = match self.error {
            "not_found" => ("conflict", CONFLICT.to_owned()),
            // CouchDB would refuse the whole batch.
            "missing_stub" | "too_large" => ("forbidden", self.reason),
            error => (error, self.reason),
        };
        let mut row = Object::new();
        row.insert("id", id);
        if let Some(rev) = rev {
            row.insert("rev", rev);
        }
        row.insert("error", error);
        row.insert("reason", reason.as_str());
        Value::Object(row)
    }
}

/// Why a document is not written that could not be asked for.
pub(crate) const LONG_ID: &str = "the id is too long for a URL";
const CONFLICT: &str = "Document update conflict.";

pub(crate) fn conflict() -> Refused {
    Refused {
        error: "conflict",
        reason: CONFLICT.to_owned(),
    }
}

/// What CouchDB answers where there is no such revision.
pub(crate) fn absent(deletes: bool) -> Refused {
    match deletes {
        true => Refused {
            error: "not_found",
            reason: "missing".to_owned(),
        },
        false => conflict(),
    }
}

pub(crate) fn refused(denied: Denied, deletes: bool) -> Refused {
    match denied {
        Denied::Missing if deletes => Refused {
            error: "not_found",
            reason: "missing".to_owned(),
        },
        Denied::Missing | Denied::Conflict => conflict(),
        Denied::Forbidden(reason) => Refused {
            error: "forbidden",
            reason,
        },
    }
}
