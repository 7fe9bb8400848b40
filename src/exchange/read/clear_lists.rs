//! Lists and views of callers who may see everything: `_local` documents are all that a lens hides from them, so
//! an answer that can hold none streams untouched.
//!
//! Invariant: a query that can't be read is judged.

use bytes::Bytes;

use super::query;
use crate::exchange::{Exchange, Permitted};
use crate::intake::json_body;
use crate::refusal::Refusal;
use crate::route::query::ViewQuery;
use crate::route::{Method, Route};

impl Exchange {
    /// Would a lens that hides nothing else leave the whole answer as it is? The body must be read to tell. `several`:
    /// it holds several queries.
    pub(crate) async fn is_untouched(
        &self,
        mut request: Permitted,
        several: bool,
    ) -> Result<(Permitted, bool), Refusal> {
        let (intake, body) = self.whole(request.intake).await?;
        let finds = queries(request.permit.route(), &body, several)
            .map(|queries| queries.iter().any(finds_locals));
        request.intake = intake.with_body(body, &self.limits);
        Ok((request, matches!(finds, Ok(false))))
    }
}

fn queries(route: &Route, body: &Bytes, several: bool) -> Result<Vec<ViewQuery>, Refusal> {
    if several {
        return query::lists(&route.query, &json_body::value(body)?);
    }
    let body = (route.method == Method::Post && !body.is_empty()).then(|| json_body::value(body));
    let body = body.transpose()?;
    Ok(vec![query::list(&route.query, body.as_ref())?])
}

/// By links or by keys, however they are spelt.
fn finds_locals(query: &ViewQuery) -> bool {
    query.include_docs || query.keys.as_ref().is_some_and(|keys| names_locals(keys))
}

fn names_locals(keys: &str) -> bool {
    let keys = json_body::value(keys.as_bytes()).ok();
    let keys = keys.as_ref().and_then(|keys| keys.as_array());
    keys.is_none_or(|keys| {
        keys.iter()
            .filter_map(|key| key.as_str())
            .any(|id| id.starts_with("_local/"))
    })
}
