//! `_bulk_docs`: each document judged, those that pass sent on, the others answered in their place.

use std::collections::{HashMap, VecDeque};
use std::iter::once;

use tokio::task::yield_now;

use super::judge::settle;
use super::refused::{LONG_ID, Refused};
use super::stored::{Stored, leaves, replaced};
use super::written::{Written, named_rev, new_id};
use crate::budget::Share;
use crate::caller::Caller;
use crate::couch::{Couch, Pace};
use crate::exchange::local_names::Locals;
use crate::json::Value;
use crate::policy::WriteRules;
use crate::refusal::{Limit, Refusal};
use crate::route::{DbName, DocId, LocalId, Rev};

/// How many documents are read at once.
const BATCH: usize = 200;
/// As many bytes are sent on at once as CouchDB takes, hidden fields that are put back included.
const MOST: usize = 128 * 1024 * 1024;

const NOT_TAKEN: &str = "CouchDB rejected the document";
const NO_ID: &str = "not an id of a document";
const NO_REV: &str = "not a revision of a document";

/// Documents of a batch that are judged together.
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
    /// As the client knows it.
    fn id(&self) -> &str {
        match self {
            Self::Document(written) => &written.id,
            Self::Local { id, .. } | Self::Refused { id, .. } => id,
        }
    }

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

impl Judged {
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    /// What was sent and not taken.
    pub(crate) fn not_taken(self) -> Self {
        match self {
            Self::Sent { id, document: _ } => {
                Self::Answered(Refused::forbidden(NOT_TAKEN).into_row(&id, None))
            }
            Self::Answered(_) => self,
        }
    }
}

impl Batch {
    /// These documents, in their order.
    pub(crate) fn of(new_edits: bool, entries: Vec<Entry>) -> Self {
        let entries = match new_edits {
            true => entries,
            // What one row makes of a document is what the next one finds.
            false => by_document(entries),
        };
        Self { new_edits, entries }
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
    ) -> Result<Verdicts, Refusal> {
        let mut judging = Judging::new(couch, db, rules, self.new_edits);
        let mut share = couch.share();
        let mut rows = Vec::with_capacity(self.entries.len());
        let mut entries = VecDeque::from(self.entries);
        while let Some(entry) = entries.pop_front() {
            let judged = match entry {
                Entry::Document(written) => judging.row(written, &entries).await?,
                Entry::Local { id, document } => Judged::Sent {
                    id,
                    document: document.to_bytes(),
                },
                Entry::Refused { id, why } => Judged::Answered(why.into_row(&id, None)),
            };
            if let (Judged::Sent { document, .. }, Some(share)) = (&judged, &mut share) {
                // Once here, once in the batch that is sent.
                share.add(document.len().saturating_mul(2))?;
            }
            rows.push(judged);
        }
        Ok(Verdicts {
            rows,
            _share: share,
        })
    }

    /// Judges a batch without `new_edits` by what is stored now: the rows that pass, in parts, and the answers of
    /// the others. Each part is judged again in its turn. All rows of one document are in one part.
    ///
    /// Security: nobody holds the turn of a document that they may not write.
    /// (`a_forged_batch_holds_no_turn_of_documents_that_are_not_its_senders`)
    pub(crate) async fn screen(
        self,
        couch: &Couch,
        db: &DbName,
        rules: &WriteRules,
    ) -> Result<(Vec<Self>, Vec<Judged>), Refusal> {
        let mut judging = Judging::new(couch, db, rules, self.new_edits);
        let (mut passed, mut refused) = (Vec::new(), Vec::new());
        let mut entries = VecDeque::from(self.entries);
        while let Some(entry) = entries.pop_front() {
            match entry {
                Entry::Document(written) => match judging.row(written.clone(), &entries).await? {
                    Judged::Sent { .. } => passed.push(Entry::Document(written)),
                    Judged::Answered(row) => refused.push(Judged::Answered(row)),
                },
                Entry::Local { .. } => passed.push(entry),
                Entry::Refused { id, why } => {
                    refused.push(Judged::Answered(why.into_row(&id, None)));
                }
            }
        }
        Ok((parts(passed, self.new_edits), refused))
    }
}

