//! Gaps: what a caller asked for by its revision, as a feed has told them of it, and was not given.
//!
//! Where rights are narrowed between a row of `_changes` and the fetch of its document, a replicator passes the document
//! over, and keeps the sequence behind that row as its checkpoint. Were that sequence good again under the rights under
//! which it was made, the document would come with its next change and not before. So each gap leaves a mark in the
//! database, in a `_local` document of ours for each caller, before the answer with the gap has ended. Sequences carry
//! the mark of the last gap under other rights than theirs, and are believed as long as there is no newer one; what is
//! not given under the very rights of a sequence is not missing there.
//!
//! Security: what is hidden and what is absent leave a mark alike.
//! (`what_was_not_given_comes_when_rights_are_back`)

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::caller::Caller;
use crate::couch::{Couch, CouchError};
use crate::inspect::local::Locals;
use crate::json::{Object, Value};
use crate::policy::Fingerprint;
use crate::route::{DbName, LocalId};
use crate::secret::Secret;

/// How many callers' gaps this process remembers, so that their open feeds end, and for how long.
const NOTED: u64 = 100_000;
const NOTED_FOR: Duration = Duration::from_secs(3600);
/// How often a mark is written where another is written at the same time.
const ATTEMPTS: usize = 5;

type Noted = Cache<(DbName, LocalId), Arc<str>>;

/// The gaps of all callers.
#[derive(Debug, Clone)]
pub(crate) struct Gaps {
    locals: Locals,
    noted: Noted,
}

/// Those of one caller in one database.
#[derive(Debug, Clone)]
pub(crate) struct CallerGaps {
    place: (DbName, LocalId),
    noted: Noted,
}

/// Whether an answer has left something out that was asked for.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    something: bool,
    noted: bool,
}

impl Gaps {
    pub(crate) fn new(locals: Locals) -> Self {
        let noted = Cache::builder().max_capacity(NOTED).time_to_live(NOTED_FOR);
        Self {
            locals,
            noted: noted.build(),
        }
    }

    /// Those of this caller. Who has no name has no checkpoints.
    pub(crate) fn of(&self, caller: &Caller, db: &DbName) -> Option<CallerGaps> {
        let id = self.locals.gaps(caller)?;
        Some(CallerGaps {
            place: (db.clone(), id),
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

    /// Leaves a mark.
    pub(crate) async fn note(&self, couch: &Couch, rights: Fingerprint) -> Result<(), CouchError> {
        let mark = fresh()?;
        let mut written = Err(CouchError::Conflict);
        for _ in 0..ATTEMPTS {
            written = self.write(couch, &rights.to_string(), &mark).await;
            if written != Err(CouchError::Conflict) {
                break;
            }
        }
        written?;
        self.noted.insert(self.place.clone(), mark.into());
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
    pub(crate) fn last_noted(&self) -> Option<Arc<str>> {
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
