//! A document as a request brings it, not yet judged.

use aws_lc_rs::rand;

use crate::json::{Object, Value};
use crate::refusal::Refusal;
use crate::route::query::DocumentQuery;
use crate::route::{DocId, History, Rev};

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
