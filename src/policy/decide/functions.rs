//! Functions of design documents, whose answers are not filtered: open where there would be nothing to filter.
//!
//! Invariant: the plan is `Verbatim`, and every lens that could bear on the answer is clear.

use std::sync::Arc;

use crate::route::DesignName;
use crate::route::FunctionName;

use crate::policy::decide::decision::{Case, Outcome};
use crate::policy::decide::plan::Plan;
use crate::policy::decide::requirement::Untouched;
use crate::policy::lens::view::ViewLens;
use crate::policy::rules::action::{Actions, REWRITE, Simple};

impl Case<'_> {
    pub(in crate::policy) fn untouched(&self, what: Untouched<'_>) -> Outcome {
        match (self.asked(what), self.is_clear(what)) {
            (Err(rule), _) => Outcome::Deny(rule),
            // Functions answer what they like: they are never served through a lens.
            (Ok(()), false) => Outcome::Deny(None),
            (Ok(()), true) => self.plan(Plan::Verbatim, |_| true),
        }
    }

    /// Is it permitted, lens or not?
    fn asked(&self, what: Untouched<'_>) -> Result<(), Option<Arc<str>>> {
        let function = |ddoc: &DesignName, name: &str| {
            self.open(
                |actions: &Actions| actions.function(ddoc.as_str(), name),
                false,
            )
        };
        match what {
            Untouched::Function(ddoc, name) | Untouched::Update(ddoc, name) => {
                function(ddoc, name.as_str())
            }
            Untouched::List {
                ddoc,
                list,
                other: _,
                view: _,
            } => function(ddoc, list.as_str()),
            Untouched::Rewrite(ddoc) => function(ddoc, REWRITE),
        }
    }

    /// Is there nothing to filter?
    fn is_clear(&self, what: Untouched<'_>) -> bool {
        let reads = || {
            let read = |actions: &Actions| actions.simple.has(Simple::Read);
            self.open(read, true).is_ok() && self.reads().is_clear()
        };
        let view = |ddoc: &DesignName, view: &FunctionName| {
            let named = |actions: &Actions| actions.view(ddoc.as_str(), view.as_str());
            let lens = || ViewLens::new(&self.grants, ddoc.as_str(), view.as_str());
            self.open(named, true).is_ok() && lens().is_clear()
        };
        match what {
            Untouched::Function(..) => reads(),
            Untouched::List {
                ddoc: _,
                list: _,
                other,
                view: name,
            } => view(other, name) && reads() && !self.may_find_locals("include_docs"),
            Untouched::Update(..) => {
                let rules = self.rules();
                reads() && rules.is_clear_for(false) && rules.decision_fields().is_empty()
            }
            Untouched::Rewrite(_) => {
                let rules = self.rules();
                let clear = rules.is_clear_for(false) && rules.is_clear_for(true);
                reads() && clear && rules.decision_fields().is_empty()
            }
        }
    }
}
