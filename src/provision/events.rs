//! `GET /_warden/provisioning/events`: what becomes of a user's replications, as Server-Sent Events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! `replication:active|paused|complete|error|canceled` tell each direction's state, at once and whenever it
//! changes; `replication:denied` tells each document that policy did not let back in. Whoever comes back with
//! `Last-Event-ID` gets the denials that he has missed, as far as this couchwarden has heard of them.
//!
//! Invariant: a listener hears of his own replications only. That he may still listen says the lease of the stream
//! (`pipeline/lease.rs`).

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
use super::{Provisioning, replication};
use crate::body::{Body, boxed};
use crate::couch::CouchError;
use crate::json::Value;
use crate::route::DbName;

/// How often the state is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// After how many quiet looks a comment is sent.
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

/// What is there of one direction.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Nothing,
    Parked,
    /// What `_scheduler/docs` tells of it.
    Job(Value),
}

/// What is told of one direction.
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

    /// By what is seen, and whether that is what was seen the last time.
    fn of(seen: &Seen, same: bool) -> Self {
        let job = match seen {
            Seen::Nothing => return Self::Canceled,
            Seen::Parked => return Self::Paused,
            Seen::Job(job) => job,
        };
        match job.get("state").and_then(Value::as_str) {
            Some("completed") => Self::Complete,
            Some("crashing" | "error" | "failed") => Self::Error,
            // Everything that could be brought has been, if nothing has moved since.
            Some(_) if same => Self::Paused,
            Some(_) | None => Self::Active,
        }
    }
}

/// Somebody who listens.
struct Listener {
    provisioning: Arc<Provisioning>,
    db: DbName,
    /// What was told of each direction.
    told: [Option<Phase>; 2],
    seen: [Option<Seen>; 2],
    /// The last denial that was told.
    number: u64,
    /// How many looks there have been since something was sent; none before the first one.
    quiet: Option<u32>,
}

/// The stream of events of this user's replications.
pub(super) fn listen(provisioning: Arc<Provisioning>, db: DbName, last: Option<&str>) -> Body {
    let number = last.and_then(|last| last.parse().ok());
    let listener = Listener {
        provisioning,
        db,
        told: [None; 2],
        seen: [const { None }; 2],
        number: number.unwrap_or_else(super::micros),
        quiet: None,
    };
    let events = unfold(listener, |mut listener| async move {
        let text = listener.next().await;
        Some((Ok(Frame::data(Bytes::from(text))), listener))
    });
    boxed(StreamBody::new(events))
}

impl Listener {
    /// The next text to send.
    async fn next(&mut self) -> String {
        loop {
            if self.quiet.is_some() {
                tokio::time::sleep(LOOK).await;
            }
            let mut text = String::new();
            for (index, direction) in Direction::ALL.into_iter().enumerate() {
                // A look that fails tells nothing; the next one will.
                if let Ok(seen) = self.look(direction).await {
                    self.tell(index, direction, seen, &mut text);
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
            let quiet = self.quiet.map_or(0, |looks| looks.saturating_add(1));
            if text.is_empty() && quiet < QUIET {
                self.quiet = Some(quiet);
                continue;
            }
            self.quiet = Some(0);
            if text.is_empty() {
                text.push_str(":\n\n");
            }
            return text;
        }
    }

    fn tell(&mut self, index: usize, direction: Direction, seen: Seen, text: &mut String) {
        let (Some(told), Some(before)) = (self.told.get_mut(index), self.seen.get_mut(index))
        else {
            return;
        };
        let phase = Phase::of(&seen, before.as_ref() == Some(&seen));
        if *told != Some(phase) {
            let (name, way) = (phase.name(), direction.name());
            let _ = write!(text, "event: {name}\ndata: {{\"direction\":\"{way}\"}}\n\n");
            *told = Some(phase);
        }
        *before = Some(seen);
    }

    async fn look(&self, direction: Direction) -> Result<Seen, CouchError> {
        let id = direction.id(&self.db).ok_or(CouchError::Name)?;
        let Provisioning {
            couch, replicator, ..
        } = &*self.provisioning;
        if let Some(job) = couch.job(replicator, id.as_str()).await? {
            return Ok(Seen::Job(job));
        }
        let leaves = couch.leaves(replicator, &id).await?;
        Ok(match leaves.iter().any(replication::is_parked) {
            true => Seen::Parked,
            false => Seen::Nothing,
        })
    }
}
