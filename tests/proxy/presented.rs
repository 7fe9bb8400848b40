//! As whom CouchDB sees a caller: by tokens that couchwarden signs, each for one database and a few minutes; and which of
//! a caller's roles it is told.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use couchwarden::config::{Present, Signing, SigningKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Client, World, backend};

const RULES: &str = r#"
[[rule]]
name = "readers"
databases = ["@notes", "@other"]
callers = { roles = ["reader"] }
permit = ["read", "create", "update"]
[[rule]]
name = "own-number"
databases = ["@notes"]
callers = { roles = ["number:{number}"] }
permit = ["read"]
documents = { number = "{number}" }
"#;

/// A relay that keeps all that couchwarden says to CouchDB.
struct Wire {
    address: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
}

/// A token that went over it.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    name: String,
    roles: Vec<String>,
    end: u64,
}

impl Wire {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let _ = relay(client, kept).await;
                });
            }
        });
        Self { address, said }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    fn tokens(&self) -> Vec<Token> {
        let text = self.text();
        let shown = text.split("authorization: Bearer ").skip(1);
        shown
            .map(|rest| Token::read(rest.split("\r\n").next().unwrap()))
            .collect()
    }

    /// The last token that speaks for this name.
    fn token(&self, name: &str) -> Token {
        let tokens = self.tokens();
        let of = |token: &&Token| token.name == name;
        tokens
            .iter()
            .rfind(of)
            .unwrap_or_else(|| panic!("{tokens:?}"))
            .clone()
    }
}

impl Token {
    fn read(text: &str) -> Self {
        let payload = text.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let roles = claims["_couchdb.roles"].as_array().unwrap();
        let roles = roles.iter().map(|role| role.as_str().unwrap().to_owned());
        Self {
            text: text.to_owned(),
            name: claims["sub"].as_str().unwrap().to_owned(),
            roles: roles.collect(),
            end: claims["exp"].as_u64().unwrap(),
        }
    }

    /// Whoever has caught it, before a server.
    fn caught(&self, nobody: &Client) -> Client {
        nobody
            .clone()
            .with_header("authorization", &format!("Bearer {}", self.text))
    }
}

async fn relay(client: TcpStream, kept: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let server = TcpStream::connect(&backend().authority).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from_client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        kept.lock().unwrap().extend_from_slice(&buffer[..read]);
        to_server.write_all(&buffer[..read]).await?;
    }
}

/// Does this CouchDB take tokens?
fn takes_tokens(world: &World) -> bool {
    matches!(world.config.couchdb.present, Present::Jwt { .. })
}

