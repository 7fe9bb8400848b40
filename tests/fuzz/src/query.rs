//! The parameters of views, of `_changes` and of documents: what is read is written, and read again as the same.

use couchwarden::json::Value;
use couchwarden::route::Route;
use couchwarden::route::query::ViewQuery;

/// The input is what stands behind `?`.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = |path: &str| Route::parse("GET", &format!("{path}?{text}"), None).ok();
    if let Some(route) = parsed("/db/_design/d/_view/v") {
        if let Ok(view) = route.query.view() {
            let again = rendered(&route, view.pairs());
            // Which parameters were given is remembered, and the names of those that have their default are not.
            let again = again.query.view().expect("what was written is read");
            assert_eq!(again.pairs(), view.pairs());
        }
        body(&route);
    }
    if let Some(route) = parsed("/db/_changes")
        && let Ok(changes) = route.query.changes()
    {
        let again = rendered(&route, changes.pairs());
        assert_eq!(again.query.changes().as_ref(), Ok(&changes));
        assert_eq!(again.is_feed(), route.is_feed());
    }
    if let Some(route) = parsed("/db/doc")
        && let Ok(document) = route.query.document()
    {
        let again = rendered(&route, document.pairs());
        assert_eq!(again.query.document(), Ok(document));
    }
}

/// The route with these parameters, written and read.
fn rendered(route: &Route, query: couchwarden::route::Query) -> Route {
    let route = Route {
        query,
        ..route.clone()
    };
    let text = route.render();
    let again = Route::parse("GET", &text, None).expect("what was written is read");
    assert_eq!(again, route, "{text}");
    again
}

/// The same parameters as members of a body: what is JSON there means the same, or is refused.
fn body(route: &Route) {
    let mut spelt = ViewQuery::default();
    for (name, value) in route.query.iter() {
        if Value::parse(value.as_bytes()).is_err() {
            return;
        }
        if spelt.absorb(name, value).is_err() {
            return;
        }
    }
    if let Ok(view) = route.query.view() {
        assert_eq!(view.pairs(), spelt.pairs());
    }
}
