//! Gaps: what a caller asked for by its revision, as a feed has told them of it, and was not given.
//!
//! Where rights are narrowed between a row of `_changes` and the fetch of its document, a replicator passes the document
//! over, and keeps the sequence behind that row as its checkpoint. Were that sequence good again under the rights under
//! which it was made, the document would come with its next change and not before. So each gap leaves a mark in the
//! database, in a `_local` document of ours for each caller, before the answer with the gap has ended. Sequences carry
//! the mark of the last gap under other rights than theirs, and are believed as long as there is no newer one; what is
//! not given under the very rights of a sequence is not missing there.
//!
//! Security: what is hidden and what is absent leave a mark alike, and what is shown decides alone whether there is one: a
//! hidden leaf beside one that answers leaves none. (`what_was_not_given_comes_when_rights_are_back`,
//! `a_hidden_leaf_beside_one_that_is_given_leaves_no_mark`)

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::doc_locks::{DocLocks, Mode};
use super::local_names::Locals;
use crate::body::Cut;
use crate::caller::Caller;
use crate::couch::{Couch, CouchError};
use crate::json::{Object, Value};
use crate::policy::Fingerprint;
use crate::route::{DbName, LocalId};
use crate::secret::Secret;

/// How many callers' gaps this process remembers, so that their open feeds end, and for how long.
const NOTED: u64 = 100_000;
const NOTED_FOR: Duration = Duration::from_secs(3600);
/// How often a mark is written where another couchwarden writes one at the same time.
const ATTEMPTS: usize = 5;

type Noted = Cache<(DbName, LocalId), Arc<GapMark>>;

/// The gaps of all callers.
#[derive(Debug, Clone)]
pub(crate) struct Gaps {
    locals: Locals,
    turns: DocLocks,
    noted: Noted,
}

/// Those of one caller in one database.
#[derive(Debug, Clone)]
pub(crate) struct CallerGaps {
    place: (DbName, LocalId),
    turns: DocLocks,
    noted: Noted,
}

/// What a gap leaves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GapMark {
    rights: String,
    mark: String,
}

/// What a batch has named, an id or a revision of one, and nothing that is shown has answered yet.
#[derive(Debug, Default)]
pub(crate) struct NamedInBatch(HashSet<u64>);

/// Whether an answer has left something out that was asked for.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    something: bool,
    noted: bool,
}

impl Gaps {
    pub(crate) fn new(locals: Locals, turns: DocLocks) -> Self {
        let noted = Cache::builder().max_capacity(NOTED).time_to_live(NOTED_FOR);
        Self {
            locals,
            turns,
            noted: noted.build(),
        }
    }

    /// Those of this caller. Who has no name has no checkpoints.
    pub(crate) fn of(&self, caller: &Caller, db: &DbName) -> Option<CallerGaps> {
        let id = self.locals.gaps(caller)?;
        Some(CallerGaps {
            place: (db.clone(), id),
            turns: self.turns.clone(),
            noted: self.noted.clone(),
        })
    }
}

impl CallerGaps {
    /// The mark of the last gap under other rights than these; empty where there is none.
    pub(crate) async fn mark(
        &self,
        couch: &Couch,
        rights: Fingerprint,
    ) -> Result<String, CouchError> {
        let (db, id) = &self.place;
        let stored = couch.local(db, id).await?;
        let rights = rights.to_string();
        let mut others = listed(stored.as_ref()).filter(|(under, _)| *under != rights);
        Ok(others
            .next()
            .map(|(_, mark)| mark.to_owned())
            .unwrap_or_default())
    }

