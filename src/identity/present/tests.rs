use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{LONGEST_LINE, Presenter};
use crate::caller::{Caller, Role, User, UserName};
use crate::config::{self, MemberRole, Present, SentRoles, Signing, SigningKey};
use crate::couch::ServiceAccount;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Secret;

fn presenter(present: Present, role: &str) -> Presenter {
    let settings = config::CouchDb {
        nodes: Vec::new(),
        user: "warden".into(),
        present,
        role: MemberRole::parse(role).unwrap(),
        roles: SentRoles::All,
        ca: None,
    };
    let account = ServiceAccount::new(&settings).unwrap();
    Presenter::new(&settings, account)
}

fn proxy() -> Presenter {
    let (password, secret) = (Secret::new("errands"), Secret::new("key"));
    presenter(Present::Proxy { password, secret }, "warden")
}

fn jwt(role: &str) -> Presenter {
    let text = SigningKey::made(Signing::Es256).unwrap();
    let key = SigningKey::parse(&text).unwrap();
    presenter(Present::Jwt { key }, role)
}

fn user(name: &str, roles: &[&str]) -> Arc<User> {
    let roles = roles
        .iter()
        .map(|role| Role::parse(role).unwrap())
        .collect();
    Arc::new(User::new(UserName::parse(name).unwrap(), roles))
}

fn db(name: &str) -> DbName {
    DbName::parse(name).unwrap()
}

fn shown(presenter: &Presenter, caller: &Caller) -> Vec<String> {
    let headers = presenter.headers(caller, caller.roles(), None).unwrap();
    let text = |value: &http::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", text(value)))
        .collect()
}

