//! Where the bytes of an answer come from: a part that has been asked for, and then CouchDB's answer to it.
//!
//! Invariant: a wait that is dropped loses nothing, so a feed's clock can be looked at beside it.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::pages::Part;
use crate::body::{Body, Cut, boxed};
use crate::exchange::context::Asker;
use crate::exchange::read::pin_check;
use crate::policy::ViewLens;
use crate::route::query::ViewQuery;

type Awaited = Pin<Box<dyn Future<Output = Result<Body, Cut>> + Send>>;

/// Where the next bytes come from.
pub(crate) enum Reply {
    /// A part that has not been answered yet.
    Awaited(Awaited),
    /// The answer to one.
    Begun(Body),
    /// Nothing more comes.
    Ended,
}

/// What has come.
pub(crate) enum Arrived {
    /// The head of an answer.
    Head,
    /// Some of its bytes.
    Data(Bytes),
    /// Its end.
    End,
}

impl Reply {
    /// Asks for one more part of an answer; of sums of CouchDB's, once their rows have been looked at.
    pub(crate) fn ask(
        asker: &Arc<Asker>,
        part: Part,
        looks_first: Option<(ViewLens, ViewQuery)>,
    ) -> Self {
        let asker = Arc::clone(asker);
        Self::Awaited(Box::pin(async move {
            let body = match looks_first {
                Some((lens, range)) => pin_check::groups(&asker, &lens, &range).await,
                None => asker.first(part).await.map(boxed),
            };
            body.map_err(|refusal| Cut::later(&refusal))
        }))
    }

    /// Waits for what comes next.
    pub(crate) async fn next(&mut self) -> Result<Arrived, Cut> {
        match self {
            Self::Awaited(awaited) => {
                *self = Self::Begun(awaited.await?);
                Ok(Arrived::Head)
            }
            Self::Begun(body) => {
                while let Some(frame) = body.frame().await.transpose()? {
                    // CouchDB sends no trailers.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Arrived::Data(data));
                    }
                }
                Ok(Arrived::End)
            }
            Self::Ended => Ok(Arrived::End),
        }
    }

    /// Whether it is known that nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Nothing more is wanted.
    pub(crate) fn end(&mut self) {
        drop(mem::replace(self, Self::Ended));
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Awaited(_) => "Awaited",
            Self::Begun(_) => "Begun",
            Self::Ended => "Ended",
        })
    }
}
