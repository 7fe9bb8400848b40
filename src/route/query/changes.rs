//! The parameters of `_changes`, as `chttpd_db:parse_changes_query` reads them.
//!
//! Invariant: a parameter that goes to a filter function is kept apart; without such a function an
//! unknown parameter is an error.

use super::Query;
use super::error::{QueryError, is_harmless, natural};
use super::names::canonical_of_changes;

/// The parameters of `_changes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangesQuery {
    /// `feed`
    pub feed: Feed,
    /// `since`, or `last-event-id` which is the same
    pub since: Option<String>,
    /// `limit`
    pub limit: Option<u64>,
    /// `descending`
    pub descending: bool,
    /// `style=all_docs`
    pub style_all_docs: bool,
    /// `include_docs`
    pub include_docs: bool,
    /// `conflicts`
    pub conflicts: bool,
    /// `attachments`
    pub attachments: bool,
    /// `att_encoding_info`
    pub att_encoding_info: bool,
    /// `heartbeat`
    pub heartbeat: Option<Heartbeat>,
    /// `timeout` in milliseconds
    pub timeout: Option<u64>,
    /// `seq_interval`
    pub seq_interval: Option<u64>,
    /// `filter`
    pub filter: Option<String>,
    /// `view`, for the filter `_view`
    pub view: Option<String>,
    /// `doc_ids`, for the filter `_doc_ids`, as JSON
    pub doc_ids: Option<String>,
    /// What goes to a filter function.
    pub other: Vec<(String, String)>,
}

/// How the answer comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Feed {
    /// All there is, as one object.
    #[default]
    Normal,
    /// The same, but waits for a first change.
    Longpoll,
    /// One object in each line, without end. `live` is another word for it.
    Continuous,
    /// An event stream for browsers.
    EventSource,
}

/// How often an empty line keeps a feed alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// `true`: CouchDB's own interval, a minute.
    Default,
    /// in milliseconds
    Ms(u64),
}

impl Feed {
    /// None if CouchDB has no such feed.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "normal" => Some(Self::Normal),
            "longpoll" => Some(Self::Longpoll),
            "continuous" | "live" => Some(Self::Continuous),
            "eventsource" => Some(Self::EventSource),
            _ => None,
        }
    }

    /// As in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Longpoll => "longpoll",
            Self::Continuous => "continuous",
            Self::EventSource => "eventsource",
        }
    }
}

impl Query {
    /// Reads them as the parameters of `_changes`.
    pub fn changes(&self) -> Result<ChangesQuery, QueryError> {
        ChangesQuery::read(self)
    }
}

impl ChangesQuery {
    pub(super) fn read(query: &Query) -> Result<Self, QueryError> {
        let mut changes = Self::default();
        for (name, value) in query.iter().filter(|(name, _)| !is_harmless(name)) {
            changes.put(name, value)?;
        }
        match changes.other.first() {
            Some((name, _)) if !changes.has_filter_function() => Err(QueryError::unknown(name)),
            _ => Ok(changes),
        }
    }

    /// Does a function of a design document (`ddoc/name`) decide? It may read every parameter.
    pub fn has_filter_function(&self) -> bool {
        self.filter
            .as_ref()
            .is_some_and(|name| !name.is_empty() && !name.starts_with('_'))
    }

    /// Back to parameters, for rendering.
    pub fn pairs(&self) -> Query {
        let mut query = Query::default();
        if self.feed != Feed::Normal {
            query.set("feed", self.feed.as_str());
        }
        let texts = [
            ("since", &self.since),
            ("filter", &self.filter),
            ("view", &self.view),
            ("doc_ids", &self.doc_ids),
        ];
        for (name, text) in texts {
            text.iter().for_each(|text| query.set(name, text));
        }
        let numbers = [
            ("limit", self.limit),
            ("timeout", self.timeout),
            ("seq_interval", self.seq_interval),
        ];
        for (name, number) in numbers {
            number
                .iter()
                .for_each(|number| query.set(name, &number.to_string()));
        }
        match self.heartbeat {
            Some(Heartbeat::Default) => query.set("heartbeat", "true"),
            Some(Heartbeat::Ms(ms)) => query.set("heartbeat", &ms.to_string()),
            None => {}
        }
        if self.style_all_docs {
            query.set("style", "all_docs");
        }
        let flags = [
            ("descending", self.descending),
            ("include_docs", self.include_docs),
            ("conflicts", self.conflicts),
            ("attachments", self.attachments),
            ("att_encoding_info", self.att_encoding_info),
        ];
        for (name, _) in flags.into_iter().filter(|(_, flag)| *flag) {
            query.set(name, "true");
        }
        self.other
            .iter()
            .for_each(|(name, value)| query.set(name, value));
        query
    }

    fn put(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        match canonical_of_changes(name).as_ref() {
            "feed" => self.feed = Feed::parse(value).ok_or_else(|| bad(FEEDS))?,
            "since" => self.since = Some(value.to_owned()),
            "limit" => self.limit = Some(count(value, "limit")?),
            "timeout" => self.timeout = Some(count(value, "timeout")?),
            "style" => {
                self.style_all_docs = match value {
                    "all_docs" => true,
                    "main_only" => false,
                    _ => return Err(bad("Supported `style` types: main_only, all_docs")),
                }
            }
            "heartbeat" => self.heartbeat = Some(heartbeat(value)?),
            "seq_interval" => {
                let interval = natural(value).filter(|interval| *interval > 0);
                self.seq_interval = Some(interval.ok_or_else(|| bad("invalid_seq_interval"))?);
            }
            // These are on by `true` exactly; every other value is as if they were not there.
            "descending" => self.descending = value == "true",
            "include_docs" => self.include_docs = value == "true",
            "conflicts" => self.conflicts = value == "true",
            "attachments" => self.attachments = value == "true",
            "att_encoding_info" => self.att_encoding_info = value == "true",
            "filter" => self.filter = Some(value.to_owned()),
            "view" => self.view = Some(value.to_owned()),
            "doc_ids" => self.doc_ids = Some(value.to_owned()),
            _ => self.other.push((name.to_owned(), value.to_owned())),
        }
        Ok(())
    }
}

const FEEDS: &str = "Supported `feed` types: normal, continuous, live, longpoll, eventsource";

fn bad(reason: &str) -> QueryError {
    QueryError::Bad(reason.to_owned())
}

fn is_integer(text: &str) -> bool {
    natural(text.trim_start_matches(['-', '+'])).is_some()
}

fn count(value: &str, name: &str) -> Result<u64, QueryError> {
    let noun = if is_integer(value) {
        "value"
    } else {
        "parameter"
    };
    natural(value).ok_or_else(|| {
        bad(&format!(
            "The {name} {noun} should be a non-negative integer"
        ))
    })
}

fn heartbeat(value: &str) -> Result<Heartbeat, QueryError> {
    match natural(value) {
        _ if value == "true" => Ok(Heartbeat::Default),
        Some(ms) if ms > 0 => Ok(Heartbeat::Ms(ms)),
        _ if is_integer(value) => Err(bad(
            "The heartbeat value should be a positive integer (in milliseconds).",
        )),
        _ => Err(bad(
            "Invalid heartbeat value. Expecting a positive integer value (in milliseconds).",
        )),
    }
}
