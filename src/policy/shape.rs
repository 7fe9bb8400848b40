//! Which keys of a rule make sense together.
//!
//! Invariant: a key that none of the rule's actions heeds is a mistake: it would promise what it does not do.

use std::collections::HashMap;
use std::ops::Range;

use super::action::{Actions, Mask, Simple};
use super::table::{Entry, File};

/// Reports every key that stands where it has no meaning.
pub(super) fn check<'t>(
    file: &mut File<'t>,
    at: &Range<usize>,
    entries: &HashMap<&str, Entry<'t>>,
    permit: &Actions,
    forbid: &Actions,
) {
    let has = |key: &str| entries.contains_key(key);
    let mut wrong = |key: &str, wrong: bool, message: &str| {
        if let Some(entry) = entries.get(key).filter(|_| wrong) {
            file.mistake(&entry.at, message);
        }
    };
    let hides_only = !has("permit") && !has("forbid");
    let about_documents =
        |actions: &Actions| actions.simple.touches(Mask::DOCUMENTS) || !actions.views.is_empty();
    let heeds_documents = hides_only || about_documents(permit) || about_documents(forbid);
    let changes = Mask::WRITE.and(Simple::DesignWrite);

    wrong(
        "documents",
        !heeds_documents,
        "`documents` has no meaning for these actions",
    );
    wrong(
        "rows",
        permit.views.is_empty(),
        "`rows` has no meaning without a view in `permit`",
    );
    wrong(
        "keys",
        permit.views.is_empty(),
        "`keys` has no meaning without a view in `permit`",
    );
    wrong(
        "reduce",
        permit.views.is_empty(),
        "`reduce` has no meaning without a view in `permit`",
    );
    wrong(
        "reduce",
        has("documents") || has("rows"),
        "`reduce` mixes rows: it can't stand beside `documents` or `rows`",
    );
    wrong(
        "change",
        !permit.simple.touches(changes),
        "`change` has no meaning without a write in `permit`",
    );
    wrong(
        "show",
        permit.is_empty(),
        "`show` has no meaning without `permit`",
    );
    wrong("show", has("hide"), "a rule has `hide` or `show`, not both");
    wrong(
        "hide",
        has("forbid") && permit.is_empty(),
        "`hide` has no meaning in a rule that only forbids",
    );
    wrong(
        "databases",
        !hides_only && !permit.on_databases() && !forbid.on_databases() && named(permit, forbid),
        "`databases` has no meaning for actions on the server",
    );
    for key in ["permit", "forbid"] {
        let empty = entries.get(key).is_some_and(|entry| {
            entry
                .value
                .get_ref()
                .as_array()
                .is_some_and(|words| words.is_empty())
        });
        wrong(key, empty, "there is no action in the list");
    }

    if hides_only && !has("hide") {
        file.mistake(
            at,
            "the rule neither permits, nor forbids, nor hides anything",
        );
    }
    if !has("databases") && (hides_only || permit.on_databases() || forbid.on_databases()) {
        file.mistake(at, "the rule has no `databases`");
    }
}

/// Is any action known? Else there are mistakes enough.
fn named(permit: &Actions, forbid: &Actions) -> bool {
    !permit.is_empty() || !forbid.is_empty()
}
