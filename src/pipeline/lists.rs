//! Lists and views of callers who may see everything: `_local` documents are all that a lens hides from them, so
//! an answer that can hold none streams untouched.
//!
//! Invariant: a query that can't be read is judged.

use bytes::Bytes;

use super::Pipeline;
use super::judged::{is_several, optional};
use crate::inspect;
use crate::intake::Intake;
use crate::policy::{Permit, Plan};
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;

impl Pipeline {
    /// Would the lens leave the whole answer as it is? The body must be read to tell.
    pub(super) async fn is_untouched(
        &self,
        permit: &Permit,
        intake: Intake,
    ) -> Result<(Intake, bool), Refusal> {
        let clear = matches!(permit.plan(), Plan::Documents(lens) if lens.is_clear())
            || matches!(permit.plan(), Plan::View(lens) if lens.is_clear());
        if !clear {
            return Ok((intake, false));
        }
        let (intake, body) = self.whole(intake).await?;
        let finds = queries(permit, &body).map(|queries| queries.iter().any(finds_locals));
        let intake = intake.with_body(body, &self.limits);
        Ok((intake, matches!(finds, Ok(false))))
    }
}

fn queries(permit: &Permit, body: &Bytes) -> Result<Vec<ViewQuery>, Refusal> {
    let route = permit.route();
    if is_several(permit) {
        return inspect::query::lists(&route.query, &inspect::value(body)?);
    }
    let body = optional(route.method, body.clone());
    let body = body.map(|body| inspect::value(&body)).transpose()?;
    Ok(vec![inspect::query::list(&route.query, body.as_ref())?])
}

/// By links or by keys, however they are spelt.
fn finds_locals(query: &ViewQuery) -> bool {
    query.include_docs || query.keys.as_ref().is_some_and(|keys| names_locals(keys))
}

fn names_locals(keys: &str) -> bool {
    let keys = inspect::value(keys.as_bytes()).ok();
    let keys = keys.as_ref().and_then(|keys| keys.as_array());
    keys.is_none_or(|keys| {
        keys.iter()
            .filter_map(|key| key.as_str())
            .any(|id| id.starts_with("_local/"))
    })
}
