//! One written document: which revision it replaces, and whether policy lets it.

use aws_lc_rs::rand;

use crate::couch::Couch;
use crate::json::{Object, Value};
use crate::policy::{Denied, WriteRules};
use crate::refusal::Refusal;
use crate::route::query::DocumentQuery;
use crate::route::{DbName, DocId, Rev};

/// A document as it is to be written, not yet judged.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) id: String,
    /// The revision that it replaces, with `new_edits`.
    pub(crate) rev: Option<String>,
    pub(crate) document: Value,
}

/// Why a document is not written, as `_bulk_docs` says it in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: &'static str,
    pub(crate) reason: String,
}

impl Written {
    /// Reads the body of a `PUT` or `POST`: the id of the path, else of the body, else a new one.
    pub(crate) fn read(
        id: Option<&DocId>,
        query: &DocumentQuery,
        if_match: Option<&str>,
        body: Value,
    ) -> Result<Self, Refusal> {
        let Value::Object(mut object) = body else {
            return Err(Refusal::BadRequest("Document must be a JSON object"));
        };
        let named = object.get("_id").map(|id| text(id, "_id")).transpose()?;
        let id = match (id, named) {
            (Some(id), Some(named)) if id.as_str() != named => {
                return Err(Refusal::BadRequest("Document id must match the path"));
            }
            (Some(id), _) => id.as_str().to_owned(),
            (None, Some(named)) => named,
            (None, None) => new_id().ok_or(Refusal::Internal)?,
        };
        if_legal(&id)?;
        let in_body = object
            .get("_rev")
            .map(|rev| text(rev, "_rev"))
            .transpose()?;
        let in_query = query.rev.as_ref().map(|rev| rev.as_str().to_owned());
        let in_head = if_match.map(|rev| rev.trim().trim_matches('"').to_owned());
        let mut revs = [in_body, in_query, in_head].into_iter().flatten();
        let rev = revs.next();
        if revs.any(|other| Some(&other) != rev.as_ref()) {
            return Err(Refusal::BadRequest(
                "Document rev from request body and query string have different values",
            ));
        }
        let rev = rev.map(|rev| legal_rev(&rev)).transpose()?;
        object.insert("_id", id.as_str());
        if let Some(rev) = &rev {
            object.insert("_rev", rev.as_str());
        }
        Ok(Self {
            id,
            rev,
            document: Value::Object(object),
        })
    }

    /// The tombstone that a `DELETE` stands for.
    pub(crate) fn tombstone(
        id: &DocId,
        query: &DocumentQuery,
        if_match: Option<&str>,
    ) -> Result<Self, Refusal> {
        let mut object = Object::new();
        object.insert("_deleted", true);
        Self::read(Some(id), query, if_match, Value::Object(object))
    }

    /// Whether it ends the document.
    pub(crate) fn deletes(&self) -> bool {
        self.document.get("_deleted").and_then(Value::as_bool) == Some(true)
    }
}

/// Judges a write with `new_edits`: the revision that is judged travels with it, so that a race ends in a
/// conflict and never in a bypass.
pub(crate) fn judge(
    rules: &WriteRules,
    written: Written,
    stored: Option<&Value>,
) -> Result<Value, Refused> {
    let alive = stored.filter(|document| document.get("_deleted").is_none());
    if alive.is_some_and(|stored| !rules.knows(stored)) {
        // Hidden is answered as absent; only where a document would be made is its id taken.
        return match &written.rev {
            None if !written.deletes() => match rules.judge(None, written.document) {
                Ok(_) => Err(conflict()),
                Err(denied) => Err(refused(denied, false)),
            },
            Some(_) | None => Err(absent(&written)),
        };
    }
    match (&written.rev, stored) {
        // The revision is not there (any more): CouchDB would say the same.
        (Some(_), None) => Err(absent(&written)),
        // Taken, and he knows it.
        (None, Some(_)) if alive.is_some() => Err(conflict()),
        (Some(_), Some(stored)) => {
            let deletes = written.deletes();
            rules
                .judge(Some(stored), written.document)
                .map_err(|denied| refused(denied, deletes))
        }
        (None, _) if written.deletes() => Err(absent(&written)),
        (None, _) => rules
            .judge(None, written.document)
            .map_err(|denied| refused(denied, false)),
    }
}

/// Judges a write without `new_edits` against every leaf: CouchDB itself checks nothing, and validation sees
/// the ancestor that the writer names.
pub(crate) fn judge_forced(
    rules: &WriteRules,
    written: Written,
    leaves: &[Value],
) -> Result<Value, Refused> {
    let deletes = written.deletes();
    if !has_legal_history(&written.document) {
        return Err(Refused::forbidden("`_revisions` must begin with `_rev`"));
    }
    let living: Vec<&Value> = leaves
        .iter()
        .filter(|leaf| leaf.get("_deleted").is_none())
        .collect();
    let history = history(&written.document);
    let extended = leaves.iter().find(|leaf| {
        leaf.get("_rev")
            .and_then(Value::as_str)
            .is_some_and(|rev| history.iter().any(|r| r == rev))
    });
    if extended.is_none() && has_stub(&written.document) {
        // CouchDB refuses the whole batch for one stub that it can't resolve.
        return Err(Refused::forbidden(
            "attachments must be sent with their bytes",
        ));
    }
    let base = extended
        .filter(|leaf| leaf.get("_deleted").is_none())
        .or_else(|| {
            living
                .iter()
                .copied()
                .max_by(|a, b| rev_order(a).cmp(&rev_order(b)))
        });
    if living.iter().any(|leaf| !rules.knows(leaf)) {
        // Hidden is answered as absent; only where a document would be made is its id taken.
        return match rules.judge(None, written.document) {
            Ok(_) => Err(Refused::forbidden("you may not write this document")),
            Err(denied) => Err(refused_forced(denied)),
        };
    }
    for leaf in &living {
        rules.covers(leaf, deletes).map_err(refused_forced)?;
    }
    rules.judge(base, written.document).map_err(refused_forced)
}

