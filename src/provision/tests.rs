use super::plan::{Foreign, Found, Step, remember, remembered, steps, voicemail};
use crate::couch::fake::json;
use crate::json::Value;
use crate::route::DbName;

const UUID: &str = "u0123456789abcdef0123456789abcdef";

fn db() -> DbName {
    DbName::parse(UUID).unwrap()
}

fn planned(security: Option<&str>) -> Result<Vec<Step>, Foreign> {
    let found = Found {
        security: security.map(json),
        designs: Vec::new(),
    };
    steps("rita", &[], &found)
}

fn secured(roles: &str) -> Value {
    json(&format!(
        r#"{{"owner":"rita","admins":{{"names":[],"roles":["_admin"]}},"members":{{"names":["rita"],"roles":{roles}}}}}"#
    ))
}

#[test]
fn the_name_of_the_database_is_remembered_as_a_role() {
    let user = json(r#"{"name":"rita","roles":["reader"],"provisioning":{"database":"u1"}}"#);
    assert_eq!(remembered(&user), None, "only roles are believed");
    let user = remember(&user, &db());
    assert_eq!(remembered(&user), Some(db()));
    assert_eq!(remember(&user, &db()), user);
    let roles = user.get("roles").unwrap().to_string();
    assert_eq!(
        roles,
        format!(r#"["reader","provisioned:{UUID}","user_database:{UUID}"]"#)
    );
    let other = json(r#"{"roles":["provisioned:cdrs","user_database:u0"]}"#);
    assert_eq!(remembered(&other), None);
}

#[test]
fn security_comes_right_after_the_database() {
    assert_eq!(
        planned(None).unwrap(),
        [Step::Create, Step::Secure(secured("[]"))]
    );
}

#[test]
fn whatever_is_half_done_is_finished_and_nothing_is_done_twice() {
    for half in [
        "{}",
        r#"{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}"#,
        r#"{"owner":"rita","members":{"users":["rita"]},"admins":{"roles":["_admin"]}}"#,
        r#"{"owner":"rita","admins":{"names":["rita"]},"members":{"names":["rita","tom"]}}"#,
    ] {
        assert_eq!(
            planned(Some(half)).unwrap(),
            [Step::Secure(secured("[]"))],
            "{half}"
        );
    }
    for whole in ["[]", r#"["user_database:x","update:user_db:"]"#] {
        assert_eq!(
            planned(Some(&secured(whole).to_string())).unwrap(),
            [],
            "{whole}"
        );
    }
}

#[test]
fn a_database_of_somebody_else_is_left_alone() {
    for other in [
        r#"{"owner":"tom"}"#,
        r#"{"owner":null}"#,
        r#"{"members":{"names":["tom"]}}"#,
        r#"{"members":{"roles":["user_database:x"]}}"#,
    ] {
        assert_eq!(planned(Some(other)), Err(Foreign), "{other}");
    }
}

#[test]
fn a_voicemail_database_gets_its_roles_once_and_loses_nothing() {
    let before = json(
        r#"{"admins":{"roles":["ops"]},"cloudant":{"nobody":[]},"members":{"names":["switch"],"roles":["warden"]}}"#,
    );
    let opened = voicemail(&db(), &before).unwrap();
    assert_eq!(opened.get("admins"), before.get("admins"));
    assert_eq!(opened.get("cloudant"), before.get("cloudant"));
    let members = opened.get("members").unwrap().to_string();
    assert_eq!(
        members,
        format!(
            r#"{{"names":["switch"],"roles":["warden","user_database:{UUID}","update:user_db:"]}}"#
        )
    );
    assert_eq!(voicemail(&db(), &opened), None);
    assert!(voicemail(&db(), &json("{}")).is_some());
}
