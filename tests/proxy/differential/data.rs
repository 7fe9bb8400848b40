//! A database drawn at random: documents of several leaves with their histories, attachments, tombstones bare and full,
//! ids and values that collate alike or that readers stumble over.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::support::backend;

/// Ids that differ in what readers make of them.
pub(super) const IDS: [&str; 26] = [
    "a",
    "A",
    "a1",
    "a2",
    "a10",
    "ab",
    "b",
    "b1",
    "b b",
    "B",
    "c+d",
    "c%2Fd",
    "c/d",
    "c:d",
    "d\"q",
    "e?x",
    "f&g=h",
    "\u{e4}",
    "a\u{308}",
    "al\u{ad}ice",
    "alice",
    "z",
    "0",
    "10",
    "2",
    "\u{1F600}",
];

/// The partitions of a partitioned database.
pub(super) const PARTITIONS: [&str; 2] = ["p", "q"];

/// A document with its leaves.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) leaves: Vec<Leaf>,
}

/// The newest revision of one branch, with the bodies of those before it.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Newest first; the first is the leaf's own.
    pub(super) history: Vec<String>,
    /// The bodies of the history, in its order, without `_id` and `_rev`.
    pub(super) bodies: Vec<Map<String, Value>>,
}

/// All that is stored but design documents.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) documents: Vec<Document>,
    /// In which order the revisions are written: indexes into `documents` and their leaves.
    pub(super) order: Vec<(usize, usize)>,
    /// Ids begin with a partition.
    pub(super) partitioned: bool,
}

impl Leaf {
    pub(super) fn rev(&self) -> &str {
        &self.history[0]
    }

    pub(super) fn body(&self) -> &Map<String, Value> {
        &self.bodies[0]
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.body().get("_deleted") == Some(&json!(true))
    }

    /// A tombstone that keeps nothing.
    pub(super) fn is_bare(&self) -> bool {
        self.is_deleted() && self.body().len() == 1
    }

    /// As `_bulk_docs` takes it with `new_edits=false`: the revision `back` steps before the leaf, with this body.
    pub(super) fn row(&self, id: &str, back: usize, body: &Map<String, Value>) -> Value {
        let history = &self.history[back..];
        let (start, _) = split(&history[0]);
        let ids: Vec<&str> = history.iter().map(|rev| split(rev).1).collect();
        let mut row = body.clone();
        row.insert("_id".into(), json!(id));
        row.insert("_revisions".into(), json!({ "start": start, "ids": ids }));
        Value::Object(row)
    }
}

impl Document {
    /// The leaf that CouchDB shows: a living one before a deleted one, then the longest history, then the greater hash.
    pub(super) fn winner<'d>(leaves: impl IntoIterator<Item = &'d Leaf>) -> Option<&'d Leaf> {
        leaves.into_iter().max_by_key(|leaf| {
            let (start, hash) = split(leaf.rev());
            (!leaf.is_deleted(), start, hash.to_owned())
        })
    }
}

/// Generation and hash.
pub(super) fn split(rev: &str) -> (u64, &str) {
    let (start, hash) = rev.split_once('-').unwrap();
    (start.parse().unwrap(), hash)
}

impl Data {
    pub(super) fn draw(random: &mut Rng) -> Self {
        let partitioned = backend().is_couchdb() && random.u32(0..4) == 0;
        let mut ids: Vec<usize> = (0..IDS.len()).collect();
        random.shuffle(&mut ids);
        ids.truncate(random.usize(3..IDS.len()));
        let ids = ids.into_iter().map(|at| spell(at, partitioned));
        let documents: Vec<Document> = ids.map(|id| document(random, &id)).collect();
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (at, document) in documents.iter().enumerate() {
            order.extend((0..document.leaves.len()).map(|leaf| (at, leaf)));
        }
        random.shuffle(&mut order);
        Self {
            documents,
            order,
            partitioned,
        }
    }

    /// One of the ids that documents may have.
    pub(super) fn spell(&self, at: usize) -> String {
        spell(at, self.partitioned)
    }

    pub(super) fn leaf(&self, (document, leaf): (usize, usize)) -> (&str, &Leaf) {
        let document = &self.documents[document];
        (&document.id, &document.leaves[leaf])
    }

    /// The leaf that CouchDB shows of a document.
    pub(super) fn winner(&self, id: &str) -> Option<(&str, &Leaf)> {
        let document = self.documents.iter().find(|document| document.id == id)?;
        Some((&document.id, Document::winner(&document.leaves)?))
    }

    /// Without one document, or without one leaf of it.
    pub(super) fn without(&self, at: usize, leaf: Option<usize>) -> Self {
        let mut documents = self.documents.clone();
        let gone = |(document, other): &(usize, usize)| match leaf {
            None => *document == at,
            Some(leaf) => *document == at && *other == leaf,
        };
        let mut order: Vec<(usize, usize)> = self
            .order
            .iter()
            .filter(|pair| !gone(pair))
            .copied()
            .collect();
        match leaf {
            None => {
                documents.remove(at);
                for (document, _) in &mut order {
                    *document -= usize::from(*document > at);
                }
            }
            Some(leaf) => {
                documents[at].leaves.remove(leaf);
                for (document, other) in &mut order {
                    *other -= usize::from(*document == at && *other > leaf);
                }
            }
        }
        Self {
            documents,
            order,
            partitioned: self.partitioned,
        }
    }
}

