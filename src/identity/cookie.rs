//! The session cookie: signed by us, read by every couchwarden that shares the secret.
//!
//! base64url of: version 2 · when the session began (u64) · when the cookie was issued (u64) ·
//! lifetime in seconds (u32) · digest of the credential that proved the name (16 bytes) · the name ·
//! HMAC-SHA-256 over all of it (32 bytes). Times are seconds since 1970, the beginning milliseconds, so that
//! it tells one session of a user from another; numbers are big-endian.
//!
//! There are no roles in it: they are looked up. The digest ends every session of a user whose password
//! has changed, and of a name that was given to somebody else.
//!
//! Invariant: nothing of a cookie is believed before its signature is.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::caller::UserName;
use crate::config;

use super::keys::{Keys, Signed};

/// CouchDB's name for it, which its replicator looks for.
const NAME: &str = "AuthSession";

const VERSION: u8 = 2;

/// A cookie is issued by a clock that is at most this much ahead of ours.
const SKEW: u64 = 60;

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
    /// In milliseconds.
    pub(super) began: u64,
    pub(super) issued: u64,
}

/// A cookie that we have signed and that has not expired.
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
    jar: Jar,
}

impl Cookies {
    pub(super) fn new(settings: &config::Session, jar: Jar) -> Self {
        Self {
            keys: Keys::new(settings, "session"),
            lifetime: settings.lifetime.max(Duration::from_secs(1)).as_secs(),
            jar,
        }
    }

    /// The cookie for a claim that this credential has proved.
    pub(super) fn issue(&self, claim: &Claim, credential: &[u8]) -> SetCookie {
        let lifetime = u32::try_from(self.lifetime).unwrap_or(u32::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend(claim.began.to_be_bytes());
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

    /// Reads a cookie of ours that has not expired.
    pub(super) fn read(&self, value: &[u8], now: u64) -> Option<SignedClaim> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let Signed { content, key } = self.keys.open(&bytes)?;
        let (version, rest) = content.split_first()?;
        let (began, rest) = rest.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (lifetime, rest) = rest.split_first_chunk()?;
        let (digest, name) = rest.split_first_chunk()?;
        let claim = Claim {
            name: UserName::parse(std::str::from_utf8(name).ok()?).ok()?,
            began: u64::from_be_bytes(*began),
            issued: u64::from_be_bytes(*issued),
        };
        let lifetime = u64::from(u32::from_be_bytes(*lifetime)).min(self.lifetime);
        let fresh = claim.issued <= now.saturating_add(SKEW)
            && now < claim.issued.saturating_add(lifetime)
            && *version == VERSION;
        fresh.then_some(SignedClaim {
            claim,
            lifetime,
            digest: *digest,
            key,
        })
    }

    /// Is this still the credential that the session was opened with?
    pub(super) fn is_of(&self, ticket: &SignedClaim, credential: &[u8]) -> bool {
        self.keys.is_of(ticket.key, credential, &ticket.digest)
    }

    /// After how long a cookie is past half of its life.
    pub(super) fn refresh(&self) -> Duration {
        Duration::from_secs(self.lifetime) / 2
    }

    /// Past half of its life, or signed by a key that is on its way out?
    pub(super) fn is_due(&self, ticket: &SignedClaim, now: u64) -> bool {
        ticket.key != 0 || now >= ticket.claim.issued.saturating_add(ticket.lifetime / 2)
    }

    /// Has a session that can't be watched gone on for too long?
    pub(super) fn is_worn(&self, claim: &Claim, now: u64) -> bool {
        let began = claim.began / 1000;
        now >= began.saturating_add(self.lifetime.saturating_mul(WORN))
    }

    /// How long a cookie that has been issued can still be read.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_secs(self.lifetime.saturating_add(SKEW))
    }
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
