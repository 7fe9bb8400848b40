use std::sync::Arc;

use super::{MOST_DOCUMENTS, Meanwhile};
use crate::budget::{Budget, Share};
use crate::couch::CouchError;

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Catches up with these changes.
fn after(meanwhile: &mut Meanwhile, changed: &[&str]) {
    meanwhile.note(&ids(changed)).unwrap();
    meanwhile.turn();
}

#[test]
fn what_has_changed_since_a_moment_is_known() {
    let mut meanwhile = Meanwhile::since("7-x".to_owned(), None);
    let first = meanwhile.now();
    after(&mut meanwhile, &["a", "b"]);
    let second = meanwhile.now();
    after(&mut meanwhile, &["b", "c"]);
    let third = meanwhile.now();
    let told = |id| [first, second, third].map(|moment| meanwhile.has_changed(id, moment));
    assert_eq!(told("a"), [true, false, false]);
    assert_eq!(told("b"), [true, true, false]);
    assert_eq!(told("c"), [true, true, false]);
    assert_eq!(told("d"), [false, false, false]);
}

#[test]
fn what_has_been_forgotten_counts_as_changed() {
    let mut meanwhile = Meanwhile::since("0".to_owned(), None);
    let first = meanwhile.now();
    let many: Vec<String> = (0..=MOST_DOCUMENTS).map(|n| n.to_string()).collect();
    meanwhile.note(&many).unwrap();
    meanwhile.turn();
    let second = meanwhile.now();
    after(&mut meanwhile, &["a"]);
    assert!(meanwhile.has_changed("never", first));
    assert!(meanwhile.has_changed("a", second));
    assert!(!meanwhile.has_changed("never", second));
    assert!(meanwhile.changed.len() < MOST_DOCUMENTS);
}

#[test]
fn what_is_remembered_is_counted() {
    let budget = Arc::new(Budget::new(1 << 20, 100));
    let changed: Vec<String> = (0..40_000).map(|n| n.to_string()).collect();
    let one = || Meanwhile::since("0".to_owned(), Some(Share::of(&budget)));
    let mut first = one();
    first.note(&changed).unwrap();
    assert_eq!(one().note(&changed), Err(CouchError::NoRoom));
    drop(first);
    one().note(&changed).unwrap();
}
