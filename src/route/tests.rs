//! Whole request lines: refusals, spellings, and the properties that hold for all of them.

use proptest::prelude::*;

use super::*;

fn get(target: &str) -> Result<Route, RouteError> {
    Route::parse("GET", target, None)
}

fn put(target: &str) -> Result<Route, RouteError> {
    Route::parse("PUT", target, None)
}

/// Two spellings of one thing.
#[track_caller]
fn check_same(left: &str, right: &str) {
    assert!(put(left).is_ok(), "{left} is refused: {:?}", put(left));
    assert_eq!(put(left), put(right), "{left} and {right} differ");
}

#[track_caller]
fn check_ambiguous(target: &str) {
    assert!(
        matches!(put(target), Err(RouteError::Ambiguous(_))),
        "PUT {target} is {:?}",
        put(target)
    );
    assert!(
        matches!(get(target), Err(RouteError::Ambiguous(_))),
        "GET {target} is {:?}",
        get(target)
    );
}

#[track_caller]
fn check_unknown(target: &str) {
    assert_eq!(get(target), Err(RouteError::UnknownEndpoint), "{target}");
}

#[test]
fn spellings_with_one_meaning_are_one_route() {
    check_same("/db", "/db/");
    check_same("/a%2Fb", "/a%2fb");
    check_same("/db/a+b", "/db/a%20b");
    check_same("/db/%61", "/db/a");
    check_same("/db/_design%2Fx", "/db/_design/x");
    check_same("/db/_design%2fx", "/db/_design/x");
    check_same("/db/_design%2Fx%2Fy", "/db/_design/x%2Fy");
    check_same("/db/_design%2Fx/file", "/db/_design/x/file");
    check_same("/db/_local%2Fx", "/db/_local/x");
    check_same("/db/doc/a%2Fb", "/db/doc/a/b");
    check_same("/db/doc?rev=1-a", "/db/doc?&rev=1-a&");
    check_same("/db/doc?w=2&new_edits=false", "/db/doc?w=2;new_edits=false");
    check_same("/db/\u{e9}", "/db/%C3%A9");
}

#[test]
fn handlers_that_join_segments_are_followed() {
    let same = |left: &str, right: &str| {
        assert!(get(left).is_ok(), "{left} is refused: {:?}", get(left));
        assert_eq!(get(left), get(right), "{left} and {right} differ");
    };
    same(
        "/_scheduler/docs/a/_replicator/x",
        "/_scheduler/docs/a%2F_replicator/x",
    );
    same(
        "/_scheduler/docs/a/b/_replicator",
        "/_scheduler/docs/a%2Fb%2F_replicator",
    );
    same("/db/_design/d/_show/s/a/b", "/db/_design/d/_show/s/a%2Fb");
    same(
        "/db/_design/d/_update/u/_design%2Fx",
        "/db/_design/d/_update/u/_design/x",
    );
    same("/db/_design/d/_rewrite/a/", "/db/_design/d/_rewrite/a");
    same("/db/_design/d/_update/u/", "/db/_design/d/_update/u");
    check_ambiguous("/_scheduler/docs/db");
    check_ambiguous("/_scheduler/docs/_replicator/a/b");
    // These two are not the same: the first is redirected to the second.
    assert_eq!(get("/_utils").unwrap().render(), "/_utils");
    assert_eq!(get("/_utils/").unwrap().render(), "/_utils/");
    check_ambiguous("/_utils/a%2Fb");
    let delete = |target| Route::parse("DELETE", target, None).unwrap();
    let index = delete("/db/_index/d/json/i");
    assert_eq!(index, delete("/db/_index/_design/d/json/i"));
    assert_eq!(index, delete("/db/_index/_design%2Fd/json/i"));
    let shard = get("/db/_shards/_design%2Fx").unwrap();
    assert_eq!(shard.render(), "/db/_shards/_design%2Fx");
}

#[test]
fn a_plus_in_a_path_is_a_space() {
    assert_eq!(get("/db/a+b").unwrap().render(), "/db/a%20b");
    assert_eq!(get("/db/a%2Bb").unwrap().render(), "/db/a%2Bb");
    assert_eq!(put("/a+b"), Err(RouteError::IllegalDatabase));
    assert_eq!(get("/a%2Bb").unwrap().render(), "/a%2Bb");
}

