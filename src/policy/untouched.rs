//! Routes whose bodies or answers are not filtered: open where there would be nothing to filter.
//!
//! Invariant: the plan is `Verbatim`, and every lens that could bear on the answer is clear.

use super::action::{Actions, REWRITE, Simple};
use super::case::{Case, Outcome};
use super::need::Untouched;
use super::plan::Plan;
use super::view::ViewLens;

impl Case<'_> {
    /// Bodies and answers that are not filtered: only where there would be nothing to filter.
    pub(super) fn untouched(&self, what: Untouched<'_>) -> Outcome {
        let read = |actions: &Actions| actions.simple.has(Simple::Read);
        let function = |ddoc: &str, name: &str| {
            let (ddoc, name) = (ddoc.to_owned(), name.to_owned());
            self.open(|actions: &Actions| actions.function(&ddoc, &name), false)
        };
        let reads = || self.open(read, true).is_ok() && self.reads().is_clear();
        let view = |ddoc: &str, view: &str| {
            self.open(|actions: &Actions| actions.view(ddoc, view), true)
                .is_ok()
                && ViewLens::new(&self.grants, ddoc, view).is_clear()
        };
        let (asked, clear) = match what {
            Untouched::ListQueries => (self.open(read, true), reads()),
            Untouched::ViewQueries(ddoc, name) => {
                let asked = self.open(|actions| actions.view(ddoc.as_str(), name.as_str()), true);
                (asked, view(ddoc.as_str(), name.as_str()) && reads())
            }
            Untouched::AttachmentWrite(doc) => {
                let design = doc.is_design();
                let asked = if self.may_write(Some(design)) {
                    Ok(())
                } else {
                    Err(None)
                };
                (asked, self.rules().is_clear_for(design))
            }
            Untouched::Copy(from, to) => {
                let asked = if self.may_write(Some(to.is_design())) {
                    Ok(())
                } else {
                    Err(None)
                };
                let seen = self.reads().is_clear_for(from.is_design());
                (asked, seen && self.rules().is_clear_for(to.is_design()))
            }
            Untouched::IndexCreate => (
                self.open(|actions| actions.simple.has(Simple::Index), false),
                self.reads().is_clear_for(false),
            ),
            Untouched::Function(ddoc, name) => (function(ddoc.as_str(), name.as_str()), reads()),
            Untouched::List {
                ddoc,
                list,
                other,
                view: rows,
            } => (
                function(ddoc.as_str(), list.as_str()),
                view(other.as_str(), rows.as_str()) && reads(),
            ),
            Untouched::Update(ddoc, name) => (
                function(ddoc.as_str(), name.as_str()),
                reads() && self.rules().is_clear_for(false),
            ),
            Untouched::Rewrite(ddoc) => {
                let rules = self.rules();
                let writes = rules.is_clear_for(false) && rules.is_clear_for(true);
                (function(ddoc.as_str(), REWRITE), reads() && writes)
            }
        };
        match (asked, clear) {
            (Err(rule), _) => Outcome::Deny(rule),
            // Functions answer what they like: they are never served through a lens.
            (Ok(()), false) if what.is_function() => Outcome::Deny(None),
            (Ok(()), false) => Outcome::Unjudged,
            (Ok(()), true) => self.plan(Plan::Verbatim, |_| true),
        }
    }
}
