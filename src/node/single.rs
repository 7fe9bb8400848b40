//! Single-level nodes as they are stored, and the full node made of one and its ancestors. Pure.
//!
//! `full(node) = merge(fold of full(parent) from left to right, own properties)`. Nothing of the
//! ancestors' `metadata` gets into it, and no member that begins with `_`.
//!
//! Invariant: `order` ends with the node itself and names each ancestor once, before all that inherit
//! from it; so a full node is computed once for each ancestor, however many ways lead to it.

use std::collections::{HashMap, HashSet};

use super::merge::merge;
use crate::json::{Object, Value};

/// A node as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Single {
    pub(super) id: String,
    pub(super) rev: String,
    /// What it says about itself; never inherited.
    pub(super) metadata: Object,
    pub(super) parents: Vec<String>,
    /// The properties: all members but `metadata` and those that begin with `_`.
    own: Object,
}

/// Why a node has no full form. The text is for administrators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the parent `{parent}` of node `{node}` is missing")]
    Missing { node: String, parent: String },
    #[error("the parent `{parent}` of node `{node}` is a user node")]
    User { node: String, parent: String },
    #[error("node `{0}` is among its own ancestors")]
    Loop(String),
    #[error("node `{0}` has too many ancestors")]
    TooDeep(String),
}

impl Single {
    /// Reads a document of the node database; `None` for what is not a node: a design document, or one
    /// whose `metadata.nodeId` is not its id, or whose `metadata.parents` is not a list of ids.
    pub(super) fn read(document: &Value) -> Option<Self> {
        let id = document.get("_id")?.as_str()?;
        let metadata = document.get("metadata")?.as_object()?;
        if id.starts_with('_') || metadata.get("nodeId")?.as_str() != Some(id) {
            return None;
        }
        let parents = match metadata.get("parents") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => {
                let ids = list
                    .as_array()?
                    .iter()
                    .map(|id| id.as_str().map(str::to_owned));
                ids.collect::<Option<_>>()?
            }
        };
        let mut own = Object::new();
        for (key, value) in document.as_object()?.iter() {
            if key != "metadata" && !key.starts_with('_') {
                own.insert(key, value.clone());
            }
        }
        Some(Self {
            id: id.to_owned(),
            rev: document.get("_rev")?.as_str()?.to_owned(),
            metadata: metadata.clone(),
            parents,
            own,
        })
    }

    /// Is it a user node? Anything under `authorization` makes it one, readable or not.
    pub(super) fn is_user(&self) -> bool {
        self.metadata
            .get("authorization")
            .is_some_and(|value| !value.is_null())
    }

    /// What it says about itself, for this reader.
    ///
    /// Security: the hash is for administrators, others see its type.
    /// (`only_administrators_see_the_hash`)
    fn metadata_for(&self, administrator: bool) -> Object {
        let mut metadata = self.metadata.clone();
        if let (Some(authorization), false) = (metadata.get_mut("authorization"), administrator) {
            let mut shown = Object::new();
            if let Some(kind) = authorization
                .get("type")
                .filter(|kind| kind.as_str().is_some())
            {
                shown.insert("type", kind.clone());
            }
            *authorization = shown.into();
        }
        metadata
    }

    /// The node as an answer, with these properties.
    pub(super) fn shown(&self, properties: Object, administrator: bool, raw: bool) -> Value {
        let mut node = Object::new();
        if raw {
            node.insert("_id", self.id.as_str());
            node.insert("_rev", self.rev.as_str());
        }
        for (key, value) in properties {
            node.insert(key, value);
        }
        node.insert("metadata", self.metadata_for(administrator));
        node.into()
    }

    /// Its own properties, nothing inherited.
    pub(super) fn own(&self) -> &Object {
        &self.own
    }
}

/// The node and its ancestors, each after all of its parents.
pub(super) fn order<'n>(
    node: &'n Single,
    ancestors: &'n HashMap<String, Single>,
) -> Result<Vec<&'n Single>, Broken> {
    /// One node on the way, and which of its parents comes next.
    struct Step<'n>(&'n Single, usize);

    let mut done: HashSet<&str> = HashSet::new();
    let mut open: HashSet<&str> = HashSet::from([node.id.as_str()]);
    let mut order = Vec::new();
    let mut way = vec![Step(node, 0)];
    while let Some(Step(child, next)) = way.last_mut() {
        let child: &'n Single = child;
        let Some(parent) = child.parents.get(*next) else {
            open.remove(child.id.as_str());
            done.insert(&child.id);
            order.push(child);
            way.pop();
            continue;
        };
        *next += 1;
        if done.contains(parent.as_str()) {
            continue;
        }
        if !open.insert(parent) {
            return Err(Broken::Loop(parent.clone()));
        }
        let names = || (child.id.clone(), parent.clone());
        let Some(found) = ancestors.get(parent) else {
            let (node, parent) = names();
            return Err(Broken::Missing { node, parent });
        };
        if found.is_user() {
            let (node, parent) = names();
            return Err(Broken::User { node, parent });
        }
        way.push(Step(found, 0));
    }
    Ok(order)
}

/// The properties of the last node in the order, with all that it inherits.
pub(super) fn full(order: &[&Single]) -> Object {
    let mut done: HashMap<&str, Value> = HashMap::new();
    let mut last = Value::Object(Object::new());
    for node in order {
        let mut parents = node
            .parents
            .iter()
            .filter_map(|parent| done.get(parent.as_str()));
        let first = parents
            .next()
            .cloned()
            .unwrap_or_else(|| Object::new().into());
        let inherited = parents.fold(first, merge);
        last = merge(inherited, &Value::Object(node.own.clone()));
        done.insert(&node.id, last.clone());
    }
    match last {
        Value::Object(properties) => properties,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Object::new()
        }
    }
}

#[cfg(test)]
mod tests;
