//! The golden matrix: every endpoint × the cast × sample policies → what policy says.
//!
//! `tests/golden/policy-matrix.txt` has one section for each database: the shipped policies, and two databases
//! of a sample policy in which a developer may do everything, without and with something to hide.
//! `UPDATE_GOLDEN=1 cargo test --test policy` writes the matrix anew; a change of policy is a change of this file.
//! `tests/golden/unjudged-routes.txt` lists what is refused for want of a judgement; it may only shrink, and
//! nothing writes it but a person.
//!
//! Invariant: every endpoint of `tests/corpus/endpoints.txt` has a row in every section that it belongs to.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use couchwarden::caller::{Caller, Role, User, UserName};
use couchwarden::policy::{Policy, PolicySettings, Verdict};
use couchwarden::route::Route;

const SAMPLE: &str = "
[[rule]]
name      = 'developer'
databases = ['open', 'lensed']
callers   = { roles = ['developer'] }
permit    = ['replicate', 'find', 'design', 'info', 'design-write', 'index', 'security', 'maintain',
             'create-database', 'delete-database', 'view:dd/by-name', 'function:dd/*']
[[rule]]
name      = 'secrets'
databases = ['lensed']
callers   = { everyone = true }
hide      = ['secret']
[[rule]]
name      = 'sealed'
databases = ['lensed']
callers   = { everyone = true }
forbid    = ['replicate', 'find', 'view:dd/by-name']
documents = { sealed = true }
[[rule]]
name      = 'operator'
callers   = { roles = ['operator'] }
permit    = ['server:active_tasks', 'server:all_dbs', 'server:node_stats']
";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn policy() -> Policy {
    let mut files = vec![("sample".to_owned(), SAMPLE.to_owned())];
    for name in ["cdrs", "nodes", "provisioning", "userdb", "voicemail"] {
        let path = format!("policies/{name}.toml");
        files.push((path.clone(), std::fs::read_to_string(file(&path)).unwrap()));
    }
    Policy::load(&files, &PolicySettings::default()).unwrap()
}

fn cast() -> Vec<(&'static str, Caller)> {
    let user = |name: &str, roles: &[&str]| {
        let roles = roles.iter().map(|role| Role::parse(role).unwrap());
        Arc::new(User::new(UserName::parse(name).unwrap(), roles.collect()))
    };
    let ann = [
        "number:100",
        "number_domain:example.org",
        "user_database:mailbox-100",
        "user_database:u100",
    ];
    vec![
        ("anonymous", Caller::Anonymous),
        ("nobody", Caller::User(user("nobody", &[]))),
        ("ann", Caller::User(user("ann", &ann))),
        ("dev", Caller::User(user("dev", &["developer", "operator"]))),
        ("ops", Caller::Administrator(user("ops", &[]))),
    ]
}

/// Method and path of each endpoint in the corpus, each once.
fn endpoints() -> Vec<(String, String)> {
    let corpus = std::fs::read_to_string(file("tests/corpus/endpoints.txt")).unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    for line in corpus
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (method, path) = line.split_once(' ').unwrap();
        let methods = if method == "ANY" {
            vec!["GET", "POST", "PUT", "DELETE"]
        } else {
            vec![method]
        };
        for method in methods {
            let pair = (method.to_owned(), path.to_owned());
            if !found.contains(&pair) {
                found.push(pair);
            }
        }
    }
    found
}

