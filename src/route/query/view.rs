//! The parameters of views and of `_all_docs`, as `couch_mrview_http` reads them.
//!
//! Invariant: what CouchDB would read by the order of the parameters is refused, so the fields of a
//! [`ViewQuery`] say all of it.

use super::Query;
use super::error::{QueryError, is_harmless};
use super::names::canonical_of_views;
use super::spelt::Spelt;

/// The parameters of a view or of `_all_docs`. Keys are JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewQuery {
    /// `key`, as JSON
    pub key: Option<String>,
    /// `keys`, as JSON
    pub keys: Option<String>,
    /// `startkey`, as JSON
    pub startkey: Option<String>,
    /// `endkey`, as JSON
    pub endkey: Option<String>,
    /// `startkey_docid`
    pub startkey_docid: Option<String>,
    /// `endkey_docid`
    pub endkey_docid: Option<String>,
    /// `descending`
    pub descending: bool,
    /// `inclusive_end`, true where it is not given
    pub inclusive_end: bool,
    /// `limit`
    pub limit: Option<u64>,
    /// `skip`
    pub skip: u64,
    /// `reduce`
    pub reduce: Option<bool>,
    /// `group`
    pub group: Option<bool>,
    /// `group_level`
    pub group_level: Option<u64>,
    /// `include_docs`
    pub include_docs: bool,
    /// `conflicts`
    pub conflicts: bool,
    /// `attachments`
    pub attachments: bool,
    /// `att_encoding_info`
    pub att_encoding_info: bool,
    /// `update_seq`
    pub update_seq: bool,
    /// `sorted`
    pub sorted: Option<bool>,
    /// `stable`
    pub stable: Option<bool>,
    /// `update`
    pub update: Option<Update>,
    /// `stale`
    pub stale: Option<Stale>,
    /// `partition`
    pub partition: Option<String>,
    /// `include_system`, of `_local_docs`
    pub include_system: bool,
    in_query: Given,
    in_body: Given,
}

/// Whether the index is brought up to date first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// before the answer
    True,
    /// not at all
    False,
    /// after the answer
    Lazy,
}

/// The older way to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// not at all
    Ok,
    /// after the answer
    UpdateAfter,
}

/// Which parameters have been given, one bit for each of [`NAMES`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Given(u32);

impl Given {
    /// Notes a parameter; true if it was noted before.
    fn note(&mut self, name: &str) -> bool {
        let before = self.has(name);
        self.0 |= bit(name);
        before
    }

    fn has(self, name: &str) -> bool {
        self.0 & bit(name) != 0
    }
}

fn bit(name: &str) -> u32 {
    NAMES
        .iter()
        .zip(0u32..)
        .find(|(known, _)| **known == name)
        .map_or(0, |(_, place)| 1 << place)
}

const NAMES: [&str; 24] = [
    "key",
    "keys",
    "startkey",
    "endkey",
    "startkey_docid",
    "endkey_docid",
    "descending",
    "inclusive_end",
    "limit",
    "skip",
    "reduce",
    "group",
    "group_level",
    "include_docs",
    "conflicts",
    "attachments",
    "att_encoding_info",
    "update_seq",
    "sorted",
    "stable",
    "update",
    "stale",
    "partition",
    "include_system",
];

impl Default for ViewQuery {
    fn default() -> Self {
        Self {
            key: None,
            keys: None,
            startkey: None,
            endkey: None,
            startkey_docid: None,
            endkey_docid: None,
            descending: false,
            inclusive_end: true,
            limit: None,
            skip: 0,
            reduce: None,
            group: None,
            group_level: None,
            include_docs: false,
            conflicts: false,
            attachments: false,
            att_encoding_info: false,
            update_seq: false,
            sorted: None,
            stable: None,
            update: None,
            stale: None,
            partition: None,
            include_system: false,
            in_query: Given::default(),
            in_body: Given::default(),
        }
    }
}

impl Query {
    /// Reads them as the parameters of a view or of `_all_docs`.
    pub fn view(&self) -> Result<ViewQuery, QueryError> {
        ViewQuery::read(self)
    }
}

impl ViewQuery {
    /// The one name of a parameter that has aliases.
    pub fn canonical(name: &str) -> &str {
        canonical_of_views(name)
    }

    pub(super) fn read(query: &Query) -> Result<Self, QueryError> {
        let mut view = Self::default();
        for (name, value) in query.iter().filter(|(name, _)| !is_harmless(name)) {
            let name = canonical_of_views(name);
            if view.in_query.note(name) {
                return Err(QueryError::Parse(format!("`{name}` is given twice")));
            }
            view.put(name, &Spelt::Text(value))?;
        }
        view.agree()?;
        Ok(view)
    }

    /// Takes one member of a request body. The query string wins, as in CouchDB; a member that has been
    /// taken before, by whatever alias, is an error.
    pub fn absorb(&mut self, name: &str, json: &str) -> Result<(), QueryError> {
        let name = canonical_of_views(name);
        if self.in_body.note(name) {
            return Err(QueryError::Parse(format!("`{name}` is given twice")));
        }
        if !self.in_query.has(name) {
            self.put(name, &Spelt::Json(json))?;
        }
        self.agree()
    }

