//! Where the canaries are planted: databases, documents in all their revisions, attachments, design documents,
//! accounts, and the rules by which each of the cast sees some of it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Client, World};

/// Nobody; a reader of the red documents; a writer of them who may not see some fields; a reader of two of
/// their fields; one who may only query a view, pinned to a number; a tenant of other documents; an administrator.
pub(super) const CALLERS: [&str; 7] = ["anonymous", "rita", "walt", "fay", "sue", "stan", "ops"];

const RED: &[&str] = &["rita", "walt", "fay", "ops"];
const RED_WHOLE: &[&str] = &["rita", "walt", "ops"];
const RED_SECRET: &[&str] = &["rita", "ops"];
const NOBODY: &[&str] = &["ops"];

fn rules(hidden_file: &str) -> String {
    format!(
        r#"
[[rule]]
name = "readers"
databases = ["@vault"]
callers = {{ roles = ["reader"] }}
permit = ["read", "changes", "find", "view:app/by_team"]
keys = "red"
documents = {{ team = "red" }}

[[rule]]
name = "writers"
databases = ["@vault"]
callers = {{ roles = ["writer"] }}
permit = ["replicate", "find"]
hide = ["secret", "_attachments.{hidden_file}"]
documents = {{ team = "red" }}

[[rule]]
name = "titles"
databases = ["@vault"]
callers = {{ roles = ["titles"] }}
permit = ["read", "changes", "find"]
show = ["title", "team"]
documents = {{ team = "red" }}

[[rule]]
name = "numbers"
databases = ["@vault"]
callers = {{ roles = ["number:{{number}}"] }}
permit = ["view:app/by_number", "view:app/seconds", "view:app/words", "view:app/linked"]
keys = "{{number}}"
reduce = true
hide = ["secret"]

[[rule]]
name = "tenants"
databases = ["@vault"]
callers = {{ roles = ["tenant:{{team}}"] }}
permit = ["replicate", "find"]
documents = {{ team = "{{team}}" }}
"#
    )
}

/// A text that is nowhere else.
pub(super) struct Canary {
    pub(super) text: String,
    /// Where it is planted.
    pub(super) what: String,
    /// Who may see it, and does.
    pub(super) audience: &'static [&'static str],
}

const RAW_LOCAL: &str = "_local/replicator";

/// What all made canaries begin with: hexadecimal, so that it can be a revision, a name, a key, a type.
pub(super) const MARK: &str = "ca11ab1e";
const LENGTH: usize = 32;

#[derive(Default)]
pub(super) struct Canaries {
    made: BTreeMap<String, Canary>,
    /// Texts that we did not choose: digests, sums.
    given: Vec<Canary>,
}

impl Canaries {
    fn plant(&mut self, what: &str, audience: &'static [&'static str]) -> String {
        let random = RandomState::new().hash_one(what);
        let text = format!("{MARK}{random:016x}{:08x}", self.made.len());
        self.made
            .insert(text.clone(), canary(text.clone(), what, audience));
        text
    }

    fn note(&mut self, text: String, what: &str, audience: &'static [&'static str]) {
        self.given.push(canary(text, what, audience));
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Canary> {
        self.made.values().chain(&self.given)
    }

    /// Those that are in a text.
    pub(super) fn in_text(&self, text: &[u8]) -> Vec<&Canary> {
        let lower = text.to_ascii_lowercase();
        let marks = memchr::memmem::find_iter(&lower, MARK);
        let made = marks.filter_map(|at| {
            let word = lower.get(at..at + LENGTH)?;
            self.made.get(std::str::from_utf8(word).ok()?)
        });
        let given = self
            .given
            .iter()
            .filter(|canary| memchr::memmem::find(text, canary.text.as_bytes()).is_some());
        made.chain(given).collect()
    }
}

fn canary(text: String, what: &str, audience: &'static [&'static str]) -> Canary {
    Canary {
        text,
        what: what.to_owned(),
        audience,
    }
}

