//! Forged histories: what they extend, and what they are compared with.

use super::{HIGHEST, Leaves};
use crate::budget::Counted;
use crate::json::Value;

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn leaves(list: &[&str]) -> Leaves {
    Leaves::stored(list.iter().map(|leaf| Counted::free(json(leaf)))).unwrap()
}

/// The revision that a document with this history is compared with.
fn compared(document: &str, list: &[&str]) -> Option<String> {
    let leaves = leaves(list);
    let base = leaves.base(&json(document))?;
    Some(base.document.get("_rev")?.as_str()?.to_owned())
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
    tree.grow(json(
        r#"{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"n":2}"#,
    ));
    let third = r#"{"_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}"#;
    let base = tree.base(&json(third)).unwrap();
    assert_eq!(base.document.get("n"), Some(&json("2")));
    assert!(!base.stored);
    assert_eq!(tree.iter().count(), 1, "the first leaf is none any more");
    tree.grow(json(
        r#"{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"n":9}"#,
    ));
    assert_eq!(
        tree.iter().count(),
        1,
        "a revision that is there already is not stored again"
    );
}

#[test]
fn a_leaf_is_the_one_that_couchdb_takes_it_for() {
    // Sixteen bytes and the digits that stand for them are one digest to CouchDB.
    let stored = [
        r#"{"_rev":"1-61616161616161616161616161616161"}"#,
        r#"{"_rev":"2-b"}"#,
    ];
    let spelt =
        r#"{"_rev":"2-x","_revisions":{"start":2,"ids":["x","aaaaaaaaaaaaaaaa"]},"_deleted":true}"#;
    let expected = Some("1-61616161616161616161616161616161".to_owned());
    assert_eq!(compared(spelt, &stored), expected);
}

#[test]
fn a_generation_is_reached_from_what_is_stored() {
    let room = |stored: &[&str], document: &str| {
        let history = crate::route::History::of(&json(document)).unwrap();
        leaves(stored).has_room_for(&history, false)
    };
    let of = |generation: u128| format!(r#"{{"_rev":"{generation}-x"}}"#);
    assert!(room(&[], &of(HIGHEST)), "stemmed long ago");
    assert!(!room(&[], &of(HIGHEST + 1)));
    let far = u128::from(u64::MAX);
    let there = format!(r#"{{"_rev":"{far}-a"}}"#);
    assert!(room(&[&there], &of(far + 1)), "what is there can be mended");
    assert!(!room(&[&there], &of(far + 2)));
    let named = format!(
        r#"{{"_revisions":{{"start":{},"ids":["c","b"]}}}}"#,
        far + 2
    );
    assert!(room(&[&there], &named));
    let last = format!(r#"{{"_rev":"{}-a"}}"#, u128::MAX);
    assert!(room(&[&last], &of(u128::MAX)));
}

/// A thousand leaves with a hundred revisions each, and as many writes that continue none of them: no row looks at all.
#[test]
fn what_continues_no_leaf_is_found_soon_beside_any_number_of_leaves() {
    let history = |rev: &str, branch: usize, length: usize| {
        let ids: Vec<String> = (0..length)
            .map(|n| format!("\"{branch:x}-{n:x}\""))
            .collect();
        let ids = ids.join(",");
        let start = 200;
        format!(
            r#"{{"_rev":"{start}-{rev}","_deleted":true,"_revisions":{{"start":{start},"ids":["{rev}",{ids}]}}}}"#
        )
    };
    let stored: Vec<String> = (0..1000)
        .map(|n| history(&format!("s{n}"), n, 100))
        .collect();
    let stored: Vec<&str> = stored.iter().map(String::as_str).collect();
    let mut leaves = leaves(&stored);
    let begun = std::time::Instant::now();
    for n in 0..1000 {
        let fork = leaves
            .fork(&json(&history("w", 1000 + n, 100)), || None)
            .unwrap();
        assert!(fork.is_none());
    }
    let (rev, leaf) = leaves
        .fork(&json(&history("w", 700, 100)), || None)
        .unwrap()
        .unwrap();
    assert_eq!(rev.as_str(), "199-2bc-0");
    assert_eq!(leaf.rev(), Some("200-s700"));
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}
