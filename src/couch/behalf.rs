//! On whose behalf errands are run that nobody told: those of logins, nodes and provisioning, while a request is served.
//!
//! Invariant: what such an errand reads counts to the request until that has been served, or until one of several things
//! that it asks for is done.

use std::sync::{Arc, Mutex, PoisonError};

use crate::budget::{Budget, Share};

tokio::task_local! {
    static REQUEST: Option<Request>;
}

/// A request that is being served.
struct Request {
    budget: Arc<Budget>,
    /// What was read for it.
    read: Mutex<Vec<Share>>,
}

/// Serves a request that has this budget.
pub(crate) async fn on_behalf<T>(budget: &Arc<Budget>, served: impl Future<Output = T>) -> T {
    let request = Request {
        budget: Arc::clone(budget),
        read: Mutex::default(),
    };
    REQUEST.scope(Some(request), served).await
}

/// Does one of several things for the request: what is read for it is let go with it.
pub(crate) async fn apart<T>(done: impl Future<Output = T>) -> T {
    match budget() {
        Some(budget) => on_behalf(&budget, done).await,
        None => done.await,
    }
}

/// Does something for everybody, whoever happens to wait for it.
pub(crate) async fn for_all<T>(done: impl Future<Output = T>) -> T {
    REQUEST.scope(None, done).await
}

/// Nothing yet, if there is a request.
pub(super) fn share() -> Option<Share> {
    budget().map(|budget| Share::of(&budget))
}

/// Keeps what was read.
pub(super) fn keep(share: Share) {
    let kept = REQUEST.try_with(|request| {
        let request = request.as_ref()?;
        let mut read = request.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.push(share);
        Some(())
    });
    // Without a request nobody counts.
    kept.ok().flatten().unwrap_or_default();
}

fn budget() -> Option<Arc<Budget>> {
    let budget = REQUEST.try_with(|request| Some(Arc::clone(&request.as_ref()?.budget)));
    budget.ok().flatten()
}
