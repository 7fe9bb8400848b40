//! The types of what the operator decides.

use super::jwk::TokenKey;
use super::member_role::MemberRole;
use super::network::Network;
use super::origin::Origin;
use super::signing::SigningKey;
use super::words;
use crate::secret::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that the operator decides, except the rules.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients arrive.
    pub listen: Listen,
    /// Where operators will ask for health and metrics.
    pub operators: Option<SocketAddr>,
    /// Where CouchDB is, and who we are to it.
    pub couchdb: CouchDb,
    /// Who may log in, and how.
    pub identity: Identity,
    /// The directory of the rules.
    pub policies: PathBuf,
    /// The directory of the design documents.
    pub ddocs: PathBuf,
    /// The service of nodes.
    pub nodes: Nodes,
    /// The databases of users, where they are made.
    pub provisioning: Option<Provisioning>,
    /// Origins of web pages that may use us with credentials: `scheme://host[:port]`, lower case.
    pub cors: Vec<String>,
    /// What a request may cost.
    pub limits: Limits,
    /// Networks whose addresses each stand for many clients: none has a share of its own.
    pub shared_networks: Vec<Network>,
    /// Proxies before us whose `X-Forwarded-For`, `-Host`, `-Proto` and request ids are believed.
    pub trusted: Vec<Network>,
}

/// Where clients arrive.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The address to bind; port 0 takes a free one.
    pub address: SocketAddr,
    /// The directory of NAME.crt and NAME.key.
    pub certificates: PathBuf,
    /// Plain HTTP; on a loopback address only.
    pub insecure: bool,
    /// The server names we answer for, lower case, without port; an empty list means any.
    pub names: Vec<String>,
    /// For how long browsers are to come over TLS only (RFC 6797); without this they are not told.
    pub hsts: Option<Duration>,
}

/// Where CouchDB is, and who we are to it.
#[derive(Debug, Clone)]
pub struct CouchDb {
    /// Its nodes; the first is used.
    pub nodes: Vec<Origin>,
    /// The name of our own errands.
    pub user: String,
    /// As whom a caller's request arrives at CouchDB.
    pub present: Present,
    /// The role that every caller has in addition, for `_security.members`.
    pub role: MemberRole,
    /// Which of a caller's own roles CouchDB is told.
    pub roles: SentRoles,
    /// The authority (PEM) that an https node is verified by.
    pub ca: Option<PathBuf>,
}

/// As whom a request arrives at CouchDB: a caller's, and those of our own errands.
#[derive(Debug, Clone)]
pub enum Present {
    /// As the caller, by a token that we sign; our errands by one with `_admin`. There is no password.
    Jwt {
        /// What signs them.
        key: SigningKey,
    },
    /// As the caller, by proxy authentication; our errands as the service account.
    Proxy {
        /// The service account's.
        password: Secret,
        /// CouchDB's `[chttpd_auth] secret`.
        secret: Secret,
    },
    /// Everything as the service account.
    Service {
        /// Its password.
        password: Secret,
    },
}

/// Which of a caller's own roles CouchDB is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentRoles {
    /// All.
    All,
    /// Those that a rule about the database, or its `_security`, asks about.
    Asked,
}

/// Who may log in, and how.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The names of administrators.
    pub administrators: Vec<String>,
    /// Who vouches for passwords.
    pub vouchers: Vec<Voucher>,
    /// The session cookie.
    pub session: Session,
    /// Tokens that others have signed; without this none is believed.
    pub tokens: Option<TokenRules>,
    /// The work of checking passwords.
    pub bcrypt: Bcrypt,
    /// How failures are throttled and successes remembered.
    pub login: Login,
}

/// Who vouches for a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voucher {
    /// User nodes.
    Nodes,
    /// CouchDB's own `_session`.
    CouchDb,
}

/// The session cookie.
#[derive(Debug, Clone)]
pub struct Session {
    /// Signs cookies.
    pub secret: Secret,
    /// Signed them before, and is still accepted.
    pub previous: Option<Secret>,
    /// How long a cookie is good for.
    pub lifetime: Duration,
    /// How long a session lasts at most, however often its cookie is renewed.
    pub longest: Duration,
}

/// Which tokens that others have signed (RFC 7519) are believed.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// Who says that a signature is right.
    pub voucher: TokenVoucher,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be, or hold. Without this, a token that has an audience is for others.
    pub audience: Option<String>,
    /// The steps to the claim that lists the roles.
    pub roles: Vec<String>,
    /// How far the issuer's clock may be from ours.
    pub leeway: Duration,
}

