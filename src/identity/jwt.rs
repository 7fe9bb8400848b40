//! Signed tokens of others (RFC 7519): `Authorization: Bearer`.
//!
//! `sub` is the caller's name, the configured claim holds his roles, and `{claim:NAME}` in a rule stands for the other
//! claims. The keys are ours, or CouchDB is asked whom it takes the bearer for.
//!
//! Invariant: nothing of a token but its head is read before its signature is verified, by the one key that
//! the head can mean; a token makes nobody an administrator.

use crate::caller::{Role, UserName};
use crate::config::{Algorithm, TokenKey, TokenRules};
use crate::couch::UserCtx;
use crate::json::{Object, Value};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a token tells about its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) name: UserName,
    pub(super) roles: Vec<Role>,
    /// Claims that are texts, numbers or truth values, or lists of them: one entry for each.
    pub(super) claims: Vec<(String, String)>,
}

/// Why a token is not believed; for the log.
type Doubt = &'static str;

/// Reads a token at this time.
pub(super) fn read(
    rules: &TokenRules,
    keys: &[TokenKey],
    token: &str,
    now: u64,
) -> Result<Bearer, Doubt> {
    let (signed, signature) = token.rsplit_once('.').ok_or("it has no signature")?;
    let (head, payload) = signed.split_once('.').ok_or("it has no payload")?;
    verify(keys, head, signed, signature)?;
    let claims = json(payload).ok_or("the payload is no JSON")?;
    check_times(&claims, now, rules.leeway.as_secs())?;
    check_parties(&claims, rules)?;
    let name = claims.get("sub").and_then(Value::as_str);
    let name = UserName::parse(name.ok_or("`sub` is missing")?);
    Ok(Bearer {
        name: name.map_err(|_| "`sub` can't be a name")?,
        roles: roles(&claims, &rules.roles)?,
        claims: texts(&claims),
    })
}

/// Whom CouchDB takes the bearer for; it tells no claims.
pub(super) fn vouched(context: &UserCtx) -> Result<Bearer, Doubt> {
    Ok(Bearer {
        name: UserName::parse(&context.name).map_err(|_| "its name can't be one")?,
        roles: parse_roles(context.roles.iter().map(String::as_str))?,
        claims: Vec::new(),
    })
}

/// Security: the key decides what algorithms there are, not the token; `none` is not one of them, and a
/// token that any of two keys could be meant for is nobody's (`the_key_decides_how_a_token_is_signed`).
fn verify(keys: &[TokenKey], head: &str, signed: &str, signature: &str) -> Result<(), Doubt> {
    let head = json(head).ok_or("the head is no JSON")?;
    // Whoever does not understand an extension that is critical must refuse it (RFC 7515 section 4.1.11).
    if head.get("crit").is_some() {
        return Err("it has critical extensions");
    }
    let algorithm = head.get("alg").and_then(Value::as_str);
    let algorithm = algorithm
        .and_then(Algorithm::parse)
        .ok_or("its algorithm is not known")?;
    let id = match head.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().ok_or("its `kid` is no text")?),
    };
    let meant = |key: &&TokenKey| key.is_meant(id) && key.fits(algorithm);
    let mut keys = keys.iter().filter(meant);
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err("there is not one key for it");
    };
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| "its signature can't be read")?;
    if key.verifies(algorithm, signed.as_bytes(), &signature) {
        Ok(())
    } else {
        Err("its signature is wrong")
    }
}

/// `exp` must be there; `nbf` counts where it is (RFC 7519 section 4.1).
fn check_times(claims: &Value, now: u64, leeway: u64) -> Result<(), Doubt> {
    let seconds = |name| {
        let Some(claim) = claims.get(name) else {
            return Ok(None);
        };
        // Fractions of a second make no difference here.
        let whole = claim
            .as_number()
            .and_then(|number| number.as_str().split('.').next());
        let whole = whole.and_then(|whole| whole.parse::<u64>().ok());
        whole.map(Some).ok_or("a time in it can't be read")
    };
    let expires = seconds("exp")?.ok_or("`exp` is missing")?;
    if now >= expires.saturating_add(leeway) {
        return Err("it has expired");
    }
    if seconds("nbf")?.is_some_and(|begins| now.saturating_add(leeway) < begins) {
        return Err("it is not valid yet");
    }
    Ok(())
}

/// Security: a token that was made for another audience must not work here, though the keys be the same
/// (`a_token_for_others_is_refused`).
fn check_parties(claims: &Value, rules: &TokenRules) -> Result<(), Doubt> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    if rules.issuer.is_some() && issuer != rules.issuer.as_deref() {
        return Err("it is of another issuer");
    }
    let audience = claims.get("aud");
    let meant = match (&rules.audience, audience) {
        (None, None) => true,
        (None, Some(_)) | (Some(_), None) => false,
        (Some(own), Some(Value::Array(all))) => {
            all.iter().any(|one| one.as_str() == Some(own.as_str()))
        }
        (Some(own), Some(one)) => one.as_str() == Some(own.as_str()),
    };
    meant.then_some(()).ok_or("it is for another audience")
}

/// The roles at this place; none, if there is nothing.
fn roles(claims: &Value, place: &[String]) -> Result<Vec<Role>, Doubt> {
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let Some(roles) = claims.at(&place) else {
        return Ok(Vec::new());
    };
    let texts = roles.as_array().ok_or("its roles are no list")?;
    let texts = texts
        .iter()
        .map(|role| role.as_str().ok_or("a role is no text"));
    parse_roles(texts.collect::<Result<Vec<_>, _>>()?.into_iter())
}

/// Security: who is an administrator says our configuration alone (`no_token_makes_an_administrator`).
fn parse_roles<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Role>, Doubt> {
    texts
        .filter(|role| !role.starts_with('_'))
        .map(|role| Role::parse(role).map_err(|_| "a role has characters that mislead"))
        .collect()
}

fn texts(claims: &Value) -> Vec<(String, String)> {
    let claims = claims.as_object().into_iter().flat_map(Object::iter);
    let entries = |(name, value): (&str, &Value)| {
        let name = name.to_owned();
        value
            .texts()
            .into_iter()
            .map(move |text| (name.clone(), text))
    };
    claims.flat_map(entries).collect()
}

fn json(part: &str) -> Option<Value> {
    Value::parse(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests;
