use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::{Claim, Cookies, Jar, SameSite, SetCookie, find};
use crate::caller::UserName;
use crate::config;
use crate::identity::keys::Keys;
use crate::identity::sessions::Session;
use crate::secret::Secret;

const NOW: u64 = 1_800_000_000;

fn cookies(secret: &str, previous: Option<&str>) -> Cookies {
    let settings = config::Session {
        secret: Secret::new(secret),
        previous: previous.map(Secret::new),
        lifetime: Duration::from_secs(600),
        longest: Duration::from_secs(7200),
    };
    Cookies::new(
        &settings,
        Jar {
            secure: true,
            same_site: SameSite::Lax,
        },
    )
}

fn claim(name: &str) -> Claim {
    Claim {
        name: UserName::parse(name).unwrap(),
        session: Session {
            id: [7; 16],
            began: NOW * 1000,
            longest: 7200,
        },
        issued: NOW,
    }
}

fn value(cookie: &SetCookie) -> Vec<u8> {
    let pair = cookie.as_str().split(';').next().unwrap();
    pair.strip_prefix("AuthSession=")
        .unwrap()
        .as_bytes()
        .to_vec()
}

#[test]
fn a_cookie_tells_the_browser_to_keep_it_to_itself() {
    let set = cookies("one", None).issue(&claim("alice"), b"hash");
    let attributes: Vec<&str> = set.as_str().split("; ").skip(1).collect();
    assert_eq!(
        attributes,
        [
            "Path=/",
            "Max-Age=600",
            "Secure",
            "HttpOnly",
            "SameSite=Lax"
        ]
    );
    assert_eq!(format!("{set:?}"), "SetCookie(…)");
    let clear = cookies("one", None).clear();
    assert!(
        clear
            .as_str()
            .starts_with("AuthSession=; Path=/; Max-Age=0; ")
    );
}

#[test]
fn a_cookie_lives_as_long_as_it_says() {
    let cookies = cookies("one", None);
    let set = value(&cookies.issue(&claim("alice"), b"hash"));
    let read = |at| cookies.read(&set, at);
    assert_eq!(read(NOW).unwrap().claim, claim("alice"));
    assert!(read(NOW + 599).is_some());
    assert!(read(NOW + 600).is_none());
    assert!(read(NOW - 60).is_some());
    assert!(read(NOW - 61).is_none());
    assert!(!cookies.is_due(&read(NOW + 299).unwrap(), NOW + 299));
    assert!(cookies.is_due(&read(NOW + 300).unwrap(), NOW + 300));
    assert!(!cookies.is_worn(&claim("alice"), NOW + 7199));
    assert!(cookies.is_worn(&claim("alice"), NOW + 7200));
}

#[test]
fn a_shorter_lifetime_holds_for_cookies_already_out() {
    let set = value(&cookies("one", None).issue(&claim("alice"), b"hash"));
    let settings = config::Session {
        secret: Secret::new("one"),
        previous: None,
        lifetime: Duration::from_secs(60),
        longest: Duration::from_secs(7200),
    };
    let shorter = Cookies::new(
        &settings,
        Jar {
            secure: true,
            same_site: SameSite::Lax,
        },
    );
    assert!(shorter.read(&set, NOW + 59).is_some());
    assert!(shorter.read(&set, NOW + 60).is_none());
}

#[test]
fn no_cookie_outlives_its_session() {
    let cookies = cookies("one", None);
    let mut claim = claim("alice");
    let over = NOW + 7200;
    let mut renewals = 0;
    while claim.issued < over {
        let set = cookies.issue(&claim, b"hash");
        let left = (over - claim.issued).min(600);
        assert!(set.as_str().contains(&format!("; Max-Age={left};")));
        let ticket = cookies.read(&value(&set), claim.issued).unwrap();
        assert_eq!(ticket.claim, claim);
        assert!(cookies.read(&value(&set), over).is_none());
        // It is renewed until it lives as long as its session.
        let due = (claim.issued..over).find(|at| cookies.is_due(&ticket, *at));
        assert_eq!(due.is_some(), left == 600 && claim.issued + 600 < over);
        claim.issued = due.unwrap_or(over);
        renewals += 1;
    }
    assert!(renewals > 20);
    // What nobody has issued: a cookie that would live on.
    claim.issued = over - 1;
    claim.session.longest = 9000;
    let set = value(&cookies.issue(&claim, b"hash"));
    assert!(cookies.read(&set, over - 1).is_some());
    assert!(cookies.read(&set, over).is_none());
}

