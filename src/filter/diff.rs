//! `_revs_diff` and `_missing_revs`: hidden documents are answered exactly as absent ones.

use std::collections::HashSet;

use bytes::Bytes;

use crate::body::Cut;
use crate::filter::answer::{Answer, first};
use crate::filter::ask::Asker;
use crate::filter::known::Known;
use crate::filter::pages::Part;
use crate::filter::sight::{Sight, see_elsewhere};
use crate::filter::writes::whole;
use crate::inspect;
use crate::json::{Object, Value};
use crate::policy::Lens;
use crate::refusal::Refusal;
use crate::route::{Method, Query};

/// How the answer is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Diff {
    /// `{"ID":{"missing":[REV]}}`
    RevsDiff,
    /// `{"missing_revs":{"ID":[REV]}}`
    MissingRevs,
}

/// How often rows may ask for further revisions.
const ROUNDS: usize = 4;

/// Which of the revisions that a client has are not here, as far as he may know.
pub(crate) async fn missing(
    asker: Asker,
    lens: Lens,
    kind: Diff,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let Value::Object(asked) = inspect::value(&body)? else {
        return Err(Refusal::BadRequest("Request body must be a JSON object"));
    };
    let visible = visible(&asker, &lens, &asked).await?;
    let mut hidden = Object::new();
    let mut open = Object::new();
    for (id, revs) in asked.iter() {
        let side = if visible.contains(id) {
            &mut open
        } else {
            &mut hidden
        };
        side.insert(id, revs.clone());
    }
    let mut answer = Object::new();
    if !open.is_empty() {
        let body = Some(Value::Object(open).to_bytes());
        let part = Part {
            method: Method::Post,
            query: Query::default(),
            body,
        };
        let upstream = whole(first(&asker, part).await?).await?;
        collect(&upstream, kind, &mut answer)?;
    }
    for (id, revs) in hidden.iter() {
        // An empty list has nothing missing, so the document is not in the answer at all.
        if revs.as_array().is_some_and(|revs| !revs.is_empty()) {
            answer.insert(id, laid_out(kind, revs.clone()));
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

fn laid_out(kind: Diff, revs: Value) -> Value {
    match kind {
        Diff::RevsDiff => super::writes::object([("missing", revs)]),
        Diff::MissingRevs => revs,
    }
}

/// CouchDB's answer for the documents that may be seen. `possible_ancestors` names leaves that nobody has
/// judged, so it stays here; it only spares attachments a journey.
fn collect(upstream: &[u8], kind: Diff, answer: &mut Object) -> Result<(), Refusal> {
    const UNREADABLE: Refusal = Refusal::BadGateway("the answer of the database can't be read");
    let read = Value::parse(upstream).map_err(|_| UNREADABLE)?;
    let rows = match kind {
        Diff::RevsDiff => Some(&read),
        Diff::MissingRevs => read.get("missing_revs"),
    };
    for (id, row) in rows.and_then(Value::as_object).ok_or(UNREADABLE)?.iter() {
        let revs = match kind {
            Diff::RevsDiff => row.get("missing"),
            Diff::MissingRevs => Some(row),
        };
        if let Some(revs) = revs {
            answer.insert(id, laid_out(kind, revs.clone()));
        }
    }
    Ok(())
}

async fn visible<'a>(
    asker: &Asker,
    lens: &Lens,
    asked: &'a Object,
) -> Result<HashSet<&'a str>, Refusal> {
    let mut known = Known::default();
    for _ in 0..ROUNDS {
        let mut seen = HashSet::new();
        for (id, _) in asked.iter() {
            if let Sight::Visible(_) = see_elsewhere(lens, id, &mut known) {
                seen.insert(id);
            }
        }
        if !known.is_waiting() {
            return Ok(seen);
        }
        let wanted = known.take_missing();
        for (wanted, document) in asker.read(wanted).await.map_err(Cut::refusal)? {
            known.learn(wanted, document);
        }
    }
    Err(Refusal::Internal)
}