#[test]
fn what_two_readers_read_differently_is_refused() {
    for target in [
        "//db",
        "/db//doc",
        "/db/doc/",
        "/db//",
        "/db/./doc",
        "/db/../x",
        "/db/%2e%2E",
        "/db/.",
        "/db/%2e",
        "/db/a%00b",
        "/db/_design/a%0Ab",
        "/db/_local/%C2%85",
        "/db/%ff",
        "/db/%",
        "/db/%2",
        "/db/%zz",
        "/db/a\\b",
        "/db/a b",
        "/db/a#b",
        "/db/doc?a=%zz",
        "/db/doc?a=%00",
        "/db/doc?a=%ff",
        "db",
        "",
        "*",
        "?",
        "/db/doc//",
        "/db/doc/a//b",
        "/db/doc/a%2F%2Fb",
        "/db/doc/a/../b",
        "/db/doc/a%2F..%2Fb",
        "/db/_design%2Fx/_view/v",
        "/db/_design%2F",
        "/db/_local%2F",
        "/db/_design/x/",
    ] {
        check_ambiguous(target);
    }
}

#[test]
fn a_reserved_word_in_disguise_is_refused() {
    for target in [
        "/%5Fall_dbs",
        "/_all%5Fdbs",
        "/%5Fusers",
        "/db/%5Fall_docs",
        "/db/_all%5Fdocs",
        "/db/_%61ll_docs",
        "/db/%5Fdesign/x",
        "/db/%5Fdesign%2Fx",
        "/db/_d%65sign/x",
        "/db/_d%65sign%2Fx",
        "/db/%5Flocal%2Fx",
        "/db/_design/x/%5Fview/v",
        "/db/_design/x/_vie%77/v",
        "/_node/%5Flocal/_stats",
        "/_node/_local/%5Fconfig",
        "/_node/_local/_config/%5Freload",
        "/db/_partition/p/%5Fall_docs",
        "/db/_index/%5Fbulk_delete",
        "/db/_design/x/_show/s/%5Fdesign/y",
    ] {
        check_ambiguous(target);
    }
}

#[test]
fn a_name_like_a_word_that_could_not_be_written_back_is_refused() {
    for target in [
        "/_node/_x@host/_stats",
        "/_node/_local@host/_stats",
        "/_node/_local/_config/_a:b",
        "/_node/_local/_config/_a:b/key",
    ] {
        check_ambiguous(target);
    }
    assert!(get("/_node/_x-1/_stats").is_ok());
    assert!(get("/_node/x@host/_stats").is_ok());
}

#[test]
fn an_unknown_word_is_refused() {
    for target in [
        "/_unknown",
        "/_",
        "/_up/x",
        "/_all_dbs/x",
        "/_up/",
        "/db/_unknown",
        "/db/_changes/x",
        "/db/_find/x",
        "/db/_all_docs/x",
        "/db/_",
        "/db/_design",
        "/_node",
        "/_node/_local/db/doc",
        "/_node/_local/_all_dbs",
        "/_node/_local/_config/a/b/c",
        "/_dbs/_x",
        "/_reshard/x",
        "/_scheduler",
        "/_scheduler/x",
        "/db/_partition/p/x",
        "/db/_partition/p/_all_docs/queries",
        "/_warden",
        "/_warden/x",
        "/session/x",
        "/node/a/b",
        "/db/_design/x/_view",
        "/db/_design/x/_view/v/x",
        "/db/_design/x/_info/x",
    ] {
        check_unknown(target);
    }
}

#[test]
fn what_couchdb_refuses_is_refused_in_its_words() {
    for target in [
        "/db/_nope",
        "/db/_nope/att",
        "/db/_design",
        "/db/_bad:x",
        "/db/_all_docs_",
    ] {
        assert_eq!(put(target), Err(RouteError::IllegalDocument), "{target}");
        assert_eq!(get(target), Err(RouteError::UnknownEndpoint), "{target}");
    }
    let copy = |to| Route::parse("COPY", "/db/doc", Some(to));
    assert_eq!(copy("_nope"), Err(RouteError::IllegalDocument));
    assert_eq!(
        Route::parse("COPY", "/db/_nope", Some("x")),
        Err(RouteError::IllegalDocument)
    );
    for target in ["/db/_local", "/db/_local/a/b", "/db/_partition"] {
        assert!(matches!(put(target), Err(RouteError::Bad(_))), "{target}");
        assert!(matches!(get(target), Err(RouteError::Bad(_))), "{target}");
    }
    for target in [
        "/db/_partition/_p",
        "/db/_partition/_all_docs",
        "/db/_partition/_p/_all_docs",
    ] {
        assert_eq!(get(target), Err(RouteError::IllegalPartition), "{target}");
    }
    for (target, word) in [
        ("/db/_design/x/_show/", "show_error"),
        ("/db/_design/x/_show", "show_error"),
        ("/db/_design/x/_update/", "update_error"),
        ("/db/_design/x/_list", "list_error"),
        ("/db/_design/x/_list/l", "list_error"),
        ("/db/_design/x/_list/l/d/v/x", "list_error"),
    ] {
        assert_eq!(get(target), Err(RouteError::NoFunction(word)), "{target}");
    }
    // Whether there is one is for CouchDB to say: it refuses to store it, and else misses it.
    assert_eq!(get("/db/doc/_x").unwrap().render(), "/db/doc/_x");
}

