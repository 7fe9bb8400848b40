//! Which nodes there are, and how they hang together: every document of the node database without its
//! properties. Pure.
//!
//! Broken documents are kept as what they are: nodes may have been written past us, so a parent may be
//! missing, a user node or a descendant, and whoever follows parents is told so.
//!
//! Invariant: `children` and `administered` say exactly what the nodes say.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::single::Single;
use crate::json::Value;

/// How many ancestors a node may have.
const ANCESTORS: usize = 512;

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    documents: HashMap<Box<str>, Document>,
    children: HashMap<Box<str>, BTreeSet<Box<str>>>,
    /// How many nodes name this user among their administrators.
    administered: HashMap<Box<str>, usize>,
}

/// What the database holds under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Document {
    /// A node.
    Node(NodeHeader),
    /// Something that is not a node, at this revision.
    Other(Box<str>),
    /// The tombstone of whatever it was, at this revision.
    Gone(Box<str>),
}

/// A node without its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeHeader {
    pub(super) rev: Box<str>,
    pub(super) parents: Vec<Box<str>>,
    /// Has it an `authorization`?
    pub(super) user: bool,
    pub(super) admins: Vec<Box<str>>,
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

impl Document {
    /// What a row of `_changes` with its document says.
    pub(super) fn read(document: &Value) -> Option<Self> {
        let rev = document.get("_rev")?.as_str()?;
        if document.get("_deleted").and_then(Value::as_bool) == Some(true) {
            return Some(Self::Gone(rev.into()));
        }
        Some(match Single::read(document) {
            Some(single) => Self::Node(NodeHeader::of(&single)),
            None => Self::Other(rev.into()),
        })
    }

    pub(super) fn rev(&self) -> &str {
        match self {
            Self::Node(knot) => &knot.rev,
            Self::Other(rev) | Self::Gone(rev) => rev,
        }
    }
}

impl NodeHeader {
    fn of(single: &Single) -> Self {
        let boxed = |ids: &[String]| ids.iter().map(|id| id.as_str().into()).collect();
        Self {
            rev: single.rev.as_str().into(),
            parents: boxed(&single.parents),
            user: single.is_user(),
            admins: boxed(&single.admins()),
        }
    }
}

impl Tree {
    /// What is under this id; nothing, if there never was anything.
    pub(super) fn find(&self, id: &str) -> Option<&Document> {
        self.documents.get(id)
    }

    /// The node of this id.
    pub(super) fn node(&self, id: &str) -> Option<&NodeHeader> {
        match self.documents.get(id) {
            Some(Document::Node(knot)) => Some(knot),
            Some(Document::Other(_) | Document::Gone(_)) | None => None,
        }
    }

    /// The ids of all nodes, sorted.
    pub(super) fn ids(&self) -> Vec<&str> {
        let nodes = self.documents.keys().filter(|id| self.node(id).is_some());
        let mut ids: Vec<&str> = nodes.map(|id| &**id).collect();
        ids.sort_unstable();
        ids
    }

    /// The nodes that have this one as parent, sorted.
    pub(super) fn children(&self, id: &str) -> impl Iterator<Item = &str> {
        self.children.get(id).into_iter().flatten().map(|id| &**id)
    }

    /// Does any node name this user among its administrators?
    pub(super) fn administers(&self, name: &str) -> bool {
        self.administered.contains_key(name)
    }

    /// Notes what is under an id now.
    pub(super) fn note(&mut self, id: &str, document: Document) {
        let new = match &document {
            Document::Node(knot) => Some(knot.clone()),
            Document::Other(_) | Document::Gone(_) => None,
        };
        let old = match self.documents.insert(id.into(), document) {
            Some(Document::Node(knot)) => Some(knot),
            Some(Document::Other(_) | Document::Gone(_)) | None => None,
        };
        if let Some(old) = old {
            self.unlink(id, &old);
        }
        if let Some(new) = new {
            for parent in &new.parents {
                let children = self.children.entry(parent.clone()).or_default();
                children.insert(id.into());
            }
            for name in &new.admins {
                *self.administered.entry(name.clone()).or_default() += 1;
            }
        }
    }

    fn unlink(&mut self, id: &str, old: &NodeHeader) {
        for parent in &old.parents {
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(id);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
        for name in &old.admins {
            let left = self
                .administered
                .get(name)
                .map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                self.administered.remove(name);
            } else {
                self.administered.insert(name.clone(), left);
            }
        }
    }

    /// The ancestors of a node that has these parents, each after all of its own parents, the node itself
    /// last. Whether the node is there already makes no difference.
    pub(super) fn order<'t>(
        &'t self,
        id: &'t str,
        parents: &'t [Box<str>],
    ) -> Result<Vec<&'t str>, Broken> {
        let mut done: HashSet<&str> = HashSet::new();
        let mut open: HashSet<&str> = HashSet::from([id]);
        let mut order = Vec::new();
        // One node on the way, its parents, and which of them comes next.
        let mut way: Vec<(&str, &[Box<str>], usize)> = vec![(id, parents, 0)];
        while let Some((child, parents, next)) = way.last_mut() {
            let child = *child;
            let Some(parent) = parents.get(*next) else {
                open.remove(child);
                done.insert(child);
                order.push(child);
                way.pop();
                continue;
            };
            *next = next.saturating_add(1);
            if done.contains(&**parent) {
                continue;
            }
            if !open.insert(parent) {
                return Err(Broken::Loop(parent.to_string()));
            }
            let knot = self.parent(child, parent)?;
            if order.len().saturating_add(way.len()) > ANCESTORS {
                return Err(Broken::TooDeep(id.to_owned()));
            }
            way.push((parent, &knot.parents, 0));
        }
        Ok(order)
    }

    /// A parent, if it can be one.
    fn parent(&self, child: &str, parent: &str) -> Result<&NodeHeader, Broken> {
        let (node, name) = (child.to_owned(), parent.to_owned());
        match self.node(parent) {
            None => Err(Broken::Missing { node, parent: name }),
            Some(knot) if knot.user => Err(Broken::User { node, parent: name }),
            Some(knot) => Ok(knot),
        }
    }

    /// A descendant that would have too many ancestors if this node had these parents. Counted from above,
    /// as if none were shared: what is refused might have just fitted in.
    pub(super) fn too_deep_below(&self, id: &str, parents: &[Box<str>]) -> Option<&str> {
        let count = |parents: &[Box<str>]| self.order(id, parents).map_or(0, |order| order.len());
        let old = self.node(id).map(|knot| knot.parents.as_slice());
        let more = count(parents).saturating_sub(old.map_or(1, count));
        let mut waiting: Vec<&str> = match more {
            0 => Vec::new(),
            _ => self.children(id).collect(),
        };
        let mut seen: HashSet<&str> = HashSet::new();
        while let Some(child) = waiting.pop() {
            if !seen.insert(child) {
                continue;
            }
            let parents = self.node(child).map(|knot| knot.parents.as_slice());
            let order = self.order(child, parents.unwrap_or_default());
            if order.is_ok_and(|order| order.len().saturating_add(more) > ANCESTORS) {
                return Some(child);
            }
            waiting.extend(self.children(child));
        }
        None
    }
}

#[cfg(test)]
mod tests;
