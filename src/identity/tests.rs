use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Failed, Identity, Jar, Recognised, SameSite, Scheme, SetCookie};
use crate::caller::{Caller, UserName};
use crate::config;
use crate::couch::fake::Fake;
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Secret;

pub(crate) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

pub(crate) fn identity(fake: &Fake) -> Identity {
    with_lifetime(fake, Duration::from_secs(600))
}

fn with_lifetime(fake: &Fake, lifetime: Duration) -> Identity {
    with_times(fake, lifetime, Duration::from_secs(12 * 3600))
}

fn with_times(fake: &Fake, lifetime: Duration, longest: Duration) -> Identity {
    let settings = config::Identity {
        administrators: vec!["ops".into(), "root".into()],
        vouchers: vec![config::Voucher::Nodes, config::Voucher::CouchDb],
        session: config::Session {
            secret: Secret::new("session"),
            previous: None,
            lifetime,
            longest,
        },
        tokens: None,
        bcrypt: config::Bcrypt {
            cost: 4,
            min_cost: 4,
            max_cost: 12,
            workers: 2,
            queue: 64,
        },
        login: config::Login {
            failures: 4,
            window: Duration::from_secs(300),
            cache: Duration::from_secs(60),
        },
    };
    let jar = Jar {
        secure: true,
        same_site: SameSite::Lax,
    };
    let nodes = DbName::parse("catconf").ok();
    let mut identity = Identity::new(
        &settings,
        nodes,
        fake.couch(),
        None,
        jar,
        Duration::from_secs(5),
    )
    .unwrap();
    identity.failure_floor = Duration::ZERO;
    identity
}

