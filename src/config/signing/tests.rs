use super::{Signing, SigningKey};
use crate::config::{Algorithm, jwk};
use crate::secret::Secret;

fn made(signing: Signing) -> (Secret, SigningKey) {
    let text = SigningKey::made(signing).unwrap();
    let key = SigningKey::parse(&text).unwrap();
    assert_eq!(key.signing(), signing);
    (text, key)
}

#[test]
fn what_a_key_signs_its_public_half_verifies() {
    let (_, key) = made(Signing::Es256);
    let (name, value) = key.ini().unwrap();
    assert_eq!(name, format!("ec:{}", key.id()));
    assert!(!value.contains('\n'), "one line of an ini file");
    let public = jwk::read(&value.replace("\\n", "\n")).unwrap();
    let signature = key.sign(b"message").unwrap();
    assert!(public[0].verifies(Algorithm::Es256, b"message", &signature));
    assert!(!public[0].verifies(Algorithm::Es256, b"another", &signature));
    let other = made(Signing::Es256).1;
    assert!(!public[0].verifies(
        Algorithm::Es256,
        b"message",
        &other.sign(b"message").unwrap()
    ));
}

#[test]
fn no_two_keys_have_the_same_id_and_a_key_keeps_its_own() {
    for signing in [Signing::Es256, Signing::Hs256] {
        let (text, key) = made(signing);
        assert_eq!(SigningKey::parse(&text).unwrap().id(), key.id());
        assert_ne!(made(signing).1.id(), key.id());
    }
}

#[test]
fn a_key_prints_nothing_that_signs() {
    let (text, key) = made(Signing::Es256);
    let private = String::from_utf8(text.expose().to_vec()).unwrap();
    let body = private.lines().nth(1).unwrap();
    assert!(!format!("{key:?}{:?}", key.ini()).contains(body));
    let (text, key) = made(Signing::Hs256);
    let secret = String::from_utf8(text.expose().to_vec()).unwrap();
    assert!(!format!("{key:?}").contains(secret.trim()));
    // CouchDB needs it.
    let line = key.ini().unwrap();
    assert_eq!(
        line,
        (format!("hmac:{}", key.id()), secret.trim().to_owned())
    );
}

#[test]
fn what_is_no_key_is_refused_and_not_told() {
    let rsa = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n";
    for (text, why) in [
        ("", "a shared secret has 32 bytes or more"),
        ("Y2FuYXJ5", "a shared secret has 32 bytes or more"),
        ("canary!", "it is neither a PEM nor base64"),
        (
            "-----BEGIN EC PRIVATE KEY-----\ncanary\n",
            "it has no `PRIVATE KEY` (PKCS#8)",
        ),
        (rsa, "its key is not of the curve P-256"),
    ] {
        assert_eq!(SigningKey::parse(&Secret::new(text)).unwrap_err(), why);
    }
}
