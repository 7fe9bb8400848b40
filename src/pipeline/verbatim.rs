//! Permits without a lens: both bodies stream through untouched.
//!
//! Invariant: what CouchDB says about an error reaches administrators only; JSON of others has one meaning.

use http::header::CONTENT_TYPE;

use super::Pipeline;
use crate::filter::answer::Answer;
use crate::filter::errors;
use crate::filter::lease::Lease;
use crate::inspect;
use crate::intake::Intake;
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
        let administrator = permit.caller().is_administrator();
        let attachment = permit.route().attachment().is_some();
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

    /// Security: JSON that two readers could read differently goes no further, lens or not.
    /// (`json_that_can_be_read_in_two_ways_is_refused`)
    async fn read_one_way(&self, permit: &Permit, intake: Intake) -> Result<Intake, Refusal> {
        let route = permit.route();
        let json = !intake
            .header(&CONTENT_TYPE)
            .is_some_and(|kind| kind.starts_with("multipart/"));
        let writes = matches!(route.method, Method::Put | Method::Post);
        if !(json && writes && route.document().is_some()) {
            return Ok(intake);
        }
        let (intake, bytes) = self.whole(intake).await?;
        inspect::value(&bytes)?;
        Ok(intake.with_body(bytes, &self.limits))
    }
}
