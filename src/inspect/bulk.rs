//! `_bulk_docs`: each document judged, those that pass sent on, the others answered in their place.

use std::collections::HashMap;

use crate::caller::Caller;
use crate::couch::Couch;
use crate::inspect::document::{Refused, Written, judge, judge_forced, new_id};
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
        for (name, value) in body.iter() {
            match (name, value) {
                ("docs", Value::Array(list)) => docs = Some(list),
                ("docs", _) => {
                    return Err(Refusal::BadRequest("`docs` parameter must be an array."));
                }
                ("new_edits", Value::Bool(flag)) => new_edits = *flag,
                ("w", _) => {}
                _ => return Err(Refusal::Malformed(format!("`{name}` is not known here"))),
            }
        }
        let docs = docs.ok_or(Refusal::BadRequest(
            "POST body must include `docs` parameter.",
        ))?;
        let entries = docs
            .iter()
            .map(|document| entry(document.clone(), locals, caller))
            .collect::<Result<_, _>>()?;
        Ok(Self { new_edits, entries })
    }

    /// The ids that are judged, for those who must wait for each other.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Document(written) => Some(written.id.as_str()),
            Entry::Local { .. } | Entry::Refused { .. } => None,
        })
    }

    /// Reads what is stored and judges every document.
    pub(crate) async fn judge(
        self,
        couch: &Couch,
        db: &DbName,
        rules: &WriteRules,
    ) -> Result<Vec<Judged>, Refusal> {
        let mut judged = Vec::with_capacity(self.entries.len());
        // What this batch itself has made of a document, for the rows after it.
        let mut made: HashMap<String, Vec<Value>> = HashMap::new();
        let mut sent = 0_usize;
        let mut entries = self.entries.into_iter().peekable();
        while entries.peek().is_some() {
            let part: Vec<Entry> = entries.by_ref().take(BATCH).collect();
            let stored = if self.new_edits {
                replaced(couch, db, &part).await?
            } else {
                leaves(couch, db, &part).await?
            };
            for (entry, mut stored) in part.into_iter().zip(stored) {
                if let Entry::Document(written) = &entry {
                    stored.extend(made.get(&written.id).into_iter().flatten().cloned());
                }
                let (one, whole) = settle(rules, entry, &stored, self.new_edits);
                if let Judged::Sent { id, document } = &one {
                    // Hidden fields that are put back count too.
                    sent = sent.saturating_add(document.len());
                    if sent > MOST {
                        return Err(Refusal::TooLarge(Limit::Body));
                    }
                    if !self.new_edits {
                        made.entry(id.clone()).or_default().extend(whole);
                    }
                }
                judged.push(one);
            }
        }
        Ok(judged)
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
    let rev = match object.get("_rev") {
        None => None,
        Some(Value::String(rev)) => Some(rev.clone()),
        Some(_) => return Err(Refusal::BadRequest("Invalid rev format")),
    };
    Ok(Entry::Document(Written {
        id,
        rev,
        document: Value::Object(object),
    }))
}

/// With `new_edits`: the revision that each document replaces, or the winner where none is named.
async fn replaced(couch: &Couch, db: &DbName, part: &[Entry]) -> Result<Vec<Vec<Value>>, Refusal> {
    let written = |entry: &'_ Entry| match entry {
        Entry::Document(written) => Some((written.id.clone(), written.rev.clone())),
        Entry::Local { .. } | Entry::Refused { .. } => None,
    };
    let all: Vec<Option<(String, Option<String>)>> = part.iter().map(written).collect();
    let named = all
        .iter()
        .flatten()
        .filter_map(|(id, rev)| Some((id.as_str(), Some(rev.as_deref()?))));
    let named: Vec<_> = named.collect();
    let unnamed = all.iter().flatten().filter(|(_, rev)| rev.is_none());
    let unnamed: Vec<&str> = unnamed.map(|(id, _)| id.as_str()).collect();
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
    let place = |entry: &Option<(String, Option<String>)>| match entry {
        None => Vec::new(),
        Some((_, Some(_))) => revisions.next().unwrap_or_default(),
        Some((_, None)) => winners.next().flatten().into_iter().collect(),
    };
    Ok(all.iter().map(place).collect())
}

/// Without `new_edits`: every leaf.
async fn leaves(couch: &Couch, db: &DbName, part: &[Entry]) -> Result<Vec<Vec<Value>>, Refusal> {
    let ids = part.iter().filter_map(|entry| match entry {
        Entry::Document(written) => Some((written.id.as_str(), None)),
        Entry::Local { .. } | Entry::Refused { .. } => None,
    });
    let ids: Vec<(&str, Option<&str>)> = ids.collect();
    let mut found = match ids.is_empty() {
        true => Vec::new(),
        false => couch.read_revisions(db, &ids).await?,
    }
    .into_iter();
    let place = |entry: &Entry| match entry {
        Entry::Document(_) => found.next().unwrap_or_default(),
        Entry::Local { .. } | Entry::Refused { .. } => Vec::new(),
    };
    Ok(part.iter().map(place).collect())
}

/// Judges one entry; with a document that is sent goes its whole value.
fn settle(
    rules: &WriteRules,
    entry: Entry,
    stored: &[Value],
    new_edits: bool,
) -> (Judged, Option<Value>) {
    match entry {
        Entry::Local { id, document } => (sent(id, &document), None),
        Entry::Refused { id, why } => (Judged::Answered(why.into_row(&id, None)), None),
        Entry::Document(written) => {
            let (id, rev) = (written.id.clone(), written.rev.clone());
            let verdict = if new_edits {
                judge(rules, written, stored.first())
            } else {
                judge_forced(rules, written, stored)
            };
            match verdict {
                Ok(document) => (sent(id, &document), Some(document)),
                Err(why) => {
                    // With `new_edits` CouchDB's rows name no revision.
                    let rev = rev.as_deref().filter(|_| !new_edits);
                    (Judged::Answered(why.into_row(&id, rev)), None)
                }
            }
        }
    }
}

fn sent(id: String, document: &Value) -> Judged {
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
