//! The program: arguments in, exit code out. Everything else is the library's.

use couchwarden::config::Config;
use couchwarden::{check, observe, serve, server};
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Gives memory back after a burst, and keeps idle connections small (`edge.md` A1).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "couchwarden stands before CouchDB and judges every request.

  couchwarden serve [--config FILE]                      run until SIGTERM or SIGINT; SIGHUP reads the policies again
  couchwarden check [--config FILE]                      tell every mistake in the configuration and the policies
  couchwarden cert  [--directory DIR] [--host NAME ...]  make an authority and a certificate for development

FILE is couchwarden.toml and DIR is certs if not given.
Exit codes: 0 all is well, 1 something went wrong, 2 the arguments are not understood.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["serve"] => run(Path::new("couchwarden.toml")),
        ["serve", "--config", file] => run(Path::new(file)),
        ["check"] => judge(Path::new("couchwarden.toml")),
        ["check", "--config", file] => judge(Path::new(file)),
        ["cert", "--directory", directory, hosts @ ..] if are_hosts(hosts) => {
            certify(Path::new(directory), hosts)
        }
        ["cert", hosts @ ..] if are_hosts(hosts) => certify(Path::new("certs"), hosts),
        ["help" | "--help" | "-h"] => Ok(say(&mut io::stdout(), USAGE)),
        ["--version" | "-V"] => Ok(say(&mut io::stdout(), env!("CARGO_PKG_VERSION"))),
        _ => return misunderstood(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&mut io::stderr(), message);
            ExitCode::FAILURE
        }
    }
}

fn misunderstood() -> ExitCode {
    say(&mut io::stderr(), USAGE);
    ExitCode::from(2)
}

/// Where nobody listens there is nothing more to say.
fn say(to: &mut impl io::Write, text: impl Display) {
    let _ = writeln!(to, "{text}");
}

fn lines<T: Display>(all: Vec<T>) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

fn judge(file: &Path) -> Result<(), String> {
    let config = Config::load(file).map_err(lines)?;
    check(&config).map(drop).map_err(lines)
}

/// `--host NAME`, any number of times.
fn are_hosts(options: &[&str]) -> bool {
    options.chunks(2).all(|option| matches!(option, ["--host", _]))
}

fn certify(directory: &Path, options: &[&str]) -> Result<(), String> {
    let hosts: Vec<String> = options.iter().skip(1).step_by(2).map(ToString::to_string).collect();
    let made = server::cert::make(directory, &hosts).map_err(|error| error.to_string())?;
    say(&mut io::stdout(), lines(made.iter().map(|path| path.display()).collect()));
    Ok(())
}

fn run(file: &Path) -> Result<(), String> {
    let config = Config::load(file).map_err(lines)?;
    observe::start();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut ends = [SignalKind::terminate(), SignalKind::interrupt()].map(signal).into_iter();
        let (Some(Ok(mut term)), Some(Ok(mut int))) = (ends.next(), ends.next()) else {
            return Err("the signals can't be watched".to_owned());
        };
        let address = config.listen.address;
        let listener = server::bind(address).await.map_err(|error| format!("`{address}`: {error}"))?;
        let bound = listener.local_addr().unwrap_or(address);
        tracing::info!(address = %bound, tls = !config.listen.insecure, "listening");
        let stop = async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        };
        serve(config, listener, stop).await.map_err(|error| error.to_string())
    })
}
