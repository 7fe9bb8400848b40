//! Sends what carries a permit, nothing else.
//!
//! Invariant: [`Outbound`] can be built by `rewrite` only, and `rewrite` builds one from a permit only; so
//! there is no other road to CouchDB for what a client asks.

use http::Response;

use crate::client::{Answered, Client};
use crate::refusal::Refusal;
use crate::rewrite::Outbound;

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
        let (request, kind) = outbound.into_parts();
        Ok(self.client.send(request, kind).await?)
    }
}
