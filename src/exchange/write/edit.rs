//! Ordinary writes, with `new_edits`: judged against the revision that they replace.

use super::attachments::{Beside, Passed, lay};
use super::refused::{Refused, absent, conflict, refused};
use super::stored::Replaced;
use super::written::Written;
use crate::json::Value;
use crate::policy::WriteRules;
use crate::route::History;

/// Judges a write with `new_edits`: the revision that is judged travels with it, so that a race ends in a
/// conflict and never in a bypass. `bytes`: what is stored with its attachments, where they may matter.
pub(crate) fn judge(
    rules: &WriteRules,
    mut written: Written,
    replaced: &Replaced,
    bytes: Option<&Value>,
) -> Result<Passed, Refused> {
    let stored = replaced.document.as_deref();
    let alive = stored.filter(|document| document.get("_deleted").is_none());
    // Security: CouchDB would take the revision to replace from `_revisions`, past the one that is judged.
    // (`a_history_names_no_other_revision_than_the_one_judged`)
    if written.document.get("_revisions").is_some() {
        if History::of(&written.document).is_none() {
            return Err(Refused::forbidden("`_revisions` must begin with `_rev`"));
        }
        written
            .document
            .as_object_mut()
            .and_then(|document| document.remove("_revisions"));
    }
    let deletes = written.deletes();
    if alive.is_some_and(|stored| !rules.knows(stored)) {
        return Err(hidden(rules, written));
    }
    match (&written.rev, stored) {
        // The revision is not there (any more): CouchDB would say the same.
        (Some(_), None) => match &replaced.winner {
            Some(winner) if rules.knows(winner) => Err(conflict()),
            Some(_) | None => Err(absent(written.deletes())),
        },
        // Taken, and they know it.
        (None, Some(_)) if alive.is_some() => Err(conflict()),
        // It has ended already.
        (Some(_), Some(_)) if deletes && alive.is_none() => Err(absent(written.deletes())),
        (Some(_), Some(stored)) => {
            if_may_win(rules, replaced, stored, deletes)?;
            let view = alive.and_then(|alive| rules.view(alive));
            let beside = Beside {
                view: view.as_ref(),
                bytes,
            };
            let laid = lay(&mut written.document, beside, written.follows)?;
            let document = rules.judge(Some(stored), written.document);
            let document = document.map_err(|denied| refused(denied, deletes))?;
            laid.settle(document, true, Some(stored))
        }
        (None, _) if deletes => Err(absent(written.deletes())),
        (None, _) => create(rules, written),
    }
}

/// The answer where a hidden document is: as if none were there. Only where one would be made is its id taken.
pub(crate) fn hidden(rules: &WriteRules, written: Written) -> Refused {
    match &written.rev {
        None if !written.deletes() => create(rules, written).err().unwrap_or_else(conflict),
        Some(_) | None => absent(written.deletes()),
    }
}

/// Whether what replaces a revision that does not win may win over the one that does, or what does not win now may
/// win once the one that does is deleted.
///
/// Security: nobody takes over a document whose winner is not theirs to write, or brings back what a losing leaf has of
/// fields that are not. (`no_losing_leaf_is_made_to_win_over_what_is_not_its_writers`,
/// `no_losing_leaf_brings_back_what_its_writer_may_not_change`)
pub(crate) fn if_may_win(
    rules: &WriteRules,
    replaced: &Replaced,
    stored: &Value,
    deletes: bool,
) -> Result<(), Refused> {
    match (&replaced.winner, &replaced.next) {
        (Some(winner), _) if !deletes => {
            let covered = rules.covers(winner, false);
            covered.map_err(|denied| refused(denied, false))?;
            // To them it is as if someone had just written it.
            match rules.leaves_free(winner) {
                true => Ok(()),
                false => Err(conflict()),
            }
        }
        (_, Some(next)) if rules.knows(next) => rules
            .may_uncover(stored, next)
            .map_err(|denied| refused(denied, true)),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Judges what is written where nothing is.
pub(crate) fn create(rules: &WriteRules, mut written: Written) -> Result<Passed, Refused> {
    let laid = lay(&mut written.document, Beside::default(), written.follows)?;
    let document = rules.judge(None, written.document);
    let document = document.map_err(|denied| refused(denied, false))?;
    laid.settle(document, true, None)
}

#[cfg(test)]
mod tests;
