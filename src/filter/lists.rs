//! `_all_docs`, `_design_docs` and views under a lens.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::filter::answer::{Answer, rows_answer};
use crate::filter::ask::Asker;
use crate::filter::design::Designs;
use crate::filter::layout::Layout;
use crate::filter::pages::{ListPages, Pages};
use crate::filter::reduce::{Grouping, Groups, Reducer};
use crate::filter::rows::{DocumentRows, Judge};
use crate::filter::stream::Recipe;
use crate::filter::views::ViewRows;
use crate::filter::window::Window;
use crate::inspect;
use crate::policy::{Lens, Needs, ViewLens};
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;
use crate::route::{DesignName, FunctionName};

/// `_all_docs` and `_design_docs`: rows judged by their documents.
pub(crate) async fn documents(
    asker: Asker,
    lens: Lens,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let mut query = asked(&asker, body)?;
    let window = take_window(&mut query);
    let docs = query.include_docs;
    query.include_docs |= lens.needs_document() == Needs::Document;
    let by_keys = query.keys.is_some();
    let judge = Judge::Documents(DocumentRows {
        lens,
        docs,
        by_keys,
    });
    answer(asker, VecDeque::from([query]), !by_keys, window, judge).await
}

/// A view: narrowed to the caller's pin before CouchDB runs it, every row checked again.
pub(crate) async fn view(
    asker: Asker,
    lens: ViewLens,
    name: (&DesignName, &FunctionName),
    designs: &Designs,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let mut query = asked(&asker, body)?;
    let window = take_window(&mut query);
    if lens.needs_document() != Needs::Nothing {
        // Security: a row of yesterday must not be judged by the document of today.
        (query.stale, query.update, query.stable) = (None, None, None);
    }
    // What is outside the pin is refused before CouchDB is asked for anything.
    inspect::view::narrow(query.clone(), &lens)?;
    let reducer = match query.reduce {
        Some(false) => None,
        None | Some(true) => designs.reducer(&asker.couch, &asker.db, name).await?,
    };
    match reducer {
        Some(reducer) => reduced(asker, lens, query, window, reducer).await,
        None => {
            let by_keys = query.keys.is_some();
            let docs = query.include_docs;
            let ranges = inspect::view::narrow(query, &lens)?;
            let judge = Judge::View(ViewRows { lens, docs });
            answer(asker, ranges, !by_keys, window, judge).await
        }
    }
}

async fn reduced(
    asker: Asker,
    lens: ViewLens,
    mut query: ViewQuery,
    window: Window,
    reducer: Reducer,
) -> Result<Answer, Refusal> {
    if !lens.reduce_allowed() {
        return Err(Refusal::Forbidden(
            "sums over this view are not open to you",
        ));
    }
    let grouping = match (query.group, query.group_level) {
        (_, Some(0)) => Grouping::None,
        (_, Some(level)) => Grouping::Level(usize::try_from(level).unwrap_or(usize::MAX)),
        (Some(true), None) => Grouping::Exact,
        // Keys that are named are grouped one by one, as CouchDB demands.
        (Some(false) | None, None) if query.keys.is_some() => {
            return Err(Refusal::BadQuery(
                "Multi-key fetches for reduce views must use `group=true`".to_owned(),
            ));
        }
        (Some(false) | None, None) => Grouping::None,
    };
    if reducer == Reducer::Other && grouping != Grouping::Exact {
        return Err(Refusal::Forbidden(
            "this view is open to you with `group=true` only",
        ));
    }
    query.group_level = None;
    if reducer == Reducer::Other {
        query.group = Some(true);
    } else {
        (query.reduce, query.group) = (Some(false), None);
    }
    let ranges = inspect::view::narrow(query, &lens)?;
    let judge = Judge::Reduce(Groups {
        lens,
        reducer,
        grouping,
        open: None,
    });
    answer(asker, ranges, false, window, judge).await
}

fn asked(asker: &Asker, body: Option<Bytes>) -> Result<ViewQuery, Refusal> {
    let body = body.map(|body| inspect::value(&body)).transpose()?;
    inspect::query::list(&asker.permit.route().query, body.as_ref())
}

/// `skip` and `limit` are counted on what is shown, so they stay here.
fn take_window(query: &mut ViewQuery) -> Window {
    let window = Window {
        skip: query.skip,
        left: query.limit,
    };
    query.skip = 0;
    query.limit = None;
    window
}

async fn answer(
    asker: Asker,
    ranges: VecDeque<ViewQuery>,
    paged: bool,
    window: Window,
    judge: Judge,
) -> Result<Answer, Refusal> {
    let Some((part, pages)) = ListPages::begin(ranges, paged, window) else {
        return Ok(Answer::json(b"{\"rows\":[\r\n\r\n]}\n".to_vec()));
    };
    let layout = Layout::Rows("rows");
    let recipe = Recipe {
        pages: Pages::Lists(pages),
        judge,
        layout,
        window,
        pulse: None,
    };
    rows_answer(Arc::new(asker), part, recipe).await
}
