//! `_bulk_docs`: each document judged, those that pass sent on, the others answered in their place.

use std::collections::{HashMap, HashSet};

use crate::caller::Caller;
use crate::couch::Couch;
use crate::inspect::document::{Refused, Stored, Written, named_rev, new_id, settle};
use crate::inspect::forced::{Leaf, grow};
use crate::inspect::local::Locals;
use crate::json::Value;
use crate::policy::WriteRules;
use crate::refusal::{Limit, Refusal};
use crate::route::{DbName, DocId, LocalId};

/// How many documents are read at once.
const BATCH: usize = 200;
/// As many bytes are sent on at once as CouchDB takes, hidden fields that are put back included.
const MOST: usize = 128 * 1024 * 1024;

/// A batch as the client sent it.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) new_edits: bool,
    pub(crate) entries: Vec<Entry>,
}

/// One document of a batch.
#[derive(Debug)]
pub(crate) enum Entry {
    /// To be judged.
    Document(Written),
    /// A checkpoint, under its private name; nothing is judged in it.
    Local { id: String, document: Value },
    /// Not a document that CouchDB could take.
    Refused { id: String, why: Refused },
}

impl Entry {
    fn written(&self) -> Option<&Written> {
        match self {
            Self::Document(written) => Some(written),
            Self::Local { .. } | Self::Refused { .. } => None,
        }
    }
}

/// What became of one document.
#[derive(Debug)]
pub(crate) enum Judged {
    /// Sent on; the client knows it by this id.
    Sent { id: String, document: Vec<u8> },
    /// Not sent; the row that says why.
    Answered(Value),
}

impl Batch {
    /// Reads the body of `_bulk_docs`.
    pub(crate) fn read(body: Value, locals: &Locals, caller: &Caller) -> Result<Self, Refusal> {
        let Value::Object(body) = body else {
            return Err(Refusal::BadRequest("Request body must be a JSON object"));
        };
        let mut new_edits = true;
        let mut docs = None;
        for (name, value) in body {
            match (name.as_str(), value) {
                ("docs", Value::Array(list)) => docs = Some(list),
                ("docs", _) => {
                    return Err(Refusal::BadRequest("`docs` parameter must be an array."));
                }
                ("new_edits", Value::Bool(flag)) => new_edits = flag,
                ("w", _) => {}
                _ => return Err(Refusal::Malformed(format!("`{name}` is not known here"))),
            }
        }
        let docs = docs.ok_or(Refusal::BadRequest(
            "POST body must include `docs` parameter.",
        ))?;
        let entries = docs
            .into_iter()
            .map(|document| entry(document, locals, caller))
            .collect::<Result<_, _>>()?;
        Ok(Self { new_edits, entries })
    }

    /// The ids that are judged, for those who must wait for each other.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        let written = self.entries.iter().filter_map(Entry::written);
        written.map(|written| written.id.as_str())
    }

    /// Reads what is stored and judges every document.
    pub(crate) async fn judge(
        self,
        couch: &Couch,
        db: &DbName,
        rules: &WriteRules,
    ) -> Result<Vec<Judged>, Refusal> {
        let mut judged = Vec::with_capacity(self.entries.len());
        let mut made = Made::new(self.ids());
        let mut sent = 0_usize;
        let mut entries = self.entries.into_iter().peekable();
        while entries.peek().is_some() {
            let part: Vec<Entry> = entries.by_ref().take(BATCH).collect();
            let stored = if self.new_edits {
                let stored = replaced(couch, db, &part).await?;
                stored.into_iter().map(Some).collect()
            } else {
                leaves(couch, db, &part).await?
            };
            for (entry, stored) in part.into_iter().zip(stored) {
                let one = match entry {
                    Entry::Local { id, document } => sent_on(id, &document),
                    Entry::Refused { id, why } => Judged::Answered(why.into_row(&id, None)),
                    Entry::Document(written) if stored.is_none() => {
                        let why = Refused::forbidden("this document may not be written");
                        Judged::Answered(why.into_row(&written.id, written.rev.as_deref()))
                    }
                    Entry::Document(written) => {
                        let (id, rev) = (written.id.clone(), written.rev.clone());
                        let stored = made.beside(&id, stored.unwrap_or(Stored::Leaves(Vec::new())));
                        match settle(couch, db, rules, written, &stored).await? {
                            Ok(document) => {
                                let one = sent_on(id.clone(), &document);
                                made.note(id, stored, Some(document));
                                one
                            }
                            Err(why) => {
                                made.note(id.clone(), stored, None);
                                // With `new_edits` CouchDB's rows name no revision.
                                let rev = rev.as_deref().filter(|_| !self.new_edits);
                                Judged::Answered(why.into_row(&id, rev))
                            }
                        }
                    }
                };
                if let Judged::Sent { document, .. } = &one {
                    // Hidden fields that are put back count too.
                    sent = sent.saturating_add(document.len());
                    if sent > MOST {
                        return Err(Refusal::TooLarge(Limit::Body));
                    }
                }
                judged.push(one);
            }
        }
        Ok(judged)
    }
}

/// What a batch without `new_edits` has made, for its later rows about the same documents.
struct Made {
    repeated: HashSet<String>,
    leaves: HashMap<String, Vec<Leaf>>,
}

