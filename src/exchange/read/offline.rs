//! Answers in several parts without the connection that they come by: the entry for the fuzz targets and the replay
//! of their corpus (`tests/fuzz`), which know couchwarden as a library.
//!
//! Invariant: the same judgement as in `single`, and nothing is shown that a permit does not show.

use std::sync::Arc;

use http::Response;

use super::documents_in_parts::{Asked, Mixed, WithParts};
use crate::body::Body;
use crate::budget::Budget;
use crate::client::Client;
use crate::config::Config;
use crate::couch::{Couch, ServiceAccount};
use crate::exchange::accept::Kind;
use crate::exchange::context::Context;
use crate::exchange::gaps::NamedInBatch;
use crate::exchange::rewrite::Rewrite;
use crate::exchange::upstream::Upstream;
use crate::identity::present::Presenter;
use crate::policy::Permit;
use crate::refusal::Refusal;

/// What the holder of a permit for a document, its open revisions or `_bulk_get` is shown, where `upstream` is
/// CouchDB's answer in parts that `boundary` divides. What must be read besides is asked of the configured CouchDB.
///
/// # Errors
///
/// Those that a client gets in place of the answer; once it has begun, its body is cut.
pub async fn in_parts(
    permit: Permit,
    config: &Config,
    boundary: &[u8],
    upstream: Body,
) -> Result<Response<Body>, Refusal> {
    let lens = permit.documents()?.clone();
    let leaves = permit.route().query.has("open_revs");
    let bulk = permit.route().document().is_none();
    let asked = match leaves {
        true => Some(Asked::Leaves),
        false => bulk.then(|| Asked::Bulk(NamedInBatch::default())),
    };
    let context = context(permit, config)?;
    let answer = match asked {
        Some(asked) => {
            let mixed = Mixed::new(context, Some(lens), asked, (upstream, boundary));
            mixed.into_answer(Kind::Mixed)
        }
        None => {
            let related = WithParts::read(&context, Some(&lens), upstream, boundary).await?;
            related.into_answer(boundary).0
        }
    };
    Ok(answer.into_response())
}

pub(crate) fn context(permit: Permit, config: &Config) -> Result<Context, Refusal> {
    let couchdb = &config.couchdb;
    let client = Client::new(couchdb, &config.limits)?;
    let account = ServiceAccount::new(couchdb)?;
    let couch = Couch::new(client.clone(), account.clone(), config.limits.body);
    Ok(Context {
        _share: None,
        upstream: Upstream::new(client),
        rewrite: Rewrite::new(Presenter::new(couchdb, account)),
        couch,
        db: permit
            .route()
            .db()
            .cloned()
            .ok_or(Refusal::Internal("a call without a database"))?,
        permit,
        gaps: None,
        budget: Arc::new(Budget::new(config.limits.bodies, 100)),
        row: config.limits.row,
        silence: config.limits.feed_idle,
    })
}
