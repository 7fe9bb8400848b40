//! Rows whose documents have changed since CouchDB wrote them are asked for once more, so that a document that is often
//! written is not missing from every answer.
//!
//! Invariant: what comes from here was seen and judged within a time in which its document did not change. What has not
//! held still is not here.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use http::StatusCode;
use http_body_util::BodyExt as _;

use super::list_row::ListRow;
use super::meanwhile::Meanwhile;
use super::oversized::{Unread, shows_a_leaf};
use super::pages::{PageEnd, list_part};
use crate::body::Cut;
use crate::budget::Share;
use crate::couch::Pace;
use crate::exchange::context::Context;
use crate::exchange::revisions::{RevisionCache, RevisionRef};
use crate::exchange::rewrite::Subrequest;
use crate::json::{Event, Frame, JsonError, Row, Splitter, string};
use crate::policy::Lens;
use crate::route::query::ViewQuery;

/// How often rows are asked for again.
const ATTEMPTS: usize = 4;
/// How many places of a view are asked for at once.
const AT_ONCE: usize = 8;

/// Rows of a view that have their key and their document in common.
#[derive(Debug)]
pub(crate) struct RowPlace {
    pub(crate) id: String,
    /// As JSON.
    pub(crate) key: String,
    /// How many such rows stand before the first one that is wanted.
    pub(crate) before: u64,
    /// How many are wanted.
    pub(crate) count: u64,
}

/// Who is asked, and through what lens the documents in rows are seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) context: &'a Context,
    pub(crate) lens: &'a Lens,
}

/// Rows that were asked for again, as long as they are counted.
#[derive(Debug)]
pub(crate) struct RowsAgain {
    pub(crate) rows: Vec<Vec<u8>>,
    _share: Share,
}

/// The rows at these places now, and what is known of their documents. None for a document that has not held still.
pub(crate) async fn places(
    means: Means<'_>,
    query: &ViewQuery,
    places: &[RowPlace],
    meanwhile: &mut Meanwhile,
    cache: &mut RevisionCache,
) -> Result<Vec<Option<RowsAgain>>, Cut> {
    let mut found: Vec<Option<RowsAgain>> = places.iter().map(|_| None).collect();
    for _ in 0..ATTEMPTS {
        let open: Vec<(usize, &RowPlace)> = found
            .iter()
            .zip(places)
            .enumerate()
            .filter_map(|(at, (rows, place))| rows.is_none().then_some((at, place)))
            .collect();
        if open.is_empty() {
            break;
        }
        let asked = meanwhile.now();
        let mut rows = Vec::with_capacity(open.len());
        for some in open.chunks(AT_ONCE) {
            let some = some.iter().map(|(_, place)| at(means, query, place));
            rows.extend(try_join_all(some).await?);
        }
        let ids: BTreeSet<&str> = open.iter().map(|(_, place)| place.id.as_str()).collect();
        let wanted = ids.iter().map(|id| RevisionRef::Winner((*id).to_owned()));
        let wanted: Vec<RevisionRef> = wanted.collect();
        let (mut documents, mut pace) = (Vec::with_capacity(wanted.len()), Pace::default());
        while let Some(rest) = wanted
            .get(documents.len()..)
            .filter(|rest| !rest.is_empty())
        {
            documents.extend(means.context.read(rest, &mut pace).await?);
        }
        catch_up(means.context, meanwhile).await?;
        for (wanted, document) in wanted.into_iter().zip(documents) {
            let still = |id| !meanwhile.has_changed(id, asked);
            if wanted.winner().is_some_and(still) {
                cache.keep(wanted, document);
            }
        }
        for ((at, place), rows) in open.into_iter().zip(rows) {
            if !meanwhile.has_changed(&place.id, asked)
                && let Some(found) = found.get_mut(at)
            {
                *found = Some(rows);
            }
        }
    }
    Ok(found)
}

/// Reads what has changed up to now.
pub(crate) async fn catch_up(context: &Context, meanwhile: &mut Meanwhile) -> Result<(), Cut> {
    let caught_up = meanwhile.catch_up(&context.couch, &context.db).await;
    caught_up.map_err(|error| {
        tracing::warn!(%error, "what has changed meanwhile can't be read");
        Cut::Upstream
    })
}

