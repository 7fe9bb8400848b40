//! Writes without `new_edits`: judged against every current leaf.
//!
//! CouchDB checks nothing for them, and its validation sees the ancestor that the writer names, so a forged
//! history could put an old state of a document on top of the new one. Here every leaf must be the writer's to
//! write, and what they may not change must be as in the leaf that they extend, or as in the winner if they extend
//! none or win over it.

use super::attachments::{Beside, Passed, lay};
use super::edit::create;
use super::leaves::Leaves;
use super::refused::{Refused, refused};
use super::written::Written;
use crate::json::Value;
use crate::policy::{Edited, WriteRules, keep_fields};
use crate::route::History;

/// What policy makes of it. `before`: what it was made of, where that is no leaf any more and matters. `bytes`: the base
/// with its attachments, where they may matter.
pub(crate) fn judge_forced(
    rules: &WriteRules,
    mut written: Written,
    leaves: &mut Leaves,
    (before, bytes): (Option<&Value>, Option<&Value>),
) -> Result<Passed, Refused> {
    let deletes = written.deletes();
    let Some(history) = History::of(&written.document) else {
        return Err(Refused::forbidden(
            "`_revisions` must begin with `_rev` and name a revision for each generation",
        ));
    };
    let is_hidden = leaves.is_hidden(rules);
    if !leaves.has_room_for(&history, is_hidden) {
        return Err(Refused::forbidden(
            "the generation is far above what `_revisions` and the stored revisions account for",
        ));
    }
    if is_hidden {
        return Err(hidden(rules, written));
    }
    let covered = leaves.are_covered(rules, deletes);
    covered.map_err(|denied| refused(denied, false).in_batch())?;
    if let Some(before) = before.filter(|_| !deletes) {
        return revive(rules, written, before, bytes);
    }
    let base = leaves.base_of(&history, deletes);
    let extended = leaves.extended(&history).and_then(|(_, leaf)| leaf.rev());
    let parent = base.is_some_and(|base| base.stored && base.rev() == extended);
    if let Some(ended) = leaves.winner().filter(|_| deletes)
        && base.is_some_and(|base| base.rev() == ended.rev())
        && let Some(next) = leaves.winner_without(ended.rev())
    {
        let may = rules.may_uncover(&ended.document, &next.document);
        may.map_err(|denied| refused(denied, false).in_batch())?;
    }
    let stored = base.map(|base| &*base.document);
    let view = stored.and_then(|stored| rules.view(stored));
    let beside = Beside {
        view: view.as_ref(),
        bytes,
    };
    let laid = lay(&mut written.document, beside, written.follows).map_err(Refused::in_batch)?;
    let edited = match base.is_some_and(|base| base.rev() == extended) {
        true => Edited::AtSomeTime,
        false => Edited::Unknown,
    };
    let document = rules.judge_edit(stored, written.document, edited);
    let mut document = document.map_err(|denied| refused(denied, false).in_batch())?;
    if deletes
        && base.is_none()
        && let Some(dead) = leaves.ended(&document)
    {
        keep_fields(rules.decision_fields(), &dead.document, &mut document);
    }
    // Its end is for those who see what it ends, whatever has become of the document on another branch.
    document = rules.keep_of(before, document);
    let passed = laid
        .settle(document, parent, stored)
        .map_err(Refused::in_batch)?;
    if passed.bytes_of.is_some() && base.is_some_and(|base| !base.stored) {
        return Err(Refused::forbidden(
            "the attachments of an earlier row can't be kept",
        ));
    }
    Ok(passed)
}

/// An edit of what was deleted meanwhile brings it back: what was hidden from its writer is put back from there.
fn revive(
    rules: &WriteRules,
    mut written: Written,
    ended: &Value,
    bytes: Option<&Value>,
) -> Result<Passed, Refused> {
    let view = rules.view(ended);
    let beside = Beside {
        view: view.as_ref(),
        bytes,
    };
    let laid = lay(&mut written.document, beside, written.follows).map_err(Refused::in_batch)?;
    let document = rules.judge_revival(ended, written.document);
    let document = document.map_err(|denied| refused(denied, false).in_batch())?;
    laid.settle(document, false, Some(ended))
        .map_err(Refused::in_batch)
}

/// The answer where a hidden document is: as if none were there. Only where one would be made is its id taken.
pub(crate) fn hidden(rules: &WriteRules, written: Written) -> Refused {
    match create(rules, written) {
        Ok(_) => Refused::forbidden("you may not write this document"),
        Err(refused) => refused.in_batch(),
    }
}
