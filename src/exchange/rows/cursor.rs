//! Where a page of a list ends, so that the next one begins behind it.
//!
//! Invariant: rows that CouchDB can't tell apart by key and document are counted together.

use super::list_row::ListRow;
use crate::json::{JsonError, Row, Value, string};
use crate::policy::collate;

/// The last rows of a page: those that have their key and their document in common.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    id: Vec<u8>,
    key: Vec<u8>,
    rows: u64,
}

impl Tail {
    /// The tail after one more row.
    pub(crate) fn with(before: Option<Self>, row: Row<'_>) -> Result<Option<Self>, JsonError> {
        let row = ListRow::read(row)?;
        let (id, key) = (row.id.unwrap_or_default(), row.key.unwrap_or_default());
        let rows = match &before {
            Some(tail) if tail.is_at(id, key) => tail.rows.saturating_add(1),
            Some(_) | None => 1,
        };
        let (mut old_id, mut old_key) = before.map(|tail| (tail.id, tail.key)).unwrap_or_default();
        old_id.clear();
        old_id.extend_from_slice(id);
        old_key.clear();
        old_key.extend_from_slice(key);
        Ok(Some(Self {
            id: old_id,
            key: old_key,
            rows,
        }))
    }

    /// How many rows it is.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// This tail, and so many rows like it on the pages before.
    pub(crate) fn and_before(mut self, rows: u64) -> Self {
        self.rows = self.rows.saturating_add(rows);
        self
    }

    /// Whether the row is one of these, which is then taken off.
    pub(crate) fn take(&mut self, row: Row<'_>) -> Result<bool, JsonError> {
        if self.rows == 0 {
            return Ok(false);
        }
        let row = ListRow::read(row)?;
        let found = self.is_at(row.id.unwrap_or_default(), row.key.unwrap_or_default());
        self.rows = if found { self.rows - 1 } else { 0 };
        Ok(found)
    }

    /// Whether the other one has the same key and document.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.is_at(&other.id, &other.key)
    }

    /// The key, as JSON.
    pub(crate) fn key(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// The id of the document.
    pub(crate) fn id(&self) -> Result<String, JsonError> {
        Ok(string(&self.id)?.into_owned())
    }

    /// `startkey` takes keys for one that only collate alike.
    fn is_at(&self, id: &[u8], key: &[u8]) -> bool {
        let alike = || match (Value::parse(&self.key), Value::parse(key)) {
            (Ok(one), Ok(other)) => collate(&one, &other).is_eq(),
            (Ok(_) | Err(_), _) => false,
        };
        self.id == id && (self.key == key || alike())
    }
}
