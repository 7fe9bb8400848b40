//! The two replications of a user, as documents of `_replicator`.
//!
//! ```text
//! down   provisioning, by couchwarden's own URL, as the user ──▶ their database, by CouchDB's, as its replication
//! up     their database ──▶ provisioning, the same way
//! ```
//!
//! CouchDB's replicator is a client like others: what it gets and what it may bring back, policy decides. Into the user's
//! database it is let by a token with one role, which `_security` of that database names for as long as the replication
//! lives; with `proxy` and `service`, by the service account's password.
//!
//! Invariant: a document of ours is marked, and says whose it is; a token stands in one of them only, and with `jwt` no
//! document holds a password.

use super::plan::object;
use crate::config::Origin;
use crate::couch::REPLICATION;
use crate::json::Value;
use crate::route::{Call, DatabaseCall, DbName, DocId, Method, Query, Route};
use crate::secret::Secret;

/// The member that marks documents of ours, and tombstones that must not travel back.
pub(super) const MARK: &str = "couchwarden";

/// Before the id of each document of ours.
pub(super) const PREFIX: &str = "couchwarden:";

/// Which way documents travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    /// From `provisioning` to the user.
    Down,
    /// Back.
    Up,
}

/// Where documents travel between.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    /// couchwarden, as CouchDB reaches it.
    pub(super) warden: Origin,
    /// The database that is shared.
    pub(super) shared: DbName,
    /// CouchDB, as its own replicator reaches it.
    pub(super) couchdb: Origin,
}

/// What a replication shows at its two ends.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// The user's token, for the shared database.
    pub(super) shared: &'a Secret,
    pub(super) own: &'a Own,
}

/// What it shows in the user's database.
#[derive(Debug, Clone)]
pub(super) enum Own {
    /// The service account's name and password.
    Password(String, Secret),
    /// The `Authorization` of a role of its own.
    Token(Secret),
}

/// What a document of ours says about itself. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) owner: String,
    pub(super) database: DbName,
    /// The shared database; those of another one are none of this couchwarden's business.
    pub(super) shared: DbName,
    /// When he used his database last.
    pub(super) used: u64,
    /// When the token ends.
    pub(super) expires: u64,
    /// The fingerprint of what he may see.
    pub(super) rights: String,
    /// The role that lets it into the user's database; none, where that is the service account's.
    pub(super) role: Option<String>,
}

impl Direction {
    pub(super) const ALL: [Self; 2] = [Self::Down, Self::Up];

    /// As it is called in ids and events.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
        }
    }

    /// The end that is the user's database.
    fn own_end(self) -> &'static str {
        match self {
            Self::Down => "target",
            Self::Up => "source",
        }
    }

    /// The end that is the shared database.
    fn shared_end(self) -> &'static str {
        match self {
            Self::Down => "source",
            Self::Up => "target",
        }
    }

    /// The user's database and the way, as the id of a document of ours has them.
    pub(super) fn read(id: &str) -> Option<(DbName, Self)> {
        let (db, name) = id.strip_prefix(PREFIX)?.rsplit_once(':')?;
        let direction = Self::ALL.into_iter().find(|one| one.name() == name)?;
        Some((DbName::parse(db).ok()?, direction))
    }

    /// The document's id.
    pub(super) fn id(self, db: &DbName) -> Option<DocId> {
        DocId::parse(&format!("{PREFIX}{}:{}", db.as_str(), self.name())).ok()
    }
}

impl Mark {
    /// What a document says; nothing if it is none of ours.
    pub(super) fn read(document: &Value) -> Option<Self> {
        let mark = document.get(MARK)?;
        let text = |name: &str| mark.get(name).and_then(Value::as_str);
        let number = |name: &str| mark.get(name)?.as_number()?.as_u64();
        Some(Self {
            owner: text("owner")?.to_owned(),
            database: DbName::parse(text("database")?).ok()?,
            shared: DbName::parse(text("shared")?).ok()?,
            used: number("used")?,
            expires: number("expires")?,
            rights: text("rights")?.to_owned(),
            // Security: any other role, named in `_security`, would open the database to all who have it
            // (`a_security_lets_in_no_role_but_those_of_replications`).
            role: text("role")
                .filter(|role| role.starts_with(REPLICATION))
                .map(str::to_owned),
        })
    }

    fn write(&self) -> Value {
        let role = self.role.as_deref().map(|role| ("role", role.into()));
        let members = [
            ("owner", self.owner.as_str().into()),
            ("database", self.database.as_str().into()),
            ("shared", self.shared.as_str().into()),
            ("used", self.used.into()),
            ("expires", self.expires.into()),
            ("rights", self.rights.as_str().into()),
        ];
        object(members.into_iter().chain(role))
    }
}

