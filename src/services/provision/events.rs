//! `GET /_warden/provisioning/events`: what becomes of a user's replications, as Server-Sent Events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! `replication:active|paused|complete|error|canceled` tell each direction's state, at once and whenever it
//! changes; `replication:denied` tells each document that policy did not let back in. Whoever comes back with
//! `Last-Event-ID` gets the denials that he has missed, whichever couchwarden has heard of them.
//!
//! Invariant: a listener hears of his own replications only. That he may still listen says the lease of the stream
//! (`pipeline/lease.rs`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::StreamBody;

use super::clock::micros;
use super::plan::{self, object};
use super::replication::Direction;
use super::{Provisioning, replication};
use crate::body::{Body, boxed};
use crate::caller::Caller;
use crate::couch::CouchError;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::{DbName, LocalId};

/// How often the state is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// After how many quiet looks a comment is sent.
const QUIET: u32 = 15;

/// How many denials are kept for each user.
const KEPT: usize = 100;

/// Where they are kept: a `_local` document of the user's database, so that every couchwarden tells of them.
const PLACE: &str = "couchwarden:denied";

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

impl Provisioning {
    /// Notes that these documents of a user were not let in.
    pub(super) async fn note(&self, db: &DbName, ids: &[String]) -> Result<(), CouchError> {
        let mut kept = self.denials(db).await?;
        let mut last = kept.last().map_or(0, |(number, _)| *number);
        for id in ids {
            // It grows, and is the time in microseconds where that grows too.
            last = micros().max(last.saturating_add(1));
            kept.push((last, Value::from(id.as_str())));
        }
        let late = kept.split_off(kept.len().saturating_sub(KEPT));
        let late = late.into_iter();
        let late = late.map(|(number, id)| object([("number", number.into()), ("id", id)]));
        let place = LocalId::parse(PLACE).map_err(|_| CouchError::Name)?;
        let denied = late.collect::<Vec<Value>>();
        self.couch
            .put_local(db, &place, "denied", denied.into())
            .await
    }

    /// The denials of late, with their numbers.
    async fn denials(&self, db: &DbName) -> Result<Vec<(u64, Value)>, CouchError> {
        let place = LocalId::parse(PLACE).map_err(|_| CouchError::Name)?;
        let found = self.couch.local(db, &place).await?;
        let kept = found.as_ref().and_then(|found| found.get("denied"));
        let kept = kept.and_then(Value::as_array).unwrap_or_default();
        let numbered = kept.iter().filter_map(|denial| {
            let number = denial.get("number")?.as_number()?.as_u64()?;
            Some((number, denial.get("id")?.clone()))
        });
        Ok(numbered.collect())
    }

    /// `GET /_warden/provisioning/events`, for whoever has a database.
    pub(crate) fn events(
        self: &Arc<Self>,
        caller: &Caller,
        last: Option<&str>,
    ) -> Result<Body, Refusal> {
        let user = caller.user().ok_or(Refusal::Unauthorized)?;
        let db = plan::provisioned(user).ok_or(Refusal::NoDatabase)?;
        Ok(listen(Arc::clone(self), db, last))
    }

    /// Policy has not let these documents into this database; its listeners hear of it.
    pub(crate) async fn denied(&self, caller: &Caller, db: &DbName, ids: &[String]) {
        let own = caller.user().and_then(plan::provisioned);
        let concerned = *db == self.ends.shared && !ids.is_empty();
        if let Some(own) = own.filter(|_| concerned)
            && let Err(error) = self.note(&own, ids).await
        {
            tracing::warn!(%error, db = %own, "a denial could not be noted");
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
        number: number.unwrap_or_else(micros),
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
            let denials = self.provisioning.denials(&self.db).await;
            for (number, id) in denials.unwrap_or_default() {
                if number <= self.number {
                    continue;
                }
                self.number = number;
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
