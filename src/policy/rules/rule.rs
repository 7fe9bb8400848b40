//! Rules as data: what one entry of a policy file says.
//!
//! Invariant: a rule is made by `load` only, and never changes.

use std::sync::Arc;

use crate::json::FieldPath;
use crate::json::Fields;

use crate::policy::mango::constant::Constant;
use crate::policy::mango::selector::Selector;
use crate::policy::pattern::{Names, Template, Variable};
use crate::policy::rules::action::Actions;

/// One entry of a policy file.
#[derive(Debug)]
pub(in crate::policy) struct Rule {
    pub(in crate::policy) name: Arc<str>,
    /// The variables of all that follows.
    pub(in crate::policy) names: Names,
    /// Those that something depends on, callers aside.
    pub(in crate::policy) used: Vec<usize>,
    /// Those of them that come from the caller themselves and not from a match: `{user}`, `{node:…}`, `{claim:…}`.
    pub(in crate::policy) own: Vec<(usize, Variable)>,
    pub(in crate::policy) databases: Vec<Template>,
    pub(in crate::policy) callers: Callers,
    /// Administrators are bound too.
    pub(in crate::policy) administrators: bool,
    pub(in crate::policy) permit: Actions,
    pub(in crate::policy) forbid: Actions,
    /// Which stored documents it is about; `None`: all.
    pub(in crate::policy) documents: Option<Selector>,
    /// Which rows of a view.
    pub(in crate::policy) rows: Option<Selector>,
    /// Which keys of a view; `None`: all.
    pub(in crate::policy) keys: Option<Vec<Constant>>,
    pub(in crate::policy) reduce: bool,
    /// What it shows of what it permits.
    pub(in crate::policy) fields: Fields,
    /// What it hides from everyone whom it matches, where it neither permits nor forbids.
    pub(in crate::policy) hides: Vec<FieldPath>,
    /// Which fields may be set or altered; `None`: any.
    pub(in crate::policy) change: Option<Vec<FieldPath>>,
    /// One spelling for each meaning of the conditions and fields, for fingerprints.
    pub(in crate::policy) canonical: String,
    /// The same of what concerns the rows of views alone.
    pub(in crate::policy) canonical_rows: String,
}

/// Whom a rule matches; one that fits is enough.
#[derive(Debug, Default)]
pub(in crate::policy) struct Callers {
    pub(in crate::policy) names: Vec<Template>,
    pub(in crate::policy) roles: Vec<Template>,
    pub(in crate::policy) anonymous: bool,
    pub(in crate::policy) everyone: bool,
}

impl Rule {
    /// Does it only hide?
    pub(in crate::policy) fn hides_only(&self) -> bool {
        self.permit.is_empty() && self.forbid.is_empty()
    }

    /// Does it permit all documents, whole?
    pub(in crate::policy) fn is_clear(&self) -> bool {
        self.documents.is_none() && self.fields.is_all()
    }
}
