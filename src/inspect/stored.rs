//! What CouchDB has of the documents that are written, read before they are judged.
//!
//! Invariant: hidden and absent documents cost the same requests.

use crate::couch::{Couch, CouchError};
use crate::inspect::document::Written;
use crate::inspect::forced::{Leaf, winner};
use crate::json::Value;
use crate::policy::WriteRules;
use crate::refusal::Refusal;
use crate::route::DbName;

/// What CouchDB has of a document that is written.
#[derive(Debug)]
pub(crate) enum Stored {
    /// With `new_edits`.
    Replaced(Replaced),
    /// Without: every leaf.
    Leaves(Vec<Leaf>),
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
    pub(crate) document: Option<Value>,
    /// The living winner, where that is another revision: what is written may win over it.
    pub(crate) winner: Option<Value>,
    /// For a delete under rules that keep something back: the living leaf that wins once this one is gone.
    pub(crate) next: Option<Value>,
}

/// Reads what one write is judged by. `forced`: it comes without `new_edits`.
pub(crate) async fn stored(
    couch: &Couch,
    db: &DbName,
    rules: &WriteRules,
    written: &Written,
    forced: bool,
) -> Result<Stored, Refusal> {
    let mut one = match forced {
        true => leaves(couch, db, &[written]).await?,
        false => replaced(couch, db, rules, &[written]).await?,
    };
    one.pop().ok_or(Refusal::Internal)
}

/// Reads what each of these writes with `new_edits` replaces.
pub(crate) async fn replaced(
    couch: &Couch,
    db: &DbName,
    rules: &WriteRules,
    written: &[&Written],
) -> Result<Vec<Stored>, CouchError> {
    let ids: Vec<&str> = written.iter().map(|one| one.id.as_str()).collect();
    let winners = couch.read_each(db, &ids).await?;
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
    let others = written.iter().zip(&mut stored);
    let others = others.filter_map(|(one, stored)| match (&one.rev, stored) {
        (Some(rev), Stored::Replaced(replaced)) if !replaced.is(rev, rules) => {
            Some(((one.id.as_str(), Some(rev.as_str())), replaced))
        }
        (Some(_) | None, _) => None,
    });
    let (named, others): (Vec<_>, Vec<_>) = others.unzip();
    let found = couch.read_readable(db, &named).await?;
    for (replaced, found) in others.into_iter().zip(found) {
        let winner = replaced.document.take();
        replaced.winner = winner.filter(|winner| winner.get("_deleted").is_none());
        // What can't be read can't be replaced either.
        replaced.document = found.and_then(|found| found.into_iter().next());
    }
    if rules.keep_back() {
        find_next(couch, db, written, &mut stored).await?;
    }
    Ok(stored)
}

/// Reads what wins once the winners are gone that are deleted here.
async fn find_next(
    couch: &Couch,
    db: &DbName,
    written: &[&Written],
    stored: &mut [Stored],
) -> Result<(), CouchError> {
    let deletes = written.iter().zip(stored);
    let (deletes, places): (Vec<&Written>, Vec<&mut Stored>) =
        deletes.filter(|(one, _)| one.deletes()).unzip();
    let all = leaves(couch, db, &deletes).await?;
    for ((one, place), leaves) in deletes.into_iter().zip(places).zip(all) {
        match (place, leaves) {
            (Stored::Replaced(replaced), Stored::Leaves(leaves)) if replaced.winner.is_none() => {
                let others = leaves
                    .into_iter()
                    .filter(|leaf| leaf.rev() != one.rev.as_deref());
                replaced.next = winner(others).map(|leaf| leaf.document);
            }
            (place, Stored::Unreadable { .. }) => *place = Stored::Unreadable { forced: false },
            (_, _) => {}
        }
    }
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

/// Reads every leaf of each of these documents.
pub(crate) async fn leaves(
    couch: &Couch,
    db: &DbName,
    written: &[&Written],
) -> Result<Vec<Stored>, CouchError> {
    let ids: Vec<_> = written.iter().map(|one| (one.id.as_str(), None)).collect();
    let found = couch.read_readable(db, &ids).await?;
    let stored = found.into_iter().map(|leaves| match leaves {
        Some(leaves) => Stored::Leaves(leaves.into_iter().map(Leaf::stored).collect()),
        None => Stored::Unreadable { forced: true },
    });
    Ok(stored.collect())
}
