//! From what the file says to what it means: defaults, and what can't be meant together.
//!
//! Invariant: every default of the configuration stands in this file, in `couchdb`, in `limits` or in `tokens`.

use super::couchdb::couchdb;
use super::limits::{count, limits, networks};
use super::provisioning::provisioning;
use super::raw::{At, Environment, Reader, Section, values};
use super::tokens::tokens;
use super::words::{is_host, is_web_origin, keeps_hsts, unusable_database};
use super::{Bcrypt, Config, Identity, Listen, Login, Network, Nodes, Session, Voucher};
use crate::mistake::Mistake;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A signing key shorter than this can be guessed.
const MIN_SECRET: usize = 16;

/// How long a session lasts at most, unless one cookie is good for longer.
const LONGEST_SESSION: Duration = Duration::from_secs(12 * 3600);

/// bcrypt of cost 15 takes two seconds: nobody waits longer, and each login would be an attack.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// Reads the whole file. All mistakes are gathered before any is told.
pub(super) fn read(
    text: &str,
    path: &Path,
    environment: Environment<'_>,
) -> Result<Config, Vec<Mistake>> {
    let reader = Reader::new(path, text, environment);
    let config = reader.root().and_then(|root| config(root, &reader));
    let mistakes = reader.into_mistakes();
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        Some(_) | None => Err(mistakes),
    }
}

fn config(mut root: Section<'_>, reader: &Reader<'_>) -> Option<Config> {
    // Every section is read before the first `?`, so that no mistake hides another.
    let listen = listen(root.section("listen"), reader);
    let operators = operators(root.section("operators"));
    let couchdb = couchdb(root.section("couchdb"), reader);
    let identity = identity(root.section("identity"), reader);
    let mut policies = root.section("policies");
    let directory = policies.path("directory");
    if directory.is_none() {
        policies.missing("directory");
    }
    policies.finish();
    let mut ddocs = root.section("ddocs");
    let ddocs_directory = ddocs.path_or("directory", "ddocs");
    ddocs.finish();
    let nodes = nodes(root.section("nodes"), reader);
    let node = couchdb.as_ref().and_then(|couchdb| couchdb.nodes.first());
    let provisioning = provisioning(root.section("provisioning"), node, reader);
    let cors = cors(root.section("cors"), reader);
    let (limits, shared_networks) = limits(root.section("limits"), reader);
    let trusted = trusted(root.section("trusted"), reader);
    root.finish();
    let identity = identity?;
    if nodes.database.is_none()
        && let Some((_, place)) = identity.1
    {
        reader.mistake(place, "the voucher `nodes` needs `nodes.database`");
    }
    Some(Config {
        listen: listen?,
        operators,
        couchdb: couchdb?,
        identity: identity.0,
        policies: directory?.value,
        ddocs: ddocs_directory,
        nodes,
        provisioning,
        cors,
        limits,
        shared_networks,
        trusted,
    })
}

fn listen(mut section: Section<'_>, reader: &Reader<'_>) -> Option<Listen> {
    let address = section.address("address");
    let certificates = section.path_or("certificates", "certs");
    let insecure = section.flag("insecure");
    let hsts = section.days("hsts");
    let mut names = section.texts("names").unwrap_or_default();
    if address.is_none() {
        section.missing("address");
    }
    section.finish();
    if let Some(insecure) = insecure.as_ref().filter(|insecure| insecure.value)
        && address
            .as_ref()
            .is_some_and(|address| !address.value.ip().is_loopback())
    {
        let message = "plain HTTP is served on a loopback address only, such as 127.0.0.1";
        reader.mistake(insecure.place, message);
    }
    let is_insecure = insecure.is_some_and(|insecure| insecure.value);
    if let Some(hsts) = &hsts {
        may_ask_for_tls(hsts.place, is_insecure, &names, reader);
    }
    names.retain(|name| {
        let good = is_host(&name.value) && name.value == name.value.to_ascii_lowercase();
        if !good {
            let message = format!("`{}` is not a host name in lower case", name.value);
            reader.mistake(name.place, message);
        }
        good
    });
    Some(Listen {
        address: address?.value,
        certificates,
        insecure: is_insecure,
        names: values(names),
        hsts: hsts.map(|hsts| hsts.value),
    })
}

/// Browsers keep to `hsts` whatever is served there later, so names that developers share can't ask for it, and of
/// addresses they take it for nothing (RFC 6797 section 8.3).
fn may_ask_for_tls(place: usize, insecure: bool, names: &[At<String>], reader: &Reader<'_>) {
    if insecure {
        reader.mistake(place, "`listen.hsts` needs TLS");
    }
    for name in names {
        if !keeps_hsts(&name.value) {
            let message = format!("`listen.hsts` is not for `{}`", name.value);
            reader.mistake(place, message);
        }
    }
}

fn operators(mut section: Section<'_>) -> Option<SocketAddr> {
    let address = section.address("address");
    section.finish();
    address.map(|address| address.value)
}

type PlacedVoucher = Option<(Voucher, usize)>;

