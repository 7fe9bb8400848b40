//! Finds the rules that can be about a database and a caller, without a look at the others.
//!
//! Invariant: all that could apply are found, each once, in the order of the rules. Whether one does apply is for
//! `grants` to say.

use std::collections::{BTreeSet, HashMap};

use crate::caller::Caller;

use super::pattern::Template;
use super::rule::Rule;

/// Rules, by the databases and the callers that they are about.
#[derive(Debug, Default)]
pub(super) struct Index {
    databases: Filed<Group>,
    /// Those about the server.
    server: Group,
}

/// Things that are filed by patterns.
#[derive(Debug)]
struct Filed<T> {
    /// By whole texts.
    whole: HashMap<Box<str>, T>,
    /// By the texts that patterns begin with; those that begin with a wildcard by the empty one.
    heads: HashMap<Box<str>, T>,
    /// How long these texts are.
    lengths: BTreeSet<usize>,
}

/// Rules, by their numbers, and by whom they are about.
#[derive(Debug, Default)]
struct Group {
    all: Vec<usize>,
    names: Filed<Vec<usize>>,
    roles: Filed<Vec<usize>>,
    everyone: Vec<usize>,
    anonymous: Vec<usize>,
}

impl Index {
    /// Files a rule under its number. Numbers grow.
    pub(super) fn add(&mut self, number: usize, rule: &Rule) {
        for pattern in &rule.databases {
            self.databases.under(pattern).add(number, rule);
        }
        if !rule.permit.servers.is_empty() || !rule.forbid.servers.is_empty() {
            self.server.add(number, rule);
        }
    }

    /// The databases that rules name in full.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        self.databases.whole.keys().map(|name| &**name)
    }

    /// The rules that could be about a database, whoever asks.
    pub(super) fn about(&self, db: &str) -> Vec<usize> {
        let groups = self.databases.matching(db);
        in_order(groups.flat_map(|group| group.all.iter().copied()).collect())
    }

    /// The rules that could be about a database and a caller.
    pub(super) fn find(&self, db: &str, caller: &Caller) -> Vec<usize> {
        let groups = self.databases.matching(db);
        in_order(groups.flat_map(|group| group.about(caller)).collect())
    }

    /// The rules about the server that could be about a caller.
    pub(super) fn find_on_server(&self, caller: &Caller) -> Vec<usize> {
        in_order(self.server.about(caller))
    }
}

fn in_order(mut numbers: Vec<usize>) -> Vec<usize> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl<T: Default> Filed<T> {
    /// What is filed under a pattern.
    fn under(&mut self, pattern: &Template) -> &mut T {
        match pattern.literal() {
            Some(text) => self.whole.entry(text.into()).or_default(),
            None => {
                let head = pattern.head();
                self.lengths.insert(head.len());
                self.heads.entry(head.into()).or_default()
            }
        }
    }

    /// Everything whose pattern could match this text.
    fn matching(&self, text: &str) -> impl Iterator<Item = &T> {
        let heads = self.lengths.iter();
        let heads = heads.filter_map(move |length| self.heads.get(text.get(..*length)?));
        self.whole.get(text).into_iter().chain(heads)
    }
}

impl<T> Default for Filed<T> {
    fn default() -> Self {
        Self {
            whole: HashMap::new(),
            heads: HashMap::new(),
            lengths: BTreeSet::new(),
        }
    }
}

impl Group {
    fn add(&mut self, number: usize, rule: &Rule) {
        let callers = &rule.callers;
        note(&mut self.all, number);
        for pattern in &callers.names {
            note(self.names.under(pattern), number);
        }
        for pattern in &callers.roles {
            note(self.roles.under(pattern), number);
        }
        if callers.everyone {
            note(&mut self.everyone, number);
        }
        if callers.anonymous {
            note(&mut self.anonymous, number);
        }
    }

    /// The rules that could be about a caller; some of them more than once.
    fn about(&self, caller: &Caller) -> Vec<usize> {
        let mut found = self.everyone.clone();
        match caller.user() {
            None => found.extend(&self.anonymous),
            Some(user) => {
                let names = self.names.matching(user.name.as_str());
                let roles = user.roles.iter();
                let roles = roles.flat_map(|role| self.roles.matching(role.as_str()));
                found.extend(names.chain(roles).flatten());
            }
        }
        found
    }
}

/// Several patterns of one rule can be filed under one text.
fn note(numbers: &mut Vec<usize>, number: usize) {
    if numbers.last() != Some(&number) {
        numbers.push(number);
    }
}

#[cfg(test)]
mod tests;
