//! `_bulk_get`: many revisions at once, as replication reads them.

use std::sync::Arc;

use super::document::JSON;
use super::documents_in_parts::{Asked, Mixed, boundary_of};
use super::open_revs::UNREADABLE;
use crate::body::boxed;
use crate::exchange::accept::{Kind, accepts};
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::gaps::{LeftOut, NamedInBatch};
use crate::exchange::generations::names_long_one;
use crate::exchange::redact::{Piece, RowOutcome, show};
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rewrite::Subrequest;
use crate::exchange::rows::answer::rows_answer;
use crate::exchange::rows::filter::RowFilter;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::pages::OnePage;
use crate::exchange::rows::stream::Recipe;
use crate::intake::json_body;
use crate::json::{JsonError, Row, Value, elements, members};
use crate::policy::{Fingerprint, Lens};
use crate::refusal::Refusal;
use crate::route::Method;

/// `_bulk_get`: many revisions at once.
pub(crate) async fn bulk_get(
    context: Context,
    lens: Lens,
    accept: Option<&str>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let mut body = json_body::value(body)?;
    let docs = body.as_object_mut().and_then(|body| body.get_mut("docs"));
    let Some(Value::Array(docs)) = docs else {
        return Err(Refusal::BadRequest("Missing JSON list of 'docs'."));
    };
    // What nobody can have reached is missing, and such a row is left out.
    docs.retain(|one| !names_long_one(one));
    // To CouchDB one of them would be an error of its own, and the batch with it.
    docs.retain(|doc| doc.get("id").is_none_or(|id| id.as_str().is_some()));
    let (is_empty, batch) = (docs.is_empty(), NamedInBatch::asked(docs));
    let mut query = context.permit.route().query.document()?;
    query.local_seq = false;
    let part = Subrequest {
        method: Method::Post,
        query: query.pairs(),
        body: Some(body.to_bytes()),
    };
    let kinds = [Kind::Mixed, Kind::Related];
    let kind = kinds
        .into_iter()
        .find(|kind| !accepts(accept, JSON) && accepts(accept, kind.name()));
    // To none CouchDB sends nothing at all, which looks like an answer that was lost.
    if let Some(kind) = kind.filter(|_| !is_empty) {
        let upstream = context.first_as(kind.name(), part).await?;
        let boundary = boundary_of(&upstream).ok_or(UNREADABLE)?;
        let upstream = (boxed(upstream.into_body()), boundary.as_slice());
        return Ok(Mixed::new(context, Some(lens), Asked::Bulk(batch), upstream).into_answer(kind));
    }
    let filter = BulkRows {
        lens,
        left_out: LeftOut::default(),
    };
    let recipe = Recipe::new(OnePage, filter, Layout::Rows("results"), Window::ALL);
    rows_answer(Arc::new(context), part, recipe).await
}

/// How the rows of `_bulk_get` are shown.
#[derive(Debug)]
pub(crate) struct BulkRows {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// What was asked for and is not given.
    pub(crate) left_out: LeftOut,
}

impl RowFilter for BulkRows {
    /// `{"id":…,"docs":[{"ok":…},{"error":…}]}`: what is hidden or absent is left out of `docs` alike, because an error
    /// makes PouchDB fail the whole batch. The entry itself stays: CouchDB's replicator lays them beside what it has asked
    /// for (`lists:zipwith` in `couch_replicator_api_wrap:bulk_get`) and fails where one is missing.
    fn row(
        &mut self,
        row: Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let (mut id, mut docs) = (None, None);
        for member in row.members() {
            let member = member?;
            match &*member.key {
                "id" => id = Some(member.value),
                "docs" => docs = Some(member.value),
                _ => {}
            }
        }
        let (Some(id), Some(docs)) = (id, docs) else {
            return Err(JsonError::Expected("a row of this endpoint"));
        };
        let mark = out.len();
        out.extend_from_slice(b"{\"id\":");
        out.extend_from_slice(id);
        out.extend_from_slice(b",\"docs\":[");
        let start = out.len();
        let mut later = false;
        for entry in elements(docs) {
            for member in members(entry?) {
                let member = member?;
                if member.key != "ok" {
                    continue;
                }
                let before = out.len();
                out.extend_from_slice(if before > start {
                    b",{\"ok\":"
                } else {
                    b"{\"ok\":"
                });
                match show(&self.lens, Piece::Whole(member.value), cache, out)? {
                    RowOutcome::Shown => out.push(b'}'),
                    RowOutcome::Hidden => out.truncate(before),
                    RowOutcome::Pending => {
                        out.truncate(before);
                        later = true;
                    }
                }
            }
        }
        if later {
            out.truncate(mark);
            return Ok(RowOutcome::Pending);
        }
        if out.len() == start {
            self.left_out.something();
        }
        out.extend_from_slice(b"]}");
        Ok(RowOutcome::Shown)
    }
    fn documents(&self) -> Option<&Lens> {
        Some(&self.lens)
    }

    fn is_more_than_a_document(&self) -> bool {
        true
    }

    fn gap(&mut self) -> Option<Fingerprint> {
        let left_out = self.left_out.take();
        left_out.then(|| self.lens.fingerprint())
    }

    fn is_of_two_moments(&self) -> bool {
        false
    }
}
