//! A rule in the making: everything in it that can have variables.
//!
//! Invariant: a variable that something depends on is known with its place, so that one which nothing binds is
//! reported where it is used.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::json::Object;
use crate::json::Value;

use crate::route::name::is_own_database;

use crate::policy::mango::constant::Constant;
use crate::policy::mango::selector::Selector;
use crate::policy::pattern::{Names, Reading, Template, Variable};
use crate::policy::rules::rule::Callers;
use crate::policy::rules::settings::PolicySettings;
use crate::policy::rules::table::{Entry, File};

/// A rule in the making.
pub(in crate::policy) struct Draft {
    pub(in crate::policy) at: Range<usize>,
    pub(in crate::policy) names: Names,
    /// Variables that callers bind.
    pub(in crate::policy) bound: BTreeSet<usize>,
    /// Variables that something depends on, and where first.
    pub(in crate::policy) used: Vec<(usize, Range<usize>)>,
}

impl Draft {
    pub(in crate::policy) fn new(at: Range<usize>) -> Self {
        Self {
            at,
            names: Names::default(),
            bound: BTreeSet::new(),
            used: Vec::new(),
        }
    }

    /// The variables that no role or name captures.
    pub(in crate::policy) fn own(&self) -> Vec<(usize, Variable)> {
        let own = self
            .names
            .iter()
            .filter(|(_, name)| !matches!(name, Variable::Capture(_)));
        own.map(|(number, variable)| (number, variable.clone()))
            .collect()
    }

