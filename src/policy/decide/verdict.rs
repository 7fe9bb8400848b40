//! From what a route needs and which rules apply to a verdict.
//!
//! 401: an anonymous caller and anything that is not open to them. 404: a database in which the caller may do
//! nothing at all. 403: a known thing that may not be done.
//!
//! Invariant: a plan without a lens is given only where the rules leave nothing to filter.

use std::sync::Arc;

use crate::caller::Caller;
use crate::refusal::Refusal;
use crate::route::Route;
use crate::route::name::is_own_database;

use crate::policy::decide::decision::{Case, Outcome};
use crate::policy::decide::plan::{Denial, Permit, Plan, Question, Reads, UNJUDGED, Verdict};
use crate::policy::decide::requirement::{DatabaseNeed, Need, Untouched, need};
use crate::policy::grants::rule_set::Policy;
use crate::policy::grants::{Interest, binds};
use crate::policy::rules::action::{Actions, Mask, REWRITE, Simple};

/// Why something that exists is not done.
const FORBIDDEN: &str = "you are not allowed to do this";

impl Policy {
    /// May this caller take this route, and how?
    pub fn decide(&self, caller: &Caller, route: Route) -> Verdict {
        decide(self, caller, route)
    }
}

fn decide(policy: &Policy, caller: &Caller, route: Route) -> Verdict {
    let administrator = caller.is_administrator();
    let outcome = match need(&route) {
        Need::Own => Outcome::Plan(Plan::Here, Vec::new()),
        Need::Named if *caller == Caller::Anonymous => Outcome::Deny(None),
        Need::Named => Outcome::Plan(Plan::Here, Vec::new()),
        Need::Open(name) => on_server(policy, caller, name, true),
        Need::Databases(name) => on_server(policy, caller, name, sees_databases(policy, caller)),
        Need::Server(name) => on_server(policy, caller, name, false),
        Need::Database(need) => {
            let db = route
                .db()
                .map(crate::route::DbName::as_str)
                .unwrap_or_default();
            // Security: no route of a client's names it; should one, administrators are denied it too
            // (`nobody_is_permitted_anything_in_the_database_of_couchwarden`).
            if is_own_database(db) {
                return deny(caller, Refusal::NoDatabase, None);
            }
            let outcome = in_database(policy, caller, db, need, &route);
            let denied = matches!(
                outcome,
                Outcome::Deny(_) | Outcome::Unjudged | Outcome::Missing
            );
            if denied
                && !administrator
                && *caller != Caller::Anonymous
                && !policy.may_do_something(caller, db)
            {
                return Verdict::Deny(Denial {
                    refusal: Refusal::NoDatabase,
                    rule: None,
                });
            }
            outcome
        }
    };
    match outcome {
        Outcome::Plan(plan, rules) => {
            Verdict::Permit(Permit::new(route, caller.clone(), plan, rules))
        }
        Outcome::Ask(lens, rules) => {
            let plan = Plan::Read(Reads::Documents(lens.clone()));
            let permit = Permit::new(route, caller.clone(), plan, rules);
            Verdict::Ask(Box::new(Question { permit, lens }))
        }
        Outcome::Deny(rule) => deny(caller, Refusal::Forbidden(FORBIDDEN), rule),
        Outcome::Unjudged => deny(caller, Refusal::Forbidden(UNJUDGED), None),
        Outcome::Missing => deny(caller, Refusal::Missing, None),
    }
}

fn deny(caller: &Caller, refusal: Refusal, rule: Option<Arc<str>>) -> Verdict {
    let refusal = if *caller == Caller::Anonymous {
        Refusal::Unauthorized
    } else {
        refusal
    };
    Verdict::Deny(Denial { refusal, rule })
}

/// A caller sees which databases there are for them as soon as any rule may permit them something in some.
fn sees_databases(policy: &Policy, caller: &Caller) -> bool {
    *caller != Caller::Anonymous || policy.opens_databases
}

/// What no rule is about is answered by couchwarden itself where it is `open`.
fn on_server(policy: &Policy, caller: &Caller, name: &'static str, open: bool) -> Outcome {
    let named = |actions: &Actions| actions.servers.contains(name);
    let rules = policy.about_server(caller);
    if let Some(rule) = rules
        .iter()
        .find(|rule| named(&rule.forbid) && binds(rule, caller, false))
    {
        return Outcome::Deny(Some(Arc::clone(&rule.name)));
    }
    if caller.is_administrator() {
        return Outcome::Plan(Plan::Verbatim, Vec::new());
    }
    match rules
        .iter()
        .find(|rule| named(&rule.permit) && binds(rule, caller, true))
    {
        Some(rule) => Outcome::Plan(Plan::Verbatim, vec![Arc::clone(&rule.name)]),
        None if open => Outcome::Plan(Plan::Here, Vec::new()),
        None => Outcome::Deny(None),
    }
}

