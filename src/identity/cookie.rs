//! The session cookie: signed by us, read by every couchwarden that shares the secret.
//!
//! base64url of: version 3 · the session (16 random bytes) · when it began (u64) · how long it lasts at most
//! (u32) · when the cookie was issued (u64) · its lifetime (u32) · digest of the credential that proved the name
//! (16 bytes) · the name · HMAC-SHA-256 over all of it (32 bytes). Times are seconds, since 1970 or from then on, the
//! beginning of the session milliseconds; numbers are big-endian. What stands before the issue is that of the login
//! in every renewal.
//!
//! Version 2, of the release before, has neither the session's bytes nor how long it lasts. It is read for one
//! lifetime, and renewed into version 3.
//!
//! There are no roles in it: they are looked up. The digest ends every session of a user whose password
//! has changed, and of a name that was given to somebody else.
//!
//! Invariant: nothing of a cookie is believed before its signature is; none is believed after its session is over.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::caller::UserName;
use crate::config;

use super::keys::{Keys, Signed};
use super::sessions::{SKEW, Session};

/// CouchDB's name for it, which its replicator looks for.
const NAME: &str = "AuthSession";

const VERSION: u8 = 3;

/// Of the release before.
const UNNAMED: u8 = 2;

/// A session whose credential can't be watched ends after this many lifetimes.
const WORN: u64 = 12;

/// What a browser is told about the cookie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jar {
    /// Whether it travels over TLS only: always, unless couchwarden itself speaks plain HTTP.
    pub(crate) secure: bool,
    /// From which sites it is sent.
    pub(crate) same_site: SameSite,
}

/// From which sites a browser sends the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    /// Also when a link leads here.
    Lax,
    /// From every site. The `Origin` of whatever changes something must be checked.
    None,
}

/// The value of a `Set-Cookie` header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SetCookie(String);

impl SetCookie {
    /// The value of the header.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetCookie(…)")
    }
}

/// What a cookie claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) name: UserName,
    pub(super) session: Session,
    pub(super) issued: u64,
}

/// A cookie that we have signed.
#[derive(Debug)]
pub(super) struct SignedClaim {
    pub(super) claim: Claim,
    lifetime: u64,
    digest: [u8; 16],
    /// Which of the keys has signed it; 0 is the one that signs now.
    key: usize,
}

/// Issues and reads cookies.
#[derive(Debug)]
pub(super) struct Cookies {
    keys: Keys,
    lifetime: u64,
    /// How long a session lasts at most.
    longest: u32,
    jar: Jar,
}

impl Cookies {
    pub(super) fn new(settings: &config::Session, jar: Jar) -> Self {
        Self {
            keys: Keys::new(settings, "session"),
            lifetime: settings.lifetime.max(Duration::from_secs(1)).as_secs(),
            longest: u32::try_from(settings.longest.as_secs().max(1)).unwrap_or(u32::MAX),
            jar,
        }
    }

