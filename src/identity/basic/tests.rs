use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::{Credentials, is_password};
use crate::refusal::Refusal;
use crate::secret::Secret;

/// `name:password`, or nothing.
fn read(header: &str) -> Result<Option<String>, Refusal> {
    let credentials = Credentials::read(Some(header.as_bytes()))?;
    Ok(credentials.map(|credentials| {
        let password = std::str::from_utf8(credentials.password.expose())
            .unwrap()
            .to_owned();
        format!("{}:{password}", credentials.name)
    }))
}

#[test]
fn a_name_and_a_password_are_read() {
    let some = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(read("Basic YWxpY2U6c2VjcmV0"), some("alice:secret"));
    assert_eq!(read("bAsIc   YWxpY2U6c2VjcmV0 "), some("alice:secret"));
    assert_eq!(read("Basic YTpiOmM="), some("a:b:c"));
    assert_eq!(read("Basic YTpiOmM"), some("a:b:c"));
    assert_eq!(read("Basic Og=="), some(":"));
}

/// PouchDB's test utilities send `Basic: …` on `GET /`; Fauxton sends `_:_` when it means nobody.
#[test]
fn another_scheme_is_no_attempt() {
    for header in [
        "",
        "Basic: YWxpY2U6c2VjcmV0",
        "Negotiate x",
        "Digest username=\"a\"",
        "Basic Xzpf",
    ] {
        assert_eq!(read(header), Ok(None), "{header}");
    }
    assert!(Credentials::read(None).unwrap().is_none());
}

#[test]
fn a_malformed_attempt_is_refused() {
    for header in [
        "Basic ???",
        "Basic YWxpY2U6c2VjcmV0, Basic x",
        "Basic YTpiOmM==",
    ] {
        assert_eq!(read(header).unwrap_err().status(), 400, "{header}");
    }
    for header in ["Basic YWxpY2U=", "Basic", "Basic /zph"] {
        assert_eq!(read(header), Err(Refusal::WrongCredentials), "{header}");
    }
}

#[test]
fn what_no_reader_agrees_on_is_no_password() {
    assert!(is_password(&Secret::new("pässword with spaces")));
    for bytes in [
        b"".as_slice(),
        b"a\0b",
        b"a\nb",
        b"\x7f",
        b"\xff",
        "\u{85}".as_bytes(),
        &[b'a'; 1025],
    ] {
        assert!(!is_password(&Secret::new(bytes)), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn every_pair_comes_through(name in "[^:]*", password: String) {
        let pair = format!("{name}:{password}");
        prop_assume!(pair != "_:_");
        prop_assert_eq!(read(&format!("Basic {}", STANDARD.encode(&pair))), Ok(Some(pair)));
    }

    #[test]
    fn no_header_panics(header: Vec<u8>) {
        let _ = Credentials::read(Some(&header));
    }
}
