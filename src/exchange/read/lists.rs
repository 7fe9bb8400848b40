//! `_all_docs` and `_design_docs` under a lens, alone or as several `queries`, and what other lists have in common with
//! them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::pin;
use super::query as query_of;
use super::reduce::Reducer;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::redact::{Piece, Redaction, RowOutcome, judge_wanted, see, see_id, show};
use crate::exchange::revisions::{RevisionCache, RevisionRef};
use crate::exchange::rows::answer::rows_answer;
use crate::exchange::rows::filter::RowFilter;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::list_row::{ListRow, absent};
use crate::exchange::rows::multi_query;
use crate::exchange::rows::pages::ListPages;
use crate::exchange::rows::stream::Prepared;
use crate::exchange::rows::stream::Recipe;
use crate::intake::json_body;
use crate::json::Value;
use crate::json::{JsonError, Row, string};
use crate::policy::{Lens, Needs};
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;

/// `_all_docs` and `_design_docs`: rows judged by their documents.
pub(crate) async fn documents(
    context: Context,
    lens: Lens,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let query = asked(&context, body)?;
    one(Arc::new(context), prepare_documents(&lens, query)?).await
}

/// Several queries of a list.
pub(crate) async fn documents_queries(
    context: Context,
    lens: Lens,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let queries = each(&context, body)?;
    let prepared = queries
        .into_iter()
        .map(|query| prepare_documents(&lens, query));
    let prepared = prepared.collect::<Result<_, _>>()?;
    Box::pin(multi_query::answer(context, prepared)).await
}

fn prepare_documents(lens: &Lens, mut query: ViewQuery) -> Result<Prepared, Refusal> {
    agree(&query, None)?;
    if !pin::ids_in_order(&query)? {
        return Ok(None);
    }
    let window = take_window(&mut query);
    let docs = query.include_docs;
    // Documents that are read to be judged come without the bytes of their attachments.
    query.attachments &= docs;
    query.include_docs |= lens.needs_document() == Needs::Document;
    let by_keys = query.keys.is_some();
    let filter = DocumentRows {
        lens: lens.clone(),
        docs,
        by_keys,
    };
    Ok(prepare(VecDeque::from([query]), !by_keys, window, filter))
}

/// Parameters that can't be together, in CouchDB's words. It would say so too, but of several queries only the
/// first is asked before the answer begins.
pub(crate) fn agree(query: &ViewQuery, reducer: Option<Reducer>) -> Result<(), Refusal> {
    let grouped = query.group == Some(true) || query.group_level.is_some_and(|level| level > 0);
    let reason = match reducer {
        None if query.reduce == Some(true) => "Reduce is invalid for map-only views.",
        None if grouped => "Invalid use of grouping on a map view.",
        Some(_) if query.group == Some(false) && grouped => {
            "Can't specify group=false and group_level>0 at the same time"
        }
        Some(_) if query.include_docs => "`include_docs` is invalid for reduce",
        None | Some(_) => return Ok(()),
    };
    Err(Refusal::BadQuery(reason.to_owned()))
}

/// The one query of a request.
pub(crate) fn asked(context: &Context, body: Option<Bytes>) -> Result<ViewQuery, Refusal> {
    let body = body.map(|body| json_body::value(&body)).transpose()?;
    query_of::list(&context.permit.route().query, body.as_ref())
}

/// The several queries of a request.
pub(crate) fn each(context: &Context, body: &[u8]) -> Result<Vec<ViewQuery>, Refusal> {
    query_of::lists(&context.permit.route().query, &json_body::value(body)?)
}

/// `skip` and `limit` are counted on what is shown, so they stay here.
pub(crate) fn take_window(query: &mut ViewQuery) -> Window {
    let window = Window {
        skip: query.skip,
        left: query.limit,
    };
    query.skip = 0;
    query.limit = None;
    window
}

