//! Forged histories: what they extend, and what they are compared with.

use super::{Leaf, base, grow, history};
use crate::json::Value;

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn leaves(list: &[&str]) -> Vec<Leaf> {
    list.iter().map(|leaf| Leaf::stored(json(leaf))).collect()
}

/// The revision that a document with this history is compared with.
fn compared(document: &str, list: &[&str]) -> Option<String> {
    let leaves = leaves(list);
    let base = base(&json(document), &leaves)?;
    Some(base.document.get("_rev")?.as_str()?.to_owned())
}

#[test]
fn a_history_has_one_meaning() {
    let good = [
        r#"{"_rev":"1-a"}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c"]}}"#,
        r#"{"_revisions":{"start":3,"ids":["c","b"]}}"#,
        r#"{"_rev":"18446744073709551615-z","_revisions":{"start":18446744073709551615,"ids":["z"]}}"#,
        r#"{"_rev":"1-0123456789ABCDEF0123456789abcdef","_revisions":{"start":1,"ids":["0123456789abcdef0123456789ABCDEF"]}}"#,
    ];
    for document in good {
        assert!(history(&json(document)).is_some(), "{document}");
    }
    let bad = [
        r"{}",
        r#"{"_rev":"0-a"}"#,
        r#"{"_rev":1}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["x","b"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":2,"ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":"3","ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3.0,"ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":-3,"ids":["c"]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":[]}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":"c"}}"#,
        r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c",2]}}"#,
        // More revisions than generations.
        r#"{"_rev":"2-c","_revisions":{"start":2,"ids":["c","b","a"]}}"#,
        r#"{"_rev":"1-c","_revisions":{"start":18446744073709551616,"ids":["c"]}}"#,
        r#"{"_rev":"1-c","_revisions":null}"#,
    ];
    for document in bad {
        assert!(history(&json(document)).is_none(), "{document}");
    }
}

#[test]
fn a_write_is_compared_with_the_leaf_that_it_extends_or_with_the_winner_that_it_beats() {
    let branches = [
        r#"{"_rev":"3-c"}"#,
        r#"{"_rev":"3-d"}"#,
        r#"{"_rev":"2-z"}"#,
    ];
    let write = |rev: &str, start: u64, ids: &str| {
        format!(r#"{{"_rev":"{rev}","_revisions":{{"start":{start},"ids":{ids}}}}}"#)
    };
    // A losing leaf is extended, and stays one.
    let losing = write("3-b", 3, r#"["b","z"]"#);
    assert_eq!(compared(&losing, &branches).as_deref(), Some("2-z"));
    // It wins: over the winner.
    let wins = write("4-x", 4, r#"["x","c"]"#);
    assert_eq!(compared(&wins, &branches).as_deref(), Some("3-d"));
    // Generations may be left out between.
    let skips = write("9-x", 9, r#"["x","w","v","u","t","d"]"#);
    assert_eq!(compared(&skips, &branches).as_deref(), Some("3-d"));
    // No leaf is named: the winner, however high the generation.
    let forged = write("99-x", 99, r#"["x","a"]"#);
    assert_eq!(compared(&forged, &branches).as_deref(), Some("3-d"));
    // The leaf itself again.
    let again = write("3-c", 3, r#"["c","b"]"#);
    assert_eq!(compared(&again, &branches).as_deref(), Some("3-c"));
    // A dead leaf is no comparison while another lives.
    let dead = [r#"{"_rev":"5-e","_deleted":true}"#, r#"{"_rev":"2-z"}"#];
    let over = write("6-x", 6, r#"["x","e"]"#);
    assert_eq!(compared(&over, &dead).as_deref(), Some("2-z"));
    assert_eq!(compared(&over, &dead[..1]), None);
    assert_eq!(compared(&over, &[]), None);
}

#[test]
fn the_winner_is_the_one_that_couchdb_chooses() {
    let alone = r#"{"_rev":"9-x"}"#;
    let hexadecimal = r#"{"_rev":"2-ff000000000000000000000000000000"}"#;
    // As text the first is greater; as CouchDB keeps them, 0xff is greater than any letter.
    let text = r#"{"_rev":"2-zz"}"#;
    let expected = Some("2-ff000000000000000000000000000000".to_owned());
    assert_eq!(compared(alone, &[hexadecimal, text]), expected);
    assert_eq!(compared(alone, &[text, hexadecimal]), expected);
    let longer = r#"{"_rev":"10-0"}"#;
    assert_eq!(
        compared(alone, &[hexadecimal, longer]).as_deref(),
        Some("10-0")
    );
}

#[test]
fn rows_of_one_batch_build_on_each_other() {
    let mut tree = leaves(&[r#"{"_rev":"1-a","n":1}"#]);
    grow(
        &mut tree,
        json(r#"{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"n":2}"#),
    );
    let third = r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}"#;
    let base = base(&json(third), &tree).unwrap();
    assert_eq!(base.document.get("n"), Some(&json("2")));
    assert!(!base.stored);
    assert_eq!(tree.len(), 1, "the first leaf is none any more");
    grow(
        &mut tree,
        json(r#"{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"n":9}"#),
    );
    assert_eq!(
        tree.len(),
        1,
        "a revision that is there already is not stored again"
    );
}
