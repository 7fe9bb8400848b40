//! The pure parts of the filter: windows, projections, sums, pages.

use crate::filter::project::Projection;
use crate::filter::sight::Seen;
use crate::filter::window::Window;
use crate::json::Value;

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

#[test]
fn skip_and_limit_count_what_is_visible() {
    let mut window = Window {
        skip: 1,
        left: Some(1),
    };
    assert!(!window.take(Seen::Hidden));
    assert!(
        !window.take(Seen::Shown),
        "the first visible row is skipped"
    );
    assert!(!window.is_full());
    assert!(window.take(Seen::Shown));
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
