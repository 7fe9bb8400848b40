//! `_find` under a lens: the verdict is on the full document, the projection is ours.

use std::sync::Arc;

use bytes::Bytes;

use crate::filter::answer::{Answer, rows_answer};
use crate::filter::ask::Asker;
use crate::filter::bookmark::Bookmarks;
use crate::filter::layout::Layout;
use crate::filter::pages::{FindPages, Pages};
use crate::filter::project::Projection;
use crate::filter::rows::{FindRows, Judge};
use crate::filter::stream::Recipe;
use crate::filter::window::Window;
use crate::inspect;
use crate::inspect::find::Find;
use crate::json::{Object, Value};
use crate::policy::{Lens, Needs};
use crate::refusal::Refusal;
use crate::secret::Seal;

/// The largest page where documents are judged: it is asked for again where one of them changes meanwhile.
const LARGEST_PAGE: u64 = 200;

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
    } = Find::read(&lens, &inspect::value(&body)?)?;
    let parameters = inspect::find::parameters(&asker.permit.route().query)?;
    let partition = parameters
        .value("partition")
        .map_or(Value::Null, Value::from);
    let mut text = Vec::new();
    query.write(&mut text);
    partition.write(&mut text);
    let fingerprint = lens.fingerprint();
    let bookmarks = Bookmarks::new(seal, asker.db.as_str(), &fingerprint.bytes(), &text);
    let (bookmark, consumed) = match bookmark {
        Some(bookmark) => bookmarks.open(&bookmark).ok_or_else(|| {
            Refusal::BadFind("invalid_bookmark", "Invalid bookmark value.".to_owned())
        })?,
        None => (Value::Null, 0),
    };
    let window = Window {
        skip,
        left: Some(limit),
    };
    let most = largest_page(&lens, &mut query);
    let size = limit.saturating_add(skip).clamp(1, most);
    let pages = FindPages {
        query,
        parameters,
        bookmark,
        consumed,
        size,
        most,
    };
    let part = pages.ask();
    let fields = fields.as_ref().and_then(Projection::read);
    let judge = Judge::Find(FindRows {
        lens,
        fields,
        bookmarks,
    });
    let recipe = Recipe {
        pages: Pages::Find(pages),
        judge,
        layout: Layout::Rows("docs"),
        window,
        pulse: None,
        lease: None,
    };
    rows_answer(Arc::new(asker), part, recipe).await
}

/// How large a page may be where documents are judged, which is then of the newest index.
fn largest_page(lens: &Lens, query: &mut Object) -> u64 {
    match lens.needs_document() {
        Needs::Document => {
            // Security: what an old index has seen is not what is judged.
            // (`a_found_document_does_not_stand_where_a_hidden_version_stood`)
            for name in ["stale", "update", "stable"] {
                query.remove(name);
            }
            LARGEST_PAGE
        }
        Needs::Nothing | Needs::Id => u64::MAX,
    }
}
