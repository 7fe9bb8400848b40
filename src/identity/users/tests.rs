use std::time::Duration;

use tokio::sync::watch;

use super::{Standing, Users, Voucher};
use crate::caller::{Role, UserName};
use crate::config;
use crate::couch::fake::Fake;
use crate::identity::follow::Follow;
use crate::route::DbName;

fn users(fake: &Fake) -> Users {
    let vouchers = [config::Voucher::Nodes, config::Voucher::CouchDb];
    let follow = Follow {
        changed: watch::Sender::new(()),
        fresh: Duration::from_secs(5),
    };
    let nodes = DbName::parse("catconf").ok();
    Users::new(&vouchers, nodes, fake.couch(), follow)
}

/// `node`, `couchdb` with the roles, `unknown` or `unusable`.
async fn standing(users: &Users, name: &str) -> String {
    match users.find(&UserName::parse(name).unwrap()).await.unwrap() {
        Standing::Unknown => "unknown".into(),
        Standing::Unusable => "unusable".into(),
        Standing::Known(record) => {
            let roles: Vec<&str> = record.roles.iter().map(Role::as_str).collect();
            match record.voucher {
                Voucher::Node(_) => format!("node {}", roles.join(" ")),
                Voucher::CouchDb => format!("couchdb {}", roles.join(" ")),
            }
        }
    }
}

fn node(name: &str, authorization: &str) -> String {
    format!(
        r#"{{"_id":"{name}","metadata":{{"nodeId":"{name}","authorization":{authorization}}}}}"#
    )
}

#[tokio::test]
async fn a_name_belongs_to_one_voucher() {
    let fake = Fake::start().await;
    let bcrypt = r#"{"type":"bcrypt","crypted":"$2b$04$x"}"#;
    fake.put("catconf", &node("alice", bcrypt));
    fake.put("catconf", &node("both", bcrypt));
    fake.put("catconf", &node("odd", r#"{"type":"sha"}"#));
    fake.put("catconf", r#"{"_id":"bob","metadata":{"nodeId":"bob"}}"#);
    fake.user("bob", "x", r#"["a","_admin","b"]"#);
    fake.user("both", "x", "[]");
    let users = users(&fake);
    for (name, expected) in [
        ("alice", "node "),
        ("bob", "couchdb a b"),
        ("both", "unusable"),
        ("odd", "unusable"),
        ("carol", "unknown"),
        ("anonymous", "unusable"),
        ("_design/x", "unknown"),
    ] {
        assert_eq!(standing(&users, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn roles_that_mislead_fail_the_login() {
    let fake = Fake::start().await;
    for roles in [
        r#"["a,b"]"#,
        r#"["a\u00ad"]"#,
        r#"["a\n"]"#,
        r#"[" a"]"#,
        "[1]",
        r#"[""]"#,
    ] {
        fake.user("bob", "x", roles);
        assert_eq!(standing(&users(&fake), "bob").await, "unusable", "{roles}");
    }
    fake.put(
        "_users",
        r#"{"_id":"org.couchdb.user:bob","name":"carol","roles":[]}"#,
    );
    assert_eq!(standing(&users(&fake), "bob").await, "unusable");
}

#[tokio::test]
async fn a_record_is_read_once() {
    let fake = Fake::start().await;
    fake.user("bob", "x", "[]");
    let users = users(&fake);
    let name = UserName::parse("bob").unwrap();
    let many = (0..20).map(|_| users.find(&name));
    assert!(
        futures_util::future::join_all(many)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(fake.heard().len(), 2);
}

#[tokio::test]
async fn a_change_is_seen_at_once() {
    let fake = Fake::start().await;
    fake.user("bob", "x", r#"["old"]"#);
    let users = users(&fake);
    let story = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(standing(&users, "bob").await, "couchdb old");
        fake.user("bob", "x", r#"["new"]"#);
        fake.put(
            "catconf",
            &node("eve", r#"{"type":"bcrypt","crypted":"x"}"#),
        );
        assert_eq!(standing(&users, "bob").await, "couchdb old");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(standing(&users, "bob").await, "couchdb new");
        fake.put(
            "catconf",
            &node("bob", r#"{"type":"bcrypt","crypted":"x"}"#),
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(standing(&users, "bob").await, "unusable");
    };
    tokio::select! {
        () = users.watch() => {}
        () = story => {}
    }
}

#[tokio::test]
async fn what_can_t_be_followed_is_read_again_by_who_must_know() {
    let fake = Fake::start().await;
    fake.user("bob", "x", r#"["old"]"#);
    let users = users(&fake);
    assert_eq!(standing(&users, "bob").await, "couchdb old");
    fake.user("bob", "x", r#"["new"]"#);
    assert_eq!(standing(&users, "bob").await, "couchdb old");
    let name = UserName::parse("bob").unwrap();
    users.confirm(&name).await.unwrap();
    assert_eq!(standing(&users, "bob").await, "couchdb new");
}

#[tokio::test]
async fn who_waits_is_told_of_a_change_after_it_can_be_seen() {
    let fake = Fake::start().await;
    fake.user("bob", "x", r#"["old"]"#);
    let users = users(&fake);
    let mut changed = users.changed.subscribe();
    let story = async {
        // Both databases are followed from now on.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(standing(&users, "bob").await, "couchdb old");
        changed.borrow_and_update();
        fake.user("bob", "x", r#"["new"]"#);
        changed.changed().await.unwrap();
        assert_eq!(standing(&users, "bob").await, "couchdb new");
    };
    tokio::select! {
        () = users.watch() => {}
        () = story => {}
    }
}
