//! Documents with their attachments in several parts, seen through a lens: `multipart/related` for one document,
//! `multipart/mixed` for several, laid out as `couch_httpd_multipart` and `chttpd_db` lay them out.
//!
//! Each document is judged and cut before its attachments pass; those that are hidden are left out. Who may see all of
//! them has them read likewise, for what their writers have stored must not become the head of a part. How many follow,
//! their heads and how long they are is known from the document, so neither a name nor anything inside an attachment
//! can be taken for the end of one.
//!
//! Invariant: memory holds one document and one chunk of an attachment; what does not fit its document is a cut.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;

use crate::body::{Body, Cut, boxed, full};
use crate::client::Answered;
use crate::exchange::accept::Kind;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::gaps::{LeftOut, NamedInBatch};
use crate::exchange::head::verbatim;
use crate::exchange::parts::answers::{Head, Parts, boundary};
use crate::exchange::read::judged::{Attachment, Document, is_sound, judge_readable};
use crate::exchange::rows::oversized::pass_over;
use crate::exchange::unanswered::Unanswered;
use crate::json::quote;
use crate::policy::Lens;
use crate::refusal::Refusal;

const DOCUMENT: &[u8] = b"\r\nContent-Type: application/json\r\n\r\n";
const MISSING: &[u8] = b"\r\nContent-Type: application/json; error=\"true\"\r\n\r\n";
/// What a replicator can write in place of a document that it is not given: a `_local` one, which is nobody's leaf, takes
/// no sequence and travels no further.
const NOTHING: &[u8] = br#"{"_id":"_local/couchwarden-not-given","_rev":"0-1"}"#;

/// Which documents were asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Those of a `_bulk_get`: what is hidden or missing is left out.
    Bulk(NamedInBatch),
    /// All leaves of one.
    Leaves,
    /// Those leaves that were named: what is hidden or absent is missing.
    Named(Unanswered),
    /// Whatever it is, by somebody who may see all of it: what is missing stays, in CouchDB's words and order.
    Anything,
    /// Those that CouchDB's replicator has named. It dies of what is missing (`missing_doc` in
    /// `couch_replicator_worker`), so that is left out; and of an answer without any part (`couch_httpd` parses the head
    /// of one first), so where nothing is left there is [`NOTHING`].
    Replicated(Unanswered),
}

/// Several documents on their way.
#[derive(Debug)]
pub(crate) struct Mixed {
    context: Context,
    /// None for who sees everything.
    lens: Option<Lens>,
    parts: Parts,
    /// `\r\n--` and the boundary of CouchDB's answer, which is ours too.
    mark: Vec<u8>,
    asked: Asked,
    /// What is left of the document that is being passed on.
    attachments: Option<(Attachments, Document)>,
    out: Vec<u8>,
    shown: usize,
    /// Is it an answer of `_bulk_get`?
    is_bulk: bool,
    /// What was asked for and is not given.
    left_out: LeftOut,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Parts,
    Done,
}

/// The attachments of one document on their way.
#[derive(Debug)]
struct Attachments {
    /// `\r\n--` and the boundary between them.
    mark: Vec<u8>,
    waiting: VecDeque<Attachment>,
    /// How many bytes of the current one are to come, and whether they are shown.
    current: Option<(u64, bool)>,
    /// Whether any of them is shown: else the document stands alone.
    shown: bool,
}

impl Attachments {
    fn of(document: &mut Document, mark: Vec<u8>) -> Self {
        let waiting = mem::take(&mut document.attachments);
        Self {
            mark,
            shown: waiting.iter().any(|attachment| attachment.shown),
            waiting,
            current: None,
        }
    }

    /// The document itself, in front of its attachments.
    fn open(&self, json: &[u8], out: &mut Vec<u8>) {
        if self.shown {
            out.extend_from_slice(self.mark.get(2..).unwrap_or_default());
            out.extend_from_slice(DOCUMENT);
        }
        out.extend_from_slice(json);
        if self.shown {
            out.extend_from_slice(&self.mark);
        }
    }

    /// Passes one chunk or one head on; false behind the last one.
    async fn step(&mut self, parts: &mut Parts, out: &mut Vec<u8>) -> Result<bool, Cut> {
        match self.current {
            Some((0, shown)) => {
                parts.expect(&self.mark).await?;
                if shown {
                    out.extend_from_slice(&self.mark);
                }
            }
            Some((left, shown)) => {
                let data = parts.data(left).await?;
                if shown {
                    out.extend_from_slice(&data);
                }
                self.current = Some((left.saturating_sub(data.len() as u64), shown));
                return Ok(true);
            }
            None => {}
        }
        let Some(next) = self.waiting.pop_front() else {
            parts.expect(b"--").await?;
            if self.shown {
                out.extend_from_slice(b"--");
            }
            return Ok(false);
        };
        parts.expect(&next.head).await?;
        if next.shown {
            out.extend_from_slice(&next.head);
        }
        self.current = Some((next.length, next.shown));
        Ok(true)
    }
}

