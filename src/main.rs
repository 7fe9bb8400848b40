//! The program: arguments in, exit code out. Everything else is the library's.

use couchwarden::config::Config;
use couchwarden::{check, observe, serve, server};
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
  couchwarden check [--config FILE]    tell every mistake in the configuration and the policies
  couchwarden cert [--directory DIR] [--host NAME]...    make certificates for development

FILE is couchwarden.toml and DIR is certs if not given.
Exit codes: 0 all is well, 1 something went wrong, 2 the arguments are not understood.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["serve"] => run(FILE),
        ["serve", "--config", file] => run(file),
        ["check"] => judge(FILE),
        ["check", "--config", file] => judge(file),
        ["cert", "--directory", directory, hosts @ ..] if are_hosts(hosts) => {
            certify(directory, hosts)
        }
        ["cert", hosts @ ..] if are_hosts(hosts) => certify("certs", hosts),
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
    check(&config).map_err(lines)?;
    Ok(String::new())
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
