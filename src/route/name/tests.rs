//! The rules of CouchDB, name by name.

use super::*;

#[track_caller]
fn check<T, E: fmt::Debug>(parse: impl Fn(&str) -> Result<T, E>, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(
            parse(text).is_ok(),
            "`{text}` is refused: {:?}",
            parse(text).err()
        );
    }
    for text in bad {
        assert!(parse(text).is_err(), "`{text}` is taken");
    }
}

#[test]
fn databases() {
    let longest = "a".repeat(238);
    let too_long = "a".repeat(239);
    check(
        DbName::parse,
        &[
            "a",
            "a1_$()+-/b",
            "x/_users",
            "_users",
            "_dbs",
            "long/co$mplex-/path+/something",
            &longest,
        ],
        &[
            "",
            "A",
            "1",
            "_x",
            "a b",
            "a.b",
            "a.couch",
            "a.1234567890",
            "\u{e9}",
            "a\n",
            &too_long,
            "shards/00000000-7fffffff/x",
            "$a",
            "-a",
            "a?",
            "!a/_users",
        ],
    );
    assert!(DbName::parse("x/_users").unwrap().is_system());
    assert!(DbName::parse("_replicator").unwrap().is_system());
    assert!(!DbName::parse("x/users").unwrap().is_system());
}

#[test]
fn documents() {
    check(
        DocId::parse,
        &[
            "a",
            "A b",
            "a/b",
            "/",
            "a\\b",
            "_design/x",
            "_design/x/y",
            "\u{e9}",
            "...",
            "a_",
            "%2F",
            "a\n",
            "\u{85}",
        ],
        &[
            "",
            ".",
            "..",
            "_",
            "_a",
            "_design",
            "_design/",
            "_design/..",
            "_local/x",
            "a\0",
        ],
    );
    let design = DocId::parse("_design/x").unwrap();
    assert!(design.is_design());
    assert_eq!(design.design().unwrap().id(), design);
    assert_eq!(DocId::parse("x").unwrap().design(), None);
}

#[test]
fn other_names() {
    check(
        AttachmentName::parse,
        &["a", "a/b", "a_", "a.b", "_a", "a\n"],
        &["", "a//b", "/a", "a/", "a/../b", "a\0"],
    );
    check(
        LocalId::parse,
        &["a", "_a", "a/b", "_design/x"],
        &["", ".", "a\n"],
    );
    check(NodeId::parse, &["number:+49@x.y", "a"], &["", "_a", ".."]);
    check(FunctionName::parse, &["a", "_a", "a b"], &["", ".."]);
    check(Text::parse, &["", "a"], &[".", "..", "\u{7f}"]);
}

#[test]
fn revisions() {
    let hex = "0123456789abcdef0123456789ABCDEF";
    check(
        Rev::parse,
        &[
            "1-a",
            "0-1",
            "12-x-y",
            &format!("1-{hex}"),
            "1-0",
            "18446744073709551615-a",
            "1-",
            "007-abc",
            "+1-a",
            "0-",
        ],
        &[
            "",
            "1",
            "-",
            "+-a",
            "++1-a",
            "-a",
            "a-b",
            "-1-a",
            "1 -a",
            &format!("{}-a", "9".repeat(100)),
            "1-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "1-a\n",
        ],
    );
    let rev = Rev::parse(&format!("10-{hex}")).unwrap();
    assert_eq!(
        (rev.generation(), rev.digest()),
        (10, hex.to_ascii_lowercase().as_str())
    );
    assert_eq!(
        rev,
        Rev::parse(&format!("10-{}", hex.to_ascii_lowercase())).unwrap()
    );
    // However its number is spelt, a revision has one spelling.
    for (text, read) in [("007-abc", "7-abc"), ("+1-a", "1-a"), ("00-", "0-")] {
        assert_eq!(Rev::parse(text).unwrap().as_str(), read);
    }
    assert_eq!(Rev::parse(&format!("010-{hex}")).unwrap(), rev);
    // Shorter texts are not hexadecimal to CouchDB, so their case matters.
    assert_ne!(Rev::parse("1-A").unwrap(), Rev::parse("1-a").unwrap());
    assert!(Rev::parse("9-z").unwrap() < Rev::parse("10-a").unwrap());
}
