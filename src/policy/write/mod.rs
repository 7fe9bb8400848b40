//! Writes: the stored and the new document are both judged, hidden fields go back to their place, and a delete
//! keeps what the rules decide by.
//!
//! One rule must permit the whole step under one set of captures: the document that is there and the document
//! that will be, so that nobody takes a document or pushes one out of their scope. A document that the caller
//! neither sees nor may write is answered as an absent one.
//!
//! Invariant: a field that the caller does not see is neither destroyed nor set by them.

pub(in crate::policy) mod change;
pub(in crate::policy) mod denied;
pub(in crate::policy) mod users_db;

mod known;

use std::sync::Arc;

use crate::json::FieldPath;
use crate::json::Fields;
use crate::json::Object;
use crate::json::Value;
use crate::json::Visibility;

use crate::policy::grants::{Applied, Grants};
use crate::policy::lens::Lens;
use crate::policy::lens::kept_fields::keep_fields;
use crate::policy::mango::matching::Target;
use crate::policy::mango::selector_constants::fixed_fields;
use crate::policy::pattern::binding::{Binding, Truth};
use crate::policy::rules::action::{Mask, Simple};
use crate::policy::write::change::{may_change, may_leave, reserved_stay};
use crate::policy::write::denied::{Denied, forbidden};

/// What a caller may write in one database.
#[derive(Debug, Clone)]
pub struct WriteRules {
    pub(in crate::policy) permits: Vec<Applied>,
    pub(in crate::policy) forbids: Vec<Applied>,
    reads: Lens,
    finds: Lens,
    pub(in crate::policy) hides: Vec<Applied>,
    /// Every rule that lets the caller read, those too that add nothing to the others.
    pub(in crate::policy) readers: Vec<Applied>,
    decision_fields: Arc<[FieldPath]>,
    pub(in crate::policy) everything: bool,
    /// Are these the rules of `_users`, for somebody who is no administrator?
    accounts: bool,
}

/// What the writer had before them when they made the new document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// The stored revision, as the rules show it now.
    AsItIs,
    /// The stored revision, read at some time, when other rules may have been the caller's.
    AtSomeTime,
    /// Some revision of the document, read at some time.
    Unknown,
}

/// A write of one document, taken apart.
struct Step<'w> {
    action: Simple,
    stored: Option<&'w Value>,
    edited: Edited,
}

impl WriteRules {
    pub(in crate::policy) fn new(grants: &Grants, decision_fields: Arc<[FieldPath]>) -> Self {
        let writes = Mask::WRITE.and(Simple::DesignWrite);
        let permits = grants
            .permits
            .iter()
            .filter(|applied| applied.rule.permit.simple.touches(writes));
        let forbids = grants
            .forbids
            .iter()
            .filter(|applied| applied.rule.forbid.simple.touches(writes));
        let readers = grants.permits.iter().filter(|applied| {
            let reading = Mask::of(Simple::Read).and(Simple::Design);
            applied.rule.permit.simple.touches(reading)
        });
        Self {
            permits: permits.cloned().collect(),
            forbids: forbids.cloned().collect(),
            reads: Lens::new(grants, Simple::Read, Mask::of(Simple::Read)),
            finds: Lens::new(grants, Simple::Find, Mask::of(Simple::Read)),
            hides: grants.hides.clone(),
            readers: readers.cloned().collect(),
            decision_fields,
            everything: grants.administrator,
            accounts: false,
        }
    }

    /// The same rules where each document is an account: what its user may make of it is not theirs alone to say.
    pub(in crate::policy) fn for_accounts(self) -> Self {
        Self {
            accounts: true,
            ..self
        }
    }

    /// Rules that permit nothing.
    pub(in crate::policy) fn without_permits(self) -> Self {
        Self {
            permits: Vec::new(),
            ..self
        }
    }

    /// Is no write permitted at all?
    pub fn is_empty(&self) -> bool {
        self.permits.is_empty() && !self.everything
    }

    /// What the caller sees of the documents that they write.
    pub fn reads(&self) -> &Lens {
        &self.reads
    }

    /// Is there a rule that lets some fields change and keeps the others?
    pub fn fixes_fields(&self) -> bool {
        self.permits
            .iter()
            .any(|applied| applied.rule.change.is_some())
    }

    /// What a tombstone keeps, because a rule of this database decides by it.
    pub fn decision_fields(&self) -> &[FieldPath] {
        &self.decision_fields
    }

