//! Rules as data: what one entry of a policy file says.
//!
//! Invariant: a rule is made by `load` only, and never changes.

use std::sync::Arc;

use crate::json::FieldPath;
use crate::json::Fields;

use super::action::Actions;
use super::constant::Constant;
use super::pattern::{Names, Template, Variable};
use super::selector::Selector;

/// One entry of a policy file.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    /// The variables of all that follows.
    pub(super) names: Names,
    /// Those that something depends on, callers aside.
    pub(super) used: Vec<usize>,
    /// Those of them that come from the caller himself and not from a match: `{user}`, `{node:…}`, `{claim:…}`.
    pub(super) own: Vec<(usize, Variable)>,
    pub(super) databases: Vec<Template>,
    pub(super) callers: Callers,
    /// Administrators are bound too.
    pub(super) administrators: bool,
    pub(super) permit: Actions,
    pub(super) forbid: Actions,
    /// Which stored documents it is about; `None`: all.
    pub(super) documents: Option<Selector>,
    /// Which rows of a view.
    pub(super) rows: Option<Selector>,
    /// Which keys of a view; `None`: all.
    pub(super) keys: Option<Vec<Constant>>,
    pub(super) reduce: bool,
    /// What it shows of what it permits.
    pub(super) fields: Fields,
    /// What it hides from everyone whom it matches, where it neither permits nor forbids.
    pub(super) hides: Vec<FieldPath>,
    /// Which fields may be set or altered; `None`: any.
    pub(super) change: Option<Vec<FieldPath>>,
    /// One spelling for each meaning of the conditions and fields, for fingerprints.
    pub(super) canonical: String,
    /// The same of what concerns the rows of views alone.
    pub(super) canonical_rows: String,
}

/// Whom a rule matches; one that fits is enough.
#[derive(Debug, Default)]
pub(super) struct Callers {
    pub(super) names: Vec<Template>,
    pub(super) roles: Vec<Template>,
    pub(super) anonymous: bool,
    pub(super) everyone: bool,
}

impl Rule {
    /// Does it only hide?
    pub(super) fn hides_only(&self) -> bool {
        self.permit.is_empty() && self.forbid.is_empty()
    }

    /// Does it permit all documents, whole?
    pub(super) fn is_clear(&self) -> bool {
        self.documents.is_none() && self.fields.is_all()
    }
}
