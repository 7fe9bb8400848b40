//! The key by which couchwarden signs what it shows CouchDB (`present = "jwt"`).
//!
//! A file holds either a private key for ES256 (PKCS#8 as PEM), of which CouchDB gets the public half, or a secret for
//! HS256 in base64, which CouchDB holds too.
//!
//! Invariant: a key's id is made of the key, so that two keys never have the same; neither the private half nor a
//! shared secret is printed but by [`SigningKey::made`] and, for CouchDB, a shared one by [`SigningKey::ini`].

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::secret::Secret;

/// A shared secret that is shorter can be guessed from one signature (RFC 7518 section 3.2).
const MIN_SHARED: usize = 32;

/// The characters of one line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// How tokens for CouchDB are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// ECDSA with P-256 and SHA-256: CouchDB can verify, and can't sign.
    Es256,
    /// HMAC with SHA-256: whoever reads CouchDB's configuration can sign too.
    Hs256,
}

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    id: Arc<str>,
    half: Half,
}

#[derive(Clone)]
enum Half {
    Private(Arc<EcdsaKeyPair>),
    Shared(Arc<(hmac::Key, Secret)>),
}

impl SigningKey {
    /// The text of a new key, as a file holds it; nothing if the system has no randomness to give.
    pub fn made(signing: Signing) -> Option<Secret> {
        match signing {
            Signing::Hs256 => {
                let secret = Secret::random()?;
                Some(Secret::new(format!(
                    "{}\n",
                    STANDARD.encode(secret.expose())
                )))
            }
            Signing::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
                let der = pair.to_pkcs8v1().ok()?;
                Some(Secret::new(pem("PRIVATE KEY", der.as_ref())))
            }
        }
    }

    /// Reads what a file holds.
    ///
    /// # Errors
    ///
    /// Why it is no such key; never what it holds.
    pub fn parse(text: &Secret) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text.expose()).map_err(|_| "it is no text")?;
        if text.contains("-----BEGIN") {
            return Self::private(text);
        }
        let secret = STANDARD.decode(text.trim_ascii()).map(Secret::new);
        let secret = secret.map_err(|_| "it is neither a PEM nor base64")?;
        if secret.expose().len() < MIN_SHARED {
            return Err("a shared secret has 32 bytes or more");
        }
        let id = secret.derive("id of the key for CouchDB").sign(&[]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Ok(Self {
            id: named(&id),
            half: Half::Shared(Arc::new((key, secret))),
        })
    }

    fn private(text: &str) -> Result<Self, &'static str> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
        let der = der.map_err(|_| "it has no `PRIVATE KEY` (PKCS#8)")?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        let pair = pair.map_err(|_| "its key is not of the curve P-256")?;
        let id = digest::digest(&digest::SHA256, pair.public_key().as_ref());
        Ok(Self {
            id: named(id.as_ref()),
            half: Half::Private(Arc::new(pair)),
        })
    }

    /// How it signs.
    pub fn signing(&self) -> Signing {
        match self.half {
            Half::Private(_) => Signing::Es256,
            Half::Shared(_) => Signing::Hs256,
        }
    }

    /// What tokens name it by (`kid`).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The signature of a message, as a JWS has it (RFC 7518 section 3.4); nothing if it can't be made.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.half {
            Half::Private(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Half::Shared(shared) => Some(hmac::sign(&shared.0, message).as_ref().to_vec()),
        }
    }

    /// Name and value of CouchDB's `[jwt_keys]`; nothing if the public half can't be written.
    pub fn ini(&self) -> Option<(String, String)> {
        let id = &self.id;
        match &self.half {
            Half::Private(pair) => {
                let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).ok()?;
                let public = pem("PUBLIC KEY", public.as_ref());
                Some((format!("ec:{id}"), public.replace('\n', "\\n")))
            }
            Half::Shared(shared) => {
                let secret = STANDARD.encode(shared.1.expose());
                Some((format!("hmac:{id}"), secret))
            }
        }
    }
}

impl Signing {
    /// As a token's head names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

fn named(digest: &[u8]) -> Arc<str> {
    let hex = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    format!("couchwarden-{}", hex.collect::<String>()).into()
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, character) in body.chars().enumerate() {
        if at > 0 && at.is_multiple_of(PEM_LINE) {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests;