fn put_node(fake: &Fake, name: &str, password: &str) {
    let crypted = bcrypt::hash(password, 4).unwrap();
    let authorization = format!(r#"{{"type":"bcrypt","crypted":"{crypted}"}}"#);
    fake.put(
        "catconf",
        &format!(
            r#"{{"_id":"{name}","metadata":{{"nodeId":"{name}","authorization":{authorization}}}}}"#
        ),
    );
}

/// alice is a node, bob and ops are in `_users`, root is in CouchDB's configuration, both is in two.
pub(crate) async fn cast() -> Fake {
    let fake = Fake::start().await;
    put_node(&fake, "alice", "apple");
    put_node(&fake, "both", "pear");
    fake.user("both", "pear", "[]");
    fake.user("bob", "banana", r#"["b","_admin"]"#);
    fake.user("ops", "orange", r#"["o"]"#);
    fake.store
        .lock()
        .unwrap()
        .passwords
        .insert("root".into(), "rhubarb".into());
    fake
}

pub(super) fn basic(pair: &str) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(pair)).into_bytes()
}

pub(super) async fn by_basic(identity: &Identity, pair: &str) -> Result<Recognised, Failed> {
    identity.recognise(Some(&basic(pair)), None, PEER).await
}

async fn by_cookie(identity: &Identity, cookie: &SetCookie) -> Result<Recognised, Failed> {
    identity
        .recognise(None, Some(cookie.as_str().as_bytes()), PEER)
        .await
}

async fn open(identity: &Identity, name: &str, password: &str) -> SetCookie {
    identity
        .open(name, &Secret::new(password), PEER)
        .await
        .unwrap()
        .1
}

/// `name: roles`, with a star for administrators.
pub(super) fn who(outcome: Result<Recognised, Failed>) -> Result<String, Refusal> {
    let caller = outcome?.caller;
    let star = if caller.is_administrator() { "*" } else { "" };
    let roles: Vec<&str> = caller.roles().iter().map(|role| role.as_str()).collect();
    Ok(format!(
        "{star}{}:{}",
        caller.name().unwrap_or("-"),
        roles.join(",")
    ))
}

#[tokio::test]
async fn everybody_is_who_he_proves_to_be() {
    let identity = identity(&cast().await);
    for (pair, expected) in [
        ("alice:apple", "alice:"),
        ("bob:banana", "bob:b"),
        ("ops:orange", "*ops:o"),
        ("root:rhubarb", "*root:"),
    ] {
        assert_eq!(who(by_basic(&identity, pair).await).unwrap(), expected);
        let (name, password) = pair.split_once(':').unwrap();
        let cookie = open(&identity, name, password).await;
        let recognised = by_cookie(&identity, &cookie).await.unwrap();
        assert_eq!(
            (recognised.scheme, recognised.renew.is_some()),
            (Scheme::Cookie, false)
        );
        assert_eq!(who(Ok(recognised)).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_failed_attempt_is_never_anonymous() {
    let identity = identity(&cast().await);
    for pair in [
        "alice:wrong",
        "bob:wrong",
        "nobody:x",
        "both:pear",
        "alice:",
        ":apple",
        "anonymous:x",
        "ali\u{ad}ce:apple",
        "alice:ap\0ple",
        "alice ",
    ] {
        assert_eq!(
            who(by_basic(&identity, pair).await),
            Err(Refusal::WrongCredentials),
            "{pair:?}"
        );
    }
    for cookie in [
        "AuthSession=x",
        "AuthSession=YWxpY2U6NjU2NTY1NjU6eA",
        "AuthSession=!",
    ] {
        let failed = identity
            .recognise(None, Some(cookie.as_bytes()), PEER)
            .await
            .unwrap_err();
        assert_eq!(failed.refusal, Refusal::SessionEnded);
        assert!(failed.clear.unwrap().as_str().contains("Max-Age=0"));
    }
    let failed = identity
        .recognise(Some(b"Basic ???"), None, PEER)
        .await
        .unwrap_err();
    assert_eq!(failed.refusal.status(), 400);
}

#[tokio::test]
async fn who_asks_for_nothing_is_anonymous() {
    let fake = cast().await;
    let identity = identity(&fake);
    for (authorization, cookie) in [
        (None, None),
        (Some("Basic: x"), Some("a=b")),
        (None, Some("AuthSession=")),
    ] {
        let authorization = authorization.map(str::as_bytes);
        let recognised = identity
            .recognise(authorization, cookie.map(str::as_bytes), PEER)
            .await
            .unwrap();
        assert_eq!(
            (recognised.caller, recognised.scheme),
            (Caller::Anonymous, Scheme::Nothing)
        );
    }
    assert!(fake.heard().is_empty());
}

/// CouchDB's own test suite sends both and expects the cookie's user.
#[tokio::test]
async fn a_valid_cookie_outranks_basic_and_a_broken_one_yields() {
    let identity = identity(&cast().await);
    let cookie = open(&identity, "bob", "banana").await;
    let both = async |cookie: &str, pair: &str| {
        identity
            .recognise(Some(&basic(pair)), Some(cookie.as_bytes()), PEER)
            .await
    };
    assert_eq!(
        who(both(cookie.as_str(), "alice:apple").await).unwrap(),
        "bob:b"
    );
    let recognised = both("AuthSession=x", "alice:apple").await.unwrap();
    assert!(
        recognised
            .renew
            .as_ref()
            .unwrap()
            .as_str()
            .contains("Max-Age=0")
    );
    assert_eq!(who(Ok(recognised)).unwrap(), "alice:");
    assert_eq!(
        who(both("AuthSession=x", "alice:wrong").await),
        Err(Refusal::WrongCredentials)
    );
}

#[tokio::test]
async fn a_changed_password_ends_sessions_and_cached_logins() {
    let fake = cast().await;
    let identity = identity(&fake);
    let (alice, bob) = (
        open(&identity, "alice", "apple").await,
        open(&identity, "bob", "banana").await,
    );
    let story = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(by_basic(&identity, "alice:apple").await.is_ok());
        put_node(&fake, "alice", "avocado");
        fake.user("bob", "blueberry", r#"["c"]"#);
        tokio::time::sleep(Duration::from_millis(200)).await;
        for cookie in [&alice, &bob] {
            assert_eq!(
                who(by_cookie(&identity, cookie).await),
                Err(Refusal::SessionEnded)
            );
        }
        for pair in ["alice:apple", "bob:banana"] {
            assert_eq!(
                who(by_basic(&identity, pair).await),
                Err(Refusal::WrongCredentials)
            );
        }
        assert_eq!(
            who(by_basic(&identity, "alice:avocado").await).unwrap(),
            "alice:"
        );
        assert_eq!(
            who(by_basic(&identity, "bob:blueberry").await).unwrap(),
            "bob:c"
        );
    };
    tokio::select! {
        () = identity.watch() => {}
        () = story => {}
    }
}

#[tokio::test]
async fn roles_follow_while_the_session_lasts() {
    let fake = cast().await;
    let identity = identity(&fake);
    let cookie = open(&identity, "bob", "banana").await;
    let story = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fake.user("bob", "banana", r#"["new"]"#);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(who(by_cookie(&identity, &cookie).await).unwrap(), "bob:new");
    };
    tokio::select! {
        () = identity.watch() => {}
        () = story => {}
    }
}

#[tokio::test]
async fn a_session_of_couchdbs_own_administrator_ends_when_someone_gets_the_name() {
    let fake = cast().await;
    let identity = identity(&fake);
    let cookie = open(&identity, "root", "rhubarb").await;
    assert_eq!(who(by_cookie(&identity, &cookie).await).unwrap(), "*root:");
    fake.user("root", "other", "[]");
    identity.users.records_forget();
    assert_eq!(
        who(by_cookie(&identity, &cookie).await),
        Err(Refusal::SessionEnded)
    );
}

#[tokio::test]
async fn a_session_past_half_of_its_life_is_renewed() {
    let identity = with_lifetime(&cast().await, Duration::from_secs(1));
    let cookie = open(&identity, "alice", "apple").await;
    let mut renewed = None;
    for _ in 0..100 {
        // Within its second the cookie is either due or still too young, by the clock.
        let recognised = by_cookie(&identity, &cookie).await;
        if let Ok(Recognised {
            renew: Some(cookie),
            ..
        }) = recognised
        {
            renewed = Some(cookie);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(renewed.unwrap().as_str().contains("Max-Age=1"));
}

#[tokio::test]
async fn a_session_that_was_logged_out_is_over() {
    let fake = cast().await;
    let identity = identity(&fake);
    let (first, other) = (
        open(&identity, "bob", "banana").await,
        later(&identity, "bob", "banana").await,
    );
    identity.end_session(Some(first.as_str().as_bytes())).await;
    assert!(by_cookie(&identity, &first).await.is_err());
    assert_eq!(who(by_cookie(&identity, &other).await).unwrap(), "bob:b");
    // What was renewed of it is over as well, at every couchwarden of the same secret, whatever it does.
    let elsewhere = self::identity(&fake);
    let renewed = elsewhere.renew(other.as_str().as_bytes()).await.unwrap();
    let (renewed, again) = (renewed.unwrap(), later(&identity, "bob", "banana").await);
    elsewhere.end_session(Some(other.as_str().as_bytes())).await;
    for cookie in [&other, &renewed] {
        assert!(by_cookie(&elsewhere, cookie).await.is_err());
        let header = cookie.as_str().as_bytes();
        assert_eq!(elsewhere.renew(header).await.unwrap(), None);
        let restarted = self::identity(&fake);
        assert!(by_cookie(&restarted, cookie).await.is_err());
        assert_eq!(restarted.renew(header).await.unwrap(), None);
    }
    let other = again;
    // A cookie that is not ours, or none, ends nothing.
    identity.end_session(Some(b"AuthSession=x")).await;
    identity.end_session(None).await;
    assert!(by_cookie(&identity, &other).await.is_ok());
}

/// Renewed all the time, and however it is watched.
#[tokio::test]
async fn a_session_ends_when_it_has_lasted_longest() {
    let fake = cast().await;
    let identity = with_times(&fake, Duration::from_secs(2), Duration::from_secs(2));
    let mut cookie = open(&identity, "bob", "banana").await;
    let proof = by_cookie(&identity, &cookie).await.unwrap().proof;
    let begun = std::time::Instant::now();
    while let Some(renewed) = identity.renew(cookie.as_str().as_bytes()).await.unwrap() {
        cookie = renewed;
        assert!(begun.elapsed() < Duration::from_secs(3));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        who(by_cookie(&identity, &cookie).await),
        Err(Refusal::SessionEnded)
    );
    assert_eq!(identity.confirm(&proof).await.unwrap(), None);
}

/// Somebody else may have renewed it.
#[tokio::test]
async fn a_logout_by_a_cookie_that_has_expired_ends_its_session() {
    let fake = cast().await;
    let long = Duration::from_secs(600);
    let identity = with_times(&fake, Duration::from_secs(2), long);
    let cookie = open(&identity, "bob", "banana").await;
    let header = cookie.as_str().as_bytes();
    let mut stolen = identity.renew(header).await.unwrap().unwrap();
    while identity.renew(header).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let header = stolen.as_str().as_bytes();
        stolen = identity.renew(header).await.unwrap().unwrap();
    }
    assert!(by_cookie(&identity, &cookie).await.is_err());
    assert!(by_cookie(&identity, &stolen).await.is_ok());
    identity.end_session(Some(header)).await;
    assert!(by_cookie(&identity, &stolen).await.is_err());
}

#[tokio::test]
async fn all_sessions_of_a_user_end_at_once() {
    let fake = cast().await;
    let identity = identity(&fake);
    let bobs = open(&identity, "bob", "banana").await;
    let ops = open(&identity, "ops", "orange").await;
    let proof = by_cookie(&identity, &bobs).await.unwrap().proof;
    assert!(identity.confirm(&proof).await.unwrap().is_some());
    identity
        .end_sessions(&UserName::parse("bob").unwrap())
        .await;
    assert!(by_cookie(&identity, &bobs).await.is_err());
    assert_eq!(identity.confirm(&proof).await.unwrap(), None);
    assert!(by_cookie(&identity, &ops).await.is_ok());
    let elsewhere = self::identity(&fake);
    assert!(by_cookie(&elsewhere, &bobs).await.is_err());
    assert!(by_cookie(&elsewhere, &ops).await.is_ok());
    let again = later(&identity, "bob", "banana").await;
    assert!(by_cookie(&identity, &again).await.is_ok());
}

#[tokio::test]
async fn a_proof_lasts_as_long_as_the_credential() {
    let fake = cast().await;
    let identity = identity(&fake);
    let proof = by_basic(&identity, "bob:banana").await.unwrap().proof;
    let caller = identity.confirm(&proof).await.unwrap().unwrap();
    assert_eq!(caller.name(), Some("bob"));
    fake.user("bob", "cherry", r#"["b"]"#);
    assert_eq!(identity.confirm(&proof).await.unwrap(), None);
    let nobody = identity.recognise(None, None, PEER).await.unwrap().proof;
    let caller = identity.confirm(&nobody).await.unwrap();
    assert_eq!(caller, Some(Caller::Anonymous));
}

/// Not in the millisecond in which another session was opened or ended.
async fn later(identity: &Identity, name: &str, password: &str) -> SetCookie {
    tokio::time::sleep(Duration::from_millis(2)).await;
    open(identity, name, password).await
}
