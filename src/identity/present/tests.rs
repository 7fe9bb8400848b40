use std::sync::Arc;

use super::Presenter;
use crate::caller::{Caller, Role, User, UserName};
use crate::config;
use crate::route::DbName;
use crate::secret::Secret;

fn presenter(present: config::Present) -> Presenter {
    Presenter::new(&config::CouchDb {
        nodes: Vec::new(),
        user: "warden".into(),
        password: Secret::new("errands"),
        present,
        role: "warden".into(),
        ca: None,
    })
    .unwrap()
}

fn user(name: &str, roles: &[&str]) -> Arc<User> {
    let roles = roles
        .iter()
        .map(|role| Role::parse(role).unwrap())
        .collect();
    Arc::new(User::new(UserName::parse(name).unwrap(), roles))
}

fn shown(presenter: &Presenter, caller: &Caller) -> Vec<String> {
    let headers = presenter.headers(caller, None).unwrap();
    let text = |value: &http::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", text(value)))
        .collect()
}

#[test]
fn a_caller_appears_as_himself_with_one_more_role() {
    let proxy = presenter(config::Present::Proxy {
        secret: Secret::new("key"),
    });
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
fn anonymous_callers_have_a_name_of_their_own_and_no_power() {
    let proxy = presenter(config::Present::Proxy {
        secret: Secret::new("key"),
    });
    let lines = shown(&proxy, &Caller::Anonymous);
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
    let service = presenter(config::Present::Service);
    let expected = ["authorization: Basic d2FyZGVuOmVycmFuZHM="];
    assert_eq!(shown(&service, &Caller::Anonymous), expected);
    assert_eq!(shown(&service, &Caller::User(user("alice", &[]))), expected);
    for (_, value) in service.headers(&Caller::Anonymous, None).unwrap() {
        assert!(value.is_sensitive());
    }
}

#[test]
fn accounts_are_reached_by_the_service_account_and_by_administrators_as_themselves() {
    let proxy = presenter(config::Present::Proxy {
        secret: Secret::new("key"),
    });
    for name in ["_users", "x/_users"] {
        let db = DbName::parse(name).unwrap();
        let caller = Caller::User(user("alice", &[]));
        let headers = proxy.headers(&caller, Some(&db)).unwrap();
        assert_eq!(headers[0].1, "Basic d2FyZGVuOmVycmFuZHM=");
        let ops = Caller::Administrator(user("ops", &[]));
        let headers = proxy.headers(&ops, Some(&db)).unwrap();
        assert_eq!(headers[0].1, "ops");
    }
}
