//! Values that must not be printed, compared byte by byte, or left in memory; and what is made of them:
//! keys for one purpose each, and seals for tokens that clients carry for us.
//!
//! Invariant: the only way to the bytes of a secret is `expose`, so that each use can be found by its
//! name. No key serves two purposes.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
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

/// Encrypts what clients carry for us and must neither read, compare nor forge: sequences, bookmarks.
///
/// A sequence moves with every change of the database, also one that the caller may not see, and a bookmark
/// names the last row that was looked at, also a hidden one. So a token tells nothing but that it is ours:
///
/// - Each is sealed under a fresh random nonce: the same place looks new every time. Were equal places equal
///   tokens, whoever polls would see *that* something hidden has happened. The other scheme that tells
///   nothing, a `last_seq` that stays at the last row that was shown, would have CouchDB read all hidden rows
///   behind it again at each poll, or us remember how far they reach.
/// - Each is padded to a power of two, [`SHORTEST`] bytes at least: a counter or a hidden id that grows shows
///   only where it passes such a mark.
/// - The context (database, fingerprint, query) is authenticated, so a token means nothing anywhere else.
///
/// AES-GCM-SIV (RFC 8452), because random nonces of twelve bytes may meet after some billions of rows: two
/// tokens then tell at most whether they hold the same, where AES-GCM would let tokens be forged.
///
/// What it costs: a client that compares tokens takes each for news. PouchDB writes its checkpoint again
/// after a replication that had nothing to do; CouchDB's replicator compares the sequences of rows only.
pub struct Seal {
    cipher: Option<LessSafeKey>,
}

/// What a token holds at least, its length included: enough for the sequences of a database with few shards.
const SHORTEST: usize = 256;

impl Seal {
    /// The seal for one purpose.
    pub fn new(secret: &Secret, purpose: &str) -> Self {
        let key = secret.derive_bytes(&format!("{purpose} cipher"));
        Self {
            cipher: UnboundKey::new(&AES_256_GCM_SIV, &*key)
                .ok()
                .map(LessSafeKey::new),
        }
    }

    /// A token for a text, as base64url. It opens under the same context only.
    /// It is empty, and never opens, if the cipher or randomness can't be had.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> String {
        self.try_seal(context, plain).unwrap_or_default()
    }

    fn try_seal(&self, context: &[u8], plain: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut text = pad(plain)?;
        self.cipher
            .as_ref()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut text,
            )
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// The text of a token, if we made it under this context.
    pub fn open(&self, context: &[u8], token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let cipher = self.cipher.as_ref()?;
        let padded = cipher
            .open_in_place(nonce, Aad::from(context), &mut text)
            .ok()?;
        let (length, rest) = padded.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.get(..length).map(<[u8]>::to_vec)
    }
}

/// The length (u32, big-endian), the text, and zeros up to the next power of two.
fn pad(plain: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(plain.len()).ok()?.to_be_bytes();
    let mut padded = [&length, plain].concat();
    let whole = padded.len().checked_next_power_of_two()?.max(SHORTEST);
    padded.resize(whole, 0);
    Some(padded)
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
