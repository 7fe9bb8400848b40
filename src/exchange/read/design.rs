//! What policy's servants must know of a view: its reduce function. Read from the design document, kept for
//! a few seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::reduce::Reducer;
use crate::couch::Couch;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::{DbName, DesignName, FunctionName};

/// How long a design document is believed to be unchanged. A view whose reduce function changes is added up by
/// the old one for that long; the rows are checked all the same.
const KEPT: Duration = Duration::from_secs(5);
const MOST: u64 = 1_000;

type Views = HashMap<String, Option<Reducer>>;

/// The views of the design documents that were asked for lately.
#[derive(Debug, Clone)]
pub(crate) struct Designs(Cache<(DbName, DesignName), Arc<Views>>);

impl Designs {
    pub(crate) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST)
                .time_to_live(KEPT)
                .build(),
        )
    }

    /// The reduce function of a view; none for a view without one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Missing`] where there is no such view.
    pub(crate) async fn reducer(
        &self,
        couch: &Couch,
        db: &DbName,
        (ddoc, view): (&DesignName, &FunctionName),
    ) -> Result<Option<Reducer>, Refusal> {
        let key = (db.clone(), ddoc.clone());
        let views = match self.0.get(&key).await {
            Some(views) => views,
            None => {
                let document = couch.read(db, &ddoc.id()).await?;
                let views = Arc::new(document.as_ref().map(views).unwrap_or_default());
                self.0.insert(key, Arc::clone(&views)).await;
                views
            }
        };
        views.get(view.as_str()).copied().ok_or(Refusal::Missing)
    }
}

fn views(document: &Value) -> Views {
    let views = document.get("views").and_then(Value::as_object);
    let named = views.into_iter().flat_map(|views| views.iter());
    named
        .map(|(name, view)| {
            let reduce = view.get("reduce").and_then(Value::as_str);
            (name.to_owned(), reduce.map(Reducer::named))
        })
        .collect()
}
