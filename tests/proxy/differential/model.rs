//! The model: databases that hold only what the rules show, so that CouchDB itself says what must be answered.

use serde_json::{Map, Value, json};

use super::data::{Data, Document, Leaf};
use super::rules::Rules;

/// A database that holds what the caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twin {
    /// Each visible leaf, without what is hidden in it: for endpoints that name revisions.
    Leaves,
    /// The same of documents whose winner is visible: for endpoints that show winners.
    Winners,
    /// As `Winners`, and the indexes of which the caller may see every field: for queries.
    Indexed,
    /// The documents whose winner is visible as they are stored, and the design document: for what runs code. Pins are
    /// in the code.
    Whole,
    /// All documents as they are stored, and the design document with the pins: for sums, of which nothing else decides.
    Pinned,
}

pub(super) const TWINS: [Twin; 5] = [
    Twin::Leaves,
    Twin::Winners,
    Twin::Indexed,
    Twin::Whole,
    Twin::Pinned,
];

/// An index of Mango's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Index {
    pub(super) name: &'static str,
    pub(super) fields: &'static [&'static str],
    /// Only documents that have this type are in it.
    pub(super) of_type: Option<&'static str>,
}

pub(super) const INDEXES: [Index; 5] = [
    Index::of("numbers", &["n"]),
    Index::of("types", &["type", "owner"]),
    Index::of("secrets", &["secret"]),
    Index::of("inside", &["nested.hidden", "type"]),
    Index {
        of_type: Some("a"),
        ..Index::of("partial", &["owner"])
    },
];

impl Index {
    const fn of(name: &'static str, fields: &'static [&'static str]) -> Self {
        Self {
            name,
            fields,
            of_type: None,
        }
    }

    /// May a caller see every field that it is about?
    pub(super) fn is_open(self, rules: &Rules) -> bool {
        let typed = self.of_type.is_none() || rules.may_name("type");
        typed && self.fields.iter().all(|field| rules.may_name(field))
    }

    /// As `_index` takes it.
    pub(super) fn definition(self) -> Value {
        let mut index = json!({ "fields": self.fields });
        if let Some(kind) = self.of_type {
            index["partial_filter_selector"] = json!({ "type": kind });
        }
        json!({ "index": index, "name": self.name, "ddoc": self.name, "type": "json" })
    }
}

impl Twin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leaves => "leaves",
            Self::Winners => "winners",
            Self::Indexed => "indexed",
            Self::Whole => "whole",
            Self::Pinned => "pinned",
        }
    }

    /// Has it the design document?
    pub(super) fn runs_code(self) -> bool {
        match self {
            Self::Leaves | Self::Winners | Self::Indexed => false,
            Self::Whole | Self::Pinned => true,
        }
    }

    /// The rows of a document, as `_bulk_docs` takes them with `new_edits=false`.
    pub(super) fn rows(self, document: &Document, rules: &Rules) -> Vec<Value> {
        if self == Self::Pinned {
            let leaves = document.leaves.iter();
            return leaves
                .map(|leaf| leaf.row(&document.id, 0, leaf.body()))
                .collect();
        }
        let winner = Document::winner(&document.leaves);
        let won = winner.is_some_and(|leaf| see(rules, &document.id, leaf).is_some());
        if self != Self::Leaves && !won {
            return Vec::new();
        }
        let mut rows = Vec::new();
        for leaf in &document.leaves {
            if see(rules, &document.id, leaf).is_none() {
                continue;
            }
            // Earlier revisions first, as far as they may be seen; then the leaf.
            for back in (0..leaf.history.len()).rev() {
                let seen = match back {
                    0 => see(rules, &document.id, leaf),
                    _ => rules.see(&document.id, &leaf.bodies[back]),
                };
                let Some(seen) = seen else { continue };
                let body = if self == Self::Whole {
                    &leaf.bodies[back]
                } else {
                    &seen
                };
                rows.push(leaf.row(&document.id, back, body));
            }
        }
        rows
    }
}

/// What the rules show of a leaf. What a tombstone does not say of the fields by which rules decide, the body says that it
/// ended.
pub(super) fn see(rules: &Rules, id: &str, leaf: &Leaf) -> Option<Map<String, Value>> {
    let mut judged = leaf.body().clone();
    if leaf.is_deleted() {
        let before = leaf.bodies.get(1);
        if before.is_none() && leaf.is_bare() {
            return None;
        }
        for field in rules.decides_by() {
            if let Some(value) = before.and_then(|before| before.get(field)) {
                judged.entry(field).or_insert_with(|| value.clone());
            }
        }
    }
    let sight = rules.sight(id, &judged)?;
    let mut seen = leaf.body().clone();
    sight.cut_document(&mut seen);
    Some(seen)
}

