//! `/node`: configuration that inherits.
//!
//! `merge` lays one value over another, `single` makes a full node of a stored one and its ancestors;
//! this file reads them and says who may see what: a node without `authorization` is anybody's to read,
//! a user node its own user's, and administrators read all.
//!
//! Ancestors are read level by level, one round trip for each level, however wide it is.
//!
//! Invariant: nothing of a node is told, not even that it exists, to a caller who may not read it; and
//! nothing of an ancestor that is a user node gets into anybody's full node.

mod attributes;
pub(crate) mod merge;
mod single;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::future::Cache;

use crate::caller::{Caller, UserName};
use crate::couch::Couch;
use crate::json::{Object, Value};
use crate::refusal::Refusal;
use crate::route::{DbName, DocId, NodeId, Query};
use crate::secret::Key;

use single::{Broken, Single};

/// How many levels of ancestors a node may have.
const LEVELS: usize = 32;

/// How many ancestors a node may have.
const ANCESTORS: usize = 512;

/// How many documents a listing reads at once.
const PAGE: usize = 500;

/// How long the values of a caller's own node are believed.
const ATTRIBUTES_LIFE: Duration = Duration::from_secs(1);

/// What the configuration says about nodes.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where they are stored.
    pub(crate) database: DbName,
    /// Whether anybody may list them, or administrators only.
    pub(crate) listing: bool,
    /// The paths that policies read through `{node:…}`.
    pub(crate) attributes: Vec<String>,
}

/// Values of a caller's own node: (path, value as text).
type Attributes = Arc<Vec<(String, String)>>;

/// The node service.
#[derive(Debug)]
pub(crate) struct Nodes {
    couch: Couch,
    settings: Settings,
    /// Signs the revisions that a tag is made of, which may be none of the reader's business.
    tags: Key,
    attributes: Cache<UserName, Attributes>,
}

/// An answer in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 200, or 304 without a body.
    pub(crate) status: u16,
    /// The JSON.
    pub(crate) body: Vec<u8>,
    /// The tag of a node and all its ancestors, in quotes.
    pub(crate) etag: Option<String>,
}

/// Why the ancestors of a node are not there.
enum Trouble {
    Broken(Broken),
    Refused(Refusal),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Trouble {
    /// Security: which ancestor is broken, and how, is for administrators; others learn that one is.
    /// (`a_broken_parent_looks_like_any_other`)
    fn refusal(self, id: &str, administrator: bool) -> Refusal {
        let broken = match self {
            Self::Refused(refusal) => return refusal,
            Self::Broken(broken) => broken,
        };
        tracing::warn!(%broken, node = id, "a node has no full form");
        if administrator {
            Refusal::Malformed(broken.to_string())
        } else {
            Refusal::Malformed(format!("the parents of node `{id}` can't be followed"))
        }
    }
}

impl Nodes {
    /// The service on one database. Instances that share `tags` give the same tags.
    pub(crate) fn new(couch: Couch, settings: Settings, tags: Key) -> Self {
        let attributes = Cache::builder()
            .max_capacity(10_000)
            .time_to_live(ATTRIBUTES_LIFE)
            .build();
        Self {
            couch,
            settings,
            tags,
            attributes,
        }
    }

    /// `GET /node/ID`: the full node, or with `?single-level` its own properties; `?raw` adds `_id` and
    /// `_rev`.
    pub(crate) async fn read(
        &self,
        caller: &Caller,
        id: &NodeId,
        query: &Query,
        if_none_match: Option<&str>,
    ) -> Result<Answer, Refusal> {
        known(query, &["single-level", "raw"])?;
        let (single_level, raw) = (flag(query, "single-level")?, flag(query, "raw")?);
        let found = self.single(id.as_str()).await?;
        // Security: an absent node and one that is not the caller's look the same, and cost the same.
        // (`a_hidden_node_looks_like_an_absent_one`)
        let Some(node) = found.filter(|node| may_read(caller, node)) else {
            return Err(absent(caller));
        };
        let administrator = caller.is_administrator();
        let told = |trouble: Trouble| trouble.refusal(&node.id, administrator);
        let ancestors = if single_level {
            HashMap::new()
        } else {
            self.ancestors(&node).await.map_err(told)?
        };
        let order = if single_level {
            vec![&node]
        } else {
            single::order(&node, &ancestors).map_err(|broken| told(broken.into()))?
        };
        let etag = self.tag(&order, [single_level, raw, administrator]);
        if if_none_match.is_some_and(|tags| names(tags, &etag)) {
            return Ok(Answer {
                status: 304,
                body: Vec::new(),
                etag: Some(etag),
            });
        }
        let properties = if single_level {
            node.own().clone()
        } else {
            single::full(&order)
        };
        let body = node.shown(properties, administrator, raw).to_bytes();
        Ok(Answer {
            status: 200,
            body,
            etag: Some(etag),
        })
    }

