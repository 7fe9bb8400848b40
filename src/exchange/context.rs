//! What a filter may ask while it filters: further parts of the same answer, and the documents that policy
//! needs to see.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};

use super::doc_locks::DocGuard;
use super::errors;
use super::gaps::CallerGaps;
use super::redact::is_bare;
use super::revisions::{RevisionCache, RevisionRef};
use crate::body::Cut;
use crate::budget::{Budget, Counted, Share};
use crate::client::Answered;
use crate::couch::{Couch, CouchError, Pace, Revisions};
use crate::exchange::rewrite::{Rewrite, Subrequest};
use crate::exchange::upstream::Upstream;
use crate::json::Value;
use crate::policy::{Fingerprint, Permit};
use crate::refusal::Refusal;
use crate::route::query::Heartbeat;
use crate::route::{DbName, History, Method, Query};

/// No feed of CouchDB's is silent for longer, so that it soon learns of clients that have gone.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);

/// A revision; none that CouchDB does not have, or that can't be judged.
type Revision = Option<Counted<Value>>;

/// Asks CouchDB on behalf of one permit.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) upstream: Upstream,
    pub(crate) rewrite: Rewrite,
    pub(crate) couch: Couch,
    pub(crate) permit: Permit,
    pub(crate) db: DbName,
    /// What the caller was told of and not given; none where they have no checkpoints.
    pub(crate) gaps: Option<CallerGaps>,
    /// What the request makes us hold is counted there.
    pub(crate) budget: Arc<Budget>,
    /// What the body has of it, as long as anything lives that was made of the body.
    pub(crate) _share: Option<Arc<Share>>,
    /// The longest row that is judged, in bytes.
    pub(crate) row: usize,
    /// How long CouchDB may be silent in a feed.
    pub(crate) silence: Duration,
}

impl Context {
    /// The longest row that is judged, in bytes.
    pub(crate) fn largest_row(&self) -> usize {
        self.row
    }

    /// How often CouchDB must show in a feed that it is alive. By what is written alone it would be by hidden rows.
    pub(crate) fn alive(&self) -> Heartbeat {
        let every = (self.silence / 3).min(LONGEST_SILENCE).as_millis();
        Heartbeat::Ms(u64::try_from(every).unwrap_or(u64::MAX).max(1))
    }

    /// What documents hold that are read beside rows; nothing yet.
    pub(crate) fn known(&self) -> RevisionCache {
        RevisionCache::new(&self.budget)
    }

    /// For what is derived from the request.
    pub(crate) fn share(&self) -> Share {
        Share::of(&self.budget)
    }

    /// The mark that sequences carry under these rights.
    pub(crate) async fn gap(&self, rights: Fingerprint) -> Result<String, CouchError> {
        match &self.gaps {
            Some(gaps) => gaps.mark(&self.couch, rights).await,
            None => Ok(String::new()),
        }
    }

    /// Notes that something was asked for and not given under these rights.
    pub(crate) async fn note_gap(&self, rights: Fingerprint) -> Result<(), CouchError> {
        match &self.gaps {
            Some(gaps) => gaps.note(&self.couch, rights).await,
            None => Ok(()),
        }
    }

    /// Asks for one part of the answer.
    pub(crate) async fn ask(&self, part: Subrequest) -> Result<Response<Answered>, Refusal> {
        self.ask_for("application/json", part).await
    }

    /// The same, as this media type.
    pub(crate) async fn ask_for(
        &self,
        accept: &'static str,
        part: Subrequest,
    ) -> Result<Response<Answered>, Refusal> {
        let outbound = self.rewrite.changed(&self.permit, part, accept)?;
        self.upstream.send(outbound).await
    }

    /// Asks for a part whose answer must be a `200`.
    pub(crate) async fn first(&self, part: Subrequest) -> Result<Answered, Refusal> {
        Ok(self.first_as("application/json", part).await?.into_body())
    }

    /// The same as this media type, with its head.
    pub(crate) async fn first_as(
        &self,
        accept: &'static str,
        part: Subrequest,
    ) -> Result<Response<Answered>, Refusal> {
        let answer = self.ask_for(accept, part).await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        Err(errors::refusal(answer).await)
    }

    /// Writes the document that the permit is about, in its turn.
    pub(crate) async fn write(
        &self,
        turn: DocGuard,
        method: Method,
        query: Query,
        document: Vec<u8>,
    ) -> Result<Response<Answered>, Refusal> {
        let body = Some(document);
        let subrequest = Subrequest {
            method,
            query,
            body,
        };
        let outbound = self.rewrite.document(&self.permit, subrequest)?;
        self.upstream.send_in(turn, outbound).await
    }

    /// Writes a batch of documents, in their turn.
    pub(crate) async fn write_batch(
        &self,
        turn: Arc<DocGuard>,
        batch: Vec<u8>,
    ) -> Result<Response<Answered>, Refusal> {
        let subrequest = Subrequest {
            method: Method::Post,
            query: Query::default(),
            body: Some(batch),
        };
        let outbound = self
            .rewrite
            .changed(&self.permit, subrequest, "application/json")?;
        self.upstream.send_in(turn, outbound).await
    }

