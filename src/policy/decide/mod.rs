//! Verdicts: what a route requires, and what the rules that apply make of it.

pub(in crate::policy) mod decision;
pub(in crate::policy) mod describe;
pub(in crate::policy) mod functions;
pub(in crate::policy) mod plan;
pub(in crate::policy) mod requirement;
pub(in crate::policy) mod verdict;