fn route(method: &str, path: &str, db: &str) -> Route {
    let (ddoc, view) = if db == "cdrs" {
        ("cdr", "by_number")
    } else {
        ("dd", "by-name")
    };
    let path = path.replace("_design/{design_doc}", "_design/{ddoc}");
    let samples = [
        ("{db}", db),
        ("{replicator_db}", "_replicator"),
        ("{docid}", "number:100@example.org"),
        ("{ddoc}", ddoc),
        ("{other-ddoc}", ddoc),
        ("{design_doc}", "_design/dd"),
        ("{attname}", "photo"),
        ("{view}", view),
        ("{index}", "index"),
        ("{func}", "function"),
        ("{partition_id}", "p"),
        ("{path}", "one"),
        ("{name}", "name"),
        ("{jobid}", "job"),
        ("{node-name}", "_local"),
        ("{section}", "section"),
        ("{key}", "key"),
        ("{entry}", "entry"),
        ("{file}", "file.js"),
        ("{id}", "number:100@example.org"),
    ];
    let filled = samples
        .iter()
        .fold(path, |path, (name, value)| path.replace(name, value));
    let copy = if filled.contains("/_local/") {
        "_local/copy"
    } else {
        "copy"
    };
    Route::parse(method, &filled, (method == "COPY").then_some(copy)).unwrap()
}

/// One line: who gets what, callers of one verdict together.
fn row(policy: &Policy, method: &str, path: &str, db: &str) -> String {
    let mut verdicts: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, caller) in cast() {
        let verdict = policy.decide(&caller, route(method, path, db)).to_string();
        match verdicts.iter_mut().find(|(known, _)| *known == verdict) {
            Some((_, names)) => names.push(name),
            None => verdicts.push((verdict, vec![name])),
        }
    }
    let parts: Vec<String> = verdicts
        .iter()
        .map(|(verdict, names)| format!("{}: {verdict}", names.join(" ")))
        .collect();
    format!("{method} {path} | {}", parts.join(" | "))
}

fn is_in_database(path: &str) -> bool {
    path.starts_with("/{db}")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the switch that rewrites the golden file"
)]
fn every_verdict_is_the_one_in_the_matrix() {
    let policy = policy();
    let mut matrix =
        String::from("# Written by tests/policy.rs: UPDATE_GOLDEN=1 cargo test --test policy\n");
    writeln!(matrix, "\n## the server").unwrap();
    for (method, path) in endpoints().iter().filter(|(_, path)| !is_in_database(path)) {
        writeln!(matrix, "{}", row(&policy, method, path, "open")).unwrap();
    }
    for db in [
        "catconf",
        "cdrs",
        "mailbox-100",
        "provisioning",
        "u100",
        "open",
        "lensed",
    ] {
        writeln!(matrix, "\n## {db}").unwrap();
        for (method, path) in endpoints().iter().filter(|(_, path)| is_in_database(path)) {
            writeln!(matrix, "{}", row(&policy, method, path, db)).unwrap();
        }
    }
    let golden = file("tests/golden/policy-matrix.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &matrix).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    for (line, (is, was)) in matrix.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, was, "line {}", line + 1);
    }
    assert_eq!(matrix.lines().count(), expected.lines().count());
}

#[test]
fn the_list_of_unjudged_routes_is_exact_and_only_shrinks() {
    let policy = policy();
    let (_, dev) = cast().into_iter().find(|(name, _)| *name == "dev").unwrap();
    let mut unjudged = BTreeSet::new();
    for (method, path) in endpoints().iter().filter(|(_, path)| is_in_database(path)) {
        let denied = match policy.decide(&dev, route(method, path, "lensed")) {
            Verdict::Permit(_) | Verdict::Ask(_) => false,
            Verdict::Deny(denial) => denial.is_unjudged(),
        };
        if denied {
            unjudged.insert(format!("{method} {path}"));
        }
    }
    let listed = std::fs::read_to_string(file("tests/golden/unjudged-routes.txt")).unwrap();
    let listed: BTreeSet<String> = listed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert_eq!(unjudged, listed, "never add a line: judge the route");
}

#[test]
fn what_hangs_on_an_unseen_document_asks() {
    let policy = policy();
    let verdict = |caller: &Caller| {
        policy
            .decide(caller, route("GET", "/{db}/{docid}/{attname}", "lensed"))
            .to_string()
    };
    let cast = cast();
    let by_name = |wanted: &str| {
        cast.iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, caller)| caller.clone())
            .unwrap()
    };
    assert_eq!(verdict(&by_name("dev")), "ask");
    assert_eq!(verdict(&by_name("ops")), "permit");
}
