//! How the rows of an answer are judged and written: what each endpoint says of its own.
//!
//! Invariant: a filter writes a whole row or nothing. What it does not understand is an error, and an
//! error cuts the connection.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::pages::PageEnd;
use crate::body::{Body, Cut, boxed};
use crate::exchange::context::Context;
use crate::exchange::redact::RowOutcome;
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rewrite::Subrequest;
use crate::json::{JsonError, Row, string};
use crate::policy::{Fingerprint, Lens};
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;

/// A part of an answer that has been asked for.
pub(crate) type PendingBody = Pin<Box<dyn Future<Output = Result<Body, Refusal>> + Send>>;

/// Judges and writes the rows of one answer.
pub(crate) trait RowFilter: fmt::Debug + Send {
    /// Judges one row and writes what may be seen of it.
    fn row(
        &mut self,
        row: Row<'_>,
        cache: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError>;

    /// The lens on the documents of its rows; none where rows hold none.
    fn documents(&self) -> Option<&Lens> {
        None
    }

    /// Whether rows that follow each other may come from one document, as it was when the page began.
    fn rows_share_documents(&self) -> bool {
        false
    }

    /// Whether the index that rows come from may have seen another version than the one that they are judged by: not
    /// where each row is judged by the revision that it names, or by no document at all.
    ///
    /// Security: every endpoint must say so itself. (`no_row_is_shown_that_a_hidden_version_has_emitted`)
    fn is_of_two_moments(&self) -> bool;

    /// Whether rows are added up.
    fn adds_up(&self) -> bool {
        false
    }

    /// Whether a row says something without its document.
    fn is_more_than_a_document(&self) -> bool {
        false
    }

    /// The id of the document that such a row is judged by, which is noted as wanted where the row does not hold it.
    fn source(&self, row: Row<'_>, _cache: &mut RevisionCache) -> Result<String, JsonError> {
        member(row, "id")
    }

    /// Asks CouchDB for a part of the answer; `range` is the range of a view that it is for.
    fn ask(
        &self,
        context: &Arc<Context>,
        part: Subrequest,
        _range: Option<&ViewQuery>,
    ) -> PendingBody {
        let context = Arc::clone(context);
        Box::pin(async move { context.first(part).await.map(boxed) })
    }

    /// A page of CouchDB's begins.
    fn begin(&mut self) {}

    /// Writes the row that was kept back until the rows ended, if there is one.
    fn last(&mut self, _out: &mut Vec<u8>) -> RowOutcome {
        RowOutcome::Hidden
    }

    /// The sequence to go on from, as CouchDB wrote it: of the row that was last looked at, or where the feed
    /// began.
    fn place(&self) -> Option<&Vec<u8>> {
        None
    }

    /// All rows up to this sequence have been looked at.
    fn reach(&mut self, _sequence: Vec<u8>) {}

    /// A sequence of CouchDB's for the client.
    fn seal(&self, _sequence: &[u8]) -> Option<String> {
        None
    }

    /// The sequence of the row that was just written, for an event stream.
    fn event_id(&self) -> &str {
        ""
    }

    /// The member behind the rows, where the client may go on. `is_full`: it has got all that it asked for.
    fn member_behind(&self, _end: &PageEnd, _is_full: bool) -> Option<(&'static str, String)> {
        None
    }

    /// Under which rights something was left out that was asked for; told once.
    fn gap(&mut self) -> Option<Fingerprint> {
        None
    }
}

/// A member of a row that holds a text.
pub(crate) fn member(row: Row<'_>, name: &str) -> Result<String, JsonError> {
    for member in row.members() {
        let member = member?;
        if member.key == name {
            return Ok(string(member.value)?.into_owned());
        }
    }
    Err(JsonError::Expected("the id of a row"))
}

/// Why the answer is cut after an error in judging it.
pub(crate) fn broken(error: &JsonError) -> Cut {
    tracing::warn!(%error, "an answer could not be judged and was cut");
    error.into()
}
