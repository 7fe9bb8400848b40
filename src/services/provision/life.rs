//! The life of a replication: started and kept alive by use, ended after a time without, with its owner, or
//! at his logout; and the sweep that finds what was left behind.
//!
//! Nothing about it is kept in memory alone: any couchwarden can go on where another has stopped.
//!
//! Invariant: a token is good as long as the document that holds it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::caller::{Caller, User};
use crate::couch::CouchError;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Secret;

use super::clock::now;
use super::register::{Entry, State};
use super::replication::{self, Direction, Mark, Shown};
use super::{Provisioning, plan};

/// How long a token lasts that nobody ends. It is replaced, and the replication begins anew, at half of that.
const TOKEN: Duration = Duration::from_secs(14 * 24 * 3600);

/// How often ending is tried where CouchDB writes its own state into the document in between.
const TRIES: usize = 5;

/// What is to become of one replication.
#[derive(Debug)]
struct Run {
    direction: Direction,
    /// Its document.
    found: Option<Value>,
    /// It runs as it should.
    known: Option<Known>,
    mark: Mark,
    /// The role that it had, if it is to have another.
    replaces: Option<String>,
}

#[derive(Debug)]
struct Known {
    /// Its use has been written down a short while ago.
    fresh: bool,
}

impl Run {
    /// The role that lets it in.
    fn role(&self) -> Option<&str> {
        self.mark.role.as_deref()
    }
}

impl Provisioning {
    /// Sees to it that both replications of this user run, and that they know of his use. True: they did already.
    pub(super) async fn start(&self, user: &User, db: &DbName) -> Result<bool, Refusal> {
        let rights = self.rights(user).await?;
        let mut found = Vec::new();
        for direction in Direction::ALL {
            let id = direction
                .id(db)
                .ok_or(Refusal::Internal("a replication without a name"))?;
            found.push((direction, self.couch.read(&self.replicator, &id).await?));
        }
        let marks: Vec<Option<Mark>> = found
            .iter()
            .map(|(_, document)| document.as_ref().and_then(Mark::read))
            .collect();
        let others = |mark: &Option<Mark>| mark.as_ref().map(|mark| mark.rights != rights);
        if marks.iter().any(|mark| others(mark) != Some(false)) {
            self.take_away(user, db).await?;
            self.bring_back(user, db).await?;
        }
        let mut runs = Vec::new();
        for (direction, document) in found {
            runs.push(self.look_at(user, db, direction, &rights, document).await?);
        }
        // Before the replicator comes.
        self.let_in(db, runs.iter().filter_map(Run::role)).await?;
        let mut running = true;
        for run in &runs {
            running &= self.run(user, db, run).await?;
        }
        if runs.iter().any(|run| run.replaces.is_some()) {
            self.settle(db).await?;
        }
        if marks.iter().any(|mark| others(mark) == Some(true)) {
            // What the old replication had in its hands while the first look went on.
            self.take_away(user, db).await?;
        }
        Ok(running)
    }

    /// What is to become of one document. A replication whose owner sees other things now begins anew, from the first
    /// change.
    async fn look_at(
        &self,
        user: &User,
        db: &DbName,
        direction: Direction,
        rights: &str,
        found: Option<Value>,
    ) -> Result<Run, Refusal> {
        let now = now();
        let mut mark = Mark {
            owner: user.name.as_str().to_owned(),
            database: db.clone(),
            shared: self.ends.shared.clone(),
            used: now,
            expires: now.saturating_add(TOKEN.as_secs()),
            rights: rights.to_owned(),
            role: None,
        };
        let sample = Shown {
            shared: &Secret::new(""),
            own: &self.way.sample(),
        };
        let wanted = replication::document(direction, &self.ends, &mark, &sample);
        let half = now.saturating_add(TOKEN.as_secs() / 2);
        let held = found
            .as_ref()
            .and_then(|document| replication::authorization(direction, document));
        let alive = self.is_alive(held.map(str::as_bytes)).await;
        let known = found.as_ref().filter(|document| {
            alive
                && !replication::has_failed(document)
                && replication::is_same_way(direction, document, &wanted)
        });
        let known = known.and_then(Mark::read).filter(|known| {
            known.owner == mark.owner
                && known.rights == mark.rights
                && known.expires > half
                && self.way.fits(known)
        });
        let known = known.map(|known| {
            mark.expires = known.expires;
            mark.role.clone_from(&known.role);
            Known {
                fresh: now < known.used.saturating_add(self.fresh()),
            }
        });
        if known.is_none() {
            mark.role = self.way.new_role(now)?;
        }
        let replaces = found.as_ref().and_then(Mark::read);
        Ok(Run {
            direction,
            found,
            known,
            replaces: replaces
                .and_then(|old| old.role)
                .filter(|old| mark.role.as_ref() != Some(old)),
            mark,
        })
    }

