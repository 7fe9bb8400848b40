//! Permits without a lens: both bodies stream through untouched, but for those that CouchDB reads in parts, which
//! are taken apart and put together anew (`write::unjudged`).
//!
//! Invariant: what CouchDB says about an error reaches administrators only; JSON of others has one meaning. Nothing
//! that a stored document says of itself, or a function of a design document, becomes a header unless it is one.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, IF_MATCH, RANGE};

use super::answer::Answer;
use super::errors;
use super::generations::check_lengths;
use super::head::is_whole;
use super::parts::multipart::Several;
use super::read::documents_in_parts::{boundary_of, everything};
use super::write::attachments::{check, check_stored};
use super::write::bodies::storable;
use super::write::leaves::far_revisions;
use super::write::stored::may_follow;
use super::write::unjudged;
use super::write::written::new_id;
use super::{Exchange, Permitted, database};
use crate::budget::Budget;
use crate::intake::Intake;
use crate::intake::json_body;
use crate::json::{FieldPath, Value};
use crate::policy::Permit;
use crate::refusal::Refusal;
use crate::route::{Call, DatabaseCall, DocId, Maintenance, Method, Rev, Route};

const NO_HEADER: Refusal = Refusal::BadGateway("the type of this attachment is no header");

impl Exchange {
    /// No lens: both bodies stream through untouched.
    pub(crate) async fn pass(&self, request: Permitted) -> Result<Answer, Refusal> {
        let Permitted {
            permit,
            judged,
            lease,
            intake,
        } = request;
        let route = permit.route();
        if let Some(several) = Several::of(route, intake.header(&CONTENT_TYPE))? {
            return self.in_parts(permit, several, &[], intake).await;
        }
        let administrator = permit.caller().is_administrator();
        storable(route)?;
        let budget = Arc::clone(&intake.budget);
        self.is_fit_to_copy(&permit, &budget).await?;
        let mut intake = match administrator {
            true => intake,
            false => self.read_one_way(&permit, intake).await?,
        };
        let reads = matches!(route.method, Method::Get | Method::Head);
        let fetches = route.attachment().is_some() && reads;
        if fetches {
            intake.request_id = unguessable(&intake.request_id)?;
            // Of several ranges each would come in a part, the stored type in its head. Any `Range` may be ignored
            // (RFC 9110 section 14.2).
            if intake
                .header(&RANGE)
                .is_some_and(|ranges| ranges.contains(','))
            {
                intake.headers.remove(RANGE);
            }
        }
        let request_id = intake.request_id.clone();
        let answer = self.in_turn(&permit, judged.as_deref(), intake).await?;
        let failed = answer.status().is_client_error() || answer.status().is_server_error();
        if failed && !administrator {
            return Err(errors::refusal(answer).await);
        }
        if fetches && !failed {
            return match answer.status().is_success() && !is_whole(&answer, &request_id) {
                true => Err(NO_HEADER),
                false => Ok(Answer::attachment(answer)),
            };
        }
        if let Some(boundary) = boundary_of(&answer).filter(|_| !failed && shows_documents(route)) {
            let context = self.context(permit, &budget, None)?;
            return everything(context, answer, &boundary).await;
        }
        // A function may name any header.
        let all_headers = administrator && !route.runs_a_function();
        Ok(Answer::verbatim(answer, all_headers, lease))
    }

    /// Security: what stands in a stored document already goes no further. What is changed between this look and the
    /// copy can be copied; who changes it could as well write the copy.
    /// (`a_copy_stores_no_type_that_is_no_header`)
    async fn is_fit_to_copy(&self, permit: &Permit, budget: &Arc<Budget>) -> Result<(), Refusal> {
        let Call::Database {
            db,
            call: DatabaseCall::CopyDocument { from, .. },
        } = &permit.route().call
        else {
            return Ok(());
        };
        let couch = self.couch.counted(budget);
        let query = permit.route().query.document()?;
        let stored = match &query.rev {
            Some(rev) => {
                let wanted = [(from.as_str(), Some(rev.as_str()))];
                let found = couch.read_revisions(db, &wanted).await?;
                found.into_iter().flatten().next()
            }
            None => couch.read_one(db, from).await?,
        };
        stored.map_or(Ok(()), |stored| check_stored(&stored))
    }

