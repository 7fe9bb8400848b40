//! One write, judged by what is stored, with the attachments that it keeps.

use super::attachments;
use super::edit;
use super::edit::judge;
use super::forced;
use super::forced::judge_forced;
use super::leaves::Leaves;
use super::refused::Refused;
use super::stored::Stored;
use super::written::Written;
use crate::budget::{Counted, NoRoom};
use crate::couch::Couch;
use crate::json::Value;
use crate::policy::WriteRules;
use crate::refusal::Refusal;
use crate::route::DbName;

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
        Stored::Unreadable { forced: false } => Err(edit::hidden(rules, written)),
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
