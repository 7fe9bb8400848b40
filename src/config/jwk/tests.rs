//! Which keys are taken, and that each verifies what is its own.

use super::{Algorithm, TokenKey, read};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

const SECRET: &[u8; 32] = b"thirty-two bytes that nobody has";

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn set(keys: &str) -> Result<Vec<TokenKey>, String> {
    read(&format!("{{\"keys\":[{keys}]}}"))
}

fn one(keys: &str) -> TokenKey {
    set(keys).unwrap().remove(0)
}

#[test]
fn a_shared_secret_verifies_hmac() {
    let key = one(&format!(
        r#"{{"kty":"oct","kid":"a","k":"{}"}}"#,
        encoded(SECRET)
    ));
    let sign = |hash| {
        hmac::sign(&hmac::Key::new(hash, SECRET), b"text")
            .as_ref()
            .to_vec()
    };
    assert!(key.verifies(Algorithm::Hs256, b"text", &sign(hmac::HMAC_SHA256)));
    assert!(key.verifies(Algorithm::Hs384, b"text", &sign(hmac::HMAC_SHA384)));
    assert!(key.verifies(Algorithm::Hs512, b"text", &sign(hmac::HMAC_SHA512)));
    assert!(!key.verifies(Algorithm::Hs256, b"texts", &sign(hmac::HMAC_SHA256)));
    assert!(!key.verifies(Algorithm::Hs512, b"text", &sign(hmac::HMAC_SHA256)));
    assert!(!key.fits(Algorithm::Rs256) && !key.fits(Algorithm::Es256));
    assert!(key.is_meant(Some("a")) && key.is_meant(None) && !key.is_meant(Some("b")));
}

#[test]
fn an_rsa_key_verifies_rsa_as_jwk_and_as_pem() {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, b"text", &mut signature)
        .unwrap();
    let mut long = signature.clone();
    pair.sign(&RSA_PKCS1_SHA512, &random, b"text", &mut long)
        .unwrap();
    let der = pair.public_key().as_der().unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    // RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }, with 2048 bits and 65537.
    let pkcs1 = pair.public_key().as_ref();
    let (modulus, exponent) = (&pkcs1[9..9 + 256], &pkcs1[pkcs1.len() - 3..]);
    let jwk = format!(
        r#"{{"kty":"RSA","kid":"r","use":"sig","n":"{}","e":"{}"}}"#,
        encoded(modulus),
        encoded(exponent)
    );
    for key in [one(&jwk), read(&pem).unwrap().remove(0)] {
        assert!(key.verifies(Algorithm::Rs256, b"text", &signature));
        assert!(key.verifies(Algorithm::Rs512, b"text", &long));
        assert!(!key.verifies(Algorithm::Rs384, b"text", &signature));
        assert!(!key.verifies(Algorithm::Rs256, b"texts", &signature));
        // The old trick: the public key as an HMAC secret.
        assert!(!key.fits(Algorithm::Hs256) && !key.fits(Algorithm::Es256));
    }
}

#[test]
fn a_curve_verifies_its_own_algorithm_only() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let signature = pair.sign(&SystemRandom::new(), b"text").unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let jwk = |curve| {
        let (x, y) = (encoded(x), encoded(y));
        format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#)
    };
    let key = one(&jwk("P-256"));
    assert!(key.verifies(Algorithm::Es256, b"text", signature.as_ref()));
    assert!(!key.verifies(Algorithm::Es256, b"texts", signature.as_ref()));
    assert!(!key.fits(Algorithm::Es384) && !key.fits(Algorithm::Hs256));
    assert!(set(&jwk("P-384")).is_err());
    let der = pair.public_key().as_der().unwrap();
    let pem = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n");
    let key = read(&pem).unwrap().remove(0);
    assert!(key.verifies(Algorithm::Es256, b"text", signature.as_ref()));
    assert!(!key.fits(Algorithm::Es384) && !key.fits(Algorithm::Rs256));
}

#[test]
fn a_key_with_an_algorithm_has_no_other() {
    let key = one(&format!(
        r#"{{"kty":"oct","alg":"HS256","k":"{}"}}"#,
        encoded(SECRET)
    ));
    assert!(key.fits(Algorithm::Hs256) && !key.fits(Algorithm::Hs512));
}

#[test]
fn what_is_no_set_of_keys_is_told() {
    let short = encoded(b"short");
    let good = encoded(SECRET);
    for keys in [
        String::new(),
        format!(r#"{{"kty":"oct","k":"{short}"}}"#),
        format!(r#"{{"kty":"oct","alg":"none","k":"{good}"}}"#),
        format!(r#"{{"kty":"oct","alg":"RS256","k":"{good}"}}"#),
        format!(r#"{{"kty":"oct","k":"{good}"}},{{"kty":"oct","k":"{good}"}}"#),
        format!(r#"{{"kty":"oct","use":"enc","k":"{good}"}}"#),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#.to_owned(),
    ] {
        assert!(set(&keys).is_err(), "{keys}");
    }
    for text in [
        "",
        "{}",
        "[]",
        "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}
