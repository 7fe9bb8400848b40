//! Who may write which node, and what a node may become. Pure.
//!
//! First comes who may (401, 403), then what may be (400), so that nobody learns by a refusal what he may
//! not know. Whatever is not open to a caller is refused with one sentence: a node that he may not write, a
//! name that he may not take, and a creation that is switched off look alike.
//!
//! Security: what is compared with what is stored is compared only for those who may read it, or the
//! refusal would tell them the value guess by guess (`a_writer_can_not_guess_what_he_may_not_read`).
//!
//! Invariant: an administrator is refused nothing here but by `validate`.

use super::draft::{Authorization, Draft, wrong};
use super::tree::{Broken, Document, NodeHeader, Tree};
use crate::caller::Caller;
use crate::json::{Object, Value};
use crate::refusal::Refusal;

const CLOSED: Refusal = Refusal::Forbidden("you may not write this node");

/// Who wants to write which node, and what is known about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'w> {
    pub(super) caller: &'w Caller,
    pub(super) id: &'w str,
    /// May users write their own nodes?
    pub(super) self_service: bool,
    /// May anybody create nodes?
    pub(super) creation: bool,
}

impl Writer<'_> {
    /// The answer to whoever may not.
    pub(super) fn closed(&self) -> Refusal {
        match self.caller {
            Caller::Anonymous => Refusal::Unauthorized,
            Caller::User(_) | Caller::Administrator(_) => CLOSED,
        }
    }

    fn open_if(&self, open: bool) -> Result<(), Refusal> {
        if open || self.caller.is_administrator() {
            Ok(())
        } else {
            Err(self.closed())
        }
    }

    /// May he read the node?
    pub(super) fn reads(&self, knot: &NodeHeader) -> bool {
        may_read(self.caller, self.id, knot)
    }

    fn writes(&self, knot: &NodeHeader) -> bool {
        let names = |name: &str| knot.admins.iter().any(|admin| **admin == *name);
        self.is_own(knot) || self.caller.name().is_some_and(names)
    }

    fn is_own(&self, knot: &NodeHeader) -> bool {
        self.self_service && knot.user && self.caller.name() == Some(self.id)
    }

    /// May he put anything here at all?
    pub(super) fn may_put(&self, found: Option<&Document>) -> Result<(), Refusal> {
        self.open_if(match found {
            None | Some(Document::Gone(_)) => self.creation,
            Some(Document::Node(knot)) => self.writes(knot),
            Some(Document::Other(_)) => false,
        })
    }

    /// May he delete it? To those who may not read it, it is not there.
    pub(super) fn may_delete(&self, found: Option<&Document>) -> Result<(), Refusal> {
        match found {
            Some(Document::Node(knot)) if self.caller.is_administrator() || self.writes(knot) => {
                Ok(())
            }
            Some(Document::Node(knot)) if self.reads(knot) => Err(self.closed()),
            Some(_) | None => Err(absent(self.caller)),
        }
    }

    /// May he make this of it? `name_is_free` is what else is known about the name.
    pub(super) fn may_become(
        &self,
        found: Option<&Document>,
        draft: &Draft,
        name_is_free: bool,
    ) -> Result<(), Refusal> {
        let named = |name: &str| draft.admins.iter().any(|admin| admin == name);
        let old = match found {
            Some(Document::Node(knot)) => Some(knot),
            Some(Document::Other(_) | Document::Gone(_)) | None => None,
        };
        self.open_if(match old {
            // Security: who is no administrator of the new node may not leave it to others.
            // (`only_those_in_both_lists_may_write`)
            Some(knot) => self.is_own(knot) || self.caller.name().is_some_and(named),
            None => true,
        })?;
        // Security: a name that means somebody, or ever did, may not be taken, and a node may not be
        // opened to all that its user had for himself. (`nobody_takes_over_a_name`)
        self.open_if(match (found, draft.is_user()) {
            (None, true) => name_is_free,
            (Some(Document::Gone(_) | Document::Other(_)), true) => false,
            (Some(Document::Node(knot)), user) => knot.user == user,
            (None | Some(Document::Gone(_) | Document::Other(_)), false) => true,
        })?;
        // Security: a hash of a chosen cost, or of another's password.
        // (`passwords_are_hashed_and_kept_and_shown_to_administrators_only`)
        self.open_if(!matches!(draft.authorization, Authorization::Hash(_)))
    }

    /// Only administrators write what policies read. `old` is the full node, nothing where there is none.
    pub(super) fn may_set(
        &self,
        attributes: &[String],
        knot: Option<&NodeHeader>,
        old: Option<&Object>,
        new: &Object,
    ) -> Result<(), Refusal> {
        if self.caller.is_administrator() {
            return Ok(());
        }
        let none = Object::new();
        let old = old.unwrap_or(&none);
        let reads = knot.is_none_or(|knot| self.reads(knot));
        for path in attributes {
            let steps: Vec<&str> = path.split('.').collect();
            let (old, new) = (Footprint::of(old, &steps), Footprint::of(new, &steps));
            let untouched = match reads {
                true => old == new,
                false => old == Footprint::Nothing && new == Footprint::Nothing,
            };
            if !untouched {
                return Err(match self.caller {
                    Caller::Anonymous => Refusal::Unauthorized,
                    Caller::User(_) | Caller::Administrator(_) => {
                        Refusal::ForbiddenBecause(format!("only administrators write `{path}`"))
                    }
                });
            }
        }
        Ok(())
    }
}