    /// Reads some of what rows wait for, and of bare tombstones among it what they have ended: no row waits twice for
    /// one revision.
    pub(crate) async fn fill(&self, cache: &mut RevisionCache, pace: &mut Pace) -> Result<(), Cut> {
        let wanted = cache.next();
        let (found, ended) = match wanted.first().and_then(RevisionRef::winner) {
            Some(_) => (self.read(wanted, pace).await?, Vec::new()),
            None => self.read_named(wanted, pace).await?,
        };
        cache.learn(found);
        for (tombstone, body) in ended {
            cache.keep(tombstone, body);
        }
        Ok(())
    }

    /// Reads the first of the revisions that rows wait for: at least one, and as many as may be held together. What
    /// CouchDB does not have, and what is too long or too deep to be judged, is `None`; an answer that can't be read
    /// is a cut.
    pub(crate) async fn read(
        &self,
        wanted: &[RevisionRef],
        pace: &mut Pace,
    ) -> Result<Vec<Option<Counted<Value>>>, Cut> {
        let winners: Vec<&str> = wanted.iter().map_while(RevisionRef::winner).collect();
        let found = match winners.is_empty() {
            true => self.read_named(wanted, pace).await?.0,
            false => self.read_winners(&winners, pace).await?,
        };
        Ok(found)
    }

    /// A deleted winner comes without its body: that is read like any other revision.
    async fn read_winners(
        &self,
        ids: &[&str],
        pace: &mut Pace,
    ) -> Result<Vec<Option<Counted<Value>>>, CouchError> {
        let found = self.couch.read_some(&self.db, ids, pace).await?;
        let mut winners: Vec<Option<Counted<Value>>> = found
            .into_iter()
            .map(|winner| winner.ok().flatten())
            .collect();
        let ended = |winner: &Option<Counted<Value>>| {
            let winner = winner.as_ref().filter(|winner| is_deleted(winner))?;
            rev(winner).map(str::to_owned)
        };
        let revs: Vec<(usize, String)> = winners
            .iter()
            .enumerate()
            .filter_map(|(place, winner)| Some((place, ended(winner)?)))
            .collect();
        let named = revs
            .iter()
            .filter_map(|(place, rev)| Some((*ids.get(*place)?, Some(rev.as_str()))));
        let bodies = self.revisions(&named.collect::<Vec<_>>(), pace).await?;
        // Behind the last one whose body was read, none is complete that has ended.
        if let Some((place, _)) = revs.get(bodies.len()) {
            winners.truncate(*place);
        }
        for ((place, _), body) in revs.iter().zip(bodies) {
            if let Some(winner) = winners.get_mut(*place) {
                *winner = body;
            }
        }
        Ok(winners)
    }

    /// Those before the first winner that is wanted; and what bare tombstones among them have ended.
    async fn read_named(
        &self,
        wanted: &[RevisionRef],
        pace: &mut Pace,
    ) -> Result<(Vec<Revision>, Vec<(RevisionRef, Revision)>), CouchError> {
        let named: Vec<(&str, Option<&str>)> = wanted
            .iter()
            .map_while(|wanted| match wanted {
                RevisionRef::Winner(_) => None,
                RevisionRef::Exact(id, rev) | RevisionRef::Parent(id, rev) => {
                    Some((id.as_str(), Some(rev.as_str())))
                }
            })
            .collect();
        let mut found = self.revisions(&named, pace).await?;
        let before: Vec<(usize, &str, String)> = wanted
            .iter()
            .zip(&found)
            .enumerate()
            .filter_map(|(place, (wanted, found))| {
                let found = found.as_ref()?;
                match wanted {
                    RevisionRef::Winner(_) => None,
                    RevisionRef::Exact(..) if !(is_deleted(found) && is_bare(found)) => None,
                    RevisionRef::Exact(id, _) | RevisionRef::Parent(id, _) => {
                        Some((place, id.as_str(), parent(found)?))
                    }
                }
            })
            .collect();
        let named: Vec<(&str, Option<&str>)> = before
            .iter()
            .map(|(_, id, rev)| (*id, Some(rev.as_str())))
            .collect();
        let parents = self.revisions(&named, pace).await?;
        if let Some((place, _, _)) = before.get(parents.len()) {
            found.truncate(*place);
        }
        let is_before = |wanted: &RevisionRef| matches!(wanted, RevisionRef::Parent(..));
        for (_, found) in wanted
            .iter()
            .zip(&mut found)
            .filter(|(wanted, _)| is_before(wanted))
        {
            *found = None;
        }
        let mut ended = Vec::new();
        for ((place, _, _), parent) in before.iter().zip(parents) {
            match (wanted.get(*place), found.get_mut(*place)) {
                (Some(RevisionRef::Exact(id, rev)), _) => {
                    ended.push((RevisionRef::Parent(id.clone(), rev.clone()), parent));
                }
                (_, Some(found)) => *found = parent,
                (_, None) => {}
            }
        }
        Ok((found, ended))
    }

    /// The first of these revisions, those that CouchDB has.
    async fn revisions(
        &self,
        named: &[(&str, Option<&str>)],
        pace: &mut Pace,
    ) -> Result<Vec<Option<Counted<Value>>>, CouchError> {
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let found = self
            .couch
            .read_some_revisions(&self.db, named, pace)
            .await?;
        let first = |found: Revisions| found.into_iter().flatten().next();
        Ok(found.into_iter().map(first).collect())
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
    let history = History::of(document)?;
    Some(history.parent()?.as_str().to_owned())
}