#[test]
fn an_unknown_word_of_a_design_document_is_refused() {
    check_unknown("/db/_design/x/_foo");
    check_unknown("/db/_design/x/_foo/bar");
    assert_eq!(
        get("/db/_design/x/file").unwrap().kind(),
        "/{db}/_design/{ddoc}/{attname}"
    );
}

#[test]
fn a_database_must_have_a_legal_name() {
    for target in [
        "/Foo",
        "/1a",
        "/a.b",
        "/a.couch",
        "/a.1234567890",
        "/a%20b",
        "/%C3%A9",
        "/a%2Bb%3F",
    ] {
        assert_eq!(put(target), Err(RouteError::IllegalDatabase), "{target}");
        assert_eq!(get(target), Err(RouteError::NoDatabase), "{target}");
        let below = format!("{target}/doc");
        assert_eq!(put(&below), Err(RouteError::NoDatabase), "{below}");
    }
    for target in [
        "/a",
        "/a_$()-9",
        "/x%2F_users",
        "/_users",
        "/_replicator",
        "/_global_changes",
    ] {
        assert_eq!(get(target).unwrap().kind(), "/{db}", "{target}");
    }
}

#[test]
fn a_method_is_exact_and_belongs_to_the_call() {
    let method = |method, target| Route::parse(method, target, None).unwrap_err();
    assert_eq!(method("get", "/"), RouteError::Method("GET,HEAD"));
    assert_eq!(
        method("PATCH", "/db"),
        RouteError::Method("DELETE,GET,HEAD,POST,PUT")
    );
    assert_eq!(method("GET", "/db/_find"), RouteError::Method("POST"));
    assert_eq!(method("HEAD", "/db/_bulk_docs"), RouteError::Method("POST"));
    assert_eq!(
        method("COPY", "/db/doc/att"),
        RouteError::Method("DELETE,GET,HEAD,PUT")
    );
    assert_eq!(method("POST", "/node"), RouteError::Method("GET,HEAD"));
    assert_eq!(
        method("HEAD", "/_warden/provisioning"),
        RouteError::Method("POST")
    );
    // CouchDB treats HEAD as GET, also where its list does not say so.
    assert_eq!(
        Route::parse("HEAD", "/_uuids", None).unwrap().method,
        Method::Head
    );
}

#[test]
fn a_callback_is_refused() {
    for target in [
        "/db/_all_docs?callback=x",
        "/db/doc?c%61llback=x",
        "/db/_design/x/_show/s?callback",
    ] {
        assert!(
            matches!(get(target), Err(RouteError::Ambiguous(_))),
            "{target}"
        );
    }
}

#[test]
fn a_repeated_parameter_is_refused() {
    for target in [
        "/db/_all_docs?limit=1&limit=1",
        "/db/_all_docs?startkey=1&start_key=2",
        "/db/_all_docs?endkey_docid=1;end_key_doc_id=2",
        "/db/_changes?since=1&Since=2",
        "/db/_changes?since=1&last-event-id=2",
        "/db/_changes?Include_Docs=true&include_docs=false",
        "/db/_design/x/_list/l/v?startkey=1&start_key=2",
        "/db/doc?rev=1-a&r%65v=2-b",
        "/node?single-level&single-level",
    ] {
        assert!(
            matches!(get(target), Err(RouteError::Ambiguous(_))),
            "{target}"
        );
    }
    // Where CouchDB does not ignore case, these are two.
    assert!(get("/db/doc?rev=1-a&Rev=2-b").is_ok());
}

#[test]
fn feeds_are_known() {
    for (target, feed) in [
        ("/db/_changes", false),
        ("/db/_changes?feed=normal", false),
        ("/db/_changes?feed=nonsense", false),
        ("/db/_changes?FEED=continuous", true),
        ("/db/_changes?feed=live", true),
        ("/db/_changes?feed=longpoll", true),
        ("/_db_updates?feed=eventsource", true),
        ("/db/_all_docs?feed=continuous", false),
    ] {
        assert_eq!(get(target).unwrap().is_feed(), feed, "{target}");
    }
}

