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

use couchwarden::config::{Signing, SigningKey};
use serde_json::Value;

pub(crate) use http::Reply;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/backend");
const OLDEST_NODE: u32 = 20;

/// How callers are presented.
#[derive(Debug, Clone)]
pub(crate) enum Present {
    /// By tokens of this key, as a file holds it.
    Jwt(String),
    /// By proxy authentication, with this secret.
    Proxy(String),
    /// As the administrator.
    Service,
}

/// The role of whoever comes through couchwarden, where callers are presented by tokens.
const ROLE: &str = "warden:{db}";

/// A running CouchDB, or what answers like one.
#[derive(Debug)]
pub(crate) struct Backend {
    /// `host:port`; it speaks plain HTTP.
    pub(crate) authority: String,
    /// Its administrator.
    pub(crate) user: String,
    /// His password.
    pub(crate) password: String,
    /// How callers are presented to it.
    pub(crate) present: Present,
    /// A key that it shares, as a file holds it, where it takes tokens: what this one signs it takes, too.
    pub(crate) shared: Option<String>,
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
        self.section_of(&self.present)
    }

    /// The same of one that signs by the shared key; none where there is none.
    pub(crate) fn shared_section(&self) -> Option<String> {
        let key = self.shared.clone()?;
        Some(self.section_of(&Present::Jwt(key)))
    }

    fn section_of(&self, present: &Present) -> String {
        let (user, password) = (toml_text(&self.user), toml_text(&self.password));
        let account = format!("user = {user}\npassword = {password}");
        let present = match present {
            Present::Jwt(key) => {
                format!(
                    "present = \"jwt\"\njwt_key = {}\nrole = \"{ROLE}\"",
                    toml_text(key)
                )
            }
            Present::Proxy(secret) => {
                format!(
                    "{account}\npresent = \"proxy\"\nproxy_secret = {}",
                    toml_text(secret)
                )
            }
            Present::Service => format!("{account}\npresent = \"service\""),
        };
        format!(
            "[couchdb]\nnodes = [\"http://{}\"]\n{present}\n",
            self.authority
        )
    }

    /// The role by which `_security` of this database lets in whoever comes through couchwarden.
    pub(crate) fn role(&self, db: &str) -> String {
        match self.present {
            Present::Jwt(_) => ROLE.replace("{db}", db),
            Present::Proxy(_) | Present::Service => "warden".to_owned(),
        }
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
            present: Present::Service,
            shared: None,
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
        backend.present = backend.find_way();
        if matches!(backend.present, Present::Jwt(_)) {
            backend.shared = Some(backend.tell_key(Signing::Hs256)?);
        }
        Ok(backend)
    }

    /// Tokens need our key there, proxy authentication a shared secret; and either has to be switched on.
    fn find_way(&self) -> Present {
        let setting = |path: &str| {
            let reply = self
                .ask("GET", &format!("/_node/_local/_config/{path}"), None)
                .ok()?;
            let text = reply.json().as_str().map(str::to_owned);
            text.filter(|_| reply.status == 200)
        };
        let handlers = setting("chttpd/authentication_handlers").unwrap_or_default();
        let wanted = variable("COUCHDB_PRESENT").unwrap_or_else(|| "jwt".to_owned());
        if wanted == "jwt" && handlers.contains("jwt_authentication_handler") {
            match self.tell_key(Signing::Es256) {
                Ok(key) => return Present::Jwt(key),
                Err(why) => note(&format!("that CouchDB can't be told a key: {why}")),
            }
        }
        if wanted == "service" || !handlers.contains("proxy_authentication_handler") {
            note("callers are presented to that CouchDB as the service account");
            return Present::Service;
        }
        match variable("COUCHDB_SECRET").or_else(|| setting("chttpd_auth/secret")) {
            Some(secret) => Present::Proxy(secret),
            None => {
                note(
                    "the secret of that CouchDB can't be read (set COUCHDB_SECRET): callers are presented as the service account",
                );
                Present::Service
            }
        }
    }

    /// Makes a key and tells CouchDB what it verifies by, which it forgets when it is started again.
    fn tell_key(&self, signing: Signing) -> Result<String, String> {
        let (key, name, value) = new_key(signing)?;
        let path = format!("/_node/_local/_config/jwt_keys/{name}");
        match self.ask("PUT", &path, Some(&Value::from(value)))?.status {
            200 => Ok(key),
            status => Err(format!("status {status}")),
        }
    }

    fn embedded() -> Result<Self, String> {
        let way = Way::embedded()?;
        let mut child = node()?
            .arg("server.mjs")
            .args(way.told)
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
                let proxy = text("proxySecret").map_or(Present::Service, Present::Proxy);
                Ok(Self {
                    authority,
                    user,
                    password,
                    present: way.present.unwrap_or(proxy),
                    shared: way.shared,
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

/// How callers are presented to the server of this folder, and what it is told.
#[derive(Default)]
struct Way {
    present: Option<Present>,
    shared: Option<String>,
    told: Vec<String>,
}

impl Way {
    /// Tokens and the keys for them, unless `COUCHDB_PRESENT=proxy` says otherwise.
    fn embedded() -> Result<Self, String> {
        let mut way = Self::default();
        if variable("COUCHDB_PRESENT").is_some_and(|way| way == "proxy") {
            return Ok(way);
        }
        for signing in [Signing::Es256, Signing::Hs256] {
            let (key, name, value) = new_key(signing)?;
            way.told.extend(["--jwt-key".to_owned(), name, value]);
            match signing {
                Signing::Es256 => way.present = Some(Present::Jwt(key)),
                Signing::Hs256 => way.shared = Some(key),
            }
        }
        Ok(way)
    }
}

/// A key as a file holds it, and the name and value of CouchDB's `[jwt_keys]`.
fn new_key(signing: Signing) -> Result<(String, String, String), String> {
    let made = SigningKey::made(signing).ok_or("this machine has no random numbers")?;
    let (name, value) = SigningKey::parse(&made)?
        .ini()
        .ok_or("the key has no public half")?;
    let key = String::from_utf8(made.expose().to_vec()).map_err(|error| error.to_string())?;
    Ok((key, name, value))
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