    /// May every such document be created, updated and deleted, whatever is in it? Its tombstone may still have
    /// to keep something.
    pub(in crate::policy) fn is_clear_for(&self, design: bool) -> bool {
        let actions: &[Simple] = if design {
            &[Simple::DesignWrite]
        } else {
            &[Simple::Create, Simple::Update, Simple::Delete]
        };
        let sees_whole =
            self.reads.is_clear_for(design) || (self.reads.is_blind() && self.hides.is_empty());
        let free = |action: &Simple| {
            let forbidden = self
                .forbids
                .iter()
                .any(|applied| applied.rule.forbid.simple.has(*action));
            let permitted = self.permits.iter().any(|applied| {
                let rule = &applied.rule;
                rule.permit.simple.has(*action) && rule.is_clear() && rule.change.is_none()
            });
            !forbidden && (permitted || self.everything)
        };
        !self.accounts
            && sees_whole
            && self.always_saw_whole(design)
            && self.decision_fields.is_empty()
            && actions.iter().all(free)
    }

    /// Judges one write. `stored`: the revision that is replaced; `None` where there is none, or where a
    /// tombstone is written over by a new document. `new`: the document as sent, with its `_id`, and with
    /// `_deleted` for a delete. Gives the document to send on.
    pub fn judge(&self, stored: Option<&Value>, new: Value) -> Result<Value, Denied> {
        self.judge_edit(stored, new, Edited::AsItIs)
    }

