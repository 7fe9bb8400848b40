//! One row as the splitter gives it, with what its structure proof has found out on the way.
//!
//! Invariant: says what `members` and `Fields::cut` say of the same bytes, only faster.

use super::edit::{self, Member, Members};
use super::fields::{Fields, Kind};
use super::{JsonError, search};

/// A row whose structure is proven.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    bytes: &'a [u8],
    /// Where the brackets stand; none if that is not known.
    brackets: &'a [usize],
}

impl<'a> Row<'a> {
    pub(super) fn new(bytes: &'a [u8], brackets: &'a [usize]) -> Self {
        Self { bytes, brackets }
    }

    /// A row that has been put aside: where its brackets stand is no longer known.
    pub fn aside(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            brackets: &[],
        }
    }

    /// The row's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The row's members, as [`edit::members`] gives them.
    pub fn members(&self) -> Members<'a> {
        edit::proven_members(self.bytes, self.brackets)
    }

    /// Cuts what is hidden out of the value of one of the members, as [`Fields::cut`] does it.
    pub fn cut(
        &self,
        member: &Member<'_>,
        fields: &Fields,
        kind: Kind,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let start = member.whole.end.saturating_sub(member.value.len());
        let first = self.brackets.partition_point(|place| *place < start);
        let own = self
            .brackets
            .get(first..)
            .filter(|own| own.first() == Some(&start));
        if let (Some(search), Some(brackets)) = (fields.search(), own)
            && let Some(finds) = search.find(member.value)
            && search::cut(fields, kind, member.text, (brackets, start), &finds, out)?
        {
            return Ok(());
        }
        fields.cut(member.value, kind, out)
    }
}

/// `{"error":…,"reason":…}` is no row. With an id or a key it is one: that of a document that is not there.
pub(super) fn refuse_error(row: &[u8]) -> Result<(), JsonError> {
    let inner = row
        .strip_prefix(b"{")
        .unwrap_or_default()
        .trim_ascii_start();
    if !inner.starts_with(b"\"error\"") {
        return Ok(());
    }
    for member in edit::members(row) {
        if matches!(member?.key.as_ref(), "id" | "key") {
            return Ok(());
        }
    }
    Err(JsonError::ErrorInside)
}
