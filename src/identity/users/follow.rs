//! Follows the changes of the databases that users are in: what has changed is forgotten, and who waits is told.
//!
//! Invariant: who is told can see the change.

use std::sync::atomic::Ordering;

use super::{USER_PREFIX, Users};
use crate::caller::UserName;
use crate::couch::{Changes, CouchError};
use crate::identity::follow::{Follower, Source};
use crate::route::DbName;

impl Users {
    /// Follows both databases. Does not return.
    pub(in crate::identity) async fn watch(&self) {
        let follow = async |source: &Option<Source>, prefix| match source {
            Some(source) => {
                let records = Records {
                    users: self,
                    db: &source.db,
                    prefix,
                };
                source.follow(&self.couch, &records).await;
            }
            None => std::future::pending().await,
        };
        tokio::join!(follow(&self.users, USER_PREFIX), follow(&self.nodes, ""));
    }
}

/// The records that are made of one of the databases.
struct Records<'a> {
    users: &'a Users,
    db: &'a DbName,
    /// What ids of users begin with.
    prefix: &'static str,
}

impl Follower for Records<'_> {
    async fn begin(&self) -> Result<String, CouchError> {
        let users = self.users;
        let now = users.couch.changes(self.db, "now", None).await?;
        users.epoch.fetch_add(1, Ordering::SeqCst);
        // What was read before this moment may have changed before it too.
        users.records.invalidate_all();
        users.changed.send_replace(());
        Ok(now.last_seq)
    }

    async fn changed(&self, changes: &Changes) {
        let users = self.users;
        users.epoch.fetch_add(1, Ordering::SeqCst);
        for id in &changes.ids {
            let name = id
                .strip_prefix(self.prefix)
                .and_then(|name| UserName::parse(name).ok());
            if let Some(name) = name {
                users.records.invalidate(&name).await;
            }
        }
        if !changes.ids.is_empty() {
            users.changed.send_replace(());
        }
    }
}