/// Who says that the signature of a token is right.
#[derive(Debug, Clone)]
pub enum TokenVoucher {
    /// These keys.
    Keys(Vec<TokenKey>),
    /// CouchDB's own `jwt_authentication_handler`, with the keys and claims of its configuration.
    CouchDb,
}

/// The work of checking passwords.
#[derive(Debug, Clone, Copy)]
pub struct Bcrypt {
    /// The cost of hashes that we make, and of the dummy for unknown names.
    pub cost: u32,
    /// The lowest cost that is accepted in a stored hash.
    pub min_cost: u32,
    /// The highest.
    pub max_cost: u32,
    /// How many passwords are checked at the same time.
    pub workers: usize,
    /// How many more may wait.
    pub queue: usize,
}

/// How failures are throttled and successes remembered.
#[derive(Debug, Clone, Copy)]
pub struct Login {
    /// How many failures one peer may have with one name.
    pub failures: u32,
    /// In which time.
    pub window: Duration,
    /// How long a verified credential is remembered.
    pub cache: Duration,
}

/// The service of nodes.
#[derive(Debug, Clone)]
pub struct Nodes {
    /// The database they are stored in; without one there are no nodes.
    pub database: Option<String>,
    /// The paths that rules may use as `{node:PATH}`.
    pub attributes: Vec<String>,
    /// Users may write their own node.
    pub self_service: bool,
    /// Anyone may list nodes.
    pub listing: bool,
    /// Anyone may create a node.
    pub creation: bool,
    /// How many one address may create in an hour, unless an administrator does.
    pub creations: u32,
}

/// The databases of users, and what travels between them and the one that is shared.
#[derive(Debug, Clone)]
pub struct Provisioning {
    /// The database that is shared.
    pub database: String,
    /// couchwarden itself, as CouchDB's replicator reaches it.
    pub url: Origin,
    /// CouchDB, as its own replicator reaches it.
    pub couchdb: Origin,
    /// How long a replication goes on that nobody uses.
    pub replication_timeout: Duration,
    /// Whether logging out ends it.
    pub end_on_logout: bool,
}

/// What a request may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request head.
    pub head: usize,
    /// Bytes of a request target.
    pub target: usize,
    /// Bytes of a request body, as sent and as inflated.
    pub body: usize,
    /// Bytes of memory that the bodies which are read whole take together, parsed.
    pub bodies: usize,
    /// Bytes of one row of an answer.
    pub row: usize,
    /// Header fields of a request.
    pub fields: usize,
    /// Connections at the same time.
    pub connections: usize,
    /// Requests over HTTP/2 at the same time, over all connections.
    pub streams: usize,
    /// Open feeds at the same time.
    pub feeds: usize,
    /// How much of that one name or address gets.
    pub shares: SharePercents,
    /// For the TLS handshake.
    pub handshake_time: Duration,
    /// For a request head, and for a connection until its first one.
    pub head_time: Duration,
    /// For a connection between two requests.
    pub idle_time: Duration,
    /// Between bytes of a request body.
    pub body_idle: Duration,
    /// Bytes in a second that a request body brings at least.
    pub body_rate: usize,
    /// How long it may bring less.
    pub body_rate_after: Duration,
    /// Between bytes that a client takes from us.
    pub write_idle: Duration,
    /// To connect to CouchDB.
    pub upstream_connect: Duration,
    /// Until CouchDB's answer begins, after our request has been sent.
    pub upstream_answer: Duration,
    /// Between bytes of CouchDB's answer.
    pub upstream_idle: Duration,
    /// The same for feeds, which are quiet between heartbeats.
    pub feed_idle: Duration,
    /// How long an open feed goes on at most after the right to it has changed or ended.
    pub feed_lease: Duration,
    /// How long an unused connection to CouchDB is kept: shorter than CouchDB keeps it.
    pub upstream_keep: Duration,
    /// For requests in flight when we are told to stop.
    pub grace: Duration,
}

/// How much of what the others leave one name or address gets, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharePercents {
    /// Of [`Limits::connections`].
    pub connections: u8,
    /// Of [`Limits::streams`].
    pub streams: u8,
    /// Of [`Limits::feeds`].
    pub feeds: u8,
    /// Of [`Limits::bodies`].
    pub bodies: u8,
}

impl Listen {
    /// For how long a browser that asked for this host is to come over TLS only.
    pub(crate) fn hsts_of(&self, host: &str) -> Option<Duration> {
        self.hsts.filter(|_| words::keeps_hsts(host))
    }
}