/// What stands at a path, or at what keeps it from being there: children inherit both.
#[derive(Debug, PartialEq)]
enum Footprint<'v> {
    Nothing,
    /// A leaf above the path, so many steps down.
    Above(usize, &'v Value),
    At(&'v Value),
}

impl<'v> Footprint<'v> {
    fn of(properties: &'v Object, steps: &[&str]) -> Self {
        let Some((first, rest)) = steps.split_first() else {
            return Self::Nothing;
        };
        let Some(mut value) = properties.get(first) else {
            return Self::Nothing;
        };
        for (depth, step) in rest.iter().enumerate() {
            if value.as_array().is_none() && value.as_object().is_none() {
                return Self::Above(depth, value);
            }
            match value.at(&[step]) {
                Some(below) => value = below,
                None => return Self::Nothing,
            }
        }
        Self::At(value)
    }
}

/// May a node of this kind be read by this caller?
pub(super) fn may_read(caller: &Caller, id: &str, knot: &NodeHeader) -> bool {
    caller.is_administrator() || !knot.user || caller.name() == Some(id)
}

/// The answer about a node that is not there for this caller.
pub(super) fn absent(caller: &Caller) -> Refusal {
    match caller {
        Caller::Anonymous => Refusal::Unauthorized,
        Caller::User(_) | Caller::Administrator(_) => Refusal::Missing,
    }
}

/// Can the node be this, among the others? Holds for everybody.
pub(super) fn validate(tree: &Tree, writer: &Writer<'_>, draft: &Draft) -> Result<(), Refusal> {
    let id = writer.id;
    if matches!(tree.find(id), Some(Document::Other(_))) {
        return wrong(format!("`{id}` is a document that is not a node"));
    }
    if draft.is_user()
        && let Some(child) = tree.children(id).next()
    {
        return wrong(match writer.caller.is_administrator() {
            true => format!("`{id}` is a parent of `{child}`, so it can't be a user node"),
            false => format!("`{id}` is a parent of others, so it can't be a user node"),
        });
    }
    let parents: Vec<Box<str>> = draft.parents.iter().map(|id| id.as_str().into()).collect();
    // One by one, so that the one that is wrong can be named.
    for parent in &parents {
        let one = std::slice::from_ref(parent);
        if let Err(broken) = tree.order(id, one) {
            return wrong(told(&broken, parent, writer.caller));
        }
    }
    if let Err(broken) = tree.order(id, &parents) {
        return wrong(broken.to_string());
    }
    if let Some(child) = tree.too_deep_below(id, &parents) {
        return wrong(match writer.caller.is_administrator() {
            true => format!("node `{child}` below it would have too many ancestors"),
            false => "a node below it would have too many ancestors".to_owned(),
        });
    }
    Ok(())
}

/// Security: a parent that is missing, a user node, or a descendant: what it is, is for administrators.
/// (`a_parent_that_can_not_be_one_looks_like_any_other`)
fn told(broken: &Broken, parent: &str, caller: &Caller) -> String {
    match caller.is_administrator() {
        true => broken.to_string(),
        false => format!("`{parent}` can't be a parent of this node"),
    }
}

/// Can the node be deleted? Holds for everybody.
pub(super) fn validate_delete(tree: &Tree, writer: &Writer<'_>) -> Result<(), Refusal> {
    let id = writer.id;
    match tree.children(id).next() {
        None => Ok(()),
        Some(child) if writer.caller.is_administrator() => {
            wrong(format!("`{id}` is a parent of `{child}`"))
        }
        Some(_) => wrong(format!("`{id}` is a parent of others")),
    }
}

/// Must this write take its turn, so that what it was judged by still holds when it is done? What only
/// takes away (a parent, a user, a user's node) can break nothing.
pub(super) fn is_structural(old: Option<&NodeHeader>, draft: Option<&Draft>) -> bool {
    match (old, draft) {
        // Creations say under which revision, so they need the order, see `order`.
        (None, _) => true,
        (Some(knot), None) => !knot.user,
        (Some(knot), Some(draft)) => {
            let is_new = |parent: &String| !knot.parents.iter().any(|old| **old == **parent);
            (!knot.user && draft.is_user()) || draft.parents.iter().any(is_new)
        }
    }
}
