//! `_revs_diff` and `_missing_revs`: hidden documents are answered exactly as absent ones.

use std::collections::HashSet;

use bytes::Bytes;

use crate::body::Cut;
use crate::filter::answer::Answer;
use crate::filter::ask::Asker;
use crate::filter::known::Known;
use crate::filter::sight::{Sight, judge};
use crate::inspect;
use crate::json::{Object, Value};
use crate::policy::{Lens, Needs};
use crate::refusal::Refusal;
use crate::route::Rev;

/// How the answer is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Diff {
    /// `{"ID":{"missing":[REV]}}`
    RevsDiff,
    /// `{"missing_revs":{"ID":[REV]}}`
    MissingRevs,
}

/// The most documents of one request: each is read before the answer begins. Replicators ask for 100 to 500.
const MOST_DOCUMENTS: usize = 10_000;

/// How often a tombstone may ask for the body before it.
const ROUNDS: usize = 4;

/// Which of the revisions that a client has are not here, as far as he may know: those are here that a leaf which
/// he may see descends from.
///
/// Security: CouchDB's own answer would tell whether a guessed revision of a hidden leaf is stored.
/// (`two_worlds_that_differ_in_hidden_things_answer_alike`)
pub(crate) async fn missing(
    asker: Asker,
    lens: Lens,
    kind: Diff,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let Value::Object(asked) = inspect::value(&body)? else {
        return Err(Refusal::BadRequest("Request body must be a JSON object"));
    };
    if asked.len() > MOST_DOCUMENTS {
        return Err(Refusal::BadRequest("there are more than 10000 documents"));
    }
    let asked = asked
        .iter()
        .map(|(id, revs)| Ok((id, named(revs)?)))
        .collect::<Result<Vec<_>, Refusal>>()?;
    let stored = match lens.needs_document() {
        Needs::Document => stored(&asker, &lens, &asked).await?,
        Needs::Nothing | Needs::Id => stored_by_id(&asker, &lens, &asked).await?,
    };
    let mut answer = Object::new();
    for ((id, revs), stored) in asked.iter().zip(&stored) {
        let absent = revs
            .iter()
            .filter(|(_, rev)| !stored.contains(rev.as_str()));
        let absent: Vec<Value> = absent.map(|(text, _)| Value::from(*text)).collect();
        if !absent.is_empty() {
            answer.insert(*id, laid_out(kind, absent.into()));
        }
    }
    let mut whole = Value::Object(answer);
    if kind == Diff::MissingRevs {
        whole = super::writes::object([("missing_revs", whole)]);
    }
    let mut bytes = whole.to_bytes();
    bytes.push(b'\n');
    Ok(Answer::json(bytes))
}

/// A document, and the revisions of it that were asked for, as the client wrote them.
type Asked<'a> = (&'a str, Vec<(&'a str, Rev)>);

fn named(revs: &Value) -> Result<Vec<(&str, Rev)>, Refusal> {
    let revs = revs
        .as_array()
        .ok_or(Refusal::BadRequest("the revisions must be a list"))?;
    let mut named = Vec::with_capacity(revs.len());
    for rev in revs {
        let known = rev
            .as_str()
            .and_then(|text| Some((text, Rev::parse(text).ok()?)));
        named.push(known.ok_or(Refusal::BadRequest("Invalid rev format"))?);
    }
    Ok(named)
}

/// `possible_ancestors` would name leaves too; it only spares attachments a journey.
fn laid_out(kind: Diff, revs: Value) -> Value {
    match kind {
        Diff::RevsDiff => super::writes::object([("missing", revs)]),
        Diff::MissingRevs => revs,
    }
}

/// For each document that was asked for, the revisions of the leaves that may be seen and of their ancestors.
/// CouchDB is asked the same for what is hidden and for what is absent.
async fn stored(
    asker: &Asker,
    lens: &Lens,
    asked: &[Asked<'_>],
) -> Result<Vec<HashSet<String>>, Refusal> {
    let ids: Vec<(&str, Option<&str>)> = asked.iter().map(|(id, _)| (*id, None)).collect();
    let leaves = asker.couch.read_readable(&asker.db, &ids).await?;
    let mut known = Known::default();
    for _ in 0..ROUNDS {
        let documents = ids.iter().zip(&leaves);
        let stored = documents.map(|((id, _), leaves)| {
            let visible = leaves
                .iter()
                .flatten()
                .filter(|leaf| matches!(judge(lens, id, leaf, &mut known), Sight::Visible(_)));
            visible.flat_map(revisions).collect()
        });
        let stored = stored.collect();
        if !known.is_waiting() {
            return Ok(stored);
        }
        let wanted = known.take_missing();
        for (wanted, document) in asker.read(wanted).await.map_err(Cut::refusal)? {
            known.learn(wanted, document);
        }
    }
    Err(Refusal::Internal)
}

/// The same where ids alone tell what may be seen: no document is read.
async fn stored_by_id(
    asker: &Asker,
    lens: &Lens,
    asked: &[Asked<'_>],
) -> Result<Vec<HashSet<String>>, Refusal> {
    let mut visible = Object::new();
    for (id, revs) in asked {
        if lens.judge(id, None).is_some() {
            let revs: Vec<Value> = revs.iter().map(|(_, rev)| rev.as_str().into()).collect();
            visible.insert(*id, Value::from(revs));
        }
    }
    if visible.is_empty() {
        return Ok(asked.iter().map(|_| HashSet::new()).collect());
    }
    let missing = asker.couch.missing(&asker.db, visible.clone()).await?;
    let texts = |revs: Option<&Value>| -> HashSet<String> {
        let revs = revs.and_then(Value::as_array).unwrap_or_default();
        let texts = revs.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let stored = asked.iter().map(|(id, _)| {
        let (named, missing) = (texts(visible.get(id)), texts(missing.get(id)));
        &named - &missing
    });
    Ok(stored.collect())
}

/// A revision and its ancestors, from its `_revisions`.
fn revisions(leaf: &Value) -> Vec<String> {
    let history = leaf.get("_revisions");
    let start = history.and_then(|history| history.get("start")?.as_number()?.as_u64());
    let hashes = history.and_then(|history| history.get("ids")?.as_array());
    let (Some(start), Some(hashes)) = (start, hashes) else {
        return Vec::new();
    };
    let generations = (1..=start).rev();
    let hashes = hashes.iter().filter_map(Value::as_str);
    generations
        .zip(hashes)
        .map(|(generation, hash)| format!("{generation}-{hash}"))
        .collect()
}
