//! Which replications of ours there are: those that run, and those that are parked.
//!
//! A parked replication is a tombstone in `_replicator` that says so. CouchDB does nothing about it, and any
//! couchwarden finds it again, after a restart too. Whoever ends a replication for good leaves a bare tombstone.
//!
//! Invariant: only what was parked is woken; what a logout or an administrator has ended stays ended.

use std::collections::{HashMap, HashSet};

use tokio::sync::Mutex;

use super::replication::{self, Direction, Mark};
use super::users::{user_id, user_of};
use crate::caller::{User, UserName};
use crate::couch::{Couch, CouchError};
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::{DbName, DocId};
use crate::secret::Secret;

/// How many changed documents are read in one go.
const PAGE: usize = 500;

/// Knows all replications of ours, and reads what has changed about them.
#[derive(Debug)]
pub(super) struct Replications {
    couch: Couch,
    users: DbName,
    replicator: DbName,
    /// The database that they replicate with.
    shared: DbName,
    register: Mutex<Register>,
}

/// All replications of ours, by the ids of their documents.
#[derive(Debug)]
struct Register {
    /// Up to where the changes of `_replicator` have been read.
    since: String,
    entries: HashMap<String, Entry>,
    /// The databases of which a replication has begun, changed or ended since `_security` was last looked at.
    unsettled: HashSet<DbName>,
}

/// One replication.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) mark: Mark,
    pub(super) state: State,
    /// Whose it is, when that was last read.
    pub(super) user: Option<User>,
    /// What it comes to us with.
    pub(super) authorization: Option<Secret>,
    /// By what key it comes into the user's database ([`replication::own_key`]).
    pub(super) own_key: Option<String>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// CouchDB has given it up.
    Failed,
    Parked,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            since: "0".to_owned(),
            entries: HashMap::new(),
            unsettled: HashSet::new(),
        }
    }
}

impl Register {
    /// Every replication.
    fn all(&self) -> Vec<Entry> {
        self.entries.values().cloned().collect()
    }

    fn note(&mut self, document: &Value, shared: &DbName) {
        let id = document.get("_id").and_then(Value::as_str);
        let Some((id, (db, direction))) = id.and_then(|id| Some((id, Direction::read(id)?))) else {
            return;
        };
        self.unsettled.insert(db);
        let (deleted, parked) = (
            replication::is_deleted(document),
            replication::is_parked(document),
        );
        let state = match (deleted, parked) {
            (true, false) => None,
            (true, true) => Some(State::Parked),
            (false, _) if replication::has_failed(document) => Some(State::Failed),
            (false, _) => Some(State::Running),
        };
        let mark = Mark::read(document).filter(|mark| mark.shared == *shared);
        match state.zip(mark) {
            Some((state, mark)) => {
                let user = self.entries.remove(id).and_then(|entry| entry.user);
                let authorization = replication::authorization(direction, document);
                let entry = Entry {
                    mark,
                    state,
                    user,
                    authorization: authorization.map(Secret::new),
                    own_key: replication::own_key(direction, document).map(str::to_owned),
                };
                self.entries.insert(id.to_owned(), entry);
            }
            None => {
                self.entries.remove(id);
            }
        }
    }
}

impl Replications {
    pub(super) fn new(couch: Couch, users: DbName, replicator: DbName, shared: DbName) -> Self {
        Self {
            couch,
            users,
            replicator,
            shared,
            register: Mutex::default(),
        }
    }

    /// The databases of which a replication has begun, changed or ended since they were last taken.
    pub(super) async fn take_unsettled(&self) -> HashSet<DbName> {
        std::mem::take(&mut self.register.lock().await.unsettled)
    }

    /// Gives one back that must be looked at again.
    pub(super) async fn unsettle(&self, db: DbName) {
        self.register.lock().await.unsettled.insert(db);
    }

    /// Every replication of ours, and whose it is; owners that are known are read again if they must be `fresh`.
    pub(super) async fn entries(&self, fresh: bool) -> Result<Vec<Entry>, Refusal> {
        let mut register = self.register.lock().await;
        self.read_register(&mut register).await?;
        let unknown = |entry: &&Entry| fresh || entry.user.is_none();
        let owners = register.entries.values().filter(unknown);
        let owners = owners.map(|entry| entry.mark.owner.clone()).collect();
        let owners = self.users(owners).await?;
        for entry in register.entries.values_mut() {
            if let Some(owner) = owners.get(&entry.mark.owner) {
                entry.user.clone_from(owner);
            }
        }
        Ok(register.all())
    }

    /// Users as their documents have them now.
    async fn users(
        &self,
        names: HashSet<String>,
    ) -> Result<HashMap<String, Option<User>>, Refusal> {
        let names: Vec<UserName> = names
            .iter()
            .filter_map(|name| UserName::parse(name).ok())
            .collect();
        let ids = names.iter().map(user_id);
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<&str> = ids.iter().map(DocId::as_str).collect();
        let documents = self.couch.read_many(&self.users, &ids).await?;
        let users = names.into_iter().zip(documents).map(|(name, document)| {
            let key = name.as_str().to_owned();
            let document = document.filter(|document| !replication::is_deleted(document));
            (key, document.map(|document| user_of(name, &document)))
        });
        Ok(users.collect())
    }

    /// Brings the register up to date.
    async fn read_register(&self, register: &mut Register) -> Result<(), CouchError> {
        loop {
            let changes = self
                .couch
                .changed_documents(&self.replicator, &register.since, PAGE);
            let Some(changes) = changes.await? else {
                return Ok(());
            };
            for document in &changes.documents {
                register.note(document, &self.shared);
            }
            register.since = changes.last_seq;
            if changes.complete {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(register: &mut Register, document: &str) {
        let shared = DbName::parse("provisioning").unwrap();
        register.note(&Value::parse(document.as_bytes()).unwrap(), &shared);
    }

    const MARK: &str = r#""couchwarden":{"owner":"una","database":"u00000000000000000000000000000001","shared":"provisioning","used":1,"expires":2,"rights":"r""#;

    #[test]
    fn what_was_parked_is_told_from_what_was_ended() {
        let mut register = Register::default();
        let id = r#""_id":"couchwarden:u00000000000000000000000000000001:down""#;
        let states = |register: &Register| {
            let all = register.all();
            all.iter().map(|entry| entry.state).collect::<Vec<_>>()
        };
        note(&mut register, &format!("{{{id},{MARK}}}}}"));
        assert_eq!(states(&register), [State::Running]);
        note(
            &mut register,
            &format!(r#"{{{id},"_replication_state":"failed",{MARK}}}}}"#),
        );
        assert_eq!(states(&register), [State::Failed]);
        note(
            &mut register,
            &format!(r#"{{{id},"_deleted":true,{MARK},"parked":true}}}}"#),
        );
        assert_eq!(states(&register), [State::Parked]);
        note(&mut register, &format!(r#"{{{id},"_deleted":true}}"#));
        assert_eq!(states(&register), []);
    }

    #[test]
    fn the_replications_of_others_are_left_alone() {
        let mut register = Register::default();
        note(&mut register, &format!(r#"{{"_id":"mine",{MARK}}}}}"#));
        note(&mut register, r#"{"_id":"couchwarden:other","source":"a"}"#);
        let other = MARK.replace("provisioning", "another");
        note(
            &mut register,
            &format!(r#"{{"_id":"couchwarden:x",{other}}}}}"#),
        );
        assert!(register.all().is_empty());
    }
}
