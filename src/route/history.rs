//! The history of a revision, as `_rev` and `_revisions` of a document tell it: read here and nowhere else, in the
//! strictest way.
//!
//! Invariant: a history has one meaning: it begins with the revision itself, and names one for each generation below
//! it, as far as it goes.

use crate::json::Value;

use super::Rev;

/// A revision, and those before it that are named, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    own: Rev,
    before: Vec<Rev>,
}

impl History {
    /// The history that a document says it has; `None` where that has no one meaning.
    ///
    /// Security: CouchDB stores a forced write under what `_revisions` says, whatever `_rev` says.
    /// (`a_history_has_one_meaning`)
    pub fn of(document: &Value) -> Option<Self> {
        let rev = match document.get("_rev") {
            None => None,
            Some(rev) => Some(Rev::parse(rev.as_str()?).ok()?),
        };
        let Some(revisions) = document.get("_revisions") else {
            let own = rev.filter(|rev| rev.generation() > 0 && rev.is_counted())?;
            let own = Some(own).filter(Rev::has_digest)?;
            let before = Vec::new();
            return Some(Self { own, before });
        };
        let told = Self::read(revisions)?;
        let same = rev.is_none_or(|rev| rev == told.own);
        same.then_some(told)
    }

    /// The history that a `_revisions` tells.
    pub fn read(revisions: &Value) -> Option<Self> {
        let start = revisions.get("start")?.as_number()?;
        let start: u128 = start.as_str().parse().ok()?;
        let ids = revisions.get("ids")?.as_array()?;
        // Generations begin with one.
        if ids.len() as u128 > start {
            return None;
        }
        let one = |(generation, id): (u128, &Value)| {
            let rev = Rev::of(generation, id.as_str()?).ok();
            rev.filter(Rev::has_digest)
        };
        let mut all = (1..=start).rev().zip(ids).map(one);
        Some(Self {
            own: all.next()??,
            before: all.collect::<Option<_>>()?,
        })
    }

    /// The revision itself.
    pub fn own(&self) -> &Rev {
        &self.own
    }

    /// The one that it was made from, if it is named.
    pub fn parent(&self) -> Option<&Rev> {
        self.before.first()
    }

    /// The revision and those before it, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Rev> {
        std::iter::once(&self.own).chain(&self.before)
    }

    /// How many revisions it names.
    pub fn length(&self) -> u128 {
        (self.before.len() as u128).saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
