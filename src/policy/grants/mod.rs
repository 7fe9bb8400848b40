//! Which rules apply to a caller in a database, and under which captures.
//!
//! Invariant: a rule that permits applies only where everything about it can be evaluated; a rule that forbids
//! or hides applies also where it can't (a pattern with two readings, a variable without a value).

pub(in crate::policy) mod asked_roles;
pub(in crate::policy) mod callers;
pub(in crate::policy) mod fingerprint;
pub(in crate::policy) mod index;
pub(in crate::policy) mod rule_set;

use std::sync::Arc;

use crate::caller::Caller;

use crate::policy::grants::callers::{Care, bindings};
use crate::policy::mango::matching::Target;
use crate::policy::mango::selector::Selector;
use crate::policy::pattern::binding::{Binding, Truth};
use crate::policy::pattern::pattern_match::Ways;
use crate::policy::rules::action::{Actions, Mask, Simple};
use crate::policy::rules::rule::Rule;

/// A rule that applies, under these captures.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Applied {
    pub(in crate::policy) rule: Arc<Rule>,
    /// `None`: the captures can't be told, so every condition is beyond evaluation.
    pub(in crate::policy) bindings: Option<Arc<[Binding]>>,
}

/// The rules that apply to a caller in a database.
#[derive(Debug, Default)]
pub(in crate::policy) struct Grants {
    pub(in crate::policy) permits: Vec<Applied>,
    pub(in crate::policy) forbids: Vec<Applied>,
    pub(in crate::policy) hides: Vec<Applied>,
    /// An administrator may do everything that no rule forbids them.
    pub(in crate::policy) administrator: bool,
}

/// Which actions are of interest. What is of none need not be matched.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Interest<'r> {
    pub(in crate::policy) simple: Mask,
    pub(in crate::policy) view: Option<(&'r str, &'r str)>,
    pub(in crate::policy) function: Option<(&'r str, &'r str)>,
    /// Any action on databases at all.
    pub(in crate::policy) anything: bool,
}

impl<'r> Interest<'r> {
    pub(in crate::policy) const ANYTHING: Self = Self {
        simple: Mask::ALL,
        view: None,
        function: None,
        anything: true,
    };

    pub(in crate::policy) fn simple(simple: Mask) -> Self {
        Self {
            simple,
            view: None,
            function: None,
            anything: false,
        }
    }

    pub(in crate::policy) fn view(self, ddoc: &'r str, view: &'r str) -> Self {
        Self {
            view: Some((ddoc, view)),
            ..self
        }
    }

    pub(in crate::policy) fn function(self, ddoc: &'r str, name: &'r str) -> Self {
        Self {
            function: Some((ddoc, name)),
            ..self
        }
    }

    fn meets(&self, actions: &Actions) -> bool {
        (self.anything && actions.on_databases())
            || actions.simple.touches(self.simple)
            || self
                .view
                .is_some_and(|(ddoc, view)| actions.view(ddoc, view))
            || self
                .function
                .is_some_and(|(ddoc, name)| actions.function(ddoc, name))
    }
}

