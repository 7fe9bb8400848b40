//! Wakes parked replications: it follows the shared database, and starts those of users who may see what has
//! changed.
//!
//! How far it has come stands in a `_local` document of the shared database, so that what changes while no
//! couchwarden runs is not missed. Several couchwardens may follow at once: to start what runs changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use super::register::{Entry, State};
use super::rights::{rights_of, shows};
use super::{Provisioning, plan};
use crate::caller::User;
use crate::json::Value;
use crate::policy::Permit;
use crate::refusal::Refusal;
use crate::route::{DbName, LocalId};

/// How long one question for changes waits.
const WAIT: Duration = Duration::from_secs(25);

/// How long to wait after the changes could not be followed.
const PAUSE: Duration = Duration::from_secs(5);

/// How many changed documents are judged in one go.
const PAGE: usize = 200;

/// Where it is noted how far the changes have been followed.
const PLACE: &str = "couchwarden:followed";

/// Parked users who see the same: their permit, and who they are.
type Alike = HashMap<String, (Option<Permit>, Vec<(User, DbName)>)>;

impl Provisioning {
    /// Follows the shared database. Does not return.
    pub(crate) async fn wake(&self) {
        loop {
            if let Err(refusal) = Box::pin(self.follow()).await {
                tracing::warn!(?refusal, "the shared database can't be followed");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<(), Refusal> {
        let shared = &self.ends.shared;
        let place =
            LocalId::parse(PLACE).map_err(|_| Refusal::Internal("a private name is no name"))?;
        let noted = self.couch.local(shared, &place).await?;
        let since = noted
            .as_ref()
            .and_then(|noted| noted.get("since")?.as_str());
        let mut since = match since {
            Some(since) => since.to_owned(),
            // Nobody can have been parked before anybody followed.
            None => self.couch.changes(shared, "now", None).await?.last_seq,
        };
        loop {
            let page = self.couch.changed_documents(shared, &since, PAGE).await?;
            let page = page.ok_or(Refusal::NoDatabase)?;
            if page.documents.is_empty() {
                let changes = self.couch.changes(shared, &since, Some(WAIT)).await?;
                if changes.ids.is_empty() && changes.last_seq == since {
                    // A server that does not wait must not be asked without end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                continue;
            }
            self.wake_for(&page.documents).await?;
            since = page.last_seq;
            self.couch
                .put_local(shared, &place, "since", since.as_str().into())
                .await?;
        }
    }

    /// Starts the parked replications of those who may see one of these documents.
    async fn wake_for(&self, documents: &[Value]) -> Result<(), Refusal> {
        let mut entries = self.replications.entries(false).await?;
        entries.retain(|entry| entry.state == State::Parked);
        for (permit, users) in self.alike(entries).await?.into_values() {
            if !documents.iter().any(|doc| concerns(permit.as_ref(), doc)) {
                continue;
            }
            for (user, db) in users {
                match self.start(&user, &db).await {
                    // Somebody else has started it.
                    Ok(_) | Err(Refusal::Conflict) => {}
                    Err(refusal) => {
                        tracing::warn!(?refusal, %db, "a replication could not be woken");
                    }
                }
            }
        }
        Ok(())
    }

    /// Of ten thousand users few see different things: each sight is judged once.
    async fn alike(&self, entries: Vec<Entry>) -> Result<Alike, Refusal> {
        let mut alike = Alike::new();
        for entry in entries {
            let db = entry.mark.database;
            let user = entry
                .user
                .filter(|user| plan::provisioned(user).as_ref() == Some(&db));
            let Some(user) = user else { continue };
            let permit = self.sight(&user).await?;
            let group = alike.entry(rights_of(permit.as_ref()));
            let (_, users) = group.or_insert_with(|| (permit, Vec::new()));
            if !users.iter().any(|(_, known)| *known == db) {
                users.push((user, db));
            }
        }
        Ok(alike)
    }
}

/// Would the user be told of this change?
fn concerns(permit: Option<&Permit>, document: &Value) -> bool {
    let id = document.get("_id").and_then(Value::as_str);
    id.is_some_and(|id| shows(permit, id, document))
}
