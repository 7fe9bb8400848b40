//! `GET /_warden/provisioning/events`: what becomes of a user's replications, as Server-Sent Events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! `replication:active|paused|complete|error|canceled` tell each direction's state, at once and whenever it
//! changes; `replication:denied` tells each document that policy did not let back in. Whoever comes back with
//! `Last-Event-ID` gets the denials that he has missed, as far as this couchwarden has heard of them.
//!
//! Invariant: a listener hears of his own replications only, and not longer than they are his.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::StreamBody;
use moka::sync::Cache;

use super::replication::Direction;
use super::{Provisioning, plan};
use crate::body::{Body, boxed};
use crate::caller::User;
use crate::couch::CouchError;
use crate::json::Value;
use crate::route::DbName;

/// How often the state is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// After how many quiet looks a comment is sent, and the listener's account is looked at again.
const QUIET: u32 = 15;

/// How many denials are kept for each user, and for how long.
const KEPT: usize = 100;
const KEPT_FOR: Duration = Duration::from_secs(3600);
const USERS: u64 = 10_000;

/// Denials of late, for those who come back.
#[derive(Debug, Clone)]
pub(super) struct Journal(Cache<DbName, Arc<Mutex<VecDeque<Denial>>>>);

#[derive(Debug, Clone)]
struct Denial {
    /// Grows; microseconds since 1970, mostly.
    number: u64,
    /// The document.
    id: String,
}

impl Journal {
    pub(super) fn new() -> Self {
        let cache = Cache::builder().max_capacity(USERS).time_to_idle(KEPT_FOR);
        Self(cache.build())
    }

    /// Notes a denial at this time (microseconds since 1970).
    pub(super) fn note(&self, db: &DbName, id: &str, time: u64) {
        let kept = self.0.get_with(db.clone(), Arc::default);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let number = kept
            .back()
            .map_or(0, |last| last.number.saturating_add(1))
            .max(time);
        kept.push_back(Denial {
            number,
            id: id.to_owned(),
        });
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }

    fn since(&self, db: &DbName, number: u64) -> Vec<Denial> {
        let Some(kept) = self.0.get(db) else {
            return Vec::new();
        };
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .filter(|denial| denial.number > number)
            .cloned()
            .collect()
    }
}

/// The state of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Active,
    Paused,
    Complete,
    Error,
    Canceled,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "replication:active",
            Self::Paused => "replication:paused",
            Self::Complete => "replication:complete",
            Self::Error => "replication:error",
            Self::Canceled => "replication:canceled",
        }
    }

    /// By what `_scheduler/docs` tells, and whether that is what it told the last time.
    fn of(job: Option<&Value>, same: bool) -> Self {
        let state = job.and_then(|job| job.get("state")).and_then(Value::as_str);
        match state {
            None => Self::Canceled,
            Some("completed") => Self::Complete,
            Some("crashing" | "error" | "failed") => Self::Error,
            // Everything that could be brought has been, if nothing has moved since.
            Some(_) if same => Self::Paused,
            Some(_) => Self::Active,
        }
    }
}

/// Somebody who listens.
struct Listener {
    provisioning: Arc<Provisioning>,
    user: User,
    db: DbName,
    /// What was told of each direction.
    told: [Option<Phase>; 2],
    seen: [Option<Value>; 2],
    /// The last denial that was told.
    number: u64,
    looks: u32,
}

/// The stream of events of this user's replications.
pub(super) fn listen(
    provisioning: Arc<Provisioning>,
    user: User,
    db: DbName,
    last: Option<&str>,
) -> Body {
    let number = last.and_then(|last| last.parse().ok());
    let listener = Listener {
        provisioning,
        user,
        db,
        told: [None; 2],
        seen: [const { None }; 2],
        number: number.unwrap_or_else(super::micros),
        looks: 0,
    };
    let events = unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok(Frame::data(Bytes::from(text))), listener))
    });
    boxed(StreamBody::new(events))
}

impl Listener {
    /// The next text to send; nothing when the replications are not his any more.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.looks > 0 {
                tokio::time::sleep(LOOK).await;
            }
            let quiet = self.looks.is_multiple_of(QUIET);
            self.looks = self.looks.wrapping_add(1);
            if quiet && !self.is_his().await {
                return None;
            }
            let mut text = String::new();
            for (index, direction) in Direction::ALL.into_iter().enumerate() {
                // A look that fails tells nothing; the next one will.
                if let Ok(job) = self.job(direction).await {
                    self.tell(index, direction, job, &mut text);
                }
            }
            for denial in self.provisioning.journal.since(&self.db, self.number) {
                self.number = denial.number;
                let id = Value::from(denial.id);
                let _ = write!(
                    text,
                    "id: {}\nevent: replication:denied\ndata: {{\"direction\":\"up\",\"id\":{id}}}\n\n",
                    self.number
                );
            }
            if !text.is_empty() {
                return Some(text);
            }
            if quiet {
                return Some(":\n\n".to_owned());
            }
        }
    }

    fn tell(&mut self, index: usize, direction: Direction, job: Option<Value>, text: &mut String) {
        let (Some(told), Some(seen)) = (self.told.get_mut(index), self.seen.get_mut(index)) else {
            return;
        };
        let same = job.is_some() && seen.as_ref() == job.as_ref();
        let phase = Phase::of(job.as_ref(), same);
        if *told != Some(phase) {
            let (name, way) = (phase.name(), direction.name());
            let _ = write!(text, "event: {name}\ndata: {{\"direction\":\"{way}\"}}\n\n");
            *told = Some(phase);
        }
        *seen = job;
    }

    async fn job(&self, direction: Direction) -> Result<Option<Value>, CouchError> {
        let id = direction.id(&self.db).ok_or(CouchError::Name)?;
        let provisioning = &self.provisioning;
        provisioning
            .couch
            .job(&provisioning.replicator, id.as_str())
            .await
    }

    /// A failed look leaves it as it is.
    async fn is_his(&self) -> bool {
        let now = self.provisioning.user(&self.user.name).await;
        now.is_err()
            || now.is_ok_and(|now| {
                now.is_some_and(|user| plan::provisioned(&user).as_ref() == Some(&self.db))
            })
    }
}