/// The boundary of an answer in several parts; none for JSON.
pub(crate) fn boundary_of(upstream: &Response<Answered>) -> Option<Vec<u8>> {
    boundary(upstream.headers().get(CONTENT_TYPE)?.to_str().ok()?)
}

fn mark(boundary: &[u8]) -> Vec<u8> {
    [b"\r\n--", boundary].concat()
}

/// One document and its attachments on their way.
#[derive(Debug)]
pub(crate) struct WithParts {
    parts: Parts,
    attachments: Attachments,
    out: Vec<u8>,
    rev: String,
    /// Nothing of it stands anywhere else than CouchDB has put it.
    pub(crate) is_unchanged: bool,
}

impl WithParts {
    /// Reads the document. Who has no lens sees everything.
    ///
    /// # Errors
    ///
    /// [`Refusal::Missing`] where it may not be seen.
    pub(crate) async fn read(
        context: &Context,
        lens: Option<&Lens>,
        upstream: Body,
        boundary: &[u8],
    ) -> Result<Self, Refusal> {
        let mut parts = Parts::new(upstream, context.share());
        let mark = mark(boundary);
        let read = read(context, lens, &mut parts, &mark).await;
        let mut document = read.map_err(Cut::refusal)?.ok_or(Refusal::Missing)?;
        let json = document.json.take().ok_or(Refusal::Missing)?;
        let attachments = Attachments::of(&mut document, mark);
        let mut out = Vec::new();
        attachments.open(&json, &mut out);
        if !attachments.shown {
            out.push(b'\n');
        }
        Ok(Self {
            parts,
            out,
            rev: document.rev,
            is_unchanged: lens.is_none() && attachments.waiting.iter().all(|one| one.shown),
            attachments,
        })
    }

    /// Does anything follow the document?
    pub(crate) fn has_parts(&self) -> bool {
        self.attachments.shown
    }

    /// The answer, and the revision.
    pub(crate) fn into_answer(self, boundary: &[u8]) -> (Answer, String) {
        let rev = self.rev.clone();
        if !self.has_parts() {
            return (Answer::json(self.out), rev);
        }
        (typed(Kind::Related, boundary, self.into_body()), rev)
    }

    /// All of it.
    pub(crate) fn into_body(self) -> Body {
        let Self {
            parts,
            attachments,
            out,
            ..
        } = self;
        if !attachments.shown {
            return full(out);
        }
        let start = Some((parts, attachments, out));
        let chunks = stream::try_unfold(start, |state| async move {
            let Some((mut parts, mut attachments, mut out)) = state else {
                return Ok(None);
            };
            let mut more = true;
            while more && out.is_empty() {
                more = attachments.step(&mut parts, &mut out).await?;
            }
            if !more {
                parts.end().await?;
            }
            let chunk = BodyFrame::data(Bytes::from(mem::take(&mut out)));
            Ok(Some((chunk, more.then_some((parts, attachments, out)))))
        });
        boxed(StreamBody::new(chunks))
    }
}

/// CouchDB's answer, with these boundaries, for somebody who may see all of it: as it came, but that what would break
/// out of the head of a part stands inside its document.
///
/// # Errors
///
/// Where it is none of CouchDB's.
pub(crate) async fn everything(
    context: Context,
    upstream: Response<Answered>,
    boundary: &[u8],
) -> Result<Answer, Refusal> {
    let (head, body) = upstream.into_parts();
    let mut headers = verbatim(&head.headers, context.permit.caller().is_administrator());
    let kind = headers.get(CONTENT_TYPE);
    let related =
        kind.is_some_and(|kind| kind.as_bytes().starts_with(Kind::Related.name().as_bytes()));
    let upstream = boxed(body);
    // `_bulk_get` has several documents, whatever it calls them.
    let body = if related && context.permit.route().document().is_some() {
        let related = WithParts::read(&context, None, upstream, boundary).await?;
        if !related.is_unchanged {
            headers.remove(CONTENT_LENGTH);
        }
        if !related.has_parts() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        related.into_body()
    } else {
        headers.remove(CONTENT_LENGTH);
        let upstream = (upstream, boundary);
        Mixed::new(context, None, Asked::Anything, upstream).into_body()
    };
    Ok(Answer::of(head.status, headers, body))
}