    /// Writes one document, if the one that is there is not as it should be. True: it was.
    async fn run(&self, user: &User, db: &DbName, run: &Run) -> Result<bool, Refusal> {
        let mut document = match run.known.as_ref().zip(run.found.as_ref()) {
            Some((known, _)) if known.fresh => return Ok(true),
            Some((_, found)) => replication::marked(found, &run.mark),
            None => {
                let shared = &self.ends.shared;
                let token = self.identity.issue_token(&user.name, shared, TOKEN).await?;
                let shown = Shown {
                    shared: &token,
                    own: &self.way.shown(&run.mark)?,
                };
                replication::document(run.direction, &self.ends, &run.mark, &shown)
            }
        };
        if let (Some(rev), Some(document)) = (
            run.found.as_ref().and_then(|found| found.get("_rev")),
            document.as_object_mut(),
        ) {
            document.insert("_rev", rev.clone());
        }
        let id = run
            .direction
            .id(db)
            .ok_or(Refusal::Internal("a replication without a name"))?;
        match self.couch.put(&self.replicator, &id, &document).await {
            Ok(_) => Ok(run.known.is_some()),
            Err(error) => {
                // Whoever has written in between is let in too.
                self.settle(db).await?;
                Err(error.into())
            }
        }
    }

    /// Is a replication let in that holds this? Not when its user has another password by now, or the secret has
    /// changed by which tokens are signed.
    async fn is_alive(&self, authorization: Option<&[u8]>) -> bool {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let recognised = self.identity.recognise(authorization, None, here).await;
        authorization.is_some() && recognised.is_ok()
    }

    /// For how many seconds a use need not be written down again.
    fn fresh(&self) -> u64 {
        self.timeout.as_secs() / 6
    }

    /// The owner has asked for something in his own database.
    pub(crate) async fn used(&self, caller: &Caller, db: &DbName) {
        let Some(user) = caller.user() else { return };
        if !db.is_user_database() || plan::provisioned(user).as_ref() != Some(db) {
            return;
        }
        if self.recent.get(db).is_some() {
            return;
        }
        self.recent.insert(db.clone(), ());
        if let Err(refusal) = self.start(user, db).await {
            // His request is served all the same; the next one tries again.
            self.recent.invalidate(db);
            tracing::warn!(?refusal, "a replication could not be started");
        }
    }

    /// May a replication go on that comes with this header? Only while a document of this very user holds it.
    ///
    /// Security: without this, a token would outlive its replication (`a_token_dies_with_its_replication`).
    pub(crate) async fn admit(&self, caller: &Caller, header: &str) -> Result<(), Refusal> {
        let user = caller.user().ok_or(Refusal::WrongCredentials)?;
        let db = plan::provisioned(user).ok_or(Refusal::WrongCredentials)?;
        if self.admitted.get(header).as_ref() == Some(&db) {
            return Ok(());
        }
        for direction in Direction::ALL {
            let id = direction
                .id(&db)
                .ok_or(Refusal::Internal("a replication without a name"))?;
            let document = self.couch.read(&self.replicator, &id).await?;
            let held = document
                .as_ref()
                .and_then(|document| replication::authorization(direction, document));
            if held.is_some_and(|held| Secret::new(held).matches(header.as_bytes())) {
                self.admitted.insert(header.to_owned(), db);
                return Ok(());
            }
        }
        Err(Refusal::WrongCredentials)
    }

