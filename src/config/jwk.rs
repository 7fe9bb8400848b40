//! The keys that signed tokens (RFC 7519) are verified by: a JWK Set (RFC 7517) or one public key as PEM.
//!
//! aws-lc does the arithmetic. A crate for tokens would read them with another JSON parser, for which the
//! last of two equal members counts, and would leave the choice of key and algorithm to us all the same.
//!
//! Invariant: a key verifies by the algorithms of its own type only, and by none but its `alg` where it names one: an
//! RSA key is never taken for a shared secret.

use crate::json::Value;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use std::collections::HashSet;
use std::fmt;

/// Shorter shared secrets can be guessed (RFC 7518 section 3.2).
const MIN_SHARED: usize = 32;

/// As aws-lc would say only when a token comes: 2048 bits.
const MIN_MODULUS: usize = 256;

/// How a token may be signed (RFC 7518 section 3.1). There is no `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// ECDSA with P-521 and SHA-512.
    Es512,
}

/// What an algorithm works with.
enum Family {
    Shared(hmac::Algorithm),
    Rsa(&'static RsaParameters),
    /// The curve by the name that keys give it.
    Curve(&'static str, &'static EcdsaVerificationAlgorithm),
}

impl Algorithm {
    const ALL: [(Self, &str); 9] = [
        (Self::Hs256, "HS256"),
        (Self::Hs384, "HS384"),
        (Self::Hs512, "HS512"),
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
        (Self::Es512, "ES512"),
    ];

    /// By its name in a token's head.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, known)| *known == name).map(|(own, _)| own)
    }

    fn family(self) -> Family {
        match self {
            Self::Hs256 => Family::Shared(hmac::HMAC_SHA256),
            Self::Hs384 => Family::Shared(hmac::HMAC_SHA384),
            Self::Hs512 => Family::Shared(hmac::HMAC_SHA512),
            Self::Rs256 => Family::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Family::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Family::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Es256 => Family::Curve("P-256", &signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Family::Curve("P-384", &signature::ECDSA_P384_SHA384_FIXED),
            Self::Es512 => Family::Curve("P-521", &signature::ECDSA_P521_SHA512_FIXED),
        }
    }
}

/// A key, ready for each algorithm that it fits.
#[derive(Clone)]
pub struct TokenKey {
    id: Option<String>,
    verifiers: Vec<(Algorithm, Verifier)>,
}

#[derive(Clone)]
enum Verifier {
    Shared(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl TokenKey {
    /// May a token name this key? One that names none may be meant for any.
    pub fn is_meant(&self, id: Option<&str>) -> bool {
        id.is_none() || id == self.id.as_deref()
    }

    /// Can it be used with this algorithm?
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.verifiers.iter().any(|(own, _)| *own == algorithm)
    }

    /// Is this the signature of the message, by this key and algorithm?
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let mut fitting = self.verifiers.iter().filter(|(own, _)| *own == algorithm);
        fitting.any(|(_, verifier)| match verifier {
            Verifier::Shared(key) => hmac::verify(key, message, signature).is_ok(),
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
        })
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({:?})", self.id)
    }
}

/// The keys of a file. Those of a set that are for encryption, or of a type that signs nothing here, are
/// passed over.
pub(super) fn read(text: &str) -> Result<Vec<TokenKey>, String> {
    if text.contains("-----BEGIN") {
        return pem(text).map(|key| vec![key]);
    }
    let set = Value::parse(text.as_bytes()).map_err(|error| format!("it is no JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or("it is neither a JWK Set nor a public key as PEM")?;
    let mut ids = HashSet::new();
    let mut usable = Vec::new();
    for jwk in keys {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let signs = text("use").is_none_or(|purpose| purpose == "sig");
        if !(signs && matches!(text("kty"), Some("oct" | "RSA" | "EC"))) {
            continue;
        }
        let id = text("kid").map(str::to_owned);
        if !ids.insert(id.clone()) {
            return Err("two of its keys have the same `kid`, or none".to_owned());
        }
        let fitting = Algorithm::ALL
            .into_iter()
            .filter(|(_, name)| text("alg").is_none_or(|alg| alg == *name));
        let verifiers = fitting.filter_map(|(own, _)| Some((own, verifier(jwk, own)?)));
        let verifiers: Vec<_> = verifiers.collect();
        if verifiers.is_empty() {
            let id = id.unwrap_or_default();
            return Err(format!(
                "its key `{id}` can't be used (a shared secret has {MIN_SHARED} bytes or more, an RSA key 2048 bits)"
            ));
        }
        usable.push(TokenKey { id, verifiers });
    }
    if usable.is_empty() {
        return Err("it has no key that signs".to_owned());
    }
    Ok(usable)
}

/// What a JWK (RFC 7518 section 6) verifies this algorithm by, if it is of its type.
fn verifier(jwk: &Value, algorithm: Algorithm) -> Option<Verifier> {
    let text = |name| jwk.get(name).and_then(Value::as_str);
    let bytes = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    match (text("kty")?, algorithm.family()) {
        ("oct", Family::Shared(hash)) => {
            let secret = bytes("k").filter(|secret| secret.len() >= MIN_SHARED)?;
            Some(Verifier::Shared(Box::new(hmac::Key::new(hash, &secret))))
        }
        ("RSA", Family::Rsa(parameters)) => {
            let (n, e) = (bytes("n").filter(|n| n.len() >= MIN_MODULUS)?, bytes("e")?);
            let key = signature::RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters);
            key.ok().map(Verifier::Public)
        }
        ("EC", Family::Curve(name, curve)) if text("crv") == Some(name) => {
            // The uncompressed point of SEC 1 section 2.3.3.
            let point = [vec![4], bytes("x")?, bytes("y")?].concat();
            let key = ParsedPublicKey::new(curve, point);
            key.ok().map(Verifier::Public)
        }
        _ => None,
    }
}

/// A SubjectPublicKeyInfo: it tells its type itself, so that it parses for its own algorithms only.
fn pem(text: &str) -> Result<TokenKey, String> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes());
    let der = der.map_err(|_| "it has no `PUBLIC KEY`")?;
    let parse = |(own, _): (Algorithm, _)| {
        let key = match own.family() {
            Family::Shared(_) => return None,
            Family::Rsa(parameters) => ParsedPublicKey::new(parameters, &der),
            Family::Curve(_, curve) => ParsedPublicKey::new(curve, &der),
        };
        Some((own, Verifier::Public(key.ok()?)))
    };
    let verifiers: Vec<_> = Algorithm::ALL.into_iter().filter_map(parse).collect();
    if verifiers.is_empty() {
        return Err("its key is neither RSA nor P-256, P-384 or P-521".to_owned());
    }
    Ok(TokenKey {
        id: None,
        verifiers,
    })
}

#[cfg(test)]
mod tests;
