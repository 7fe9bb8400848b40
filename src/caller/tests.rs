use proptest::prelude::*;

use super::{Caller, Role, User, UserName};

fn name(text: &str) -> bool {
    UserName::parse(text).is_ok()
}

fn role(text: &str) -> bool {
    Role::parse(text).is_ok()
}

#[test]
fn ordinary_names_and_roles_pass() {
    for text in [
        "alice",
        "Jason Davies",
        "+43123456",
        "a@b.example",
        "O'Neill",
        "Zoë",
        "名前",
        "user:1",
    ] {
        assert!(name(text), "{text}");
        assert!(role(text), "{text}");
    }
    assert!(name("a,b") && name("_a"));
}

#[test]
fn a_role_arrives_as_it_is() {
    for text in [
        "a,b",
        ",",
        "_admin",
        "_x",
        " a",
        "a ",
        "",
        "voil\u{e0}",
        "\u{c5}",
    ] {
        assert!(!role(text), "{text:?}");
    }
}

#[test]
fn no_name_is_mistaken_for_another() {
    let traps = [
        "",
        " alice",
        "alice ",
        "alice\u{a0}",
        "ali\u{ad}ce",
        "ali\u{200b}ce",
        "ali\u{200d}ce",
        "alice\0",
        "ali\nce",
        "ali\u{7f}ce",
        "ali\u{85}ce",
        "\u{feff}alice",
        "ali\u{fe0f}ce",
        "ali\u{2060}ce",
        "ali\u{e0061}ce",
        "ali\u{202e}ce",
        "Zoe\u{308}",
        "\u{212b}",
        "ali\u{34f}ce",
        "ali\u{fff9}ce",
        "ali\u{180e}ce",
    ];
    for text in traps {
        assert!(!name(text), "{text:?}");
        assert!(!role(text), "{text:?}");
    }
    assert!(!name(&"a".repeat(513)));
}

#[test]
fn roles_are_in_order_and_none_comes_twice() {
    let roles = ["b", "a", "b"]
        .map(|text| Role::parse(text).unwrap())
        .to_vec();
    let user = User::new(UserName::parse("alice").unwrap(), roles);
    assert_eq!(
        user.roles.iter().map(Role::as_str).collect::<Vec<_>>(),
        ["a", "b"]
    );
    let caller = Caller::User(user.into()).with_attributes(vec![("a".into(), "b".into())]);
    assert_eq!(caller.user().unwrap().attributes.len(), 1);
    assert_eq!(caller.roles().len(), 2);
    assert!(
        Caller::Anonymous
            .with_attributes(Vec::new())
            .roles()
            .is_empty()
    );
}

proptest! {
    /// What `http` would refuse in a header is refused here.
    #[test]
    fn every_name_fits_into_a_header(text in "\\PC*|.*") {
        if let Ok(name) = UserName::parse(&text) {
            let value = http::HeaderValue::from_bytes(name.as_str().as_bytes());
            prop_assert!(value.is_ok());
        }
    }
}
