//! Whole request lines: what was judged is what CouchDB reads, and another spelling is the same or refused.

use couchwarden::route::{Route, RouteError};

use super::model::place;

/// The input is `METHOD target`, and on a second line the header `Destination`.
pub fn route(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (line, destination) = match text.split_once('\n') {
        Some((line, destination)) => (line, Some(destination)),
        None => (text, None),
    };
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let Ok(route) = Route::parse(method, target, destination) else {
        return;
    };
    let rendered = route.render();
    let copied = route.destination();
    let again = Route::parse(method, &rendered, copied.as_deref());
    assert_eq!(again.as_ref(), Ok(&route), "{target} renders as {rendered}");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%?&=".contains(&byte);
    assert!(rendered.bytes().all(plain), "{rendered}");
    assert_eq!(meaning(target), meaning(&rendered), "{rendered}");
    if let (Some(copied), Some(destination)) = (&copied, destination) {
        assert_eq!(meaning(copied), meaning(destination));
    }
    respelt(method, &route, &rendered, copied.as_deref(), place(data));
}

/// What CouchDB reads: `string:tokens(Path, "/")`, each unquoted once (`chttpd:handle_request_int`). Where a slash
/// within a name and one between names are the same to its handlers differs, so all are the same here.
fn meaning(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let tokens = path.split('/').filter(|token| !token.is_empty());
    let mut tokens: Vec<String> = tokens.map(unquoted).collect();
    // An index is named by its design document with `_design/` or without (`mango_httpd:handle_index_req`).
    match tokens.as_mut_slice() {
        [_, index, ddoc, _, _] if index == "_index" => {
            if let Some(name) = ddoc.strip_prefix("_design/") {
                *ddoc = name.to_owned();
            }
        }
        [_, index, design, _, _, _] if index == "_index" && design == "_design" => {
            tokens.remove(2);
        }
        _ => {}
    }
    tokens.join("/")
}

/// `mochiweb_util:unquote`, for what was accepted: every escape is whole.
fn unquoted(token: &str) -> String {
    let mut pieces = token.split('%');
    let spaced = |text: &str| text.replace('+', " ").into_bytes();
    let mut bytes = spaced(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).expect("a whole escape");
        bytes.push(u8::from_str_radix(digits, 16).expect("a whole escape"));
        bytes.extend(spaced(rest));
    }
    String::from_utf8(bytes).expect("what was accepted is UTF-8")
}

/// One letter written as an escape: the same route, or refused as ambiguous.
fn respelt(method: &str, route: &Route, rendered: &str, copied: Option<&str>, place: usize) {
    let escaped = |at: usize| {
        rendered
            .get(at.saturating_sub(2)..at)
            .is_some_and(|before| before.contains('%'))
    };
    let letters: Vec<(usize, char)> = rendered
        .char_indices()
        .filter(|(at, letter)| letter.is_ascii_alphanumeric() && !escaped(*at))
        .collect();
    let Some((at, letter)) = letters.get(place % letters.len().max(1)) else {
        return;
    };
    let mut other = rendered.to_owned();
    other.replace_range(at..=at, &format!("%{:02x}", u32::from(*letter)));
    match Route::parse(method, &other, copied) {
        Ok(other) => assert_eq!(&other, route),
        Err(error) => assert!(
            matches!(error, RouteError::Ambiguous(_)),
            "{other} is {error:?}"
        ),
    }
}
