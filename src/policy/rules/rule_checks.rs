//! Which keys of a rule make sense together.
//!
//! Invariant: a key that none of the rule's actions heeds is a mistake: it would promise what it does not do.

use std::collections::HashMap;
use std::ops::Range;

use crate::policy::rules::action::{Actions, Mask, Simple};
use crate::policy::rules::table::{Entry, File};

/// Reports every key that stands where it has no meaning.
pub(in crate::policy) fn check<'t>(
    file: &mut File<'t>,
    at: &Range<usize>,
    entries: &HashMap<&str, Entry<'t>>,
    permit: &Actions,
    forbid: &Actions,
) {
    let hides_only = !entries.contains_key("permit") && !entries.contains_key("forbid");
    without_meaning(file, entries, permit, forbid);
    against_each_other(file, entries, permit);
    for key in ["permit", "forbid"] {
        let Some(entry) = entries.get(key) else {
            continue;
        };
        if entry
            .value
            .get_ref()
            .as_array()
            .is_some_and(|words| words.is_empty())
        {
            file.mistake(&entry.at, "there is no action in the list");
        }
    }
    if hides_only && !entries.contains_key("hide") {
        file.mistake(
            at,
            "the rule neither permits, nor forbids, nor hides anything",
        );
    }
    let needed = hides_only || permit.on_databases() || forbid.on_databases();
    if needed && !entries.contains_key("databases") {
        file.mistake(at, "the rule has no `databases`");
    }
}

/// Keys that bear on none of the actions.
fn without_meaning<'t>(
    file: &mut File<'t>,
    entries: &HashMap<&str, Entry<'t>>,
    permit: &Actions,
    forbid: &Actions,
) {
    let documents = |a: &Actions| a.simple.touches(Mask::DOCUMENTS) || !a.views.is_empty();
    let known = !permit.is_empty() || !forbid.is_empty();
    let server_only = known && !permit.on_databases() && !forbid.on_databases();
    let no_documents = known && !documents(permit) && !documents(forbid);
    let no_view = permit.views.is_empty();
    let no_write = !permit.simple.touches(Mask::WRITE.and(Simple::DesignWrite));
    let heeded = [
        ("databases", server_only, "for actions on the server"),
        ("documents", no_documents, "for these actions"),
        ("rows", no_view, "without a view in `permit`"),
        ("keys", no_view, "without a view in `permit`"),
        ("reduce", no_view, "without a view in `permit`"),
        ("change", no_write, "without a write in `permit`"),
        ("show", permit.is_empty(), "without `permit`"),
        (
            "hide",
            permit.is_empty() && !forbid.is_empty(),
            "in a rule that only forbids",
        ),
    ];
    for (key, wrong, why) in heeded {
        if let Some(entry) = entries.get(key).filter(|_| wrong) {
            file.mistake(&entry.at, format!("`{key}` has no meaning {why}"));
        }
    }
}

/// Keys that contradict each other.
fn against_each_other<'t>(
    file: &mut File<'t>,
    entries: &HashMap<&str, Entry<'t>>,
    permit: &Actions,
) {
    let has = |key: &str| entries.contains_key(key);
    let mixed = has("documents") || has("rows");
    let function = !permit.functions.is_empty() && (mixed || has("hide") || has("show"));
    let wrongs = [
        (
            "reduce",
            mixed,
            "`reduce` mixes rows: it can't stand beside `documents` or `rows`",
        ),
        ("show", has("hide"), "a rule has `hide` or `show`, not both"),
        (
            "permit",
            function,
            "what a function answers can't be filtered: permit it in a rule alone",
        ),
    ];
    for (key, wrong, why) in wrongs {
        if let Some(entry) = entries.get(key).filter(|_| wrong) {
            file.mistake(&entry.at, why);
        }
    }
}
