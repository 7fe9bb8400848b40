//! The rows of views and of lists of documents.

use crate::json::{JsonError, Member, Row};

/// The members of a row of a view or a list of documents.
#[derive(Debug, Default)]
pub(crate) struct ListRow<'a> {
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<Member<'a>>,
    /// None where there is none, or it is null.
    pub(crate) doc: Option<Member<'a>>,
    pub(crate) error: bool,
}

impl<'a> ListRow<'a> {
    pub(crate) fn read(row: Row<'a>) -> Result<Self, JsonError> {
        let mut parts = Self::default();
        for member in row.members() {
            let member = member?;
            match &*member.key {
                "id" => parts.id = Some(member.value),
                "key" => parts.key = Some(member.value),
                "value" => parts.value = Some(member),
                "doc" => parts.doc = Some(member).filter(|doc| doc.value != b"null"),
                "error" => parts.error = true,
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// The row of a key that no document has.
pub(crate) fn absent(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"key\":");
    out.extend_from_slice(key);
    out.extend_from_slice(b",\"error\":\"not_found\"}");
}
