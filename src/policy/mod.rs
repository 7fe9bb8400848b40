//! Policy: who may do what. Rules come from files; `decide` turns a caller and a route into a verdict.
//!
//! `load` reads rules, `pattern` and `binding` match callers, `need` says what each route needs, `index` which rules
//! could apply and `grants` which do, `verdict` and `case` what follows; `lens`, `view` and `write` are what plans carry; `selector`,
//! `matching` and `collate` are CouchDB's Mango.
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

use std::collections::HashMap;
use std::sync::Arc;

use crate::caller::Caller;
use crate::json::FieldPath;
use crate::mistake::Mistake;
use crate::route::Route;
use crate::route::name::is_own_database;

pub use decide::plan::{Denial, Permit, Plan, Question, Reads, Verdict};
pub use grants::fingerprint::Fingerprint;
pub use lens::view::{Row, Source, ViewLens};
pub use lens::{Lens, Needs};
pub use mango::collate::collate;
pub use mango::condition::SelectorError;
pub use mango::normal::{combines_nothing, field as field_steps, holds_empty_combination};
pub use mango::selector::Selector;
pub use rules::settings::PolicySettings;
pub use write::change::keep_fields;
pub use write::denied::Denied;
pub use write::{Edited, WriteRules};

use grants::fingerprint::Part;
use grants::index::Index;
use grants::{Grants, Interest};
use rules::action::Simple;
use rules::rule::Rule;

/// All rules, ready to decide. Immutable; a reload makes a new one.
#[derive(Debug, Default)]
pub struct Policy {
    /// Sorted by name.
    rules: Vec<Arc<Rule>>,
    index: Index,
    /// What tombstones keep, for the databases that are named in full.
    kept: HashMap<Box<str>, Arc<[FieldPath]>>,
    /// Does any rule bind administrators? Most policies have none.
    binds_administrators: bool,
    /// Does any rule permit anonymous callers something in a database?
    opens_databases: bool,
}

impl Policy {
    /// Reads policy files: (name for messages, text). All mistakes are reported at once.
    pub fn load(
        files: &[(String, String)],
        settings: &PolicySettings,
    ) -> Result<Self, Vec<Mistake>> {
        rules::load::load(files, settings).map(Self::new)
    }

    fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        let rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
        let mut policy = Self {
            binds_administrators: rules.iter().any(|rule| rule.administrators),
            ..Self::default()
        };
        for (number, rule) in rules.iter().enumerate() {
            policy.index.add(number, rule);
            policy.opens_databases |=
                rule.permit.on_databases() && grants::binds(rule, &Caller::Anonymous, true);
        }
        policy.rules = rules;
        let named: Vec<Box<str>> = policy.index.named().map(Into::into).collect();
        policy.kept = named
            .into_iter()
            .map(|db| (db.clone(), policy.find_decision_fields(&db)))
            .collect();
        policy
    }

    /// May this caller take this route, and how?
    pub fn decide(&self, caller: &Caller, route: Route) -> Verdict {
        decide::verdict::decide(self, caller, route)
    }

    /// May the caller do anything at all in this database? If not, it does not exist for him.
    pub fn may_do_something(&self, caller: &Caller, db: &str) -> bool {
        self.grants(caller, db, &Interest::ANYTHING).anything()
    }

    /// The databases that rules name in full.
    pub(crate) fn named_databases(&self) -> impl Iterator<Item = &str> {
        self.index.named()
    }

    /// Does any rule ask for a value of the caller's own node (`{node:…}`)?
    pub fn uses_attributes(&self) -> bool {
        self.rules
            .iter()
            .flat_map(|rule| &rule.own)
            .any(|(_, variable)| matches!(variable, pattern::Variable::Node(_)))
    }

    /// What each path of `hide`, `show` and `change` is about, in words, rule by rule.
    pub fn explain_paths(&self) -> Vec<String> {
        let rules = self.rules.iter();
        rules
            .flat_map(|rule| rules::reach::explained(rule))
            .collect()
    }

    /// Which rules tell a replicator of documents that they do not give it, in words.
    pub fn explain_feeds(&self) -> Vec<String> {
        let tells = |rule: &&Arc<Rule>| {
            let permitted = rule.permit.simple;
            permitted.has(Simple::Changes) && !permitted.has(Simple::Read)
        };
        let told = |rule: &Arc<Rule>| {
            let name = &rule.name;
            format!(
                "rule `{name}` permits `changes` and not `read`: CouchDB's replicator fails at each document of its feed \
                 that no other rule lets its user read"
            )
        };
        self.rules.iter().filter(tells).map(told).collect()
    }

    /// Of all rules.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(
            &self
                .rules
                .iter()
                .map(|rule| Part::plain(&format!("{rule:?}")))
                .collect::<Vec<_>>(),
        )
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Is there no rule?
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn numbered(&self, numbers: Vec<usize>) -> Vec<&Arc<Rule>> {
        let rules = numbers.into_iter();
        rules.filter_map(|number| self.rules.get(number)).collect()
    }

    /// The rules that could be about this caller in this database.
    fn about_caller(&self, caller: &Caller, db: &str) -> Vec<&Arc<Rule>> {
        self.numbered(self.index.find(db, caller))
    }

    fn grants(&self, caller: &Caller, db: &str, interest: &Interest<'_>) -> Grants {
        // What couchwarden keeps for itself is in no rule's reach.
        if is_own_database(db) {
            return Grants::default();
        }
        if caller.is_administrator() && !self.binds_administrators {
            return Grants {
                administrator: true,
                ..Grants::default()
            };
        }
        let rules = self.about_caller(caller, db).into_iter();
        Grants::collect(rules, caller, db, interest)
    }

    /// The rules about the server that could be about this caller.
    fn about_server(&self, caller: &Caller) -> Vec<&Arc<Rule>> {
        self.numbered(self.index.find_on_server(caller))
    }

    /// The fields by which any rule decides in this database, whomever it is about: tombstones keep them.
    pub(crate) fn decision_fields(&self, db: &str) -> Arc<[FieldPath]> {
        self.kept
            .get(db)
            .map_or_else(|| self.find_decision_fields(db), Arc::clone)
    }

    fn find_decision_fields(&self, db: &str) -> Arc<[FieldPath]> {
        self.index
            .decision_fields(db)
            .into_iter()
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests;
