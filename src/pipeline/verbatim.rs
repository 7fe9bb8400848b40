//! Permits without a lens: both bodies stream through untouched, but for those that CouchDB reads in parts, which
//! are taken apart and put together anew (`filter::unjudged`).
//!
//! Invariant: what CouchDB says about an error reaches administrators only; JSON of others has one meaning.

use http::header::CONTENT_TYPE;

use super::Pipeline;
use crate::filter::answer::Answer;
use crate::filter::errors;
use crate::filter::lease::Lease;
use crate::filter::unjudged;
use crate::inspect;
use crate::inspect::multipart::Several;
use crate::intake::Intake;
use crate::json::FieldPath;
use crate::policy::Permit;
use crate::refusal::Refusal;
use crate::route::Method;

impl Pipeline {
    /// No lens: both bodies stream through untouched.
    pub(super) async fn pass(
        &self,
        permit: Permit,
        rev: Option<String>,
        lease: Option<Lease>,
        intake: Intake,
    ) -> Result<Answer, Refusal> {
        let route = permit.route();
        if let Some(several) = Several::of(route, intake.header(&CONTENT_TYPE))? {
            return self.in_parts(permit, several, &[], intake).await;
        }
        let administrator = permit.caller().is_administrator();
        let attachment = route.attachment().is_some();
        let intake = match administrator {
            true => intake,
            false => self.read_one_way(&permit, intake).await?,
        };
        let answer = self.in_turn(&permit, rev.as_deref(), intake).await?;
        let failed = answer.status().is_client_error() || answer.status().is_server_error();
        if failed && !administrator {
            return Err(errors::refusal(answer).await);
        }
        let answer = Answer::verbatim(answer, administrator, lease);
        Ok(match !administrator && attachment {
            true => answer.sandboxed(),
            false => answer,
        })
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
        let asker = self.asker(permit)?;
        let with = (&self.turns, &self.limits);
        let answer = match several {
            Several::Related => unjudged::related(&asker, fields, with, intake).await?,
            Several::Form => unjudged::form(&asker, fields, with, intake).await?,
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
        let writes = matches!(route.method, Method::Put | Method::Post);
        if !(writes && route.document().is_some()) {
            return Ok(intake);
        }
        let (intake, bytes) = self.whole(intake).await?;
        inspect::value(&bytes)?;
        Ok(intake.with_body(bytes, &self.limits))
    }
}
