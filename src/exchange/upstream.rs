//! Sends what carries a permit, nothing else.
//!
//! Invariant: [`Outbound`] can be built by `rewrite` only, and `rewrite` builds one from a permit only; so
//! there is no other road to CouchDB for what a client asks.

mod late;

use std::sync::Arc;

use http::Response;

use super::doc_locks::DocGuard;
use crate::body::{Cut, boxed};
use crate::client::{Answered, Client};
use crate::exchange::rewrite::Outbound;
use crate::refusal::Refusal;
use late::{Held, Late};

/// The way to CouchDB for requests that policy has judged.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    client: Client,
}

impl Upstream {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sends one judged request.
    pub(crate) async fn send(&self, outbound: Outbound) -> Result<Response<Answered>, Refusal> {
        let outbound = outbound.gathered().await.map_err(Cut::refusal)?;
        let (request, kind, reuse) = outbound.into_parts();
        Ok(self.client.send(request, kind, reuse).await?)
    }

    /// Sends a write that is here as a whole, and keeps its turn until CouchDB has answered.
    pub(crate) async fn send_in(
        &self,
        turn: impl Into<Arc<DocGuard>>,
        outbound: Outbound,
    ) -> Result<Response<Answered>, Refusal> {
        self.send_to_its_end(outbound, turn.into()).await
    }

    /// Sends a write as its body comes; its turn is taken before the bytes that CouchDB can't store it without,
    /// so that nobody waits for a slow client. `tail`: so many bytes at the end are not needed for storing.
    pub(crate) async fn send_late(
        &self,
        turn: impl Future<Output = DocGuard> + Send + 'static,
        tail: u64,
        outbound: Outbound,
    ) -> Result<Response<Answered>, Refusal> {
        if !outbound.has_body() {
            return self.send_in(turn.await, outbound).await;
        }
        let held = Held::default();
        let late = |body| boxed(Late::new(body, tail, turn, Held::clone(&held)));
        let outbound = outbound.map_body(late);
        self.send_to_its_end(outbound, held).await
    }

    /// Security: CouchDB stores what it has received though the client is gone, so the turn must not end with the
    /// client's request. (`a_writer_who_goes_away_leaves_no_gap`)
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with CouchDB's answer, for which there is a deadline"
    )]
    async fn send_to_its_end(
        &self,
        outbound: Outbound,
        turn: impl Send + 'static,
    ) -> Result<Response<Answered>, Refusal> {
        let upstream = self.clone();
        let sending = tokio::spawn(async move {
            let answer = upstream.send(outbound).await;
            drop(turn);
            answer
        });
        sending
            .await
            .map_err(|_| Refusal::Internal("a write ended without an answer"))?
    }
}