/// Parts of so many documents each.
fn parts(entries: Vec<Entry>, new_edits: bool) -> Vec<Batch> {
    let mut parts: Vec<Batch> = Vec::new();
    let (mut documents, mut last) = (BATCH, None);
    for entry in entries {
        if last.as_deref() != Some(entry.id()) {
            last = Some(entry.id().to_owned());
            documents += 1;
        }
        if documents > BATCH {
            documents = 1;
            parts.push(Batch {
                new_edits,
                entries: Vec::new(),
            });
        }
        if let Some(part) = parts.last_mut() {
            part.entries.push(entry);
        }
    }
    parts
}

/// What became of the rows of a batch.
#[derive(Debug)]
pub(crate) struct Verdicts {
    pub(crate) rows: Vec<Judged>,
    _share: Option<Share>,
}

/// The rows of one batch, being judged one after the other.
struct Judging<'b> {
    couch: &'b Couch,
    db: &'b DbName,
    rules: &'b WriteRules,
    new_edits: bool,
    pace: Pace,
    /// What has been read for the next rows; without `new_edits`, for the next documents.
    ahead: VecDeque<Stored>,
    /// Without `new_edits`: the document whose rows are being judged, its leaves as the rows so far have made them, and
    /// what these take.
    current: Option<(String, Stored, Option<Share>)>,
    /// So many bytes are to be sent on.
    sent: usize,
}

impl<'b> Judging<'b> {
    fn new(couch: &'b Couch, db: &'b DbName, rules: &'b WriteRules, new_edits: bool) -> Self {
        Self {
            couch,
            db,
            rules,
            new_edits,
            pace: Pace::default(),
            ahead: VecDeque::new(),
            current: None,
            sent: 0,
        }
    }

    /// Judges a row; `behind` are those that come after it.
    async fn row(&mut self, written: Written, behind: &VecDeque<Entry>) -> Result<Judged, Refusal> {
        // A long batch leaves the worker to others between its rows.
        yield_now().await;
        let (id, rev) = (written.id.clone(), written.rev.clone());
        let (mut stored, share) = self.stored(&written, behind).await?;
        let next = behind.iter().map_while(Entry::written);
        let next = next.take_while(|next| next.id == id);
        let passed = settle(self.couch, self.db, self.rules, written, &mut stored, next).await?;
        let judged = match passed {
            Ok(document) => self.sent_on(id.clone(), document, (&mut stored, share))?,
            Err(why) => {
                // With `new_edits` CouchDB's rows name no revision.
                let rev = rev.as_deref().filter(|_| !self.new_edits);
                let row = why.into_row(&id, rev);
                (Judged::Answered(row), share)
            }
        };
        let (judged, share) = judged;
        if !self.new_edits {
            self.current = Some((id, stored, share));
        }
        Ok(judged)
    }

    /// What is stored of a document, as rows before this one have made it. With `new_edits` each row is judged by
    /// itself, and CouchDB finds the conflict.
    async fn stored(
        &mut self,
        written: &Written,
        behind: &VecDeque<Entry>,
    ) -> Result<(Stored, Option<Share>), Refusal> {
        let current = self.current.take();
        if let Some((_, stored, share)) = current.filter(|(id, _, _)| *id == written.id) {
            return Ok((stored, share));
        }
        if self.ahead.is_empty() {
            let next = once(written).chain(behind.iter().filter_map(Entry::written));
            let (couch, db, pace) = (self.couch, self.db, &mut self.pace);
            self.ahead = match self.new_edits {
                true => {
                    let next: Vec<&Written> = next.take(BATCH).collect();
                    replaced(couch, db, self.rules, &next, pace).await?
                }
                false => {
                    let mut documents: Vec<&Written> = Vec::new();
                    for one in next {
                        if documents.last().is_none_or(|last| last.id != one.id) {
                            documents.push(one);
                        }
                        if documents.len() == BATCH {
                            break;
                        }
                    }
                    leaves(couch, db, &documents, pace).await?
                }
            }
            .into();
        }
        let stored = self.ahead.pop_front().ok_or(Refusal::Internal(
            "fewer documents were read than a batch names",
        ))?;
        Ok((stored, self.couch.share()))
    }

