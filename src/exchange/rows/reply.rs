//! Where the bytes of an answer come from: a part that has been asked for, and then CouchDB's answer to it.
//!
//! Invariant: a wait that is dropped loses nothing, so a feed's clock can be looked at beside it.

use std::fmt;
use std::mem;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::filter::PendingBody;
use crate::body::{Body, Cut};

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
    /// One more part of an answer.
    pub(crate) fn awaited(begun: PendingBody) -> Self {
        Self::Awaited(Box::pin(async move {
            begun.await.map_err(|refusal| Cut::later(&refusal))
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
