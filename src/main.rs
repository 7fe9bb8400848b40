//! The program: arguments in, exit code out. Everything else is the library's.

use couchwarden::cli::{self, Invocation};
use couchwarden::config::{Config, Signing};
use couchwarden::{Deployed, Wish, check, check_ddocs, check_ends, deploy, observe, serve, server};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Gives memory back after a burst, and keeps idle connections small.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const FILE: &str = "couchwarden.toml";

const USAGE: &str = "couchwarden stands before CouchDB and judges every request.

  couchwarden serve [--config FILE]    run until SIGTERM or SIGINT; SIGHUP reads the policies again
  couchwarden check [--config FILE]    tell every mistake in the configuration, the policies and ddocs/, and what paths are about
  couchwarden deploy [--config FILE] [--dry-run] [--prune]
                                       put the design documents of ddocs/ into CouchDB, where they differ;
                                       --dry-run only tells, --prune deletes those that have no folder any more
  couchwarden cert [--directory DIR] [--host NAME]...    make certificates for development
  couchwarden key [--file FILE] [--hmac]    make the key of `present = \"jwt\"`, and print what CouchDB must know of it
  couchwarden user add|password|remove NAME [--password-file F] [--parent ID]... [--config FILE]
  couchwarden node get|put|remove ID [--single-level] [--raw] [--config FILE]    put reads standard input
  couchwarden node list [--users] [--domains] [--in-domain ID] [--config FILE]

FILE is couchwarden.toml (of key: secrets/couchdb.key) and DIR is certs if not given; a password is asked for if no file is.
Exit codes: 0 all is well, 1 something went wrong, 2 the arguments are not understood.
Of deploy: 0 CouchDB is as ddocs/ says, 1 --dry-run found differences, 2 something went wrong.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["serve"] => run(FILE),
        ["serve", "--config", file] => run(file),
        ["check"] => judge(FILE),
        ["check", "--config", file] => judge(file),
        ["deploy", options @ ..] => return design(options),
        ["cert", "--directory", directory, hosts @ ..] if are_hosts(hosts) => {
            certify(directory, hosts)
        }
        ["cert", hosts @ ..] if are_hosts(hosts) => certify("certs", hosts),
        ["key", options @ ..] => match key(options) {
            Some(done) => done,
            None => return end(io::stderr(), USAGE, 2),
        },
        ["user" | "node", ..] => match Invocation::parse(&arguments, FILE) {
            Some(said) => administer(&said),
            None => return end(io::stderr(), USAGE, 2),
        },
        ["help" | "--help" | "-h"] => Ok(USAGE.to_owned()),
        ["version" | "--version" | "-V"] => Ok(env!("CARGO_PKG_VERSION").to_owned()),
        _ => return end(io::stderr(), USAGE, 2),
    };
    match done {
        Ok(message) => end(io::stdout(), &message, 0),
        Err(message) => end(io::stderr(), &message, 1),
    }
}

fn end(mut to: impl Write, message: &str, code: u8) -> ExitCode {
    if !message.is_empty() {
        // Where nobody listens there is nothing more to say.
        let _ = writeln!(to, "{message}");
    }
    ExitCode::from(code)
}

fn lines<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    let lines: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    lines.join("\n")
}

fn judge(file: &str) -> Result<String, String> {
    let config = Config::load(Path::new(file)).map_err(lines)?;
    let policy = check(&config).map_err(lines)?;
    if config.ddocs.exists() {
        check_ddocs(&config.ddocs).map_err(lines)?;
    }
    let mut told = policy.explain_paths();
    told.extend(policy.explain_feeds());
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    told.extend(runtime.block_on(check_ends(&config)));
    Ok(lines(told))
}

/// `--host NAME`, any number of times.
fn are_hosts(options: &[&str]) -> bool {
    options
        .chunks(2)
        .all(|option| matches!(option, ["--host", _]))
}

fn certify(directory: &str, options: &[&str]) -> Result<String, String> {
    let hosts: Vec<String> = options
        .chunks(2)
        .flat_map(|option| option.iter().skip(1))
        .map(ToString::to_string)
        .collect();
    let made = server::cert::make(Path::new(directory), &hosts);
    made.map(|paths| lines(paths.iter().map(|path| path.display())))
        .map_err(|error| error.to_string())
}

/// Nothing, if the options are not understood.
fn key(options: &[&str]) -> Option<Result<String, String>> {
    let (mut file, mut signing) = ("secrets/couchdb.key", Signing::Es256);
    let mut rest = options;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        match (*first, others.split_first()) {
            ("--hmac", _) => signing = Signing::Hs256,
            ("--file", Some((named, others))) => {
                file = named;
                rest = others;
            }
            _ => return None,
        }
    }
    Some(cli::key(Path::new(file), signing).map_err(|error| error.to_string()))
}

/// Nodes and their users.
fn administer(said: &Invocation<'_>) -> Result<String, String> {
    let config = Config::load(Path::new(said.config)).map_err(lines)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let done = runtime.block_on(cli::run(&config, said));
    done.map_err(|error| error.to_string())
}

fn run(file: &str) -> Result<String, String> {
    let config = Config::load(Path::new(file)).map_err(lines)?;
    observe::start();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let stop = server::told_to_stop().map_err(|error| error.to_string())?;
        let address = config.listen.address;
        let bound = server::bind(address)
            .await
            .map_err(|error| format!("`{address}`: {error}"))?;
        serve(config, bound, stop)
            .await
            .map_err(|error| error.to_string())
    })?;
    Ok(String::new())
}

/// `couchwarden deploy`, which has exit codes of its own: a check of a change must tell a difference from a
/// failure.
fn design(options: &[&str]) -> ExitCode {
    let mut wish = Wish::default();
    let mut file = FILE;
    let mut rest = options;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        match (*first, others.split_first()) {
            ("--dry-run", _) => wish.dry_run = true,
            ("--prune", _) => wish.prune = true,
            ("--config", Some((named, others))) => {
                file = named;
                rest = others;
            }
            _ => return end(io::stderr(), USAGE, 2),
        }
    }
    match put(file, wish) {
        Ok(Deployed::Done) => ExitCode::SUCCESS,
        Ok(Deployed::Differs) => ExitCode::from(1),
        Err(message) => end(io::stderr(), &message, 2),
    }
}

fn put(file: &str, wish: Wish) -> Result<Deployed, String> {
    let config = Config::load(Path::new(file)).map_err(lines)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let mut tell = |line: &str| {
        // Where nobody listens, the work is done all the same.
        let _ = writeln!(io::stdout(), "{line}");
    };
    runtime
        .block_on(deploy(&config, wish, &mut tell))
        .map_err(|error| error.to_string())
}
