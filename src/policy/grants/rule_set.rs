//! All rules, ready to decide: those of a database and a caller are found without a look at the others.

use std::collections::HashMap;
use std::sync::Arc;

use crate::caller::Caller;
use crate::json::FieldPath;
use crate::mistake::Mistake;
use crate::policy::grants::fingerprint::{Fingerprint, Part};
use crate::policy::grants::index::Index;
use crate::policy::grants::{Grants, Interest, binds};
use crate::policy::pattern;
use crate::policy::rules::action::Simple;
use crate::policy::rules::rule::Rule;
use crate::policy::rules::settings::PolicySettings;
use crate::policy::rules::{load, reach};
use crate::route::name::is_own_database;

/// All rules, ready to decide. Immutable; a reload makes a new one.
#[derive(Debug, Default)]
pub struct Policy {
    /// Sorted by name.
    pub(in crate::policy) rules: Vec<Arc<Rule>>,
    index: Index,
    /// What tombstones keep, for the databases that are named in full.
    kept: HashMap<Box<str>, Arc<[FieldPath]>>,
    /// Does any rule bind administrators? Most policies have none.
    pub(in crate::policy) binds_administrators: bool,
    /// Does any rule permit anonymous callers something in a database?
    pub(in crate::policy) opens_databases: bool,
}

impl Policy {
    /// Reads policy files: (name for messages, text). All mistakes are reported at once.
    pub fn load(
        files: &[(String, String)],
        settings: &PolicySettings,
    ) -> Result<Self, Vec<Mistake>> {
        load::load(files, settings).map(Self::new)
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
                rule.permit.on_databases() && binds(rule, &Caller::Anonymous, true);
        }
        policy.rules = rules;
        let named: Vec<Box<str>> = policy.index.named().map(Into::into).collect();
        policy.kept = named
            .into_iter()
            .map(|db| (db.clone(), policy.find_decision_fields(&db)))
            .collect();
        policy
    }

    /// May the caller do anything at all in this database? If not, it does not exist for them.
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
        rules.flat_map(|rule| reach::explained(rule)).collect()
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
    pub(in crate::policy) fn about_caller(&self, caller: &Caller, db: &str) -> Vec<&Arc<Rule>> {
        self.numbered(self.index.find(db, caller))
    }

    pub(in crate::policy) fn grants(
        &self,
        caller: &Caller,
        db: &str,
        interest: &Interest<'_>,
    ) -> Grants {
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
    pub(in crate::policy) fn about_server(&self, caller: &Caller) -> Vec<&Arc<Rule>> {
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
