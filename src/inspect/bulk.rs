//! `_bulk_docs`: each document judged, those that pass sent on, the others answered in their place.

use std::collections::{HashMap, HashSet};

use tokio::task::yield_now;

use crate::caller::Caller;
use crate::couch::Couch;
use crate::inspect::document::{Refused, Written, named_rev, new_id, settle};
use crate::inspect::forced::grow;
use crate::inspect::local::Locals;
use crate::inspect::stored::{Stored, leaves, replaced};
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
#[derive(Debug, Clone)]
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
                ("w", _) | ("all_or_nothing", Value::Bool(false)) => {}
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
        let mut judging = Judging::new(&self, couch, db, rules);
        let mut entries = self.entries.into_iter().peekable();
        while entries.peek().is_some() {
            let part = entries.by_ref().take(BATCH).collect();
            judged.extend(judging.part(part).await?);
        }
        Ok(judged)
    }

    /// Judges a batch without `new_edits` by what is stored now: the rows that pass, in parts, and the answers of
    /// the others. Each part is judged again in its turn.
    ///
    /// Security: nobody holds the turn of a document that he may not write.
    /// (`a_forged_batch_holds_no_turn_of_documents_that_are_not_its_senders`)
    pub(crate) async fn screen(
        self,
        couch: &Couch,
        db: &DbName,
        rules: &WriteRules,
    ) -> Result<(Vec<Self>, Vec<Judged>), Refusal> {
        let mut judging = Judging::new(&self, couch, db, rules);
        let (mut passed, mut refused) = (Vec::new(), Vec::new());
        let mut entries = self.entries.into_iter().peekable();
        while entries.peek().is_some() {
            let part: Vec<Entry> = entries.by_ref().take(BATCH).collect();
            let judged = judging.part(part.clone()).await?;
            for (entry, judged) in part.into_iter().zip(judged) {
                match judged {
                    Judged::Sent { .. } => passed.push(entry),
                    Judged::Answered(_) => refused.push(judged),
                }
            }
        }
        let mut parts = Vec::new();
        let mut passed = passed.into_iter().peekable();
        while passed.peek().is_some() {
            parts.push(Self {
                new_edits: self.new_edits,
                entries: passed.by_ref().take(BATCH).collect(),
            });
        }
        Ok((parts, refused))
    }
}

/// The rows of one batch, being judged one after the other.
struct Judging<'b> {
    couch: &'b Couch,
    db: &'b DbName,
    rules: &'b WriteRules,
    new_edits: bool,
    made: Made,
    /// So many bytes are to be sent on.
    sent: usize,
}

impl<'b> Judging<'b> {
    fn new(batch: &Batch, couch: &'b Couch, db: &'b DbName, rules: &'b WriteRules) -> Self {
        Self {
            couch,
            db,
            rules,
            new_edits: batch.new_edits,
            made: Made::new(batch.ids()),
            sent: 0,
        }
    }

    /// Judges the next rows, for which it reads once.
    async fn part(&mut self, part: Vec<Entry>) -> Result<Vec<Judged>, Refusal> {
        // A document that is written several times is read once.
        let mut seen = HashSet::new();
        let mut is_new = |one: &&Written| {
            self.new_edits || (!self.made.knows(&one.id) && seen.insert(one.id.clone()))
        };
        let written = part.iter().filter_map(Entry::written);
        let written: Vec<&Written> = written.filter(&mut is_new).collect();
        let stored = match self.new_edits {
            true => replaced(self.couch, self.db, self.rules, &written).await?,
            false => leaves(self.couch, self.db, &written).await?,
        };
        let mut stored = stored.into_iter();
        let mut judged = Vec::with_capacity(part.len());
        for entry in part {
            let one = match entry {
                Entry::Local { id, document } => sent_on(id, &document),
                Entry::Refused { id, why } => Judged::Answered(why.into_row(&id, None)),
                Entry::Document(written) => {
                    let made = self.made.take(&written.id);
                    let stored = made.or_else(|| stored.next()).ok_or(Refusal::Internal)?;
                    // A long batch leaves the worker to others between its rows.
                    yield_now().await;
                    self.row(written, stored).await?
                }
            };
            if let Judged::Sent { document, .. } = &one {
                // Hidden fields that are put back count too.
                self.sent = self.sent.saturating_add(document.len());
                if self.sent > MOST {
                    return Err(Refusal::TooLarge(Limit::Body));
                }
            }
            judged.push(one);
        }
        Ok(judged)
    }

    async fn row(&mut self, written: Written, stored: Stored) -> Result<Judged, Refusal> {
        let (id, rev) = (written.id.clone(), written.rev.clone());
        Ok(
            match settle(self.couch, self.db, self.rules, written, &stored).await? {
                Ok(document) => {
                    let one = sent_on(id.clone(), &document);
                    self.made.note(id, stored, Some(document));
                    one
                }
                Err(why) => {
                    self.made.note(id.clone(), stored, None);
                    // With `new_edits` CouchDB's rows name no revision.
                    let rev = rev.as_deref().filter(|_| !self.new_edits);
                    Judged::Answered(why.into_row(&id, rev))
                }
            },
        )
    }
}

/// What a batch without `new_edits` has made, for its later rows about the same documents.
struct Made {
    repeated: HashSet<String>,
    stored: HashMap<String, Stored>,
}

impl Made {
    fn new<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        let repeated = ids.filter(|id| !seen.insert(*id)).map(str::to_owned);
        Self {
            repeated: repeated.collect(),
            stored: HashMap::new(),
        }
    }

    /// Is the document read already, and written again by a later row?
    fn knows(&self, id: &str) -> bool {
        self.stored.contains_key(id)
    }

    /// What a later row finds of it.
    fn take(&mut self, id: &str) -> Option<Stored> {
        self.stored.remove(id)
    }

    /// What the row has made of it.
    fn note(&mut self, id: String, mut stored: Stored, document: Option<Value>) {
        if !self.repeated.contains(&id) {
            return;
        }
        match (&mut stored, document) {
            // With `new_edits` each row is read by itself, and CouchDB finds the conflict.
            (Stored::Replaced(_) | Stored::Unreadable { forced: false }, _) => return,
            (Stored::Leaves(leaves), Some(document)) => grow(leaves, document),
            (Stored::Leaves(_), None) | (Stored::Unreadable { forced: true }, _) => {}
        }
        self.stored.insert(id, stored);
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
