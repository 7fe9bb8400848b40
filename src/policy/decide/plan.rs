//! What a verdict is made of: permits with their plans, denials, questions.
//!
//! Invariant: only this module's parent makes a [`Permit`]; whoever holds one knows that policy has judged the
//! very route that is in it.

use std::fmt;
use std::sync::Arc;

use crate::caller::Caller;
use crate::caller::Role;
use crate::caller::UserName;
use crate::json::FieldPath;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::AttachmentName;
use crate::route::DbName;
use crate::route::DocId;
use crate::route::Method;
use crate::route::Route;

use crate::policy::grants::fingerprint::Fingerprint;
use crate::policy::lens::Lens;
use crate::policy::lens::view::ViewLens;
use crate::policy::write::WriteRules;
use crate::policy::write::users_db::{self, Served};

/// What policy says of a route.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each request and taken apart at once"
)]
#[derive(Debug)]
pub enum Verdict {
    /// It may be done, as the plan says.
    Permit(Permit),
    /// It may not.
    Deny(Denial),
    /// The stored document must be seen first.
    Ask(Box<Question>),
}

/// Proof that policy has judged this very route. Only policy can make one.
///
/// ```compile_fail,E0451
/// # use couchwarden::policy::{Permit, Plan};
/// let forged = Permit { route: todo!(), caller: todo!(), plan: Plan::Verbatim, rules: Vec::new(), sent: None };
/// ```
///
/// The passing twin, so that a rename can't make the above fail for the wrong reason:
///
/// ```
/// # use couchwarden::policy::{Permit, Plan};
/// fn plan(permit: &Permit) -> &Plan {
///     permit.plan()
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    route: Route,
    caller: Caller,
    plan: Plan,
    rules: Vec<Arc<str>>,
    /// The roles that CouchDB is told, where they are not all of the caller's.
    sent: Option<Vec<Role>>,
}

/// What must happen to request and response; which endpoint serves them is said by the route.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each request and taken apart at once"
)]
#[derive(Debug, Clone)]
pub enum Plan {
    /// Both bodies stream untouched.
    Verbatim,
    /// couchwarden makes the answer itself; no document is shown.
    Here,
    /// The answer shows documents, or what is made of them, through a lens.
    Read(Reads),
    /// Each document that is written is judged.
    Write(Box<WriteRules>),
    /// Writes of an administrator that stream untouched, but for these fields, which a tombstone keeps.
    KeepInTombstones(Arc<[FieldPath]>),
}

/// What an answer may show.
#[derive(Debug, Clone)]
pub enum Reads {
    /// Documents.
    Documents(Lens),
    /// `_changes`.
    Changes {
        /// Which rows, by the rules with `changes`.
        rows: Lens,
        /// What `include_docs` shows of their documents, by the rules with `read`.
        docs: Lens,
    },
    /// The rows of a view.
    View(Box<ViewLens>),
}

/// Why a route may not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The answer.
    pub refusal: Refusal,
    /// The rule that forbids it, if one does; for the log.
    pub rule: Option<Arc<str>>,
}

/// An attachment is asked for, and its document decides.
#[derive(Debug)]
pub struct Question {
    pub(in crate::policy) permit: Permit,
    pub(in crate::policy) lens: Lens,
}

impl Permit {
    pub(in crate::policy) fn new(
        route: Route,
        caller: Caller,
        plan: Plan,
        rules: Vec<Arc<str>>,
    ) -> Self {
        Self {
            route,
            caller,
            plan,
            rules,
            sent: None,
        }
    }

    /// The same permit, of whose caller CouchDB is told these roles only.
    #[must_use]
    pub(crate) fn sending(self, roles: Vec<Role>) -> Self {
        Self {
            sent: Some(roles),
            ..self
        }
    }

    /// The caller's roles that CouchDB is told.
    pub(crate) fn sent_roles(&self) -> &[Role] {
        self.sent.as_deref().unwrap_or(self.caller.roles())
    }

    /// The route that was judged.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Who asked.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What must happen.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The rules that permitted it, for the log.
    pub fn rules(&self) -> &[Arc<str>] {
        &self.rules
    }

    /// The name of the account that a write of the document of this id would open: of any but the caller's own.
    pub fn signs_up(&self, id: &str) -> Option<UserName> {
        let served = users_db::served(&self.route, self.caller.is_administrator());
        let name = users_db::name(id).filter(|_| served == Served::AsAccount)?;
        (self.caller.name() != Some(name.as_str())).then_some(name)
    }

    /// All of it. What comes out proves nothing any more.
    pub fn into_parts(self) -> (Route, Caller, Plan, Vec<Arc<str>>) {
        (self.route, self.caller, self.plan, self.rules)
    }

    /// What is shown of documents.
    ///
    /// # Errors
    ///
    /// [`Refusal::Internal`] where policy gave this call another plan than the code that serves it expects; so with
    /// the three below.
    pub(crate) fn documents(&self) -> Result<&Lens, Refusal> {
        match &self.plan {
            Plan::Read(Reads::Documents(lens)) => Ok(lens),
            Plan::Read(Reads::Changes { .. } | Reads::View(_))
            | Plan::Verbatim
            | Plan::Here
            | Plan::Write(_)
            | Plan::KeepInTombstones(_) => Err(Refusal::Internal(
                "policy gave this call another plan than it is served by",
            )),
        }
    }

