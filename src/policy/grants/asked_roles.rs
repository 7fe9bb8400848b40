//! The roles that rules ask about, for those who are told of no others.
//!
//! Invariant: a role that could make any rule about the database bind or not bind its bearer is asked about.

use std::collections::HashSet;

use crate::caller::Caller;

use crate::policy::grants::rule_set::Policy;
use crate::policy::pattern::Template;
use crate::policy::pattern::pattern_match::Ways;
use crate::policy::rules::rule::Rule;

/// What the rules about one database ask.
#[derive(Debug)]
pub(crate) struct AskedByRules<'p> {
    literals: HashSet<&'p str>,
    patterns: Vec<&'p Template>,
}

impl Policy {
    /// The roles that the rules about this database, or about the server, ask about, as far as they could be about this
    /// caller.
    pub(crate) fn asked_roles(&self, caller: &Caller, db: Option<&str>) -> AskedByRules<'_> {
        let mut asked = AskedByRules {
            literals: HashSet::new(),
            patterns: Vec::new(),
        };
        let near = |rule: &Rule, db: &str| {
            let mut databases = rule.databases.iter();
            databases.any(|template| template.could_match(db))
        };
        let rules = match db {
            None => self.about_server(caller),
            Some(db) => self.about_caller(caller, db),
        };
        for rule in rules {
            if db.is_none_or(|db| near(rule, db)) {
                asked.add(rule);
            }
        }
        asked
    }
}

impl<'p> AskedByRules<'p> {
    fn add(&mut self, rule: &'p Rule) {
        for role in &rule.callers.roles {
            match role.literal() {
                Some(literal) => {
                    self.literals.insert(literal);
                }
                None => self.patterns.push(role),
            }
        }
    }

    /// Is this role one of them?
    pub(crate) fn ask(&self, role: &str) -> bool {
        let fits = |pattern: &&Template| !matches!(pattern.split(role), Ways::None);
        self.literals.contains(role) || self.patterns.iter().any(fits)
    }
}
