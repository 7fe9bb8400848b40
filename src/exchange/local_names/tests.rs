//! Names and ranges of one caller's checkpoints.

use std::sync::Arc;

use super::*;
use crate::caller::{User, UserName};
use crate::route::Route;
use crate::secret::Secret;

fn space(name: &str) -> Space {
    let key = Secret::new("0123456789abcdef".to_owned()).derive("checkpoints");
    let user = User::new(UserName::parse(name).unwrap(), Vec::new());
    Locals::new(key)
        .space(&Caller::User(Arc::new(user)))
        .unwrap()
}

fn query(raw: &str) -> ViewQuery {
    let target = format!("/db/_local_docs?{raw}");
    let route = Route::parse("GET", &target, None).unwrap();
    route.query.view().unwrap()
}

/// The range inside ann's space, her prefix written as `~`.
fn narrowed(raw: &str) -> Option<(String, String, bool)> {
    let ann = space("ann");
    let query = ann.narrow(query(raw)).unwrap()?;
    let short = |key: Option<String>| key.unwrap_or_default().replace(&ann.prefix, "~");
    let end = ann.prefix.replace("couchwarden-", "").replace('-', ".");
    let last = |key: String| key.replace(&format!("couchwarden-{end}"), "~end");
    Some((
        last(short(query.startkey)),
        last(short(query.endkey)),
        query.inclusive_end,
    ))
}

#[test]
fn two_callers_share_no_name() {
    let (ann, bob) = (space("ann"), space("bob"));
    let id = LocalId::parse("point").unwrap();
    let private = |space: &Space| space.private(&id).unwrap().as_str().to_owned();
    assert_ne!(private(&ann), private(&bob));
    let full = format!("_local/{}", private(&ann));
    assert_eq!(ann.public(&full).as_deref(), Some("_local/point"));
    assert_eq!(bob.public(&full), None);
    assert_eq!(ann.public("_local/point"), None);
}

#[test]
fn a_range_stays_inside_the_space() {
    let found = |start: &str, end: &str, inclusive| {
        Some((format!("\"{start}\""), format!("\"{end}\""), inclusive))
    };
    let (first, last) = ("_local/~", "_local/~end");
    assert_eq!(narrowed(""), found(first, last, true));
    assert_eq!(narrowed("descending=true"), found(last, first, true));
    assert_eq!(
        narrowed("startkey=\"_local/a\"&endkey=\"_local/b\"&inclusive_end=false"),
        found("_local/~a", "_local/~b", false)
    );
    assert_eq!(
        narrowed("startkey=\"\"&endkey=\"z\"&inclusive_end=false"),
        found(first, last, true)
    );
    assert_eq!(
        narrowed("descending=true&startkey=\"_local/b\""),
        found("_local/~b", first, true)
    );
    assert_eq!(narrowed("startkey=\"a\""), None);
    assert_eq!(narrowed("endkey=\"A\""), None);
    assert_eq!(narrowed("key=\"a\""), None);
}

#[test]
fn a_key_that_is_no_text_is_refused() {
    assert!(space("ann").narrow(query("startkey=1")).is_err());
}