    /// Which rows of `_changes` are shown, and what of their documents.
    pub(crate) fn changes(&self) -> Result<(&Lens, &Lens), Refusal> {
        match &self.plan {
            Plan::Read(Reads::Changes { rows, docs }) => Ok((rows, docs)),
            Plan::Read(Reads::Documents(_) | Reads::View(_))
            | Plan::Verbatim
            | Plan::Here
            | Plan::Write(_)
            | Plan::KeepInTombstones(_) => Err(Refusal::Internal(
                "policy gave this call another plan than it is served by",
            )),
        }
    }

    /// What is shown of a view.
    pub(crate) fn view(&self) -> Result<&ViewLens, Refusal> {
        match &self.plan {
            Plan::Read(Reads::View(lens)) => Ok(lens),
            Plan::Read(Reads::Documents(_) | Reads::Changes { .. })
            | Plan::Verbatim
            | Plan::Here
            | Plan::Write(_)
            | Plan::KeepInTombstones(_) => Err(Refusal::Internal(
                "policy gave this call another plan than it is served by",
            )),
        }
    }

    /// By what writes are judged.
    pub(crate) fn writes(&self) -> Result<&WriteRules, Refusal> {
        match &self.plan {
            Plan::Write(rules) => Ok(rules),
            Plan::Verbatim | Plan::Here | Plan::Read(_) | Plan::KeepInTombstones(_) => Err(
                Refusal::Internal("policy gave this call another plan than it is served by"),
            ),
        }
    }

    /// The fingerprint of what this permit shows; `None` where nothing depends on rules.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.plan {
            Plan::Read(Reads::Changes { rows, docs }) => Some(Fingerprint::of(
                &[rows.parts("rows "), docs.parts("docs ")].concat(),
            )),
            Plan::Read(Reads::Documents(lens)) => Some(lens.fingerprint()),
            Plan::Read(Reads::View(lens)) => Some(lens.fingerprint()),
            Plan::Verbatim | Plan::Here | Plan::Write(_) | Plan::KeepInTombstones(_) => None,
        }
    }
}

/// The reason for routes that nothing judges yet.
pub(in crate::policy) const UNJUDGED: &str = "this is open to administrators only";

impl Denial {
    /// Is it for want of a judgement, and not by any rule? A test counts these.
    pub fn is_unjudged(&self) -> bool {
        self.refusal == Refusal::Forbidden(UNJUDGED)
    }
}

impl Question {
    /// The database.
    pub fn db(&self) -> Option<&DbName> {
        self.permit.route.db()
    }

    /// The document to fetch: the revision that the route's query names, else the winner.
    pub fn document(&self) -> Option<&DocId> {
        Some(self.asked()?.0)
    }

    /// The route that waits for the answer.
    pub fn route(&self) -> &Route {
        &self.permit.route
    }

    /// Who asked.
    pub fn caller(&self) -> &Caller {
        &self.permit.caller
    }

    fn asked(&self) -> Option<(&DocId, &AttachmentName)> {
        self.permit.route.attachment()
    }

    /// Decides by the stored document; `None`: there is none. The permit's route is pinned to its revision, so
    /// that the attachment of another one can't be served.
    pub fn settle(mut self, stored: Option<&Value>) -> Result<Permit, Denial> {
        let missing = || Denial {
            refusal: Refusal::Missing,
            rule: None,
        };
        let stored = stored.ok_or_else(missing)?;
        let (id, name) = self.asked().ok_or_else(missing)?;
        let same = stored
            .get("_id")
            .and_then(Value::as_str)
            .is_none_or(|own| own == id.as_str());
        let fields = self
            .lens
            .judge(id.as_str(), Some(stored))
            .filter(|_| same)
            .ok_or_else(missing)?;
        if !fields.shows_attachment(name.as_str()) {
            return Err(missing());
        }
        let rev = stored
            .get("_rev")
            .and_then(Value::as_str)
            .ok_or_else(missing)?;
        self.permit.route.query.set("rev", rev);
        // Security: with it CouchDB would open a descendant of that revision, which nobody has judged.
        // (`the_attachment_of_a_later_revision_is_not_served_for_an_earlier_one`)
        self.permit.route.query.remove("latest");
        Ok(self.permit)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit(permit) => write!(f, "permit{permit}"),
            Self::Deny(denial) => write!(f, "{}", denial.refusal.status()),
            Self::Ask(_) => f.write_str("ask"),
        }
    }
}

/// What follows `permit` in the golden matrix.
impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plan {
            Plan::Verbatim => Ok(()),
            Plan::Here => match self.route.db() {
                Some(_) if self.route.is_of_a_database() => f.write_str(", info"),
                Some(_) => f.write_str(", local"),
                None => f.write_str(", own"),
            },
            Plan::KeepInTombstones(_) => f.write_str(", tombstones"),
            Plan::Read(Reads::Documents(lens)) => write!(f, ", lens {lens}"),
            Plan::Read(Reads::Changes { rows, docs }) => {
                write!(f, ", changes {rows}, docs {docs}")
            }
            Plan::Read(Reads::View(lens)) => write!(f, ", rows {lens}"),
            Plan::Write(rules) if self.route.method == Method::Copy => {
                write!(f, ", copy, write {rules}")
            }
            Plan::Write(rules) => write!(f, ", write {rules}"),
        }
    }
}