/// A world with canaries in it.
pub(super) struct Ground {
    pub(super) world: World,
    pub(super) canaries: Canaries,
    pub(super) callers: BTreeMap<&'static str, Client>,
    pub(super) names: Names,
}

/// What requests can name.
pub(crate) struct Names {
    /// The database that has everything.
    pub(crate) db: String,
    /// Its documents, with all revisions that were ever stored, the newest first.
    pub(crate) documents: BTreeMap<String, Vec<String>>,
    pub(crate) files: Vec<String>,
    pub(crate) locals: Vec<String>,
    /// A `_local` document that was stored past couchwarden.
    pub(crate) raw_local: &'static str,
    pub(crate) hidden_db: String,
    pub(crate) hidden_user: String,
    pub(crate) index: String,
    pub(crate) hidden_ddoc: String,
}

/// One stored revision.
struct Leaf<'l> {
    id: &'l str,
    team: &'l str,
    generation: u64,
    /// The hashes of this revision and its ancestors.
    path: Vec<String>,
    deleted: bool,
    title: String,
    secret: String,
    more: Value,
}

impl Leaf<'_> {
    fn document(&self) -> Value {
        let mut document = json!({
            "_id": self.id, "_rev": format!("{}-{}", self.generation, self.path[0]),
            "_revisions": { "start": self.generation, "ids": self.path },
            "team": self.team, "title": self.title, "secret": self.secret,
        });
        if self.deleted {
            document["_deleted"] = true.into();
        }
        for (name, value) in self.more.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    }
}

fn hash(n: usize) -> String {
    format!("{n:032x}")
}

impl Ground {
    pub(super) async fn plant() -> Self {
        let mut canaries = Canaries::default();
        let hidden_file = canaries.plant("name of a hidden attachment", RED_SECRET);
        let nodes = "[nodes]\ndatabase = \"@catconf\"\n";
        let world = World::with(&rules(&hidden_file), nodes).await;
        let documents = documents(&mut canaries, &hidden_file);
        world.database("vault", json!([])).await;
        store(&world, "vault", &documents).await;
        let mut revisions: BTreeMap<String, BTreeSet<(u64, String)>> = BTreeMap::new();
        for document in &documents {
            let rev = document["_rev"].as_str().unwrap().to_owned();
            let (generation, _) = rev.split_once('-').unwrap();
            let id = document["_id"].as_str().unwrap().to_owned();
            revisions
                .entry(id)
                .or_default()
                .insert((generation.parse().unwrap(), rev));
        }
        let newest_first = |revs: BTreeSet<(u64, String)>| {
            let revs = revs.into_iter().rev();
            revs.map(|(_, rev)| rev).collect()
        };
        let hidden_db = format!("hush{}", canaries.plant("name of a database", NOBODY));
        let mut ground = Self {
            callers: callers(&world),
            names: Names {
                db: world.db("vault"),
                documents: revisions
                    .into_iter()
                    .map(|(id, revs)| (id, newest_first(revs)))
                    .collect(),
                files: vec!["plain".to_owned(), hidden_file],
                locals: vec![
                    canaries.plant("id of a checkpoint", &["walt", "ops"]),
                    canaries.plant("id of another checkpoint", &["rita", "ops"]),
                ],
                raw_local: RAW_LOCAL,
                hidden_db: world.db(&hidden_db),
                hidden_user: String::new(),
                index: canaries.plant("name of an index", NOBODY),
                hidden_ddoc: canaries.plant("name of a design document", NOBODY),
            },
            world,
            canaries,
        };
        ground.around(&hidden_db).await;
        ground.digests().await;
        ground
    }