    /// `GET /node`: the ids of all nodes; `?domains` those without authorization, `?users` those with,
    /// `?in-domain=ID` those with this parent.
    pub(crate) async fn list(&self, caller: &Caller, query: &Query) -> Result<Answer, Refusal> {
        if !self.settings.listing && !caller.is_administrator() {
            return Err(match caller {
                Caller::Anonymous => Refusal::Unauthorized,
                Caller::User(_) | Caller::Administrator(_) => {
                    Refusal::Forbidden("nodes are listed to administrators only")
                }
            });
        }
        known(query, &["domains", "users", "in-domain"])?;
        let (domains, users) = (flag(query, "domains")?, flag(query, "users")?);
        let parent = query.value("in-domain");
        let mut ids: Vec<Value> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .couch
                .page(&self.settings.database, after.as_deref(), PAGE)
                .await?;
            for node in page.iter().filter_map(Single::read) {
                let kind = (!domains || !node.is_user()) && (!users || node.is_user());
                if kind && parent.is_none_or(|parent| node.parents.iter().any(|id| id == parent)) {
                    ids.push(node.id.into());
                }
            }
            let last = page
                .last()
                .and_then(|document| document.get("_id")?.as_str());
            match last {
                Some(last) if page.len() >= PAGE => after = Some(last.to_owned()),
                Some(_) | None => break,
            }
        }
        let mut results = Object::new();
        results.insert("results", ids);
        Ok(Answer {
            status: 200,
            body: Value::from(results).to_bytes(),
            etag: None,
        })
    }

    async fn single(&self, id: &str) -> Result<Option<Single>, Refusal> {
        let Ok(id) = DocId::parse(id) else {
            return Ok(None);
        };
        let document = self.couch.read(&self.settings.database, &id).await?;
        Ok(document.as_ref().and_then(Single::read))
    }

    /// All ancestors that exist, level by level.
    async fn ancestors(&self, node: &Single) -> Result<HashMap<String, Single>, Trouble> {
        let mut found: HashMap<String, Single> = HashMap::new();
        let mut asked = vec![node.id.clone()];
        let mut level = node.parents.clone();
        for _ in 0..LEVELS {
            level.sort();
            level.dedup();
            level.retain(|id| !asked.contains(id));
            if level.is_empty() || asked.len() + level.len() > ANCESTORS {
                break;
            }
            let ids: Vec<&str> = level.iter().map(String::as_str).collect();
            let documents = self.couch.read_many(&self.settings.database, &ids).await;
            let documents = documents.map_err(|error| Trouble::Refused(error.into()))?;
            asked.append(&mut level);
            for parent in documents.iter().flatten().filter_map(Single::read) {
                level.extend(parent.parents.iter().cloned());
                found.insert(parent.id.clone(), parent);
            }
        }
        // What was not asked for would look like a missing parent.
        if level.is_empty() {
            Ok(found)
        } else {
            Err(Broken::TooDeep(node.id.clone()).into())
        }
    }

    /// One tag for one answer: which revisions it is made of, and how they are shown.
    fn tag(&self, order: &[&Single], shape: [bool; 3]) -> String {
        let shape = shape.map(u8::from);
        let mut parts: Vec<&[u8]> = vec![&shape];
        for node in order {
            parts.extend([node.id.as_bytes(), node.rev.as_bytes()]);
        }
        let signature = self.tags.sign(&parts);
        let short: Vec<u8> = signature.iter().take(16).copied().collect();
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(short))
    }
}

fn may_read(caller: &Caller, node: &Single) -> bool {
    caller.is_administrator() || !node.is_user() || caller.name() == Some(&node.id)
}

/// The answer about a node that is not there for this caller.
fn absent(caller: &Caller) -> Refusal {
    match caller {
        Caller::Anonymous => Refusal::Unauthorized,
        Caller::User(_) | Caller::Administrator(_) => Refusal::Missing,
    }
}

/// Refuses parameters that this endpoint does not have.
fn known(query: &Query, names: &[&str]) -> Result<(), Refusal> {
    match query
        .iter()
        .find(|(name, _)| !names.contains(name) && *name != "_nonce")
    {
        Some((name, _)) => Err(Refusal::BadQuery(format!("unknown parameter `{name}`"))),
        None => Ok(()),
    }
}

/// A parameter that is set by being there.
fn flag(query: &Query, name: &str) -> Result<bool, Refusal> {
    match query.value(name) {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(_) => Err(Refusal::BadQuery(format!("`{name}` is `true` or `false`"))),
    }
}

/// Is this tag in a list of `If-None-Match` (RFC 9110 section 13.1.2: weak comparison)?
fn names(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests;
