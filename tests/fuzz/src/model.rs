//! The slow and plain readings that couchwarden is compared with, and what inputs have in common.

use couchwarden::json::{FieldPath, Object, Step, Value};

/// A place that the input itself decides: the same input cuts at the same place, always.
pub(super) fn place(data: &[u8]) -> usize {
    data.iter().fold(7, |sum: usize, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    })
}

/// The input whole, byte by byte, and in two pieces.
pub(super) fn cuts(data: &[u8], place: usize) -> [Vec<&[u8]>; 3] {
    let (left, right) = data.split_at(place % (data.len() + 1));
    [vec![data], data.chunks(1).collect(), vec![left, right]]
}

/// CouchDB's own members of a document, which are nobody's to hide.
const OWN: [&str; 8] = [
    "_id",
    "_rev",
    "_deleted",
    "_revisions",
    "_revs_info",
    "_conflicts",
    "_deleted_conflicts",
    "_local_seq",
];

/// A document without what these paths name.
pub(super) fn without(paths: &[FieldPath], value: &Value, place: &mut Vec<String>) -> Value {
    let hidden = |place: &[String]| {
        let own = place
            .first()
            .is_some_and(|name| OWN.contains(&name.as_str()));
        !own && (0..=place.len()).any(|end| {
            let above = place.get(..end).unwrap_or_default();
            paths.iter().any(|path| hits(path.steps(), above))
        })
    };
    let mut below = |name: &str, value: &Value| {
        place.push(name.to_owned());
        let shown = (!hidden(place)).then(|| without(paths, value, place));
        place.pop();
        shown
    };
    match value {
        Value::Object(object) => {
            let mut shown = Object::new();
            for (key, value) in object.iter() {
                // An object of which nothing is left goes.
                let emptied = |cut: &Value| is_empty(cut) && !is_empty(value);
                if let Some(cut) = below(key, value).filter(|cut| !emptied(cut)) {
                    shown.insert(key, cut);
                }
            }
            Value::Object(shown)
        }
        Value::Array(elements) => {
            let elements = elements.iter().enumerate();
            let shown = elements.filter_map(|(at, value)| below(&at.to_string(), value));
            Value::Array(shown.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Object::is_empty)
}

/// Does the path name exactly this place?
fn hits(steps: &[Step], place: &[String]) -> bool {
    match (steps, place) {
        ([], []) => true,
        ([Step::Deep, rest @ ..], _) if hits(rest, place) => true,
        ([Step::Deep, ..], [_, below @ ..]) => hits(steps, below),
        ([step, rest @ ..], [name, below @ ..]) => takes(step, name) && hits(rest, below),
        ([_, ..], []) | ([], [_, ..]) => false,
    }
}

fn takes(step: &Step, name: &str) -> bool {
    match step {
        Step::Name(own) => own == name,
        Step::Like(pieces) => like(pieces, name),
        Step::Any | Step::Deep => true,
    }
}

/// The pieces one after the other, with any text between them.
fn like(pieces: &[String], name: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return false;
    };
    let Some(after) = name.strip_prefix(first.as_str()) else {
        return false;
    };
    match rest {
        [] => after.is_empty(),
        _ => after
            .char_indices()
            .map(|(at, _)| at)
            .chain([after.len()])
            .any(|at| like(rest, after.get(at..).unwrap_or_default())),
    }
}