    /// What is not a document of the vault.
    async fn around(&mut self, hidden_db: &str) {
        let (world, canaries) = (&self.world, &mut self.canaries);
        let backend = world.backend();
        let design = json!([
            { "_id": "_design/app", "views": views(&canaries.plant("source of a view", NOBODY)),
              "note": canaries.plant("field of a design document", NOBODY) },
            { "_id": format!("_design/{}", self.names.hidden_ddoc), "views": {
                canaries.plant("name of a view", NOBODY): { "map": "function (doc) { emit(doc._id); }" } } },
        ]);
        world.fill("vault", design).await;
        let local =
            json!({ "note": canaries.plant("body of the replicator's checkpoint", NOBODY) });
        backend
            .put(&format!("/@vault/{RAW_LOCAL}"), local)
            .await
            .yes();
        let index = json!({ "ddoc": self.names.index, "name": self.names.index, "index": {
            "fields": ["team", canaries.plant("field of an index", NOBODY)],
            "partial_filter_selector": { "title": canaries.plant("selector of an index", NOBODY) } } });
        backend.post("/@vault/_index", index).await.yes();
        let security = json!({ "admins": { "roles": ["_admin"] }, "members": { "roles": [world.role("vault")],
            "names": [canaries.plant("name of a member", NOBODY)] } });
        backend.put("/@vault/_security", security).await.yes();
        let elsewhere = json!([{ "_id": canaries.plant("id in another database", NOBODY), "team": "red",
            "title": canaries.plant("field in another database", NOBODY) }]);
        world.database(hidden_db, elsewhere).await;
        let user = canaries.plant("name of an account", NOBODY);
        let role: &'static str = Box::leak(canaries.plant("role of an account", NOBODY).into());
        self.names.hidden_user = world.user(&user, &[role]).login.unwrap().0;
        let node = json!([
            { "_id": "branch", "open": true, "metadata": { "nodeId": "branch", "parents": [], "nodeAdmins": [], "nodeCreator": "ops", "nodeCtime": 1 } },
            { "_id": "phone", "pin": canaries.plant("property of a user node", NOBODY), "metadata": { "nodeId": "phone", "parents": ["branch"],
                "nodeAdmins": [], "nodeCreator": "ops", "nodeCtime": 1,
                "authorization": { "type": "bcrypt", "crypted": bcrypt::hash("x", 4).unwrap() } } },
        ]);
        world.database("catconf", node).await;
        let owners: [(&str, &'static [&'static str]); 2] =
            [("walt", &["walt", "ops"]), ("rita", &["rita", "ops"])];
        for ((who, audience), id) in owners.into_iter().zip(self.names.locals.clone()) {
            let note = canaries.plant("body of a checkpoint", audience);
            let path = format!("/@vault/_local/{id}");
            let stored = self.callers[who].put(&path, json!({ "note": note })).await;
            stored.yes();
        }
    }

    /// CouchDB chooses the digests; whoever knows one can guess the bytes.
    async fn digests(&mut self) {
        let backend = self.world.backend();
        for (id, revs) in &self.names.documents {
            for rev in revs {
                let path = format!("/@vault/{id}?rev={rev}");
                let stored = backend.get(&path).await.yes();
                for file in stored["_attachments"].as_object().into_iter().flatten() {
                    let (name, stub) = file;
                    let kind = stub["content_type"].as_str().unwrap();
                    // The bytes have the audience of the type.
                    let audience = self.canaries.in_text(kind.as_bytes())[0].audience;
                    let digest = stub["digest"].as_str().unwrap().trim_start_matches("md5-");
                    self.canaries.note(
                        digest.to_owned(),
                        &format!("digest of {name} of {id}"),
                        audience,
                    );
                }
            }
        }
    }
}

async fn store(world: &World, db: &str, documents: &[Value]) {
    let path = format!("/{}/_bulk_docs", world.db(db));
    // Parents before children, so that the bodies of old revisions are stored.
    for document in documents {
        let batch = json!({ "new_edits": false, "docs": [document] });
        let stored = world.backend().post(&path, batch).await;
        assert_eq!(stored.yes(), json!([]), "{document}");
    }
}

