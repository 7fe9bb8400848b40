//! The header of a Basic login (RFC 7617).
//!
//! Invariant: what is not well-formed Basic is either no attempt at all (another scheme, as PouchDB's
//! `Basic:`) or a refusal; nothing is guessed.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::refusal::Refusal;
use crate::secret::Secret;

/// Longer passwords are nobody's.
const LONGEST_PASSWORD: usize = 1024;

/// As clients send it, with or without padding.
const DECODER: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password, as sent.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) name: String,
    pub(super) password: Secret,
}

impl Credentials {
    /// Reads `Authorization`. Nothing, if it does not ask for Basic.
    pub(super) fn read(header: Option<&[u8]>) -> Result<Option<Self>, Refusal> {
        let Some(header) = header else {
            return Ok(None);
        };
        let space = header
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(header.len());
        let (scheme, rest) = header.split_at_checked(space).unwrap_or((header, &[]));
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Ok(None);
        }
        let invalid = Refusal::BadRequest("Authorization header has invalid base64 value");
        let pair = DECODER.decode(rest.trim_ascii()).map_err(|_| invalid)?;
        let pair = Secret::new(pair);
        // Fauxton's way of not logging in (couch_httpd_auth:basic_name_pw).
        if pair.matches(b"_:_") {
            return Ok(None);
        }
        let bytes = pair.expose();
        let colon = bytes
            .iter()
            .position(|byte| *byte == b':')
            .ok_or(Refusal::WrongCredentials)?;
        let (name, rest) = bytes
            .split_at_checked(colon)
            .ok_or(Refusal::WrongCredentials)?;
        let name = std::str::from_utf8(name)
            .map_err(|_| Refusal::WrongCredentials)?
            .to_owned();
        let password = Secret::new(rest.get(1..).unwrap_or_default());
        Ok(Some(Self { name, password }))
    }
}

/// Can this be a password at all? Control characters have no place in one (RFC 7617 section 2), and
/// NUL ends one for some readers.
pub(super) fn is_password(password: &Secret) -> bool {
    let text = std::str::from_utf8(password.expose());
    !password.is_empty()
        && password.expose().len() <= LONGEST_PASSWORD
        && text.is_ok_and(|text| !text.chars().any(char::is_control))
}

/// The token of an `Authorization` header, if that is what it holds.
pub(super) fn bearer_token(header: Option<&[u8]>) -> Option<&str> {
    let header = std::str::from_utf8(header?).ok()?;
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests;