    /// A body of several parts, from somebody whom no rule binds; in a tombstone these fields are kept.
    pub(super) async fn in_parts(
        &self,
        permit: Permit,
        several: Several,
        fields: &[FieldPath],
        intake: Intake,
    ) -> Result<Answer, Refusal> {
        let administrator = permit.caller().is_administrator();
        let context = self.context(permit, &intake.budget, None)?;
        let with = (&self.turns, &self.limits);
        let answer = match several {
            Several::Related => unjudged::related(&context, fields, with, intake).await?,
            Several::Form => unjudged::form(&context, fields, with, intake).await?,
        };
        if !answer.status().is_success() && !administrator {
            return Err(errors::refusal(answer).await);
        }
        let answer = Answer::verbatim(answer, administrator, None);
        Ok(match several {
            Several::Related => answer,
            Several::Form => answer.without_place(),
        })
    }

    /// Security: JSON that two readers could read differently goes no further, lens or not. Batches have a lens.
    /// (`json_that_can_be_read_in_two_ways_is_refused_without_a_lens_too`)
    async fn read_one_way(&self, permit: &Permit, intake: Intake) -> Result<Intake, Refusal> {
        let route = permit.route();
        if names_revisions(route) {
            let (intake, bytes) = self.whole(intake).await?;
            check_lengths(&bytes)?;
            return Ok(intake.with_body(bytes, &self.limits));
        }
        let writes = matches!(route.method, Method::Put | Method::Post);
        if !(writes && route.document().is_some()) {
            let (tag, budget) = (intake.header(&IF_MATCH), &intake.budget);
            self.follows(permit, None, tag, budget).await?;
            return Ok(intake);
        }
        let (intake, bytes) = self.whole(intake).await?;
        let document = json_body::value(&bytes)?;
        check(&document)?;
        let (tag, budget) = (intake.header(&IF_MATCH), &intake.budget);
        self.follows(permit, Some(&document), tag, budget).await?;
        Ok(intake.with_body(bytes, &self.limits))
    }

    /// Whether the generation that a write names can have been reached.
    async fn follows(
        &self,
        permit: &Permit,
        document: Option<&Value>,
        if_match: Option<&str>,
        budget: &Arc<Budget>,
    ) -> Result<(), Refusal> {
        let route = permit.route();
        let Some((id, to)) = written(route) else {
            return Ok(());
        };
        let query = route.query.document()?;
        // What else a copy names is its source.
        let copies = route.method == Method::Copy;
        let named = [query.rev.as_ref().filter(|_| !copies), to];
        let if_match = if_match.filter(|_| !copies);
        let forced = query.new_edits == Some(false);
        let far = far_revisions(document, &named, if_match, forced)?;
        let couch = self.couch.counted(budget);
        may_follow(&couch, (&database(permit)?, id), &far, forced).await
    }
}

/// The document that a request with one in its path writes, and the revision that a copy replaces.
fn written(route: &Route) -> Option<(&DocId, Option<&Rev>)> {
    let Call::Database { db: _, call } = &route.call else {
        return None;
    };
    if !route.may_write() {
        return None;
    }
    if let DatabaseCall::CopyDocument { to, to_rev, .. } = call {
        return Some((to, to_rev.as_ref()));
    }
    let of_attachment = route.attachment().map(|(doc, _)| doc);
    Some((route.document().or(of_attachment)?, None))
}

/// Is the answer made of documents, in whose parts CouchDB writes what they say of their attachments?
fn shows_documents(route: &Route) -> bool {
    let Call::Database { db: _, call } = &route.call else {
        return false;
    };
    let one = route.method == Method::Get && matches!(call, DatabaseCall::Document(_));
    one || matches!(call, DatabaseCall::BulkGet)
}

/// Does the body name revisions that CouchDB reads?
fn names_revisions(route: &Route) -> bool {
    matches!(
        &route.call,
        Call::Database {
            db: _,
            call: DatabaseCall::BulkGet
                | DatabaseCall::RevsDiff
                | DatabaseCall::MissingRevs
                | DatabaseCall::Maintain(Maintenance::Purge)
        }
    )
}

/// A name for the request that nobody could have put into the answer before it was asked. CouchDB takes up to 36
/// letters.
fn unguessable(request_id: &str) -> Result<String, Refusal> {
    let random = new_id().ok_or(Refusal::Internal("no random bytes"))?;
    Ok(format!("{request_id:.16}-{random:.16}"))
}
