//! Makes the end of a session known to every couchwarden that asks the same CouchDB.
//!
//! Ends are documents of a database of couchwarden itself ([`DbName::own`]), which no client reaches. An end is
//! written before its logout is answered; everybody follows the database and reads all of it at start, and whoever
//! has not heard of CouchDB lately asks for what is new before a session is believed. Where CouchDB can't take an
//! end at once, it holds here and is written as soon as CouchDB can. Where the database can't be had at all (the
//! service account may not make it), ends hold here only, and the log says so.
//!
//! Invariant: an end that has been learnt is never forgotten before the session is over by itself. No session is
//! believed by knowledge that is older than `fresh`, unless CouchDB says that it keeps no ends.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::now;
use super::follow::{Follow, Follower, Source};
use super::sessions::{End, Ends, Session};
use crate::caller::UserName;
use crate::couch::{Changes, Couch, CouchError};
use crate::json::{Object, Value};
use crate::route::{DbName, DocId};

/// How long a logout waits for CouchDB to take its end.
const WRITE: Duration = Duration::from_secs(2);

/// How long until what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often what need not be remembered is removed.
const SWEEP: Duration = Duration::from_secs(600);

/// The clocks of couchwardens differ by less than so many seconds.
const GRACE: u64 = 3600;

/// How many documents are removed at once (CouchDB's `[purge] max_document_id_number`), and in one sweep.
const BATCH: usize = 100;
const BATCHES: usize = 1000;

/// Where a feed begins.
const START: &str = "0";

/// What has ended, here and elsewhere.
#[derive(Debug)]
pub(super) struct Ended {
    couch: Couch,
    source: Source,
    /// Whom to tell of ends.
    changed: watch::Sender<()>,
    ends: RwLock<Ends>,
    /// Up to where the changes have been taken in.
    since: Mutex<String>,
    /// Whoever reads the changes by themselves does it for all who wait; with how it failed last, and when.
    turn: tokio::sync::Mutex<Option<(Instant, CouchError)>>,
    /// What CouchDB has not taken yet.
    unwritten: Mutex<HashSet<End>>,
}

impl Ended {
    pub(super) fn new(couch: Couch, follow: Follow) -> Self {
        Self {
            couch,
            source: Source::new(DbName::own(), follow.fresh),
            changed: follow.changed,
            ends: RwLock::default(),
            since: Mutex::new(START.to_owned()),
            turn: tokio::sync::Mutex::new(None),
            unwritten: Mutex::default(),
        }
    }

    /// Has this session of the user been ended, here or elsewhere?
    pub(super) async fn has(&self, name: &UserName, session: &Session) -> Result<bool, CouchError> {
        // Security: what has not been heard of CouchDB may have ended, after a start above all
        // (`a_couchwarden_that_starts_knows_what_has_ended`).
        if !self.knows(name, session) && !self.source.is_fresh() {
            self.ask().await?;
        }
        Ok(self.knows(name, session))
    }

    /// Asks CouchDB for what is new. Of many who want to know at the same time one asks, and all get what came of it.
    async fn ask(&self) -> Result<(), CouchError> {
        let begun = Instant::now();
        let mut turn = self.turn.lock().await;
        if self.source.is_fresh() {
            return Ok(());
        }
        match &*turn {
            Some((when, error)) if *when >= begun => Err(error.clone()),
            Some(_) | None => {
                let done = self.catch_up().await;
                *turn = done.clone().err().map(|error| (Instant::now(), error));
                done
            }
        }
    }

    fn knows(&self, name: &UserName, session: &Session) -> bool {
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        ends.has(name, session)
    }

