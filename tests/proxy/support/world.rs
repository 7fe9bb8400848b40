//! One test's world: a couchwarden of its own on a free port, its own databases, and the cast.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use couchwarden::config::Config;
use couchwarden::server::cert;
use http::Version;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::cast::{self, Cast, PASSWORD, backend, unique};
use super::client::Client;
use super::fake::Fake;

/// A couchwarden that runs, and all that it needs. Dropped, it stops, and what was made is deleted.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) directory: TempDir,
    pub(crate) config: Config,
    prefix: Arc<str>,
    cast: Arc<Cast>,
    databases: Mutex<Vec<String>>,
    users: Mutex<Vec<String>>,
    stops: Mutex<Vec<oneshot::Sender<()>>>,
    plain: bool,
}

impl World {
    /// In `policies`, `"@name"` is a database of this test, and `"$rita"` the name of one of the cast.
    pub(crate) async fn start(policies: &str) -> Self {
        Self::with(policies, "").await
    }

    /// With more sections of configuration. `"@name"` and `"$rita"` as in policies.
    pub(crate) async fn with(policies: &str, more: &str) -> Self {
        let prefix: Arc<str> = format!("{}_", unique()).into();
        Self::run(backend().section(), prefix, Cast::share(), policies, more).await
    }

    /// Over plain HTTP, for clients that don't know our certificate.
    pub(crate) async fn plain(policies: &str) -> Self {
        Self::plain_with(policies, "").await
    }

    /// The same with more sections of configuration.
    pub(crate) async fn plain_with(policies: &str, more: &str) -> Self {
        let prefix: Arc<str> = format!("{}_", unique()).into();
        let section = format!("insecure = true\n{}", backend().section());
        let mut world = Self::run(section, prefix, Cast::share(), policies, more).await;
        world.plain = true;
        world
    }

    /// Before the backend, with a relay at this address between the two.
    pub(crate) async fn behind(relay: SocketAddr, policies: &str, more: &str) -> Self {
        Self::behind_telling(relay, "", policies, more).await
    }

    /// The same, with more keys of `[couchdb]`.
    pub(crate) async fn behind_telling(
        relay: SocketAddr,
        keys: &str,
        policies: &str,
        more: &str,
    ) -> Self {
        let prefix: Arc<str> = format!("{}_", unique()).into();
        let (authority, relay) = (&backend().authority, relay.to_string());
        let section = backend().section().replace(authority, &relay);
        let section = format!("{section}{keys}");
        Self::run(section, prefix, Cast::share(), policies, more).await
    }

    /// Before the backend with a relay between the two, to which it is shown tokens that are signed by a shared key; none
    /// where it takes none.
    pub(crate) async fn behind_sharing_a_key(relay: SocketAddr, policies: &str) -> Option<Self> {
        let prefix: Arc<str> = format!("{}_", unique()).into();
        let section = backend().shared_section()?;
        let section = section.replace(&backend().authority, &relay.to_string());
        Some(Self::run(section, prefix, Cast::share(), policies, "").await)
    }

    /// Before the backend behind a TLS pipe; `authority` is the file of the certificate that its own is verified by.
    pub(crate) async fn over_tls(pipe: SocketAddr, authority: &Path, policies: &str) -> Self {
        let prefix: Arc<str> = format!("{}_", unique()).into();
        let plain = format!("http://{}", backend().authority);
        let section = backend()
            .section()
            .replace(&plain, &format!("https://{pipe}"));
        let section = format!("{section}ca = \"{}\"\n", authority.display());
        Self::run(section, prefix, Cast::share(), policies, "").await
    }

    /// Before a fake CouchDB, where databases have no prefix and the cast no suffix.
    pub(crate) async fn before(fake: &Fake, policies: &str, more: &str) -> Self {
        let section = pretended(fake.address);
        Self::run(section, "".into(), Cast::pretended(), policies, more).await
    }

    /// The same over plain HTTP.
    pub(crate) async fn plain_before(fake: &Fake, policies: &str, more: &str) -> Self {
        Self::plainly_before(fake.address, policies, more).await
    }

    /// The same before any other one.
    pub(crate) async fn plainly_before(couchdb: SocketAddr, policies: &str, more: &str) -> Self {
        let section = format!("insecure = true\n{}", pretended(couchdb));
        let mut world = Self::run(section, "".into(), Cast::pretended(), policies, more).await;
        world.plain = true;
        world
    }

