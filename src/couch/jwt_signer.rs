//! Signed tokens (RFC 7519) that CouchDB's `jwt_authentication_handler` reads: who asks, with which roles, until when.
//!
//! `{"sub": NAME, "_couchdb.roles": […], "exp": SECONDS}`. A token is signed once and remembered until shortly before
//! its end: clocks may differ by half a minute. One with `_admin` lives for a minute, another for five.
//!
//! Invariant: a token is remembered by the very claims that were signed, all but its end: nobody is handed another's,
//! and other roles or another database make another token.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderValue;
use moka::sync::Cache;

use crate::config::SigningKey;
use crate::json::Value;

/// How long the token of a caller is good.
const LIFE: Duration = Duration::from_secs(300);

/// How long a token is good that opens everything.
const ADMIN_LIFE: Duration = Duration::from_secs(60);

/// How long before its end a token is not handed out any more.
const MARGIN: Duration = Duration::from_secs(30);

/// CouchDB's role of those who may do everything.
pub(crate) const ADMIN: &str = "_admin";

/// The bytes of claims and tokens that are remembered.
const REMEMBERED: u64 = 32 << 20;

/// Whom a token speaks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) roles: &'a [&'a str],
}

/// Signs tokens, and remembers them.
pub(crate) struct JwtSigner {
    key: SigningKey,
    /// The first part of every token that this key signs.
    head: String,
    remembered: Cache<String, Signed>,
}

/// A token that was signed a while ago.
#[derive(Clone)]
struct Signed {
    /// None where it could not be signed.
    authorization: Option<HeaderValue>,
    /// Until when it is handed out, in seconds since 1970.
    until: u64,
}

impl JwtSigner {
    pub(crate) fn new(key: SigningKey) -> Self {
        let head = format!(
            r#"{{"alg":"{}","typ":"JWT","kid":"{}"}}"#,
            key.signing().name(),
            key.id()
        );
        let weigh = |claims: &String, signed: &Signed| {
            let token = signed.authorization.as_ref().map_or(0, HeaderValue::len);
            let bytes = claims.len().saturating_add(token);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            key,
            head: URL_SAFE_NO_PAD.encode(head),
            remembered: Cache::builder()
                .max_capacity(REMEMBERED)
                .weigher(weigh)
                .time_to_live(LIFE)
                .build(),
        }
    }

    /// The `Authorization` of a request for this subject, good for some time from now; nothing if it can't be signed.
    pub(crate) fn authorization(&self, subject: Subject<'_>) -> Option<HeaderValue> {
        self.authorization_at(subject, now())
    }

    fn authorization_at(&self, subject: Subject<'_>, now: u64) -> Option<HeaderValue> {
        let claims = subject.claims();
        let is_good = |signed: &Signed| signed.authorization.is_some() && now < signed.until;
        if let Some(signed) = self.remembered.get(&claims).filter(is_good) {
            return signed.authorization;
        }
        let life = match subject.roles.contains(&ADMIN) {
            true => ADMIN_LIFE,
            false => LIFE,
        };
        let end = now.saturating_add(life.as_secs());
        // Others who ask for the same meanwhile wait for it.
        let entry = self.remembered.entry_by_ref(&claims);
        let sign = || Signed {
            authorization: self.sign(&claims, end),
            until: end.saturating_sub(MARGIN.as_secs()),
        };
        let signed = entry.or_insert_with_if(sign, |signed| !is_good(signed));
        signed.into_value().authorization
    }

    /// The `Authorization` of somebody who keeps it until this time, which is seconds since 1970.
    pub(crate) fn authorization_until(
        &self,
        subject: Subject<'_>,
        end: u64,
    ) -> Option<HeaderValue> {
        self.sign(&subject.claims(), end)
    }

    /// How many bytes the header line of this subject takes.
    pub(crate) fn line_length(&self, subject: Subject<'_>) -> usize {
        let payload = subject
            .claims()
            .len()
            .saturating_add(end_of_claims(now()).len());
        let encoded = |bytes: usize| bytes.saturating_mul(4).div_ceil(3);
        // ES256 signs with 64 bytes, HS256 with 32.
        "authorization: Bearer ..\r\n"
            .len()
            .saturating_add(self.head.len())
            .saturating_add(encoded(payload))
            .saturating_add(encoded(64))
    }

    /// How each `Authorization` of this key begins, and none of another.
    pub(crate) fn beginning(&self) -> String {
        format!("Bearer {}", self.head)
    }

    /// Is this a token that our key has signed, or pretends to be one?
    pub(crate) fn is_ours(&self, token: &str) -> bool {
        let rest = token.strip_prefix(self.head.as_str());
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    fn sign(&self, claims: &str, end: u64) -> Option<HeaderValue> {
        let payload = URL_SAFE_NO_PAD.encode(format!("{claims}{}", end_of_claims(end)));
        let signed = format!("{}.{payload}", self.head);
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes())?);
        let mut value = HeaderValue::try_from(format!("Bearer {signed}.{signature}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Subject<'_> {
    /// The claims without their end, as text: two subjects never have the same.
    fn claims(&self) -> String {
        let roles = self.roles.iter().map(|role| Value::from(*role));
        let roles = Value::from(roles.collect::<Vec<Value>>());
        format!(
            r#"{{"sub":{},"_couchdb.roles":{roles}"#,
            Value::from(self.name)
        )
    }
}

fn end_of_claims(end: u64) -> String {
    format!(r#","exp":{end}}}"#)
}

impl fmt::Debug for JwtSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtSigner({})", self.key.id())
    }
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "CouchDB compares the end of a token with its clock; no rule depends on ours"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
