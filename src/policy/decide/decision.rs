//! One judgement in one database: what the rules that apply make of each need.
//!
//! Invariant: a plan without a lens is given only where the rules leave nothing to filter.

use std::sync::Arc;

use crate::route::List;
use crate::route::Method;
use crate::route::Route;

use crate::policy::decide::plan::{Plan, Reads};
use crate::policy::grants::Grants;
use crate::policy::grants::rule_set::Policy;
use crate::policy::lens::view::ViewLens;
use crate::policy::lens::{Lens, Needs};
use crate::policy::rules::action::{Actions, Mask, Simple};
use crate::policy::write::WriteRules;
use crate::policy::write::users_db::{self, Served};

/// What can follow from the rules of a database.
pub(in crate::policy) enum Outcome {
    Plan(Plan, Vec<Arc<str>>),
    /// The document of the attachment decides.
    Ask(Lens, Vec<Arc<str>>),
    /// Not permitted, or forbidden by this rule.
    Deny(Option<Arc<str>>),
    /// Hidden, which is as absent.
    Missing,
    /// Not judged yet.
    Unjudged,
}

/// One judgement in one database.
pub(in crate::policy) struct Case<'c> {
    pub(in crate::policy) policy: &'c Policy,
    pub(in crate::policy) db: &'c str,
    pub(in crate::policy) route: &'c Route,
    pub(in crate::policy) grants: Grants,
}

const ANY_WRITE: &[Simple] = &[Simple::Create, Simple::Update, Simple::Delete];