/// Reads what a single write replaces.
pub(crate) async fn stored(
    couch: &Couch,
    db: &DbName,
    written: &Written,
) -> Result<Option<Value>, Refusal> {
    match &written.rev {
        Some(rev) => {
            let found = couch
                .read_revisions(db, &[(&written.id, Some(rev))])
                .await?;
            Ok(found.into_iter().flatten().next())
        }
        None => Ok(couch
            .read_many(db, &[&written.id])
            .await?
            .into_iter()
            .flatten()
            .next()),
    }
}

impl Refused {
    pub(crate) fn forbidden(reason: &str) -> Self {
        Self {
            error: "forbidden",
            reason: reason.to_owned(),
        }
    }

    /// The refusal of a request that writes this document alone.
    pub(crate) fn into_refusal(self) -> Refusal {
        match self.error {
            "conflict" => Refusal::Conflict,
            "not_found" => Refusal::Missing,
            _ => Refusal::ForbiddenBecause(self.reason),
        }
    }

    /// As a row of `_bulk_docs`, where CouchDB knows no `not_found`.
    pub(crate) fn into_row(self, id: &str, rev: Option<&str>) -> Value {
        let (error, reason) = match self.error {
            "not_found" => ("conflict", CONFLICT.to_owned()),
            error => (error, self.reason),
        };
        let mut row = Object::new();
        row.insert("id", id);
        if let Some(rev) = rev {
            row.insert("rev", rev);
        }
        row.insert("error", error);
        row.insert("reason", reason.as_str());
        Value::Object(row)
    }
}

const CONFLICT: &str = "Document update conflict.";

fn conflict() -> Refused {
    Refused {
        error: "conflict",
        reason: CONFLICT.to_owned(),
    }
}

/// What CouchDB answers where there is no such revision.
fn absent(written: &Written) -> Refused {
    match written.deletes() {
        true => Refused {
            error: "not_found",
            reason: "missing".to_owned(),
        },
        false => conflict(),
    }
}

fn refused(denied: Denied, deletes: bool) -> Refused {
    match denied {
        Denied::Missing if deletes => Refused {
            error: "not_found",
            reason: "missing".to_owned(),
        },
        Denied::Missing | Denied::Conflict => conflict(),
        Denied::Forbidden(reason) => Refused {
            error: "forbidden",
            reason,
        },
    }
}

/// Without `new_edits` CouchDB knows no conflict, and a replicator gives up its batch at any error but
/// `forbidden`.
fn refused_forced(denied: Denied) -> Refused {
    match denied {
        Denied::Missing | Denied::Conflict => {
            Refused::forbidden("this document may not be written")
        }
        Denied::Forbidden(reason) => Refused {
            error: "forbidden",
            reason,
        },
    }
}

/// The revisions that a forced write says it descends from, its own first.
fn history(document: &Value) -> Vec<String> {
    let revisions = document.get("_revisions");
    let start = revisions
        .and_then(|revisions| revisions.get("start"))
        .and_then(Value::as_number)
        .and_then(crate::json::Number::as_u64);
    let ids = revisions
        .and_then(|revisions| revisions.get("ids"))
        .and_then(Value::as_array);
    match (start, ids) {
        (Some(start), Some(ids)) => (0..=start)
            .rev()
            .zip(ids)
            .filter_map(|(generation, id)| Some(format!("{generation}-{}", id.as_str()?)))
            .collect(),
        // Present, but it can't be read.
        _ if revisions.is_some() => Vec::new(),
        _ => document
            .get("_rev")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .into_iter()
            .collect(),
    }
}

/// Security: CouchDB stores a forced write under what `_revisions` says, so it must say one thing only.
fn has_legal_history(document: &Value) -> bool {
    let rev = document.get("_rev").and_then(Value::as_str);
    match document.get("_revisions") {
        None => true,
        Some(_) => {
            let history = history(document);
            let own = history.first().map(String::as_str);
            own.is_some() && (rev.is_none() || own == rev)
        }
    }
}

fn has_stub(document: &Value) -> bool {
    let attachments = document.get("_attachments").and_then(Value::as_object);
    attachments.is_some_and(|attachments| {
        attachments.iter().any(|(_, one)| {
            let flag = |name| one.get(name).and_then(Value::as_bool) == Some(true);
            flag("stub")
        })
    })
}

/// CouchDB's winner: the longest history, then the greater digest.
fn rev_order(document: &Value) -> (u64, String) {
    let rev = document
        .get("_rev")
        .and_then(Value::as_str)
        .and_then(|rev| Rev::parse(rev).ok());
    rev.map_or((0, String::new()), |rev| {
        (rev.generation(), rev.digest().to_owned())
    })
}

fn text(value: &Value, name: &str) -> Result<String, Refusal> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| Refusal::Malformed(format!("`{name}` must be a text")))
}

fn legal_rev(rev: &str) -> Result<String, Refusal> {
    Rev::parse(rev)
        .map(|rev| rev.as_str().to_owned())
        .map_err(|_| Refusal::BadRequest("Invalid rev format"))
}

fn if_legal(id: &str) -> Result<(), Refusal> {
    match DocId::parse(id) {
        Ok(_) => Ok(()),
        Err(_) if id.is_empty() => Err(Refusal::BadRequest("Document id must not be empty")),
        Err(_) => Err(Refusal::BadRequest(
            "Only reserved document ids may start with underscore.",
        )),
    }
}

/// A random id, as CouchDB's own `random` algorithm makes them.
pub(crate) fn new_id() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
