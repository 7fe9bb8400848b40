//! Where the bytes of an answer come from: a part that has been asked for, and then CouchDB's answer to it.
//!
//! Invariant: a wait that is dropped loses nothing, so a feed's clock can be looked at beside it.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::body::{Body, Cut, boxed};
use crate::client::Answered;
use crate::filter::ask::Asker;
use crate::filter::pages::Part;
use crate::refusal::Refusal;

type Awaited = Pin<Box<dyn Future<Output = Result<Response<Answered>, Refusal>> + Send>>;

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
    /// Asks for one more part of an answer.
    pub(crate) fn ask(asker: &Arc<Asker>, part: Part) -> Self {
        let asker = Arc::clone(asker);
        Self::Awaited(Box::pin(async move { asker.ask(part).await }))
    }

    /// Waits for what comes next.
    pub(crate) async fn next(&mut self) -> Result<Arrived, Cut> {
        match self {
            Self::Awaited(awaited) => {
                let answer = awaited.await.map_err(|_| Cut::Upstream)?;
                let good = answer.status() == StatusCode::OK;
                *self = Self::Begun(boxed(answer.into_body()));
                if good {
                    Ok(Arrived::Head)
                } else {
                    Err(Cut::Upstream)
                }
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
