//! One document under a lens, and the batches that replication reads: `open_revs`, `_bulk_get`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http_body_util::BodyExt as _;

use crate::body::Cut;
use crate::client::Answered;
use crate::filter::answer::{Answer, first, rows_answer};
use crate::filter::ask::Asker;
use crate::filter::head::{etag, matches};
use crate::filter::known::Known;
use crate::filter::layout::Layout;
use crate::filter::pages::{Pages, Part};
use crate::filter::rows::{Judge, OpenRevs};
use crate::filter::sight::{Piece, Seen, show};
use crate::filter::stream::{Recipe, Rows};
use crate::filter::window::Window;
use crate::filter::writes;
use crate::inspect;
use crate::json::{Event, Frame, Splitter, Value, members, string};
use crate::policy::Lens;
use crate::refusal::Refusal;
use crate::route::query::{DocumentQuery, OpenRevs as Asked};
use crate::route::{Method, Rev};

/// How often a document may ask for further revisions (its conflicts) before it is given up.
const ROUNDS: usize = 4;

/// `GET` or `HEAD` of one document.
pub(crate) async fn document(
    asker: Asker,
    lens: Lens,
    if_none_match: Option<&str>,
) -> Result<Answer, Refusal> {
    let mut query = asker.permit.route().query.document()?;
    // A local sequence counts what the caller does not see.
    query.local_seq = false;
    if query.open_revs.is_some() {
        return open_revs(asker, lens, query).await;
    }
    let part = Part {
        method: Method::Get,
        query: query.pairs(),
        body: None,
    };
    let upstream = first(&asker, part).await.map_err(absent)?;
    let bytes = whole(upstream, asker.largest_row())
        .await
        .map_err(Cut::refusal)?;
    let mut known = Known::default();
    let mut out = Vec::with_capacity(bytes.len());
    for _ in 0..ROUNDS {
        match show(&lens, Piece::Whole(&bytes), &mut known, &mut out)
            .map_err(|_| Cut::Filter.refusal())?
        {
            Seen::Hidden => return Err(Refusal::Missing),
            Seen::Shown => {
                let tag = rev(&bytes).and_then(|rev| etag(&rev, &lens.fingerprint()));
                return Ok(tagged(out, tag, if_none_match));
            }
            Seen::Later => {
                let wanted = known.take_missing();
                for (wanted, document) in asker.read(wanted).await.map_err(Cut::refusal)? {
                    known.learn(wanted, document);
                }
            }
        }
    }
    Err(Refusal::Internal)
}

fn tagged(
    mut bytes: Vec<u8>,
    tag: Option<http::HeaderValue>,
    if_none_match: Option<&str>,
) -> Answer {
    match (tag, if_none_match) {
        (Some(tag), Some(listed)) if matches(listed, &tag) => Answer::not_modified(tag),
        (tag, _) => {
            bytes.push(b'\n');
            let answer = Answer::json(bytes);
            match tag {
                Some(tag) => answer.header(ETAG, tag),
                None => answer,
            }
        }
    }
}

/// Leaves of one document: all, or those that are named.
async fn open_revs(asker: Asker, lens: Lens, query: DocumentQuery) -> Result<Answer, Refusal> {
    let all = query.open_revs == Some(Asked::All);
    // With `latest` a named revision is answered by its descendant, whose name is not the client's.
    let named = !all && !query.latest;
    let part = Part {
        method: Method::Get,
        query: query.pairs(),
        body: None,
    };
    let upstream = first(&asker, part).await.map_err(absent)?;
    let judge = Judge::OpenRevs(OpenRevs { lens, named });
    let recipe = Recipe {
        pages: Pages::Single,
        judge,
        layout: Layout::Array,
        window: Window::ALL,
        pulse: None,
    };
    let mut rows = Rows::new(Arc::new(asker), recipe, upstream);
    if (all || !named) && !rows.shows_something().await.map_err(Cut::refusal)? {
        let Some(Asked::List(asked)) = &query.open_revs else {
            return Err(Refusal::Missing);
        };
        // Nothing that he may see has come of these: they are answered as missing, one by one.
        let missing = |rev: &Rev| writes::object([("missing", Value::from(rev.as_str()))]);
        return Ok(Answer::json(
            Value::Array(asked.iter().map(missing).collect()).to_bytes(),
        ));
    }
    let headers = super::head::filtered();
    Ok(Answer::of(http::StatusCode::OK, headers, rows.into_body()))
}

/// `_bulk_get`: many revisions at once.
pub(crate) async fn bulk_get(asker: Asker, lens: Lens, body: Bytes) -> Result<Answer, Refusal> {
    let body = inspect::value(&body)?;
    if body.get("docs").and_then(Value::as_array).is_none() {
        return Err(Refusal::BadRequest("Missing JSON list of 'docs'."));
    }
    let mut query = asker.permit.route().query.document()?;
    query.local_seq = false;
    let part = Part {
        method: Method::Post,
        query: query.pairs(),
        body: Some(body.to_bytes()),
    };
    let layout = Layout::Rows("results");
    let judge = Judge::BulkGet(lens);
    let recipe = Recipe {
        pages: Pages::Single,
        judge,
        layout,
        window: Window::ALL,
        pulse: None,
    };
    rows_answer(Arc::new(asker), part, recipe).await
}

/// A document that CouchDB does not have is answered like one that is hidden, whatever CouchDB's words.
fn absent(refusal: Refusal) -> Refusal {
    match refusal.status() {
        404 => Refusal::Missing,
        _ => refusal,
    }
}

/// The body of one document.
async fn whole(mut upstream: Answered, limit: usize) -> Result<Vec<u8>, Cut> {
    let mut splitter = Splitter::new(Frame::Document, limit);
    let mut document = Vec::new();
    loop {
        let data = match upstream.frame().await.transpose()? {
            Some(frame) => frame.into_data().unwrap_or_default(),
            None => break,
        };
        splitter.push(&data);
        drain(&mut splitter, &mut document)?;
    }
    splitter.finish().map_err(|_| Cut::Filter)?;
    drain(&mut splitter, &mut document)?;
    Ok(document)
}

fn drain(splitter: &mut Splitter, document: &mut Vec<u8>) -> Result<(), Cut> {
    while let Some(event) = splitter.next().map_err(|_| Cut::Filter)? {
        if let Event::Row(bytes) = event {
            document.extend_from_slice(bytes);
        }
    }
    Ok(())
}

fn rev(document: &[u8]) -> Option<String> {
    members(document).find_map(|member| {
        let member = member.ok().filter(|member| member.key == "_rev")?;
        Some(string(member.value).ok()?.into_owned())
    })
}
