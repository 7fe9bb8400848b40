//! One document under a lens, and the batches that replication reads: `open_revs`, `_bulk_get`.

use http::header::ETAG;
use http_body_util::BodyExt as _;

use super::documents_in_parts::{Asked, WithParts, boundary_of};
use super::judged::judge_readable;
use super::open_revs::{absent, open_revs, open_revs_mixed};
use crate::body::{Cut, boxed};
use crate::budget::Share;
use crate::client::Answered;
use crate::exchange::accept::{Kind, accepts};
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::head::{etag, matches};
use crate::exchange::rewrite::Subrequest;
use crate::exchange::rows::oversized::shows_a_leaf;
use crate::exchange::unanswered::Unanswered;
use crate::json::{Event, Frame, Splitter};
use crate::policy::Lens;
use crate::refusal::Refusal;
use crate::route::Method;
use crate::route::query::{DocumentQuery, OpenRevs as Revs};

pub(crate) const JSON: &str = "application/json";

/// What a client says of the answer that it wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preferences<'a> {
    pub(crate) if_none_match: Option<&'a str>,
    pub(crate) accept: Option<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
}

/// What CouchDB's replicator begins its name with.
const REPLICATOR: &str = "CouchDB-Replicator/";

/// `GET` or `HEAD` of one document.
pub(crate) async fn document(
    context: Context,
    lens: Lens,
    preferred: Preferences<'_>,
) -> Result<Answer, Refusal> {
    let mut query = context.permit.route().query.document()?;
    let tagged = is_told_by_rev(&query);
    // A local sequence counts what the caller does not see.
    query.local_seq = false;
    let named = match &query.open_revs {
        Some(Revs::List(asked)) => Some(Unanswered::new(asked, query.revs, query.latest)),
        Some(Revs::All) | None => None,
    };
    // With `latest` a named revision is answered by its descendant: its history tells which it stands for.
    query.revs |= query.latest && named.is_some();
    let part = Subrequest {
        method: Method::Get,
        query: query.pairs(),
        body: None,
    };
    if query.open_revs.is_some() {
        return match accepts(preferred.accept, Kind::Mixed.name()) {
            true => {
                let replicates = preferred
                    .user_agent
                    .is_some_and(|name| name.starts_with(REPLICATOR));
                let asked = match (named, replicates) {
                    (None, _) => Asked::Leaves,
                    (Some(named), false) => Asked::Named(named),
                    (Some(named), true) => Asked::Replicated(named),
                };
                open_revs_mixed(context, lens, asked, part).await
            }
            false => open_revs(context, lens, named, part).await,
        };
    }
    let bytes = query.attachments || query.atts_since.is_some();
    let accept = match bytes && accepts(preferred.accept, Kind::Related.name()) {
        true => Kind::Related.name(),
        false => JSON,
    };
    let upstream = context.first_as(accept, part).await.map_err(absent)?;
    let (answer, rev) = match boundary_of(&upstream) {
        Some(boundary) => {
            let upstream = boxed(upstream.into_body());
            let related = WithParts::read(&context, Some(&lens), upstream, &boundary).await?;
            related.into_answer(&boundary)
        }
        None => plain(&context, &lens, upstream.into_body()).await?,
    };
    let tag = match tagged {
        true => etag(&rev, &lens.fingerprint()),
        false => None,
    };
    Ok(match (tag, preferred.if_none_match) {
        (Some(tag), Some(listed)) if matches(listed, &tag) => Answer::not_modified(tag),
        (Some(tag), _) => answer.header(ETAG, tag),
        (None, _) => answer,
    })
}

/// Does the revision tell the whole answer? Its conflicts and the state of its history change without it, so an
/// answer with them has no entity tag, as at CouchDB (`chttpd_db:send_doc`).
fn is_told_by_rev(query: &DocumentQuery) -> bool {
    !(query.conflicts || query.deleted_conflicts || query.revs_info || query.local_seq)
}

/// One document as JSON, and its revision.
async fn plain(
    context: &Context,
    lens: &Lens,
    upstream: Answered,
) -> Result<(Answer, String), Refusal> {
    let mut share = context.share();
    let bytes = whole(upstream, context.largest_row(), &mut share).await;
    let Some(bytes) = bytes.map_err(Cut::refusal)? else {
        return Err(unread(context, lens).await?);
    };
    let document = judge_readable(context, Some(lens), &bytes).await;
    let Some(document) = document.map_err(Cut::refusal)? else {
        return Err(unread(context, lens).await?);
    };
    let mut json = document.json.ok_or(Refusal::Missing)?;
    json.push(b'\n');
    Ok((Answer::json(json), document.rev))
}

/// Why a document is not shown that is too long or too deep to be judged: they would learn that it is there.
async fn unread(context: &Context, lens: &Lens) -> Result<Refusal, Refusal> {
    let id = context
        .permit
        .route()
        .document()
        .ok_or(Refusal::Internal("a call without a document"))?;
    let shown = shows_a_leaf(context, lens, id.as_str()).await;
    Ok(match shown.map_err(Cut::refusal)? {
        true => Cut::Filter.refusal(),
        false => Refusal::Missing,
    })
}

/// The body of one document; none if it is too long or too deep.
async fn whole(
    mut upstream: Answered,
    limit: usize,
    share: &mut Share,
) -> Result<Option<Vec<u8>>, Cut> {
    let mut splitter = Splitter::new(Frame::Document, limit).passing_over();
    let mut document = Some(Vec::new());
    loop {
        let data = match upstream.frame().await.transpose()? {
            Some(frame) => frame.into_data().unwrap_or_default(),
            None => break,
        };
        splitter.push(&data);
        drain(&mut splitter, &mut document)?;
        // Of what is passed over no more than the beginning is held.
        let held = share.weight().saturating_add(data.len()).min(limit);
        share.set(held).map_err(|_| Cut::NoRoom)?;
    }
    splitter.finish().map_err(|_| Cut::Filter)?;
    drain(&mut splitter, &mut document)?;
    Ok(document)
}

fn drain(splitter: &mut Splitter, document: &mut Option<Vec<u8>>) -> Result<(), Cut> {
    while let Some(event) = splitter.next().map_err(|_| Cut::Filter)? {
        match (event, &mut *document) {
            (Event::Row(bytes), Some(document)) => document.extend_from_slice(bytes),
            (Event::Unread(_), document) => *document = None,
            _ => {}
        }
    }
    Ok(())
}
