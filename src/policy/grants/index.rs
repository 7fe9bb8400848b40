//! Finds the rules that can be about a database and a caller, without a look at the others.
//!
//! Invariant: all that could apply are found, each once, in the order of the rules. Whether one does apply is for
//! `grants` to say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::caller::Caller;
use crate::json::FieldPath;

use crate::policy::mango::selector::Selector;
use crate::policy::pattern::Template;
use crate::policy::rules::rule::Rule;

/// Rules, by the databases and the callers that they are about.
#[derive(Debug, Default)]
pub(in crate::policy) struct Index {
    databases: Filed<Group>,
    /// The fields by which rules decide, whomever they are about: once for each pattern, however many rules have it.
    fields: Filed<BTreeMap<Template, BTreeSet<FieldPath>>>,
    /// Those about the server.
    server: Group,
}

/// Things that are filed by patterns.
#[derive(Debug)]
struct Filed<T> {
    /// By whole texts.
    whole: HashMap<Box<str>, T>,
    /// By the texts that patterns begin with; those that neither begin nor end with a text by the empty one.
    heads: Ends<T>,
    /// By the texts that patterns end with, where these are longer.
    tails: Ends<T>,
}

/// Things that are filed by one end of a text.
#[derive(Debug)]
struct Ends<T> {
    ends: HashMap<Box<str>, T>,
    /// How long these ends are.
    lengths: BTreeSet<usize>,
}

/// Rules, by their numbers, and by whom they are about.
#[derive(Debug, Default)]
struct Group {
    names: Filed<Vec<usize>>,
    roles: Filed<Vec<usize>>,
    everyone: Vec<usize>,
    anonymous: Vec<usize>,
}

impl Index {
    /// Files a rule under its number. Numbers grow.
    pub(in crate::policy) fn add(&mut self, number: usize, rule: &Rule) {
        let named = rule.documents.iter().flat_map(Selector::named_fields);
        let decisive = named.filter(|path| path.first().is_some_and(|name| !name.starts_with('_')));
        let decisive: BTreeSet<FieldPath> = decisive.filter_map(FieldPath::concrete).collect();
        for pattern in &rule.databases {
            self.databases.under(pattern).add(number, rule);
            if !decisive.is_empty() {
                let fields = self.fields.under(pattern);
                let fields = fields.entry(pattern.clone()).or_default();
                fields.extend(decisive.iter().cloned());
            }
        }
        if !rule.permit.servers.is_empty() || !rule.forbid.servers.is_empty() {
            self.server.add(number, rule);
        }
    }

    /// The databases that rules name in full.
    pub(in crate::policy) fn named(&self) -> impl Iterator<Item = &str> {
        self.databases.whole.keys().map(|name| &**name)
    }

    /// The fields by which rules could decide in a database, whoever asks.
    pub(in crate::policy) fn decision_fields(&self, db: &str) -> BTreeSet<&FieldPath> {
        let patterns = self.fields.matching(db).flatten();
        let near = patterns.filter(|(pattern, _)| pattern.could_match(db));
        near.flat_map(|(_, fields)| fields).collect()
    }

    /// The rules that could be about a database and a caller.
    pub(in crate::policy) fn find(&self, db: &str, caller: &Caller) -> Vec<usize> {
        let groups = self.databases.matching(db);
        in_order(groups.flat_map(|group| group.about(caller)).collect())
    }

    /// The rules about the server that could be about a caller.
    pub(in crate::policy) fn find_on_server(&self, caller: &Caller) -> Vec<usize> {
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
        let (head, tail) = (pattern.head(), pattern.tail());
        match pattern.literal() {
            Some(text) => self.whole.entry(text.into()).or_default(),
            None if tail.len() > head.len() => self.tails.under(tail),
            None => self.heads.under(head),
        }
    }

    /// Everything whose pattern could match this text.
    fn matching(&self, text: &str) -> impl Iterator<Item = &T> {
        let heads = self.heads.matching(move |length| text.get(..length));
        let tails = |length| text.get(text.len().checked_sub(length)?..);
        let tails = self.tails.matching(tails);
        self.whole.get(text).into_iter().chain(heads).chain(tails)
    }
}

impl<T> Default for Filed<T> {
    fn default() -> Self {
        Self {
            whole: HashMap::new(),
            heads: Ends::default(),
            tails: Ends::default(),
        }
    }
}

impl<T: Default> Ends<T> {
    fn under(&mut self, end: &str) -> &mut T {
        self.lengths.insert(end.len());
        self.ends.entry(end.into()).or_default()
    }

    /// By the ends of these lengths that a text has.
    fn matching<'t>(&self, end: impl Fn(usize) -> Option<&'t str>) -> impl Iterator<Item = &T> {
        let lengths = self.lengths.iter();
        lengths.filter_map(move |length| self.ends.get(end(*length)?))
    }
}

impl<T> Default for Ends<T> {
    fn default() -> Self {
        Self {
            ends: HashMap::new(),
            lengths: BTreeSet::new(),
        }
    }
}

impl Group {
    fn add(&mut self, number: usize, rule: &Rule) {
        let callers = &rule.callers;
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
