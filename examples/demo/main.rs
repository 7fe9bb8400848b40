//! `cargo run --example demo`: a telephone company's CouchDB behind couchwarden, on a fresh clone.
//!
//! Needs Node.js 20 for the CouchDB that it brings along, or a CouchDB of yours named by `COUCHDB_URL`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the company of the demo is known: what it looks for is there"
)]

#[path = "../../tests/backend/mod.rs"]
#[expect(dead_code, reason = "the demo needs less of it than the tests do")]
mod backend;
mod company;
mod ddocs;
mod fill;
mod say;
mod subscriber;
mod tour;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use couchwarden::config::Config;
use couchwarden::secret::Secret;
use couchwarden::server;
use tempfile::TempDir;
use tokio::net::TcpListener;

use backend::Backend;
use company::Company;
use fill::Account;
use say::{Ink, Progress, ink, line};

const ADDRESS: &str = "127.0.0.1:6984";
const URL: &str = "https://localhost:6984";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Everybody's.
const PASSWORD: &str = "demo";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            line(&format!("\n  The demo can't run: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    line(&format!(
        "\n  {}  a telephone company's CouchDB, and who may see what of it\n",
        ink(Ink::Bold, "couchwarden demo")
    ));
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    // The port first: whoever has it taken should not wait for the rest.
    let listener = runtime
        .block_on(TcpListener::bind(ADDRESS))
        .map_err(|error| format!("port 6984 of this machine can't be used ({error})"))?;
    let progress = Progress::begin("CouchDB");
    let backend = Backend::start()?;
    let kind = if backend.is_couchdb() {
        "yours"
    } else {
        "a server in Node that speaks its protocol, in memory"
    };
    progress.end(&format!("http://{}, {kind}", backend.authority));
    let company = Company::found();
    let accounts = accounts(&company);
    fill::fill(&backend, &company, &accounts, PASSWORD)?;
    let certificates = certificates()?;
    let config = config(&backend, &certificates.0)?;
    let authority = certificates.0.join("ca.crt");
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
        line("\n  Good bye.");
    };
    let serving = runtime.spawn(couchwarden::serve(config, listener, stop));
    subscriber::run(&authority);
    tour::show(&company, &accounts, &authority);
    couchwarden::observe::start();
    let served = runtime.block_on(serving);
    fill::tidy(&backend)?;
    served
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

fn accounts(company: &Company) -> Vec<Account> {
    let (alice, tariq) = (company.of("backhaus.example"), company.of("hafen.example"));
    let aylin = company.of("praxis.example");
    let mailbox = |owner: &company::Subscriber| {
        format!(
            "user_database:{}",
            owner.mailbox.as_deref().unwrap_or_default()
        )
    };
    let number = |owner: &company::Subscriber| format!("number:{}", owner.number);
    let account = |name, roles| Account {
        name,
        password: PASSWORD,
        roles,
    };
    vec![
        account("alice", vec![number(alice), mailbox(alice)]),
        account(
            "tariq",
            vec![
                number(tariq),
                mailbox(tariq),
                format!("number_domain:{}", tariq.domain),
            ],
        ),
        account("aylin", vec![format!("number_domain:{}", aylin.domain)]),
        account("ops", Vec::new()),
    ]
}

/// Those of `certs/`; made there if it is empty, or in a folder of our own if it has some that are not for this.
fn certificates() -> Result<(PathBuf, Option<TempDir>), String> {
    let ours = Path::new(ROOT).join("certs");
    let there = |name: &str| ours.join(name).exists();
    if there("default.crt") && there("ca.crt") {
        return Ok((ours, None));
    }
    let progress = Progress::begin("certificates");
    let (folder, kept) = if there("default.crt") || there("ca.crt") {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        (folder.path().to_owned(), Some(folder))
    } else {
        (ours, None)
    };
    server::cert::make(&folder, &[]).map_err(|error| error.to_string())?;
    progress.end(&format!(
        "an authority and a certificate in {}",
        tour::short(&folder)
    ));
    Ok((folder, kept))
}

fn config(backend: &Backend, certificates: &Path) -> Result<Config, String> {
    let secret = Secret::random().ok_or("this machine has no random numbers")?;
    let secret: String = secret
        .expose()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = format!(
        "[listen]\naddress = \"{ADDRESS}\"\ncertificates = {certificates:?}\n{}\n\
         [identity]\nadministrators = [\"ops\"]\nvouchers = [\"nodes\", \"couchdb\"]\nsession = {{ secret = \"{secret}\" }}\n\
         [policies]\ndirectory = \"policies\"\n[nodes]\ndatabase = \"catconf\"\n\
         [provisioning]\nurl = \"{URL}\"\n",
        backend.section()
    );
    let lines = |mistakes: Vec<couchwarden::mistake::Mistake>| {
        mistakes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let config = Config::parse(&text, &Path::new(ROOT).join("demo.toml")).map_err(lines)?;
    couchwarden::check(&config).map_err(lines)?;
    Ok(config)
}
