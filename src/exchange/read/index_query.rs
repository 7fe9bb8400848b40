//! Mango indexes under a lens: an index over fields that are hidden from a caller does not exist for him, and he
//! makes none.
//!
//! Invariant: what an index is about is read whole, or it is taken for one over hidden fields.

use super::find_query::named;
use super::query::selector;
use crate::json::{Object, Value};
use crate::policy::Lens;
use crate::refusal::Refusal;

/// Whether an index, as `_index` lists it, is over visible fields only.
pub(crate) fn is_visible(lens: &Lens, index: &Value) -> bool {
    let kind = index.get("type").and_then(Value::as_str);
    match (kind, index.get("def")) {
        // Every database has this one.
        (Some("special"), _) => true,
        (Some("json"), Some(definition)) => judge(lens, definition).is_ok(),
        // Indexes of text may be over every field.
        _ => false,
    }
}

/// The body of a `POST` to `_index`, and the design document that it names.
pub(crate) fn created<'b>(lens: &Lens, body: &'b Value) -> Result<Option<&'b str>, Refusal> {
    let members = body
        .as_object()
        .ok_or(Refusal::BadRequest("the body must be a JSON object"))?;
    let mut ddoc = None;
    for (name, value) in members.iter() {
        match (name, value) {
            ("index", definition) => judge(lens, definition)?,
            ("type", Value::String(kind)) if kind == "json" => {}
            ("type", _) => {
                return Err(Refusal::Forbidden("only `json` indexes are open to you"));
            }
            ("ddoc", Value::String(name)) => ddoc = Some(name.as_str()),
            ("name", Value::String(_)) | ("partitioned" | "w", _) => {}
            _ => return Err(Refusal::Malformed(format!("`{name}` is not known here"))),
        }
    }
    match members.contains("index") {
        true => Ok(ddoc),
        false => Err(Refusal::BadRequest("Missing required key: index")),
    }
}

/// `{"fields":[…],"partial_filter_selector":{…}}`
fn judge(lens: &Lens, definition: &Value) -> Result<(), Refusal> {
    const SHAPE: Refusal = Refusal::BadRequest("`index` must be an object of `fields`");
    for (name, value) in definition.as_object().ok_or(SHAPE)?.iter() {
        match name {
            "fields" => fields(lens, value.as_array().ok_or(SHAPE)?)?,
            "partial_filter_selector" => selector(lens, value)?,
            _ => return Err(Refusal::Malformed(format!("`{name}` is not known here"))),
        }
    }
    Ok(())
}

fn fields(lens: &Lens, fields: &[Value]) -> Result<(), Refusal> {
    for field in fields {
        match field {
            Value::String(field) => named(lens, field)?,
            Value::Object(object) => {
                for (field, _) in object.iter() {
                    named(lens, field)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(Refusal::BadRequest("`fields` must be a list of fields"));
            }
        }
    }
    Ok(())
}

/// The design documents that a `POST` to `_index/_bulk_delete` names, and the rest of its body.
pub(crate) fn deleted(body: &Value) -> Result<(Vec<&str>, Object), Refusal> {
    const SHAPE: Refusal = Refusal::BadRequest("`docids` must be a list of texts");
    let mut rest = body
        .as_object()
        .ok_or(Refusal::BadRequest("the body must be a JSON object"))?
        .clone();
    rest.remove("docids");
    if let Some((name, _)) = rest.iter().find(|(name, _)| *name != "w") {
        return Err(Refusal::Malformed(format!("`{name}` is not known here")));
    }
    let listed = body.get("docids").and_then(Value::as_array);
    let listed = listed.ok_or(SHAPE)?.iter();
    let named: Option<Vec<&str>> = listed.map(Value::as_str).collect();
    Ok((named.ok_or(SHAPE)?, rest))
}
