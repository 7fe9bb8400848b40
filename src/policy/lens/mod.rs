//! Lenses: which documents of one database a caller sees, and which fields of them.
//!
//! A document is visible if one permitting rule matches it and no forbidding rule does. A field is hidden if
//! every rule that makes the document visible hides it, or a hiding rule that matches it does.
//!
//! A query may name what the lens shows of every document that it can choose, and nothing else.
//!
//! Invariant: what is not known of a document never makes it visible, and never shows a field of it.

pub(in crate::policy) mod kept_fields;
pub(in crate::policy) mod prefilter;
pub(in crate::policy) mod view;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

use crate::json::FieldPath;
use crate::json::Fields;
use crate::json::Value;
use crate::route::AttachmentName;

use crate::policy::grants::fingerprint::{Fingerprint, Part};
use crate::policy::grants::{Applied, Grants};
use crate::policy::lens::kept_fields::keep_fields;
use crate::policy::mango::matching::Target;
use crate::policy::pattern::binding::Truth;
use crate::policy::rules::action::{Mask, Simple};
use crate::policy::rules::rule::Rule;

/// What must be known of a document to tell whether it is visible, and which fields of it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Nothing: every one is, alike.
    Nothing,
    /// Its id.
    Id,
    /// The whole stored document.
    Document,
}

/// Which documents of one database a caller sees, and which fields of them.
#[derive(Debug, Clone)]
pub struct Lens {
    pub(in crate::policy) permits: Vec<Clause>,
    pub(in crate::policy) forbids: Vec<Clause>,
    pub(in crate::policy) hides: Vec<Applied>,
    /// An administrator sees everything that no rule takes from them.
    pub(in crate::policy) everything: bool,
    /// Of the documents that these rules show, only the fields that they show.
    pub(in crate::policy) cuts: Vec<Clause>,
    /// Only documents that are visible through this one, too.
    within: Option<Arc<Self>>,
    /// The fields by which its rules decide, worked out when they are first asked for.
    decides_by: OnceLock<Vec<FieldPath>>,
}

/// CouchDB's own members that name further leaves and revisions of a document.
const LEAVES: [&str; 3] = ["_conflicts", "_deleted_conflicts", "_revs_info"];

/// A rule, and whether it is about documents, design documents, or both.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Clause {
    pub(in crate::policy) applied: Applied,
    pub(in crate::policy) plain: bool,
    pub(in crate::policy) design: bool,
}

static ALL: LazyLock<Fields> = LazyLock::new(Fields::all);

impl Lens {
    /// Through the rules for this action. Design documents are seen through those for `design`; what may not
    /// be read may not be found either, hence `forbidding`.
    pub(in crate::policy) fn new(grants: &Grants, action: Simple, forbidding: Mask) -> Self {
        let clause = |applied: &Applied, plain: bool, design: bool| {
            (plain || design).then(|| Clause {
                applied: applied.clone(),
                plain,
                design,
            })
        };
        let mut lens = Self {
            permits: grants
                .permits
                .iter()
                .filter_map(|applied| {
                    let simple = applied.rule.permit.simple;
                    clause(applied, simple.has(action), simple.has(Simple::Design))
                })
                .collect(),
            forbids: grants
                .forbids
                .iter()
                .filter_map(|applied| {
                    let simple = applied.rule.forbid.simple;
                    clause(
                        applied,
                        simple.touches(forbidding),
                        simple.has(Simple::Design),
                    )
                })
                .collect(),
            hides: grants.hides.clone(),
            everything: grants.administrator,
            cuts: Vec::new(),
            within: None,
            decides_by: OnceLock::new(),
        };
        lens.simplify();
        lens
    }

    /// Less the fields that another lens hides of the documents that it shows.
    #[must_use]
    pub(in crate::policy) fn less(mut self, other: &Self) -> Self {
        let rules = |lens: &Self| -> Vec<Arc<Rule>> {
            let rules = lens.permits.iter().map(|clause| &clause.applied.rule);
            rules.cloned().collect()
        };
        let others = rules(other);
        let is_others = |rule: &Arc<Rule>| others.iter().any(|other| Arc::ptr_eq(rule, other));
        // Rules of the other lens show no more than it does.
        if !rules(&self).iter().all(is_others) && other.permits.iter().any(Clause::cuts) {
            self.cuts = other.permits.clone();
            self.decides_by = OnceLock::new();
        }
        self
    }

