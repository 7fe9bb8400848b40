//! The CouchDB that tests and demo run against: the one that `COUCHDB_URL` names, or else the server of this
//! folder (`server.mjs`, in memory), with its npm packages installed first.
//!
//! Everything here blocks, so that it can be used from `OnceLock` and from `Drop`.
//!
//! Invariant: the server that was started ends with the process, however that ends: its standard input is ours.

mod http;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

pub(crate) use http::Reply;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/backend");
const OLDEST_NODE: u32 = 20;

/// A running CouchDB, or what answers like one.
#[derive(Debug)]
pub(crate) struct Backend {
    /// `host:port`; it speaks plain HTTP.
    pub(crate) authority: String,
    /// Its administrator.
    pub(crate) user: String,
    /// His password.
    pub(crate) password: String,
    /// The secret of its proxy authentication; without one callers are presented as the service account.
    pub(crate) secret: Option<String>,
    child: Option<Child>,
}

impl Backend {
    /// Uses the CouchDB of `COUCHDB_URL`, or starts the server of this folder.
    pub(crate) fn start() -> Result<Self, String> {
        match variable("COUCHDB_URL") {
            Some(url) => Self::given(&url),
            None => Self::embedded(),
        }
    }

    /// Is it a real CouchDB, which keeps what is put into it?
    pub(crate) fn is_couchdb(&self) -> bool {
        self.child.is_none()
    }

    /// One request as the administrator. `path` begins with a slash.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, String> {
        let body = body.map(Value::to_string);
        http::ask(
            &self.authority,
            (&self.user, &self.password),
            method,
            path,
            body.as_deref(),
        )
    }

    /// The section `[couchdb]` of a couchwarden's configuration.
    pub(crate) fn section(&self) -> String {
        let Self {
            authority,
            user,
            password,
            ..
        } = self;
        let present = match &self.secret {
            Some(secret) => format!("present = \"proxy\"\nproxy_secret = {}", toml_text(secret)),
            None => "present = \"service\"".to_owned(),
        };
        let (user, password) = (toml_text(user), toml_text(password));
        format!(
            "[couchdb]\nnodes = [\"http://{authority}\"]\nuser = {user}\npassword = {password}\n{present}\n"
        )
    }

    fn given(url: &str) -> Result<Self, String> {
        let wanted = "COUCHDB_URL must be http://NAME:PASSWORD@HOST:PORT, with the name and password of an administrator";
        let rest = url.strip_prefix("http://").ok_or(wanted)?;
        let (login, authority) = rest.rsplit_once('@').ok_or(wanted)?;
        let (user, password) = login.split_once(':').ok_or(wanted)?;
        let mut backend = Self {
            authority: authority.trim_end_matches('/').to_owned(),
            user: http::decode(user),
            password: http::decode(password),
            secret: None,
            child: None,
        };
        let session = backend.ask("GET", "/_session", None)?;
        let roles = session.json()["userCtx"]["roles"].to_string();
        if session.status != 200 || !roles.contains("\"_admin\"") {
            return Err(format!(
                "`{user}` of COUCHDB_URL is not an administrator there (status {})",
                session.status
            ));
        }
        backend.secret = backend.find_secret();
        Ok(backend)
    }

    /// Proxy authentication needs a shared secret, and has to be switched on.
    fn find_secret(&self) -> Option<String> {
        let setting = |path: &str| {
            let reply = self
                .ask("GET", &format!("/_node/_local/_config/{path}"), None)
                .ok()?;
            let text = reply.json().as_str().map(str::to_owned);
            text.filter(|_| reply.status == 200)
        };
        let handlers = setting("chttpd/authentication_handlers").unwrap_or_default();
        if !handlers.contains("proxy_authentication_handler") {
            note(
                "proxy authentication is off in that CouchDB: callers are presented as the service account",
            );
            return None;
        }
        let secret = variable("COUCHDB_SECRET").or_else(|| setting("chttpd_auth/secret"));
        if secret.is_none() {
            note(
                "the secret of that CouchDB can't be read (set COUCHDB_SECRET): callers are presented as the service account",
            );
        }
        secret
    }

    fn embedded() -> Result<Self, String> {
        let mut child = node()?
            .arg("server.mjs")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`node server.mjs` can't be started: {error}"))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        let authority = text("url").and_then(|url| Some(url.strip_prefix("http://")?.to_owned()));
        match (authority, text("admin"), text("password")) {
            (Some(authority), Some(user), Some(password)) => {
                let secret = text("proxySecret");
                Ok(Self {
                    authority,
                    user,
                    password,
                    secret,
                    child: Some(child),
                })
            }
            _ => {
                let _ = child.kill();
                Err(format!("`node server.mjs` in {FOLDER} did not start"))
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Node in this folder, with the packages installed.
pub(crate) fn node() -> Result<Command, String> {
    check_node()?;
    install()?;
    let mut node = Command::new("node");
    // Ctrl-C is ours to handle: what we start ends when its input does.
    node.current_dir(FOLDER).process_group(0);
    Ok(node)
}

fn check_node() -> Result<(), String> {
    let needed = format!(
        "Node.js {OLDEST_NODE} or newer and npm are needed (https://nodejs.org), or a CouchDB named by COUCHDB_URL"
    );
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .trim_start_matches('v')
                .to_owned(),
        )
    };
    let Some(node) = version("node") else {
        return Err(format!("{needed}: there is no `node` on the path"));
    };
    let major: u32 = node
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or_default();
    if major < OLDEST_NODE {
        return Err(format!("{needed}: this is Node.js {node}"));
    }
    match version("npm") {
        Some(_) => Ok(()),
        None => Err(format!("{needed}: there is no `npm` on the path")),
    }
}

/// `npm ci`, unless it has been done for this very `package-lock.json`.
fn install() -> Result<(), String> {
    let folder = Path::new(FOLDER);
    let wanted = folder.join("package-lock.json");
    let stamp = folder.join("node_modules/.installed-lock.json");
    let failed = |path: &PathBuf, error: std::io::Error| format!("`{}`: {error}", path.display());
    // Several test binaries may start at once; the first installs, the others wait here.
    let lock = File::open(&wanted).map_err(|error| failed(&wanted, error))?;
    lock.lock().map_err(|error| failed(&wanted, error))?;
    let text = fs::read(&wanted).map_err(|error| failed(&wanted, error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == text) {
        return Ok(());
    }
    note("installing the npm packages of tests/backend (once)");
    let output = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`npm ci` can't be started: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`npm ci` failed in {FOLDER}:\n{}", said.trim()));
    }
    fs::write(&stamp, text).map_err(|error| failed(&stamp, error))
}

#[expect(
    clippy::print_stderr,
    reason = "a person is waiting, and should know for what"
)]
fn note(text: &str) {
    eprintln!("· {text}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "no configuration file is read before the backend is there"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn toml_text(text: &str) -> String {
    Value::from(text).to_string()
}