    pub(in crate::policy) fn callers<'t>(
        &mut self,
        file: &mut File<'t>,
        entry: Option<&Entry<'t>>,
    ) -> Callers {
        let mut callers = Callers::default();
        let Some(entry) = entry else {
            file.mistake(
                &self.at,
                "the rule has no `callers`; write `callers = { everyone = true }` for all",
            );
            return callers;
        };
        let Some(mut table) = file.table(entry) else {
            return callers;
        };
        if let Some(entry) = table.take("names") {
            callers.names = self.patterns(file, &entry);
        }
        if let Some(entry) = table.take("roles") {
            for role in file
                .texts(&entry, false)
                .iter()
                .filter(|role| role.text.starts_with('_'))
            {
                file.mistake(
                    &role.at,
                    "roles that begin with `_` are dropped when a caller logs in",
                );
            }
            callers.roles = self.patterns(file, &entry);
        }
        callers.anonymous = table
            .take("anonymous")
            .is_some_and(|entry| file.flag(&entry));
        callers.everyone = table
            .take("everyone")
            .is_some_and(|entry| file.flag(&entry));
        file.end(table);
        let nobody = callers.names.is_empty()
            && callers.roles.is_empty()
            && !callers.anonymous
            && !callers.everyone;
        if nobody {
            file.mistake(&entry.at, "`callers` matches nobody");
        }
        callers
    }

    /// Patterns in which variables capture.
    fn patterns<'t>(&mut self, file: &mut File<'t>, entry: &Entry<'t>) -> Vec<Template> {
        let mut patterns = Vec::new();
        for text in file.texts(entry, false) {
            let parsed = Template::parse(&text.text, Reading::Pattern, &mut self.names);
            match parsed.and_then(|pattern| pattern.captures(&text.text, &self.names)) {
                Ok(pattern) => {
                    for number in pattern.variables() {
                        if !matches!(self.names.variable(number), Some(Variable::Capture(_))) {
                            file.mistake(
                                &text.at,
                                format!("`{}` can't capture: it has a value already", text.text),
                            );
                        }
                        self.bound.insert(number);
                    }
                    patterns.push(pattern);
                }
                Err(error) => file.mistake(&text.at, error.to_string()),
            }
        }
        patterns
    }

    pub(in crate::policy) fn databases<'t>(
        &mut self,
        file: &mut File<'t>,
        entry: Option<&Entry<'t>>,
    ) -> Vec<Template> {
        let Some(entry) = entry else {
            return Vec::new();
        };
        let mut databases = Vec::new();
        for text in file.texts(entry, false) {
            let parsed = self.with_use(&text.at, |names| {
                Template::parse(&text.text, Reading::Pattern, names)
            });
            match parsed.and_then(|pattern| pattern.filled(&text.text)) {
                Ok(pattern) => {
                    if pattern
                        .literal()
                        .is_some_and(|name| crate::route::DbName::parse(name).is_err())
                    {
                        file.mistake(
                            &text.at,
                            format!("`{}` can't be the name of a database", text.text),
                        );
                    }
                    if pattern.literal().is_some_and(is_own_database) {
                        file.mistake(
                            &text.at,
                            format!(
                                "`{}` is the database of couchwarden itself, which no rule opens",
                                text.text
                            ),
                        );
                    }
                    databases.push(pattern);
                }
                Err(error) => file.mistake(&text.at, error.to_string()),
            }
        }
        if databases.is_empty() {
            file.mistake(&entry.at, "`databases` names none");
        }
        databases
    }

    pub(in crate::policy) fn keys<'t>(
        &mut self,
        file: &mut File<'t>,
        entry: &Entry<'t>,
    ) -> Vec<Constant> {
        let elements = match entry.value.get_ref().as_array() {
            Some(elements) => elements.iter().collect(),
            None => vec![&entry.value],
        };
        if elements.is_empty() {
            file.mistake(&entry.at, "`keys` has no key");
        }
        let mut keys = Vec::new();
        for element in elements {
            if element
                .get_ref()
                .as_str()
                .is_some_and(|text| text.contains('*'))
            {
                file.mistake(
                    &element.span(),
                    "keys are compared whole; `*` has no meaning in `keys`",
                );
            }
            let Some(value) = file.json(element) else {
                continue;
            };
            match self.with_use(&element.span(), |names| Constant::rule(&value, names)) {
                Ok(key) => keys.push(key),
                Err(error) => file.mistake(&element.span(), error.to_string()),
            }
        }
        keys
    }

    /// Each entry is read by itself first, so that each mistake has its line.
    pub(in crate::policy) fn selector<'t>(
        &mut self,
        file: &mut File<'t>,
        entry: Option<&Entry<'t>>,
    ) -> Option<Selector> {
        let entry = entry?;
        let table = file.table(entry)?;
        let mut whole = Object::new();
        let before = file.mistakes.len();
        for one in table.into_entries() {
            let Some(value) = file.json(&one.value) else {
                continue;
            };
            let mut alone = Object::new();
            alone.insert(one.key.as_str(), value.clone());
            let read = self.with_use(&one.at, |names| {
                Selector::rule(&Value::Object(alone), names)
            });
            if let Err(error) = read {
                file.mistake(&one.at, error.to_string());
            }
            whole.insert(one.key, value);
        }
        if file.mistakes.len() > before {
            return None;
        }
        if whole.is_empty() {
            file.mistake(
                &entry.at,
                format!("`{}` has no condition; leave it out", entry.key),
            );
        }
        Selector::rule(&Value::Object(whole), &mut self.names).ok()
    }

    /// Runs a reader and marks every variable that it meets as used here.
    fn with_use<T>(&mut self, at: &Range<usize>, read: impl FnOnce(&mut Names) -> T) -> T {
        self.names.met();
        let result = read(&mut self.names);
        for number in self.names.met() {
            if !self.used.iter().any(|(known, _)| *known == number) {
                self.used.push((number, at.clone()));
            }
        }
        result
    }

    pub(in crate::policy) fn check(&self, file: &mut File<'_>, settings: &PolicySettings) {
        for (number, at) in &self.used {
            match self.names.variable(*number) {
                Some(Variable::Capture(name)) if !self.bound.contains(number) => {
                    file.mistake(
                        at,
                        format!("`{{{name}}}` is used but no role or name captures it"),
                    );
                }
                Some(Variable::Node(path))
                    if !settings.attributes.iter().any(|known| **known == **path) =>
                {
                    file.mistake(
                        at,
                        format!(
                            "`{{node:{path}}}`: `{path}` is not listed in `[nodes] attributes`"
                        ),
                    );
                }
                Some(
                    Variable::Capture(_) | Variable::Node(_) | Variable::User | Variable::Claim(_),
                )
                | None => (),
            }
        }
    }
}
