//! Policy: who may do what. Rules come from files; `decide` turns a caller and a route into a verdict.
//!
//! From the ground up: `pattern` matches names and holds what they capture, `mango` is CouchDB's selectors, `rules` reads
//! policy files, `grants` finds the rules that apply to a caller, `lens` and `write` are what plans carry, `decide` says
//! what a route requires and what the rules make of it.
//!
//! Invariant: pure, and closed by default: without a rule that permits it, nothing is permitted to anyone but
//! an administrator. Any forbidding rule beats every permitting one; the order of rules never matters.

mod decide;
mod grants;
mod lens;
mod mango;
mod pattern;
mod rules;
mod write;

pub use decide::plan::{Denial, Permit, Plan, Question, Reads, Verdict};
pub use grants::fingerprint::Fingerprint;
pub use grants::rule_set::Policy;
pub use lens::kept_fields::keep_fields;
pub use lens::view::{Row, Source, ViewLens};
pub use lens::{Lens, Needs};
pub use mango::collate::collate;
pub use mango::condition::SelectorError;
pub use mango::normal::{combines_nothing, field as field_steps, holds_empty_combination};
pub use mango::selector::Selector;
pub use rules::settings::PolicySettings;
pub use write::denied::Denied;
pub use write::{Edited, WriteRules};

#[cfg(test)]
mod tests;
