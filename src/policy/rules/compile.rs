//! One `[[rule]]`: read, checked and made ready to match.
//!
//! What could only be an oversight is a mistake: a rule that does nothing, a condition that none of its actions
//! heeds, a capture that nothing binds.
//!
//! Invariant: every check runs even after others have failed.

use std::collections::HashMap;

use crate::json::FieldPath;
use crate::json::Fields;

use crate::policy::mango::selector::Selector;
use crate::policy::rules::action::{Actions, Mask, Simple};
use crate::policy::rules::draft::Draft;
use crate::policy::rules::reach;
use crate::policy::rules::rule::Rule;
use crate::policy::rules::rule_checks;
use crate::policy::rules::settings::PolicySettings;
use crate::policy::rules::table::{Entry, File, Table};

/// Reads one rule. `None` if it has a mistake that leaves nothing to go on with; mistakes are in the file.
pub(in crate::policy) fn rule<'t>(
    file: &mut File<'t>,
    mut table: Table<'t>,
    settings: &PolicySettings,
    known: &mut HashMap<String, String>,
) -> Option<Rule> {
    let before = file.mistakes.len();
    let mut draft = Draft::new(table.at.clone());
    let name = name(file, &mut table, &draft, known);
    let entries: HashMap<&str, Entry<'t>> = KEYS
        .iter()
        .filter_map(|key| Some((*key, table.take(key)?)))
        .collect();
    file.end(table);
    let callers = draft.callers(file, entries.get("callers"));
    let permit = actions(file, entries.get("permit"));
    let forbid = actions(file, entries.get("forbid"));
    let databases = draft.databases(file, entries.get("databases"));
    let documents = draft.selector(file, entries.get("documents"));
    let rows = draft.selector(file, entries.get("rows"));
    let keys = entries.get("keys").map(|entry| draft.keys(file, entry));
    let reduce = entries.get("reduce").is_some_and(|entry| file.flag(entry));
    let administrators = entries
        .get("administrators")
        .is_some_and(|entry| file.flag(entry));
    let change = entries
        .get("change")
        .map(|entry| paths(file, entry, OF_DOCUMENTS));
    let (fields, hides) = fields(file, &entries, &permit);
    let spelt = |keys: &[&str]| canonical(&entries, keys);
    rule_checks::check(file, &draft.at, &entries, &permit, &forbid);
    decides_by_what_stays(
        file,
        entries.get("documents"),
        documents.as_ref(),
        [&permit, &forbid],
    );
    draft.check(file, settings);
    let rule = Rule {
        name: name.unwrap_or_default().into(),
        own: draft.own(),
        used: draft.used.iter().map(|(number, _)| *number).collect(),
        names: draft.names,
        databases,
        callers,
        administrators,
        fields,
        hides,
        permit,
        forbid,
        documents,
        rows,
        keys,
        reduce,
        change,
        canonical: spelt(&["documents", "hide", "show"]),
        canonical_rows: spelt(&["keys", "rows", "reduce"]),
    };
    (file.mistakes.len() == before).then_some(rule)
}

/// A tombstone has no attachments: whose documents a feed shows because of one, they would not learn of their end.
fn decides_by_what_stays<'t>(
    file: &mut File<'t>,
    entry: Option<&Entry<'t>>,
    documents: Option<&Selector>,
    actions: [&Actions; 2],
) {
    let named = documents.map(Selector::named_fields).unwrap_or_default();
    let attached = named
        .iter()
        .any(|path| path.first().is_some_and(|name| name == "_attachments"));
    let feeds = actions
        .iter()
        .any(|actions| actions.simple.touches(Mask::of(Simple::Changes)));
    if let Some(entry) = entry.filter(|_| attached && feeds) {
        file.mistake(
            &entry.at,
            "`changes` can't be decided by `_attachments`: tombstones have none, and nobody would learn of them",
        );
    }
}

/// What the rule shows of what it permits; and what it hides where it does nothing else.
fn fields<'t>(
    file: &mut File<'t>,
    entries: &HashMap<&str, Entry<'t>>,
    permit: &Actions,
) -> (Fields, Vec<FieldPath>) {
    let hides_only = !entries.contains_key("permit") && !entries.contains_key("forbid");
    // What the functions of views make can have members of any name.
    let views = hides_only || !permit.views.is_empty();
    let hide = entries.get("hide").map(|entry| {
        let checks = if views { OF_ANYTHING } else { OF_DOCUMENTS };
        paths(file, entry, checks)
    });
    let hide = hide.unwrap_or_default();
    let show = entries.get("show");
    match show.map(|entry| paths(file, entry, OF_ANYTHING)) {
        Some(show) => (Fields::only(show), Vec::new()),
        None if hides_only => (Fields::all(), hide),
        None if hide.is_empty() => (Fields::all(), Vec::new()),
        None => (Fields::except(hide), Vec::new()),
    }
}

/// One spelling for each meaning: JSON, without the spaces and comments of the file.
fn canonical(entries: &HashMap<&str, Entry<'_>>, keys: &[&str]) -> String {
    let mut quiet = File::new("", "");
    let known = keys
        .iter()
        .filter_map(|key| Some((*key, quiet.json(&entries.get(key)?.value)?)));
    known
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect()
}

const KEYS: [&str; 12] = [
    "databases",
    "callers",
    "administrators",
    "permit",
    "forbid",
    "documents",
    "rows",
    "keys",
    "reduce",
    "hide",
    "show",
    "change",
];

fn name<'t>(
    file: &mut File<'t>,
    table: &mut Table<'t>,
    draft: &Draft,
    known: &mut HashMap<String, String>,
) -> Option<String> {
    let Some(entry) = table.take("name") else {
        file.mistake(&draft.at, "the rule has no `name`");
        return None;
    };
    let name = file.text(&entry)?.text;
    let word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if !name.chars().all(word) {
        file.mistake(
            &entry.at,
            "a `name` has letters, digits, `-`, `_` and `.` only",
        );
    }
    if known.insert(name.clone(), name.clone()).is_some() {
        file.mistake(
            &entry.at,
            format!("there is another rule of the name `{name}`"),
        );
    }
    Some(name)
}

fn actions<'t>(file: &mut File<'t>, entry: Option<&Entry<'t>>) -> Actions {
    let mut actions = Actions::default();
    if let Some(entry) = entry {
        for word in file.texts(entry, false) {
            if !actions.add(&word.text) {
                file.mistake(&word.at, format!("there is no action `{}`", word.text));
            }
        }
    }
    actions
}

/// Why a path can be about nothing.
type Check = fn(&FieldPath, &str) -> Option<String>;

const OF_ANYTHING: &[Check] = &[reach::mistake];
const OF_DOCUMENTS: &[Check] = &[reach::mistake, reach::own_mistake];

fn paths<'t>(file: &mut File<'t>, entry: &Entry<'t>, checks: &[Check]) -> Vec<FieldPath> {
    let mut paths = Vec::new();
    for text in file.texts(entry, false) {
        match FieldPath::parse(&text.text) {
            Ok(path) => {
                for mistake in checks.iter().filter_map(|check| check(&path, &text.text)) {
                    file.mistake(&text.at, mistake);
                }
                paths.push(path);
            }
            Err(error) => file.mistake(&text.at, error.to_string()),
        }
    }
    paths
}
