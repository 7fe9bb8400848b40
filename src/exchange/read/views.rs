//! The rows of a view: the key inside the caller's pin, the row by its rule, the document by itself.

use crate::budget::Counted;
use crate::exchange::redact::{Piece, Seen, show};
use crate::exchange::revisions::{Known, Lookup, Wanted};
use crate::exchange::rows::filter::{RowFilter, member};
use crate::exchange::rows::list_row::ListRow;
use crate::json;
use crate::json::{Fields, JsonError, Kind, Value, string};
use crate::policy::Lens;
use crate::policy::{self, Needs, ViewLens};

/// How the rows of a view are shown.
#[derive(Debug)]
pub(crate) struct ViewRows {
    /// Which rows may be seen, and what of them.
    pub(crate) lens: ViewLens,
    /// Whether the client asked for `include_docs`.
    pub(crate) docs: bool,
}

impl RowFilter for ViewRows {
    fn row(
        &mut self,
        row: json::Row<'_>,
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        let parts = ListRow::read(row)?;
        let (Some(id), Some(key), Some(value)) = (parts.id, parts.key, &parts.value) else {
            return Err(JsonError::Expected("a row of a view"));
        };
        if parts.error {
            return Err(JsonError::ErrorInside);
        }
        let name = string(id)?;
        let key_read = known.parse(key)?;
        let value_read = if self.lens.needs_value() {
            known.parse(value.value)?
        } else {
            Counted::free(Value::Null)
        };
        let mut row_read = policy::Row {
            id: Some(&name),
            key: &key_read,
            value: &value_read,
            doc: None,
        };
        let fields = match self.lens.needs_document() {
            Needs::Nothing | Needs::Id => {
                let source = self.lens.source(Some(&name), None);
                self.lens.judge(&row_read, &source)
            }
            Needs::Document => match known.look(Wanted::Winner(name.clone().into_owned())) {
                Lookup::Later => return Ok(Seen::Later),
                Lookup::Absent => return Ok(Seen::Hidden),
                Lookup::Found(stored) => {
                    row_read.doc = Some(&stored.document);
                    let source = stored.source(|doc| self.lens.source(Some(&name), Some(doc)));
                    self.lens.judge(&row_read, source)
                }
            },
        };
        let Some(fields) = fields else {
            return Ok(Seen::Hidden);
        };
        let mark = out.len();
        for (label, bytes) in [(&b"{\"id\":"[..], id), (b",\"key\":", key)] {
            out.extend_from_slice(label);
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(b",\"value\":");
        row.cut(value, &fields, Kind::Plain, out)?;
        if self.docs {
            out.extend_from_slice(b",\"doc\":");
            let doc = parts.doc.as_ref().map(|doc| Piece::Member(row, doc));
            if self.doc(doc, &fields, known, out)? == Seen::Later {
                out.truncate(mark);
                return Ok(Seen::Later);
            }
        }
        out.push(b'}');
        Ok(Seen::Shown)
    }

    fn documents(&self) -> Option<&Lens> {
        Some(self.lens.documents())
    }

    fn rows_share_documents(&self) -> bool {
        true
    }

    fn is_of_two_moments(&self) -> bool {
        self.lens.needs_document() == Needs::Document
    }

    fn is_more_than_a_document(&self) -> bool {
        true
    }

    fn source(&self, row: json::Row<'_>, known: &mut Known) -> Result<String, JsonError> {
        let id = member(row, "id")?;
        known.look(Wanted::Winner(id.clone()));
        Ok(id)
    }
}

impl ViewRows {
    /// The document of a row, its own or a linked one: as `read` shows it, less what the view's rules hide.
    fn doc(
        &self,
        doc: Option<Piece<'_>>,
        fields: &Fields,
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        let mut read = Vec::new();
        let seen = match doc {
            Some(doc) => show(self.lens.documents(), doc, known, &mut read)?,
            None => Seen::Hidden,
        };
        match seen {
            Seen::Shown => fields.cut(&read, Kind::Document, out)?,
            Seen::Hidden => out.extend_from_slice(b"null"),
            Seen::Later => {}
        }
        Ok(seen)
    }
}
