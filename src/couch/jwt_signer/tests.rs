use std::collections::HashSet;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use super::{ADMIN, JwtSigner, Subject};
use crate::config::{Signing, SigningKey};
use crate::json::Value;

fn signer(signing: Signing) -> JwtSigner {
    let text = SigningKey::made(signing).unwrap();
    JwtSigner::new(SigningKey::parse(&text).unwrap())
}

/// The claims of an `Authorization`.
fn claims(authorization: &http::HeaderValue) -> Value {
    let text = authorization.to_str().unwrap();
    let payload = text.split('.').nth(1).unwrap();
    Value::parse(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn end(authorization: &http::HeaderValue) -> u64 {
    let claims = claims(authorization);
    claims
        .get("exp")
        .unwrap()
        .as_number()
        .unwrap()
        .as_u64()
        .unwrap()
}

#[test]
fn a_token_says_who_asks_and_ends_within_minutes() {
    for signing in [Signing::Es256, Signing::Hs256] {
        let signer = signer(signing);
        let roles = ["a\"b", "warden:notes"];
        let subject = Subject {
            name: "Zoë",
            roles: &roles,
        };
        let token = signer.authorization_at(subject, 1000).unwrap();
        let expected = r#"{"sub":"Zoë","_couchdb.roles":["a\"b","warden:notes"],"exp":1300}"#;
        assert_eq!(claims(&token).to_string(), expected);
        let line = format!("authorization: {}\r\n", token.to_str().unwrap());
        assert!(line.len() <= signer.line_length(subject), "{}", line.len());
        assert!(signer.line_length(subject) - line.len() < 60);
    }
}

/// By the key that CouchDB knows it by, and over all that it says.
#[test]
fn a_token_is_signed_by_its_key() {
    for signing in [Signing::Es256, Signing::Hs256] {
        let key = SigningKey::parse(&SigningKey::made(signing).unwrap()).unwrap();
        let signer = JwtSigner::new(key.clone());
        let subject = Subject {
            name: "una",
            roles: &["r"],
        };
        let token = signer.authorization_at(subject, 1000).unwrap();
        let token = token.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (name, told) = key.ini().unwrap();
        assert!(name.ends_with(&format!(":{}", key.id())));
        let verifies = |message: &str| match signing {
            Signing::Es256 => {
                let pem = told.replace("\\n", "\n");
                let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).unwrap();
                let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &der).unwrap();
                public.verify_sig(message.as_bytes(), &signature).is_ok()
            }
            Signing::Hs256 => {
                let secret = STANDARD.decode(&told).unwrap();
                let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                hmac::verify(&secret, message.as_bytes(), &signature).is_ok()
            }
        };
        assert!(verifies(signed), "{signing:?}");
        assert!(!verifies(&format!("{signed}x")), "{signing:?}");
    }
}

#[test]
fn a_token_is_remembered_until_shortly_before_its_end() {
    let signer = signer(Signing::Es256);
    let at = |now| {
        let subject = Subject {
            name: "una",
            roles: &["r"],
        };
        signer.authorization_at(subject, now).unwrap()
    };
    let first = at(1000);
    assert_eq!(at(1269), first);
    let second = at(1270);
    assert_ne!(second, first);
    assert_eq!(end(&second), 1570);
}

/// Whoever asks at the same time waits for the one who signs.
#[test]
fn a_thousand_requests_take_one_signature_for_each_caller_and_database() {
    // No two signatures by ES256 are the same, nor are two tokens.
    let signer = signer(Signing::Es256);
    let together = std::sync::Barrier::new(8);
    let ask = || {
        let callers = (0..125).map(|n| {
            together.wait();
            let name = format!("caller-{}", n / 5);
            let roles = ["r", &format!("warden:db-{}", n % 5)];
            let subject = Subject {
                name: &name,
                roles: &roles,
            };
            signer.authorization_at(subject, 1000).unwrap()
        });
        callers.collect::<Vec<_>>()
    };
    let tokens: HashSet<http::HeaderValue> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let tokens = asking.into_iter().map(|one| one.join().unwrap());
        tokens.flatten().collect()
    });
    assert_eq!(tokens.len(), 125);
}

#[test]
fn a_token_that_opens_everything_is_good_for_a_minute() {
    let signer = signer(Signing::Es256);
    let at = |now| {
        let subject = Subject {
            name: "couchwarden",
            roles: &[ADMIN],
        };
        end(&signer.authorization_at(subject, now).unwrap())
    };
    assert_eq!(at(1000), 1060);
    assert_eq!(at(1029), 1060);
    assert_eq!(at(1030), 1090);
}

#[test]
fn a_token_prints_nowhere() {
    let signer = signer(Signing::Es256);
    let subject = Subject {
        name: "una",
        roles: &[],
    };
    let token = signer.authorization(subject).unwrap();
    assert!(token.is_sensitive());
    let text = token.to_str().unwrap().to_owned();
    assert!(!format!("{token:?} {signer:?}").contains(text.split('.').nth(2).unwrap()));
    assert!(signer.is_ours(text.strip_prefix("Bearer ").unwrap()));
    assert!(!signer.is_ours("cw1.x") && !signer.is_ours(""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whoever asks, in whatever order and how often: the token in hand is about them and nobody else.
    #[test]
    fn nobody_is_handed_the_token_of_another(
        asked in prop::collection::vec(
            ("[a-c\",\\\\\\[\\]]{1,3}", prop::collection::vec("[a-c\",:\\]]{1,2}", 0..3)), 1..20)
    ) {
        let signer = signer(Signing::Hs256);
        let mut seen = HashSet::new();
        for (at, (name, roles)) in asked.iter().enumerate() {
            let list: Vec<&str> = roles.iter().map(String::as_str).collect();
            let subject = Subject { name, roles: &list };
            let token = signer.authorization_at(subject, 1000 + at as u64 * 50).unwrap();
            let claims = claims(&token);
            prop_assert_eq!(claims.get("sub").unwrap().as_str(), Some(name.as_str()));
            let said = claims.get("_couchdb.roles").unwrap().as_array().unwrap();
            let said: Vec<&str> = said.iter().filter_map(Value::as_str).collect();
            prop_assert_eq!(&said, &list);
            seen.insert(subject.claims());
        }
        let different: HashSet<_> = asked.iter().collect();
        prop_assert_eq!(seen.len(), different.len());
    }
}