/// The document in front of its attachments, judged; none where it can't be, and none of it may be seen.
async fn read(
    context: &Context,
    lens: Option<&Lens>,
    parts: &mut Parts,
    mark: &[u8],
) -> Result<Option<Document>, Cut> {
    parts.expect(mark.get(2..).unwrap_or_default()).await?;
    parts.head().await?;
    taken(context, lens, parts, mark).await
}

/// The document before this mark, likewise.
async fn taken(
    context: &Context,
    lens: Option<&Lens>,
    parts: &mut Parts,
    mark: &[u8],
) -> Result<Option<Document>, Cut> {
    let begins = match parts.until_or_past(mark, context.largest_row()).await? {
        Ok(bytes) => match judge_readable(context, lens, &bytes).await? {
            Some(document) => return Ok(Some(document)),
            None => bytes,
        },
        Err(begins) => begins,
    };
    // Who may see everything would take the rest for all that there is.
    pass_over(context, lens.ok_or(Cut::Filter)?, &begins).await?;
    Ok(None)
}

fn typed(kind: Kind, boundary: &[u8], body: Body) -> Answer {
    let boundary = String::from_utf8_lossy(boundary);
    let media_type = format!("{}; boundary=\"{boundary}\"", kind.name());
    let mut headers = crate::exchange::head::filtered();
    if let Ok(media_type) = HeaderValue::from_str(&media_type) {
        headers.insert(CONTENT_TYPE, media_type);
    }
    Answer::of(StatusCode::OK, headers, body)
}

