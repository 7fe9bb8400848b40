//! `_find` under a lens: the verdict is on the full document, the projection is ours.

use crate::exchange::read::find_pages::FindPages;
use crate::exchange::redact::{Piece, RowOutcome, show};
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rows::answer::rows_answer;
use crate::exchange::rows::filter::{RowFilter, member};
use crate::json::{JsonError, Row};
use std::sync::Arc;

use bytes::Bytes;

use super::bookmark::{Bookmarks, Position};
use super::find_query;
use super::find_query::Find;
use super::project::Projection;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::stream::Recipe;
use crate::intake::json_body;
use crate::json::Value;
use crate::policy::{Lens, Needs};
use crate::refusal::Refusal;
use crate::secret::Seal;

/// Documents that match the client's selector and that he may see.
pub(crate) async fn find(
    context: Context,
    lens: Lens,
    seal: Arc<Seal>,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let Find {
        mut query,
        limit,
        skip,
        bookmark,
        fields,
    } = Find::read(&lens, &json_body::value(&body)?)?;
    let parameters = find_query::parameters(&context.permit.route().query)?;
    let partition = parameters
        .value("partition")
        .map_or(Value::Null, Value::from);
    let mut text = Vec::new();
    query.write(&mut text);
    partition.write(&mut text);
    let fingerprint = lens.fingerprint();
    let bookmarks = Bookmarks::new(seal, context.db.as_str(), &fingerprint.bytes(), &text);
    let cursor = match bookmark {
        Some(bookmark) => bookmarks.open(&bookmark).ok_or_else(|| {
            Refusal::BadFind("invalid_bookmark", "Invalid bookmark value.".to_owned())
        })?,
        None => Position::start(),
    };
    let window = Window {
        skip,
        left: Some(limit),
    };
    let hides = match lens.needs_document() {
        Needs::Document => {
            // Security: what an old index has seen is not what is judged.
            // (`a_found_document_does_not_stand_where_a_hidden_version_stood`)
            for name in ["stale", "update", "stable"] {
                query.remove(name);
            }
            true
        }
        Needs::Id => true,
        Needs::Nothing => false,
    };
    let needed = limit.saturating_add(skip);
    let pages = FindPages::begin((query, parameters), (cursor, bookmarks), hides, needed);
    let part = pages.ask();
    let fields = fields.as_ref().and_then(Projection::read);
    let filter = FindRows { lens, fields };
    let recipe = Recipe {
        pages: Box::new(pages),
        filter: Box::new(filter),
        layout: Layout::Rows("docs"),
        window,
        pulse: None,
        lease: None,
    };
    rows_answer(Arc::new(context), part, recipe).await
}

/// How the rows of `_find` are shown.
#[derive(Debug)]
pub(crate) struct FindRows {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// The `fields` of the query.
    pub(crate) fields: Option<Projection>,
}

impl RowFilter for FindRows {
    fn row(
        &mut self,
        row: Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let Some(projection) = &self.fields else {
            return show(&self.lens, Piece::Whole(row.bytes()), cache, out);
        };
        let mut whole = Vec::with_capacity(row.bytes().len());
        let seen = show(&self.lens, Piece::Whole(row.bytes()), cache, &mut whole)?;
        if seen == RowOutcome::Shown {
            projection.apply(&*cache.parse(&whole)?).write(out);
        }
        Ok(seen)
    }
    fn documents(&self) -> Option<&Lens> {
        Some(&self.lens)
    }

    fn is_of_two_moments(&self) -> bool {
        self.lens.needs_document() == Needs::Document
    }

    fn source(&self, row: Row<'_>, _known: &mut RevisionCache) -> Result<String, JsonError> {
        member(row, "_id")
    }
}
