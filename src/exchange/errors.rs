//! CouchDB's errors, told to callers who are no administrators: the status, and one of a few known reasons.
//! CouchDB's own texts can hold ids, values and paths.

use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::body::Cut;
use crate::client::Answered;
use crate::json::{JsonError, Value};
use crate::refusal::Refusal;

/// Who may ask CouchDB, and not for this.
pub(crate) const NOT_ALLOWED: Refusal = Refusal::Forbidden("the database does not allow this");

/// The longest error that is read.
const LONGEST: usize = 64 * 1024;

impl From<&JsonError> for Cut {
    fn from(error: &JsonError) -> Self {
        match *error == JsonError::NoRoom {
            true => Self::NoRoom,
            false => Self::Filter,
        }
    }
}

/// The refusal that stands for an error of CouchDB's.
pub(crate) async fn refusal(answer: Response<Answered>) -> Refusal {
    let status = answer.status().as_u16();
    let body = read(answer.into_body()).await;
    told(status, body.as_ref())
}

fn told(status: u16, body: Option<&Value>) -> Refusal {
    let text = |name| body.and_then(|body| body.get(name)).and_then(Value::as_str);
    tracing::debug!(status, error = text("error"), "CouchDB refused");
    translate(
        status,
        text("error").unwrap_or_default(),
        text("reason").unwrap_or_default(),
    )
}

/// A row of `_bulk_docs` that CouchDB refused: the word for the error and a reason of ours.
pub(crate) fn row(error: &str) -> (&'static str, &'static str) {
    match error {
        "conflict" => ("conflict", "Document update conflict."),
        "unauthorized" => ("unauthorized", "You are not authorized to access this."),
        "forbidden" => ("forbidden", "the database does not take this document"),
        "missing_stub" => ("missing_stub", "an attachment is not stored"),
        _ => ("unknown_error", "the database could not take this document"),
    }
}

pub(crate) fn translate(status: u16, error: &str, reason: &str) -> Refusal {
    match (status, error) {
        (400, "query_parse_error") => {
            Refusal::BadQuery("the database can't use these parameters".to_owned())
        }
        (400, "illegal_database_name") => Refusal::IllegalDatabase,
        // What indexes there are, and not what is in them.
        (400, "no_usable_index") => Refusal::BadFind(
            "no_usable_index",
            "No index exists for this sort, try indexing by the sort fields.".to_owned(),
        ),
        (400, "invalid_index") => Refusal::BadFind(
            "invalid_index",
            "the index that `use_index` names can't be used".to_owned(),
        ),
        (400, _) => Refusal::BadRequest("the database can't use this request"),
        (401, _) => Refusal::Unauthorized,
        (403, _) => NOT_ALLOWED,
        (500, _) if is_not_allowed(error, reason) => NOT_ALLOWED,
        (404, _) if reason == "Database does not exist." => Refusal::NoDatabase,
        (404, _) => Refusal::Missing,
        (409, _) => Refusal::Conflict,
        (412, "file_exists") => {
            Refusal::Precondition("The database could not be created, it already exists.")
        }
        (412, "missing_stub") => Refusal::MissingStub,
        (412, _) => Refusal::Precondition("a precondition of the database does not hold"),
        (413, _) => Refusal::TooLarge(crate::refusal::Limit::Body),
        (415, _) => Refusal::UnsupportedMedia("the database does not read this content type"),
        (416, _) => Refusal::Range,
        (503, _) => Refusal::Unavailable(1),
        (405, _) => Refusal::Method(""),
        (_, _) => Refusal::BadGateway("the database failed to answer"),
    }
}

/// CouchDB's ways to say that something is for administrators of the database: of its indexes and its purges.
fn is_not_allowed(error: &str, reason: &str) -> bool {
    match error {
        "forbidden" => true,
        "error_saving_ddoc" => reason.ends_with(": forbidden"),
        "badmatch" => reason.starts_with("{error,{forbidden,"),
        _ => false,
    }
}

/// CouchDB's answer to a document with its attachments behind it. `claims`: it has told digests of theirs.
///
/// # Errors
///
/// Where CouchDB failed, by the bytes that it was sent or otherwise.
pub(crate) async fn of_parts(
    answer: Response<Answered>,
    claims: bool,
) -> Result<Response<Answered>, Refusal> {
    if !claims || answer.status() != StatusCode::INTERNAL_SERVER_ERROR {
        return Ok(answer);
    }
    let body = read(answer.into_body()).await;
    let reason = body.as_ref().and_then(|body| body.get("reason")?.as_str());
    Err(match reason {
        // CouchDB 3.5 stumbles over its own `content_md5_mismatch`.
        Some("function_clause") => Refusal::BadRequest("an attachment does not fit its digest"),
        Some(_) | None => told(500, body.as_ref()),
    })
}

async fn read(mut body: Answered) -> Option<Value> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > LONGEST {
            return None;
        }
    }
    Value::parse(&bytes).ok()
}
