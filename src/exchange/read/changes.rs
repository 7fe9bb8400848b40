//! `_changes` under a lens: all four feeds, by GET and POST.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::change_rows::{ChangeRows, Chosen, Sequences};
use super::query;
use super::query::{Changes, LooksAt};
use crate::exchange::answer::{Answer, EVENTS};
use crate::exchange::context::Context;
use crate::exchange::read::change_pages::ChangesPages;
use crate::exchange::reauthorize::Lease;
use crate::exchange::rows::answer::rows_answer;
use crate::exchange::rows::feed_clock::FeedClock;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::stream::Recipe;
use crate::intake::json_body;
use crate::json::Value;
use crate::policy::{Lens, Needs};
use crate::refusal::Refusal;
use crate::route::query::{ChangesQuery, Feed, Heartbeat};
use crate::secret::Seal;

/// CouchDB's own default for `timeout` and `heartbeat`, which neither exceeds (`[chttpd] changes_timeout`).
const LONGEST: Duration = Duration::from_secs(60);

/// What a caller may learn of changes, and what they may read of their documents.
#[derive(Debug)]
pub(crate) struct ChangesLens {
    pub(crate) rows: Lens,
    pub(crate) docs: Lens,
}

impl ChangesLens {
    /// Of rows that are chosen by their documents, those whose documents may be read.
    fn chosen_by(self, looks_at: LooksAt) -> Self {
        let Self { rows, docs } = self;
        let rows = match looks_at {
            LooksAt::Row => rows,
            LooksAt::Document => rows.within(&docs),
        };
        Self { rows, docs }
    }
}

/// Each change judged; each sequence sealed.
pub(crate) async fn changes(
    context: Context,
    lens: ChangesLens,
    lease: Lease,
    seal: Arc<Seal>,
    last_event_id: Option<&str>,
    body: Option<Bytes>,
) -> Result<Answer, Refusal> {
    let body = body.filter(|body| !body.is_empty());
    let body = body.map(|body| json_body::value(&body)).transpose()?;
    let Changes {
        mut query,
        body,
        looks_at,
    } = query::changes(&lens.docs, &context.permit.route().query, body.as_ref())?;
    let fingerprint = context
        .permit
        .fingerprint()
        .ok_or(Refusal::Internal("a feed without a fingerprint"))?;
    let gap = context.gap(lens.docs.fingerprint()).await?;
    let sequences = Sequences::new(seal, context.db.as_str(), fingerprint, &gap);
    let ChangesLens { rows, docs } = lens.chosen_by(looks_at);
    if let (Feed::EventSource, Some(last)) = (query.feed, last_event_id) {
        // A browser that reconnects says so in a header; its URL is still the first one.
        query.since = Some(last.to_owned());
    }
    let since = sequences.open(query.since.as_deref().unwrap_or("0"));
    let since = begin(&context, &query, since).await?;
    let last = Value::from(since.as_str()).to_bytes();
    if query.limit == Some(0) {
        return Ok(nothing(layout(query.feed), &sequences.seal(&last)));
    }
    query.since = Some(since);
    let (with_docs, all_leaves) = (query.include_docs, query.style_all_docs);
    let (chosen, with_conflicts) = (chosen(&query), query.conflicts);
    ask_to_judge(&mut query, &rows);
    let window = Window {
        skip: 0,
        left: query.limit,
    };
    let (layout, pulse) = (layout(query.feed), pulse(&query));
    let mut pages = ChangesPages::new(query, body, context.alive());
    let part = pages.ask();
    let filter = ChangeRows {
        rows,
        docs,
        with_docs,
        with_conflicts,
        all_leaves,
        chosen,
        sequences,
        last: Some(last),
        shown: String::new(),
    };
    let recipe = Recipe {
        pages: Box::new(pages),
        filter: Box::new(filter),
        layout,
        window,
        pulse,
        lease: Some(lease),
    };
    rows_answer(Arc::new(context), part, recipe).await
}

/// The answer to `limit=0`: where it begins, it ends.
fn nothing(layout: Layout, last: &str) -> Answer {
    let mut frame = Vec::new();
    layout.open(&mut frame);
    layout.close(Some(("last_seq", last)), &mut frame);
    let answer = Answer::json(frame);
    match layout {
        Layout::Events => answer.header(CONTENT_TYPE, EVENTS),
        Layout::Rows(_) | Layout::Array | Layout::Lines => answer,
    }
}

fn chosen(query: &ChangesQuery) -> Chosen {
    match query.filter.as_deref() {
        None | Some("" | "_doc_ids" | "_design") => Chosen::All,
        Some("_selector") if query.conflicts => Chosen::BySelectorWithConflicts,
        Some(_) => Chosen::ByDocument,
    }
}

/// Asks for what rows are judged by, too.
fn ask_to_judge(query: &mut ChangesQuery, rows: &Lens) {
    // Documents that are read to be judged come without the bytes of their attachments.
    query.attachments &= query.include_docs;
    if rows.needs_document() == Needs::Document {
        query.include_docs = true;
        // Where the winner is hidden, the others must be known; but a filter of CouchDB's looks at all that is asked
        // for.
        query.style_all_docs |= matches!(query.filter.as_deref(), None | Some("" | "_doc_ids"));
    }
}

fn layout(feed: Feed) -> Layout {
    match feed {
        Feed::Normal | Feed::Longpoll => Layout::Rows("results"),
        Feed::Continuous => Layout::Lines,
        Feed::EventSource => Layout::Events,
    }
}

/// Where the feed begins. One that waits must know it: it may end, and have to say from where to go on, before
/// CouchDB has said anything.
async fn begin(context: &Context, query: &ChangesQuery, since: String) -> Result<String, Refusal> {
    let at_end = since == "now" || query.descending;
    if !at_end || (query.feed == Feed::Normal && query.limit != Some(0)) {
        return Ok(since);
    }
    let now = context.couch.changes(&context.db, "now", None).await?;
    Ok(now.last_seq)
}

/// What a feed does while there is nothing to show. As in CouchDB a heartbeat leaves no timeout.
///
/// Security: both are ours, and begin with what was shown. (`hidden_rows_put_the_end_of_a_feed_off_by_nothing`)
pub(crate) fn pulse(query: &ChangesQuery) -> Option<FeedClock> {
    let at_most = |ms: u64| Duration::from_millis(ms).min(LONGEST);
    match (query.feed, query.heartbeat) {
        (Feed::Normal, _) => None,
        (_, Some(Heartbeat::Ms(every))) => Some(FeedClock::heartbeat(at_most(every))),
        (_, Some(Heartbeat::Default)) => Some(FeedClock::heartbeat(LONGEST)),
        (_, None) => Some(FeedClock::timeout(query.timeout.map_or(LONGEST, at_most))),
    }
}
