//! Sessions that have been ended before their cookies expire: one by logging out, or all of a user's at once.
//!
//! A cookie is believed for its signature, by every couchwarden that shares the secret, so there is no place
//! from which a session could be deleted. Its end is remembered instead, until its last cookie has expired.
//!
//! It is remembered by this couchwarden only: another one takes a cookie that was logged out here until it
//! expires, one lifetime after it was issued. A changed password ends sessions everywhere, since each cookie
//! is bound to the credential that opened it.
//!
//! Invariant: memory is bound by the users who ended a session within one lifetime. Who ends more than
//! [`SINGLE`] one by one ends all that he has.

use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::caller::UserName;

/// How many sessions of a user are remembered one by one.
const SINGLE: usize = 16;

/// What has ended.
#[derive(Debug)]
pub(super) struct Ended {
    users: Cache<UserName, Ends>,
}

/// Of one user. A session is known by the millisecond in which it began.
#[derive(Debug, Clone, Default)]
struct Ends {
    /// All that had begun by then.
    until: u64,
    /// And these.
    single: Vec<u64>,
}

impl Ended {
    /// `longest` is how long a cookie that has been issued can still be read.
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            users: Cache::builder().time_to_live(longest).build(),
        }
    }

    /// Ends the session that began then.
    pub(super) fn end(&self, name: &UserName, began: u64, now: u64) {
        self.note(name, |ends| {
            ends.single.push(began);
            if ends.single.len() > SINGLE {
                *ends = Ends {
                    until: now,
                    single: Vec::new(),
                };
            }
        });
    }

    /// Ends every session of the user that has begun by now.
    pub(super) fn end_all(&self, name: &UserName, now: u64) {
        self.note(name, |ends| {
            *ends = Ends {
                until: now,
                single: Vec::new(),
            };
        });
    }

    /// Has this session been ended?
    pub(super) fn has(&self, name: &UserName, began: u64) -> bool {
        self.users
            .get(name)
            .is_some_and(|ends| began <= ends.until || ends.single.contains(&began))
    }

    fn note(&self, name: &UserName, change: impl FnOnce(&mut Ends)) {
        self.users.entry_by_ref(name).and_compute_with(|found| {
            let mut ends = found.map_or_else(Ends::default, moka::Entry::into_value);
            change(&mut ends);
            Op::Put(ends)
        });
    }
}

#[cfg(test)]
mod tests;
