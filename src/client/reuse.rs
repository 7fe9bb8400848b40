//! Whether a connection may carry another request after this one.
//!
//! What CouchDB leaves unread of a request it takes for the head of the next one, and what it sends behind an answer
//! we would take for the next answer. So a connection is used again only where both sides are known to be at the end
//! of a message: by what was asked ([`Reuse`], decided before anything is sent), and by the answer ([`leaves_open`]).
//! All else has a connection for itself, which is closed behind the answer and tells CouchDB so (`Connection: close`).
//!
//! Invariant: every call says which it is; a new one does not compile before it does.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};

use crate::route::{Call, DatabaseCall, DesignCall, Method, Route, ServerCall};

/// May the connection carry another request after this one?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// If the request was sent whole and the answer was whole and good.
    IfWhole,
    /// It carries this one alone.
    Never,
}

/// What a request has behind its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Nothing.
    Nothing,
    /// JSON that is here as a whole, and says so.
    Json,
    /// What comes as it comes, or can be read in parts: CouchDB may stop reading before its end.
    Stream,
}

/// What CouchDB does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It reads a body to its end, as JSON, before it answers with success (`chttpd:json_body`).
    Json,
    /// It goes by the head; a body would stay unread.
    Head,
    /// Where its answer ends is decided by a function, a feed or another program; or it logs somebody in.
    Alone,
}

impl Reuse {
    /// For a call of this manner that carries this.
    pub fn of(manner: Manner, carries: Carries) -> Self {
        match (manner, carries) {
            (Manner::Json, Carries::Nothing | Carries::Json) | (Manner::Head, Carries::Nothing) => {
                Self::IfWhole
            }
            (Manner::Json | Manner::Head, Carries::Stream)
            | (Manner::Head, Carries::Json)
            | (Manner::Alone, _) => Self::Never,
        }
    }
}

impl Carries {
    /// Of bytes that are here as a whole.
    pub fn whole(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
        // Security: a document with attachments is read to its closing boundary only.
        // (`couchdb_never_sees_a_second_request_behind_one_that_it_has_not_read`)
        let json =
            kind.is_some_and(|kind| is_json(kind) && !headers.contains_key(CONTENT_ENCODING));
        match json {
            true => Self::Json,
            false => Self::Stream,
        }
    }
}

/// `application/json`, with parameters or without.
pub(crate) fn is_json(kind: &[u8]) -> bool {
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

impl Manner {
    /// Of a call.
    pub fn of(route: &Route) -> Self {
        if route.is_feed() {
            return Self::Alone;
        }
        match &route.call {
            Call::Server(call) => server(call),
            Call::Database { db: _, call } => database(call, route.method),
            Call::Node(_) | Call::NodeSession | Call::Warden(_) => Self::Alone,
        }
    }
}

fn server(call: &ServerCall) -> Manner {
    match call {
        ServerCall::Welcome
        | ServerCall::Favicon
        | ServerCall::Up
        | ServerCall::Uuids
        | ServerCall::AllDbs
        | ServerCall::ActiveTasks
        | ServerCall::Membership
        | ServerCall::SchedulerJobs(_)
        | ServerCall::SchedulerDocs(..)
        | ServerCall::Utils(_) => Manner::Head,
        ServerCall::DbsInfo => Manner::Json,
        ServerCall::Session
        | ServerCall::DbUpdates
        | ServerCall::ClusterSetup
        | ServerCall::Replicate
        | ServerCall::SearchAnalyze
        | ServerCall::NouveauAnalyze
        | ServerCall::ReloadQueryServers
        | ServerCall::Reshard(_)
        // One member of a cluster has another one write to the connection (`chttpd_node`).
        | ServerCall::ClusterNode { .. } => Manner::Alone,
    }
}

fn database(call: &DatabaseCall, method: Method) -> Manner {
    match call {
        DatabaseCall::Itself => match method {
            Method::Post => Manner::Json,
            Method::Get | Method::Head | Method::Put | Method::Delete | Method::Copy => {
                Manner::Head
            }
        },
        DatabaseCall::List(_)
        | DatabaseCall::ListQueries(_)
        | DatabaseCall::BulkDocs
        | DatabaseCall::BulkGet
        | DatabaseCall::Changes
        | DatabaseCall::Find
        | DatabaseCall::Explain
        | DatabaseCall::Index
        | DatabaseCall::IndexBulkDelete
        | DatabaseCall::RevsDiff
        | DatabaseCall::MissingRevs
        | DatabaseCall::Security
        | DatabaseCall::PartitionAllDocs(_)
        | DatabaseCall::PartitionFind(_)
        | DatabaseCall::PartitionExplain(_)
        | DatabaseCall::PartitionView { .. }
        | DatabaseCall::Document(_)
        | DatabaseCall::Local(_) => Manner::Json,
        DatabaseCall::IndexNamed { .. }
        | DatabaseCall::EnsureFullCommit
        | DatabaseCall::PartitionInfo(_)
        | DatabaseCall::CopyDocument { .. }
        | DatabaseCall::CopyLocal { .. }
        | DatabaseCall::Attachment { .. } => Manner::Head,
        DatabaseCall::Design { ddoc: _, call } => design(call),
        // Search is another program's, and maintenance is rare.
        DatabaseCall::PartitionSearch { .. }
        | DatabaseCall::PartitionNouveau { .. }
        | DatabaseCall::Maintain(_)
        | DatabaseCall::TempView => Manner::Alone,
    }
}

fn design(call: &DesignCall) -> Manner {
    match call {
        DesignCall::Info => Manner::Head,
        DesignCall::View(_) | DesignCall::ViewQueries(_) => Manner::Json,
        // Security: a function says itself what its answer is, a status without a body and a body behind it.
        // (`nobody_is_given_what_comes_behind_the_answer_of_another`)
        DesignCall::Show(..)
        | DesignCall::List { .. }
        | DesignCall::Update(..)
        | DesignCall::Rewrite(_)
        | DesignCall::Search(_)
        | DesignCall::SearchInfo(_)
        | DesignCall::SearchDiskSize(_)
        | DesignCall::Nouveau(_)
        | DesignCall::NouveauInfo(_) => Manner::Alone,
    }
}

/// Does this answer leave the connection between two messages, once it has been read to its end?
///
/// `carried`: whether the request had a body, which CouchDB may have left unread where it answers with an error.
pub(super) fn leaves_open<B>(answer: &Response<B>, carried: bool) -> bool {
    let status = answer.status();
    let headers = answer.headers();
    let length = headers.get(CONTENT_LENGTH);
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let failed = status.is_server_error() || (carried && status.as_u16() >= 400);
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let announced = chunked || length.is_some_and(|length| length != "0");
    // What has neither ends with the connection.
    let framed = length.is_some() != chunked || bodiless;
    answer.version() == Version::HTTP_11 && !failed && framed && !(bodiless && announced)
}

#[cfg(test)]
mod tests;
