//! Every answer that couchwarden gives instead of CouchDB's.
//!
//! One closed enum, one total mapping to a status code and to CouchDB's JSON error shape
//! (`{"error":…,"reason":…}`). Every other module has its own error type or names a variant from here;
//! no other file names a 4xx or 5xx status of ours.
//!
//! Invariant: a reason never holds a Rust name, a credential, or anything that CouchDB said.

/// Why a request is not answered by CouchDB. The variants are grouped by status code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the request can't be read, or two readers could read it differently.
    BadRequest(&'static str),
    /// 400 as CouchDB answers a query parameter it can't use (`query_parse_error`).
    BadQuery(String),
    /// 400 in the word that `_find` has for it.
    BadFind(&'static str, String),
    /// 400 `bad_request` with a reason made at run time (a path in a node, a member of a body).
    Malformed(String),
    /// 400 `invalid_json`.
    BadJson(String),
    /// 400 `illegal_database_name`.
    IllegalDatabase,
    /// 400 `illegal_docid`.
    IllegalDocument,
    /// 400 `illegal_partition`.
    IllegalPartition,
    /// 401: an anonymous caller and anything that is not open to them, existing or not.
    Unauthorized,
    /// 401: an attempt to log in that failed.
    WrongCredentials,
    /// 401: a session that has been ended, or whose cookie has expired.
    SessionEnded,
    /// 403: a known thing that this caller may not do.
    Forbidden(&'static str),
    /// 403 with a reason made at run time.
    ForbiddenBecause(String),
    /// 404: a document or revision which is absent, or which this caller may not see.
    Missing,
    /// 404: a database which is absent, or which this caller may not see.
    NoDatabase,
    /// 404: an endpoint which is not in the grammar.
    NoEndpoint,
    /// 404 of a show, list or update function that is not named; CouchDB's word for it.
    NoFunction(&'static str),
    /// 405 with the methods that are allowed here (for the `Allow` header).
    Method(&'static str),
    /// 409 as CouchDB answers it.
    Conflict,
    /// 411/413/414/431 and so on: a limit was passed.
    TooLarge(Limit),
    /// 412 as CouchDB answers it (`file_exists`, a precondition).
    Precondition(&'static str),
    /// 412 as CouchDB answers the stub of an attachment that is not stored.
    MissingStub,
    /// 415: a content coding or type that is not read.
    UnsupportedMedia(&'static str),
    /// 416: no such part of an attachment.
    Range,
    /// 417: an expectation other than `100-continue`.
    Expectation,
    /// 421: this server does not answer for that host name (RFC 9110 section 15.5.20).
    Misdirected,
    /// 429: too many attempts; the number of seconds to wait (`Retry-After`).
    TooMany(u32),
    /// 429: this name or address has its share; of what, and the number of seconds to wait.
    OverShare(Shared, u32),
    /// 408: the client was too slow with head or body.
    ClientSlow,
    /// 500: a fault of ours, and what it is, for the log alone.
    Internal(&'static str),
    /// 501: a transfer coding other than `chunked`, or an upgrade.
    NotImplemented(&'static str),
    /// 502: CouchDB can't be reached, or what it answered can't be read.
    BadGateway(&'static str),
    /// 503: overloaded or draining; the number of seconds to wait.
    Unavailable(u32),
    /// 504: CouchDB did not answer in time.
    UpstreamSlow,
}

/// What all callers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Connections of clients.
    Connections,
    /// Requests over HTTP/2.
    Streams,
    /// Open feeds.
    Feeds,
    /// Memory for bodies.
    Bodies,
}

/// The limit that a request has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The whole head: 431.
    Head,
    /// The request target: 414.
    Target,
    /// The body, as sent or when inflated: 413.
    Body,
}

impl Refusal {
    /// The HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_)
            | Self::BadQuery(_)
            | Self::BadFind(..)
            | Self::Malformed(_)
            | Self::BadJson(_)
            | Self::IllegalDatabase
            | Self::IllegalDocument
            | Self::IllegalPartition => 400,
            Self::Unauthorized | Self::WrongCredentials | Self::SessionEnded => 401,
            Self::Forbidden(_) | Self::ForbiddenBecause(_) => 403,
            Self::Missing | Self::NoDatabase | Self::NoEndpoint | Self::NoFunction(_) => 404,
            Self::Method(_) => 405,
            Self::ClientSlow => 408,
            Self::Conflict => 409,
            Self::Precondition(_) | Self::MissingStub => 412,
            Self::TooLarge(Limit::Body) => 413,
            Self::TooLarge(Limit::Target) => 414,
            Self::UnsupportedMedia(_) => 415,
            Self::Range => 416,
            Self::Expectation => 417,
            Self::Misdirected => 421,
            Self::TooMany(_) | Self::OverShare(..) => 429,
            Self::TooLarge(Limit::Head) => 431,
            Self::Internal(_) => 500,
            Self::NotImplemented(_) => 501,
            Self::BadGateway(_) => 502,
            Self::Unavailable(_) => 503,
            Self::UpstreamSlow => 504,
        }
    }

    /// CouchDB's word for the kind of error.
    pub fn error(&self) -> &'static str {
        match self {
            Self::BadRequest(_) | Self::Malformed(_) | Self::BadJson(_) => "bad_request",
            Self::BadQuery(_) => "query_parse_error",
            Self::IllegalDatabase => "illegal_database_name",
            Self::IllegalDocument => "illegal_docid",
            Self::IllegalPartition => "illegal_partition",
            Self::NoFunction(word) | Self::BadFind(word, _) => word,
            Self::Unauthorized | Self::WrongCredentials | Self::SessionEnded => "unauthorized",
            Self::Forbidden(_) | Self::ForbiddenBecause(_) => "forbidden",
            Self::Missing | Self::NoDatabase | Self::NoEndpoint => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::ClientSlow => "timeout",
            Self::Conflict => "conflict",
            Self::Precondition(_) => "precondition_failed",
            Self::MissingStub => "missing_stub",
            Self::TooLarge(Limit::Body) => "too_large",
            Self::TooLarge(Limit::Target) => "uri_too_long",
            Self::TooLarge(Limit::Head) => "head_too_large",
            Self::UnsupportedMedia(_) => "bad_content_type",
            Self::Range => "requested_range_not_satisfiable",
            Self::Expectation => "expectation_failed",
            Self::Misdirected => "misdirected_request",
            Self::TooMany(_) | Self::OverShare(..) => "too_many_requests",
            Self::Internal(_) => "internal_server_error",
            Self::NotImplemented(_) => "not_implemented",
            Self::BadGateway(_) => "bad_gateway",
            Self::Unavailable(_) => "service_unavailable",
            Self::UpstreamSlow => "gateway_timeout",
        }
    }

    /// The sentence for the client.
    pub fn reason(&self) -> &str {
        match self {
            Self::BadRequest(reason)
            | Self::Forbidden(reason)
            | Self::Precondition(reason)
            | Self::UnsupportedMedia(reason)
            | Self::NotImplemented(reason)
            | Self::BadGateway(reason) => reason,
            Self::BadQuery(reason)
            | Self::BadFind(_, reason)
            | Self::Malformed(reason)
            | Self::BadJson(reason)
            | Self::ForbiddenBecause(reason) => reason,
            Self::Unauthorized => "You are not authorized to access this.",
            Self::WrongCredentials => "Name or password is incorrect.",
            Self::SessionEnded => "The session has ended.",
            Self::Missing | Self::NoEndpoint => "missing",
            Self::NoDatabase => "Database does not exist.",
            Self::Method(_) => "this method is not allowed here",
            Self::IllegalDatabase => {
                "Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, \
                 and / are allowed. Must begin with a letter."
            }
            Self::IllegalDocument => "Only reserved document ids may start with underscore.",
            Self::IllegalPartition => "Partition must not start with an underscore",
            Self::NoFunction(_) => "Invalid path.",
            Self::Range => "Requested range not satisfiable",
            Self::ClientSlow => "the request did not arrive in time",
            Self::Conflict => "Document update conflict.",
            Self::MissingStub => "Invalid attachment stub in the document.",
            Self::TooLarge(Limit::Body) => "the request entity is too large",
            Self::TooLarge(Limit::Target) => "the request target is too long",
            Self::TooLarge(Limit::Head) => "the request head is too large",
            Self::Expectation => "only `100-continue` may be expected",
            Self::Misdirected => "this server does not answer for that host",
            Self::TooMany(_) => "too many attempts, try again later",
            Self::OverShare(Shared::Connections, _) => "you have too many connections open",
            Self::OverShare(Shared::Streams, _) => "you have too many requests open",
            Self::OverShare(Shared::Feeds, _) => "you have too many feeds open",
            Self::OverShare(Shared::Bodies, _) => "you are sending too much at once",
            Self::Internal(_) => "the request could not be judged",
            Self::Unavailable(_) => "no capacity now, try again later",
            Self::UpstreamSlow => "the database did not answer in time",
        }
    }

    /// What is wrong with a document that a replicator sends by itself, without `new_edits`. CouchDB's replicator passes
    /// over one that is forbidden, and gives up the whole replication at any other error.
    #[must_use]
    pub(crate) fn of_replicated_document(self) -> Self {
        match self.status() {
            400 => Self::ForbiddenBecause(self.reason().to_owned()),
            _ => self,
        }
    }

    /// A header that tells the client how to do better: its name in lower case, and its value.
    pub fn advice(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Method(allowed) => Some(("allow", (*allowed).to_owned())),
            Self::TooMany(seconds) | Self::OverShare(_, seconds) | Self::Unavailable(seconds) => {
                Some(("retry-after", seconds.to_string()))
            }
            Self::BadRequest(_)
            | Self::BadQuery(_)
            | Self::BadFind(..)
            | Self::Malformed(_)
            | Self::BadJson(_)
            | Self::IllegalDatabase
            | Self::IllegalDocument
            | Self::IllegalPartition
            | Self::NoFunction(_)
            | Self::Unauthorized
            | Self::WrongCredentials
            | Self::SessionEnded
            | Self::Forbidden(_)
            | Self::ForbiddenBecause(_)
            | Self::Missing
            | Self::NoDatabase
            | Self::NoEndpoint
            | Self::Conflict
            | Self::TooLarge(_)
            | Self::Precondition(_)
            | Self::MissingStub
            | Self::UnsupportedMedia(_)
            | Self::Range
            | Self::Expectation
            | Self::Misdirected
            | Self::ClientSlow
            | Self::Internal(_)
            | Self::NotImplemented(_)
            | Self::BadGateway(_)
            | Self::UpstreamSlow => None,
        }
    }
}
