//! Why CouchDB has not answered.

use crate::body::Cut;
use crate::refusal::Refusal;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The configuration can't be used.
    #[error("{0}")]
    Setup(String),
    /// No connection.
    #[error("the database can't be reached")]
    Unreachable,
    /// No answer in time.
    #[error("the database did not answer in time")]
    Slow,
    /// The client's own body failed, so the request was never complete.
    #[error("the request was cut: {0}")]
    Client(Cut),
    /// Something that is not an answer.
    #[error("the answer of the database can't be read")]
    Broken,
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Setup(_) => {
                Self::Internal("the client for the database could not be set up")
            }
            ClientError::Unreachable => Self::BadGateway("the database can't be reached"),
            ClientError::Slow => Self::UpstreamSlow,
            ClientError::Client(cut) => cut.refusal(),
            ClientError::Broken => Self::BadGateway("the answer of the database can't be read"),
        }
    }
}