fn callers(world: &World) -> BTreeMap<&'static str, Client> {
    BTreeMap::from([
        ("anonymous", world.anonymous()),
        ("rita", world.as_("rita")),
        ("walt", world.as_("walt")),
        ("fay", world.user("fay", &["titles"])),
        ("sue", world.as_("sue")),
        ("stan", world.user("stan", &["tenant:green"])),
        ("ops", world.as_("ops")),
    ])
}

fn views(source: &str) -> Value {
    let map = |key: &str, value: &str| {
        format!("function (doc) {{ /* {source} */ if (doc.number) emit({key}, {value}); }}")
    };
    let all = "{ title: doc.title, secret: doc.secret }";
    let linked = format!(
        "function (doc) {{ if (doc.number) [doc.link, '{RAW_LOCAL}'].forEach(function (id) {{ emit([doc.number, doc.day], {{ _id: id }}); }}); }}"
    );
    let join = "function (keys, values, rereduce) { return values.join(' '); }";
    json!({
        "by_number": { "map": map("[doc.number, doc.day]", all) },
        "by_team": { "map": map("doc.team", "doc.title") },
        "seconds": { "map": map("[doc.number, doc.day]", "doc.seconds"), "reduce": "_stats" },
        "words": { "map": map("[doc.number, doc.day]", "doc.title"), "reduce": join },
        "linked": { "map": linked },
    })
}

/// What only one revision has.
struct Who {
    title: &'static [&'static str],
    secret: &'static [&'static str],
    whole: &'static [&'static str],
}

const BLUE: Who = Who {
    title: NOBODY,
    secret: NOBODY,
    whole: NOBODY,
};
const REDS: Who = Who {
    title: RED,
    secret: RED_SECRET,
    whole: RED_WHOLE,
};
const GREEN: Who = Who {
    title: &["stan", "ops"],
    secret: &["stan", "ops"],
    whole: &["stan", "ops"],
};

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
fn leaf<'l>(
    canaries: &mut Canaries,
    what: &str,
    id: &'l str,
    team: &'l str,
    who: &Who,
    (generation, path): (u64, &[String]),
    deleted: bool,
    more: Value,
) -> Leaf<'l> {
    Leaf {
        id,
        team,
        generation,
        path: path.to_vec(),
        deleted,
        title: canaries.plant(&format!("title of {what}"), who.title),
        secret: canaries.plant(&format!("secret of {what}"), who.secret),
        more,
    }
}

fn file(canaries: &mut Canaries, what: &str, audience: &'static [&'static str]) -> Value {
    let kind = canaries.plant(&format!("type of {what}"), audience);
    let bytes = canaries.plant(&format!("bytes of {what}"), audience);
    json!({ "content_type": format!("application/{kind}"), "data": STANDARD.encode(format!("[{bytes}]")) })
}