    /// The same where the writer may have made it of another revision than the stored one, or under other rules.
    pub fn judge_edit(
        &self,
        stored: Option<&Value>,
        new: Value,
        edited: Edited,
    ) -> Result<Value, Denied> {
        let id = new.get("_id").and_then(Value::as_str).unwrap_or_default();
        let design = id.starts_with("_design/");
        if id.starts_with('_') && !design {
            return Err(forbidden(
                "document ids that begin with an underscore are reserved",
            ));
        }
        let deletes = match new.get("_deleted") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(forbidden("`_deleted` must be true or false")),
        };
        let (action, stored) = match (stored, deletes) {
            (Some(stored), true) => (Simple::Delete, Some(stored)),
            (Some(stored), false) if !is_tombstone(stored) => (Simple::Update, Some(stored)),
            (None, true) => (Simple::Delete, None),
            (Some(_) | None, false) => (Simple::Create, None),
        };
        let step = Step {
            action: if design { Simple::DesignWrite } else { action },
            stored,
            edited,
        };
        let whole = match (stored, deletes) {
            (Some(stored), true) => self.delete(&step, stored, new),
            (Some(stored), false) => self.update(&step, stored, new),
            (None, true) => self.bury(&step, new),
            (None, false) => self.create(&step, new),
        }?;
        if !self.everything {
            reserved_stay(stored, &whole)?;
        }
        if self.accounts {
            users_db::check(stored, &whole)?;
        }
        Ok(whole)
    }

    /// The same where the writer has edited a document that was deleted meanwhile: they make it anew, of what it was.
    pub fn judge_revival(&self, ended: &Value, new: Value) -> Result<Value, Denied> {
        self.judge(None, new.clone())?;
        self.judge_edit(Some(ended), new, Edited::AtSomeTime)
    }

    /// A tombstone that was judged, with what rules decide by as it was in an earlier revision, if it ends one; as it is
    /// where the writer does not see that one.
    pub fn keep_of(&self, ended: Option<&Value>, tombstone: Value) -> Value {
        let seen = ended.and_then(|ended| {
            let fields = self.fields(&self.step(ended, true), ended)?;
            Some((ended, fields))
        });
        let Some((ended, fields)) = seen else {
            return tombstone;
        };
        let kept = self.keep(&fields, ended, tombstone.clone());
        kept.unwrap_or(tombstone)
    }

    /// May a document be written of which this is another leaf? Fields are compared with the leaf that is
    /// replaced, or won over, only.
    pub fn covers(&self, leaf: &Value, deletes: bool) -> Result<(), Denied> {
        let step = self.step(leaf, deletes);
        if self.fields(&step, leaf).is_none() {
            return Err(if deletes {
                Denied::Missing
            } else {
                Denied::Conflict
            });
        }
        self.permit(&step, leaf, |_, _| Ok(()))
    }

    fn create(&self, step: &Step<'_>, new: Value) -> Result<Value, Denied> {
        let fields = self.fields(step, &new).unwrap_or_else(Fields::all);
        fields
            .refuse_hidden(&new)
            .map_err(|error| forbidden(&error.to_string()))?;
        self.permit(step, &new, |applied, binding| {
            let Some(change) = &applied.rule.change else {
                return Ok(());
            };
            let mut may_set = change.clone();
            may_set.extend(
                applied
                    .rule
                    .documents
                    .iter()
                    .flat_map(|selector| fixed_fields(selector, &new, binding)),
            );
            may_change(&may_set, &Value::Object(Object::new()), &new)
        })?;
        Ok(new)
    }

    fn update(&self, step: &Step<'_>, stored: &Value, new: Value) -> Result<Value, Denied> {
        let Some(fields) = self.fields(step, stored) else {
            return Err(self.as_absent(new, Denied::Conflict));
        };
        let whole = fields
            .restore(stored, new)
            .and_then(|whole| match self.saw_at_least(step, stored) {
                None => Ok(whole),
                Some(seen) => seen.put_back(stored, whole),
            })
            .map_err(|error| forbidden(&error.to_string()))?;
        self.permit(step, &whole, |applied, _| match &applied.rule.change {
            Some(change) => may_change(change, stored, &whole),
            None => Ok(()),
        })?;
        // Security: what was put back is shown by the new document's rules.
        // (`nobody_uncovers_hidden_fields_by_altering_what_hides_them`)
        if self.widens(&fields, stored, &whole) {
            return Err(forbidden("this would show you more of the document"));
        }
        // Security: nor do they set what the new document's rules hide from them.
        // (`nobody_sets_a_field_by_the_write_that_hides_it`)
        if let Some(after) = self.fields(step, &whole) {
            let altered = after.refuse_altered(stored, &whole);
            altered.map_err(|error| forbidden(&error.to_string()))?;
        }
        Ok(whole)
    }

    /// The tombstone has no more than was sent, and all that rules decide by as it was stored.
    fn delete(&self, step: &Step<'_>, stored: &Value, new: Value) -> Result<Value, Denied> {
        let Some(fields) = self.fields(step, stored) else {
            return Err(Denied::Missing);
        };
        fields
            .refuse_hidden(&new)
            .map_err(|error| forbidden(&error.to_string()))?;
        self.permit(step, stored, |applied, _| match &applied.rule.change {
            Some(change) => may_leave(change, stored, &new),
            None => Ok(()),
        })?;
        self.keep(&fields, stored, new)
    }

    /// The tombstone, with what rules decide by as it was in this revision, of which the writer sees these fields.
    fn keep(&self, fields: &Fields, stored: &Value, mut tombstone: Value) -> Result<Value, Denied> {
        keep_fields(&self.decision_fields, stored, &mut tombstone);
        // Security: what was kept is shown by the tombstone's rules. The rest of it they have sent.
        // (`nobody_uncovers_what_a_tombstone_keeps`)
        let is_hidden = |path: &FieldPath| {
            let place = path.names().unwrap_or_default();
            fields.at(&place) != Visibility::Visible
        };
        let hidden = self.decision_fields.iter().any(is_hidden);
        if hidden && self.widens(fields, stored, &tombstone) {
            return Err(forbidden("this would show you more of the document"));
        }
        Ok(tombstone)
    }

    /// A tombstone where nothing is: nothing but itself can be judged.
    fn bury(&self, step: &Step<'_>, new: Value) -> Result<Value, Denied> {
        let fields = self.fields(step, &new).ok_or(Denied::Missing)?;
        fields
            .refuse_hidden(&new)
            .map_err(|error| forbidden(&error.to_string()))?;
        self.permit(step, &new, |applied, _| match &applied.rule.change {
            Some(change) => may_change(change, &Value::Object(Object::new()), &new),
            None => Ok(()),
        })?;
        Ok(new)
    }

    /// What would be said if nothing were there; where a document would be made, its id is taken.
    fn as_absent(&self, new: Value, taken: Denied) -> Denied {
        match self.judge(None, new) {
            Ok(_) => taken,
            Err(denied) => denied,
        }
    }

    /// Does no rule forbid the step, and one permit it, under one set of captures, with its change of fields?
    fn permit(
        &self,
        step: &Step<'_>,
        new: &Value,
        change: impl Fn(&Applied, &Binding) -> Result<(), Denied>,
    ) -> Result<(), Denied> {
        let targets = [step.stored.unwrap_or(new), new].map(Target::Value);
        let forbids = self
            .forbids
            .iter()
            .filter(|applied| applied.rule.forbid.simple.has(step.action));
        for applied in forbids {
            if targets
                .iter()
                .any(|target| applied.truth(applied.rule.documents.as_ref(), *target) != Truth::No)
            {
                return Err(forbidden("you may not write this document"));
            }
        }
        let mut denied = forbidden("you may not write this document");
        if self.everything {
            return Ok(());
        }
        for applied in self
            .permits
            .iter()
            .filter(|applied| applied.rule.permit.simple.has(step.action))
        {
            for binding in applied.bindings.as_deref().unwrap_or_default() {
                let selector = applied.rule.documents.as_ref();
                let fits = |target: &Target<'_>| {
                    selector.is_none_or(|selector| selector.truth(*target, binding).is_yes())
                };
                if targets.iter().all(fits) {
                    match change(applied, binding) {
                        Ok(()) => return Ok(()),
                        Err(reason) => denied = reason,
                    }
                }
            }
        }
        Err(denied)
    }
}

fn is_tombstone(document: &Value) -> bool {
    document.get("_deleted").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests;
