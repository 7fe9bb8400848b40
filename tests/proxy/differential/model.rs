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
    /// The documents whose winner is visible as they are stored, and the design document: for what runs code. Pins are
    /// in the code.
    Whole,
    /// All documents as they are stored, and the design document with the pins: for sums, of which nothing else decides.
    Pinned,
}

pub(super) const TWINS: [Twin; 4] = [Twin::Leaves, Twin::Winners, Twin::Whole, Twin::Pinned];

impl Twin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leaves => "leaves",
            Self::Winners => "winners",
            Self::Whole => "whole",
            Self::Pinned => "pinned",
        }
    }

    /// Has it the design document?
    pub(super) fn runs_code(self) -> bool {
        match self {
            Self::Leaves | Self::Winners => false,
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

/// What the rules show of a leaf. A tombstone that keeps nothing is judged by the body that it ended.
pub(super) fn see(rules: &Rules, id: &str, leaf: &Leaf) -> Option<Map<String, Value>> {
    if !leaf.is_bare() {
        return rules.see(id, leaf.body());
    }
    rules.see(id, leaf.bodies.get(1)?)?;
    Some(leaf.body().clone())
}

/// The rows of all that is stored, oldest revision first, so that each body can be read by its revision.
pub(super) fn everything(data: &Data) -> Vec<Value> {
    let rows = data.order.iter().flat_map(|pair| {
        let (id, leaf) = data.leaf(*pair);
        let rows = (0..leaf.history.len()).rev();
        rows.map(|back| leaf.row(id, back, &leaf.bodies[back]))
            .collect::<Vec<_>>()
    });
    rows.collect()
}

/// The design document; the rows of its views are those whose key the pin lets through.
pub(super) fn design(pin: Option<&[&'static str]>) -> Value {
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
    let with = |emit: &str, code: &str| map(&code.replace("EMIT", emit));
    let emit = if pin.is_some() { "pinned" } else { "emit" };
    json!({
        "_id": "_design/app",
        "views": {
            "by_n": { "map": with(emit, "EMIT(doc.n, doc.type);") },
            "by_type": { "map": with(emit, "EMIT([doc.type, doc.n], { n: doc.n, secret: doc.secret, nested: doc.nested });") },
            "sums": { "map": with(emit, "if (typeof doc.n === 'number') EMIT(doc.type, doc.n); EMIT([doc.type, doc.owner], 1);"), "reduce": "_sum" },
            "stats": { "map": with(emit, "if (typeof doc.n === 'number') EMIT([doc.type, doc.owner], doc.n);"), "reduce": "_stats" },
            "count": { "map": with(emit, "EMIT(doc.type); (doc.tags || []).forEach(function (tag) { EMIT(tag, null); });"), "reduce": "_count" },
            "script": { "map": with(emit, "EMIT([doc.type, doc.owner], 1);"), "reduce": "function (keys, values, rereduce) { return rereduce ? sum(values) : values.length; }" },
            "distinct": { "map": with(emit, "EMIT(doc.type, 1);"), "reduce": "_approx_count_distinct" },
            "mixed": { "map": with(emit, "if (!doc.n || typeof doc.n !== 'object' || Array.isArray(doc.n)) EMIT(doc.type, doc.n === undefined ? 1 : doc.n);"), "reduce": "_sum" },
            "linked": { "map": with(emit, "EMIT(doc.type, { _id: doc.owner === 'alice' ? 'a' : 'b' });") },
        },
        "filters": { "typed": "function (doc, req) { return doc.type === 'a'; }" },
    })
}