    /// The cookie for a claim that this credential has proved. It lives no longer than its session.
    pub(super) fn issue(&self, claim: &Claim, credential: &[u8]) -> SetCookie {
        let left = self.over(&claim.session).saturating_sub(claim.issued);
        let lifetime = u32::try_from(self.lifetime.min(left)).unwrap_or(u32::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend(claim.session.id);
        bytes.extend(claim.session.began.to_be_bytes());
        bytes.extend(claim.session.longest.to_be_bytes());
        bytes.extend(claim.issued.to_be_bytes());
        bytes.extend(lifetime.to_be_bytes());
        bytes.extend(self.keys.digest(0, credential));
        bytes.extend(claim.name.as_str().as_bytes());
        let signed = self.keys.sign(bytes);
        self.dress(&URL_SAFE_NO_PAD.encode(signed), u64::from(lifetime))
    }

    /// The cookie that ends all others.
    pub(super) fn clear(&self) -> SetCookie {
        self.dress("", 0)
    }

    fn dress(&self, value: &str, age: u64) -> SetCookie {
        let same_site = match self.jar.same_site {
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let secure = if self.jar.secure { "; Secure" } else { "" };
        SetCookie(format!(
            "{NAME}={value}; Path=/; Max-Age={age}{secure}; HttpOnly; SameSite={same_site}"
        ))
    }

    /// Reads a cookie of ours that has not expired, of a session that is not over.
    pub(super) fn read(&self, value: &[u8], now: u64) -> Option<SignedClaim> {
        let signed = self.open(value)?;
        let fresh = signed.claim.issued <= now.saturating_add(SKEW)
            && now < signed.claim.issued.saturating_add(signed.lifetime)
            && now < self.over(&signed.claim.session);
        fresh.then_some(signed)
    }

    /// Reads a cookie of ours, expired or not.
    pub(super) fn open(&self, value: &[u8]) -> Option<SignedClaim> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let Signed { content, key } = self.keys.open(&bytes)?;
        let (version, rest) = content.split_first()?;
        let (named, rest) = match *version {
            VERSION => rest
                .split_first_chunk()
                .map(|(id, rest)| (Some(*id), rest))?,
            UNNAMED => (None, rest),
            _ => return None,
        };
        let (began, rest) = number(rest)?;
        let (longest, rest) = match named {
            Some(_) => rest
                .split_first_chunk()
                .map(|(longest, rest)| (u32::from_be_bytes(*longest), rest))?,
            None => (self.longest, rest),
        };
        let (issued, rest) = number(rest)?;
        let (lifetime, rest) = rest.split_first_chunk()?;
        let (digest, name) = rest.split_first_chunk()?;
        let name = UserName::parse(std::str::from_utf8(name).ok()?).ok()?;
        let session = match named {
            Some(id) => Session { id, began, longest },
            None => Session::unnamed(&name, began, longest),
        };
        Some(SignedClaim {
            claim: Claim {
                name,
                session,
                issued,
            },
            lifetime: u64::from(u32::from_be_bytes(*lifetime)).min(self.lifetime),
            digest: *digest,
            key,
        })
    }

    /// A new session; nothing if the system has no randomness to give.
    pub(super) fn begin(&self, now_ms: u64) -> Option<Session> {
        Session::begin(now_ms, self.longest)
    }

    /// When a session is over, in seconds since 1970: as it began, or sooner where it has been shortened since.
    pub(super) fn over(&self, session: &Session) -> u64 {
        let longest = session.longest.min(self.longest);
        Session {
            longest,
            ..*session
        }
        .over()
    }

    /// How long a session lasts at most, in seconds.
    pub(super) fn longest(&self) -> u32 {
        self.longest
    }

    /// Is this still the credential that the session was opened with?
    pub(super) fn is_of(&self, ticket: &SignedClaim, credential: &[u8]) -> bool {
        self.keys.is_of(ticket.key, credential, &ticket.digest)
    }

    /// After how long a cookie is past half of its life.
    pub(super) fn refresh(&self) -> Duration {
        Duration::from_secs(self.lifetime) / 2
    }

    /// Is the cookie past half of its life, or signed by a key that is on its way out? Not where it lives as long as
    /// its session already.
    pub(super) fn is_due(&self, ticket: &SignedClaim, now: u64) -> bool {
        let expires = ticket.claim.issued.saturating_add(ticket.lifetime);
        let old = now >= ticket.claim.issued.saturating_add(ticket.lifetime / 2);
        ticket.key != 0 || (old && expires < self.over(&ticket.claim.session))
    }

    /// Has a session that can't be watched gone on for too long?
    pub(super) fn is_worn(&self, claim: &Claim, now: u64) -> bool {
        let began = claim.session.began / 1000;
        now >= began.saturating_add(self.lifetime.saturating_mul(WORN))
    }
}

/// Eight bytes of a number, and what stands behind them.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// The value of our cookie in a `Cookie` header. The first one counts, as it does for CouchDB; an empty
/// one is none.
pub(super) fn find(header: &[u8]) -> Option<&[u8]> {
    let mut pairs = header.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let value = pairs.find_map(|pair| pair.strip_prefix(NAME.as_bytes())?.strip_prefix(b"="))?;
    let value = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value);
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests;