    /// Only what is visible through both: for rows that are chosen by what stands in their documents.
    #[must_use]
    pub(crate) fn within(mut self, other: &Self) -> Self {
        if !other.is_clear() {
            self.within = Some(Arc::new(other.clone()));
            self.decides_by = OnceLock::new();
        }
        self
    }

    /// Where one rule shows everything, the others that permit add nothing.
    fn simplify(&mut self) {
        for design in [false, true] {
            let whole = self
                .permits
                .iter()
                .position(|clause| clause.is(design) && clause.applied.rule.is_clear());
            for (index, clause) in self.permits.iter_mut().enumerate() {
                if whole.is_some_and(|whole| whole != index) {
                    *(if design {
                        &mut clause.design
                    } else {
                        &mut clause.plain
                    }) = false;
                }
            }
        }
        self.permits.retain(|clause| clause.plain || clause.design);
    }

    /// Is everything visible, whole?
    pub fn is_clear(&self) -> bool {
        self.is_clear_for(false) && self.is_clear_for(true)
    }

    /// The same for documents that are (not) design documents.
    pub(crate) fn is_clear_for(&self, design: bool) -> bool {
        self.hides.is_empty()
            && self.cuts.is_empty()
            && self.within.is_none()
            && !self.forbids.iter().any(|clause| clause.is(design))
            && (self.everything
                || self
                    .permits
                    .iter()
                    .any(|clause| clause.is(design) && clause.applied.rule.is_clear()))
    }

    /// Is nothing visible at all?
    pub(in crate::policy) fn is_blind(&self) -> bool {
        self.permits.is_empty() && !self.everything
    }

    /// Is any field of any document hidden?
    pub fn hides_fields(&self) -> bool {
        !self.hides.is_empty() || !self.cuts.is_empty() || self.permits.iter().any(Clause::cuts)
    }

    /// Is every document that can be chosen shown whole? Then whatever looks at them may be asked.
    pub(crate) fn shows_whole_documents(&self) -> bool {
        !self.hides_fields() && !self.is_blind()
    }

    /// Could a leaf of a document be hidden beside another one that is not?
    pub(crate) fn tells_leaves_apart(&self) -> bool {
        self.needs(false).max(self.needs(true)) == Needs::Document
    }

    /// What must be known of a document.
    pub fn needs_document(&self) -> Needs {
        let alike = self.alike() || self.is_clear();
        self.needs(false)
            .max(self.needs(true))
            .max(if alike { Needs::Nothing } else { Needs::Id })
    }

    /// The same for documents that are (not) design documents: `Nothing` when all of them fare alike.
    pub(in crate::policy) fn needs(&self, design: bool) -> Needs {
        let clauses = self
            .permits
            .iter()
            .chain(&self.forbids)
            .chain(&self.cuts)
            .filter(|clause| clause.is(design));
        let conditions = clauses.map(|clause| &clause.applied).chain(&self.hides);
        let within = self.within.as_ref().map(|within| within.needs(design));
        conditions
            .filter_map(|applied| applied.rule.documents.as_ref())
            .fold(within.unwrap_or(Needs::Nothing), |most, selector| {
                most.max(if selector.only_id() {
                    Needs::Id
                } else {
                    Needs::Document
                })
            })
    }

    /// Do design documents fare as all others?
    fn alike(&self) -> bool {
        let clauses = self.permits.iter().chain(&self.forbids).chain(&self.cuts);
        clauses
            .into_iter()
            .all(|clause| clause.plain && clause.design)
            && self.within.as_ref().is_none_or(|within| within.alike())
    }

