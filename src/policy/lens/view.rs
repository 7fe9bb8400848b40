//! Views: which rows a caller sees, by their keys, by themselves, or by the documents that they come from.
//!
//! Invariant: a row passes only if one rule permits it under one set of captures: its key, its source document
//! and the row itself together. Keys compare code point by code point.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::json::Fields;
use crate::json::Value;

use crate::policy::grants::fingerprint::{Fingerprint, Part};
use crate::policy::grants::{Applied, Grants};
use crate::policy::lens::{Lens, Needs};
use crate::policy::mango::collate::{self, Strings};
use crate::policy::mango::matching::Target;
use crate::policy::pattern::binding::{Binding, Truth};
use crate::policy::rules::action::{Mask, Simple};

/// Which rows of one view a caller sees, and which fields of them.
#[derive(Debug, Clone)]
pub struct ViewLens {
    pub(in crate::policy) permits: Vec<Applied>,
    pub(in crate::policy) forbids: Vec<Applied>,
    pub(in crate::policy) hides: Vec<Applied>,
    pub(in crate::policy) everything: bool,
    pins: Option<Vec<Value>>,
    documents: Lens,
}

/// A row of a view, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The document that it comes from; `None` in a reduced row.
    pub id: Option<&'a str>,
    /// Its key.
    pub key: &'a Value,
    /// Its value.
    pub value: &'a Value,
    /// The stored document of that id, where it is needed.
    pub doc: Option<&'a Value>,
}

/// What the rules of a view say of the document that rows come from: the same for all of its rows.
#[derive(Debug)]
pub struct Source {
    /// A rule that forbids the view is, or may be, about it.
    forbidden: bool,
    /// For each rule that permits, and each set of captures: whether it is about it.
    permits: Vec<Vec<bool>>,
    /// For each rule that hides: whether it is, or may be, about it.
    hides: Vec<bool>,
}

static ALL: LazyLock<Fields> = LazyLock::new(Fields::all);

impl ViewLens {
    pub(in crate::policy) fn new(grants: &Grants, ddoc: &str, view: &str) -> Self {
        let permits = grants
            .permits
            .iter()
            .filter(|applied| applied.rule.permit.view(ddoc, view));
        let mut permits: Vec<Applied> = permits.cloned().collect();
        if let Some(whole) = permits.iter().position(shows_all) {
            permits = vec![permits.swap_remove(whole)];
        }
        let forbids = grants
            .forbids
            .iter()
            .filter(|applied| applied.rule.forbid.view(ddoc, view));
        let pins: Option<Vec<Vec<Value>>> = permits.iter().map(pins_of).collect();
        let everything = grants.administrator;
        Self {
            pins: if everything {
                None
            } else {
                pins.map(|pins| unique(pins.concat()))
            },
            permits,
            forbids: forbids.cloned().collect(),
            hides: grants.hides.clone(),
            everything,
            documents: Lens::new(grants, Simple::Read, Mask::of(Simple::Read)),
        }
    }

    /// Are all rows visible, whole, and their documents too?
    pub fn is_clear(&self) -> bool {
        self.forbids.is_empty()
            && self.hides.is_empty()
            && (self.everything || self.permits.iter().any(shows_all))
            && self.documents.is_clear()
    }

    /// The only keys (or first elements of keys) that are open; `None`: some rule permits others too.
    pub fn pins(&self) -> Option<&[Value]> {
        self.pins.as_deref()
    }

    /// Is this key, or its first element, one of the pins?
    pub fn key_is_inside(&self, key: &Value) -> bool {
        self.pins
            .as_ref()
            .is_none_or(|pins| pins.iter().any(|pin| is_pinned(key, pin)))
    }

    /// May rows be reduced? Only where keys alone decide, and every rule that permits the view says so.
    pub fn reduce_allowed(&self) -> bool {
        let by_key = |applied: &Applied| {
            let rule = &applied.rule;
            rule.documents.is_none()
                && rule.rows.is_none()
                && (rule.reduce || (shows_all(applied) && self.hides.is_empty()))
        };
        self.forbids.is_empty()
            && self.permits.iter().all(by_key)
            && (!self.everything || self.hides.is_empty())
    }

    /// What must be known of a row's source document.
    pub fn needs_document(&self) -> Needs {
        let rules = self
            .permits
            .iter()
            .chain(&self.forbids)
            .chain(&self.hides)
            .map(|applied| &applied.rule);
        rules.fold(Needs::Nothing, |most, rule| {
            let source = rule.documents.as_ref().map_or(Needs::Nothing, |selector| {
                if selector.only_id() {
                    Needs::Id
                } else {
                    Needs::Document
                }
            });
            let names_doc = |path: &Vec<String>| path.first().is_some_and(|name| name == "doc");
            let doc = rule
                .rows
                .as_ref()
                .is_some_and(|rows| rows.named_fields().iter().any(names_doc));
            most.max(source)
                .max(if doc { Needs::Document } else { Needs::Nothing })
        })
    }

    /// Does a rule look at the value of a row?
    pub fn needs_value(&self) -> bool {
        self.permits
            .iter()
            .any(|applied| applied.rule.rows.is_some())
    }

