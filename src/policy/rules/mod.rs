//! Rules as data: what policy files say, read, checked and made ready to match.

pub(in crate::policy) mod action;
pub(in crate::policy) mod compile;
pub(in crate::policy) mod draft;
pub(in crate::policy) mod load;
pub(in crate::policy) mod reach;
pub(in crate::policy) mod rule;
pub(in crate::policy) mod rule_checks;
pub(in crate::policy) mod settings;
pub(in crate::policy) mod table;
