//! What a filter may ask while it filters: further parts of the same answer, and the documents that policy
//! needs to see.

use std::collections::HashMap;
use std::time::Duration;

use http::Response;

use crate::body::Cut;
use crate::client::Answered;
use crate::couch::{Couch, CouchError};
use crate::filter::known::Wanted;
use crate::filter::pages::Part;
use crate::inspect::turns::Turn;
use crate::json::Value;
use crate::policy::Permit;
use crate::refusal::Refusal;
use crate::rewrite::{Change, Rewrite};
use crate::route::query::Heartbeat;
use crate::route::{DbName, Method, Query};
use crate::upstream::Upstream;

/// No feed of CouchDB's is silent for longer, so that it soon learns of clients that have gone.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);

/// Asks CouchDB on behalf of one permit.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) upstream: Upstream,
    pub(crate) rewrite: Rewrite,
    pub(crate) couch: Couch,
    pub(crate) permit: Permit,
    pub(crate) db: DbName,
    /// The longest row that is judged, in bytes.
    pub(crate) row: usize,
    /// How long CouchDB may be silent in a feed.
    pub(crate) silence: Duration,
}

impl Asker {
    /// The longest row that is judged, in bytes.
    pub(crate) fn largest_row(&self) -> usize {
        self.row
    }

    /// How often CouchDB must show in a feed that it is alive. By what is written alone it would be by hidden rows.
    pub(crate) fn alive(&self) -> Heartbeat {
        let every = (self.silence / 3).min(LONGEST_SILENCE).as_millis();
        Heartbeat::Ms(u64::try_from(every).unwrap_or(u64::MAX).max(1))
    }

    /// Asks for one part of the answer.
    pub(crate) async fn ask(&self, part: Part) -> Result<Response<Answered>, Refusal> {
        self.ask_for("application/json", part).await
    }

    /// The same, as this media type.
    pub(crate) async fn ask_for(
        &self,
        accept: &'static str,
        part: Part,
    ) -> Result<Response<Answered>, Refusal> {
        let Part {
            method,
            query,
            body,
        } = part;
        let change = Change {
            method,
            query,
            body,
        };
        let outbound = self.rewrite.changed(&self.permit, change, accept)?;
        self.upstream.send(outbound).await
    }

    /// Writes the document that the permit is about, in its turn.
    pub(crate) async fn write(
        &self,
        turn: Turn,
        method: Method,
        query: Query,
        document: Vec<u8>,
    ) -> Result<Response<Answered>, Refusal> {
        let body = Some(document);
        let change = Change {
            method,
            query,
            body,
        };
        let outbound = self.rewrite.document(&self.permit, change)?;
        self.upstream.send_in(turn, outbound).await
    }

    /// Writes a batch of documents, in their turn.
    pub(crate) async fn write_batch(
        &self,
        turn: Turn,
        batch: Vec<u8>,
    ) -> Result<Response<Answered>, Refusal> {
        let change = Change {
            method: Method::Post,
            query: Query::default(),
            body: Some(batch),
        };
        let outbound = self
            .rewrite
            .changed(&self.permit, change, "application/json")?;
        self.upstream.send_in(turn, outbound).await
    }

    /// Reads what rows wait for. What CouchDB does not have, and what is too long or too deep to be judged, is
    /// `None`; an answer that can't be read is a cut.
    pub(crate) async fn read(
        &self,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<(Wanted, Option<Value>)>, Cut> {
        let found = self.fetch(&wanted).await.map_err(|_| Cut::Upstream)?;
        Ok(wanted.into_iter().zip(found).collect())
    }
}

impl Asker {
    /// One answer for each revision wanted, in their order.
    async fn fetch(&self, wanted: &[Wanted]) -> Result<Vec<Option<Value>>, CouchError> {
        let winners: Vec<&str> = wanted.iter().filter_map(Wanted::winner).collect();
        let mut winners = self
            .couch
            .read_each(&self.db, &winners)
            .await?
            .into_iter()
            .map(|winner| winner.ok().flatten());
        let mut living = HashMap::new();
        let firsts: Vec<(String, Option<String>)> = wanted
            .iter()
            .enumerate()
            .map(|(place, wanted)| match wanted {
                Wanted::Winner(id) => match winners.next().flatten() {
                    // A deleted winner comes without its body: that is read like any other revision.
                    Some(winner) if is_deleted(&winner) => {
                        (id.clone(), rev(&winner).map(str::to_owned))
                    }
                    Some(winner) => {
                        living.insert(place, winner);
                        (id.clone(), None)
                    }
                    None => (id.clone(), None),
                },
                Wanted::Revision(id, rev) | Wanted::Before(id, rev) => {
                    (id.clone(), Some(rev.clone()))
                }
            })
            .collect();
        let found = self.revisions(&firsts).await?;
        let before: Vec<(String, Option<String>)> = wanted
            .iter()
            .zip(&found)
            .map(|(wanted, found)| match wanted {
                Wanted::Before(id, _) => (id.clone(), found.as_ref().and_then(parent)),
                Wanted::Winner(id) | Wanted::Revision(id, _) => (id.clone(), None),
            })
            .collect();
        let mut parents = self.revisions(&before).await?.into_iter();
        let settled = wanted
            .iter()
            .zip(found)
            .zip(0..)
            .map(|((wanted, found), place)| {
                let parent = parents.next().flatten();
                match wanted {
                    Wanted::Before(..) => parent,
                    Wanted::Winner(_) => living.remove(&place).or(found),
                    Wanted::Revision(..) => found,
                }
            });
        Ok(settled.collect())
    }

    /// Those revisions that CouchDB has; nothing where none is named.
    async fn revisions(
        &self,
        wanted: &[(String, Option<String>)],
    ) -> Result<Vec<Option<Value>>, CouchError> {
        let named: Vec<(&str, Option<&str>)> = wanted
            .iter()
            .filter_map(|(id, rev)| rev.as_ref().map(|rev| (id.as_str(), Some(rev.as_str()))))
            .collect();
        let mut found = self
            .couch
            .read_readable(&self.db, &named)
            .await?
            .into_iter();
        let place = |rev: &Option<String>| match rev {
            Some(_) => found.next().flatten().into_iter().flatten().next(),
            None => None,
        };
        Ok(wanted.iter().map(|(_, rev)| rev).map(place).collect())
    }
}

fn is_deleted(document: &Value) -> bool {
    document.get("_deleted").and_then(Value::as_bool) == Some(true)
}

fn rev(document: &Value) -> Option<&str> {
    document.get("_rev").and_then(Value::as_str)
}

/// The revision before this one, from its `_revisions`.
fn parent(document: &Value) -> Option<String> {
    let revisions = document.get("_revisions")?;
    let start = revisions.get("start")?.as_number()?.as_u64()?;
    let before = revisions.get("ids")?.as_array()?.get(1)?.as_str()?;
    Some(format!("{}-{before}", start.checked_sub(1)?))
}
