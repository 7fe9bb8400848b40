//! Sessions, and which of them have been ended before their time: one by logging out, or all of a user's at once.
//!
//! A cookie is believed for its signature, by every couchwarden that shares the secret, so there is no place from
//! which a session could be deleted. Its end is remembered instead, until the session would be over by itself.
//!
//! Here is what an end is and how it is remembered; `ended` makes it known to every couchwarden. What an end says
//! stands in the id of its document alone, so that it can be neither changed nor in conflict with another, and ids
//! are in the order of the time after which they need not be kept.
//!
//! Invariant: every end is remembered by itself, however many there are, until no cookie of what it ends can be
//! believed. Memory is bound by that time: 21 bytes for each, and what the table leaves free.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};

use crate::caller::UserName;
use crate::secret::Secret;

/// A cookie is issued by a clock that is at most this much ahead of ours, in seconds.
pub(super) const SKEW: u64 = 60;

/// Sixteen bytes that stand for a session, or for the name of a user.
type Short = [u8; 16];

/// What all cookies of one session have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(super) id: Short,
    /// When somebody logged in, in milliseconds since 1970.
    pub(super) began: u64,
    /// How long it lasts at most, in seconds.
    pub(super) longest: u32,
}

impl Session {
    /// A new one; nothing if the system has no randomness to give.
    pub(super) fn begin(now_ms: u64, longest: u32) -> Option<Self> {
        let id = short(Secret::random()?.expose());
        Some(Self {
            id,
            began: now_ms,
            longest,
        })
    }

    /// One of a cookie that names none, as those of the release before did: there a session was known by the
    /// millisecond in which it began. Every couchwarden takes it for the same.
    pub(super) fn unnamed(name: &UserName, began: u64, longest: u32) -> Self {
        let parts: [&[u8]; 3] = [b"session ", &began.to_be_bytes(), name.as_str().as_bytes()];
        let id = digest_of(&parts.concat());
        Self { id, began, longest }
    }

    /// When it is over by itself, in seconds since 1970.
    pub(super) fn over(&self) -> u64 {
        (self.began / 1000).saturating_add(u64::from(self.longest))
    }
}

/// The end of one session, or of all of a user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    Session {
        id: Short,
        /// Until when it is to be remembered, in seconds since 1970.
        until: u64,
    },
    /// Of all that began by then, in milliseconds.
    User { name: Short, began: u64, until: u64 },
}

impl End {
    pub(super) fn of(session: &Session) -> Self {
        Self::Session {
            id: session.id,
            until: session.over().saturating_add(SKEW),
        }
    }

    /// Of every session of the user that has begun by now, none of which lasts longer than so many seconds.
    pub(super) fn of_all(name: &UserName, now_ms: u64, longest: u32) -> Self {
        Self::User {
            name: digest_of(name.as_str().as_bytes()),
            began: now_ms,
            until: (now_ms / 1000)
                .saturating_add(u64::from(longest))
                .saturating_add(SKEW),
        }
    }

    /// Until when it is to be remembered.
    pub(super) fn until(&self) -> u64 {
        match self {
            Self::Session { id: _, until }
            | Self::User {
                name: _,
                began: _,
                until,
            } => *until,
        }
    }

    /// The id of its document.
    pub(super) fn document(&self) -> String {
        match self {
            Self::Session { id, until } => format!("{until:012}:session:{}", hex(id)),
            Self::User { name, began, until } => {
                format!("{until:012}:user:{}:{began}", hex(name))
            }
        }
    }

    /// What a document says by its id; nothing, if it is none of these.
    pub(super) fn read(document: &str) -> Option<Self> {
        let (until, rest) = document.split_once(':')?;
        let (kind, rest) = rest.split_once(':')?;
        let until: u64 = until.parse().ok()?;
        let end = match kind {
            "session" => Self::Session {
                id: unhex(rest)?,
                until,
            },
            "user" => {
                let (name, began) = rest.split_once(':')?;
                Self::User {
                    name: unhex(name)?,
                    began: began.parse().ok()?,
                    until,
                }
            }
            _ => return None,
        };
        // Written as we write it, or it is not ours to remove.
        (end.document() == document).then_some(end)
    }
}

/// What is known to have ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// With the second until which each is remembered.
    sessions: HashMap<Short, u32>,
    /// What began by this millisecond has ended; remembered until this second.
    users: HashMap<Short, (u64, u32)>,
}

impl Ends {
    /// Takes an end in, and tells whether it is news.
    pub(super) fn learn(&mut self, end: &End) -> bool {
        let until = u32::try_from(end.until()).unwrap_or(u32::MAX);
        match end {
            End::Session { id, until: _ } => match self.sessions.insert(*id, until) {
                None => true,
                Some(before) => {
                    self.sessions.insert(*id, before.max(until));
                    false
                }
            },
            End::User {
                name,
                began,
                until: _,
            } => {
                let known = self.users.entry(*name).or_default();
                let news = *began > known.0;
                *known = (known.0.max(*began), known.1.max(until));
                news
            }
        }
    }

    /// Has this session of the user been ended?
    pub(super) fn has(&self, name: &UserName, session: &Session) -> bool {
        if self.sessions.contains_key(&session.id) {
            return true;
        }
        // Hardly anybody's password has just changed.
        if self.users.is_empty() {
            return false;
        }
        let all = self.users.get(&digest_of(name.as_str().as_bytes()));
        all.is_some_and(|(began, _)| session.began <= *began)
    }

    /// Forgets what need not be remembered any more.
    pub(super) fn sweep(&mut self, now: u64) {
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        self.sessions.retain(|_, until| *until >= now);
        self.users.retain(|_, (_, until)| *until >= now);
        // A table that is mostly free is made anew; each time would be once too often.
        if self.sessions.capacity() / 4 > self.sessions.len() {
            self.sessions.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        // One byte beside each place says whether it is taken, and an eighth of the places stays free.
        self.sessions.capacity() * 8 / 7 * (size_of::<(Short, u32)>() + 1)
    }
}

fn digest_of(bytes: &[u8]) -> Short {
    short(digest(&SHA256, bytes).as_ref())
}

/// The first sixteen bytes.
fn short(bytes: &[u8]) -> Short {
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(bytes) {
        *to = *from;
    }
    short
}

fn hex(bytes: &Short) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn unhex(text: &str) -> Option<Short> {
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests;