    /// Leaves a mark, though the client should go away or read no further: others of the caller wait for their turn.
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with CouchDB's answers, for which there is a deadline"
    )]
    pub(crate) async fn note(&self, couch: &Couch, rights: Fingerprint) -> Result<(), CouchError> {
        let (gaps, couch) = (self.clone(), couch.clone());
        let noting = tokio::spawn(async move { gaps.leave(&couch, rights.to_string()).await });
        noting.await.map_err(|_| CouchError::Cut(Cut::Filter))?
    }

    async fn leave(&self, couch: &Couch, rights: String) -> Result<(), CouchError> {
        let (db, id) = &self.place;
        let before = self.last_noted();
        let ids = iter::once(id.as_str());
        // CouchDB takes any write of a `_local` document, so one that is read meanwhile would be lost.
        let _turn = self.turns.take(db.as_str(), ids, Mode::Exclusive).await;
        let last = self.last_noted().filter(|last| last.rights == rights);
        if last.is_some() && last != before {
            // It was left since this answer was asked for, and no sequence in which the client trusts is newer.
            return Ok(());
        }
        let mark = fresh()?;
        let mut written = Err(CouchError::Conflict);
        for _ in 0..ATTEMPTS {
            written = self.write(couch, &rights, &mark).await;
            if written != Err(CouchError::Conflict) {
                break;
            }
        }
        written?;
        let mark = Arc::new(GapMark { rights, mark });
        self.noted.insert(self.place.clone(), mark);
        Ok(())
    }

    /// The newest mark, and behind it the newest under other rights: no sequence needs another.
    async fn write(&self, couch: &Couch, rights: &str, mark: &str) -> Result<(), CouchError> {
        let (db, id) = &self.place;
        let stored = couch.local(db, id).await?;
        let other = listed(stored.as_ref()).find(|(under, _)| *under != rights);
        let marks = [Some((rights, mark)), other].into_iter().flatten();
        let mut document = Object::new();
        if let Some(rev) = stored.as_ref().and_then(|stored| stored.get("_rev")) {
            document.insert("_rev", rev.clone());
        }
        let marks = marks.map(|(under, mark)| Value::Array(vec![under.into(), mark.into()]));
        document.insert("gaps", marks.collect::<Vec<_>>());
        couch.replace_local(db, id, document).await
    }

    /// The last mark that this process has left; a feed that began before it ends.
    pub(crate) fn last_noted(&self) -> Option<Arc<GapMark>> {
        self.noted.get(&self.place)
    }
}

/// The marks of a stored document and under which rights they were left, the newest first.
fn listed(stored: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let gaps = stored.and_then(|stored| stored.get("gaps")?.as_array());
    gaps.into_iter()
        .flatten()
        .filter_map(|gap| match gap.as_array()? {
            [under, mark] => Some((under.as_str()?, mark.as_str()?)),
            _ => None,
        })
}

fn fresh() -> Result<String, CouchError> {
    let random = Secret::random().ok_or(CouchError::Unsigned)?;
    let digits = random.expose().iter().take(16);
    Ok(digits.map(|byte| format!("{byte:02x}")).collect())
}

impl LeftOut {
    /// Something is left out.
    pub(crate) fn something(&mut self) {
        self.something = true;
    }

    /// Whether a mark is to be left; asked again, it is not.
    pub(crate) fn take(&mut self) -> bool {
        let wanted = self.something && !self.noted;
        self.noted |= wanted;
        wanted
    }
}

impl NamedInBatch {
    /// What stands in the body of `_bulk_get`.
    pub(crate) fn asked(docs: &[Value]) -> Self {
        let text = |doc: &Value, name| Some(doc.get(name)?.as_str()?.to_owned());
        let named = docs.iter().filter_map(|doc| {
            let id = text(doc, "id")?;
            Some(digest(&id, text(doc, "rev").as_deref()))
        });
        Self(named.collect())
    }

    /// A revision that is shown answers for itself, and for its id. That it may answer for one before it too (`latest`)
    /// is left aside: a mark too many tells nothing that is not shown.
    pub(crate) fn answered_by(&mut self, id: &str, rev: &str) {
        self.0.remove(&digest(id, None));
        self.0.remove(&digest(id, Some(rev)));
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.0.is_empty()
    }
}

fn digest(id: &str, rev: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, rev).hash(&mut hasher);
    hasher.finish()
}