    /// The row is sent on; the leaves of its document are others now.
    fn sent_on(
        &mut self,
        id: String,
        document: Value,
        (stored, mut share): (&mut Stored, Option<Share>),
    ) -> Result<(Judged, Option<Share>), Refusal> {
        let bytes = document.to_bytes();
        // Hidden fields that are put back count too.
        self.sent = self.sent.saturating_add(bytes.len());
        if self.sent > MOST {
            return Err(Refusal::TooLarge(Limit::Body));
        }
        if let Stored::Leaves(leaves) = stored {
            if let Some(share) = &mut share {
                share.add(document.size())?;
            }
            leaves.grow(document);
        }
        let document = bytes;
        Ok((Judged::Sent { id, document }, share))
    }
}

/// The rows of one document one after the other, in their order.
fn by_document(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut first: HashMap<String, usize> = HashMap::new();
    for (place, entry) in entries.iter().enumerate() {
        if !first.contains_key(entry.id()) {
            first.insert(entry.id().to_owned(), place);
        }
    }
    entries.sort_by_key(|entry| first.get(entry.id()).copied());
    entries
}

/// One document as a client sends it. What is wrong with it is its row's: a replica whose batch is refused sends it again
/// for ever.
pub(crate) fn entry(
    document: Value,
    new_edits: bool,
    locals: &Locals,
    caller: &Caller,
) -> Result<Entry, Refusal> {
    let Value::Object(mut object) = document else {
        return Err(Refusal::BadRequest("Document must be a JSON object"));
    };
    let id = match object.get("_id") {
        None => new_id().ok_or(Refusal::Internal("no random bytes"))?,
        Some(Value::String(id)) => id.clone(),
        Some(_) => return Err(Refusal::BadRequest("Document id must be a string")),
    };
    object.insert("_id", id.as_str());
    let rev = named_rev(&object).map(|rev| rev.map(|rev| Rev::parse(&rev)).transpose());
    let Ok(Ok(rev)) = rev else {
        return refused_entry(&Value::Object(object), NO_REV);
    };
    let rev = rev.map(|rev| rev.as_str().to_owned());
    if let Some(name) = id.strip_prefix("_local/") {
        // CouchDB would refuse the batch for it.
        if rev.is_none() && !new_edits {
            return refused_entry(&Value::Object(object), NO_REV);
        }
        let Ok(local) = LocalId::parse(name) else {
            return refused_entry(&Value::Object(object), NO_ID);
        };
        let private = locals.private(caller, &local)?;
        object.insert("_id", format!("_local/{}", private.as_str()));
        return Ok(Entry::Local {
            id,
            document: Value::Object(object),
        });
    }
    if DocId::parse(&id).is_err() {
        return refused_entry(&Value::Object(object), NO_ID);
    }
    if let Some(rev) = &rev {
        object.insert("_rev", rev.as_str());
    }
    let written = Written {
        id,
        rev,
        document: Value::Object(object),
        follows: false,
    };
    match written.can_be_asked_for() {
        true => Ok(Entry::Document(written)),
        false => refused_entry(&written.document, LONG_ID),
    }
}

/// A document that could not be stored, or not be read again.
pub(crate) fn refused_entry(document: &Value, reason: &str) -> Result<Entry, Refusal> {
    let id = match document.get("_id") {
        None => new_id().ok_or(Refusal::Internal("no random bytes"))?,
        Some(Value::String(id)) => id.clone(),
        Some(_) => return Err(Refusal::BadRequest("Document id must be a string")),
    };
    let why = Refused::forbidden(reason);
    Ok(Entry::Refused { id, why })
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