impl Made {
    fn new<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        let repeated = ids.filter(|id| !seen.insert(*id)).map(str::to_owned);
        Self {
            repeated: repeated.collect(),
            leaves: HashMap::new(),
        }
    }

    /// The leaves as this row will find them.
    fn beside(&mut self, id: &str, stored: Stored) -> Stored {
        match (stored, self.leaves.remove(id)) {
            (Stored::Leaves(_), Some(leaves)) => Stored::Leaves(leaves),
            (stored, _) => stored,
        }
    }

    /// What the row has made of them.
    fn note(&mut self, id: String, stored: Stored, document: Option<Value>) {
        if let Stored::Leaves(mut leaves) = stored
            && self.repeated.contains(&id)
        {
            if let Some(document) = document {
                grow(&mut leaves, document);
            }
            self.leaves.insert(id, leaves);
        }
    }
}

fn entry(document: Value, locals: &Locals, caller: &Caller) -> Result<Entry, Refusal> {
    let Value::Object(mut object) = document else {
        return Err(Refusal::BadRequest("Document must be a JSON object"));
    };
    let id = match object.get("_id") {
        None => new_id().ok_or(Refusal::Internal)?,
        Some(Value::String(id)) => id.clone(),
        Some(_) => return Err(Refusal::BadRequest("Document id must be a string")),
    };
    object.insert("_id", id.as_str());
    if let Some(name) = id.strip_prefix("_local/") {
        let Ok(local) = LocalId::parse(name) else {
            return Ok(Entry::Refused {
                id,
                why: Refused::forbidden("not an id of a document"),
            });
        };
        let private = locals.private(caller, &local)?;
        object.insert("_id", format!("_local/{}", private.as_str()));
        return Ok(Entry::Local {
            id,
            document: Value::Object(object),
        });
    }
    if DocId::parse(&id).is_err() {
        return Err(Refusal::BadRequest(
            "Only reserved document ids may start with underscore.",
        ));
    }
    let rev = named_rev(&object)?;
    if let Some(rev) = &rev {
        object.insert("_rev", rev.as_str());
    }
    Ok(Entry::Document(Written {
        id,
        rev,
        document: Value::Object(object),
        follows: false,
    }))
}

/// With `new_edits`: the revision that each document replaces, or the winner where none is named.
async fn replaced(couch: &Couch, db: &DbName, part: &[Entry]) -> Result<Vec<Stored>, Refusal> {
    let written = || part.iter().filter_map(Entry::written);
    let named = written().filter_map(|one| Some((one.id.as_str(), Some(one.rev.as_deref()?))));
    let named: Vec<_> = named.collect();
    let unnamed = written().filter(|one| one.rev.is_none());
    let unnamed: Vec<&str> = unnamed.map(|one| one.id.as_str()).collect();
    let mut revisions = match named.is_empty() {
        true => Vec::new(),
        false => couch.read_revisions(db, &named).await?,
    }
    .into_iter();
    let mut winners = match unnamed.is_empty() {
        true => Vec::new(),
        false => couch.read_many(db, &unnamed).await?,
    }
    .into_iter();
    let place = |entry: &Entry| {
        Stored::Replaced(match entry.written().map(|one| &one.rev) {
            None => None,
            Some(Some(_)) => revisions.next().and_then(|found| found.into_iter().next()),
            Some(None) => winners.next().flatten(),
        })
    };
    Ok(part.iter().map(place).collect())
}

/// Without `new_edits`: every leaf; none where they can't be read, and so can't be judged.
async fn leaves(
    couch: &Couch,
    db: &DbName,
    part: &[Entry],
) -> Result<Vec<Option<Stored>>, Refusal> {
    let ids = part
        .iter()
        .filter_map(Entry::written)
        .map(|one| (one.id.as_str(), None));
    let ids: Vec<(&str, Option<&str>)> = ids.collect();
    let mut found = match ids.is_empty() {
        true => Vec::new(),
        false => couch.read_readable(db, &ids).await?,
    }
    .into_iter();
    let place = |entry: &Entry| {
        let leaves = match entry.written() {
            Some(_) => found.next().flatten()?,
            None => Vec::new(),
        };
        let leaves = leaves.into_iter().map(Leaf::stored);
        Some(Stored::Leaves(leaves.collect()))
    };
    Ok(part.iter().map(place).collect())
}

fn sent_on(id: String, document: &Value) -> Judged {
    Judged::Sent {
        id,
        document: document.to_bytes(),
    }
}

/// The body that is sent on.
pub(crate) fn body(judged: &[Judged], new_edits: bool) -> Option<Vec<u8>> {
    let mut body = b"{\"docs\":[".to_vec();
    let start = body.len();
    for judged in judged {
        if let Judged::Sent { document, .. } = judged {
            if body.len() > start {
                body.push(b',');
            }
            body.extend_from_slice(document);
        }
    }
    if body.len() == start {
        return None;
    }
    body.extend_from_slice(if new_edits {
        b"]}"
    } else {
        b"],\"new_edits\":false}"
    });
    Some(body)
}

/// The ids that a document or a batch names, which is not judged; none where it can't be read in one way.
pub(crate) fn ids(body: &[u8]) -> Vec<String> {
    let Ok(body) = Value::parse(body) else {
        return Vec::new();
    };
    let batch = body.get("docs").and_then(Value::as_array);
    let documents = batch.unwrap_or_default().iter().chain([&body]);
    let ids = documents.filter_map(|document| document.get("_id")?.as_str());
    ids.map(str::to_owned).collect()
}