fn in_database(
    policy: &Policy,
    caller: &Caller,
    db: &str,
    need: DatabaseNeed<'_>,
    route: &Route,
) -> Outcome {
    if caller.is_administrator() && !policy.binds_administrators {
        return Outcome::Plan(unbound(policy, db, need), Vec::new());
    }
    let grants = policy.grants(caller, db, &interest(need));
    let case = Case {
        policy,
        db,
        route,
        grants,
    };
    match need {
        DatabaseNeed::Simple(simple) => case.simple(simple),
        DatabaseNeed::Info => case.info(policy.may_do_something(caller, db)),
        DatabaseNeed::Document(id) => case.document(id.is_design()),
        DatabaseNeed::Documents(list) => case.documents(list),
        DatabaseNeed::Changes => case.changes(caller.is_administrator()),
        DatabaseNeed::Find | DatabaseNeed::Explain => case.find(),
        DatabaseNeed::Index => case.index(),
        DatabaseNeed::BulkGet => case.through(Simple::Read, true, true),
        DatabaseNeed::RevsDiff => case.revs_diff(),
        DatabaseNeed::Local => case.replicating(if caller.is_administrator() {
            Plan::Verbatim
        } else {
            Plan::Here
        }),
        DatabaseNeed::Commit => case.replicating(Plan::Verbatim),
        DatabaseNeed::View(ddoc, view) => case.view(ddoc.as_str(), view.as_str()),
        DatabaseNeed::Write(id) => case.write(id.map(|id| id.is_design())),
        DatabaseNeed::AttachmentWrite(id) => case.attachment_write(id.is_design()),
        DatabaseNeed::Copy(from, to) => case.copy(from.is_design(), to.is_design()),
        DatabaseNeed::BulkWrite => {
            case.bulk_write(*caller != Caller::Anonymous && policy.may_do_something(caller, db))
        }
        DatabaseNeed::Attachment(id) => case.attachment(id.is_design()),
        DatabaseNeed::Untouched(what) => case.untouched(what),
        DatabaseNeed::Unjudged if caller.is_administrator() => {
            Outcome::Plan(Plan::Verbatim, Vec::new())
        }
        DatabaseNeed::Unjudged => Outcome::Unjudged,
    }
}

/// An administrator whom no rule binds is served by CouchDB alone; their tombstones keep what rules decide by.
fn unbound(policy: &Policy, db: &str, need: DatabaseNeed<'_>) -> Plan {
    let fields = policy.decision_fields(db);
    match matches!(need, DatabaseNeed::Write(_) | DatabaseNeed::BulkWrite) && !fields.is_empty() {
        true => Plan::KeepInTombstones(fields),
        false => Plan::Verbatim,
    }
}

const WRITES: Mask = Mask::WRITE
    .and(Simple::DesignWrite)
    .and(Simple::Read)
    .and(Simple::Find)
    .and(Simple::Design);
const READS: Mask = Mask::of(Simple::Read).and(Simple::Design);

/// Which rules can bear on this.
fn interest(need: DatabaseNeed<'_>) -> Interest<'_> {
    match need {
        DatabaseNeed::Simple(simple) => Interest::simple(Mask::of(simple)),
        DatabaseNeed::Info => Interest::simple(Mask::of(Simple::Info)),
        DatabaseNeed::Document(_)
        | DatabaseNeed::Documents(_)
        | DatabaseNeed::BulkGet
        | DatabaseNeed::Attachment(_) => Interest::simple(READS),
        DatabaseNeed::Changes => Interest::simple(READS.and(Simple::Changes)),
        DatabaseNeed::Index => Interest::simple(READS.and(Simple::Index)),
        DatabaseNeed::Find | DatabaseNeed::Explain => Interest::simple(READS.and(Simple::Find)),
        DatabaseNeed::RevsDiff | DatabaseNeed::Local | DatabaseNeed::Commit => {
            Interest::simple(Mask::REPLICATE.and(Simple::Design))
        }
        DatabaseNeed::View(ddoc, view) => {
            Interest::simple(READS).view(ddoc.as_str(), view.as_str())
        }
        DatabaseNeed::Write(_)
        | DatabaseNeed::BulkWrite
        | DatabaseNeed::AttachmentWrite(_)
        | DatabaseNeed::Copy(..) => Interest::simple(WRITES),
        DatabaseNeed::Unjudged => Interest::simple(Mask::default()),
        DatabaseNeed::Untouched(what) => {
            let all = Interest::simple(WRITES);
            match what {
                Untouched::Function(ddoc, name) | Untouched::Update(ddoc, name) => {
                    all.function(ddoc.as_str(), name.as_str())
                }
                Untouched::Rewrite(ddoc) => all.function(ddoc.as_str(), REWRITE),
                Untouched::List {
                    ddoc,
                    list,
                    other,
                    view,
                } => all
                    .function(ddoc.as_str(), list.as_str())
                    .view(other.as_str(), view.as_str()),
            }
        }
    }
}
