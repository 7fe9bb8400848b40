//! What our own tokens are good for.

use super::{Errand, Tokens, is_ours};
use crate::caller::UserName;
use crate::config;
use crate::route::DbName;
use crate::secret::Secret;
use std::time::Duration;

const NOW: u64 = 1_000_000;

fn session(secret: &str, previous: Option<&str>) -> config::Session {
    config::Session {
        secret: Secret::new(secret),
        previous: previous.map(Secret::new),
        lifetime: Duration::from_secs(600),
        longest: Duration::from_secs(12 * 3600),
    }
}

fn errand() -> Errand {
    Errand {
        name: UserName::parse("ann").unwrap(),
        db: DbName::parse("provisioning").unwrap(),
    }
}

fn issue(tokens: &Tokens) -> String {
    let token = tokens
        .issue(&errand(), b"password", NOW, Duration::from_secs(60))
        .unwrap();
    String::from_utf8(token.expose().to_vec()).unwrap()
}

#[test]
fn a_token_comes_back_as_it_was_issued() {
    let tokens = Tokens::new(&session("secret", None));
    let token = issue(&tokens);
    assert!(is_ours(&token) && !is_ours("eyJ"));
    let read = tokens.read(&token, NOW + 59).unwrap();
    assert_eq!(read.errand, errand());
    assert!(tokens.is_of(&read, b"password"));
    assert!(!tokens.is_of(&read, b"another"));
    assert!(tokens.read(&token, NOW + 60).is_none());
}

#[test]
fn a_token_is_read_after_the_secret_has_changed_once() {
    let token = issue(&Tokens::new(&session("old", None)));
    let both = Tokens::new(&session("new", Some("old")));
    let read = both.read(&token, NOW).unwrap();
    assert!(both.is_of(&read, b"password"));
    assert!(
        Tokens::new(&session("new", None))
            .read(&token, NOW)
            .is_none()
    );
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let tokens = Tokens::new(&session("secret", None));
    let token = issue(&tokens);
    for index in 0..token.len() {
        for other in ["A", "B", "-", ".", ""] {
            let mut changed = token.clone();
            changed.replace_range(index..=index, other);
            assert!(
                changed == token || tokens.read(&changed, NOW).is_none(),
                "{changed}"
            );
        }
    }
    assert!(tokens.read("cw1.", NOW).is_none());
}

/// As an earlier release has issued it.
const RECORDED: &str = "cw1.AAAAAAAPQnzei4QmMs_DEZU-s7MkGr4QAAxwcm92aXNpb25pbmdhbm5kxB4TxZDlyfV2XNr0Y1rUeW-v48dE9_1hpTfTw3pZHQ";

#[test]
fn a_token_of_an_earlier_release_is_still_read() {
    let tokens = Tokens::new(&session("secret", None));
    assert_eq!(issue(&tokens), RECORDED);
    let read = tokens.read(RECORDED, NOW + 1).unwrap();
    assert_eq!(read.errand, errand());
    assert!(tokens.is_of(&read, b"password"));
}