    async fn run(
        couchdb: String,
        prefix: Arc<str>,
        cast: Arc<Cast>,
        policies: &str,
        more: &str,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        cert::make(&directory.path().join("certs"), &[]).unwrap();
        let expand = |text: &str| expand(text, &cast, &prefix);
        std::fs::create_dir(directory.path().join("policies")).unwrap();
        std::fs::write(
            directory.path().join("policies/test.toml"),
            expand(policies),
        )
        .unwrap();
        let vouchers = if more.contains("[nodes]") {
            r#"["nodes", "couchdb"]"#
        } else {
            r#"["couchdb"]"#
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\ncertificates = \"certs\"\n{couchdb}\n\
             [identity]\nadministrators = [\"{}\"]\nvouchers = {vouchers}\nbcrypt = {{ cost = 4 }}\n\
             session = {{ secret = \"0123456789abcdef0123456789abcdef\" }}\n\
             [policies]\ndirectory = \"policies\"\n{}",
            cast.name("ops"),
            expand(more).replace("$port", &address.port().to_string())
        );
        let file = directory.path().join("couchwarden.toml");
        std::fs::write(&file, &text).unwrap();
        let config = Config::parse(&text, &file);
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{text}"));
        couchwarden::check(&config).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        let stop = serve(config.clone(), listener);
        Self {
            address,
            directory,
            config,
            prefix,
            cast,
            databases: Mutex::default(),
            users: Mutex::default(),
            stops: Mutex::new(vec![stop]),
            plain: false,
        }
    }

    /// Another couchwarden of the same configuration, before the same databases.
    pub(crate) async fn another(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = serve(self.config.clone(), listener);
        self.stops.lock().unwrap().push(stop);
        address
    }

    /// Its own couchwarden stops; what it has left behind is somebody else's.
    pub(crate) fn retire(&self) {
        self.stops.lock().unwrap().clear();
    }

    /// A database that couchwarden has made is deleted with this world.
    pub(crate) fn adopt(&self, full: &str) {
        self.databases.lock().unwrap().push(full.to_owned());
    }

    /// An account under this very name.
    pub(crate) fn make_user(&self, full: &str, roles: &[&str]) {
        cast::make_user(full, roles);
        self.users.lock().unwrap().push(full.to_owned());
    }

    pub(crate) fn remove_user(&self, full: &str) {
        cast::delete_user(full);
    }

    /// Ends a replication as an administrator would, whatever CouchDB notes in its document meanwhile.
    pub(crate) async fn delete_replication(&self, id: &str) {
        let path = format!("/_replicator/{id}");
        for _ in 0..20 {
            let found = self.backend().get(&path).await;
            if found.status == 404 {
                return;
            }
            let rev = found.json()["_rev"].as_str().unwrap().to_owned();
            self.backend().delete(&format!("{path}?rev={rev}")).await;
        }
        panic!("`{id}` can't be deleted");
    }

    /// CouchDB itself, as nobody.
    pub(crate) fn backend_without_login(&self) -> Client {
        Client {
            address: backend().authority.parse().unwrap(),
            tls: None,
            ..self.anonymous()
        }
    }

    /// Makes a database and fills it; `documents` is an array. With one shard, CouchDB answers the same each time.
    pub(crate) async fn database(&self, name: &str, documents: Value) {
        self.database_with(name, "", documents).await;
    }

    /// The same with more parameters, `&partitioned=true`.
    pub(crate) async fn database_with(&self, name: &str, more: &str, documents: Value) {
        let full = self.db(name);
        self.databases.lock().unwrap().push(full.clone());
        let made = self
            .backend()
            .put(&format!("/{full}?q=1{more}"), Value::Null)
            .await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        let members =
            json!({ "members": { "roles": [self.role(name)] }, "admins": { "roles": ["_admin"] } });
        self.backend()
            .put(&format!("/{full}/_security"), members)
            .await
            .yes();
        self.fill(name, documents).await;
    }

    /// Puts documents into a database, past couchwarden.
    pub(crate) async fn fill(&self, name: &str, documents: Value) {
        if documents
            .as_array()
            .is_some_and(|documents| !documents.is_empty())
        {
            let path = format!("/{}/_bulk_docs", self.db(name));
            let stored = self
                .backend()
                .post(&path, json!({ "docs": documents }))
                .await
                .yes();
            for row in stored.as_array().unwrap() {
                assert!(row["error"].is_null(), "{row}");
            }
        }
    }