/// The rows of all that is stored, document by document, oldest revision first, so that each body can be read by its
/// revision.
pub(super) fn everything(data: &Data) -> Vec<Vec<Value>> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); data.documents.len()];
    for (document, leaf) in &data.order {
        let (id, stored) = data.leaf((*document, *leaf));
        let history = (0..stored.history.len()).rev();
        rows[*document].extend(history.map(|back| stored.row(id, back, &stored.bodies[back])));
    }
    rows
}

/// In batches that have one row of a document at most: of several CouchDB may lose a body, and what has grown by many
/// small batches it compacts, which takes bodies too.
pub(super) fn in_batches(documents: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let most = documents.iter().map(Vec::len).max().unwrap_or(0);
    let batch = |at: usize| {
        let rows = documents.iter().map(|rows| rows.get(at));
        rows.flatten().cloned().collect::<Vec<_>>()
    };
    (0..most).map(batch).collect()
}

/// The design documents; the rows of their views are those whose key the pin lets through.
pub(super) fn designs(partitioned: bool, pin: Option<&[&'static str]>) -> Vec<Value> {
    let mut whole = design("_design/app", partitioned, pin);
    if !partitioned {
        return vec![whole];
    }
    whole["options"] = json!({ "partitioned": false });
    // CouchDB fails at keys of partitions in JavaScript.
    let mut parts = design("_design/parts", partitioned, pin);
    parts["views"]["script"]["reduce"] = json!("_count");
    vec![whole, parts]
}

/// Sums have no rows of what is written while requests run: nothing but the pin would keep them apart.
const LOUD: &str = "if (doc.quiet) return; ";

fn design(id: &str, partitioned: bool, pin: Option<&[&'static str]>) -> Value {
    let guard = match pin {
        None => String::new(),
        Some(pin) => format!(
            "var all = emit; emit = function (key, value) {{ var first = Array.isArray(key) ? key[0] : key; if ({}.indexOf(first) >= 0) all(key, value); }};",
            json!(pin)
        ),
    };
    let map = |code: &str| {
        json!(format!(
            "function (doc) {{ {} {code} }}",
            guard
                .replace("var all = emit; emit = function", "var pinned = function")
                .replace(") all(", ") emit(")
        ))
    };
    let rows = |emit: &str, code: &str| map(&code.replace("EMIT", emit));
    let with = |emit: &str, code: &str| rows(emit, &format!("{LOUD}{code}"));
    let linked = if partitioned {
        "'p:a' : 'q:b'"
    } else {
        "'a' : 'b'"
    };
    let emit = if pin.is_some() { "pinned" } else { "emit" };
    json!({
        "_id": id,
        "views": {
            "by_n": { "map": rows(emit, "EMIT(doc.n, doc.type);") },
            "by_type": { "map": rows(emit, "EMIT([doc.type, doc.n], { n: doc.n, secret: doc.secret, nested: doc.nested });") },
            "sums": { "map": with(emit, "if (typeof doc.n === 'number') EMIT(doc.type, doc.n); EMIT([doc.type, doc.owner], 1);"), "reduce": "_sum" },
            "stats": { "map": with(emit, "if (typeof doc.n === 'number') EMIT([doc.type, doc.owner], doc.n);"), "reduce": "_stats" },
            "count": { "map": with(emit, "EMIT(doc.type); (doc.tags || []).forEach(function (tag) { EMIT(tag, null); });"), "reduce": "_count" },
            "script": { "map": with(emit, "EMIT([doc.type, doc.owner], 1);"), "reduce": "function (keys, values, rereduce) { return rereduce ? sum(values) : values.length; }" },
            "distinct": { "map": with(emit, "EMIT(doc.type, 1);"), "reduce": "_approx_count_distinct" },
            "mixed": { "map": with(emit, "if (!doc.n || typeof doc.n !== 'object' || Array.isArray(doc.n)) EMIT(doc.type, doc.n === undefined ? 1 : doc.n);"), "reduce": "_sum" },
            "linked": { "map": rows(emit, &format!("EMIT(doc.type, {{ _id: doc.owner === 'alice' ? {linked} }});")) },
        },
        "filters": { "typed": "function (doc, req) { return doc.type === 'a'; }" },
    })
}
