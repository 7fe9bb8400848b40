//! Permits without a lens: both bodies stream through untouched.
//!
//! Invariant: what CouchDB says about an error reaches administrators only; JSON of others has one meaning.

use http::header::CONTENT_TYPE;

use super::Pipeline;
use super::writes::FORM;
use crate::body::full;
use crate::filter::answer::Answer;
use crate::filter::errors;
use crate::filter::lease::Lease;
use crate::inspect;
use crate::inspect::form::Form;
use crate::inspect::related::Related;
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

    /// Security: JSON that two readers could read differently goes no further, lens or not. Batches have a lens.
    /// (`json_that_can_be_read_in_two_ways_is_refused_without_a_lens_too`)
    async fn read_one_way(&self, permit: &Permit, intake: Intake) -> Result<Intake, Refusal> {
        let route = permit.route();
        let writes = matches!(route.method, Method::Put | Method::Post);
        if !(writes && route.document().is_some()) {
            return Ok(intake);
        }
        let kind = intake.header(&CONTENT_TYPE).unwrap_or_default().to_owned();
        let (intake, bytes) = self.whole(intake).await?;
        let document = if route.method == Method::Post && kind.starts_with(FORM) {
            Form::read(bytes.clone(), &kind).await?.document
        } else if route.method == Method::Put && Related::is(Some(&kind)) {
            let read = Related::read(full(bytes.clone()), &kind, bytes.len()).await?;
            Some(read.0)
        } else {
            Some(bytes.clone())
        };
        if let Some(document) = document {
            inspect::value(&document)?;
        }
        Ok(intake.with_body(bytes, &self.limits))
    }
}