    /// The real name of a database of this test.
    pub(crate) fn db(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The role by which a database of this test lets in whoever comes through couchwarden.
    pub(crate) fn role(&self, name: &str) -> String {
        backend().role(&self.db(name))
    }

    /// The real name of one of the cast.
    pub(crate) fn name(&self, name: &str) -> String {
        self.cast.name(name)
    }

    /// The backend itself, as its administrator.
    pub(crate) fn backend(&self) -> Client {
        let backend = backend();
        self.backend_without_login()
            .with_login(&backend.user, &backend.password)
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client {
            address: self.address,
            tls: (!self.plain).then(|| self.tls(b"http/1.1")),
            version: Version::HTTP_11,
            headers: Vec::new(),
            prefix: Arc::clone(&self.prefix),
            login: None,
        }
    }

    /// One of the cast: `rita`, `walt`, `sue`, `sam`, `tom`, `ops`.
    pub(crate) fn as_(&self, name: &str) -> Client {
        self.anonymous().with_login(&self.name(name), PASSWORD)
    }

    /// A user who is not of the cast; he is deleted with this world.
    pub(crate) fn user(&self, name: &str, roles: &[&str]) -> Client {
        let full = format!("{name}{}", unique());
        cast::make_user(&full, roles);
        self.users.lock().unwrap().push(full.clone());
        self.anonymous().with_login(&full, PASSWORD)
    }

    /// A name that nobody has; if an account comes of it, it is deleted with this world.
    pub(crate) fn free_name(&self) -> String {
        let name = format!("free{}", unique());
        self.users.lock().unwrap().push(name.clone());
        name
    }

    /// Gives a user these roles, past couchwarden.
    pub(crate) fn roles(&self, user: &Client, roles: &[&str]) {
        cast::change_user(user.name(), &json!({ "roles": roles }));
    }

    /// Gives a user another password, past couchwarden.
    pub(crate) fn password(&self, user: &Client, password: &str) {
        cast::change_user(user.name(), &json!({ "password": password }));
    }

    /// Removes a user, past couchwarden.
    pub(crate) fn remove(&self, user: &Client) {
        cast::delete_user(user.name());
    }

    /// Other policies from now on. All couchwardens of this process read theirs again, which changes nothing for them.
    pub(crate) fn reload(&self, policies: &str) {
        let file = self.directory.path().join("policies/test.toml");
        std::fs::write(file, expand(policies, &self.cast, &self.prefix)).unwrap();
        let process = std::process::id().to_string();
        let told = std::process::Command::new("kill")
            .args(["-HUP", &process])
            .status();
        assert!(told.unwrap().success());
    }

    pub(crate) fn over_http2(&self, client: &Client) -> Client {
        Client {
            tls: Some(self.tls(b"h2")),
            ..client.clone()
        }
        .http2()
    }

    fn tls(&self, alpn: &[u8]) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.authority()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// The certificate that clients trust.
    pub(crate) fn authority(&self) -> std::path::PathBuf {
        Path::new(self.directory.path()).join("certs/ca.crt")
    }
}

/// The configuration for a CouchDB that is none.
fn pretended(couchdb: SocketAddr) -> String {
    format!(
        "[couchdb]\nnodes = [\"http://{couchdb}\"]\nuser = \"warden\"\npassword = \"errands\"\npresent = \"proxy\"\nproxy_secret = \"shared\"\n"
    )
}

/// Runs a couchwarden; it ends when the sender is dropped.
fn serve(config: Config, listener: TcpListener) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    tokio::spawn(async move {
        couchwarden::serve(config, listener, stopped)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
    });
    stop
}

/// Puts the real names of databases and of the cast into a text.
fn expand(text: &str, cast: &Cast, prefix: &str) -> String {
    cast.expand(text).replace("\"@", &format!("\"{prefix}"))
}

impl Drop for World {
    fn drop(&mut self) {
        self.stops.get_mut().unwrap().clear();
        for user in self.users.get_mut().unwrap() {
            cast::delete_user(user);
        }
        for database in self.databases.get_mut().unwrap() {
            for way in ["down", "up"] {
                cast::delete(&format!("/_replicator/couchwarden:{database}:{way}"));
            }
            let _ = backend().ask("DELETE", &format!("/{database}"), None);
        }
    }
}