impl Grants {
    /// Matches these rules against the caller and the database.
    pub(in crate::policy) fn collect<'p>(
        rules: impl Iterator<Item = &'p Arc<Rule>>,
        caller: &Caller,
        db: &str,
        interest: &Interest<'_>,
    ) -> Self {
        let mut grants = Self {
            administrator: caller.is_administrator(),
            ..Self::default()
        };
        for rule in rules {
            if interest.meets(&rule.permit) && !grants.administrator {
                grants
                    .permits
                    .extend(apply(rule, caller, db, Care::Certain));
            }
            if interest.meets(&rule.forbid) {
                grants.forbids.extend(apply(rule, caller, db, Care::Any));
            }
            if rule.hides_only() {
                grants.hides.extend(apply(rule, caller, db, Care::Any));
            }
        }
        grants
    }

    /// The rule that forbids these outright, if one does: a condition on documents is no way out.
    pub(in crate::policy) fn barred(
        &self,
        named: impl Fn(&Actions) -> bool,
        by_document: bool,
    ) -> Option<&Arc<Rule>> {
        let bars = |applied: &&Applied| {
            named(&applied.rule.forbid) && !(by_document && applied.rule.documents.is_some())
        };
        self.forbids.iter().find(bars).map(|applied| &applied.rule)
    }

    /// Is there a rule that permits this?
    pub(in crate::policy) fn permitted(&self, named: impl Fn(&Actions) -> bool) -> bool {
        self.administrator
            || self
                .permits
                .iter()
                .any(|applied| named(&applied.rule.permit))
    }

    /// May the caller do anything at all here?
    pub(in crate::policy) fn anything(&self) -> bool {
        let barred = self
            .forbids
            .iter()
            .filter(|applied| applied.rule.documents.is_none());
        let mask = barred.clone().fold(Mask::default(), |mask, applied| {
            mask.union(applied.rule.forbid.simple)
        });
        self.administrator
            || self.permits.iter().any(|applied| {
                let permit = &applied.rule.permit;
                let free = |view: bool, ddoc: &str, name: Option<&str>| {
                    !barred.clone().any(|forbidding| {
                        let members = if view {
                            &forbidding.rule.forbid.views
                        } else {
                            &forbidding.rule.forbid.functions
                        };
                        members.iter().any(|member| {
                            *member.ddoc == *ddoc
                                && (member.name.is_none() || member.name.as_deref() == name)
                        })
                    })
                };
                !permit.simple.without(mask).is_empty()
                    || permit
                        .views
                        .iter()
                        .any(|member| free(true, &member.ddoc, member.name.as_deref()))
                    || permit
                        .functions
                        .iter()
                        .any(|member| free(false, &member.ddoc, member.name.as_deref()))
            })
    }

    /// The names of the rules that permit this, for the log.
    pub(in crate::policy) fn names(&self, named: impl Fn(&Actions) -> bool) -> Vec<Arc<str>> {
        let permits = self
            .permits
            .iter()
            .filter(|applied| named(&applied.rule.permit));
        permits
            .map(|applied| Arc::clone(&applied.rule.name))
            .collect()
    }

    pub(in crate::policy) fn has(&self, simple: Simple) -> bool {
        self.permitted(|actions| actions.simple.has(simple))
    }
}

impl Applied {
    /// Does this condition of the rule hold, under one binding at least?
    pub(in crate::policy) fn truth(
        &self,
        condition: Option<&Selector>,
        target: Target<'_>,
    ) -> Truth {
        match (condition, &self.bindings) {
            (None, _) => Truth::Yes,
            (Some(_), None) => Truth::Unknown,
            (Some(selector), Some(bindings)) => Truth::any(
                bindings
                    .iter()
                    .map(|binding| selector.truth(target, binding)),
            ),
        }
    }
}

/// Does the rule bind the caller on the server itself?
pub(in crate::policy) fn binds(rule: &Rule, caller: &Caller, permits: bool) -> bool {
    let care = if permits { Care::Certain } else { Care::Any };
    (rule.administrators || !caller.is_administrator()) && bindings(rule, caller, care).is_some()
}

fn apply(rule: &Arc<Rule>, caller: &Caller, db: &str, care: Care) -> Option<Applied> {
    if caller.is_administrator() && !rule.administrators {
        return None;
    }
    // Another database is the most common reason; look at it before the caller.
    if !rule.databases.iter().any(|pattern| pattern.could_match(db)) {
        return None;
    }
    let Some(mut bindings) = bindings(rule, caller, care)? else {
        let near = rule
            .databases
            .iter()
            .any(|pattern| in_reach(pattern.literal(), db) && pattern.could_match(db));
        return near.then(|| Applied {
            rule: Arc::clone(rule),
            bindings: None,
        });
    };
    bindings.retain(|binding| is_database(rule, binding, db, care));
    for binding in &mut bindings {
        binding.keep(&rule.used);
    }
    bindings.sort_unstable();
    bindings.dedup();
    (!bindings.is_empty()).then(|| Applied {
        rule: Arc::clone(rule),
        bindings: Some(bindings.into()),
    })
}

/// `*` and variables never match a database of CouchDB's own.
fn in_reach(literal: Option<&str>, db: &str) -> bool {
    literal.is_some() || !db.starts_with('_')
}

fn is_database(rule: &Rule, binding: &Binding, db: &str, care: Care) -> bool {
    rule.databases.iter().any(|pattern| {
        in_reach(pattern.literal(), db)
            && match pattern.matches(db, binding) {
                Some(Ways::One(_)) => true,
                Some(Ways::None) => false,
                Some(Ways::Many) => care == Care::Any,
                None => care == Care::Any && pattern.could_match(db),
            }
    })
}
