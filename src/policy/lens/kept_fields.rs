//! The fields that a tombstone keeps, so that rules can still decide by them.

use crate::json::{FieldPath, Object, Value};

/// Copies what lies at a path, its absence too. An array is kept whole.
fn keep(path: &[&str], stored: &Object, new: &mut Object) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match stored.get(first) {
        None => {
            new.remove(first);
        }
        Some(Value::Object(below)) if !rest.is_empty() => {
            if new
                .get(first)
                .is_none_or(|value| value.as_object().is_none())
            {
                new.insert(*first, Value::Object(Object::new()));
            }
            if let Some(new) = new.get_mut(first).and_then(Value::as_object_mut) {
                keep(rest, below, new);
            }
        }
        Some(value) => {
            new.insert(*first, value.clone());
        }
    }
}

/// Puts into a tombstone what rules decide by, as it is stored.
pub fn keep_fields(fields: &[FieldPath], stored: &Value, tombstone: &mut Value) {
    if let (Some(stored), Some(tombstone)) = (stored.as_object(), tombstone.as_object_mut()) {
        for path in fields {
            keep(&path.names().unwrap_or_default(), stored, tombstone);
        }
    }
}
