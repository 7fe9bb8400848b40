//! The `fields` of a Mango query, applied here: CouchDB must return whole documents for policy to judge.

use crate::json::{Object, Value};
use crate::policy::field_steps;

/// The `fields` parameter of `_find`: paths with dots, `\.` for a dot in a name.
#[derive(Debug, Clone)]
pub(crate) struct Projection(Vec<Vec<String>>);

impl Projection {
    /// Reads the list; anything but texts is `None`.
    pub(crate) fn read(fields: &Value) -> Option<Self> {
        let list = fields.as_array()?;
        list.iter()
            .map(|field| field_steps(field.as_str()?).ok())
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// Only the listed fields of a document, nested as they were.
    pub(crate) fn apply(&self, document: &Value) -> Value {
        let mut shown = Value::Object(Object::new());
        for path in &self.0 {
            if let Some(found) = find(document, path) {
                put(&mut shown, path, found.clone());
            }
        }
        shown
    }
}

fn find<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

fn put(target: &mut Value, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *target = value;
        return;
    };
    let Value::Object(object) = target else {
        return;
    };
    if rest.is_empty() {
        object.insert(first.clone(), value);
        return;
    }
    if object.get(first).is_none() {
        object.insert(first.clone(), Value::Object(Object::new()));
    }
    if let Some(inner) = object.get_mut(first) {
        put(inner, rest, value);
    }
}