fn spell(at: usize, partitioned: bool) -> String {
    let id = IDS[at];
    match partitioned {
        true => format!("{}:{id}", PARTITIONS[at % PARTITIONS.len()]),
        false => id.to_owned(),
    }
}

fn document(random: &mut Rng, id: &str) -> Document {
    let leaves = match random.u32(0..10) {
        0..6 => 1,
        6..8 => 2,
        8 => 3,
        _ => 4,
    };
    let first = hash(random);
    Document {
        id: id.to_owned(),
        leaves: (0..leaves).map(|_| leaf(random, &first)).collect(),
    }
}

fn leaf(random: &mut Rng, first: &str) -> Leaf {
    let length = random.usize(1..4);
    let mut history: Vec<String> = (2..=length)
        .rev()
        .map(|at| format!("{at}-{}", hash(random)))
        .collect();
    match random.u32(0..4) {
        // A branch of its own from the root on.
        0 if length == 1 => history.push(format!("1-{}", hash(random))),
        _ if length == 1 => history.push(format!("1-{}", hash(random))),
        _ => history.push(format!("1-{first}")),
    }
    let mut bodies: Vec<Map<String, Value>> = history.iter().map(|_| body(random)).collect();
    if random.u32(0..5) == 0 {
        bodies[0] = match random.bool() && history.len() > 1 {
            true => Map::new(),
            false => {
                let mut kept = body(random);
                kept.remove("_attachments");
                kept
            }
        };
        bodies[0].insert("_deleted".into(), json!(true));
    }
    // The root is shared by branches, so its body is that of the document.
    let root = bodies.len() - 1;
    if root > 0 {
        bodies[root] = root_body(first);
    }
    Leaf { history, bodies }
}

fn root_body(first: &str) -> Map<String, Value> {
    let even = first.as_bytes()[0].is_multiple_of(2);
    let Value::Object(body) = json!({ "type": if even { "a" } else { "b" }, "root": true }) else {
        panic!("an object");
    };
    body
}

fn hash(random: &mut Rng) -> String {
    (0..32)
        .map(|_| char::from(b"0123456789abcdef"[random.usize(0..16)]))
        .collect()
}

fn pick<'v, T>(random: &mut Rng, of: &'v [T]) -> &'v T {
    &of[random.usize(0..of.len())]
}

/// Values that sums, keys and selectors meet.
fn value(random: &mut Rng) -> Value {
    let values = [
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(2),
        json!(10),
        json!(1e20),
        json!(9_007_199_254_740_993_i64),
        json!(null),
        json!(true),
        json!(false),
        json!(""),
        json!("a"),
        json!("A"),
        json!("10"),
        json!("1\u{ad}"),
        json!([1, 2]),
        json!([]),
        json!({}),
        json!({ "b": 1 }),
        json!({ "b": 1, "c": 2 }),
        json!({ "c": 2, "b": 1 }),
    ];
    pick(random, &values).clone()
}

pub(super) fn body(random: &mut Rng) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        body.insert(name.into(), value);
    };
    put("type", json!(pick(random, &["a", "b", "c"])));
    if random.u32(0..4) > 0 {
        put(
            "owner",
            json!(pick(random, &["rita", "walt", "al\u{ad}ice", "alice"])),
        );
    }
    if random.u32(0..4) > 0 {
        put("n", value(random));
    }
    if random.bool() {
        put(
            "tags",
            json!(
                (0..random.usize(0..3))
                    .map(|_| value(random))
                    .collect::<Vec<_>>()
            ),
        );
    }
    if random.bool() {
        put("secret", value(random));
    }
    match random.u32(0..6) {
        0 => put(
            "nested",
            json!({ "shown": value(random), "hidden": value(random) }),
        ),
        1 => put("nested", json!({ "hidden": value(random) })),
        2 => put("nested", json!({ "shown": value(random) })),
        3 => put("nested", value(random)),
        _ => {}
    }
    if random.u32(0..3) == 0 {
        put(
            "list",
            json!([{ "shown": value(random), "hidden": value(random) }, value(random)]),
        );
    }
    if random.u32(0..4) == 0 {
        let mut attachments = BTreeMap::new();
        for name in ["note.txt", "pic/1.png", "secret.bin"] {
            if random.bool() {
                let data = pick(
                    random,
                    &["", "aGVsbG8=", "aGVsbG8gd29ybGQ=", "AAECAwQFBgc="],
                );
                let kind = pick(
                    random,
                    &["text/plain", "image/png", "application/octet-stream"],
                );
                attachments.insert(name, json!({ "content_type": kind, "data": data }));
            }
        }
        if !attachments.is_empty() {
            put("_attachments", json!(attachments));
        }
    }
    body
}
