//! `_revs_diff` and `_missing_revs`: hidden documents are answered exactly as absent ones.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use crate::body::Cut;
use crate::budget::Counted;
use crate::couch::{Pace, Revisions};
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::redact::{Redaction, judge};
use crate::exchange::revisions::RevisionCache;
use crate::intake::json_body;
use crate::json::{Object, Value};
use crate::policy::{Lens, Needs};
use crate::refusal::Refusal;
use crate::route::{History, Rev};

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

/// Which of the revisions that a client has are not here, as far as they may know: those are here that a leaf which
/// they may see descends from.
///
/// Security: CouchDB's own answer would tell whether a guessed revision of a hidden leaf is stored.
/// (`two_worlds_that_differ_in_hidden_things_answer_alike`)
pub(crate) async fn missing(
    context: Context,
    lens: Lens,
    kind: Diff,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let Value::Object(asked) = json_body::value(&body)? else {
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
        Needs::Document => stored(&context, &lens, &asked).await?,
        Needs::Nothing | Needs::Id => stored_by_id(&context, &lens, &asked).await?,
    };
    let mut answer = Object::new();
    for ((id, revs), stored) in asked.iter().zip(&stored) {
        let is_here = |rev: &Rev| stored.contains(rev.as_str());
        let absent = revs.iter();
        let absent = absent.filter(|(_, rev)| !rev.as_ref().is_some_and(is_here));
        let absent: Vec<Value> = absent.map(|(text, _)| Value::from(&**text)).collect();
        if !absent.is_empty() {
            answer.insert(*id, laid_out(kind, absent.into()));
        }
    }
    let mut whole = Value::Object(answer);
    if kind == Diff::MissingRevs {
        whole = crate::exchange::write::answer::object([("missing_revs", whole)]);
    }
    let mut bytes = whole.to_bytes();
    bytes.push(b'\n');
    Ok(Answer::json(bytes))
}

/// A revision as it is told, in CouchDB's spelling; without a meaning one that nobody can have reached.
type NamedRev<'a> = (Cow<'a, str>, Option<Rev>);

/// A document, and the revisions of it that were asked for.
type Asked<'a> = (&'a str, Vec<NamedRev<'a>>);

fn named(revs: &Value) -> Result<Vec<NamedRev<'_>>, Refusal> {
    let revs = revs
        .as_array()
        .ok_or(Refusal::BadRequest("the revisions must be a list"))?;
    let mut named = Vec::with_capacity(revs.len());
    let mut seen = HashSet::new();
    for rev in revs {
        let text = rev.as_str().filter(|text| is_revision(text));
        let text = text.ok_or(Refusal::BadRequest("Invalid rev format"))?;
        let rev = Rev::parse(text).ok();
        let text = match &rev {
            Some(rev) if rev.as_str() != text => Cow::Owned(rev.as_str().to_owned()),
            Some(_) | None => Cow::Borrowed(text),
        };
        // CouchDB calls a revision missing that is stored and asked for twice.
        if seen.insert(text.clone()) {
            named.push((text, rev));
        }
    }
    Ok(named)
}

/// Whether CouchDB takes this for a revision: a number and a dash, and in 32 characters behind it hexadecimal ones.
fn is_revision(text: &str) -> bool {
    let Some((number, suffix)) = text.split_once('-') else {
        return false;
    };
    let digits = number.strip_prefix('+').unwrap_or(number);
    let counts = digits.bytes().any(|digit| digit != b'0');
    let digest = counts && suffix.len() == 32;
    !digits.is_empty()
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && (!digest || suffix.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `possible_ancestors` would name leaves too; it only spares attachments a journey.
fn laid_out(kind: Diff, revs: Value) -> Value {
    match kind {
        Diff::RevsDiff => crate::exchange::write::answer::object([("missing", revs)]),
        Diff::MissingRevs => revs,
    }
}

/// For each document that was asked for, which of its revisions are those of leaves that may be seen, or of their
/// ancestors. CouchDB is asked the same for what is hidden and for what is absent.
async fn stored(
    context: &Context,
    lens: &Lens,
    asked: &[Asked<'_>],
) -> Result<Vec<HashSet<String>>, Refusal> {
    let (mut all, mut pace) = (Vec::with_capacity(asked.len()), Pace::default());
    while let Some(rest) = asked.get(all.len()..).filter(|rest| !rest.is_empty()) {
        let ids: Vec<(&str, Option<&str>)> = rest.iter().map(|(id, _)| (*id, None)).collect();
        let found = context
            .couch
            .read_some_revisions(&context.db, &ids, &mut pace);
        let found = found.await?;
        let here = here(context, lens, rest, &found).await;
        all.extend(here.map_err(Cut::refusal)?);
    }
    Ok(all)
}

/// Which revisions are here of those documents whose leaves have been read.
async fn here(
    context: &Context,
    lens: &Lens,
    asked: &[Asked<'_>],
    found: &[Revisions],
) -> Result<Vec<HashSet<String>>, Cut> {
    let (mut cache, mut pace) = (context.known(), Pace::default());
    let mut all = Vec::with_capacity(found.len());
    loop {
        cache.begin_again();
        for (one, leaves) in asked.iter().zip(found).skip(all.len()) {
            if cache.has_noted_enough() {
                break;
            }
            let here = of_visible(lens, one, leaves.as_deref(), &mut cache);
            // Behind one that waits, the others only note what they need.
            if !cache.is_waiting() {
                all.push(here);
            }
        }
        if !cache.is_waiting() {
            return Ok(all);
        }
        cache.forget_unneeded();
        context.fill(&mut cache, &mut pace).await?;
    }
}

/// Which of the revisions asked for are those of leaves that may be seen, or of their ancestors.
fn of_visible(
    lens: &Lens,
    (id, revs): &Asked<'_>,
    leaves: Option<&[Counted<Value>]>,
    cache: &mut RevisionCache,
) -> HashSet<String> {
    let named: HashSet<&str> = readable(revs).collect();
    let mut here = HashSet::new();
    for leaf in leaves.unwrap_or_default() {
        if let Redaction::Visible(_) = judge(lens, id, leaf, cache) {
            let history = History::of(leaf);
            let revs = history.iter().flat_map(History::iter).map(Rev::as_str);
            here.extend(revs.filter(|rev| named.contains(rev)).map(str::to_owned));
        }
    }
    here
}

/// Those that could be stored.
fn readable<'r>(revs: &'r [NamedRev<'_>]) -> impl Iterator<Item = &'r str> {
    let revs = revs.iter().filter_map(|(_, rev)| rev.as_ref());
    revs.map(Rev::as_str)
}

/// The same where ids alone tell what may be seen: no document is read.
async fn stored_by_id(
    context: &Context,
    lens: &Lens,
    asked: &[Asked<'_>],
) -> Result<Vec<HashSet<String>>, Refusal> {
    let mut visible = Object::new();
    for (id, revs) in asked {
        if lens.judge(id, None).is_some() {
            let revs: Vec<Value> = readable(revs).map(Value::from).collect();
            visible.insert(*id, Value::from(revs));
        }
    }
    if visible.is_empty() {
        return Ok(asked.iter().map(|_| HashSet::new()).collect());
    }
    let missing = context.couch.missing(&context.db, visible.clone()).await?;
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
