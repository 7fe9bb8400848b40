use std::sync::Arc;

use super::{Answer, Session};
use crate::couch::fake::Fake;
use crate::identity::tests::{PEER, cast, identity};
use crate::identity::{Identity, SetCookie};
use crate::refusal::Refusal;

const JSON: Option<&str> = Some("application/json; charset=utf-8");
const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

async fn start() -> (Fake, Arc<Identity>, Session) {
    let fake = cast().await;
    let identity = Arc::new(identity(&fake));
    (fake, Arc::clone(&identity), Session::new(identity))
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap().trim_end()
}

#[tokio::test]
async fn a_login_is_answered_as_couchdb_does() {
    let (_fake, _, session) = start().await;
    let bob = r#"{"ok":true,"name":"bob","roles":["b"]}"#;
    for (kind, body) in [
        (JSON, r#"{"name":"bob","password":"banana"}"#),
        (JSON, r#"{"username":"bob","password":"banana"}"#),
        (
            JSON,
            r#"{"name":"bob","username":"bob","password":"banana","next":"/"}"#,
        ),
        (FORM, "name=bob&password=banana"),
        (FORM, "username=b%6Fb&password=ban%61na&next=%2F"),
    ] {
        let answer = session
            .login(kind, body.as_bytes(), None, PEER)
            .await
            .unwrap();
        assert_eq!((answer.status, text(&answer)), (200, bob), "{body}");
        assert!(
            answer
                .set_cookie
                .unwrap()
                .as_str()
                .starts_with("AuthSession=")
        );
    }
    let ops = session
        .login(FORM, b"name=ops&password=orange", None, PEER)
        .await
        .unwrap();
    assert_eq!(
        text(&ops),
        r#"{"ok":true,"name":"ops","roles":["_admin","o"]}"#
    );
    let basic = session
        .login(None, b"", Some(b"Basic YWxpY2U6YXBwbGU="), PEER)
        .await
        .unwrap();
    assert_eq!(text(&basic), r#"{"ok":true,"name":"alice","roles":[]}"#);
}

#[tokio::test]
async fn what_is_no_login_is_refused() {
    let (_fake, _, session) = start().await;
    for (kind, body, status) in [
        (JSON, r#"{"name":"bob","password":"wrong"}"#, 401),
        (JSON, r#"{"name":"nobody","password":"x"}"#, 401),
        (JSON, r#"{"name":"bob"}"#, 401),
        (JSON, r#"{"password":"banana"}"#, 400),
        (
            JSON,
            r#"{"name":"bob","username":"ops","password":"banana"}"#,
            400,
        ),
        (
            JSON,
            r#"{"name":"bob","name":"ops","password":"banana"}"#,
            400,
        ),
        (JSON, r#"{"name":["bob"],"password":"banana"}"#, 400),
        (JSON, r#"["name"]"#, 400),
        (JSON, "name=bob&password=banana", 400),
        (FORM, "name=bob&name=ops&password=banana", 400),
        (FORM, "name=bob&password=%f", 400),
        (FORM, "name=bob&password=%ff", 400),
        (None, r#"{"name":"bob","password":"banana"}"#, 415),
        (
            Some("text/plain"),
            r#"{"name":"bob","password":"banana"}"#,
            415,
        ),
        (None, "", 400),
    ] {
        let refusal = session
            .login(kind, body.as_bytes(), None, PEER)
            .await
            .unwrap_err();
        assert_eq!(refusal.status(), status, "{body}");
    }
    assert_eq!(
        Refusal::WrongCredentials.reason(),
        "Name or password is incorrect."
    );
}

#[tokio::test]
async fn who_am_i_tells_what_couchdb_tells_and_no_more() {
    let (_fake, identity, session) = start().await;
    let nobody = concat!(
        r#"{"ok":true,"userCtx":{"name":null,"roles":[]},"#,
        r#""info":{"authentication_handlers":["cookie","default"]}}"#
    );
    let login = session
        .login(FORM, b"name=ops&password=orange", None, PEER)
        .await
        .unwrap();
    let cookie = login.set_cookie.unwrap();
    let read = async |authorization: Option<&str>, cookie: Option<&str>| {
        let recognised = identity
            .recognise(
                authorization.map(str::as_bytes),
                cookie.map(str::as_bytes),
                PEER,
            )
            .await;
        session.read(&recognised)
    };
    assert_eq!(text(&read(None, None).await.unwrap()), nobody);
    let ops = read(None, Some(cookie.as_str())).await.unwrap();
    let expected = concat!(
        r#"{"ok":true,"userCtx":{"name":"ops","roles":["_admin","o"]},"#,
        r#""info":{"authentication_handlers":["cookie","default"],"authenticated":"cookie"}}"#
    );
    assert_eq!(text(&ops), expected);
    let alice = read(Some("Basic YWxpY2U6YXBwbGU="), None).await.unwrap();
    assert!(text(&alice).ends_with(r#""authenticated":"default"}}"#));
    let broken = read(None, Some("AuthSession=x")).await.unwrap();
    assert_eq!(text(&broken), nobody);
    assert!(broken.set_cookie.unwrap().as_str().contains("Max-Age=0"));
    assert_eq!(
        read(Some("Basic YWxpY2U6eA=="), None).await,
        Err(Refusal::WrongCredentials)
    );
    assert_eq!(
        read(Some("Basic YWxpY2U6eA=="), Some("AuthSession=x")).await,
        Err(Refusal::WrongCredentials)
    );
}

#[tokio::test]
async fn a_logout_ends_the_cookie() {
    let (_fake, _, session) = start().await;
    let answer = session.logout(None).await;
    assert_eq!(text(&answer), r#"{"ok":true}"#);
    assert!(
        answer
            .set_cookie
            .as_ref()
            .map(SetCookie::as_str)
            .unwrap()
            .starts_with("AuthSession=; ")
    );
}