async fn filled(wire: &Wire, keys: &str, more: &str) -> World {
    let world = World::behind_telling(wire.address, keys, RULES, more).await;
    let documents = || json!([{ "_id": "a", "number": "7" }]);
    world.database("notes", documents()).await;
    world.database("other", documents()).await;
    world
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_couchdb_is_shown_opens_one_database_for_minutes() {
    let wire = Wire::start().await;
    let world = filled(&wire, "", "").await;
    if !takes_tokens(&world) {
        return;
    }
    let rita = world.as_("rita");
    rita.get("/@notes/a").await.yes();
    let token = wire.token(&world.name("rita"));
    assert_eq!(token.roles, ["reader", &world.role("notes")]);
    assert!(token.end > now() && token.end <= now() + 300, "{token:?}");
    let caught = token.caught(&world.backend_without_login());
    caught.get("/@notes/a").await.yes();
    // Not what its bearer may read by another token, and nothing that is no database.
    rita.get("/@other/a").await.yes();
    caught.get("/@other/a").await.no(403, "forbidden");
    caught
        .put("/@notes/_design/mine", json!({}))
        .await
        .no(403, "forbidden");
    for closed in [
        "/_users/_all_docs",
        "/_replicator/_all_docs",
        "/_node/_local/_config",
    ] {
        assert_ne!(caught.get(closed).await.status, 200, "{closed}");
    }
    // The same caller is shown by the same token again, and in another database by another.
    rita.get("/@notes/a").await.yes();
    assert_eq!(wire.token(&world.name("rita")).text, token.text);
    rita.get("/@other/a").await.yes();
    let other = wire.token(&world.name("rita"));
    assert_eq!(other.roles, ["reader", &world.role("other")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_of_ours_goes_to_couchdb_and_what_opens_everything_lives_a_minute() {
    let wire = Wire::start().await;
    let world = filled(&wire, "", "").await;
    if !takes_tokens(&world) {
        return;
    }
    let ops = world.as_("ops");
    ops.get("/@notes/_security").await.yes();
    ops.put("/@notes/b", json!({})).await.yes();
    world.as_("rita").put("/@notes/c", json!({})).await.yes();
    for token in wire.tokens() {
        let opens = token.roles.iter().any(|role| role == "_admin");
        let life = if opens { 60 } else { 300 };
        assert!(token.end > now() && token.end <= now() + life, "{token:?}");
        if opens {
            assert!(
                [&*world.name("ops"), "couchwarden"].contains(&&*token.name),
                "{token:?}"
            );
        }
    }
    let administrator = wire.token(&world.name("ops"));
    assert_eq!(administrator.roles, ["_admin", &world.role("notes")]);
    // What an errand only reads needs no more than a member's role.
    let errands = wire.tokens().into_iter();
    let errands = errands.filter(|token| token.name == "couchwarden");
    let roles: BTreeSet<Vec<String>> = errands.map(|token| token.roles).collect();
    assert!(roles.contains(&vec![world.role("notes")]), "{roles:?}");
    assert!(roles.iter().all(|roles| roles.len() == 1), "{roles:?}");
    let (name, password) = world.backend().login.unwrap();
    let login = STANDARD.encode(format!("{name}:{password}"));
    assert!(
        !wire.text().contains(&login),
        "the administrator's password"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_until_its_end_and_by_its_key() {
    let world = World::start(RULES).await;
    let Present::Jwt { key } = &world.config.couchdb.present else {
        return;
    };
    let other = SigningKey::parse(&SigningKey::made(Signing::Es256).unwrap()).unwrap();
    let token = |id: &str, key: &SigningKey, end: u64| {
        let head = json!({ "alg": "ES256", "kid": id });
        let claims = json!({ "sub": "x", "_couchdb.roles": ["_admin"], "exp": end });
        let parts = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap());
        format!("Bearer {signed}.{signature}")
    };
    let nobody = world.backend_without_login();
    let ask = async |token: String| {
        let bearer = nobody.clone().with_header("authorization", &token);
        bearer.get("/_session").await
    };
    let good = ask(token(key.id(), key, now() + 5)).await.yes();
    assert_eq!(good["userCtx"], json!({ "name": "x", "roles": ["_admin"] }));
    ask(token(key.id(), key, now() - 1))
        .await
        .no(401, "unauthorized");
    ask(token(key.id(), &other, now() + 5))
        .await
        .no(400, "bad_request");
    ask(token(other.id(), &other, now() + 5))
        .await
        .no(400, "bad_request");
}

/// What is signed by a key that CouchDB shares opens what it says, for as long as it says, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_couchdb_shares_signs_as_well() {
    let wire = Wire::start().await;
    let Some(world) = World::behind_sharing_a_key(wire.address, RULES).await else {
        return; // This CouchDB takes no tokens.
    };
    let Present::Jwt { key } = &world.config.couchdb.present else {
        panic!("tokens are not signed");
    };
    assert_eq!(key.signing(), Signing::Hs256);
    for name in ["notes", "other"] {
        let documents = json!([{ "_id": "a", "number": "7" }]);
        world.database(name, documents).await;
    }
    let (rita, ops) = (world.as_("rita"), world.as_("ops"));
    rita.get("/@notes/a").await.yes();
    rita.put("/@notes/b", json!({})).await.yes();
    ops.get("/@notes/_security").await.yes();
    let token = wire.token(&world.name("rita"));
    assert_eq!(token.roles, ["reader", &world.role("notes")]);
    assert!(token.end > now() && token.end <= now() + 300, "{token:?}");
    let nobody = world.backend_without_login();
    token.caught(&nobody).get("/@notes/a").await.yes();
    token
        .caught(&nobody)
        .get("/@other/a")
        .await
        .no(403, "forbidden");
    let administrator = wire.token(&world.name("ops"));
    assert!(administrator.end <= now() + 60, "{administrator:?}");
    // Signed by another secret, or by none, it opens nothing.
    let other = SigningKey::parse(&SigningKey::made(Signing::Hs256).unwrap()).unwrap();
    let (signed, signature) = token.text.rsplit_once('.').unwrap();
    for wrong in [
        other.sign(signed.as_bytes()).unwrap(),
        URL_SAFE_NO_PAD.decode(signature).unwrap()[1..].to_vec(),
        Vec::new(),
    ] {
        let text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(wrong));
        let forged = Token {
            text,
            ..token.clone()
        };
        let answer = forged.caught(&nobody).get("/@notes/a").await;
        answer.no(400, "bad_request");
    }
}

/// Nor where CouchDB vouches for the tokens of others, who takes ours too.
#[tokio::test(flavor = "multi_thread")]
async fn what_couchdb_is_shown_opens_nothing_here() {
    let wire = Wire::start().await;
    let world = filled(&wire, "", "[identity.tokens]\ncouchdb = true\n").await;
    if !takes_tokens(&world) {
        return;
    }
    world.as_("rita").get("/@notes/a").await.yes();
    for name in [&*world.name("rita"), "couchwarden"] {
        let caught = wire.token(name).caught(&world.anonymous());
        for path in ["/", "/_session", "/@notes/a"] {
            caught.get(path).await.no(401, "unauthorized");
        }
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// All that is logged on this thread, which is all of a world that runs on it.
fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    // While two subscribers live, no thread without one switches an event off for those that have one.
    static OTHER: OnceLock<tracing::Dispatch> = OnceLock::new();
    OTHER.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    let log = Log::default();
    let written = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone());
    (log, tracing::subscriber::set_default(written.finish()))
}

#[tokio::test]
async fn nothing_that_couchdb_is_shown_is_in_the_log() {
    let (log, _guard) = log();
    let wire = Wire::start().await;
    let world = filled(&wire, "", "").await;
    world.as_("rita").get("/@notes/a").await.yes();
    world
        .as_("rita")
        .put("/@notes/a", json!({}))
        .await
        .no(409, "conflict");
    world.as_("tom").get("/@notes/a").await.no(404, "not_found");
    world.as_("ops").get("/_node/_local/_stats").await;
    let told = log.text();
    assert!(told.contains("/{db}/{docid}"), "{told}");
    assert!(!told.contains("eyJ"), "{told}");
    for token in wire.tokens() {
        let signature = token.text.rsplit('.').next().unwrap();
        assert!(!told.contains(signature), "{told}");
    }
}

fn roles(count: usize) -> Vec<String> {
    let numbers = (0..count).map(|at| format!("number:+4930{at:06}"));
    numbers
        .chain(["reader".to_owned(), "team".to_owned()])
        .collect()
}

fn with_roles(world: &World, count: usize) -> Client {
    let roles = roles(count);
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    world.user("many", &roles)
}

/// CouchDB reads no header line of more than 8 KiB, and says `400` to every request of such a caller.
#[tokio::test]
async fn who_can_not_be_presented_is_refused_at_login_with_the_length() {
    let (log, _guard) = log();
    let world = filled(&Wire::start().await, "", "").await;
    if matches!(world.config.couchdb.present, Present::Service { .. }) {
        return;
    }
    with_roles(&world, 250).get("/@notes/a").await.yes();
    let many = with_roles(&world, 450);
    let (name, password) = many.login.clone().unwrap();
    let session = world.anonymous();
    let login = json!({ "name": name, "password": password });
    for answer in [
        many.get("/@notes/a").await,
        many.get("/_session").await,
        session.post("/_session", login).await,
    ] {
        assert_eq!(answer.status, 403, "{answer:?}");
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        let numbers = reason.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<usize> = numbers.filter_map(|number| number.parse().ok()).collect();
        assert!(numbers[0] > 8191 && numbers[1] == 8191, "{reason}");
        assert!(log.text().contains(&reason), "{}", log.text());
    }
    assert!(log.text().contains(&name), "{}", log.text());
    assert!(log.text().contains("roles=452"), "{}", log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_roles_that_are_asked_about_are_told() {
    let wire = Wire::start().await;
    let world = filled(&wire, "roles = \"asked\"\n", "").await;
    let members = json!({ "roles": [world.role("other"), "team"] });
    let security = json!({ "members": members, "admins": { "roles": ["_admin"] } });
    world
        .backend()
        .put("/@other/_security", security)
        .await
        .yes();
    let many = with_roles(&world, 450);
    many.get("/@other/a").await.yes();
    if takes_tokens(&world) {
        let told = wire.token(many.name()).roles;
        assert_eq!(told, ["reader", "team", &world.role("other")]);
    }
    // There a rule asks about all of them: what does not fit is refused, now by the request.
    let refused = many.get("/@notes/a").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text().contains("8191"), "{refused:?}");
    let few = with_roles(&world, 3);
    few.get("/@notes/a").await.yes();
    if takes_tokens(&world) {
        assert_eq!(wire.token(few.name()).roles.len(), 5);
    }
}