    /// Ends what it says, here at once; elsewhere as soon as CouchDB has taken it, for which a moment is waited.
    pub(super) async fn end(&self, end: End) {
        if !self.learn([end]) {
            return;
        }
        // Noted first: whoever asked for it may go away while it is being written.
        lock(&self.unwritten).insert(end);
        match tokio::time::timeout(WRITE, self.write(&end)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the end of a session is known here only, until CouchDB takes it");
            }
            Err(_) => {
                tracing::warn!("the end of a session is known here only, until CouchDB takes it");
            }
        }
    }

    /// Takes ends in, and tells whether there is news; if so, feeds are judged anew.
    fn learn(&self, ends: impl IntoIterator<Item = End>) -> bool {
        let mut known = self.ends.write().unwrap_or_else(PoisonError::into_inner);
        let mut news = false;
        for end in ends {
            news |= known.learn(&end);
        }
        drop(known);
        if news {
            self.changed.send_replace(());
        }
        news
    }

    async fn write(&self, end: &End) -> Result<(), CouchError> {
        let id = DocId::parse(&end.document()).map_err(|_| CouchError::Name)?;
        let document = Value::from(Object::new());
        match self.couch.put(&self.source.db, &id, &document).await {
            // Its id says all that there is to say, so whoever wrote it has written the same.
            Ok(_) | Err(CouchError::Conflict) => {}
            Err(error) => return Err(error),
        }
        lock(&self.unwritten).remove(end);
        Ok(())
    }

    /// Follows what ends elsewhere, writes what could not be written, and removes what is over. Does not return.
    pub(super) async fn watch(&self) {
        tokio::join!(
            self.source.follow(&self.couch, self),
            self.write_again(),
            self.sweep(),
        );
    }

    async fn write_again(&self) {
        loop {
            tokio::time::sleep(RETRY).await;
            let waiting: Vec<End> = {
                let mut unwritten = lock(&self.unwritten);
                unwritten.retain(|end| end.until() >= now());
                unwritten.iter().copied().collect()
            };
            for end in waiting {
                if self.write(&end).await.is_err() {
                    break;
                }
            }
        }
    }

    /// Takes in all that has ended by now.
    async fn catch_up(&self) -> Result<(), CouchError> {
        loop {
            let since = lock(&self.since).clone();
            let changes = match self.couch.changes(&self.source.db, &since, None).await {
                // CouchDB has no such database, or keeps it from us: what is known here is all there is.
                Err(CouchError::Status(401 | 403 | 404)) => {
                    START.clone_into(&mut lock(&self.since));
                    break;
                }
                changes => changes?,
            };
            self.take_in(&changes);
            if changes.complete {
                break;
            }
        }
        self.source.hear();
        Ok(())
    }

    fn take_in(&self, changes: &Changes) {
        let now = now();
        let ends = changes.ids.iter().filter_map(|id| End::read(id));
        self.learn(ends.filter(|end| end.until() >= now));
        changes.last_seq.clone_into(&mut lock(&self.since));
    }

    /// Makes the database if it is not there, and closes it to everybody but server administrators.
    async fn prepare(&self) -> Result<(), CouchError> {
        let db = &self.source.db;
        self.couch.create(db).await?;
        let closed = closed();
        if self.couch.security(db).await?.as_ref() != Some(&closed) {
            self.couch.put_security(db, &closed).await?;
        }
        Ok(())
    }

    async fn sweep(&self) {
        loop {
            let now = now();
            self.forget_before(now);
            if let Err(error) = self.remove_before(now.saturating_sub(GRACE)).await {
                tracing::debug!(%error, "ends of sessions that are over could not be removed");
            }
            tokio::time::sleep(SWEEP).await;
        }
    }

    fn forget_before(&self, second: u64) {
        let mut ends = self.ends.write().unwrap_or_else(PoisonError::into_inner);
        ends.sweep(second);
    }

    /// Removes documents that need not be remembered after this second. Purged, not deleted: of a tombstone for each
    /// logout the database would grow for ever.
    async fn remove_before(&self, second: u64) -> Result<(), CouchError> {
        let (db, end) = (&self.source.db, format!("{second:012}"));
        for _ in 0..BATCHES {
            let mut rows = self.couch.ids_before(db, &end, BATCH).await?;
            // What somebody else has put here is left alone.
            rows.retain(|(id, _)| End::read(id).is_some());
            if rows.is_empty() {
                break;
            }
            self.couch.purge(db, &rows).await?;
        }
        Ok(())
    }
}

impl Follower for Ended {
    async fn begin(&self) -> Result<String, CouchError> {
        if let Err(error) = self.prepare().await {
            tracing::warn!(
                db = %self.source.db,
                "the database for ends of sessions can't be had: a logout holds on this couchwarden only"
            );
            return Err(error);
        }
        self.catch_up().await?;
        Ok(lock(&self.since).clone())
    }

    async fn changed(&self, changes: &Changes) {
        self.take_in(changes);
    }
}

/// The `_security` of a database that is nobody's but a server administrator's.
fn closed() -> Value {
    let mut group = Object::new();
    group.insert("roles", vec![Value::from("_admin")]);
    let mut security = Object::new();
    security.insert("admins", group.clone());
    security.insert("members", group);
    security.into()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
