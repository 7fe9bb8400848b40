//! `_find` under a lens: the verdict is on the full document, the projection is ours.

use crate::exchange::read::find_pages::FindPages;
use crate::exchange::redact::{Piece, Seen, show};
use crate::exchange::revisions::Known;
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
use crate::exchange::context::Asker;
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
    asker: Asker,
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
    let parameters = find_query::parameters(&asker.permit.route().query)?;
    let partition = parameters
        .value("partition")
        .map_or(Value::Null, Value::from);
    let mut text = Vec::new();
    query.write(&mut text);
    partition.write(&mut text);
    let fingerprint = lens.fingerprint();
    let bookmarks = Bookmarks::new(seal, asker.db.as_str(), &fingerprint.bytes(), &text);
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
    rows_answer(Arc::new(asker), part, recipe).await
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
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        let Some(projection) = &self.fields else {
            return show(&self.lens, Piece::Whole(row.bytes()), known, out);
        };
        let mut whole = Vec::with_capacity(row.bytes().len());
        let seen = show(&self.lens, Piece::Whole(row.bytes()), known, &mut whole)?;
        if seen == Seen::Shown {
            projection.apply(&*known.parse(&whole)?).write(out);
        }
        Ok(seen)
    }
    fn documents(&self) -> Option<&Lens> {
        Some(&self.lens)
    }

    fn is_of_two_moments(&self) -> bool {
        self.lens.needs_document() == Needs::Document
    }

    fn source(&self, row: Row<'_>, _known: &mut Known) -> Result<String, JsonError> {
        member(row, "_id")
    }
}
