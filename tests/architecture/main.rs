//! What keeps the layering: layers, purity, tidiness and the one-door rules, read from the source text.

#![expect(
    clippy::expect_used,
    reason = "a test that can't read the tree has failed"
)]

mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Crate;

/// Layers from the ground up; a module may name only modules of its own or lower layers.
const LAYERS: &[&[&str]] = &[
    &["refusal", "caller", "secret", "mistake"],
    &["shares"],
    &["body", "budget"],
    &["json"],
    &["route"],
    &["policy"],
    &["config", "observe"],
    &["client"],
    &["couch"],
    &["intake"],
    &["identity"],
    &["exchange"],
    &["services", "cors"],
    &["own"],
    &["pipeline"],
    &["server"],
    &["serve"],
    &["cli"],
];

/// Decisions: no IO, no clock, no network.
const PURE: &[&str] = &[
    "route",
    "json",
    "policy",
    "services/node/draft.rs",
    "services/node/merge.rs",
    "services/provision/plan.rs",
    "services/provision/replication.rs",
    "services/ddocs/document.rs",
    "services/ddocs/difference.rs",
    "services/ddocs/script.rs",
    "services/node/rules.rs",
    "services/node/single.rs",
    "services/node/tree.rs",
    "services/node/unmerge.rs",
    "exchange/read/pin.rs",
    "exchange/read/query.rs",
];
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "std::net",
    "std::fs",
    "std::env",
    "SystemTime::now",
    "Instant::now",
];

struct Source {
    /// Relative to `src`, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The module of the first level that the file belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        ["tests.rs", "fake.rs"]
            .iter()
            .any(|name| self.path.ends_with(name))
            || self.path.contains("/tests/")
    }

    /// The lines that are code.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    sources_in(&root())
}

