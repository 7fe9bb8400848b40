//! `couchwarden key`: makes the key by which couchwarden signs what it shows CouchDB, and says what CouchDB must know of it.
//!
//! Invariant: no file is overwritten, and no key is ever readable by others.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::CommandError;
use crate::config::{Signing, SigningKey};
use crate::secret::Secret;

/// Makes the key, unless the file is there, and tells the lines of CouchDB's configuration for it.
///
/// # Errors
///
/// The file can't be written or read, or holds no key.
pub fn key(file: &Path, signing: Signing) -> Result<String, CommandError> {
    let wrong = |why: &str| CommandError::Input(format!("`{}`: {why}", file.display()));
    let text = match read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = SigningKey::made(signing).ok_or_else(|| wrong("there is no randomness"))?;
            write_new(file, &text).map_err(|error| wrong(&error.to_string()))?;
            text
        }
        Err(error) => return Err(wrong(&error.to_string())),
    };
    let key = SigningKey::parse(&text).map_err(wrong)?;
    let (name, value) = key
        .ini()
        .ok_or_else(|| wrong("its public half can't be written"))?;
    Ok(format!("[jwt_keys]\n{name} = {value}"))
}

fn read(file: &Path) -> std::io::Result<Secret> {
    std::fs::read(file).map(Secret::new)
}

fn write_new(file: &Path, text: &Secret) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    opened.write_all(text.expose())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::key;
    use crate::config::{Signing, SigningKey};
    use crate::secret::Secret;

    #[test]
    fn a_key_is_made_once_and_told_again() {
        let directory = tempfile::tempdir().unwrap();
        for (signing, kind) in [(Signing::Es256, "ec"), (Signing::Hs256, "hmac")] {
            let file = directory.path().join(format!("secrets/{kind}.key"));
            let told = key(&file, signing).unwrap();
            let made = std::fs::read(&file).unwrap();
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let id = SigningKey::parse(&Secret::new(made.clone())).unwrap();
            let line = told.lines().nth(1).unwrap();
            assert!(
                line.starts_with(&format!("{kind}:{} = ", id.id())),
                "{told}"
            );
            // Whatever is asked for the second time.
            assert_eq!(key(&file, Signing::Es256).unwrap(), told);
            assert_eq!(std::fs::read(&file).unwrap(), made);
        }
        let other = directory.path().join("other");
        std::fs::write(&other, "something else").unwrap();
        assert!(key(&other, Signing::Es256).is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"something else");
    }
}