/// Gives the place of the voucher `nodes` too, which another section may contradict.
fn identity(mut section: Section<'_>, reader: &Reader<'_>) -> Option<(Identity, PlacedVoucher)> {
    let administrators = section.texts("administrators").unwrap_or_default();
    let said = section.texts("vouchers");
    let session = session(section.section("session"), reader);
    let tokens = tokens(section.section("tokens"), reader);
    let bcrypt = bcrypt(section.section("bcrypt"), reader);
    let login = login(section.section("login"));
    section.finish();
    for name in &administrators {
        if name.value.is_empty() || name.value.chars().any(char::is_control) {
            reader.mistake(name.place, "an administrator needs a name");
        }
    }
    let mut vouchers = Vec::new();
    let mut nodes = None;
    match said {
        None => vouchers.push(Voucher::CouchDb),
        Some(said) => {
            for voucher in said {
                match voucher.value.as_str() {
                    "nodes" => {
                        nodes = Some((Voucher::Nodes, voucher.place));
                        vouchers.push(Voucher::Nodes);
                    }
                    "couchdb" => vouchers.push(Voucher::CouchDb),
                    other => {
                        let message = format!("`{other}` is neither `nodes` nor `couchdb`");
                        reader.mistake(voucher.place, message);
                    }
                }
            }
        }
    }
    let identity = Identity {
        administrators: values(administrators),
        vouchers,
        session: session?,
        tokens,
        bcrypt,
        login,
    };
    Some((identity, nodes))
}

fn session(mut section: Section<'_>, reader: &Reader<'_>) -> Option<Session> {
    let secret = section.secret("secret");
    let previous = section.secret("previous");
    let lifetime = section.duration("lifetime");
    let longest = section.duration("longest");
    if secret.is_none() {
        section.missing("secret");
    }
    section.finish();
    for secret in [&secret, &previous].into_iter().flatten() {
        if secret.value.expose().len() < MIN_SECRET {
            let message = format!("a session secret has {MIN_SECRET} bytes or more");
            reader.mistake(secret.place, message);
        }
    }
    let lifetime = lifetime.map_or(Duration::from_secs(600), |lifetime| lifetime.value);
    if let Some(longest) = longest.as_ref().filter(|longest| longest.value < lifetime) {
        let message = "`identity.session.longest` is shorter than one `lifetime`";
        reader.mistake(longest.place, message);
    }
    Some(Session {
        secret: secret?.value,
        previous: previous.map(|previous| previous.value),
        lifetime,
        longest: longest.map_or(LONGEST_SESSION.max(lifetime), |longest| longest.value),
    })
}

fn bcrypt(mut section: Section<'_>, reader: &Reader<'_>) -> Bcrypt {
    let place = section.place;
    let mut costs = |key, default| section.number(key).map_or(default, |cost| cost.value);
    let (min_cost, cost, max_cost) = (
        costs("min_cost", 4),
        costs("cost", 11),
        costs("max_cost", 14),
    );
    let workers = costs("workers", 2);
    let queue = costs("queue", 64);
    section.finish();
    let ordered = min_cost <= cost && cost <= max_cost;
    if !(ordered && COSTS.contains(&min_cost) && COSTS.contains(&max_cost)) {
        let message = "bcrypt costs lie between 4 and 15, with min_cost <= cost <= max_cost";
        reader.mistake(place, message);
    }
    Bcrypt {
        cost,
        min_cost,
        max_cost,
        workers: count(workers).max(1),
        queue: count(queue),
    }
}

fn login(mut section: Section<'_>) -> Login {
    let failures = section.number("failures");
    let window = section.duration("window");
    let cache = section.duration("cache");
    section.finish();
    Login {
        failures: failures.map_or(4, |failures| failures.value),
        window: window.map_or(Duration::from_secs(300), |window| window.value),
        cache: cache.map_or(Duration::from_secs(60), |cache| cache.value),
    }
}

fn nodes(mut section: Section<'_>, reader: &Reader<'_>) -> Nodes {
    let database = section.text("database");
    let attributes = section.texts("attributes");
    let mut flag = |key, default| section.flag(key).map_or(default, |flag| flag.value);
    let (self_service, listing, creation) = (
        flag("self_service", false),
        flag("listing", true),
        flag("creation", true),
    );
    let creations = section.number("creations");
    section.finish();
    if let Some(database) = &database
        && let Some(message) = unusable_database(&database.value)
    {
        reader.mistake(database.place, message);
    }
    Nodes {
        database: database.map(|database| database.value),
        attributes: values(attributes.unwrap_or_default()),
        self_service,
        listing,
        creation,
        creations: creations.map_or(20, |creations| creations.value),
    }
}

fn cors(mut section: Section<'_>, reader: &Reader<'_>) -> Vec<String> {
    let origins = section.texts("origins").unwrap_or_default();
    section.finish();
    for origin in &origins {
        if origin.value == "*" {
            // Security: `*` with credentials lets any page read for the user (leaks A12).
            reader.mistake(
                origin.place,
                "`*` can't be allowed: answers carry credentials",
            );
        } else if !is_web_origin(&origin.value) {
            let message = format!("`{}` is not `scheme://host[:port]`", origin.value);
            reader.mistake(origin.place, message);
        }
    }
    values(origins)
}

fn trusted(mut section: Section<'_>, reader: &Reader<'_>) -> Vec<Network> {
    let proxies = networks(section.texts("proxies"), reader);
    section.finish();
    proxies
}
