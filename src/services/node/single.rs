//! Single-level nodes as they are stored, and the full node made of one and its ancestors. Pure.
//!
//! `full(node) = merge(fold of full(parent) from left to right, own properties)`. Nothing of the
//! ancestors' `metadata` gets into it, and no member that begins with `_`.
//!
//! Invariant: a full node is computed once for each ancestor, however many ways lead to it.

use std::collections::HashMap;

use super::merge::merge;
use crate::json::{Object, Value};

/// A node as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Single {
    pub(super) id: String,
    pub(super) rev: String,
    /// What it says about itself; never inherited.
    metadata: Object,
    pub(super) parents: Vec<String>,
    /// About how many bytes it takes to keep it.
    pub(super) weight: usize,
    /// The properties: all members but `metadata` and those that begin with `_`.
    own: Object,
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
            weight: weight(&own).saturating_add(weight(metadata)),
            own,
        })
    }

    /// The names of those who may write it besides administrators.
    pub(super) fn admins(&self) -> Vec<String> {
        let names = self.metadata.get("nodeAdmins").and_then(Value::as_array);
        let names = names.unwrap_or_default().iter().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
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

    /// What a present node says about itself under this name.
    pub(super) fn said(&self, name: &str) -> Option<&Value> {
        self.metadata.get(name)
    }

    /// Its own properties, nothing inherited.
    pub(super) fn own(&self) -> &Object {
        &self.own
    }
}

/// The properties of a node with all that it inherits. `order` names each ancestor once, before all that
/// inherit from it, and the node itself last.
pub(super) fn full(order: &[&Single]) -> Object {
    let last = order.last().map(|node| node.id.clone());
    inherited(order, last.as_slice())
}

/// What a node inherits from these parents. `order` names them and all their ancestors, as for [`full`].
pub(super) fn inherited(order: &[&Single], parents: &[String]) -> Object {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for parent in order.iter().flat_map(|node| &node.parents).chain(parents) {
        *uses.entry(parent).or_default() += 1;
    }
    let mut done = HashMap::new();
    for node in order {
        let inherited = fold(&node.parents, &mut done);
        let full = merge(inherited, &Value::Object(node.own.clone()));
        if let Some(uses) = uses.get(node.id.as_str()) {
            done.insert(node.id.as_str(), (full, *uses));
        }
    }
    properties(Some(fold(parents, &mut done)))
}

/// About how many bytes it takes to keep this.
pub(super) fn weight(properties: &Object) -> usize {
    let sizes = properties
        .iter()
        .map(|(key, value)| key.len().saturating_add(value.size()));
    // A list that has grown has room for twice as much.
    sizes.sum::<usize>().saturating_mul(2).saturating_add(1024)
}

/// Full nodes, and how often each is still needed: a long chain of ancestors must not be held once for each of them.
type Done<'n> = HashMap<&'n str, (Value, usize)>;

/// Full parents, laid over each other from left to right.
fn fold(parents: &[String], done: &mut Done<'_>) -> Value {
    let mut parents = parents.iter().filter_map(|parent| take(parent, done));
    let first = parents.next();
    let first = first.unwrap_or_else(|| Object::new().into());
    parents.fold(first, |under, parent| merge(under, &parent))
}

/// A full parent, which is let go where nobody else needs it.
fn take(parent: &str, done: &mut Done<'_>) -> Option<Value> {
    let (full, uses) = done.get_mut(parent)?;
    *uses = uses.saturating_sub(1);
    match uses {
        0 => done.remove(parent).map(|(full, _)| full),
        _ => Some(full.clone()),
    }
}

fn properties(value: Option<Value>) -> Object {
    match value {
        Some(Value::Object(properties)) => properties,
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )
        | None => Object::new(),
    }
}

#[cfg(test)]
mod tests;