    /// Which fields of this document are visible; `None`: it is not. `document` is the full stored document.
    ///
    /// An attachment under a name that can't be asked for is as a hidden one to all but administrators: PouchDB asks
    /// for each that it is told of, and stops for good where it is not given one.
    /// (`an_attachment_that_can_not_be_asked_for_stops_no_device_and_survives_its_edits`)
    pub fn judge(&self, id: &str, document: Option<&Value>) -> Option<Cow<'_, Fields>> {
        let fields = self.judge_by_rules(id, document)?;
        let unfit = document.filter(|_| !self.everything);
        let unfit = unfit.map(unfit_attachments).unwrap_or_default();
        Some(match unfit.is_empty() {
            true => fields,
            false => Cow::Owned(fields.into_owned().hiding(unfit)),
        })
    }

    /// The same by the rules alone.
    ///
    /// Security: `_local` documents are read by their own routes alone. (`keys_find_no_local_document`)
    pub(in crate::policy) fn judge_by_rules(
        &self,
        id: &str,
        document: Option<&Value>,
    ) -> Option<Cow<'_, Fields>> {
        if id.starts_with("_local/") {
            return None;
        }
        let name;
        let target = match document {
            Some(document) => Target::Value(document),
            None => {
                name = Value::String(id.to_owned());
                Target::Id(&name)
            }
        };
        let design = id.starts_with("_design/");
        let holds = |applied: &Applied| applied.truth(applied.rule.documents.as_ref(), target);
        if self
            .forbids
            .iter()
            .any(|clause| clause.is(design) && holds(&clause.applied) != Truth::No)
        {
            return None;
        }
        // Security: what a query chooses by, it must be able to show. (`a_filter_chooses_among_documents_that_may_be_read`)
        if let Some(within) = &self.within {
            within.judge_by_rules(id, document)?;
        }
        let matching = |clause: &&Clause| clause.is(design) && holds(&clause.applied).is_yes();
        let everything = self.everything.then(|| Cow::Borrowed(&*ALL));
        let mut fields = union(self.permits.iter().filter(matching), everything)?;
        if let Some(shown) = union(self.cuts.iter().filter(matching), None) {
            fields = Cow::Owned(fields.into_owned().and(&shown));
        }
        for applied in self
            .hides
            .iter()
            .filter(|applied| holds(applied) != Truth::No)
        {
            fields = Cow::Owned(
                fields
                    .into_owned()
                    .hiding(applied.rule.hides.iter().cloned()),
            );
        }
        Some(fields)
    }

    /// May a query name this path? Only if no document of the database hides anything at, above or below it, and
    /// any can be seen.
    ///
    /// Security: of leaves that fare each by itself, not even the number is told. (`hidden_leaves_are_not_counted`)
    pub fn may_name(&self, path: &[&str]) -> bool {
        let leaves = path.first().is_none_or(|first| LEAVES.contains(first));
        if self.is_blind() || (leaves && self.tells_leaves_apart()) {
            return false;
        }
        self.always(|fields| shows(fields, path))
    }

    /// May a query ask for documents without this field? Only if whatever can stand in the place of an object above it
    /// is shown, too.
    ///
    /// Security: CouchDB tells a document without `a` from one in which `a` is no object, when it is asked for those
    /// without `a.b`. (`what_hides_the_place_of_a_field_is_not_told_by_its_absence`)
    pub fn may_miss(&self, path: &[&str]) -> bool {
        let mut above = (1..path.len()).filter_map(|steps| path.get(..steps));
        above.all(|place| self.always(|fields| fields.shows_scalar(place)))
    }

    /// Is that so of the fields that are shown of any document?
    fn always(&self, of: impl Fn(&Fields) -> bool) -> bool {
        let hidden = self.hides.iter();
        let hides = hidden.map(|applied| &applied.rule.hides);
        let mut left = hides.map(|hides| Fields::all().hiding(hides.iter().cloned()));
        left.all(|fields| of(&fields))
            && (self.everything
                || [false, true].into_iter().all(|design| {
                    show_always(&self.permits, design, &of) && show_always(&self.cuts, design, &of)
                }))
    }

    /// The fields by which its rules decide.
    pub fn selector_fields(&self) -> Vec<FieldPath> {
        let clauses = self
            .permits
            .iter()
            .chain(&self.forbids)
            .chain(&self.cuts)
            .map(|clause| &clause.applied);
        let selectors = clauses
            .chain(&self.hides)
            .filter_map(|applied| applied.rule.documents.as_ref());
        let mut fields: Vec<FieldPath> = selectors
            .flat_map(super::Selector::named_fields)
            .filter_map(FieldPath::concrete)
            .collect();
        fields.sort();
        fields.dedup();
        fields
    }

    fn decides_by(&self) -> &[FieldPath] {
        self.decides_by.get_or_init(|| {
            let mut fields = self.selector_fields();
            let within = self.within.iter().flat_map(|within| within.decides_by());
            fields.extend(within.cloned());
            fields
        })
    }

    /// Does this tombstone say nothing of a field by which rules decide?
    pub(crate) fn lacks_of(&self, tombstone: &Value) -> bool {
        let mut places = self.decides_by().iter().filter_map(FieldPath::names);
        places.any(|place| tombstone.at(&place).is_none())
    }

    /// Gives a tombstone those of them that it lacks, as they were in the body that it replaced.
    pub(crate) fn complete(&self, tombstone: &mut Value, before: &Value) {
        let lacks = |path: &&FieldPath| {
            let place = path.names();
            place.is_some_and(|place| tombstone.at(&place).is_none())
        };
        let lacking: Vec<FieldPath> = self.decides_by().iter().filter(lacks).cloned().collect();
        keep_fields(&lacking, before, tombstone);
    }

    /// A selector for CouchDB that matches every visible document, and others; `None`: no useful one.
    ///
    /// Security: CouchDB gives rows in the order of the index that it chooses, and it chooses by what a selector
    /// names. (`no_index_over_a_hidden_field_orders_rows`)
    pub fn prefilter(&self) -> Option<Value> {
        if self.everything {
            return None;
        }
        let applied = || self.permits.iter().map(|clause| &clause.applied);
        let wider = prefilter::any(applied())?;
        let mut named = applied()
            .filter_map(|applied| applied.rule.documents.as_ref())
            .flat_map(super::Selector::named_fields);
        let open =
            named.all(|path| self.may_name(&path.iter().map(String::as_str).collect::<Vec<_>>()));
        Some(match open {
            true => wider,
            false => prefilter::without_index(wider),
        })
    }

    /// The same, by which no index can be used that the client's own selector does not allow.
    pub fn prefilter_without_index(&self) -> Option<Value> {
        self.prefilter().map(prefilter::without_index)
    }

    /// Two lenses with the same fingerprint show the same.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.parts(""))
    }

    /// What the fingerprint covers.
    pub(in crate::policy) fn parts(&self, prefix: &str) -> Vec<Part> {
        let kinds =
            |clause: &Clause| format!("{}{}", u8::from(clause.plain), u8::from(clause.design));
        let permits = self
            .permits
            .iter()
            .map(|clause| (format!("permit {}", kinds(clause)), &clause.applied));
        let forbids = self
            .forbids
            .iter()
            .map(|clause| (format!("forbid {}", kinds(clause)), &clause.applied));
        let hides = self
            .hides
            .iter()
            .map(|applied| ("hide".to_owned(), applied));
        let cuts = self
            .cuts
            .iter()
            .map(|clause| (format!("cut {}", kinds(clause)), &clause.applied));
        let mut parts: Vec<Part> = permits
            .chain(forbids)
            .chain(hides)
            .chain(cuts)
            .map(|(effect, applied)| Part::rule(&format!("{prefix}{effect}"), applied))
            .collect();
        if let Some(within) = &self.within {
            parts.extend(within.parts(&format!("{prefix}within ")));
        }
        if self.everything {
            parts.push(Part::plain(&format!("{prefix}everything")));
        }
        parts
    }
}

