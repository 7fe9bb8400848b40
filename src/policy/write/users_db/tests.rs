use crate::policy::tests::value;
use crate::policy::write::users_db::check;

const STORED: &str = r#"{"_id":"org.couchdb.user:ann","name":"ann","type":"user","roles":["reader"],"derived_key":"d","salt":"s","iterations":10}"#;

#[track_caller]
fn verdict(stored: Option<&str>, new: &str) -> bool {
    let stored = stored.map(value);
    check(stored.as_ref(), &value(new)).is_ok()
}

#[test]
fn a_password_and_a_profile_may_change_and_nothing_by_which_passwords_are_verified() {
    let with = |more: &str| STORED.replace(r#""roles""#, &format!("{more}\"roles\""));
    assert!(verdict(Some(STORED), &with(r#""password":"new","#)));
    assert!(verdict(Some(STORED), &with(r#""profile":{"city":"Ulm"},"#)));
    assert!(!verdict(Some(STORED), &with(r#""password":7,"#)));
    assert!(!verdict(Some(STORED), &with(r#""preserve_salt":true,"#)));
    assert!(!verdict(
        Some(STORED),
        &STORED.replace(r#":"d""#, r#":"e""#)
    ));
    assert!(!verdict(
        Some(STORED),
        &STORED.replace(":10", ":1000000000")
    ));
    assert!(!verdict(
        Some(STORED),
        &STORED.replace(r#","salt":"s""#, "")
    ));
}

#[test]
fn nobody_gives_himself_a_role_or_another_name() {
    assert!(!verdict(Some(STORED), &STORED.replace("reader", "writer")));
    assert!(!verdict(
        Some(STORED),
        &STORED.replace(r#","roles":["reader"]"#, "")
    ));
    assert!(!verdict(
        Some(STORED),
        &STORED.replace(r#""name":"ann""#, r#""name":"ops""#)
    ));
    assert!(!verdict(
        Some(STORED),
        &STORED.replace(r#""type":"user""#, r#""type":"admin""#)
    ));
}

#[test]
fn a_new_account_has_no_role_and_only_a_password() {
    let fresh =
        r#"{"_id":"org.couchdb.user:bob","name":"bob","type":"user","roles":[],"password":"p"}"#;
    assert!(verdict(None, fresh));
    assert!(!verdict(None, &fresh.replace("[]", r#"["reader"]"#)));
    assert!(!verdict(None, &fresh.replace(r#","roles":[]"#, "")));
    assert!(!verdict(
        None,
        &fresh.replace(r#""password":"p""#, r#""derived_key":"d""#)
    ));
    assert!(!verdict(
        None,
        &fresh.replace("org.couchdb.user:bob", "bob")
    ));
    // U+00AD is ignored by ICU: behind us this could be somebody else.
    assert!(!verdict(None, &fresh.replace("bob", "b\u{ad}ob")));
}
