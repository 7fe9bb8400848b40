//! `open_revs`: the leaves of one document, all of them or those that a client has named.
//!
//! Invariant: of the revisions that were named, those that are hidden and those that are absent are answered alike:
//! as missing, behind all others, in the order of CouchDB.

use std::sync::Arc;

use super::documents_in_parts::{Asked, Mixed, boundary_of};
use crate::body::{Cut, boxed};
use crate::exchange::accept::Kind;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::gaps::LeftOut;
use crate::exchange::redact::{Piece, RowOutcome, show};
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rewrite::Subrequest;
use crate::exchange::rows::filter::RowFilter;
use crate::exchange::rows::frame::Layout;
use crate::exchange::rows::limit::Window;
use crate::exchange::rows::pages::OnePage;
use crate::exchange::rows::reply::Reply;
use crate::exchange::rows::stream::{Recipe, Rows};
use crate::exchange::unanswered::Unanswered;
use crate::json::{JsonError, Row, quote};
use crate::policy::Fingerprint;
use crate::policy::Lens;
use crate::refusal::Refusal;

pub(crate) const UNREADABLE: Refusal =
    Refusal::BadGateway("the answer of the database can't be read");

/// Leaves of one document: all, or those that are named.
pub(crate) async fn open_revs(
    context: Context,
    lens: Lens,
    named: Option<Unanswered>,
    part: Subrequest,
) -> Result<Answer, Refusal> {
    let all = named.is_none();
    let upstream = context.first(part).await.map_err(absent)?;
    let filter = OpenRevs {
        lens,
        named,
        left_out: LeftOut::default(),
    };
    let recipe = Recipe::new(OnePage, filter, Layout::Array, Window::ALL);
    let reply = Reply::Begun(boxed(upstream));
    let mut rows = Rows::new(Arc::new(context), recipe, None, reply);
    if all && !rows.shows_something().await.map_err(Cut::refusal)? {
        return Err(Refusal::Missing);
    }
    let headers = crate::exchange::head::filtered();
    Ok(Answer::of(http::StatusCode::OK, headers, rows.into_body()))
}

/// Leaves of one document with their attachments, as CouchDB's replicator reads them.
pub(crate) async fn open_revs_mixed(
    context: Context,
    lens: Lens,
    asked: Asked,
    part: Subrequest,
) -> Result<Answer, Refusal> {
    let all = matches!(asked, Asked::Leaves);
    let upstream = context
        .first_as(Kind::Mixed.name(), part)
        .await
        .map_err(absent)?;
    let boundary = boundary_of(&upstream).ok_or(UNREADABLE)?;
    let upstream = (boxed(upstream.into_body()), boundary.as_slice());
    let mut mixed = Mixed::new(context, Some(lens), asked, upstream);
    if all && !mixed.shows_something().await.map_err(Cut::refusal)? {
        return Err(Refusal::Missing);
    }
    Ok(mixed.into_answer(Kind::Mixed))
}

/// A document that CouchDB does not have is answered like one that is hidden, whatever CouchDB's words.
pub(crate) fn absent(refusal: Refusal) -> Refusal {
    match refusal.status() {
        404 => Refusal::Missing,
        _ => refusal,
    }
}

/// How the leaves of one document are shown.
#[derive(Debug)]
pub(crate) struct OpenRevs {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// Those that were named; none where all are asked for.
    pub(crate) named: Option<Unanswered>,
    /// Those of them that are not given.
    pub(crate) left_out: LeftOut,
}

impl RowFilter for OpenRevs {
    fn row(
        &mut self,
        row: Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let mut seen = RowOutcome::Hidden;
        for member in row.members() {
            let member = member?;
            let mark = out.len();
            match &*member.key {
                "missing" => {}
                "ok" => {
                    out.extend_from_slice(b"{\"ok\":");
                    let start = out.len();
                    seen = show(&self.lens, Piece::Whole(member.value), cache, out)?;
                    match (seen, &mut self.named) {
                        (RowOutcome::Shown, Some(named)) => {
                            let mut shown = out.split_off(start);
                            named.answered_by(&mut shown)?;
                            out.append(&mut shown);
                        }
                        (RowOutcome::Shown, None) => {}
                        (RowOutcome::Hidden | RowOutcome::Pending, _) => {
                            out.truncate(mark);
                            continue;
                        }
                    }
                    out.push(b'}');
                }
                _ => return Err(JsonError::Expected("a row of this endpoint")),
            }
        }
        Ok(seen)
    }

    /// Behind the last leaf: what was named and is missing.
    fn last(&mut self, out: &mut Vec<u8>) -> RowOutcome {
        let missing = self
            .named
            .as_mut()
            .map(Unanswered::take)
            .unwrap_or_default();
        for (index, rev) in missing.iter().enumerate() {
            out.extend_from_slice(if index > 0 {
                b",\r\n{\"missing\":"
            } else {
                b"{\"missing\":"
            });
            quote(rev, out);
            out.push(b'}');
        }
        if missing.is_empty() {
            return RowOutcome::Hidden;
        }
        self.left_out.something();
        RowOutcome::Shown
    }

    fn documents(&self) -> Option<&Lens> {
        Some(&self.lens)
    }

    fn gap(&mut self) -> Option<Fingerprint> {
        let left_out = self.left_out.take();
        left_out.then(|| self.lens.fingerprint())
    }

    fn is_of_two_moments(&self) -> bool {
        false
    }
}
