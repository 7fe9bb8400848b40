//! Bearers: of the tokens of others, and of our own.

use super::super::tests::{PEER, basic, cast, identity, who};
use super::super::{Failed, Identity, Recognised, Scheme};
use crate::caller::UserName;
use crate::config::{TokenRules, TokenVoucher};
use crate::couch::fake::Fake;
use crate::refusal::Refusal;
use crate::route::DbName;
use std::time::Duration;

async fn by_bearer(identity: &Identity, token: &str) -> Result<Recognised, Failed> {
    let header = format!("bEARER {token}").into_bytes();
    identity.recognise(Some(&header), None, PEER).await
}

async fn issue(identity: &Identity, name: &str, lifetime: Duration) -> Result<String, Refusal> {
    let name = UserName::parse(name).unwrap();
    let db = DbName::parse("provisioning").unwrap();
    let token = identity.issue_token(&name, &db, lifetime).await?;
    Ok(String::from_utf8(token.expose().to_vec()).unwrap())
}

/// An identity whose tokens CouchDB vouches for, and says this.
fn vouched(fake: &Fake, session: &str) -> Identity {
    fake.store.lock().unwrap().answer = Some((200, session.to_owned()));
    let mut identity = identity(fake);
    identity.token_rules = Some(TokenRules {
        voucher: TokenVoucher::CouchDb,
        issuer: None,
        audience: None,
        roles: Vec::new(),
        leeway: Duration::ZERO,
    });
    identity
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_token_of_ours_has_the_roles_of_today() {
    let fake = cast().await;
    let identity = identity(&fake);
    let token = issue(&identity, "bob", MINUTE).await.unwrap();
    let recognised = by_bearer(&identity, &token).await.unwrap();
    assert_eq!(recognised.scheme, Scheme::Token);
    assert_eq!(who(Ok(recognised)).unwrap(), "bob:b");
    fake.user("bob", "banana", r#"["c"]"#);
    identity.users.records_forget();
    assert_eq!(who(by_bearer(&identity, &token).await).unwrap(), "bob:c");
}

#[tokio::test]
async fn a_token_of_ours_ends_with_the_password_or_the_user() {
    let fake = cast().await;
    let identity = identity(&fake);
    let token = issue(&identity, "bob", MINUTE).await.unwrap();
    fake.user("bob", "another", "[]");
    identity.users.records_forget();
    let refused = who(by_bearer(&identity, &token).await);
    assert_eq!(refused.unwrap_err(), Refusal::WrongCredentials);
    let expired = issue(&identity, "bob", Duration::ZERO).await.unwrap();
    assert!(by_bearer(&identity, &expired).await.is_err());
}

#[tokio::test]
async fn only_who_is_known_can_have_a_token() {
    let identity = identity(&cast().await);
    assert!(issue(&identity, "alice", MINUTE).await.is_ok());
    for name in ["root", "both", "nobody"] {
        assert!(issue(&identity, name, MINUTE).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn no_token_makes_an_administrator() {
    let fake = cast().await;
    let own = identity(&fake);
    let token = issue(&own, "ops", MINUTE).await.unwrap();
    assert_eq!(who(by_bearer(&own, &token).await).unwrap(), "ops:o");
    for (context, expected) in [
        (r#"{"name":"ann","roles":["_admin","a"]}"#, Some("ann:a")),
        (r#"{"name":"ops","roles":[]}"#, None),
        (r#"{"name":"anonymous","roles":[]}"#, None),
        (r#"{"name":null,"roles":[]}"#, None),
        (r#"{"name":"ann","roles":["a,b"]}"#, None),
    ] {
        let session = format!(r#"{{"userCtx":{context},"info":{{"authenticated":"jwt"}}}}"#);
        let identity = vouched(&fake, &session);
        let bearer = who(by_bearer(&identity, "token").await).ok();
        assert_eq!(bearer.as_deref(), expected, "{context}");
    }
}

#[tokio::test]
async fn couchdb_vouches_for_tokens_that_it_reads_itself() {
    let fake = cast().await;
    let identity = vouched(
        &fake,
        r#"{"userCtx":{"name":"ann","roles":[]},"info":{"authenticated":"default"}}"#,
    );
    let refused = who(by_bearer(&identity, "token").await);
    assert_eq!(refused.unwrap_err(), Refusal::WrongCredentials);
}

#[tokio::test]
async fn a_token_that_is_not_believed_is_never_anonymous() {
    let identity = identity(&cast().await);
    for token in ["", "x", "cw1.", "cw1.AAAA", "eyJhbGciOiJub25lIn0.e30."] {
        let failed = by_bearer(&identity, token).await.unwrap_err();
        assert_eq!(failed.refusal, Refusal::WrongCredentials, "{token}");
        assert_eq!(failed.scheme, Scheme::Token);
    }
    assert!(
        identity
            .recognise(Some(&basic("bob:banana")), None, PEER)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_token_of_ours_is_good_for_one_database() {
    let identity = identity(&cast().await);
    let token = issue(&identity, "bob", MINUTE).await.unwrap();
    let recognised = by_bearer(&identity, &token).await.unwrap();
    let db = |name| DbName::parse(name).unwrap();
    assert!(recognised.may_ask(Some(&db("provisioning"))).is_ok());
    assert!(recognised.may_ask(Some(&db("another"))).is_err());
    assert!(recognised.may_ask(None).is_err());
    let free = identity
        .recognise(Some(&basic("bob:banana")), None, PEER)
        .await;
    assert!(free.unwrap().may_ask(None).is_ok());
}