    /// The user has logged out.
    pub(crate) async fn logged_out(&self, caller: &Caller) {
        let db = caller.user().and_then(plan::provisioned);
        let Some(db) = db.filter(|_| self.end_on_logout) else {
            return;
        };
        if let Err(error) = self.end(&db, false).await {
            tracing::warn!(%error, "a replication could not be ended");
        }
    }

    /// Ends both replications of a database, for good or until somebody needs them.
    pub(super) async fn end(&self, db: &DbName, parked: bool) -> Result<(), CouchError> {
        for direction in Direction::ALL {
            let id = direction.id(db).ok_or(CouchError::Name)?;
            for _ in 0..TRIES {
                let leaves = self.couch.leaves(&self.replicator, &id).await?;
                let ended = |leaf: &Value| {
                    replication::is_deleted(leaf) && (parked || !replication::is_parked(leaf))
                };
                let Some(document) = leaves.iter().find(|leaf| !ended(leaf)) else {
                    break;
                };
                let tombstone = replication::tombstone(document, parked);
                match self.couch.put(&self.replicator, &id, &tombstone).await {
                    Ok(_) => break,
                    Err(CouchError::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        // Security: what a replication has shown there opens the user's database no longer than it lives
        // (`a_token_of_a_replication_ends_with_it`).
        self.shut_out(db).await?;
        // Entries of others may go too: they are asked for again.
        self.admitted.invalidate_all();
        self.recent.invalidate(db);
        Ok(())
    }

    /// Looks after all replications of ours. Does not return.
    pub(crate) async fn watch(&self) {
        let pause = (self.timeout / 4).clamp(Duration::from_millis(500), Duration::from_secs(60));
        loop {
            tokio::time::sleep(pause).await;
            if let Err(refusal) = Box::pin(self.sweep()).await {
                tracing::warn!(?refusal, "replications could not be looked after");
            }
        }
    }

    /// Looks at each replication of ours once. One that can't be looked after keeps none of the others from it.
    async fn sweep(&self) -> Result<(), Refusal> {
        for entry in self.replications.entries(true).await? {
            let db = entry.mark.database.clone();
            match self.look_after(entry).await {
                // Somebody else looks after it too.
                Ok(()) | Err(Refusal::Conflict) => {}
                Err(refusal) => tracing::warn!(?refusal, %db, "a replication is not looked after"),
            }
        }
        self.settle_all().await
    }

    async fn look_after(&self, entry: Entry) -> Result<(), Refusal> {
        let Entry {
            mark,
            state,
            user,
            authorization,
            own_key,
        } = entry;
        let db = &mark.database;
        let Some(user) = user.filter(|user| plan::provisioned(user).as_ref() == Some(db)) else {
            self.end(db, false).await?;
            return self.lock(db).await;
        };
        let idle = mark.used.saturating_add(self.timeout.as_secs()) < now();
        let same = self.rights(&user).await? == mark.rights;
        let authorization = authorization.as_ref().map(Secret::expose);
        let running = state == State::Running && self.is_alive(authorization).await;
        match state {
            State::Running | State::Failed if idle => Ok(self.end(db, true).await?),
            // Of another key, or from when it held a password: the design documents are then of that time too.
            State::Running | State::Failed if own_key != self.way.key() => {
                let caller = Caller::User(Arc::new(user));
                self.provision(&caller).await.map(|_| ())
            }
            State::Running if same && running => Ok(()),
            State::Parked if same => Ok(()),
            State::Running | State::Failed | State::Parked => {
                self.start(&user, db).await.map(|_| ())
            }
        }
    }

    /// Security: whoever gets the name of a removed user must not get his database (leaks J3;
    /// `the_database_of_a_removed_user_is_nobodys`).
    async fn lock(&self, db: &DbName) -> Result<(), Refusal> {
        let Some(security) = self.couch.security(db).await? else {
            return Ok(());
        };
        let locked = plan::locked(&security);
        if locked != security {
            self.couch.put_security(db, &locked).await?;
        }
        Ok(())
    }
}