    /// Back to parameters, for rendering.
    pub fn pairs(&self) -> Query {
        let mut query = Query::default();
        let texts = [
            ("key", &self.key),
            ("keys", &self.keys),
            ("startkey", &self.startkey),
            ("endkey", &self.endkey),
            ("startkey_docid", &self.startkey_docid),
            ("endkey_docid", &self.endkey_docid),
            ("partition", &self.partition),
        ];
        for (name, text) in texts {
            text.iter().for_each(|text| query.set(name, text));
        }
        let numbers = [
            ("limit", self.limit),
            ("skip", Some(self.skip).filter(|skip| *skip != 0)),
            ("group_level", self.group_level),
        ];
        for (name, number) in numbers {
            number
                .iter()
                .for_each(|number| query.set(name, &number.to_string()));
        }
        let flags = [
            ("descending", self.descending.then_some(true)),
            ("inclusive_end", (!self.inclusive_end).then_some(false)),
            ("reduce", self.reduce),
            ("group", self.group),
            ("include_docs", self.include_docs.then_some(true)),
            ("conflicts", self.conflicts.then_some(true)),
            ("attachments", self.attachments.then_some(true)),
            ("att_encoding_info", self.att_encoding_info.then_some(true)),
            ("update_seq", self.update_seq.then_some(true)),
            ("sorted", self.sorted),
            ("stable", self.stable),
            ("include_system", self.include_system.then_some(true)),
        ];
        for (name, flag) in flags {
            flag.iter()
                .for_each(|flag| query.set(name, if *flag { "true" } else { "false" }));
        }
        if let Some(update) = self.update {
            query.set("update", update.as_str());
        }
        if let Some(stale) = self.stale {
            query.set("stale", stale.as_str());
        }
        query
    }

    fn put(&mut self, name: &str, value: &Spelt<'_>) -> Result<(), QueryError> {
        match name {
            "key" => self.key = Some(value.json()),
            "keys" => self.keys = Some(value.json()),
            "startkey" => self.startkey = Some(value.json()),
            "endkey" => self.endkey = Some(value.json()),
            "startkey_docid" => self.startkey_docid = Some(value.text(name)?),
            "endkey_docid" => self.endkey_docid = Some(value.text(name)?),
            "descending" => self.descending = value.boolean()?,
            "inclusive_end" => self.inclusive_end = value.boolean()?,
            "limit" => self.limit = Some(value.natural()?),
            "skip" => self.skip = value.natural()?,
            "reduce" => self.reduce = Some(value.boolean()?),
            "group" => self.group = Some(value.boolean()?),
            "group_level" => self.group_level = Some(value.natural()?),
            "include_docs" => self.include_docs = value.boolean()?,
            "conflicts" => self.conflicts = value.boolean()?,
            "attachments" => self.attachments = value.boolean()?,
            "att_encoding_info" => self.att_encoding_info = value.boolean()?,
            "update_seq" => self.update_seq = value.boolean()?,
            "sorted" => self.sorted = Some(value.boolean()?),
            "stable" => {
                self.stable = Some(value.one_of(name, &[("true", true), ("false", false)])?)
            }
            "update" => self.update = Some(value.one_of(name, &UPDATES)?),
            "stale" => self.stale = Some(value.one_of(name, &STALES)?),
            "partition" => self.partition = Some(value.text(name)?),
            // chttpd_db:set_include_sysdocs: whatever is not `true` is false.
            "include_system" => self.include_system = matches!(value, Spelt::Text("true")),
            _ => return Err(QueryError::unknown(name)),
        }
        Ok(())
    }

    /// What means something else in another order is refused.
    fn agree(&self) -> Result<(), QueryError> {
        let range = self.startkey.is_some() || self.endkey.is_some();
        if self.keys.is_some() && (self.key.is_some() || range) {
            let reason = "`keys` is incompatible with `key`, `start_key` and `end_key`";
            return Err(QueryError::Parse(reason.to_owned()));
        }
        if self.key.is_some() && range {
            let reason = "`key` is incompatible with `start_key` and `end_key`";
            return Err(QueryError::Parse(reason.to_owned()));
        }
        if self.stale.is_some() && (self.stable.is_some() || self.update.is_some()) {
            let reason = "`stale` is incompatible with `stable` and `update`";
            return Err(QueryError::Parse(reason.to_owned()));
        }
        Ok(())
    }
}

const UPDATES: [(&str, Update); 3] = [
    ("true", Update::True),
    ("false", Update::False),
    ("lazy", Update::Lazy),
];
const STALES: [(&str, Stale); 2] = [("ok", Stale::Ok), ("update_after", Stale::UpdateAfter)];

impl Update {
    /// As in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Lazy => "lazy",
        }
    }
}

impl Stale {
    /// As in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::UpdateAfter => "update_after",
        }
    }
}
