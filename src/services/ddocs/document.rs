//! From the files of a folder to a design document.
//!
//! ```text
//! views/NAME/map.js            views/NAME/reduce.js (a function, or `_count` and its kin)
//! filters/NAME.js              validate_doc_update.js
//! lib/NAME.js                  a CommonJS module: `require('views/lib/NAME')`
//! language                     `javascript` if there is none
//! options.json                 options of the views
//! fields.json                  an object of whatever else belongs into the document
//! ```
//!
//! Invariant: a file is understood or a fault, and all faults of a folder are told at once.

use super::script;
use crate::json::{Object, Value};
use crate::route::DesignName;

/// A file of a design document's folder.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// From the folder, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// From the folder of the design document.
    pub(super) path: String,
    pub(super) message: String,
}

/// A design document as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Design {
    pub(crate) name: DesignName,
    /// Without `_id` and `_rev`.
    pub(crate) fields: Object,
}

/// The members that decide what an index holds, and so which file CouchDB keeps it in.
const INDEXED: [&str; 3] = ["views", "language", "options"];

impl Design {
    /// The members of which CouchDB makes the index.
    pub(crate) fn index(&self) -> Object {
        indexed(&self.fields)
    }

    /// Is this the stored document of that name?
    pub(crate) fn is_named_as(&self, stored: &Value) -> bool {
        let id = stored.get("_id").and_then(Value::as_str);
        id.and_then(|id| id.strip_prefix("_design/")) == Some(self.name.as_str())
    }

    /// A view, by which the index of all of them is asked for.
    pub(crate) fn any_view(&self) -> Option<&str> {
        let views = self.fields.get("views")?.as_object()?;
        let mut named = views.iter().filter(|(name, _)| *name != "lib");
        named.next().map(|(name, _)| name)
    }

    /// The whole document in the place of the one stored, whose attachments it keeps.
    pub(crate) fn over(&self, stored: Option<&Value>) -> Value {
        let mut document = Object::new();
        document.insert("_id", format!("_design/{}", self.name.as_str()));
        for kept in ["_rev", "_attachments"] {
            if let Some(value) = stored.and_then(|stored| stored.get(kept)) {
                document.insert(kept, value.clone());
            }
        }
        for (name, value) in self.fields.iter() {
            document.insert(name, value.clone());
        }
        document.into()
    }
}

/// The members of a document of which CouchDB makes the index.
pub(super) fn indexed(fields: &Object) -> Object {
    let mut index = Object::new();
    for name in INDEXED {
        if let Some(value) = fields.get(name) {
            index.insert(name, value.clone());
        }
    }
    index
}

/// Puts the files of one folder together.
pub(super) fn assemble(name: DesignName, files: &[File]) -> Result<Design, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut fields = Object::new();
    fields.insert("language", "javascript");
    for file in files {
        if let Err(message) = add(&mut fields, file) {
            let path = file.path.clone();
            faults.push(Fault { path, message });
        }
    }
    let views = fields.get("views").and_then(Value::as_object);
    let views = views.map(Object::iter).into_iter().flatten();
    faults.extend(views.filter(no_map).map(|(view, _)| Fault {
        path: format!("views/{view}"),
        message: "there is no map.js".to_owned(),
    }));
    if faults.is_empty() {
        Ok(Design { name, fields })
    } else {
        Err(faults)
    }
}

fn no_map((name, view): &(&str, &Value)) -> bool {
    *name != "lib" && view.get("map").is_none()
}

fn add(fields: &mut Object, file: &File) -> Result<(), String> {
    let steps: Vec<&str> = file.path.split('/').collect();
    let text = file.text.as_str();
    match steps.as_slice() {
        ["language"] => set(fields, &["language"], text.trim().into()),
        ["options.json"] => set(fields, &["options"], json(text)?.into()),
        ["fields.json"] => others(fields, text),
        ["validate_doc_update.js"] => {
            let source = script::function(text)?;
            set(fields, &["validate_doc_update"], source.into())
        }
        ["views", view, "map.js"] if *view != "lib" => {
            let source = script::function(text)?;
            set(fields, &["views", view, "map"], source.into())
        }
        ["views", view, "reduce.js"] if *view != "lib" => {
            let source = match text.trim() {
                built_in if built_in.starts_with('_') => built_in.to_owned(),
                _ => script::function(text)?,
            };
            set(fields, &["views", view, "reduce"], source.into())
        }
        ["filters", file] => {
            let source = script::function(text)?;
            set(fields, &["filters", stem(file)?], source.into())
        }
        ["lib", file] => {
            script::module(text)?;
            set(fields, &["views", "lib", stem(file)?], text.into())
        }
        _ => Err("no part of a design document has this name".to_owned()),
    }
}

fn stem(file: &str) -> Result<&str, String> {
    file.strip_suffix(".js")
        .filter(|stem| !stem.is_empty())
        .ok_or_else(|| "a file NAME.js is wanted here".to_owned())
}

/// Sets what lies at a path; objects on the way are made.
fn set(fields: &mut Object, path: &[&str], value: Value) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        fields.insert(*first, value);
        return Ok(());
    }
    if fields.get(first).is_none() {
        fields.insert(*first, Object::new());
    }
    let inner = fields.get_mut(first).and_then(Value::as_object_mut);
    let inner = inner.ok_or_else(|| format!("`{first}` is in fields.json too"))?;
    set(inner, rest, value)
}

/// The members of `fields.json`. Views in another language than JavaScript stand there as well.
fn others(fields: &mut Object, text: &str) -> Result<(), String> {
    for (name, value) in json(text)? {
        if name.starts_with('_') {
            return Err(format!("`{name}` is CouchDB's to set"));
        }
        fields.insert(name, value);
    }
    Ok(())
}

fn json(text: &str) -> Result<Object, String> {
    match Value::parse(text.as_bytes()) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        ) => Err("a JSON object is wanted".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}