/// The documents of the vault, parents before children.
fn documents(canaries: &mut Canaries, hidden_file: &str) -> Vec<Value> {
    let mut documents = Vec::new();
    let plain = file(canaries, "an attachment", REDS.whole);
    let hidden = file(canaries, "a hidden attachment", REDS.secret);
    let old_file = file(canaries, "an attachment of a hidden old revision", NOBODY);
    let blue_file = file(canaries, "an attachment of a hidden document", NOBODY);
    let blue_name = canaries.plant("name of an attachment of a hidden document", NOBODY);
    let lost_file = file(canaries, "an attachment of a hidden conflict", NOBODY);
    let blue = canaries.plant("id of a hidden document", NOBODY);
    let gone = canaries.plant("id of a hidden tombstone", NOBODY);
    let day = canaries.plant("key of a hidden row", NOBODY);
    let hidden_conflict = canaries.plant("revision of a hidden conflict", NOBODY);
    let hidden_end = canaries.plant("revision of a hidden deleted conflict", NOBODY);
    let hidden_winner = canaries.plant("revision of a hidden winner", NOBODY);
    let hidden_rev = canaries.plant("revision of a hidden document", NOBODY);
    // A sum over more than sue's rows holds one of these.
    canaries.note("918273645".into(), "value of a hidden row", NOBODY);
    canaries.note("918274645".into(), "sum with a hidden row", NOBODY);
    let mut add = |canaries: &mut Canaries,
                   what: &str,
                   id: &str,
                   team: &str,
                   who: &Who,
                   at: (u64, &[String]),
                   deleted: bool,
                   more: Value| {
        documents.push(leaf(canaries, what, id, team, who, at, deleted, more).document());
    };
    let number =
        json!({ "number": "+4930100", "day": "2026-03-01", "seconds": 1000, "link": "linked" });
    let with = |files: Value| {
        let mut more = number.clone();
        more["_attachments"] = files;
        more
    };
    let c = canaries;
    // Its first revision belonged to another team.
    add(
        c,
        "a hidden old revision",
        "red-1",
        "blue",
        &BLUE,
        (1, &[hash(1)]),
        false,
        json!({ "_attachments": { "plain": old_file } }),
    );
    add(
        c,
        "a red document",
        "red-1",
        "red",
        &OWN,
        (2, &[hash(2), hash(1)]),
        false,
        with(json!({ "plain": plain, hidden_file: hidden })),
    );
    // A hidden leaf and a hidden deleted leaf lie under a visible winner.
    add(
        c,
        "a root",
        "red-2",
        "red",
        &REDS,
        (1, &[hash(3)]),
        false,
        json!({}),
    );
    add(
        c,
        "a winner",
        "red-2",
        "red",
        &REDS,
        (3, &[hash(4), hash(5), hash(3)]),
        false,
        json!({}),
    );
    add(
        c,
        "a hidden conflict",
        "red-2",
        "blue",
        &BLUE,
        (2, &[hidden_conflict, hash(3)]),
        false,
        json!({ "_attachments": { "plain": lost_file } }),
    );
    add(
        c,
        "a hidden deleted conflict",
        "red-2",
        "blue",
        &BLUE,
        (2, &[hidden_end, hash(3)]),
        true,
        json!({}),
    );
    add(
        c,
        "a visible conflict",
        "mixed",
        "red",
        &REDS,
        (2, &[hash(6), hash(7)]),
        false,
        json!({}),
    );
    add(
        c,
        "a hidden winner",
        "mixed",
        "blue",
        &BLUE,
        (3, &[hidden_winner, hash(8), hash(7)]),
        false,
        json!({}),
    );
    add(
        c,
        "a hidden document",
        &blue,
        "blue",
        &BLUE,
        (1, &[hidden_rev]),
        false,
        json!({ "number": "+4930200", "day": day, "seconds": 918_273_645, "_attachments": { blue_name: blue_file } }),
    );
    add(
        c,
        "a red document before its end",
        "red-end",
        "red",
        &REDS,
        (1, &[hash(9)]),
        false,
        json!({}),
    );
    add(
        c,
        "a tombstone",
        "red-end",
        "red",
        &REDS,
        (2, &[hash(10), hash(9)]),
        true,
        json!({}),
    );
    add(
        c,
        "a hidden document before its end",
        &gone,
        "blue",
        &BLUE,
        (1, &[hash(11)]),
        false,
        json!({}),
    );
    add(
        c,
        "a hidden tombstone",
        &gone,
        "blue",
        &BLUE,
        (2, &[hash(12), hash(11)]),
        true,
        json!({}),
    );
    add(
        c,
        "a linked document",
        "linked",
        "blue",
        &BLUE,
        (1, &[hash(14)]),
        false,
        json!({}),
    );
    add(
        c,
        "a green document",
        "green",
        "green",
        &GREEN,
        (1, &[hash(13)]),
        false,
        json!({}),
    );
    documents
}

/// The red document that is also in sue's rows.
const OWN: Who = Who {
    title: &["rita", "walt", "fay", "sue", "ops"],
    ..REDS
};