fn sources_in(top: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the entry is there").path();
            if path.ends_with("node_modules") || path.ends_with("target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(top).expect("inside the top");
                let text = fs::read_to_string(&path).expect("the file can be read");
                found.push(Source {
                    path: relative.to_string_lossy().replace('\\', "/"),
                    text,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every module a line reaches for. Grouped imports and re-exports would hide a name, so they come out as
/// `?`, which is in no layer and fails.
fn named_modules(line: &str) -> impl Iterator<Item = String> {
    line.split("crate::").skip(1).map(|rest| {
        let name: String = rest
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect();
        if name.is_empty() {
            "?".to_owned()
        } else {
            name
        }
    })
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_module_names_only_modules_below_it() {
    let mut faults = Vec::new();
    for source in sources() {
        if ["lib.rs", "main.rs"].contains(&source.path.as_str()) || source.is_test() {
            continue;
        }
        let Some(own) = layer(source.module()) else {
            faults.push(format!("{}: not in the list of layers", source.path));
            continue;
        };
        for (at, line) in source.code() {
            for named in named_modules(line) {
                if named == source.module() {
                    continue;
                }
                match layer(&named) {
                    Some(layer) if layer < own => {}
                    Some(_) => faults.push(format!(
                        "{}:{at}: names `{named}`, which is not below it",
                        source.path
                    )),
                    None => faults.push(format!(
                        "{}:{at}: names `{named}`, which is in no layer",
                        source.path
                    )),
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn decisions_do_no_io_and_know_no_clock() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if !PURE.iter().any(|pure| source.path.starts_with(pure)) {
            continue;
        }
        for (at, line) in source.code() {
            for word in IMPURE.iter().filter(|word| line.contains(*word)) {
                faults.push(format!("{}:{at}: `{word}` in a pure module", source.path));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") && source.path != "lib.rs" && !source.is_test() {
            faults.push(format!("{}: does not begin with `//!`", source.path));
        }
        let lines = source.text.lines().count();
        if lines > 600 && !source.is_test() {
            faults.push(format!("{}: {lines} lines", source.path));
        }
        for (at, line) in source.code() {
            for word in ["#[ignore", "should_panic"] {
                if line.contains(word) {
                    faults.push(format!("{}:{at}: `{word}`", source.path));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_map_lists_every_module() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map is there");
    let modules: BTreeSet<String> = sources()
        .iter()
        .map(|source| source.module().to_owned())
        .collect();
    let faults: Vec<String> = modules
        .iter()
        .filter(|module| !["lib", "main"].contains(&module.as_str()))
        .filter(|module| !map.contains(&format!("| `{module}")))
        .map(|module| format!("ARCHITECTURE.md does not list `{module}`"))
        .collect();
    assert_none(&faults);
}

/// A word, and the only files that may use it.
const DOORS: &[(&str, &[&str])] = &[
    ("client::conn", &["client.rs", "client/"]),
    ("env::var", &["config/"]),
    ("Outbound {", &["exchange/rewrite.rs"]),
    ("Permit {", &["policy/"]),
    ("StatusCode::FORBIDDEN", &[]),
    ("StatusCode::NOT_FOUND", &[]),
    ("StatusCode::UNAUTHORIZED", &[]),
];

#[test]
fn there_is_one_door_for_each_danger() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (at, line) in source.code() {
            for (word, files) in DOORS {
                if line.contains(word) && !files.iter().any(|file| source.path.starts_with(file)) {
                    faults.push(format!("{}:{at}: `{word}`", source.path));
                }
            }
        }
    }
    assert_none(&faults);
}

/// A promise without a test is none.
#[test]
fn every_test_that_a_guarantee_names_exists() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(top.join("docs/guarantees.md")).expect("the page is there");
    let tests = sources_in(&top.join("tests"));
    let text: String = sources()
        .iter()
        .chain(&tests)
        .map(|source| &*source.text)
        .collect();
    // Between backticks; no other word there has three underscores.
    let words = page.split('`').skip(1).step_by(2);
    let named: BTreeSet<&str> = words
        .filter(|word| word.matches('_').count() >= 3)
        .collect();
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let exists = |name: &&&str| text.contains(&format!("fn {name}("));
    let faults: Vec<String> = named
        .iter()
        .filter(|name| !exists(name))
        .map(|name| format!("docs/guarantees.md names `{name}`, which is no test"))
        .collect();
    assert_none(&faults);
}

#[test]
fn the_walk_finds_the_tree() {
    assert!(
        sources().len() > 40,
        "the walk over `src` finds too little to prove anything"
    );
}

/// The layers inside a folder, from the ground up; each is a file or a folder of it.
const INNER_LAYERS: &[(&str, &[&str])] = &[(
    "policy",
    &[
        "pattern", "mango", "rules", "grants", "lens", "write", "decide",
    ],
)];

#[test]
fn a_part_of_a_folder_names_only_parts_below_it() {
    let sources = sources();
    let read = Crate::read(&sources);
    let arrows = read.arrows();
    let mut faults = Vec::new();
    for (folder, layers) in INNER_LAYERS {
        let part = |file: &str| -> Option<String> {
            let rest = file.strip_prefix(folder)?.strip_prefix('/')?;
            let first = rest.split('/').next()?;
            Some(first.strip_suffix(".rs").unwrap_or(first).to_owned())
        };
        let layer = |part: &str| layers.iter().position(|layer| *layer == part);
        for (from, named) in &arrows {
            let Some(own) = part(from).filter(|own| own != "mod") else {
                continue;
            };
            let Some(height) = layer(&own) else {
                faults.push(format!("{from}: not in the list of layers of `{folder}`"));
                continue;
            };
            let named = named
                .iter()
                .filter(|to| part(to).is_some_and(|part| part != own));
            let above = named.filter(|to| {
                let below = part(to).and_then(|part| layer(&part));
                below.is_none_or(|below| below >= height)
            });
            faults.extend(above.map(|to| format!("{from}: names `{to}`, which is not below it")));
        }
    }
    assert_none(&faults);
}

/// Files that still take names from each other. This list may only become shorter.
const CIRCLES: &[&str] = &[
    "json/cut.rs",
    "json/fields.rs",
    "json/search.rs",
    "json/spot.rs",
];

#[test]
fn no_file_takes_names_from_one_that_takes_names_from_it() {
    let sources = sources();
    let read = Crate::read(&sources);
    let arrows = read.arrows();
    assert!(
        arrows.values().map(BTreeSet::len).sum::<usize>() > 300,
        "too few imports are found to prove anything"
    );
    let circles = imports::circles(&arrows);
    let told = circles
        .iter()
        .filter(|circle| circle.iter().any(|file| !CIRCLES.contains(file)))
        .map(|circle| format!("these files take names from each other: {circle:?}"));
    let mended = CIRCLES
        .iter()
        .filter(|file| !circles.iter().any(|circle| circle.contains(*file)))
        .map(|file| format!("{file} is in no circle: take it off the list"));
    assert_none(&told.chain(mended).collect::<Vec<_>>());
}

/// Names of types that are still defined in several files. This list may only become shorter.
const DEFINED_TWICE: &[&str] = &[
    "Answer",
    "Asked",
    "At",
    "Body",
    "Change",
    "Changes",
    "Clause",
    "Client",
    "Document",
    "Draft",
    "Ending",
    "Ends",
    "Entry",
    "Errand",
    "File",
    "Find",
    "Found",
    "Full",
    "Held",
    "Identity",
    "Idle",
    "Index",
    "Judged",
    "Kind",
    "Leaf",
    "Member",
    "Named",
    "Names",
    "Nodes",
    "OpenRevs",
    "Origin",
    "Own",
    "Part",
    "Parts",
    "Path",
    "Phase",
    "Piece",
    "Place",
    "Proof",
    "Provisioning",
    "Raw",
    "Reader",
    "Record",
    "Row",
    "Sent",
    "Session",
    "Settings",
    "Several",
    "Shape",
    "Shown",
    "Signed",
    "Source",
    "State",
    "Step",
    "Stored",
    "Tail",
    "Target",
    "Text",
    "Voucher",
    "Wanted",
    "Watch",
    "Way",
    "Writer",
];

#[test]
fn the_name_of_a_type_is_defined_once() {
    let sources = sources();
    let read = Crate::read(&sources);
    let found = read.types_defined_twice();
    let told = found
        .iter()
        .filter(|(name, _)| !DEFINED_TWICE.contains(&name.as_str()))
        .map(|(name, files)| format!("`{name}` is defined in {}", files.join(", ")));
    let mended = DEFINED_TWICE
        .iter()
        .filter(|name| !found.contains_key(**name))
        .map(|name| format!("`{name}` is defined once: take it off the list"));
    assert_none(&told.chain(mended).collect::<Vec<_>>());
}

/// A `Security:` comment that names a test is a promise too.
#[test]
fn every_test_that_a_security_comment_names_exists() {
    let tests = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let sources = sources();
    let text: String = sources
        .iter()
        .chain(&tests)
        .map(|source| &*source.text)
        .collect();
    let mut named = 0;
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for name in tests_of_security_comments(&source.text) {
            named += 1;
            if !text.contains(&format!("fn {name}(")) {
                faults.push(format!("{} names `{name}`, which is no test", source.path));
            }
        }
    }
    assert!(named > 10, "only {named} tests are named");
    assert_none(&faults);
}

/// The words in parentheses with two underscores or more, in comments that begin with `Security:`.
fn tests_of_security_comments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim_start) {
        inside = line.starts_with("//") && (inside || line.contains("Security:"));
        if inside {
            let words = line.split('(').skip(1);
            let words = words.filter_map(|rest| rest.split(')').next());
            let words = words.map(|word| word.trim_matches('`'));
            found.extend(words.filter(|word| {
                word.matches('_').count() >= 2
                    && !word.starts_with('_')
                    && word.bytes().all(|byte| {
                        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
                    })
            }));
        }
    }
    found
}
