//! Whether an open feed may go on: who asked is recognised again from what he has shown, and policy decides again
//! about the same route by the rules in force now.
//!
//! Invariant: a feed goes on only for the very caller it began with, roles and attributes included, under a
//! permit that shows the same, and as long as its sequences are believed. What can't be found out is a no.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::Pipeline;
use crate::exchange::gaps::CallerGaps;
use crate::exchange::reauthorize::Lease;
use crate::identity::Proof;
use crate::policy::{Fingerprint, Permit, Plan, Policy, Verdict};
use crate::route::{Call, DatabaseCall};
use crate::services::node::with_attributes;

/// What a permit is compared by.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    verbatim: bool,
    fingerprint: Option<Fingerprint>,
}

impl Shown {
    fn by(permit: &Permit) -> Self {
        Self {
            verbatim: matches!(permit.plan(), Plan::Verbatim),
            fingerprint: permit.fingerprint(),
        }
    }
}

impl Pipeline {
    /// The rules that are in force from now on. Open feeds are judged by them at once.
    pub(crate) fn adopt(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
        self.identity.announce();
    }

    /// The lease of a feed; none for an answer that ends by itself.
    pub(super) fn lease(&self, permit: &Permit, proof: Proof) -> Option<Lease> {
        let route = permit.route().clone();
        let changes = matches!(
            route.call,
            Call::Database {
                call: DatabaseCall::Changes,
                ..
            }
        );
        if !changes && !route.is_feed() {
            return None;
        }
        let (caller, shown) = (permit.caller().clone(), Shown::by(permit));
        let (identity, policy) = (Arc::clone(&self.identity), Arc::clone(&self.policy));
        let nodes = self.nodes.clone();
        // A feed that ends by itself may end: what it tells is not believed behind a newer gap, however far it goes.
        let waits = route.is_feed();
        let gaps = route.db().filter(|_| waits);
        let gaps = gaps.and_then(|db| self.exchange.gaps.of(&caller, db));
        let gap = gaps.as_ref().and_then(CallerGaps::last_noted);
        let began = Arc::new((route, caller, shown, proof));
        let ask = move || {
            let (identity, policy) = (Arc::clone(&identity), policy.load_full());
            let (nodes, began) = (nodes.clone(), Arc::clone(&began));
            let is_whole = gaps.as_ref().and_then(CallerGaps::last_noted) == gap;
            async move {
                let (route, caller, shown, proof) = &*began;
                let Ok(Some(now)) = identity.confirm(proof).await else {
                    return false;
                };
                let Ok(now) = with_attributes(nodes.as_deref(), &policy, now).await else {
                    return false;
                };
                is_whole
                    && now == *caller
                    && match policy.decide(&now, route.clone()) {
                        Verdict::Permit(permit) => Shown::by(&permit) == *shown,
                        Verdict::Deny(_) | Verdict::Ask(_) => false,
                    }
            }
            .boxed()
        };
        let lease = self.exchange.limits.feed_lease;
        Some(Lease::new(Arc::new(ask), self.identity.changes(), lease))
    }
}
