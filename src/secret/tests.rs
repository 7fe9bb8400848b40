use proptest::prelude::*;

use super::{Seal, Secret, proxy_token};

#[test]
fn nothing_prints() {
    let secret = Secret::new("canary");
    let all = format!(
        "{secret:?} {:?} {:?}",
        secret.derive("x"),
        Seal::new(&secret, "x")
    );
    assert_eq!(all, "Secret(…) Key(…) Seal(…)");
}

#[test]
fn a_secret_matches_only_itself() {
    let secret = Secret::new("canary");
    assert!(secret.matches(b"canary"));
    assert!(!secret.matches(b"canarz"));
    assert!(!secret.matches(b"canary "));
    assert!(
        !Secret::random()
            .unwrap()
            .matches(Secret::random().unwrap().expose())
    );
}

#[test]
fn keys_differ_by_purpose_and_lists_by_their_borders() {
    let secret = Secret::new("canary");
    let key = secret.derive("a");
    assert!(key.verify(&[b"ab", b"c"], &key.sign(&[b"ab", b"c"])));
    assert!(!key.verify(&[b"a", b"bc"], &key.sign(&[b"ab", b"c"])));
    assert!(!secret.derive("b").verify(&[b"ab"], &key.sign(&[b"ab"])));
    assert!(!key.verify(&[b"ab"], b""));
}

/// Computed with `openssl dgst -sha256 -hmac`.
#[test]
fn the_proxy_token_is_what_couchdb_expects() {
    let token = proxy_token(
        &Secret::new("key"),
        "The quick brown fox jumps over the lazy dog",
    );
    assert_eq!(
        token,
        "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    );
}

proptest! {
    #[test]
    fn a_token_opens_under_its_context_only(plain: Vec<u8>, context: Vec<u8>, other: Vec<u8>) {
        let seal = Seal::new(&Secret::new("canary"), "test");
        let token = seal.seal(&context, &plain);
        prop_assert_ne!(&token, &seal.seal(&context, &plain));
        prop_assert_eq!(seal.open(&context, &token), Some(plain));
        prop_assert_eq!(seal.open(&other, &token).is_some(), other == context);
        prop_assert_eq!(Seal::new(&Secret::new("canary"), "other").open(&context, &token), None);
        prop_assert_eq!(Seal::new(&Secret::new("kanari"), "test").open(&context, &token), None);
    }

    #[test]
    fn the_length_of_a_token_tells_nothing_of_what_is_in_it(plain in prop::collection::vec(any::<u8>(), 0..=252)) {
        let seal = Seal::new(&Secret::new("canary"), "test");
        prop_assert_eq!(seal.seal(b"", &plain).len(), seal.seal(b"", b"").len());
    }

    #[test]
    fn a_tampered_token_never_opens(plain: Vec<u8>, at: prop::sample::Index, with in "[A-Za-z0-9_-]") {
        let seal = Seal::new(&Secret::new("canary"), "test");
        let token = seal.seal(b"", &plain);
        let mut forged = token.clone().into_bytes();
        let at = at.index(forged.len());
        forged[at] = with.as_bytes()[0];
        let forged = String::from_utf8(forged).unwrap();
        prop_assume!(forged != token);
        prop_assert_eq!(seal.open(b"", &forged), None);
    }

    #[test]
    fn no_text_makes_open_panic(text: String) {
        prop_assert_eq!(Seal::new(&Secret::new("canary"), "test").open(b"", &text), None);
    }
}