    /// What the rules say of a source document. Without its body, what can't be told by its id is not known.
    pub fn source(&self, id: Option<&str>, doc: Option<&Value>) -> Source {
        let id = id.map(|id| Value::String(id.to_owned()));
        let target = doc
            .map(Target::Value)
            .or_else(|| id.as_ref().map(Target::Id));
        let truth = |applied: &Applied, binding: &Binding| match (&applied.rule.documents, target) {
            (None, _) => Truth::Yes,
            (Some(selector), Some(target)) => selector.truth(target, binding),
            (Some(_), None) => Truth::Unknown,
        };
        let may_hold = |applied: &Applied| match target {
            Some(target) => applied.truth(applied.rule.documents.as_ref(), target) != Truth::No,
            None => true,
        };
        let permits = self.permits.iter().map(|applied| {
            let bindings = applied.bindings.as_deref().unwrap_or_default().iter();
            bindings
                .map(|binding| truth(applied, binding).is_yes())
                .collect()
        });
        Source {
            forbidden: self.forbids.iter().any(may_hold),
            permits: permits.collect(),
            hides: self.hides.iter().map(may_hold).collect(),
        }
    }

    /// Which fields of the row's `value` and `doc` are visible; `None`: the row is not. `source` is what
    /// [`Self::source`] says of the document that it comes from.
    pub fn judge(&self, row: &Row<'_>, source: &Source) -> Option<Cow<'_, Fields>> {
        if source.forbidden {
            return None;
        }
        let id = row.id.map(|id| Value::String(id.to_owned()));
        let whole = Target::Row {
            id: id.as_ref(),
            key: row.key,
            value: row.value,
            doc: row.doc,
        };
        let mut fields = self.everything.then(|| Cow::Borrowed(&*ALL));
        let permits = self.permits.iter().zip(&source.permits);
        for (applied, _) in
            permits.filter(|(applied, about)| permits_row(applied, about, row.key, whole))
        {
            fields = Some(match fields {
                None => Cow::Borrowed(&applied.rule.fields),
                Some(fields) => Cow::Owned(fields.into_owned().union(applied.rule.fields.clone())),
            });
        }
        let mut fields = fields?;
        let hides = self.hides.iter().zip(&source.hides);
        for (applied, _) in hides.filter(|(_, may_hold)| **may_hold) {
            fields = Cow::Owned(
                fields
                    .into_owned()
                    .hiding(applied.rule.hides.iter().cloned()),
            );
        }
        Some(fields)
    }

    /// What `include_docs` shows of documents, linked ones too.
    pub fn documents(&self) -> &Lens {
        &self.documents
    }

    /// Two lenses with the same fingerprint show the same.
    pub fn fingerprint(&self) -> Fingerprint {
        let permits = self
            .permits
            .iter()
            .map(|applied| Part::rule(&format!("view {}", applied.rule.canonical_rows), applied));
        let forbids = self
            .forbids
            .iter()
            .map(|applied| Part::rule("no view", applied));
        let hides = self
            .hides
            .iter()
            .map(|applied| Part::rule("view hides", applied));
        let mut parts: Vec<Part> = permits.chain(forbids).chain(hides).collect();
        parts.push(Part::plain(if self.everything {
            "all rows"
        } else {
            "rows"
        }));
        parts.extend(self.documents.parts("docs "));
        Fingerprint::of(&parts)
    }
}

/// Does the rule show every row, whole?
fn shows_all(applied: &Applied) -> bool {
    applied.rule.is_clear() && applied.rule.rows.is_none() && applied.rule.keys.is_none()
}

/// One set of captures must do for the key, the document and the row.
fn permits_row(applied: &Applied, about: &[bool], key: &Value, row: Target<'_>) -> bool {
    let rule = &applied.rule;
    let bindings = applied.bindings.as_deref().unwrap_or_default();
    bindings.iter().zip(about).any(|(binding, about)| {
        let pinned = || {
            rule.keys.as_ref().is_none_or(|keys| {
                keys.iter()
                    .filter_map(|pin| pin.value(binding))
                    .any(|pin| is_pinned(key, &pin))
            })
        };
        let selected = || {
            rule.rows
                .as_ref()
                .is_none_or(|rows| rows.truth(row, binding).is_yes())
        };
        *about && pinned() && selected()
    })
}

fn pins_of(applied: &Applied) -> Option<Vec<Value>> {
    let keys = applied.rule.keys.as_ref()?;
    let bindings: &[Binding] = applied.bindings.as_deref().unwrap_or_default();
    let pins = bindings
        .iter()
        .flat_map(|binding| keys.iter().filter_map(|pin| pin.value(binding)));
    Some(pins.map(Cow::into_owned).collect())
}

/// In CouchDB's order, each once.
fn unique(mut pins: Vec<Value>) -> Vec<Value> {
    pins.sort_by(|a, b| {
        collate::collate(a, b).then_with(|| collate::compare(a, b, Strings::Exact))
    });
    pins.dedup_by(|a, b| same(a, b));
    pins
}

fn same(a: &Value, b: &Value) -> bool {
    collate::compare(a, b, Strings::Exact).is_eq()
}

fn is_pinned(key: &Value, pin: &Value) -> bool {
    same(key, pin)
        || key
            .as_array()
            .and_then(<[Value]>::first)
            .is_some_and(|first| same(first, pin))
}

#[cfg(test)]
mod tests;
