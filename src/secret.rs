//! Values that must not be printed, compared byte by byte, or left in memory; and what is made of them:
//! keys for one purpose each, and seals for tokens that clients carry for us.
//!
//! Invariant: the only way to the bytes of a secret is `expose`, so that each use can be found by its
//! name. No key serves two purposes.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password or key. It has no `PartialEq`: use `matches`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Thirty-two bytes that nobody knows; `None` if the system has no randomness to give.
    pub fn random() -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The bytes, for the one call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in a time that depends on the length only.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }

    /// The key for one purpose. Keys for different purposes tell nothing about each other.
    pub fn derive(&self, purpose: &str) -> Key {
        Key(hmac::Key::new(
            hmac::HMAC_SHA256,
            &*self.derive_bytes(purpose),
        ))
    }

    fn derive_bytes(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let root = Key(hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        Zeroizing::new(root.sign(&[b"couchwarden 1", purpose.as_bytes()]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key for HMAC-SHA-256, made by [`Secret::derive`].
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// Signs a list of parts. Each goes in with its length, so that no two lists look alike.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        // SHA-256 gives 32 bytes: both sides of `zip` end together.
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        tag
    }

    /// Is this the signature of these parts? In constant time.
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.sign(parts).ct_eq(tag).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Encrypts what clients carry for us and must neither read nor forge: sequences, bookmarks.
///
/// The same text under the same context gives the same token, since clients compare them: the nonce is
/// an HMAC over both (as in RFC 5297), so equal tokens tell only that their contents are equal.
pub struct Seal {
    nonces: Key,
    cipher: Option<LessSafeKey>,
}

impl Seal {
    /// The seal for one purpose.
    pub fn new(secret: &Secret, purpose: &str) -> Self {
        let key = secret.derive_bytes(&format!("{purpose} cipher"));
        Self {
            nonces: secret.derive(&format!("{purpose} nonce")),
            cipher: UnboundKey::new(&AES_256_GCM, &*key)
                .ok()
                .map(LessSafeKey::new),
        }
    }

    /// The token for a text, as base64url. It opens under the same context only.
    /// It is empty, and never opens, if the cipher can't be had.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> String {
        self.try_seal(context, plain).unwrap_or_default()
    }

    fn try_seal(&self, context: &[u8], plain: &[u8]) -> Option<String> {
        let tag = self.nonces.sign(&[context, plain]);
        let nonce = tag.first_chunk::<NONCE_LEN>()?;
        let mut text = plain.to_vec();
        let cipher = self.cipher.as_ref()?;
        let nonce_value = Nonce::assume_unique_for_key(*nonce);
        cipher
            .seal_in_place_append_tag(nonce_value, Aad::from(context), &mut text)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// The text of a token, if we made it under this context.
    pub fn open(&self, context: &[u8], token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce_value = Nonce::assume_unique_for_key(*nonce);
        let cipher = self.cipher.as_ref()?;
        let plain = cipher
            .open_in_place(nonce_value, Aad::from(context), &mut text)
            .ok()?;
        Some(plain.to_vec())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

/// The token of CouchDB's proxy authentication: HMAC-SHA-256 over the name, in lower-case hex.
pub fn proxy_token(secret: &Secret, name: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let tag = hmac::sign(&key, name.as_bytes());
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