/// A document of `_replicator`, without a revision.
pub(super) fn document(direction: Direction, ends: &Ends, mark: &Mark, shown: &Shown<'_>) -> Value {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let headers = |authorization: String| object([("Authorization", authorization.into())]);
    let bearer = format!("Bearer {}", text(shown.shared));
    let shared = object([
        ("url", url(&ends.warden, &ends.shared).into()),
        ("headers", headers(bearer)),
    ]);
    let proof = match shown.own {
        Own::Token(authorization) => ("headers", headers(text(authorization))),
        Own::Password(user, password) => {
            let basic = [
                ("username", user.as_str().into()),
                ("password", text(password).into()),
            ];
            ("auth", object([("basic", object(basic))]))
        }
    };
    let own = object([("url", url(&ends.couchdb, &mark.database).into()), proof]);
    let (source, target) = match direction {
        Direction::Down => (shared, own),
        Direction::Up => (own, shared),
    };
    let mut members = vec![
        ("source", source),
        ("target", target),
        ("continuous", true.into()),
        (MARK, mark.write()),
    ];
    if direction == Direction::Up {
        members.push(("selector", travels_back()));
    }
    object(members)
}

/// A document of ours with what it says about itself now, and without what CouchDB has noted in it.
pub(super) fn marked(document: &Value, mark: &Mark) -> Value {
    let members = document.as_object().into_iter().flat_map(|all| all.iter());
    let members = members.filter(|(name, _)| !name.starts_with('_') || *name == "_id");
    let mut members: Vec<(&str, Value)> = members
        .filter(|(name, _)| *name != MARK)
        .map(|(name, value)| (name, value.clone()))
        .collect();
    members.push((MARK, mark.write()));
    object(members)
}

/// What is left of a replication that has ended: nothing, or that it is only parked.
pub(super) fn tombstone(document: &Value, parked: bool) -> Value {
    let of = |name: &str| document.get(name).cloned().unwrap_or(Value::Null);
    let mut members = vec![
        ("_id", of("_id")),
        ("_rev", of("_rev")),
        ("_deleted", true.into()),
    ];
    if parked {
        let mut mark = of(MARK);
        if let Some(mark) = mark.as_object_mut() {
            mark.insert("parked", true);
            mark.remove("role");
        }
        members.push((MARK, mark));
    }
    object(members)
}

/// Is this the tombstone of a replication that is only parked?
pub(super) fn is_parked(document: &Value) -> bool {
    let parked = document.at(&[MARK, "parked"]);
    is_deleted(document) && parked.and_then(Value::as_bool) == Some(true)
}

/// Is this a tombstone?
pub(super) fn is_deleted(document: &Value) -> bool {
    document.get("_deleted").and_then(Value::as_bool) == Some(true)
}

/// Is this the tombstone of a document that was taken away from its reader?
pub(super) fn is_taken_away(document: &Value) -> bool {
    is_deleted(document) && document.get(MARK).is_some()
}

/// All but design documents, which are ours, and what was taken away because a right was.
fn travels_back() -> Value {
    let design = object([("$regex", "^_design/".into())]);
    object([
        ("$not", object([("_id", design)])),
        (MARK, object([("$exists", false.into())])),
    ])
}

/// The tombstone of a document that its reader may not see any more.
pub(super) fn taken_away(id: &str, rev: &str) -> Value {
    object([
        ("_id", id.into()),
        ("_rev", rev.into()),
        ("_deleted", true.into()),
        (MARK, "not yours to see any more".into()),
    ])
}

/// Does this document name the same ends, with whatever token of the same key?
pub(super) fn is_same_way(direction: Direction, stored: &Value, wanted: &Value) -> bool {
    ["source", "target"].iter().all(|end| {
        let url = |document: &Value| document.at(&[end, "url"]).cloned();
        let auth = |document: &Value| document.at(&[end, "auth"]).cloned();
        url(stored) == url(wanted) && auth(stored) == auth(wanted)
    }) && own_key(direction, stored) == own_key(direction, wanted)
        && stored.get("selector") == wanted.get("selector")
        && stored.get("continuous") == wanted.get("continuous")
}

/// The `Authorization` by which a document's replication comes to us.
pub(super) fn authorization(direction: Direction, document: &Value) -> Option<&str> {
    shown_at(direction.shared_end(), document)
}

/// What of the `Authorization` in the user's database is the same in all tokens of one key; none, where it comes with a
/// password.
pub(super) fn own_key(direction: Direction, document: &Value) -> Option<&str> {
    let shown = shown_at(direction.own_end(), document)?;
    shown.split('.').next()
}

fn shown_at<'a>(end: &str, document: &'a Value) -> Option<&'a str> {
    let shown = document.at(&[end, "headers", "Authorization"]);
    shown.and_then(Value::as_str)
}

/// Has CouchDB given the replication up?
pub(super) fn has_failed(document: &Value) -> bool {
    let state = document.get("_replication_state").and_then(Value::as_str);
    matches!(state, Some("failed" | "error"))
}

fn url(at: &Origin, db: &DbName) -> String {
    let call = DatabaseCall::Itself;
    let path = Route {
        call: Call::Database {
            db: db.clone(),
            call,
        },
        method: Method::Get,
        query: Query::default(),
    };
    format!("{at}{}", path.render())
}