/// What CouchDB makes of a path: `string:tokens(Path, "/")`, each unquoted once (chttpd.erl).
fn tokens_of_couchdb(path: &str) -> Vec<Vec<u8>> {
    let hex = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (bytes, mut out, mut at) = (part.as_bytes(), Vec::new(), 0);
            while at < bytes.len() {
                match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
                    (b'%', Some(high), Some(low)) => {
                        out.push(u8::try_from(high * 16 + low).unwrap());
                        at += 2;
                    }
                    (b'+', ..) => out.push(b' '),
                    (other, ..) => out.push(other),
                }
                at += 1;
            }
            out
        })
        .collect()
}

/// The tokens, with one spelling for what CouchDB's handlers treat alike: the slash of `_design/x` and
/// `_local/x`, the slashes in the names of attachments, in the documents of show and update functions
/// and in replicator databases, and the optional `_design` of an index.
fn meaning(path: &str) -> Vec<String> {
    let tokens = tokens_of_couchdb(path).into_iter();
    let mut tokens: Vec<String> = tokens
        .map(|token| String::from_utf8(token).unwrap())
        .collect();
    let word = |tokens: &[String], at: usize| tokens.get(at).cloned().unwrap_or_default();
    let join = |tokens: &mut Vec<String>, from: usize| {
        if tokens.len() > from {
            let joined = tokens.split_off(from).join("/");
            tokens.push(joined);
        }
    };
    if word(&tokens, 0) == "_scheduler" && word(&tokens, 1) == "docs" {
        join(&mut tokens, 2);
        return tokens;
    }
    if word(&tokens, 0).starts_with('_') && DbName::parse(&tokens[0]).is_err() {
        return tokens;
    }
    for prefix in ["_design", "_local"] {
        if let Some(name) = word(&tokens, 1)
            .strip_prefix(prefix)
            .and_then(|name| name.strip_prefix('/'))
        {
            tokens.splice(1..2, [prefix.to_owned(), name.to_owned()]);
        }
    }
    match word(&tokens, 1).as_str() {
        "_design" if matches!(word(&tokens, 3).as_str(), "_show" | "_update") => {
            join(&mut tokens, 5)
        }
        "_design" if !word(&tokens, 3).starts_with('_') => join(&mut tokens, 3),
        "_index" if word(&tokens, 2) == "_design" => drop(tokens.remove(2)),
        "_index" => {
            if let Some(name) = word(&tokens, 2).strip_prefix("_design/") {
                tokens[2] = name.to_owned();
            }
        }
        id if !id.starts_with('_') && word(&tokens, 0) != "node" => join(&mut tokens, 2),
        _ => {}
    }
    tokens
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_%+/.A-Z0-9 \u{e9}\u{1F600}~&=?;#\"-]{1,8}",
        "[a-z]{1,3}",
        "\\PC{1,4}"
    ]
    .prop_filter("a name", |name| {
        Text::parse(name).is_ok() && !name.is_empty()
    })
}

/// Any segment, in a spelling that may be legal or not.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "db",
        "a%2Fb",
        "_users",
        "_all_docs",
        "_design",
        "_design%2Fd",
        "_Design%2fd",
        "_local",
        "_local%2Fl",
        "_view",
        "_show",
        "_update",
        "_list",
        "_rewrite",
        "queries",
        "_index",
        "json",
        "_bulk_delete",
        "_partition",
        "_find",
        "_node",
        "_config",
        "_stats",
        "_reload",
        "_scheduler",
        "docs",
        "jobs",
        "_replicator",
        "_reshard",
        "state",
        "_shards",
        "_compact",
        "_utils",
        "_dbs",
        "%5Fdesign",
        "_design%2f",
        "",
        ".",
        "..",
        "%2e%2e",
        "a+b",
        "a%2Bb",
        "node",
        "session",
        "_search",
        "_info",
        "_changes",
        "favicon.ico",
        "_session",
    ]);
    prop_oneof![
        5 => words.prop_map(str::to_owned),
        2 => "[a-z%_+0-9A-F.]{0,6}",
        1 => names().prop_map(|name| escape_at_random(&name)),
    ]
}

