//! The parameters of a document or an attachment, as `chttpd_db:parse_doc_query` reads them.
//!
//! Invariant: `meta` is read as the three parameters it stands for, so no other reader need know it.

use super::Query;
use super::error::{QueryError, is_harmless, natural};
use crate::route::name::Rev;

/// The parameters of a document, for every method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentQuery {
    /// `rev`
    pub rev: Option<Rev>,
    /// `open_revs`
    pub open_revs: Option<OpenRevs>,
    /// `atts_since`
    pub atts_since: Option<Vec<Rev>>,
    /// `revs`
    pub revs: bool,
    /// `revs_info`, or `meta`
    pub revs_info: bool,
    /// `conflicts`, or `meta`
    pub conflicts: bool,
    /// `deleted_conflicts`, or `meta`
    pub deleted_conflicts: bool,
    /// `deleted`: the document is shown even if it is deleted
    pub deleted: bool,
    /// `latest`
    pub latest: bool,
    /// `local_seq`
    pub local_seq: bool,
    /// `attachments`
    pub attachments: bool,
    /// `att_encoding_info`
    pub att_encoding_info: bool,
    /// `new_edits`
    pub new_edits: Option<bool>,
    /// `batch=ok`
    pub batch: bool,
    /// `r`: how many copies are read
    pub r: Option<u64>,
    /// `w`: how many copies are written
    pub w: Option<u64>,
}

/// Which leaves are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenRevs {
    /// all of them
    All,
    /// these
    List(Vec<Rev>),
}

impl Query {
    /// Reads them as the parameters of a document or an attachment.
    pub fn document(&self) -> Result<DocumentQuery, QueryError> {
        DocumentQuery::read(self)
    }
}

impl DocumentQuery {
    pub(super) fn read(query: &Query) -> Result<Self, QueryError> {
        let mut document = Self::default();
        for (name, value) in query.iter().filter(|(name, _)| !is_harmless(name)) {
            document.put(name, value)?;
        }
        Ok(document)
    }

    /// Back to parameters, for rendering.
    pub fn pairs(&self) -> Query {
        let mut query = Query::default();
        if let Some(rev) = &self.rev {
            query.set("rev", rev.as_str());
        }
        match &self.open_revs {
            Some(OpenRevs::All) => query.set("open_revs", "all"),
            Some(OpenRevs::List(revs)) => query.set("open_revs", &array(revs)),
            None => {}
        }
        if let Some(revs) = &self.atts_since {
            query.set("atts_since", &array(revs));
        }
        let flags = [
            ("revs", self.revs),
            ("revs_info", self.revs_info),
            ("conflicts", self.conflicts),
            ("deleted_conflicts", self.deleted_conflicts),
            ("deleted", self.deleted),
            ("latest", self.latest),
            ("local_seq", self.local_seq),
            ("attachments", self.attachments),
            ("att_encoding_info", self.att_encoding_info),
        ];
        for (name, _) in flags.into_iter().filter(|(_, flag)| *flag) {
            query.set(name, "true");
        }
        if let Some(new_edits) = self.new_edits {
            query.set("new_edits", if new_edits { "true" } else { "false" });
        }
        if self.batch {
            query.set("batch", "ok");
        }
        for (name, copies) in [("r", self.r), ("w", self.w)] {
            copies
                .iter()
                .for_each(|copies| query.set(name, &copies.to_string()));
        }
        query
    }

    fn put(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        // Flags are on by `true` exactly; every other value is as if they were not there.
        let flag = value == "true";
        match name {
            "rev" => self.rev = Some(rev(value)?),
            "open_revs" if value == "all" => self.open_revs = Some(OpenRevs::All),
            // An empty list is as if it were not there.
            "open_revs" => {
                self.open_revs = Some(revs(value)?)
                    .filter(|revs| !revs.is_empty())
                    .map(OpenRevs::List);
            }
            "atts_since" => self.atts_since = Some(revs(value)?),
            "revs" => self.revs = flag,
            "revs_info" => self.revs_info |= flag,
            "conflicts" => self.conflicts |= flag,
            "deleted_conflicts" => self.deleted_conflicts |= flag,
            "meta" => {
                self.revs_info |= flag;
                self.conflicts |= flag;
                self.deleted_conflicts |= flag;
            }
            "deleted" => self.deleted = flag,
            "latest" => self.latest = flag,
            "local_seq" => self.local_seq = flag,
            "attachments" => self.attachments = flag,
            "att_encoding_info" => self.att_encoding_info = flag,
            "new_edits" => {
                self.new_edits = match value {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => None,
                }
            }
            "batch" => self.batch = value == "ok",
            "r" => self.r = Some(copies(name, value)?),
            "w" => self.w = Some(copies(name, value)?),
            _ => return Err(QueryError::unknown(name)),
        }
        Ok(())
    }
}

fn rev(text: &str) -> Result<Rev, QueryError> {
    Rev::parse(text).map_err(|error| QueryError::Bad(error.to_string()))
}

fn revs(json: &str) -> Result<Vec<Rev>, QueryError> {
    let list: Vec<String> = serde_json::from_str(json)
        .map_err(|_| QueryError::Bad("Invalid list of revisions".to_owned()))?;
    list.iter().map(|text| rev(text)).collect()
}

fn copies(name: &str, value: &str) -> Result<u64, QueryError> {
    natural(value)
        .filter(|copies| *copies > 0)
        .ok_or_else(|| QueryError::Bad(format!("`{name}` is not a positive integer")))
}

/// The revisions as a JSON array.
fn array(revs: &[Rev]) -> String {
    let texts: Vec<serde_json::Value> = revs.iter().map(|rev| rev.as_str().into()).collect();
    serde_json::Value::from(texts).to_string()
}