/// What is asked for these ranges, and how it is answered.
pub(crate) fn prepare(
    ranges: VecDeque<ViewQuery>,
    paged: bool,
    window: Window,
    filter: impl RowFilter + 'static,
) -> Prepared {
    let (part, pages) = ListPages::begin(ranges, paged, window)?;
    let recipe = Recipe::new(pages, filter, Layout::Rows("rows"), window);
    Some((part, recipe))
}

/// The answer to one query.
pub(crate) async fn one(context: Arc<Context>, prepared: Prepared) -> Result<Answer, Refusal> {
    match prepared {
        Some((part, recipe)) => rows_answer(context, part, recipe).await,
        None => Ok(Answer::json(multi_query::NOTHING.to_vec())),
    }
}

/// How the rows of `_all_docs` are shown.
#[derive(Debug)]
pub(crate) struct DocumentRows {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// Whether the client asked for `include_docs`.
    pub(crate) docs: bool,
    /// Whether the client named keys: a hidden document is then answered as an absent one.
    pub(crate) by_keys: bool,
}

impl RowFilter for DocumentRows {
    fn row(
        &mut self,
        row: Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let parts = ListRow::read(row)?;
        let Some(key) = parts.key else {
            return Err(JsonError::Expected("a row of this endpoint"));
        };
        // CouchDB makes one text of a key that is a list of texts, and finds the document.
        let is_id = parts.id.is_some_and(|id| id.starts_with(b"\""));
        let (false, true, Some(id), Some(value)) = (parts.error, is_id, parts.id, parts.value)
        else {
            absent(key, out);
            return Ok(RowOutcome::Shown);
        };
        let name = string(id)?;
        let mark = out.len();
        for (label, bytes) in [
            (&b"{\"id\":"[..], id),
            (b",\"key\":", key),
            (b",\"value\":", value.value),
        ] {
            out.extend_from_slice(label);
            out.extend_from_slice(bytes);
        }
        let seen = match (&parts.doc, self.docs) {
            (Some(doc), true) => {
                out.extend_from_slice(b",\"doc\":");
                show(&self.lens, Piece::Member(row, doc), cache, out)?
            }
            (Some(doc), false) => as_seen(&see(&self.lens, &name, doc.value, cache)?),
            (None, docs) => {
                if docs {
                    out.extend_from_slice(b",\"doc\":null");
                }
                as_seen(&self.see(&name, value.value, cache)?)
            }
        };
        match seen {
            RowOutcome::Shown => out.push(b'}'),
            RowOutcome::Pending => out.truncate(mark),
            RowOutcome::Hidden => {
                out.truncate(mark);
                if self.by_keys {
                    absent(key, out);
                    return Ok(RowOutcome::Shown);
                }
            }
        }
        Ok(seen)
    }

    fn documents(&self) -> Option<&Lens> {
        Some(&self.lens)
    }

    fn is_more_than_a_document(&self) -> bool {
        true
    }

    fn is_of_two_moments(&self) -> bool {
        false
    }
}

impl DocumentRows {
    /// Judges a document that is not in the row.
    ///
    /// Security: by the revision that the row names; the winner may be another one by now.
    /// (`a_row_of_a_tombstone_is_judged_by_that_tombstone`)
    fn see(
        &self,
        id: &str,
        value: &[u8],
        cache: &mut RevisionCache,
    ) -> Result<Redaction, JsonError> {
        match self.lens.needs_document() {
            Needs::Nothing | Needs::Id => Ok(see_id(&self.lens, id)),
            Needs::Document => {
                let value = Value::parse(value)?;
                let rev = value.get("rev").and_then(Value::as_str);
                let rev = rev.ok_or(JsonError::Expected("the revision of a row"))?;
                let wanted = RevisionRef::Exact(id.to_owned(), rev.to_owned());
                Ok(judge_wanted(&self.lens, id, &wanted, cache))
            }
        }
    }
}

fn as_seen(sight: &Redaction) -> RowOutcome {
    match sight {
        Redaction::Visible(_) => RowOutcome::Shown,
        Redaction::Hidden => RowOutcome::Hidden,
        Redaction::Pending => RowOutcome::Pending,
    }
}
