//! `ddocs/DATABASE/DESIGN/…`, read from the disk.
//!
//! Invariant: what stands in the folder is read whole or not at all, with every mistake named.

use std::fs;
use std::io;
use std::path::Path;

use super::document::{Design, File, assemble};
use crate::route::{DbName, DesignName};

/// The folder whose design documents go into each user database (`u` and a UUID).
const USER_DATABASES: &str = "u{uuid}";

/// Where design documents belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The database of this name.
    Database(DbName),
    /// Each user database.
    UserDatabases,
}

/// The design documents of one folder of `ddocs/`.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) target: Target,
    pub(crate) designs: Vec<Design>,
}

/// Reads all of `ddocs/`.
///
/// # Errors
///
/// All mistakes, each as `path: what is wrong`.
pub(crate) fn read(directory: &Path) -> Result<Vec<Folder>, Vec<String>> {
    let mut mistakes = Vec::new();
    let mut folders = Vec::new();
    for name in subfolders(directory, &mut mistakes) {
        let path = directory.join(&name);
        let Some(target) = target(&name) else {
            mistakes.push(format!("{}: no database has this name", path.display()));
            continue;
        };
        let mut designs = Vec::new();
        for design in subfolders(&path, &mut mistakes) {
            designs.extend(self::design(&path.join(&design), &design, &mut mistakes));
        }
        folders.push(Folder { target, designs });
    }
    if mistakes.is_empty() {
        Ok(folders)
    } else {
        Err(mistakes)
    }
}

/// A folder can't have a slash in its name, so `%2F` stands for it.
fn target(name: &str) -> Option<Target> {
    if name == USER_DATABASES {
        return Some(Target::UserDatabases);
    }
    let db = DbName::parse(&name.replace("%2F", "/"));
    db.ok().filter(|db| !db.is_own()).map(Target::Database)
}

fn design(path: &Path, name: &str, mistakes: &mut Vec<String>) -> Option<Design> {
    let Ok(name) = DesignName::parse(name) else {
        mistakes.push(format!(
            "{}: no design document has this name",
            path.display()
        ));
        return None;
    };
    let mut files = Vec::new();
    if let Err(error) = collect(path, "", &mut files) {
        mistakes.push(unreadable(path, &error));
        return None;
    }
    files.sort_by(|one, two| one.path.cmp(&two.path));
    match assemble(name, &files) {
        Ok(design) => Some(design),
        Err(faults) => {
            let told = faults.into_iter().map(|fault| {
                let file = path.join(&fault.path);
                format!("{}: {}", file.display(), fault.message)
            });
            mistakes.extend(told);
            None
        }
    }
}

fn collect(folder: &Path, above: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Editors leave hidden files behind.
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{above}{name}");
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else {
            let text = fs::read_to_string(entry.path())?;
            files.push(File { path, text });
        }
    }
    Ok(())
}

/// The names of the folders in this one, sorted. A file among them is none of ours, such as a README.
fn subfolders(folder: &Path, mistakes: &mut Vec<String>) -> Vec<String> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    };
    read().unwrap_or_else(|error| {
        mistakes.push(unreadable(folder, &error));
        Vec::new()
    })
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{}: can't be read: {error}", path.display())
}
