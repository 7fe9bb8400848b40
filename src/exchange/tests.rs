//! The pure parts of the filter: windows, projections, sums, pages.

use std::sync::Arc;

use super::read::find::Projection;
use super::redact::RowOutcome;
use super::revisions::{Lookup, RevisionCache, RevisionRef};
use super::rows::limit::Window;
use crate::budget::{Budget, Counted};
use crate::caller::{Caller, User, UserName};
use crate::json::Value;
use crate::policy::{Plan, Policy, PolicySettings, Reads, Verdict, ViewLens};
use crate::route::Route;

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

#[test]
fn skip_and_limit_count_what_is_visible() {
    let mut window = Window {
        skip: 1,
        left: Some(1),
    };
    assert!(!window.take(RowOutcome::Hidden));
    assert!(
        !window.take(RowOutcome::Shown),
        "the first visible row is skipped"
    );
    assert!(!window.is_full());
    assert!(window.take(RowOutcome::Shown));
    assert!(window.is_full());
}

#[test]
fn a_projection_keeps_the_nesting_of_what_it_names() {
    let cases = [
        (r#"["a"]"#, r#"{"a":1}"#),
        (r#"["b.c"]"#, r#"{"b":{"c":2}}"#),
        (r#"["b.c","b.d","none"]"#, r#"{"b":{"c":2,"d":3}}"#),
        (r#"["e\\.f"]"#, r#"{"e.f":4}"#),
    ];
    let document = json(r#"{"a":1,"b":{"c":2,"d":3,"x":9},"e.f":4,"z":0}"#);
    for (fields, shown) in cases {
        let projection = Projection::read(&json(fields)).unwrap();
        assert_eq!(projection.apply(&document), json(shown), "{fields}");
    }
}

/// What `walt` sees of the view `v/w`: rows of their own documents.
fn own_rows() -> ViewLens {
    let text = "[[rule]]\nname = 'own'\ndatabases = ['db']\ncallers = { names = ['walt'] }\npermit = ['view:v/w']\ndocuments = { owner = 'walt' }";
    let files = [("db.toml".to_owned(), text.to_owned())];
    let policy = Policy::load(&files, &PolicySettings::default()).unwrap();
    let user = User::new(UserName::parse("walt").unwrap(), Vec::new());
    let route = Route::parse("GET", "/db/_design/v/_view/w", None).unwrap();
    let Verdict::Permit(permit) = policy.decide(&Caller::User(Arc::new(user)), route) else {
        panic!("walt may see the view");
    };
    let Plan::Read(Reads::View(lens)) = permit.plan().clone() else {
        panic!("under a rule")
    };
    *lens
}

#[test]
fn a_document_is_judged_once_for_all_the_rows_that_it_has_emitted() {
    let lens = own_rows();
    let budget = Arc::new(Budget::new(1 << 20, 100));
    let mut cache = RevisionCache::new(&budget);
    let mut judged = Vec::new();
    let mut row_of =
        |id: &str, cache: &mut RevisionCache| match cache.look(RevisionRef::Winner(id.into())) {
            Lookup::Pending | Lookup::Absent => false,
            Lookup::Found(stored) => {
                stored.source(|document| {
                    judged.push(id.to_owned());
                    lens.source(Some(id), Some(document))
                });
                true
            }
        };
    let learn = |cache: &mut RevisionCache| {
        let found = cache
            .next()
            .iter()
            .map(|_| Some(Counted::free(json(r#"{"owner":"walt"}"#))));
        cache.learn(found.collect());
    };
    // Two documents whose rows alternate in one chunk.
    assert!(!row_of("a", &mut cache) && !row_of("b", &mut cache));
    learn(&mut cache);
    for id in ["a", "b", "a", "b"] {
        assert!(row_of(id, &mut cache));
    }
    // The next chunk goes on with the second; the first is not held for ever.
    cache.forget_others();
    assert!(row_of("b", &mut cache) && !row_of("a", &mut cache));
    learn(&mut cache);
    // On the next page it is another time.
    cache.forget();
    assert!(!row_of("b", &mut cache));
    assert_eq!(judged, ["a", "b"]);
}