/// Name and roles of the token that is shown, which is all that is shown.
fn token(presenter: &Presenter, caller: &Caller, db: Option<&DbName>) -> String {
    let headers = presenter.headers(caller, caller.roles(), db).unwrap();
    assert_eq!(headers.len(), 1);
    let (name, value) = &headers[0];
    assert!(name == "authorization" && value.is_sensitive());
    let payload = value.to_str().unwrap().split('.').nth(1).unwrap();
    let claims = Value::parse(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let part = |name| claims.get(name).unwrap().to_string();
    format!("{} {}", part("sub"), part("_couchdb.roles"))
}

#[test]
fn a_caller_appears_as_himself_with_one_more_role() {
    let proxy = proxy();
    let lines = shown(&proxy, &Caller::User(user("Zoë", &["b", "a"])));
    assert_eq!(
        lines[..2],
        [
            "x-auth-couchdb-username: Zoë",
            "x-auth-couchdb-roles: a,b,warden"
        ]
    );
    assert!(lines[2].starts_with("x-auth-couchdb-token: ") && lines[2].len() == 22 + 64);
    let lines = shown(&proxy, &Caller::Administrator(user("ops", &["a"])));
    assert_eq!(lines[1], "x-auth-couchdb-roles: _admin,a,warden");
}

#[test]
fn a_token_opens_one_database_where_the_role_is_one_of_a_database() {
    let (one, each) = (jwt("warden"), jwt("warden:{db}"));
    let zoe = Caller::User(user("Zoë", &["b", "a"]));
    assert_eq!(token(&one, &zoe, None), r#""Zoë" ["a","b","warden"]"#);
    let asked = |caller: &Caller, name: &str| token(&each, caller, Some(&db(name)));
    assert_eq!(asked(&zoe, "notes"), r#""Zoë" ["a","b","warden:notes"]"#);
    assert_eq!(asked(&zoe, "other"), r#""Zoë" ["a","b","warden:other"]"#);
    assert_eq!(token(&each, &zoe, None), r#""Zoë" ["a","b"]"#);
    let ops = Caller::Administrator(user("ops", &["a"]));
    assert_eq!(
        asked(&ops, "notes"),
        r#""ops" ["_admin","a","warden:notes"]"#
    );
    let nobody = asked(&Caller::Anonymous, "notes");
    assert_eq!(nobody, r#""anonymous" ["warden:notes"]"#);
    // Other roles are another token at once.
    assert_eq!(
        asked(&Caller::User(user("Zoë", &["a"])), "notes"),
        r#""Zoë" ["a","warden:notes"]"#
    );
}

#[test]
fn no_caller_is_taken_for_a_replication() {
    for who in [Caller::User, Caller::Administrator] {
        let caller = who(user(
            "zoe",
            &["couchwarden:replication:1:x", "couchwarden:x"],
        ));
        let lines = shown(&proxy(), &caller);
        assert!(
            lines[1].ends_with(" couchwarden:x,warden")
                || lines[1].ends_with("_admin,couchwarden:x,warden"),
            "{lines:?}"
        );
        let token = token(&jwt("warden"), &caller, None);
        assert!(!token.contains("replication"), "{token}");
    }
}

#[test]
fn only_the_roles_that_are_to_be_sent_are() {
    let zoe = Caller::User(user("Zoë", &["b", "a"]));
    let sent = [Role::parse("b").unwrap()];
    let headers = proxy().headers(&zoe, &sent, None).unwrap();
    assert_eq!(headers[1].1, "b,warden");
}

#[test]
fn anonymous_callers_have_a_name_of_their_own_and_no_power() {
    let lines = shown(&proxy(), &Caller::Anonymous);
    assert_eq!(
        lines[..2],
        [
            "x-auth-couchdb-username: anonymous",
            "x-auth-couchdb-roles: warden"
        ]
    );
}

#[test]
fn the_service_account_is_everybody_where_it_is_configured() {
    let password = Secret::new("errands");
    let service = presenter(Present::Service { password }, "warden");
    let expected = ["authorization: Basic d2FyZGVuOmVycmFuZHM="];
    assert_eq!(shown(&service, &Caller::Anonymous), expected);
    assert_eq!(shown(&service, &Caller::User(user("alice", &[]))), expected);
    for (_, value) in service.headers(&Caller::Anonymous, &[], None).unwrap() {
        assert!(value.is_sensitive());
    }
}

#[test]
fn accounts_are_reached_by_the_service_account_and_by_administrators_as_themselves() {
    let (proxy, jwt) = (proxy(), jwt("warden:{db}"));
    for name in ["_users", "x/_users"] {
        let db = db(name);
        let caller = Caller::User(user("alice", &["r"]));
        let headers = proxy.headers(&caller, caller.roles(), Some(&db)).unwrap();
        assert_eq!(headers[0].1, "Basic d2FyZGVuOmVycmFuZHM=");
        assert_eq!(token(&jwt, &caller, Some(&db)), r#""warden" ["_admin"]"#);
        let ops = Caller::Administrator(user("ops", &[]));
        let headers = proxy.headers(&ops, ops.roles(), Some(&db)).unwrap();
        assert_eq!(headers[0].1, "ops");
        assert!(token(&jwt, &ops, Some(&db)).starts_with(r#""ops" ["_admin","#));
    }
}

/// A user with so many roles of a hundred bytes, and one of these.
fn laden(count: usize, rest: usize) -> Caller {
    let long = (0..count).map(|at| format!("{at:0100}"));
    let roles: Vec<String> = long.chain([format!("r{}", "x".repeat(rest))]).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    Caller::User(user("una", &roles))
}

/// The longest line that is sent is about as long as CouchDB reads, and no line is longer.
#[test]
fn an_identity_that_does_not_fit_into_a_header_is_refused_with_its_length() {
    for presenter in [proxy(), jwt("warden:{db}")] {
        let fits = |count: &usize| presenter.can_present(&laden(*count, 0)).is_ok();
        let count = (0..100).rfind(fits).unwrap();
        let mut longest = 0;
        for rest in 0..110 {
            let caller = laden(count, rest);
            let headers = presenter.headers(&caller, caller.roles(), None);
            match presenter.can_present(&caller) {
                Ok(()) => {
                    let headers = headers.unwrap();
                    let lines = headers.iter();
                    let lines = lines.map(|(name, value)| name.as_str().len() + value.len() + 4);
                    longest = longest.max(lines.max().unwrap());
                }
                Err(error) => {
                    assert!(error.bytes > LONGEST_LINE);
                    let Err(Refusal::ForbiddenBecause(why)) = headers else {
                        panic!("{headers:?}");
                    };
                    assert!(why.contains(&error.bytes.to_string()), "{why}");
                }
            }
        }
        assert!(presenter.can_present(&laden(count, 109)).is_err());
        assert!(
            longest <= LONGEST_LINE && longest > LONGEST_LINE - 20,
            "{longest}"
        );
    }
}
