//! What CouchDB has of the documents that are written, read before they are judged.
//!
//! Invariant: hidden and absent documents cost the same requests.

use super::leaves::{FAR, Leaves};
use super::written::Written;
use crate::budget::Counted;
use crate::couch::{Couch, CouchError, Pace, Revisions};
use crate::json::Value;
use crate::policy::WriteRules;
use crate::refusal::Refusal;
use crate::route::{DbName, DocId, Rev};

/// What CouchDB has of a document that is written.
#[derive(Debug)]
pub(crate) enum Stored {
    /// With `new_edits`.
    Replaced(Replaced),
    /// Without: every leaf.
    Leaves(Box<Leaves>),
    /// Too long or too deep to be judged, and so hidden.
    Unreadable {
        /// Without `new_edits`?
        forced: bool,
    },
}

/// What a write with `new_edits` replaces.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    /// The revision that it names, or the winner where it names none.
    pub(crate) document: Option<Counted<Value>>,
    /// The living winner, where that is another revision: what is written may win over it.
    pub(crate) winner: Option<Counted<Value>>,
    /// For a delete under rules that keep something back: the living leaf that wins once this one is gone.
    pub(crate) next: Option<Counted<Value>>,
}

/// Reads what one write is judged by. `forced`: it comes without `new_edits`.
pub(crate) async fn stored(
    couch: &Couch,
    db: &DbName,
    rules: &WriteRules,
    written: &Written,
    forced: bool,
) -> Result<Stored, Refusal> {
    let pace = &mut Pace::default();
    let mut one = match forced {
        true => leaves(couch, db, &[written], pace).await?,
        false => replaced(couch, db, rules, &[written], pace).await?,
    };
    one.pop().ok_or(Refusal::Internal(
        "an answer without the document that was asked for",
    ))
}

/// Reads what the first of these writes with `new_edits` replace: at least one, and as many as may be held together.
pub(crate) async fn replaced(
    couch: &Couch,
    db: &DbName,
    rules: &WriteRules,
    written: &[&Written],
    pace: &mut Pace,
) -> Result<Vec<Stored>, CouchError> {
    let ids: Vec<&str> = written.iter().map(|one| one.id.as_str()).collect();
    let winners = couch.read_some(db, &ids, pace).await?;
    let mut stored: Vec<Stored> = winners
        .into_iter()
        .map(|winner| match winner {
            Ok(document) => Stored::Replaced(Replaced {
                document,
                ..Default::default()
            }),
            Err(_) => Stored::Unreadable { forced: false },
        })
        .collect();
    let others = written.iter().zip(&mut stored).zip(0..);
    let others = others.filter_map(|((one, stored), place)| match (&one.rev, stored) {
        (Some(rev), Stored::Replaced(replaced)) if !replaced.is(rev, rules) => {
            Some(((one.id.as_str(), Some(rev.as_str())), (replaced, place)))
        }
        (Some(_) | None, _) => None,
    });
    let (named, others): (Vec<_>, Vec<_>) = others.unzip();
    let mut read = stored_first(couch, db, &named, pace).await?.into_iter();
    let mut complete = None;
    for (replaced, place) in others {
        let Some(found) = read.next() else {
            complete = complete.or(Some(place));
            continue;
        };
        let winner = replaced.document.take();
        replaced.winner = winner.filter(|winner| winner.get("_deleted").is_none());
        // What can't be read can't be replaced either.
        replaced.document = found.and_then(|found| found.into_iter().next());
    }
    stored.truncate(complete.unwrap_or(stored.len()));
    if rules.keep_back() {
        find_next(couch, db, written, &mut stored, pace).await?;
    }
    Ok(stored)
}

async fn stored_first(
    couch: &Couch,
    db: &DbName,
    named: &[(&str, Option<&str>)],
    pace: &mut Pace,
) -> Result<Vec<Revisions>, CouchError> {
    match named.is_empty() {
        true => Ok(Vec::new()),
        false => couch.read_some_revisions(db, named, pace).await,
    }
}

/// Reads what wins once the winners are gone that are deleted here. Those of which it could not be read together with
/// the others are left out, and all behind them.
async fn find_next(
    couch: &Couch,
    db: &DbName,
    written: &[&Written],
    stored: &mut Vec<Stored>,
    pace: &mut Pace,
) -> Result<(), CouchError> {
    let deletes = written.iter().zip(&mut *stored).zip(0..);
    let deletes = deletes.filter(|((one, _), _)| one.deletes());
    let (deletes, places): (Vec<&Written>, Vec<(&mut Stored, usize)>) = deletes
        .map(|((one, place), at)| (*one, (place, at)))
        .unzip();
    if deletes.is_empty() {
        return Ok(());
    }
    let mut all = leaves(couch, db, &deletes, pace).await?.into_iter();
    let mut complete = None;
    for (one, (place, at)) in deletes.into_iter().zip(places) {
        match (place, all.next()) {
            (_, None) => complete = complete.or(Some(at)),
            (Stored::Replaced(replaced), Some(Stored::Leaves(leaves)))
                if replaced.winner.is_none() =>
            {
                let next = leaves.winner_without(one.rev.as_deref());
                replaced.next = next.map(|leaf| leaf.document.clone());
            }
            (place, Some(Stored::Unreadable { .. })) => {
                *place = Stored::Unreadable { forced: false };
            }
            (_, Some(_)) => {}
        }
    }
    stored.truncate(complete.unwrap_or(stored.len()));
    Ok(())
}

impl Replaced {
    /// Is this the living document under that revision, and there for the caller? Of a deleted one the body is
    /// still to be read.
    ///
    /// Security: for what is hidden CouchDB is asked again, as for what is absent.
    /// (`hidden_and_absent_are_the_same_answer_and_the_same_work`)
    fn is(&self, rev: &str, rules: &WriteRules) -> bool {
        self.document.as_ref().is_some_and(|document| {
            document.get("_rev").and_then(Value::as_str) == Some(rev)
                && document.get("_deleted").is_none()
                && rules.knows(document)
        })
    }
}

/// Whether a write may name these revisions, whose generations are far above what writing comes to: an ordinary one may
/// where they stand already.
pub(crate) async fn may_follow(
    couch: &Couch,
    (db, id): (&DbName, &DocId),
    far: &[Rev],
    forced: bool,
) -> Result<(), Refusal> {
    if far.is_empty() {
        return Ok(());
    }
    if forced {
        return Err(FAR);
    }
    let named = far.iter().map(|rev| (id.as_str(), Some(rev.as_str())));
    let named: Vec<_> = named.collect();
    let found = couch.read_revisions(db, &named).await?;
    let stand = found.iter().all(|found| !found.is_empty());
    stand.then_some(()).ok_or(FAR)
}

/// Reads every leaf of the first of these documents: of at least one, and of as many as may be held together.
pub(crate) async fn leaves(
    couch: &Couch,
    db: &DbName,
    written: &[&Written],
    pace: &mut Pace,
) -> Result<Vec<Stored>, CouchError> {
    let ids: Vec<_> = written.iter().map(|one| (one.id.as_str(), None)).collect();
    let found = couch.read_some_revisions(db, &ids, pace).await?;
    let stored = found.into_iter().map(|leaves| {
        let leaves = leaves.and_then(Leaves::stored);
        match leaves {
            Some(leaves) => Stored::Leaves(Box::new(leaves)),
            None => Stored::Unreadable { forced: true },
        }
    });
    Ok(stored.collect())
}
