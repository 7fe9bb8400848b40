//! A place in a value on the way down, with all that the fields say about what lies below.
//!
//! Invariant: where a union of rules cannot be told yet, the answer is `Partly`, never `Visible`.

use super::fields::{Clause, Fields, Kind, Visibility};
use super::path::{Fate, Tails};
use super::value::Object;
use super::value::Value;

/// CouchDB's own members are not the document's to hide, and not a writer's to change.
pub fn is_couchdbs_own(name: &str) -> bool {
    matches!(
        name,
        "_id"
            | "_rev"
            | "_deleted"
            | "_revisions"
            | "_revs_info"
            | "_conflicts"
            | "_deleted_conflicts"
            | "_local_seq"
    )
}

/// A place in a value, with all that the paths say about what lies below.
#[derive(Debug, Clone, Default)]
pub(super) struct Spot<'f> {
    /// A document's root, where CouchDB's own members live.
    own: bool,
    /// Some clause shows all that lies here.
    all: bool,
    except: Vec<Tails<'f>>,
    only: Vec<Tails<'f>>,
    hidden: Tails<'f>,
    /// What must show it as well.
    both: Option<Box<Self>>,
}

impl<'f> Spot<'f> {
    pub(super) fn root(fields: &'f Fields, kind: Kind) -> Self {
        let mut spot = Self {
            own: kind == Kind::Document,
            ..Self::default()
        };
        spot.both = fields.both().map(|both| Box::new(Self::root(both, kind)));
        let hidden = Tails::of(fields.hidden());
        if hidden.ended {
            return spot;
        }
        spot.hidden = hidden;
        for clause in fields.clauses() {
            match clause {
                Clause::All => spot.all = true,
                Clause::Except(paths) => spot.except(Tails::of(paths)),
                Clause::Only(paths) => spot.only(Tails::of(paths)),
            }
        }
        spot
    }

    /// A clause that hides all here is left away.
    fn except(&mut self, tails: Tails<'f>) {
        if tails.is_empty() && !tails.ended {
            self.all = true;
        } else if !tails.ended {
            self.except.push(tails);
        }
    }

    fn only(&mut self, tails: Tails<'f>) {
        if tails.ended {
            self.all = true;
        } else if !tails.is_empty() {
            self.only.push(tails);
        }
    }

    /// How much is shown of the member or element of this name.
    #[inline]
    pub(super) fn fate(&self, name: &str) -> Visibility {
        if self.own && is_couchdbs_own(name) {
            return Visibility::Visible;
        }
        let hidden = self.hidden.fate(name);
        if hidden == Fate::Ended {
            return Visibility::Hidden;
        }
        let all = if self.all {
            Visibility::Visible
        } else {
            Visibility::Hidden
        };
        let except = self.except.iter().map(|tails| match tails.fate(name) {
            Fate::Away => Visibility::Visible,
            Fate::Onward => Visibility::Partly,
            Fate::Ended => Visibility::Hidden,
        });
        let only = self.only.iter().map(|tails| match tails.fate(name) {
            Fate::Away => Visibility::Hidden,
            Fate::Onward => Visibility::Partly,
            Fate::Ended => Visibility::Visible,
        });
        let mut shown = except.chain(only).fold(all, Ord::max);
        if hidden == Fate::Onward {
            shown = shown.min(Visibility::Partly);
        }
        match &self.both {
            Some(both) => shown.min(both.fate(name)),
            None => shown,
        }
    }

    /// The place one step down, where [`Self::fate`] is `Partly`.
    pub(super) fn below(&self, name: &str) -> Self {
        let mut below = Self {
            all: self.all,
            hidden: self.hidden.step(name),
            both: self.both.as_ref().map(|both| Box::new(both.below(name))),
            ..Self::default()
        };
        for tails in &self.except {
            below.except(tails.step(name));
        }
        for tails in &self.only {
            below.only(tails.step(name));
        }
        below
    }

    /// Is a scalar shown that stands at this very place? Paths to show that lead on from here do not show it.
    pub(super) fn shows_scalar(&self) -> bool {
        (self.all || !self.except.is_empty())
            && self.both.as_ref().is_none_or(|both| both.shows_scalar())
    }

    /// Is all of an object or array here shown, whatever is in it?
    pub(super) fn shows_all(&self) -> bool {
        self.all && self.hidden.is_empty() && self.both.as_ref().is_none_or(|both| both.shows_all())
    }

    /// What is shown of a value at this place, if any of it is.
    pub(super) fn cut(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(object) => {
                let mut shown = Object::new();
                for (key, value) in object.iter() {
                    if let Some(cut) = self.cut_member(key, value)
                        && !is_emptied(value, &cut)
                    {
                        shown.append(key, cut);
                    }
                }
                Some(shown.into())
            }
            Value::Array(elements) => {
                let shown = elements.iter().enumerate();
                Some(Value::Array(
                    shown
                        .filter_map(|(index, value)| self.cut_member(&index.to_string(), value))
                        .collect(),
                ))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.shows_scalar().then(|| value.clone())
            }
        }
    }

    /// What is shown of the member or element of this name.
    pub(super) fn cut_member(&self, name: &str, value: &Value) -> Option<Value> {
        match self.fate(name) {
            Visibility::Hidden => None,
            Visibility::Partly => self.below(name).cut(value),
            Visibility::Visible => Some(value.clone()),
        }
    }
}

/// Whether an object had members and has none any more.
fn is_emptied(before: &Value, after: &Value) -> bool {
    let is_empty = |value: &Value| value.as_object().is_some_and(Object::is_empty);
    is_empty(after) && !is_empty(before)
}