/// The head of a document that has parts of its own. `_bulk_get` names the document, as it is stored.
///
/// Security: an id may hold a line end. (`what_is_stored_becomes_no_head_of_a_part`)
fn write_head(head: &Head, document: &Document, out: &mut Vec<u8>) {
    if head.value("x-doc-id").is_some() && is_sound(&document.id) && is_sound(&document.rev) {
        let named = format!(
            "\r\nX-Doc-Id: {}\r\nX-Rev-Id: {}",
            document.id, document.rev
        );
        out.extend_from_slice(named.as_bytes());
    }
    // As it came: with quotes or without.
    let kind = head.value("content-type").unwrap_or_default();
    out.extend_from_slice(b"\r\nContent-Type: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

fn missing(rev: &str, mark: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(MISSING);
    out.extend_from_slice(b"{\"missing\":");
    quote(rev, out);
    out.push(b'}');
    out.extend_from_slice(mark);
}

impl Mixed {
    /// `boundary` is that of CouchDB's answer.
    pub(crate) fn new(
        context: Context,
        lens: Option<Lens>,
        asked: Asked,
        (upstream, boundary): (Body, &[u8]),
    ) -> Self {
        Self {
            parts: Parts::new(upstream, context.share()),
            context,
            lens,
            mark: mark(boundary),
            asked,
            attachments: None,
            out: Vec::new(),
            shown: 0,
            is_bulk: false,
            left_out: LeftOut::default(),
            state: State::Start,
        }
    }

    /// Reads on until a document is shown or there are no more; whether anything was shown.
    pub(crate) async fn shows_something(&mut self) -> Result<bool, Cut> {
        while self.shown == 0 && self.state != State::Done {
            self.step().await?;
        }
        Ok(self.shown > 0)
    }

    /// The answer, of this kind.
    pub(crate) fn into_answer(self, kind: Kind) -> Answer {
        let boundary = self.mark.get(4..).unwrap_or_default().to_vec();
        typed(kind, &boundary, self.into_body())
    }

    /// All of it.
    pub(crate) fn into_body(self) -> Body {
        let chunks = stream::try_unfold(self, |mut mixed| async move {
            while mixed.out.is_empty() && mixed.state != State::Done {
                mixed.step().await?;
            }
            if let Some(lens) = mixed.lens.as_ref().filter(|_| mixed.left_out.take()) {
                mixed.context.note_gap(lens.fingerprint()).await?;
            }
            let out = mem::take(&mut mixed.out);
            Ok((!out.is_empty()).then(|| (BodyFrame::data(Bytes::from(out)), mixed)))
        });
        boxed(StreamBody::new(chunks))
    }

    async fn step(&mut self) -> Result<(), Cut> {
        if let Some((attachments, document)) = &mut self.attachments {
            if !attachments.step(&mut self.parts, &mut self.out).await? {
                let document = mem::take(document);
                self.attachments = None;
                self.parts.expect(&self.mark).await?;
                self.close(&document);
            }
            return Ok(());
        }
        match self.state {
            State::Start => self.start().await,
            State::Parts if self.parts.next_is(b"--").await? => {
                self.parts.end().await?;
                self.finish();
                Ok(())
            }
            State::Parts => self.part().await,
            State::Done => Ok(()),
        }
    }

    fn finish(&mut self) {
        let (missing, answered) = match &mut self.asked {
            Asked::Named(named) | Asked::Replicated(named) => (named.take(), true),
            Asked::Bulk(batch) => (Vec::new(), batch.is_answered()),
            Asked::Leaves | Asked::Anything => (Vec::new(), true),
        };
        if !missing.is_empty() || !answered {
            self.left_out.something();
        }
        if !matches!(self.asked, Asked::Replicated(_)) {
            for rev in missing {
                self::missing(&rev, &self.mark, &mut self.out);
            }
        } else if self.shown == 0 {
            for piece in [DOCUMENT, NOTHING, &self.mark] {
                self.out.extend_from_slice(piece);
            }
        }
        self.out.extend_from_slice(b"--");
        if self.is_bulk {
            self.out.extend_from_slice(b"\r\n");
        }
        self.state = State::Done;
    }

    /// `_bulk_get` begins with the end of a line.
    async fn start(&mut self) -> Result<(), Cut> {
        self.is_bulk = self.parts.next_is(b"\r\n").await?;
        if self.is_bulk {
            self.out.extend_from_slice(b"\r\n");
        }
        let first = self.mark.get(2..).unwrap_or_default();
        self.parts.expect(first).await?;
        self.out.extend_from_slice(first);
        self.state = State::Parts;
        Ok(())
    }

    async fn part(&mut self) -> Result<(), Cut> {
        let head = self.parts.head().await?;
        let Some(boundary) = head.boundary() else {
            return self
                .alone(head.value("content-type").unwrap_or_default())
                .await;
        };
        let mark = mark(&boundary);
        let lens = self.lens.as_ref();
        let read = read(&self.context, lens, &mut self.parts, &mark).await;
        let Some(mut document) = read? else {
            // What is left of it are its attachments; nobody can have guessed this mark to put it into one.
            return self.parts.past(&self.mark).await;
        };
        self.note(&mut document)?;
        let attachments = Attachments::of(&mut document, mark);
        if let Some(json) = &document.json {
            match attachments.shown {
                true => write_head(&head, &document, &mut self.out),
                false => self.out.extend_from_slice(DOCUMENT),
            }
            attachments.open(json, &mut self.out);
        }
        self.attachments = Some((attachments, document));
        Ok(())
    }

    /// A document without attachments, or an error in the place of one.
    async fn alone(&mut self, media_type: &str) -> Result<(), Cut> {
        match media_type {
            "application/json" => {
                let lens = self.lens.as_ref();
                let taken = taken(&self.context, lens, &mut self.parts, &self.mark).await;
                let Some(mut document) = taken? else {
                    return Ok(());
                };
                self.note(&mut document)?;
                if !document.attachments.is_empty() {
                    return Err(Cut::Filter);
                }
                if let Some(json) = &document.json {
                    self.out.extend_from_slice(DOCUMENT);
                    self.out.extend_from_slice(json);
                }
                self.close(&document);
                Ok(())
            }
            "application/json; error=\"true\"" if matches!(self.asked, Asked::Anything) => {
                let missing = self.parts.until(&self.mark, self.context.largest_row());
                let missing = missing.await?;
                self.out.extend_from_slice(MISSING);
                self.out.extend_from_slice(&missing);
                self.out.extend_from_slice(&self.mark);
                Ok(())
            }
            // Of what was named and is missing we speak ourselves.
            "application/json; error=\"true\"" => self.parts.past(&self.mark).await,
            _ => Err(Cut::Filter),
        }
    }

    /// Notes which leaves a document that is shown stands for.
    fn note(&mut self, document: &mut Document) -> Result<(), Cut> {
        match (&mut self.asked, &mut document.json) {
            (Asked::Named(named) | Asked::Replicated(named), Some(json)) => {
                named.answered_by(json).map_err(|_| Cut::Filter)
            }
            (
                Asked::Bulk(_)
                | Asked::Leaves
                | Asked::Named(_)
                | Asked::Replicated(_)
                | Asked::Anything,
                _,
            ) => Ok(()),
        }
    }

    /// Behind a document.
    fn close(&mut self, document: &Document) {
        if document.json.is_some() {
            self.out.extend_from_slice(&self.mark);
            self.shown += 1;
            if let Asked::Bulk(batch) = &mut self.asked {
                batch.answered_by(&document.id, &document.rev);
            }
        }
    }
}
