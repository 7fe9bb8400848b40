//! Rows that are too long or too deep to be judged as they are.
//!
//! Invariant: the document of such a row counts as hidden, as everything does that can't be judged. Where the caller
//! may see a leaf of it, the answer is cut: they would take it for whole.

use crate::body::Cut;
use crate::couch::Pace;
use crate::exchange::context::Context;
use crate::exchange::redact::{Redaction, judge};
use crate::json::{JsonError, Value, members, quote, string};
use crate::policy::Lens;

/// What can be told of a row by its beginning.
#[derive(Debug)]
pub(crate) struct Unread {
    /// The row without its document.
    pub(crate) row: Vec<u8>,
    /// Whose document it holds.
    pub(crate) id: String,
}

impl Unread {
    /// CouchDB writes the document behind all other members of a row.
    pub(crate) fn of(head: &[u8], context: &Context) -> Result<Self, JsonError> {
        let mut row = b"{".to_vec();
        let named = context.permit.route().document();
        let mut id = named.map(|id| id.as_str().to_owned());
        // The last member that has begun is not complete.
        for member in members(head).map_while(Result::ok) {
            match &*member.key {
                "doc" | "docs" | "ok" => break,
                // The row is a document itself; what else stands in it is its writer's.
                "_id" => {
                    id = Some(string(member.value)?.into_owned());
                    break;
                }
                "id" => id = Some(string(member.value)?.into_owned()),
                // A view's row may link to another document.
                "value" => {
                    let value = Value::parse(member.value)?;
                    let linked = value.get("_id").and_then(Value::as_str);
                    id = linked.map(str::to_owned).or(id);
                }
                _ => {}
            }
            quote(&member.key, &mut row);
            row.push(b':');
            row.extend_from_slice(member.value);
            row.push(b',');
        }
        row.extend_from_slice(b"\"doc\":null,\"docs\":[]}");
        let id = id.ok_or(JsonError::TooLong(context.largest_row()))?;
        Ok(Self { row, id })
    }
}

/// Passes a document over that can't be judged, of which this is the beginning.
///
/// # Errors
///
/// A cut where the caller may see a leaf of it.
pub(crate) async fn pass_over(context: &Context, lens: &Lens, head: &[u8]) -> Result<(), Cut> {
    let unread = Unread::of(head, context).map_err(|_| Cut::Filter)?;
    match shows_a_leaf(context, lens, &unread.id).await? {
        true => Err(Cut::Filter),
        false => Ok(()),
    }
}

/// Whether the caller may see a leaf of the document. One that can't be read can't be judged.
pub(crate) async fn shows_a_leaf(context: &Context, lens: &Lens, id: &str) -> Result<bool, Cut> {
    let (mut cache, mut pace) = (context.known(), Pace::default());
    let wanted = [(id, None)];
    let leaves = context
        .couch
        .read_some_revisions(&context.db, &wanted, &mut pace);
    let leaves = leaves.await?;
    loop {
        let mut leaves = leaves.iter().flatten().flatten();
        if leaves.any(|leaf| matches!(judge(lens, id, leaf, &mut cache), Redaction::Visible(_))) {
            return Ok(true);
        }
        if !cache.is_waiting() {
            return Ok(false);
        }
        context.fill(&mut cache, &mut pace).await?;
    }
}
