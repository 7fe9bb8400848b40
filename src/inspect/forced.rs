//! Writes without `new_edits`: judged against every current leaf.
//!
//! CouchDB checks nothing for them, and its validation sees the ancestor that the writer names, so a forged
//! history could put an old state of a document on top of the new one. Here every leaf must be the writer's to
//! write, and what he may not change must be as in the leaf that he extends, or as in the winner if he extends
//! none or wins over it.
//!
//! Invariant: a history has one meaning: it begins with the revision itself and names one for each generation.

use std::borrow::Borrow;
use std::sync::OnceLock;

use crate::inspect::attachments::{Beside, Passed, lay};
use crate::inspect::document::{Refused, Written, create, refused};
use crate::json::{Number, Value};
use crate::policy::{Denied, WriteRules, keep_fields};
use crate::route::Rev;

/// A leaf of a document's history: stored, or made by an earlier row of the same batch. What rules say of it is
/// found out once, for all rows of the batch.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) document: Value,
    pub(crate) stored: bool,
    rank: Rank,
    known: OnceLock<bool>,
    covered: [OnceLock<Result<(), Denied>>; 2],
}

/// CouchDB's winner has the longest history, then the greater digest, byte by byte.
type Rank = (u64, Vec<u8>);

impl Leaf {
    pub(crate) fn stored(document: Value) -> Self {
        Self::new(document, true)
    }

    fn new(document: Value, stored: bool) -> Self {
        let rev = document.get("_rev").and_then(Value::as_str);
        let rev = rev.and_then(|rev| Rev::parse(rev).ok());
        Self {
            document,
            stored,
            rank: rev.as_ref().map(rank).unwrap_or_default(),
            known: OnceLock::new(),
            covered: [OnceLock::new(), OnceLock::new()],
        }
    }

    fn is_known(&self, rules: &WriteRules) -> bool {
        *self.known.get_or_init(|| rules.knows(&self.document))
    }

    fn is_covered(&self, rules: &WriteRules, deletes: bool) -> Result<(), Denied> {
        let [updated, deleted] = &self.covered;
        let place = if deletes { deleted } else { updated };
        let covered = place.get_or_init(|| rules.covers(&self.document, deletes));
        covered.clone()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.document.get("_deleted").and_then(Value::as_bool) != Some(true)
    }

    pub(crate) fn rev(&self) -> Option<&str> {
        self.document.get("_rev").and_then(Value::as_str)
    }
}

/// What policy makes of it. `bytes`: the base with its attachments, where they may matter.
pub(crate) fn judge_forced(
    rules: &WriteRules,
    mut written: Written,
    leaves: &[Leaf],
    bytes: Option<&Value>,
) -> Result<Passed, Refused> {
    let deletes = written.deletes();
    let Some(history) = history(&written.document) else {
        return Err(Refused::forbidden(
            "`_revisions` must begin with `_rev` and name a revision for each generation",
        ));
    };
    let mut living = leaves.iter().filter(|leaf| leaf.is_alive());
    if living.any(|leaf| !leaf.is_known(rules)) {
        return Err(hidden(rules, written));
    }
    for leaf in leaves.iter().filter(|leaf| leaf.is_alive()) {
        let covered = leaf.is_covered(rules, deletes);
        covered.map_err(|denied| refused(denied, false).in_batch())?;
    }
    let base = base_in(&history, leaves, deletes);
    let extended = extended(&history, leaves).and_then(Leaf::rev);
    let parent = base.is_some_and(|base| base.stored && base.rev() == extended);
    let is_base = |leaf: &&Leaf| base.is_some_and(|base| base.rev() == leaf.rev());
    if let Some(ended) = winner(leaves).filter(|leaf| deletes && is_base(leaf))
        && let Some(next) = winner(leaves.iter().filter(|leaf| !is_base(leaf)))
    {
        let may = rules.may_uncover(&ended.document, &next.document);
        may.map_err(|denied| refused(denied, false).in_batch())?;
    }
    let stored = base.map(|base| &base.document);
    let view = stored.and_then(|stored| rules.view(stored));
    let beside = Beside {
        view: view.as_ref(),
        bytes,
    };
    let laid = lay(&mut written.document, beside, written.follows).map_err(Refused::in_batch)?;
    let document = rules.judge(stored, written.document);
    let mut document = document.map_err(|denied| refused(denied, false).in_batch())?;
    if deletes
        && base.is_none()
        && let Some(dead) = ended(&document, leaves)
    {
        keep_fields(rules.decision_fields(), &dead.document, &mut document);
    }
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

/// The answer where a hidden document is: as if none were there. Only where one would be made is its id taken.
pub(crate) fn hidden(rules: &WriteRules, written: Written) -> Refused {
    match create(rules, written) {
        Ok(_) => Refused::forbidden("you may not write this document"),
        Err(refused) => refused.in_batch(),
    }
}

/// The stored or made leaf that what may not change is compared with: the living one that is extended; the winner
/// where there is none, or where the document will win over it.
pub(crate) fn base<'l>(document: &Value, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    let deletes = document.get("_deleted").and_then(Value::as_bool) == Some(true);
    base_in(&history(document)?, leaves, deletes)
}

