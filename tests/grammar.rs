//! CouchDB's list of endpoints against the grammar: each parses, and the golden table says how.
//!
//! `tests/corpus/endpoints.txt` is the list; `tests/golden/routes.txt` has, for each line of it with
//! sample names filled in, the template, the parsed route and its rendering.
//! `UPDATE_GOLDEN=1 cargo test --test grammar` writes the table anew; review the difference.
//!
//! Invariant: no documented endpoint is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use couchwarden::route::{Method, Route, RouteError};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Method and path of each endpoint in the corpus; `ANY` is each method of a rewrite.
fn endpoints(corpus: &str) -> Vec<(&str, &str)> {
    let lines = corpus
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(' ').unwrap());
    pairs
        .flat_map(|(method, path)| match method {
            "ANY" => ["GET", "HEAD", "POST", "PUT", "DELETE"]
                .map(|method| (method, path))
                .to_vec(),
            _ => vec![(method, path)],
        })
        .collect()
}

/// The path with a sample for each parameter, in spellings that make the parser work.
fn sample(path: &str) -> String {
    let samples = [
        ("{db}", "a%2fdb"),
        ("{replicator_db}", "x%2F_replicator"),
        ("{docid}", "doc+%C3%A9"),
        ("{ddoc}", "dd"),
        ("{other-ddoc}", "other"),
        ("{design_doc}", "_design%2Fdd"),
        ("{attname}", "a%2Fb.txt"),
        ("{view}", "by-name"),
        ("{index}", "an%20index"),
        ("{func}", "function"),
        ("{partition_id}", "p"),
        ("{path}", "one/two%2Fthree"),
        ("{name}", "idx"),
        ("{jobid}", "job@x"),
        ("{node-name}", "couchdb@127.0.0.1"),
        ("{section}", "section"),
        ("{key}", "key"),
        ("{entry}", "entry"),
        ("{file}", "file.js"),
        ("{id}", "number%3A+1"),
    ];
    let path = path.replace("_design/{design_doc}", "_design/dd");
    let filled = samples
        .iter()
        .fold(path, |path, (name, value)| path.replace(name, value));
    assert!(!filled.contains('{'), "no sample for {filled}");
    filled
}

fn destination(method: &str, path: &str) -> Option<&'static str> {
    let local = path.contains("/_local/");
    (method == "COPY").then_some(if local {
        "_local/copy?rev=0-1"
    } else {
        "_design%2fcopy?rev=1-a"
    })
}

fn table(corpus: &str) -> String {
    let mut table = String::new();
    for (method, path) in endpoints(corpus) {
        let target = sample(path);
        let route = Route::parse(method, &target, destination(method, path));
        let route = route.unwrap_or_else(|error| panic!("{method} {target} is refused: {error}"));
        writeln!(table, "{method} {path}\n    kind   {}", route.kind()).unwrap();
        writeln!(
            table,
            "    call   {:?}\n    render {}",
            route.call,
            route.render()
        )
        .unwrap();
        if let Some(destination) = route.destination() {
            writeln!(table, "    copy   {destination}").unwrap();
        }
    }
    table
}

/// Compares a text with a golden file, and says where they part.
#[expect(
    clippy::disallowed_methods,
    reason = "the switch that rewrites the golden file"
)]
fn check_golden(name: &str, found: &str) {
    let file = file(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    let (mut ours, mut theirs) = (found.lines(), wanted.lines());
    for number in 1.. {
        match (ours.next(), theirs.next()) {
            (None, None) => return,
            (found, wanted) if found == wanted => {}
            (found, wanted) => panic!(
                "tests/{name}:{number} differs\n  wanted: {}\n  found:  {}\n\
                 run with UPDATE_GOLDEN=1 to write the file anew, and review the difference",
                wanted.unwrap_or("(end of file)"),
                found.unwrap_or("(end of file)"),
            ),
        }
    }
}

fn corpus() -> String {
    std::fs::read_to_string(file("corpus/endpoints.txt")).unwrap()
}

#[test]
fn every_endpoint_parses_as_the_golden_table_says() {
    check_golden("golden/routes.txt", &table(&corpus()));
}

#[test]
fn the_corpus_is_the_whole_documentation() {
    let corpus = corpus();
    let documented = corpus.split("# Not documented").next().unwrap();
    let pairs: Vec<&str> = documented
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let pairs: Vec<&&str> = pairs.iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(pairs.len(), 139);
    let mut paths: Vec<&str> = pairs
        .iter()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 93);
}

/// A method that the corpus does not have for a path is refused as such, never as another endpoint.
#[test]
fn every_other_method_is_refused_with_a_list() {
    let corpus = corpus();
    for (method, path) in endpoints(&corpus) {
        let target = sample(path);
        for other in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "COPY", "PATCH", "OPTIONS", "get",
        ] {
            match Route::parse(other, &target, destination(other, path)) {
                Ok(route) => assert_eq!(Method::parse(other), Some(route.method)),
                Err(RouteError::Method(allowed)) => {
                    let named = if method == "HEAD" { "GET" } else { method };
                    assert!(
                        allowed.contains(named),
                        "{allowed} lacks {method} of {path}"
                    );
                }
                Err(error) => panic!("{other} {target}: {error}"),
            }
        }
    }
}
