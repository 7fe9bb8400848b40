//! Design documents as files: `ddocs/DATABASE/DESIGN/views/NAME/map.js` becomes the member `views.NAME.map`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// The design documents of one folder of `ddocs/`.
pub(crate) fn read(folder: &Path) -> Result<Vec<Value>, String> {
    let mut designs = Vec::new();
    for (name, mut design) in members(folder)? {
        design["_id"] = format!("_design/{name}").into();
        design["language"] = "javascript".into();
        designs.push(design);
    }
    Ok(designs)
}

/// A folder is an object, a file is a text.
fn members(folder: &Path) -> Result<Map<String, Value>, String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", folder.display());
    let mut members = Map::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let value = if path.is_dir() {
            Value::Object(members_of(&path)?)
        } else {
            source(&fs::read_to_string(&path).map_err(failed)?).into()
        };
        members.insert(name, value);
    }
    Ok(members)
}

fn members_of(folder: &Path) -> Result<Map<String, Value>, String> {
    members(folder)
}

/// CouchDB wants a function and nothing before it, so the comments above it stay at home.
fn source(text: &str) -> String {
    let lines = text
        .lines()
        .skip_while(|line| line.trim().is_empty() || line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}