/// The leaf that a tombstone ends, or whose end it repeats.
pub(crate) fn ended<'l>(document: &Value, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    let history = history(document)?;
    let last = || leaves.iter().max_by(|one, other| one.rank.cmp(&other.rank));
    let dead = || extended(&history, leaves).or_else(last);
    base_in(&history, leaves, true).or_else(dead)
}

/// Security: a losing leaf may be as the document was long ago.
/// (`no_losing_leaf_brings_back_what_its_writer_may_not_change`)
fn base_in<'l>(history: &[Rev], leaves: &'l [Leaf], deletes: bool) -> Option<&'l Leaf> {
    let winner = winner(leaves)?;
    let wins = history.first().is_some_and(|rev| rank(rev) > winner.rank);
    extended(history, leaves)
        .filter(|leaf| leaf.is_alive() && (deletes || !wins))
        .or(Some(winner))
}

/// The living leaf that CouchDB serves.
pub(crate) fn winner<L: Borrow<Leaf>>(leaves: impl IntoIterator<Item = L>) -> Option<L> {
    let living = leaves.into_iter().filter(|leaf| leaf.borrow().is_alive());
    living.max_by(|one, other| one.borrow().rank.cmp(&other.borrow().rank))
}

/// The leaf that this history continues: the nearest one that it names.
fn extended<'l>(history: &[Rev], leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    let newest = history.first()?.generation();
    let named = leaves.iter().filter(|leaf| {
        let place = newest.checked_sub(leaf.rank.0);
        let named = place.and_then(|place| history.get(usize::try_from(place).ok()?));
        named.is_some_and(|rev| leaf.rev() == Some(rev.as_str()))
    });
    named.max_by_key(|leaf| leaf.rank.0)
}

/// The leaves after a row of a batch was taken: it replaces the leaf that it extends.
pub(crate) fn grow(leaves: &mut Vec<Leaf>, document: Value) {
    let Some(history) = history(&document) else {
        return;
    };
    let known = extended(&history, leaves).and_then(Leaf::rev);
    let known = known.map(str::to_owned);
    if known.as_deref() == history.first().map(Rev::as_str) {
        return; // It is there already.
    }
    leaves.retain(|leaf| leaf.rev().is_none() || leaf.rev() != known.as_deref());
    leaves.push(Leaf::new(document, false));
}

fn rank(rev: &Rev) -> Rank {
    (rev.generation(), digest(rev.digest()))
}

/// As CouchDB keeps it: 32 hexadecimal digits are 16 bytes, anything else is what it is.
fn digest(text: &str) -> Vec<u8> {
    let nibbles: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    match nibbles {
        Some(nibbles) if nibbles.len() == 32 => nibbles
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, nibble| (byte << 4) | nibble))
            .collect(),
        Some(_) | None => text.as_bytes().to_vec(),
    }
}

/// The revisions that a document says it descends from, its own first; `None` where that has no one meaning.
///
/// Security: CouchDB stores a forced write under what `_revisions` says, whatever `_rev` says.
/// (`a_history_has_one_meaning`)
pub(crate) fn history(document: &Value) -> Option<Vec<Rev>> {
    let rev = match document.get("_rev") {
        None => None,
        Some(rev) => Some(Rev::parse(rev.as_str()?).ok()?),
    };
    let Some(revisions) = document.get("_revisions") else {
        return rev.filter(|rev| rev.generation() > 0).map(|rev| vec![rev]);
    };
    let start = revisions
        .get("start")?
        .as_number()
        .and_then(Number::as_u64)?;
    let ids = revisions.get("ids")?.as_array()?;
    if ids.is_empty() || ids.len() as u64 > start {
        return None;
    }
    let one = |(generation, id): (u64, &Value)| {
        Rev::parse(&format!("{generation}-{}", id.as_str()?)).ok()
    };
    let history: Vec<Rev> = (1..=start).rev().zip(ids).map(one).collect::<Option<_>>()?;
    let same = rev.is_none() || rev.as_ref() == history.first();
    same.then_some(history)
}

#[cfg(test)]
mod tests;
