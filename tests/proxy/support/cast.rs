//! The backend of this run, and the accounts on it: made when the first test needs them, deleted after the last.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::backend::Backend;

/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse";

/// The callers that tests are about, with the roles of their accounts.
const ROLES: [(&str, &[&str]); 6] = [
    ("rita", &["reader"]),
    ("walt", &["writer"]),
    ("sue", &["number:+4930100"]),
    ("sam", &["number:+4930200", "number:+4930300"]),
    ("tom", &[]),
    ("ops", &[]),
];

/// The one backend of this test binary.
pub(crate) fn backend() -> &'static Backend {
    static BACKEND: OnceLock<Backend> = OnceLock::new();
    BACKEND.get_or_init(|| Backend::start().unwrap_or_else(|problem| panic!("{problem}")))
}

/// Accounts of this run. Names end differently in each run, so that runs at one CouchDB don't meet.
#[derive(Debug)]
pub(crate) struct Cast {
    suffix: String,
}

impl Cast {
    /// The accounts that other tests use just now, or new ones.
    pub(crate) fn share() -> Arc<Self> {
        static CURRENT: Mutex<Weak<Cast>> = Mutex::new(Weak::new());
        let mut current = CURRENT.lock().unwrap();
        if let Some(cast) = current.upgrade() {
            return cast;
        }
        let cast = Arc::new(Self { suffix: unique() });
        for (name, roles) in ROLES {
            make_user(&cast.name(name), roles);
        }
        *current = Arc::downgrade(&cast);
        cast
    }

    /// Accounts as the fake CouchDB knows them.
    pub(crate) fn pretended() -> Arc<Self> {
        Arc::new(Self {
            suffix: String::new(),
        })
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// Replaces `$rita` and the others by their names.
    pub(crate) fn expand(&self, text: &str) -> String {
        let short = ROLES.iter().map(|(name, _)| *name);
        short.fold(text.to_owned(), |text, name| {
            text.replace(&format!("\"${name}\""), &format!("\"{}\"", self.name(name)))
        })
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        if !self.suffix.is_empty() {
            for (name, _) in ROLES {
                delete_user(&self.name(name));
            }
        }
    }
}

/// The roles of an account of the fake CouchDB.
pub(crate) fn roles_of(name: &str) -> &'static [&'static str] {
    ROLES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(&[], |(_, roles)| roles)
}

pub(crate) fn make_user(name: &str, roles: &[&str]) {
    let document = json!({ "name": name, "type": "user", "roles": roles, "password": PASSWORD });
    let made = backend()
        .ask("PUT", &user_path(name), Some(&document))
        .unwrap();
    assert_eq!(made.status, 201, "user `{name}`: {}", made.text);
}

/// Changes members of the document of an account.
pub(crate) fn change_user(name: &str, change: &Value) {
    let path = user_path(name);
    let mut document = backend().ask("GET", &path, None).unwrap().json();
    for (member, value) in change.as_object().unwrap() {
        document[member] = value.clone();
    }
    let made = backend().ask("PUT", &path, Some(&document)).unwrap();
    assert_eq!(made.status, 201, "user `{name}`: {}", made.text);
}

pub(crate) fn delete_user(name: &str) {
    delete(&user_path(name));
}

/// Deletes a document, if it is there.
pub(super) fn delete(path: &str) {
    if let Ok(found) = backend().ask("GET", path, None)
        && let Some(rev) = found.json()["_rev"].as_str()
    {
        let _ = backend().ask("DELETE", &format!("{path}?rev={rev}"), None);
    }
}

/// The roles of an account, as its document has them.
pub(crate) fn roles_of_user(name: &str) -> Vec<String> {
    let found = backend().ask("GET", &user_path(name), None).unwrap().json();
    let roles = found["roles"].as_array().unwrap();
    roles
        .iter()
        .map(|role| role.as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn set_roles(name: &str, roles: &[String]) {
    let path = user_path(name);
    let mut document = backend().ask("GET", &path, None).unwrap().json();
    document["roles"] = json!(roles);
    let put = backend().ask("PUT", &path, Some(&document)).unwrap();
    assert_eq!(put.status, 201, "{}", put.text);
}

fn user_path(name: &str) -> String {
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/_users/org.couchdb.user:{encoded}")
}

/// A text that no other test and no other run has: lower-case letters and digits, a letter first.
pub(crate) fn unique() -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_micros();
    format!("w{time:x}p{:x}n{count}", std::process::id())
}