impl Clause {
    pub(in crate::policy) fn is(&self, design: bool) -> bool {
        if design { self.design } else { self.plain }
    }

    /// Does it hide fields of what it shows?
    fn cuts(&self) -> bool {
        !self.applied.rule.fields.is_all()
    }
}

/// The places of attachments whose names stand in no path.
fn unfit_attachments(document: &Value) -> Vec<FieldPath> {
    const MEMBER: &str = "_attachments";
    let attachments = document.get(MEMBER).and_then(Value::as_object);
    let names = attachments.into_iter().flat_map(|all| all.iter());
    names
        .filter(|(name, _)| AttachmentName::parse(name).is_err())
        .filter_map(|(name, _)| FieldPath::concrete([MEMBER, name]))
        .collect()
}

/// All that these show, and what is shown already.
fn union<'l>(
    clauses: impl Iterator<Item = &'l Clause>,
    shown: Option<Cow<'l, Fields>>,
) -> Option<Cow<'l, Fields>> {
    clauses.fold(shown, |shown, clause| {
        let own = &clause.applied.rule.fields;
        Some(match shown {
            None => Cow::Borrowed(own),
            Some(shown) => Cow::Owned(shown.into_owned().union(own.clone())),
        })
    })
}

/// Is that so in every document that these show? Rules for all documents show what they show in each; of the others each
/// could be the only one.
fn show_always(clauses: &[Clause], design: bool, of: impl Fn(&Fields) -> bool) -> bool {
    let rules = || {
        let clauses = clauses.iter().filter(|clause| clause.is(design));
        clauses.map(|clause| &clause.applied.rule)
    };
    let always = rules().filter(|rule| rule.documents.is_none());
    match always.map(|rule| rule.fields.clone()).reduce(Fields::union) {
        Some(fields) => of(&fields),
        None => rules().all(|rule| of(&rule.fields)),
    }
}

/// The empty path is the whole document.
pub(in crate::policy) fn shows(fields: &Fields, path: &[&str]) -> bool {
    if path.is_empty() {
        fields.is_all()
    } else {
        fields.may_name(path)
    }
}

#[cfg(test)]
mod tests;