fn escape_at_random(name: &str) -> String {
    let escape = |(at, byte): (usize, u8)| {
        if (at + usize::from(byte)).is_multiple_of(3) || !byte.is_ascii_alphanumeric() {
            format!("%{byte:02x}")
        } else {
            char::from(byte).to_string()
        }
    };
    name.bytes().enumerate().map(escape).collect()
}

/// Targets that are mostly understood: real paths with random names in their places.
fn likely() -> impl Strategy<Value = String> {
    let corpus = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/corpus/endpoints.txt"
    ));
    let paths: Vec<&str> = corpus
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, p)| p)
        .collect();
    let name = || names().prop_map(|name| escape_at_random(&name));
    (prop::sample::select(paths), name(), name(), name()).prop_map(|(path, one, two, three)| {
        let path = path
            .replace("{db}", "db")
            .replace("{replicator_db}", "a%2F_replicator");
        let mut names = [one, two, three].into_iter().cycle();
        let fill = |part: &str| {
            if part.starts_with('{') {
                names.next().unwrap()
            } else {
                part.to_owned()
            }
        };
        path.split('/').map(fill).collect::<Vec<_>>().join("/")
    })
}

fn targets() -> impl Strategy<Value = String> {
    prop_oneof![random_targets(), likely()]
}

fn random_targets() -> impl Strategy<Value = String> {
    let query = prop::collection::vec(
        ("[a-zA-Z_-]{1,8}|start_?key|limit|since", "[ -~]{0,6}"),
        0..4,
    );
    (prop::collection::vec(pieces(), 0..7), query, any::<bool>()).prop_map(
        |(path, query, slash)| {
            let query: Vec<String> = query
                .into_iter()
                .map(|(name, value)| format!("{name}={}", escape_at_random(&value)))
                .collect();
            let slash = if slash { "/" } else { "" };
            format!("/{}{slash}?{}", path.join("/"), query.join("&"))
        },
    )
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "COPY"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn nothing_panics(method in ".{0,6}", target in "\\PC{0,40}", destination in ".{0,20}") {
        let _ = Route::parse(&method, &target, Some(&destination));
        let _ = Route::parse("COPY", &format!("/db/{target}"), Some(&destination));
        let _ = Route::parse("GET", &format!("/db/{target}"), None);
    }

    /// What is rendered is read as the same route, and CouchDB sees the tokens that it saw in the
    /// original.
    #[test]
    fn couchdb_reads_what_was_judged(
        method in methods(),
        target in targets(),
        destination in prop_oneof![pieces(), names().prop_map(|name| escape_at_random(&name))],
    ) {
        let Ok(route) = Route::parse(method, &target, Some(&destination)) else { return Ok(()) };
        let rendered = route.render();
        let again = Route::parse(method, &rendered, route.destination().as_deref());
        prop_assert_eq!(Ok(&route), again.as_ref(), "{} renders as {}", target, rendered);
        prop_assert_eq!(again.unwrap().render(), rendered.as_str());

        let path = |target: &str| target.split('?').next().unwrap().to_owned();
        let (before, after) = (meaning(&path(&target)), meaning(&path(&rendered)));
        prop_assert_eq!(before, after, "{} renders as {}", target, rendered);
        if let Some(rendered) = route.destination() {
            let unquoted = |text: &str| tokens_of_couchdb(text).join(&b'/');
            prop_assert_eq!(unquoted(&destination), unquoted(&rendered));
        }
        prop_assert!(rendered.bytes().all(|b| path::is_unreserved(b) || b"/%?&=".contains(&b)));
    }

    /// Another spelling of the same tokens is the same route or refused.
    #[test]
    fn two_spellings_agree(method in methods(), target in targets(), at in any::<prop::sample::Index>()) {
        let Ok(route) = Route::parse(method, &target, Some("copy")) else { return Ok(()) };
        let rendered = route.render();
        let bytes = rendered.as_bytes();
        let escaped = |at: usize| bytes[at.saturating_sub(2)..at].contains(&b'%');
        let letters = (0..bytes.len()).filter(|&at| bytes[at].is_ascii_alphanumeric() && !escaped(at));
        let letters: Vec<usize> = letters.collect();
        if letters.is_empty() { return Ok(()); }
        let at = letters[at.index(letters.len())];
        let mut other = rendered.clone();
        other.replace_range(at..=at, &format!("%{:02x}", bytes[at]));
        match Route::parse(method, &other, Some("copy")) {
            Ok(other) => prop_assert_eq!(route, other),
            Err(error) => prop_assert!(matches!(error, RouteError::Ambiguous(_)), "{} is {:?}", other, error),
        }
    }
}
