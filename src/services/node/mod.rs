//! `/node`: configuration that inherits.
//!
//! Pure: `merge` lays one value over another and `unmerge` undoes it, `single` makes full nodes, `tree`
//! knows how nodes hang together, `draft` reads what somebody wants, `rules` says who may write what.
//! With CouchDB: `store` keeps what has been read, `order` puts structural writes one after another.
//! The service: this file reads and lists, `writing` puts and deletes, `gate` does so for CouchDB's own API,
//! `names` and `strangers` guard creations, `attributes` tells policies about a caller's own node.
//!
//! A node without `authorization` is anybody's to read, a user node its own user's; administrators read all.
//!
//! Invariant: nothing of a node is told, not even that it exists, to a caller who may not read it; and
//! nothing of an ancestor that is a user node gets into anybody's full node.

mod attributes;
mod draft;
mod gate;
pub(crate) mod merge;
mod names;
mod order;
mod rules;
mod single;
mod store;
mod stored;
mod strangers;
mod tree;
mod unmerge;
mod writing;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio::sync::Mutex;

use crate::caller::Caller;
use crate::couch::{Couch, CouchError};
use crate::identity::Identity;
use crate::json::{Object, Value};
use crate::refusal::Refusal;
use crate::route::{DbName, Query};
use crate::secret::Key;

use order::Order;
use rules::{absent, may_read};
use store::{Signature, Store, Trouble};
use strangers::Strangers;

pub(crate) use attributes::with_attributes;
pub(crate) use gate::{Gate, Writer};
pub(crate) use writing::{Asked, Body};

/// What the configuration says about nodes.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where they are stored.
    pub(crate) database: DbName,
    /// Whether anybody may list them, or administrators only.
    pub(crate) listing: bool,
    /// Whether anybody may create one, or administrators only.
    pub(crate) creation: bool,
    /// How many one address may create in an hour, unless an administrator does.
    pub(crate) creations: u32,
    /// Whether users may write their own nodes.
    pub(crate) self_service: bool,
    /// The paths that policies read through `{node:…}`.
    pub(crate) attributes: Vec<String>,
}

/// The node service.
#[derive(Debug)]
pub(crate) struct Nodes {
    couch: Couch,
    identity: Arc<Identity>,
    settings: Settings,
    store: Store,
    order: Order,
    strangers: Strangers,
    /// Held by the one of this couchwarden who writes.
    turn: Mutex<()>,
}

/// An answer in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 200, 201, or 304 without a body.
    pub(crate) status: u16,
    /// The JSON.
    pub(crate) body: Bytes,
    /// The tag of a node and all its ancestors, in quotes.
    pub(crate) etag: Option<String>,
}

/// How a node is shown.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// With `_id` and `_rev`.
    raw: bool,
    /// With the hash of the password.
    administrator: bool,
}

impl Shape {
    const ALL: [Self; 4] = [
        Self::of(false, false),
        Self::of(false, true),
        Self::of(true, false),
        Self::of(true, true),
    ];

    const fn of(raw: bool, administrator: bool) -> Self {
        Self { raw, administrator }
    }

    const fn index(self) -> usize {
        match (self.raw, self.administrator) {
            (false, false) => 0,
            (false, true) => 1,
            (true, false) => 2,
            (true, true) => 3,
        }
    }

    /// The tag of an answer: which revisions it is made of, and how they are shown.
    fn tag(self, signature: &Signature) -> String {
        let short: Vec<u8> = signature.iter().take(16).copied().collect();
        format!("\"{}{}\"", URL_SAFE_NO_PAD.encode(short), self.index())
    }
}

impl Nodes {
    /// The service on one database. Instances that share `tags` give the same tags.
    pub(crate) fn new(
        couch: Couch,
        identity: Arc<Identity>,
        settings: Settings,
        tags: Key,
    ) -> Result<Self, CouchError> {
        let database = settings.database.clone();
        let order = Order::new(couch.clone(), database.clone());
        Ok(Self {
            store: Store::new(couch.clone(), database, tags),
            order: order.ok_or(CouchError::Name)?,
            strangers: Strangers::new(settings.creations),
            turn: Mutex::new(()),
            couch,
            identity,
            settings,
        })
    }

    /// Follows the node database. Does not return.
    pub(crate) async fn watch(&self) {
        self.store.watch().await;
    }

    /// `GET /node/ID`: the full node, or with `?single-level` its own properties; `?raw` adds `_id` and
    /// `_rev`.
    pub(crate) async fn read(&self, asked: Asked<'_>) -> Result<Answer, Refusal> {
        let Asked {
            caller,
            id,
            query,
            if_none_match,
            ..
        } = asked;
        known(query, &["single-level", "raw"])?;
        let (alone, raw) = (flag(query, "single-level")?, flag(query, "raw")?);
        let id = id.as_str();
        self.store.ready().await?;
        // Security: an absent node and one that is not the caller's look the same, and cost the same.
        // (`a_hidden_node_looks_like_an_absent_one`)
        let open = |node: &tree::NodeHeader| may_read(caller, id, node);
        if !self.store.look(|tree| tree.node(id).is_some_and(open)) {
            return Err(absent(caller));
        }
        let administrator = caller.is_administrator();
        let full = self.store.full(id, alone).await;
        let full = full.map_err(|trouble| told(trouble, id, administrator))?;
        // Security: the revision that is shown decides, not the one that was there a moment ago.
        let full =
            full.filter(|full| administrator || !full.node.is_user() || caller.name() == Some(id));
        let full = full.ok_or_else(|| absent(caller))?;
        let shape = Shape::of(raw, administrator);
        let etag = shape.tag(&full.signature);
        if if_none_match.is_some_and(|tags| names(tags, &etag)) {
            return Ok(Answer {
                status: 304,
                body: Bytes::new(),
                etag: Some(etag),
            });
        }
        let make = || {
            let node = full.node.shown(full.properties.clone(), administrator, raw);
            Bytes::from(node.to_bytes())
        };
        let body = full.bodies.get(shape.index());
        Ok(Answer {
            status: 200,
            body: body.map_or_else(make, |body| body.get_or_init(make).clone()),
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
        self.store.ready().await?;
        let ids: Vec<Value> = self.store.look(|tree| {
            let candidates: Vec<&str> = match parent {
                Some(parent) => tree.children(parent).collect(),
                None => tree.ids(),
            };
            let user = |id: &str| tree.node(id).is_some_and(|knot| knot.user);
            let kind = |id: &&str| (!domains || !user(id)) && (!users || user(id));
            candidates
                .into_iter()
                .filter(kind)
                .map(Value::from)
                .collect()
        });
        let mut results = Object::new();
        results.insert("results", ids);
        Ok(Answer {
            status: 200,
            body: Value::from(results).to_bytes().into(),
            etag: None,
        })
    }
}

/// Security: which ancestor is broken, and how, is for administrators; others learn that one is.
/// (`a_broken_parent_looks_like_any_other`)
fn told(trouble: Trouble, id: &str, administrator: bool) -> Refusal {
    let broken = match trouble {
        Trouble::Refused(refusal) => return refusal,
        Trouble::Broken(broken) => broken,
    };
    tracing::warn!(%broken, node = id, "a node has no full form");
    if administrator {
        Refusal::Malformed(broken.to_string())
    } else {
        Refusal::Malformed(format!("the parents of node `{id}` can't be followed"))
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
