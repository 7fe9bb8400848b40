//! The header `Destination` of `COPY`: where the copy goes.
//!
//! CouchDB takes what stands before `?` as one escaped document id, not as a path, and what stands
//! behind the first `=` as the revision to replace, not escaped (`couch_httpd_db:
//! parse_copy_destination_header`). An absolute URL is an error there; a path of several segments would
//! be the id of one strange document.
//!
//! Invariant: a `COPY` never leaves its database, and never turns a local document into a public one.

use super::name::{DocId, LocalId, Rev};
use super::path::{self, Segment};
use super::{DatabaseCall, RouteError};

impl DatabaseCall {
    /// The same call with the destination of a `COPY`.
    pub(super) fn copied_to(self, destination: Option<&str>) -> Result<Self, RouteError> {
        let Some(destination) = destination else {
            return Err(RouteError::Bad("Destination header is mandatory for COPY."));
        };
        let (target, to_rev) = split(destination)?;
        match (self, target) {
            (Self::Document(from), Target::Document(to)) => {
                Ok(Self::CopyDocument { from, to, to_rev })
            }
            (Self::Local(from), Target::Local(to)) => Ok(Self::CopyLocal { from, to, to_rev }),
            _ => Err(RouteError::Ambiguous(
                "a local document is copied to a local document only",
            )),
        }
    }
}

enum Target {
    Document(DocId),
    Local(LocalId),
}

fn split(destination: &str) -> Result<(Target, Option<Rev>), RouteError> {
    let (raw, rev) = match destination.split_once('?') {
        None => (destination, None),
        Some((raw, query)) => {
            let rev = query
                .strip_prefix("rev=")
                .filter(|rev| rev.bytes().all(path::is_unreserved));
            let rev = rev.ok_or(RouteError::Ambiguous(
                "only `?rev=` may follow in Destination",
            ))?;
            (raw, Some(Rev::parse(rev)?))
        }
    };
    if raw.starts_with('/') || raw.contains("://") {
        return Err(RouteError::Bad("Destination URL must be relative."));
    }
    path::check_characters(raw)?;
    let target = match raw.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            return Err(RouteError::Ambiguous(
                "a slash in Destination must be escaped",
            ));
        }
        Some(("_design", name)) => Target::Document(DocId::parse(&format!(
            "_design/{}",
            Segment::new(name)?.text()
        ))?),
        Some(("_local", id)) => Target::Local(LocalId::parse(Segment::new(id)?.text())?),
        // To CouchDB this is one document whose id has a slash, to others a path.
        Some(_) => {
            return Err(RouteError::Ambiguous(
                "a slash in Destination must be escaped",
            ));
        }
        None => {
            let segment = Segment::new(raw)?;
            if let Some(id) = segment.after_escaped_slash("_local") {
                Target::Local(LocalId::parse(id)?)
            } else if segment.after_escaped_slash("_design").is_some() {
                Target::Document(DocId::parse(segment.text())?)
            } else {
                Target::Document(DocId::parse(segment.word()?)?)
            }
        }
    };
    Ok((target, rev))
}

#[cfg(test)]
mod tests;
