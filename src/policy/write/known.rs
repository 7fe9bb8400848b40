//! What a writer sees of the documents that they write.
//!
//! Invariant: whoever may write without reading sees what their rules for writing show, and no more.

use crate::json::Fields;
use crate::json::Kind;
use crate::json::Value;

use super::{Denied, Edited, Step, WriteRules, forbidden};
use crate::policy::grants::Applied;
use crate::policy::mango::matching::Target;
use crate::policy::pattern::binding::Truth;
use crate::policy::rules::action::Simple;
use crate::policy::write::change::may_change;
use crate::policy::write::users_db;

impl WriteRules {
    /// Is this stored document there for the caller, as a reader or as a writer?
    pub fn knows(&self, stored: &Value) -> bool {
        self.seen(stored).is_some()
    }

    /// The stored document as the caller would send it back unchanged; `None`: for them it is not there.
    pub fn view(&self, stored: &Value) -> Option<Value> {
        let fields = self.seen(stored)?;
        Some(fields.cut_value(stored, Kind::Document))
    }

    fn seen(&self, stored: &Value) -> Option<Fields> {
        let id = stored
            .get("_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let actions: &[Simple] = if id.starts_with("_design/") {
            &[Simple::DesignWrite]
        } else {
            &[Simple::Update, Simple::Delete]
        };
        actions.iter().find_map(|action| {
            let step = Step {
                action: *action,
                stored: Some(stored),
                edited: Edited::AsItIs,
            };
            self.fields(&step, stored)
        })
    }

    /// Can there be a document of which the caller may write something and not everything?
    pub fn keep_back(&self) -> bool {
        let partly = |applied: &Applied| !applied.rule.fields.is_all();
        self.accounts
            || self.fixes_fields()
            || self.reads.hides_fields()
            || self.permits.iter().any(partly)
    }

    /// May they write something else over all that is in this document?
    pub fn leaves_free(&self, stored: &Value) -> bool {
        let step = self.step(stored, false);
        let unchanging = self.permit(&step, stored, |applied, _| match &applied.rule.change {
            Some(_) => Err(forbidden("some fields may not be changed")),
            None => Ok(()),
        });
        let whole = || {
            self.fields(&step, stored)
                .is_some_and(|fields| fields.is_all())
        };
        !self.accounts && unchanging.is_ok() && whole()
    }

    /// May this leaf be ended where `next` wins then? Not where that brings back what they may not change. Whether it
    /// would makes no difference where there is something that they may not see: they would learn that.
    pub fn may_uncover(&self, ended: &Value, next: &Value) -> Result<(), Denied> {
        const STALE: &str = "the losing revisions of this document must be deleted first";
        let step = self.step(ended, true);
        let whole = |document| {
            self.fields(&step, document)
                .is_some_and(|fields| fields.is_all())
        };
        if !whole(ended) || !whole(next) {
            return Err(forbidden(STALE));
        }
        if self.accounts {
            users_db::check(Some(ended), next)?;
        }
        self.permit(&step, ended, |applied, _| match &applied.rule.change {
            Some(change) => may_change(change, ended, next).map_err(|_| forbidden(STALE)),
            None => Ok(()),
        })
    }

    /// What is done to a stored document.
    pub(super) fn step<'w>(&self, stored: &'w Value, deletes: bool) -> Step<'w> {
        let id = stored.get("_id").and_then(Value::as_str);
        let action = match (id.is_some_and(|id| id.starts_with("_design/")), deletes) {
            (true, _) => Simple::DesignWrite,
            (false, true) => Simple::Delete,
            (false, false) => Simple::Update,
        };
        Step {
            action,
            stored: Some(stored),
            edited: Edited::AsItIs,
        }
    }

    /// What the writer has seen for sure of the revision that they edited; `None`: what they see of the stored one.
    ///
    /// Security: a device edits what it was given, whatever has happened to the document and to the rules since. Of
    /// the stored revision each rule that shows it may have been the only one; of any other one nothing is known
    /// but the rules. A rule that hides may have been about any document.
    /// (`nobody_destroys_by_a_replica_what_may_have_been_hidden_from_them`)
    pub(super) fn saw_at_least(&self, step: &Step<'_>, stored: &Value) -> Option<Fields> {
        let shows = |applied: &&Applied| match step.edited {
            Edited::AsItIs | Edited::Unknown => true,
            Edited::AtSomeTime => {
                let documents = applied.rule.documents.as_ref();
                applied.truth(documents, Target::Value(stored)) != Truth::No
            }
        };
        match step.edited {
            Edited::AsItIs => None,
            Edited::AtSomeTime | Edited::Unknown => {
                let design = step.action == Simple::DesignWrite;
                Some(self.shown_by_each(design, shows))
            }
        }
    }

    /// Has any document been shown whole, whichever rule has shown it?
    pub fn always_saw_whole(&self, design: bool) -> bool {
        self.shown_by_each(design, |_| true).is_all()
    }

    /// What each of the chosen rules shows, less all that is ever hidden.
    fn shown_by_each(&self, design: bool, chosen: impl Fn(&&Applied) -> bool) -> Fields {
        let action = if design { Simple::Design } else { Simple::Read };
        let readers = self
            .readers
            .iter()
            .filter(|applied| applied.rule.permit.simple.has(action))
            .filter(chosen);
        let shown = readers.fold(Fields::all(), |shown, applied| {
            let own = &applied.rule.fields;
            match shown.is_within(own) {
                true => shown,
                false => shown.and(own),
            }
        });
        let hides = self.hides.iter();
        shown.hiding(hides.flat_map(|applied| applied.rule.hides.iter().cloned()))
    }

    /// Would they see more of the new document than of the stored one, of which they see `before`? Whether there is
    /// anything more in it makes no difference: they would learn that.
    pub(super) fn widens(&self, before: &Fields, stored: &Value, new: &Value) -> bool {
        let id = new.get("_id").and_then(Value::as_str).unwrap_or_default();
        [&self.reads, &self.finds].into_iter().any(|lens| {
            let Some(after) = lens.judge_by_rules(id, Some(new)) else {
                return false;
            };
            let own = lens.judge_by_rules(id, Some(stored));
            !after.is_within(before) && !own.is_some_and(|own| after.is_within(&own))
        })
    }

    /// What the caller sees of a document that they write; `None`: for them it is not there.
    pub(super) fn fields(&self, step: &Step<'_>, document: &Value) -> Option<Fields> {
        let id = document
            .get("_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if let Some(fields) = self.reads.judge(id, Some(document)) {
            return Some(fields.into_owned());
        }
        // Who may write without reading sees what their rules for writing show.
        let target = Target::Value(document);
        let holds = |applied: &&Applied| {
            applied
                .truth(applied.rule.documents.as_ref(), target)
                .is_yes()
        };
        let permits = self
            .permits
            .iter()
            .filter(|applied| applied.rule.permit.simple.has(step.action))
            .filter(holds);
        let shown = permits
            .map(|applied| applied.rule.fields.clone())
            .reduce(Fields::union)?;
        let hides = self
            .hides
            .iter()
            .filter(|applied| applied.truth(applied.rule.documents.as_ref(), target) != Truth::No);
        Some(hides.fold(shown, |fields, applied| {
            fields.hiding(applied.rule.hides.iter().cloned())
        }))
    }
}
