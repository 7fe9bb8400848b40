//! Devices that sync through couchwarden end up with what their users may see, and nobody loses a word.
//!
//! Each run draws steps at random (`tests/backend/converge.mjs`): three users with two devices each work offline and sync, an
//! administrator writes past couchwarden, rights widen and narrow, couchwarden is killed, some of it in the middle of a
//! replication. After it all devices sync until nothing moves, and what they hold is compared with what the rules say.
//!
//! `CONVERGE_SEED=N` repeats one run, `CONVERGE_SECONDS=N` makes new ones for so long (`just converge`), each
//! `CONVERGE_AT_ONCE` at a time. With `CONVERGE_LOG` what is found is told with each request of the devices.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use couchwarden::config::Config;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::backend;
use crate::support::{PASSWORD, World, backend as couchdb};

/// Hides nothing, so it may be taken away.
const SHELVES: &str = r#"
[[rule]]
name      = "shelves"
databases = ["@notes"]
callers   = { everyone = true }
permit    = ["read", "changes"]
documents = { shelf = "open" }
"#;

/// As `tests/backend/converge/model.mjs` reads them. What hides and is switched off fits no document: what its devices have
/// not seen must be known for as long as they sync.
fn rules(policy: u64) -> String {
    let text = |bit, on, off| if policy & bit == bit { on } else { off };
    format!(
        r#"
[[rule]]
name      = "owners"
databases = ["@notes"]
callers   = {{ roles = ["app"] }}
permit    = ["replicate"]
documents = {{ owner = "{{user}}" }}

[[rule]]
name      = "members"
databases = ["@notes"]
callers   = {{ roles = ["app"] }}
permit    = ["read", "changes", "update"]
change    = ["note"]
hide      = ["price", "_attachments.secret\\.bin"]
documents = {{ members = {{ "$elemMatch" = {{ "$eq" = "{{user}}" }} }}{final_only} }}

[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = {{ roles = ["reader"] }}
permit    = ["read", "changes"]
hide      = ["price", "salt", "_attachments.secret\\.bin"]
documents = {{ public = true{readers} }}

[[rule]]
name      = "teams"
databases = ["@notes"]
callers   = {{ everyone = true }}
permit    = ["read", "changes", "update"]
change    = ["note", "_attachments.*"]
hide      = ["salt", "_attachments.secret\\.bin"]
documents = {{ team = "{{node:team}}" }}

{shelves}
[[rule]]
name      = "drafts"
databases = ["@notes"]
callers   = {{ everyone = true }}
hide      = ["price"]
documents = {{ state = "{drafts}draft" }}

[[rule]]
name      = "marks-policy"
databases = ["@marks"]
callers   = {{ everyone = true }}
permit    = ["read"]
documents = {{ _id = "policy-{policy}" }}

[[rule]]
name      = "marks-app"
databases = ["@marks"]
callers   = {{ roles = ["app"] }}
permit    = ["read"]
documents = {{ _id = "app" }}

[[rule]]
name      = "marks-reader"
databases = ["@marks"]
callers   = {{ roles = ["reader"] }}
permit    = ["read"]
documents = {{ _id = "reader" }}

[[rule]]
name      = "marks-team"
databases = ["@marks"]
callers   = {{ everyone = true }}
permit    = ["read"]
documents = {{ _id = "{{node:team}}" }}
"#,
        shelves = text(8, SHELVES, ""),
        drafts = text(1, "", "no "),
        readers = text(2, "", ", never = true"),
        final_only = text(4, ", state = \"final\"", ""),
    )
}

const NODES: &str = "[nodes]\ndatabase = \"@nodes\"\nattributes = [\"team\"]\n";

/// What is known, by its kind (`docs/guarantees.md`, *What is not promised*). This list may only
/// become shorter.
const KNOWN: [(&str, &str); 2] = [
    (
        " beside a forgotten end",
        "nobody knows any more what a tombstone has ended that says nothing, once CouchDB has compacted",
    ),
    (
        " after roles",
        "roles that are gone say nothing of what they hid",
    ),
];

/// What may come of nothing but a machine that is too slow: how far devices are at the end. What is found of what
/// they were sent or have stored is no question of time.
const OF_TIMES: [&str; 5] = ["stale", "missing", "restless", "idle", "replicator"];

/// The runs of `cargo test`.
const SEEDS: std::ops::Range<u64> = 1..7;
const AT_ONCE: u64 = 3;
const STEPS: u32 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_end_up_with_what_their_users_may_see() {
    let seeds = Mutex::new(seeds());
    let told = Mutex::new(Told::default());
    let one_after_another = || async {
        loop {
            let next = seeds.lock().unwrap().next();
            let Some(seed) = next else { break };
            let mut found = run(seed).await;
            // What is found once in three is told by `just converge`, which goes on for long.
            let mut again = if number("CONVERGE_SECONDS").is_some() {
                0
            } else {
                2
            };
            while again > 0 && has_news(&found) && is_of_times(&found) {
                again -= 1;
                println!("seed {seed} has found something, and runs again: {found}");
                found = run(seed).await;
            }
            println!("{}", told.lock().unwrap().add(seed, &found));
        }
    };
    let at_once = number("CONVERGE_AT_ONCE").unwrap_or(AT_ONCE);
    join_all((0..at_once).map(|_| one_after_another())).await;
    let told = told.into_inner().unwrap();
    println!(
        "{} runs, {} with new findings, {} known findings",
        told.runs,
        told.broken.len(),
        told.known
    );
    assert!(told.broken.is_empty(), "{}", told.broken.join("\n\n"));
}

/// Whether this finding is of a kind that is known.
fn is_known(finding: &Value) -> bool {
    let kind = finding["kind"].as_str().unwrap();
    KNOWN.iter().any(|(known, _)| kind.ends_with(known))
}

fn has_news(run: &Value) -> bool {
    let findings = run["findings"].as_array().unwrap();
    findings.iter().any(|finding| !is_known(finding))
}

/// Whether all that is new in this run may be another in a run of other times.
fn is_of_times(run: &Value) -> bool {
    let findings = run["findings"].as_array().unwrap().iter();
    let mut new = findings.filter(|finding| !is_known(finding));
    new.all(|finding| OF_TIMES.contains(&finding["kind"].as_str().unwrap()))
}

/// What the runs have told.
#[derive(Default)]
struct Told {
    runs: usize,
    known: usize,
    broken: Vec<String>,
}

impl Told {
    /// Counts a run, and says what is new in it.
    fn add(&mut self, seed: u64, run: &Value) -> String {
        let findings = run["findings"].as_array().unwrap();
        let new: Vec<&Value> = findings.iter().filter(|one| !is_known(one)).collect();
        let line = format!(
            "seed {seed}: {} of {} findings are new, {}",
            new.len(),
            findings.len(),
            run["counts"]
        );
        self.runs += 1;
        self.known += findings.len() - new.len();
        if new.is_empty() {
            return line;
        }
        let report = report(seed, &new, &run["trace"]);
        let told = format!("{line}\n{report}");
        self.broken.push(report);
        told
    }
}

/// What was found in one run, and what had happened in it.
fn report(seed: u64, findings: &[&Value], trace: &Value) -> String {
    let mut lines = vec![format!("CONVERGE_SEED={seed}")];
    let told = |one: &&Value| format!("{}: {}", one["kind"], one["text"]);
    lines.extend(findings.iter().map(told));
    let trace = trace.as_array().unwrap().iter().filter_map(Value::as_str);
    lines.extend(trace.map(str::to_owned));
    lines.join("\n")
}

async fn run(seed: u64) -> Value {
    let policy = seed % 16;
    let world = World::plain_with(&rules(policy), NODES).await;
    let una = world.free_name();
    let metadata = json!({
        "nodeId": una, "parents": [], "nodeAdmins": [],
        "authorization": { "type": "bcrypt", "crypted": bcrypt::hash(PASSWORD, 4).unwrap() },
    });
    let node = json!({ "_id": una, "team": [], "metadata": metadata });
    world.database("nodes", json!([node])).await;
    world.database("notes", json!([])).await;
    let marks = (0..16).map(|policy| format!("policy-{policy}"));
    let marks = marks.chain(["app", "reader", "red", "blue"].map(str::to_owned));
    let marks: Vec<Value> = marks.map(|id| json!({ "_id": id })).collect();
    world.database("marks", json!(marks)).await;
    let account = |short: &str| {
        let client = world.user(short, &["app"]);
        json!({ "short": short, "name": client.name(), "password": PASSWORD, "kind": "account" })
    };
    let node = json!({ "short": "una", "name": una, "password": PASSWORD, "kind": "node" });
    let behind = couchdb();
    let order = json!({
        "seed": seed,
        "couchdb": { "url": format!("http://{}", behind.authority), "user": behind.user, "password": behind.password },
        "db": world.db("notes"),
        "marks": world.db("marks"),
        "nodes": world.db("nodes"),
        "users": [account("uma"), account("ugo"), node],
        "policy": policy,
        "steps": STEPS,
        "log": std::env::var_os("CONVERGE_LOG").is_some(),
    });
    tokio::task::spawn_blocking(move || tell(&world, order))
        .await
        .unwrap()
}

fn tell(world: &World, mut order: Value) -> Value {
    let mut warden = Warden::start(world.config.clone());
    order["warden"] = json!(warden.url());
    let mut child = backend::node()
        .unwrap_or_else(|problem| panic!("{problem}"))
        .arg("converge.mjs")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(input, "{order}").unwrap();
    let told = loop {
        let Some(line) = output.next() else {
            let broken = json!({ "kind": "broken", "text": "the run has ended without a word" });
            break json!({ "findings": [broken], "trace": [] });
        };
        let said: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match said["ask"].as_str() {
            Some("policy") => world.reload(&rules(said["policy"].as_u64().unwrap())),
            Some("kill") => warden.kill(),
            _ => break said,
        }
        let _ = writeln!(input, "{{}}");
    };
    child.wait().unwrap();
    told
}

/// A couchwarden that can be killed, which ends all its connections, and another one listens in its place.
struct Warden {
    listener: net::TcpListener,
    config: Config,
    running: Option<Runtime>,
}

impl Warden {
    fn start(config: Config) -> Self {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut warden = Self {
            listener,
            config,
            running: None,
        };
        warden.run();
        warden
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    fn run(&mut self) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = self.listener.try_clone().unwrap();
        let listener = runtime.block_on(async { TcpListener::from_std(listener) });
        let config = self.config.clone();
        runtime.spawn(couchwarden::serve(
            config,
            listener.unwrap(),
            std::future::pending(),
        ));
        self.running = Some(runtime);
    }

    fn kill(&mut self) {
        self.end();
        self.run();
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        self.end();
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// One that was asked for, new ones for a time, or those of `cargo test`.
fn seeds() -> Box<dyn Iterator<Item = u64> + Send> {
    if let Some(seed) = number("CONVERGE_SEED") {
        return Box::new(std::iter::once(seed));
    }
    if let Some(seconds) = number("CONVERGE_SECONDS") {
        let end = Instant::now() + Duration::from_secs(seconds);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let first = now.as_secs() % 1_000_000 * 1000;
        return Box::new((first..).take_while(move |_| Instant::now() < end));
    }
    Box::new(SEEDS)
}
