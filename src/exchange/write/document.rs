//! One written document: which revision it replaces, and whether policy lets it.

use aws_lc_rs::rand;

use super::attachments;
use super::attachments::{Beside, Passed, lay};
use super::forced;
use super::forced::{Leaves, judge_forced};
use super::stored::{Replaced, Stored};
use crate::budget::{Counted, NoRoom};
use crate::couch::Couch;
use crate::json::{Object, Value};
use crate::policy::{Denied, WriteRules};
use crate::refusal::{Limit, Refusal};
use crate::route::query::DocumentQuery;
use crate::route::{DbName, DocId, History, Rev};

/// A document as it is to be written, not yet judged.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) id: String,
    /// The revision that it replaces, with `new_edits`.
    pub(crate) rev: Option<String>,
    pub(crate) document: Value,
    /// Its attachments may follow as parts of the request.
    pub(crate) follows: bool,
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
            // As in CouchDB, whatever the body says.
            (Some(id), _) => id.as_str().to_owned(),
            (None, Some(named)) => named,
            (None, None) => new_id().ok_or(Refusal::Internal("no random bytes"))?,
        };
        if_legal(&id)?;
        let in_body = named_rev(&object)?;
        let in_query = query.rev.as_ref().map(|rev| rev.as_str().to_owned());
        let in_head = if_match.map(|rev| rev.trim().trim_matches('"').to_owned());
        let mut revs = Vec::with_capacity(1);
        for rev in [in_body, in_query, in_head].into_iter().flatten() {
            revs.push(legal_rev(&rev)?);
        }
        let rev = revs.first().cloned();
        if revs.iter().any(|other| Some(other) != rev.as_ref()) {
            return Err(Refusal::BadRequest(
                "Document rev from request body and query string have different values",
            ));
        }
        object.insert("_id", id.as_str());
        if let Some(rev) = &rev {
            object.insert("_rev", rev.as_str());
        }
        Ok(Self {
            id,
            rev,
            document: Value::Object(object),
            follows: false,
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

    /// Whether replicators and devices can ask for it once it is stored. What is there already may be ended.
    pub(crate) fn can_be_asked_for(&self) -> bool {
        self.deletes() || DocId::fits_in_url(&self.id)
    }

    /// Whether it ends the document.
    pub(crate) fn deletes(&self) -> bool {
        self.document.get("_deleted").and_then(Value::as_bool) == Some(true)
    }
}

/// Judges a write with `new_edits`: the revision that is judged travels with it, so that a race ends in a
/// conflict and never in a bypass. `bytes`: what is stored with its attachments, where they may matter.
pub(crate) fn judge(
    rules: &WriteRules,
    mut written: Written,
    replaced: &Replaced,
    bytes: Option<&Value>,
) -> Result<Passed, Refused> {
    let stored = replaced.document.as_deref();
    let alive = stored.filter(|document| document.get("_deleted").is_none());
    // Security: CouchDB would take the revision to replace from `_revisions`, past the one that is judged.
    // (`a_history_names_no_other_revision_than_the_one_judged`)
    if written.document.get("_revisions").is_some() {
        if History::of(&written.document).is_none() {
            return Err(Refused::forbidden("`_revisions` must begin with `_rev`"));
        }
        written
            .document
            .as_object_mut()
            .and_then(|document| document.remove("_revisions"));
    }
    let deletes = written.deletes();
    if alive.is_some_and(|stored| !rules.knows(stored)) {
        return Err(hidden(rules, written));
    }
    match (&written.rev, stored) {
        // The revision is not there (any more): CouchDB would say the same.
        (Some(_), None) => match &replaced.winner {
            Some(winner) if rules.knows(winner) => Err(conflict()),
            Some(_) | None => Err(absent(&written)),
        },
        // Taken, and he knows it.
        (None, Some(_)) if alive.is_some() => Err(conflict()),
        // It has ended already.
        (Some(_), Some(_)) if deletes && alive.is_none() => Err(absent(&written)),
        (Some(_), Some(stored)) => {
            if_may_win(rules, replaced, stored, deletes)?;
            let view = alive.and_then(|alive| rules.view(alive));
            let beside = Beside {
                view: view.as_ref(),
                bytes,
            };
            let laid = lay(&mut written.document, beside, written.follows)?;
            let document = rules.judge(Some(stored), written.document);
            let document = document.map_err(|denied| refused(denied, deletes))?;
            laid.settle(document, true, Some(stored))
        }
        (None, _) if deletes => Err(absent(&written)),
        (None, _) => create(rules, written),
    }
}

/// The answer where a hidden document is: as if none were there. Only where one would be made is its id taken.
fn hidden(rules: &WriteRules, written: Written) -> Refused {
    match &written.rev {
        None if !written.deletes() => create(rules, written).err().unwrap_or_else(conflict),
        Some(_) | None => absent(&written),
    }
}

/// Whether what replaces a revision that does not win may win over the one that does, or what does not win now may
/// win once the one that does is deleted.
///
/// Security: nobody takes over a document whose winner is not his to write, or brings back what a losing leaf has of
/// fields that are not. (`no_losing_leaf_is_made_to_win_over_what_is_not_its_writers`,
/// `no_losing_leaf_brings_back_what_its_writer_may_not_change`)
pub(crate) fn if_may_win(
    rules: &WriteRules,
    replaced: &Replaced,
    stored: &Value,
    deletes: bool,
) -> Result<(), Refused> {
    match (&replaced.winner, &replaced.next) {
        (Some(winner), _) if !deletes => {
            let covered = rules.covers(winner, false);
            covered.map_err(|denied| refused(denied, false))?;
            // To him it is as if someone had just written it.
            match rules.leaves_free(winner) {
                true => Ok(()),
                false => Err(conflict()),
            }
        }
        (_, Some(next)) if rules.knows(next) => rules
            .may_uncover(stored, next)
            .map_err(|denied| refused(denied, true)),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Judges what is written where nothing is.
pub(crate) fn create(rules: &WriteRules, mut written: Written) -> Result<Passed, Refused> {
    let laid = lay(&mut written.document, Beside::default(), written.follows)?;
    let document = rules.judge(None, written.document);
    let document = document.map_err(|denied| refused(denied, false))?;
    laid.settle(document, true, None)
}

/// Judges one write by what is stored, and reads the bytes of stored attachments where they are needed. `behind`: the
/// writes of the same document that come after it.
pub(crate) async fn settle(
    couch: &Couch,
    db: &DbName,
    rules: &WriteRules,
    written: Written,
    stored: &mut Stored,
    behind: impl Iterator<Item = &Written>,
) -> Result<Result<Value, Refused>, Refusal> {
    let id = written.id.clone();
    let before = match stored {
        Stored::Leaves(leaves) => {
            let behind = behind.map(|written| &written.document);
            Box::pin(before(couch, db, rules, &written, leaves, behind)).await?
        }
        Stored::Replaced(_) | Stored::Unreadable { .. } => Ok(None),
    };
    let before = match before {
        Ok(before) => before,
        Err(refused) => return Ok(Err(refused)),
    };
    let base = match &*stored {
        Stored::Replaced(replaced) => replaced.document.as_deref(),
        Stored::Leaves(leaves) => leaves
            .base(&written.document)
            .filter(|leaf| leaf.stored)
            .map(|leaf| &*leaf.document)
            .or(before.as_deref()),
        Stored::Unreadable { .. } => None,
    };
    // What the writer sees of it, and what it puts into the new document.
    let mut share = couch.share();
    if let (Some(share), Some(base)) = (&mut share, base.filter(|base| rules.knows(base))) {
        match share.set(base.size().saturating_mul(2)) {
            Ok(()) => {}
            Err(NoRoom::Ever) => return Ok(Err(Refused::too_large())),
            Err(full) => return Err(full.into()),
        }
    }
    let mut bytes = None;
    if rules.fixes_fields()
        && let Some(base) = base
        && let Some(view) = rules.view(base)
        && attachments::may_equal(&written.document, &view)
        && let Some(rev) = base.get("_rev").and_then(Value::as_str)
    {
        bytes = attachments::with_bytes(couch, db, &id, rev).await?;
    }
    let passed = match stored {
        Stored::Replaced(replaced) => judge(rules, written, replaced, bytes.as_deref()),
        Stored::Leaves(leaves) => {
            let beside = (before.as_deref(), bytes.as_deref());
            judge_forced(rules, written, leaves, beside)
        }
        Stored::Unreadable { forced: false } => Err(hidden(rules, written)),
        Stored::Unreadable { forced: true } => Err(forced::hidden(rules, written)),
    };
    match passed {
        Ok(passed) => attachments::fill(couch, db, &id, passed).await,
        Err(refused) => Ok(Err(refused)),
    }
}

/// What a replicated document was made of, where that is no leaf any more and matters: it was deleted meanwhile, or this
/// is a tombstone.
///
/// Security: whether a revision was there is told to those only who see it, or its end.
async fn before(
    couch: &Couch,
    db: &DbName,
    rules: &WriteRules,
    written: &Written,
    leaves: &mut Leaves,
    behind: impl Iterator<Item = &Value>,
) -> Result<Result<Option<Counted<Value>>, Refused>, Refusal> {
    const GONE: &str = "what this was made of was deleted, and is not there any more";
    if leaves.is_hidden(rules) {
        return Ok(Ok(None));
    }
    let named = (db, written.id.as_str());
    let fork = leaves.read_fork(couch, named, &written.document, behind);
    let Some((body, leaf)) = fork.await? else {
        return Ok(Ok(None));
    };
    let alive = body.filter(|body| body.get("_deleted").is_none());
    let saw_whole = || rules.always_saw_whole(written.id.starts_with("_design/"));
    Ok(match alive.filter(|body| rules.knows(body)) {
        Some(body) => Ok(Some(body)),
        None if !written.deletes() && rules.knows(&leaf.document) && !saw_whole() => {
            Err(Refused::forbidden(GONE))
        }
        None => Ok(None),
    })
}

impl Refused {
    pub(crate) fn forbidden(reason: &str) -> Self {
        Self {
            error: "forbidden",
            reason: reason.to_owned(),
        }
    }

    /// What is stored takes too much to be judged beside what is sent.
    fn too_large() -> Self {
        Self {
            error: "too_large",
            reason: "the document takes too much memory".to_owned(),
        }
    }

    /// A stub that stands for nothing.
    pub(crate) fn missing_stub() -> Self {
        Self {
            error: "missing_stub",
            reason: "an attachment is not stored".to_owned(),
        }
    }

    /// Where one document is no reason to refuse the others: without `new_edits` CouchDB knows no conflict, and
    /// a replicator gives up its batch at any error but `forbidden`.
    pub(crate) fn in_batch(self) -> Self {
        match self.error {
            "conflict" | "not_found" => Self::forbidden("this document may not be written"),
            "missing_stub" => Self::forbidden("an attachment is not stored"),
            "too_large" => Self::forbidden("the document takes too much memory"),
            _ => self,
        }
    }

    /// The refusal of a request that writes this document alone.
    pub(crate) fn into_refusal(self) -> Refusal {
        match self.error {
            "conflict" => Refusal::Conflict,
            "not_found" => Refusal::Missing,
            "missing_stub" => Refusal::MissingStub,
            "too_large" => Refusal::TooLarge(Limit::Body),
            _ => Refusal::ForbiddenBecause(self.reason),
        }
    }

    /// As a row of `_bulk_docs`, where CouchDB knows no `not_found`.
    pub(crate) fn into_row(self, id: &str, rev: Option<&str>) -> Value {
        let (error, reason) = match self.error {
            "not_found" => ("conflict", CONFLICT.to_owned()),
            // CouchDB would refuse the whole batch.
            "missing_stub" | "too_large" => ("forbidden", self.reason),
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

/// Why a document is not written that could not be asked for.
pub(crate) const LONG_ID: &str = "the id is too long for a URL";
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

pub(crate) fn refused(denied: Denied, deletes: bool) -> Refused {
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

/// The revision that a document says it replaces. As in CouchDB, `_revisions` says it too.
pub(crate) fn named_rev(document: &Object) -> Result<Option<String>, Refusal> {
    match (document.get("_rev"), document.get("_revisions")) {
        (Some(rev), _) => text(rev, "_rev").map(Some),
        (None, None) => Ok(None),
        (None, Some(revisions)) => {
            let history = History::read(revisions);
            let history = history.ok_or(Refusal::BadRequest("`_revisions` can't be read"))?;
            Ok(Some(history.own().as_str().to_owned()))
        }
    }
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