async fn at(means: Means<'_>, query: &ViewQuery, place: &RowPlace) -> Result<RowsAgain, Cut> {
    let mut query = query.clone();
    (query.key, query.keys) = (None, None);
    (query.startkey, query.endkey) = (Some(place.key.clone()), Some(place.key.clone()));
    let id = Some(place.id.clone());
    (query.startkey_docid, query.endkey_docid) = (id.clone(), id);
    query.inclusive_end = true;
    (query.skip, query.limit) = (place.before, Some(place.count));
    let (mut rows, mut share) = (Vec::new(), means.context.share());
    let mut end = PageEnd::default();
    let take = |next: Content<'_>| {
        let row = match next {
            Content::Row(row) | Content::Unread(row) => row,
            Content::Member(name, value) => return end.note(name, value),
        };
        let id = ListRow::read(Row::aside(row))?.id.map(string).transpose()?;
        if id.is_none_or(|id| id != place.id) {
            return Err(JsonError::Expected("a row of the document asked for"));
        }
        // Security: a row may have become any number of times as long as the one that it stands for.
        share.add(row.len()).map_err(|_| JsonError::NoRoom)?;
        rows.push(row.to_vec());
        Ok(())
    };
    read(means, list_part(&query), Frame::Rows("rows"), take).await?;
    Ok(RowsAgain {
        rows,
        _share: share,
    })
}

/// A page of `_find`.
#[derive(Debug, Default)]
pub(crate) struct FoundPage {
    /// Its documents; none for one that is too long.
    pub(crate) documents: Vec<Option<Vec<u8>>>,
    pub(crate) end: PageEnd,
}

/// A page of `_find` as CouchDB makes it now; none if it has become longer than this.
pub(crate) async fn page(
    means: Means<'_>,
    part: Subrequest,
    most: usize,
) -> Result<Option<FoundPage>, Cut> {
    let mut page = FoundPage::default();
    let mut bytes: usize = 0;
    let take = |found: Content<'_>| {
        match found {
            Content::Row(row) => {
                bytes = bytes.saturating_add(row.len());
                let row = (bytes <= most).then(|| row.to_vec());
                page.documents.push(row);
            }
            Content::Unread(_) => page.documents.push(None),
            Content::Member(name, value) => page.end.note(name, value)?,
        }
        Ok(())
    };
    read(means, part, Frame::Rows("docs"), take).await?;
    page.end.rows = u64::try_from(page.documents.len()).unwrap_or(u64::MAX);
    Ok((bytes <= most).then_some(page))
}

/// What an answer holds.
enum Content<'a> {
    Row(&'a [u8]),
    /// What can be told by its beginning of one that is too long.
    Unread(&'a [u8]),
    Member(&'a str, &'a [u8]),
}

/// Reads one answer, and gives away what it holds.
async fn read(
    means: Means<'_>,
    part: Subrequest,
    frame: Frame,
    mut take: impl FnMut(Content<'_>) -> Result<(), JsonError>,
) -> Result<(), Cut> {
    let context = means.context;
    let answer = context.ask(part).await.map_err(|_| Cut::Upstream)?;
    if answer.status() != StatusCode::OK {
        return Err(Cut::Upstream);
    }
    let mut upstream = answer.into_body();
    let mut splitter = Splitter::new(frame, context.largest_row()).passing_over();
    let (mut unread, mut share) = (Vec::new(), context.share());
    loop {
        let frame = upstream.frame().await.transpose()?;
        let ended = frame.is_none();
        match frame {
            Some(frame) => splitter.push(&frame.into_data().unwrap_or_default()),
            None => splitter.finish().map_err(|_| Cut::Filter)?,
        }
        share.set(splitter.buffered()).map_err(|_| Cut::NoRoom)?;
        let read = absorb(&mut splitter, context, &mut take, &mut unread);
        read.map_err(|error| match error == JsonError::NoRoom {
            true => Cut::NoRoom,
            false => Cut::Filter,
        })?;
        if ended {
            break;
        }
    }
    for id in unread {
        if shows_a_leaf(context, means.lens, &id).await? {
            return Err(Cut::Filter);
        }
    }
    Ok(())
}

fn absorb(
    splitter: &mut Splitter,
    context: &Context,
    take: &mut impl FnMut(Content<'_>) -> Result<(), JsonError>,
    unread: &mut Vec<String>,
) -> Result<(), JsonError> {
    while let Some(event) = splitter.next()? {
        match event {
            Event::Row(row) => take(Content::Row(row))?,
            Event::Unread(head) => {
                let Unread { row, id } = Unread::of(head, context)?;
                take(Content::Unread(&row))?;
                unread.push(id);
            }
            Event::Member { key, value } => take(Content::Member(key, value))?,
            Event::Start
            | Event::RowsStart
            | Event::RowsEnd
            | Event::Heartbeat
            | Event::EventId(_)
            | Event::End => {}
        }
    }
    Ok(())
}