impl Case<'_> {
    /// Is this permitted to the caller at all, and not forbidden outright? Else the rule that forbids it.
    pub(in crate::policy) fn open(
        &self,
        named: impl Fn(&Actions) -> bool + Copy,
        by_document: bool,
    ) -> Result<(), Option<Arc<str>>> {
        if let Some(rule) = self.grants.barred(named, by_document) {
            return Err(Some(Arc::clone(&rule.name)));
        }
        if self.grants.permitted(named) {
            Ok(())
        } else {
            Err(None)
        }
    }

    pub(in crate::policy) fn plan(&self, plan: Plan, named: impl Fn(&Actions) -> bool) -> Outcome {
        Outcome::Plan(plan, self.grants.names(named))
    }

    pub(in crate::policy) fn simple(&self, simple: Simple) -> Outcome {
        let named = |actions: &Actions| actions.simple.has(simple);
        match self.open(named, false) {
            Ok(()) => self.plan(Plan::Verbatim, named),
            Err(rule) => Outcome::Deny(rule),
        }
    }

    pub(in crate::policy) fn info(&self, known: bool) -> Outcome {
        let named = |actions: &Actions| actions.simple.has(Simple::Info);
        match self.open(named, false) {
            Ok(()) => self.plan(Plan::Verbatim, named),
            Err(_) if known => Outcome::Plan(Plan::Here, Vec::new()),
            Err(rule) => Outcome::Deny(rule),
        }
    }

    pub(in crate::policy) fn reads(&self) -> Lens {
        Lens::new(&self.grants, Simple::Read, Mask::of(Simple::Read))
    }

    /// A plan with the lens of an action, or `Verbatim` where it is clear for the documents that can come.
    pub(in crate::policy) fn through(&self, action: Simple, plain: bool, design: bool) -> Outcome {
        match self.seen(action, plain, design) {
            Err(rule) => Outcome::Deny(rule),
            Ok((_, true)) => self.plan(Plan::Verbatim, |actions| actions.simple.has(action)),
            Ok((lens, false)) => self.plan(read(lens), |actions| actions.simple.has(action)),
        }
    }

    /// The lens of an action, and whether it is clear for the documents that can come.
    fn seen(
        &self,
        action: Simple,
        plain: bool,
        design: bool,
    ) -> Result<(Lens, bool), Option<Arc<str>>> {
        self.open(|actions: &Actions| actions.simple.has(action), true)?;
        let read = if action == Simple::Design {
            Simple::Read
        } else {
            action
        };
        let forbidding = if action == Simple::Find {
            Mask::of(action).and(Simple::Read)
        } else {
            Mask::of(read)
        };
        let mut lens = Lens::new(&self.grants, read, forbidding);
        if action == Simple::Find {
            lens = lens.less(&self.reads());
        }
        let clear = (!plain || lens.is_clear_for(false)) && (!design || lens.is_clear_for(true));
        Ok((lens, clear))
    }

    /// Security: by `keys`, and by the links of a view's rows with `include_docs`, CouchDB finds `_local`
    /// documents, which no lens shows. A body may say either.
    /// (`keys_find_no_local_document`, `a_view_links_to_no_local_document`)
    pub(in crate::policy) fn may_find_locals(&self, parameter: &str) -> bool {
        let asked =
            self.route.method == Method::Post || self.route.query.value(parameter).is_some();
        asked && !self.grants.administrator
    }

    pub(in crate::policy) fn document(&self, design: bool) -> Outcome {
        let action = if design { Simple::Design } else { Simple::Read };
        self.through(action, !design, design)
    }

    pub(in crate::policy) fn documents(&self, list: List) -> Outcome {
        let (action, plain) = match list {
            List::All => (Simple::Read, true),
            List::Design => (Simple::Design, false),
            List::Local => return Outcome::Unjudged,
        };
        let named = |actions: &Actions| actions.simple.has(action);
        match self.seen(action, plain, true) {
            Err(rule) => Outcome::Deny(rule),
            Ok((_, true)) if !self.may_find_locals("keys") => self.plan(Plan::Verbatim, named),
            Ok((lens, _)) => self.plan(read(lens), named),
        }
    }

    /// Design documents are not found by `_find`; what may not be read may not be found.
    pub(in crate::policy) fn find(&self) -> Outcome {
        let reading = |actions: &Actions| actions.simple.has(Simple::Read);
        match self.grants.barred(reading, true) {
            Some(rule) => Outcome::Deny(Some(Arc::clone(&rule.name))),
            None => self.through(Simple::Find, true, false),
        }
    }

    /// What may not be read may not be indexed, nor seen in an index.
    pub(in crate::policy) fn index(&self) -> Outcome {
        let named = |actions: &Actions| actions.simple.has(Simple::Index);
        if let Err(rule) = self.open(named, false) {
            return Outcome::Deny(rule);
        }
        let lens = self.reads();
        self.plan(
            if lens.shows_whole_documents() {
                Plan::Verbatim
            } else {
                read(lens)
            },
            named,
        )
    }

    /// Sequences carry the fingerprint, so nobody but an administrator is served untouched.
    pub(in crate::policy) fn changes(&self, administrator: bool) -> Outcome {
        let named = |actions: &Actions| actions.simple.has(Simple::Changes);
        if let Err(rule) = self.open(named, true) {
            return Outcome::Deny(rule);
        }
        let rows = Lens::new(&self.grants, Simple::Changes, Mask::of(Simple::Changes));
        let docs = self.reads();
        if administrator && rows.is_clear() && docs.is_clear() {
            return self.plan(Plan::Verbatim, named);
        }
        self.plan(Plan::Read(Reads::Changes { rows, docs }), named)
    }

    /// Which actions make a replicator of a caller.
    fn replicates(actions: &Actions) -> bool {
        actions.simple.touches(Mask::REPLICATE)
    }

    pub(in crate::policy) fn replicating(&self, plan: Plan) -> Outcome {
        let free = [
            Simple::Changes,
            Simple::Read,
            Simple::Create,
            Simple::Update,
            Simple::Delete,
        ]
        .into_iter()
        .any(|simple| {
            self.grants.has(simple)
                && self
                    .grants
                    .barred(|actions| actions.simple.has(simple), true)
                    .is_none()
        });
        if free {
            self.plan(plan, Self::replicates)
        } else {
            Outcome::Deny(None)
        }
    }

    pub(in crate::policy) fn revs_diff(&self) -> Outcome {
        let lens = self.reads();
        self.replicating(if lens.is_clear() {
            Plan::Verbatim
        } else {
            read(lens)
        })
    }

    pub(in crate::policy) fn view(&self, ddoc: &str, view: &str) -> Outcome {
        let named = |actions: &Actions| actions.view(ddoc, view);
        if let Err(rule) = self.open(named, true) {
            return Outcome::Deny(rule);
        }
        let lens = ViewLens::new(&self.grants, ddoc, view);
        self.plan(
            if lens.is_clear() && !self.may_find_locals("include_docs") {
                Plan::Verbatim
            } else {
                Plan::Read(Reads::View(Box::new(lens)))
            },
            named,
        )
    }

    pub(in crate::policy) fn rules(&self) -> WriteRules {
        let rules = WriteRules::new(&self.grants, self.policy.decision_fields(self.db));
        match users_db::served(self.route, self.grants.administrator) {
            Served::AsAny => rules,
            Served::AsAccount => rules.for_accounts(),
            Served::Never => rules.for_accounts().without_permits(),
        }
    }

    /// What can be told before the document is seen: is any of the actions that it may need permitted?
    fn may_write(&self, design: Option<bool>, plain: &[Simple]) -> bool {
        if users_db::served(self.route, self.grants.administrator) == Served::Never {
            return false;
        }
        let free = |simple: &Simple| {
            self.grants.has(*simple)
                && self
                    .grants
                    .barred(|actions| actions.simple.has(*simple), true)
                    .is_none()
        };
        (design != Some(true) && plain.iter().any(free))
            || (design != Some(false) && free(&Simple::DesignWrite))
    }

    pub(in crate::policy) fn write(&self, design: Option<bool>) -> Outcome {
        let plain: &[Simple] = match self.route.method {
            Method::Delete => &[Simple::Delete],
            Method::Get | Method::Head | Method::Post | Method::Put | Method::Copy => ANY_WRITE,
        };
        if !self.may_write(design, plain) {
            return Outcome::Deny(None);
        }
        self.ending(design)
    }

    /// Whoever sets or removes an attachment makes a document or updates one.
    pub(in crate::policy) fn attachment_write(&self, design: bool) -> Outcome {
        if !self.may_write(Some(design), ANY_WRITE) {
            return Outcome::Deny(None);
        }
        self.written(Some(design), true)
    }

    pub(in crate::policy) fn copy(&self, from_design: bool, to_design: bool) -> Outcome {
        let action = match from_design {
            true => Simple::Design,
            false => Simple::Read,
        };
        if let Err(rule) = self.open(|actions: &Actions| actions.simple.has(action), true) {
            return Outcome::Deny(rule);
        }
        if !self.may_write(Some(to_design), ANY_WRITE) {
            return Outcome::Deny(None);
        }
        let whole = self.reads().is_clear_for(from_design);
        self.written(Some(to_design), whole)
    }

    /// The same for writes that may end a document, whose tombstone keeps what rules decide by.
    fn ending(&self, design: Option<bool>) -> Outcome {
        let fields = self.policy.decision_fields(self.db);
        match (fields.is_empty(), self.grants.administrator) {
            (true, _) => self.written(design, true),
            (false, false) => self.written(design, false),
            (false, true) if is_clear(&self.rules(), design) => {
                Outcome::Plan(Plan::KeepInTombstones(fields), Vec::new())
            }
            (false, true) => self.written(design, false),
        }
    }

    /// A plan with the rules for writing, or `Verbatim` where there is nothing to judge.
    ///
    /// Security: where the body says what is written, it may be a local document: only a name of the path is
    /// enough. (`nobody_writes_raw_checkpoints_without_a_lens`)
    fn written(&self, design: Option<bool>, clear: bool) -> Outcome {
        let rules = self.rules();
        // CouchDB compares the page of a form with a host that it is told of by administrators' requests only.
        let named = design.is_some() && self.route.method != Method::Post;
        let writes =
            |actions: &Actions| actions.simple.touches(Mask::WRITE.and(Simple::DesignWrite));
        self.plan(
            if clear && is_clear(&rules, design) && (named || self.grants.administrator) {
                Plan::Verbatim
            } else {
                Plan::Write(Box::new(rules))
            },
            writes,
        )
    }

    /// A batch is never refused as a whole: a replicator would give up.
    pub(in crate::policy) fn bulk_write(&self, known: bool) -> Outcome {
        if !known && !self.may_write(None, ANY_WRITE) {
            return Outcome::Deny(None);
        }
        self.ending(None)
    }

    pub(in crate::policy) fn attachment(&self, design: bool) -> Outcome {
        let named = |actions: &Actions| {
            actions
                .simple
                .has(if design { Simple::Design } else { Simple::Read })
        };
        if let Err(rule) = self.open(named, true) {
            return Outcome::Deny(rule);
        }
        let lens = self.reads();
        if lens.is_clear_for(design) {
            return self.plan(Plan::Verbatim, named);
        }
        let Some((id, name)) = self.route.attachment() else {
            return Outcome::Missing;
        };
        if lens.needs(design) == Needs::Document {
            return Outcome::Ask(lens, self.grants.names(named));
        }
        let shown = lens.judge(id.as_str(), None);
        if shown.is_some_and(|fields| fields.shows_attachment(name.as_str())) {
            self.plan(read(lens), named)
        } else {
            Outcome::Missing
        }
    }
}

fn read(lens: Lens) -> Plan {
    Plan::Read(Reads::Documents(lens))
}

/// Is there nothing to judge for design documents, for the others, or for both?
fn is_clear(rules: &WriteRules, design: Option<bool>) -> bool {
    match design {
        Some(design) => rules.is_clear_for(design),
        None => rules.is_clear_for(false) && rules.is_clear_for(true),
    }
}