#[test]
fn a_cookie_of_the_release_before_is_read_and_renewed() {
    let settings = config::Session {
        secret: Secret::new("one"),
        previous: None,
        lifetime: Duration::from_secs(600),
        longest: Duration::from_secs(7200),
    };
    let keys = Keys::new(&settings, "session");
    let old = |name: &str, began: u64| {
        let mut bytes = vec![2];
        bytes.extend(began.to_be_bytes());
        bytes.extend(NOW.to_be_bytes());
        bytes.extend(600_u32.to_be_bytes());
        bytes.extend(keys.digest(0, b"hash"));
        bytes.extend(name.as_bytes());
        URL_SAFE_NO_PAD.encode(keys.sign(bytes)).into_bytes()
    };
    let cookies = cookies("one", None);
    let session = |value: &[u8]| cookies.read(value, NOW).unwrap().claim.session;
    let ticket = cookies.read(&old("alice", NOW * 1000), NOW).unwrap();
    assert!(cookies.is_of(&ticket, b"hash"));
    assert_eq!(ticket.claim.session.over(), NOW + 7200);
    // All its cookies are of one session, and that is nobody else's.
    let renewed = value(&cookies.issue(&ticket.claim, b"hash"));
    assert_eq!(session(&renewed), ticket.claim.session);
    for (name, began) in [("bob", NOW * 1000), ("alice", NOW * 1000 - 1)] {
        assert_ne!(session(&old(name, began)).id, ticket.claim.session.id);
    }
    assert!(cookies.read(&old("alice", NOW * 1000), NOW + 600).is_none());
    assert!(
        cookies
            .read(&old("alice", (NOW - 7200) * 1000), NOW)
            .is_none()
    );
}

#[test]
fn a_changed_password_ends_the_session() {
    let cookies = cookies("one", None);
    let ticket = cookies
        .read(&value(&cookies.issue(&claim("alice"), b"hash")), NOW)
        .unwrap();
    assert!(cookies.is_of(&ticket, b"hash"));
    assert!(!cookies.is_of(&ticket, b"other"));
}

#[test]
fn the_previous_secret_is_read_and_replaced() {
    let set = value(&cookies("one", None).issue(&claim("alice"), b"hash"));
    let after = cookies("two", Some("one"));
    let ticket = after.read(&set, NOW).unwrap();
    assert!(after.is_of(&ticket, b"hash"));
    assert!(after.is_due(&ticket, NOW));
    assert!(cookies("two", None).read(&set, NOW).is_none());
}

#[test]
fn the_first_cookie_counts() {
    let found = |header: &str| {
        find(header.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
    };
    assert_eq!(
        found("a=b; AuthSession=x; AuthSession=y").as_deref(),
        Some("x")
    );
    assert_eq!(
        found("AuthSession=x; Version=1; Path=/; HttpOnly").as_deref(),
        Some("x")
    );
    assert_eq!(found("AuthSession=\"x\"").as_deref(), Some("x"));
    for header in [
        "",
        "AuthSession",
        "AuthSession=",
        "XAuthSession=x",
        "a=AuthSession=x",
        "authsession=x",
    ] {
        assert_eq!(found(header), None, "{header}");
    }
}

/// One bit at a time, everywhere.
#[test]
fn a_tampered_cookie_is_never_read() {
    let cookies = cookies("one", None);
    let set = URL_SAFE_NO_PAD
        .decode(value(&cookies.issue(&claim("alice"), b"hash")))
        .unwrap();
    for at in 0..set.len() * 8 {
        let mut forged = set.clone();
        forged[at / 8] ^= 1 << (at % 8);
        assert!(
            cookies
                .read(URL_SAFE_NO_PAD.encode(forged).as_bytes(), NOW)
                .is_none()
        );
    }
}

proptest! {
    #[test]
    fn no_cookie_panics(value: Vec<u8>, text in "[A-Za-z0-9_-]*") {
        prop_assert!(cookies("one", None).read(&value, NOW).is_none());
        prop_assert!(cookies("one", None).read(text.as_bytes(), NOW).is_none());
    }

    #[test]
    fn names_come_through(name in "[a-zäöü:@ .]{1,30}") {
        if let Ok(name) = UserName::parse(&name) {
            let claim = Claim { name, ..claim("x") };
            let cookies = cookies("one", None);
            let ticket = cookies.read(&value(&cookies.issue(&claim, b"")), NOW).unwrap();
            prop_assert_eq!(ticket.claim, claim);
        }
    }
}

/// As an earlier release has issued it.
const RECORDED: &str = "AwcHBwcHBwcHBwcHBwcHBwcAAAGjGFxQAAAAHCAAAAAAa0nSAAAAAliv7PSdI2AVGDEQpqavWuCaYWxpY2X9Q69GOxaOBa2z5CppPf86XYFoZXBJ1hJV9x4RkTHSQQ";

#[test]
fn a_cookie_of_an_earlier_release_is_still_read() {
    let cookies = cookies("one", None);
    let issued = value(&cookies.issue(&claim("alice"), b"hash"));
    assert_eq!(std::str::from_utf8(&issued).unwrap(), RECORDED);
    let read = cookies.read(RECORDED.as_bytes(), NOW + 1).unwrap();
    assert_eq!(read.claim, claim("alice"));
    assert!(cookies.is_of(&read, b"hash"));
}
