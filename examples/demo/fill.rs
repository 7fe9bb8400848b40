//! The company put into CouchDB: only into databases that this demo has made.
//!
//! Invariant: before anything is written, everything that would be written to is looked at; what the demo did not
//! make stops it.

use std::path::Path;

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::company::{CALLS, Company, SUBSCRIBERS};
use crate::ddocs;
use crate::say::Progress;

/// In each database that the demo has made; there once it is full.
const MARKER: &str = "_local/couchwarden-demo";

/// What the demo puts into CouchDB. A change of it makes older databases outdated.
const EDITION: u32 = 2;

const BATCH: usize = 1000;

/// Somebody who logs in by the password of his document in `_users`.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
    pub(crate) roles: Vec<String>,
}

/// A database and what goes into it.
struct Wanted {
    name: String,
    /// The folder of `ddocs/`.
    designs: Option<&'static str>,
    documents: Vec<Value>,
    told: String,
}

pub(crate) fn fill(
    backend: &Backend,
    company: &Company,
    accounts: &[Account],
    password: &str,
) -> Result<(), String> {
    let wanted = wanted(company, password)?;
    check(backend, &wanted, accounts)?;
    make_users(backend, accounts)?;
    for database in &wanted {
        put(backend, database)?;
    }
    index(backend)
}

fn wanted(company: &Company, password: &str) -> Result<Vec<Wanted>, String> {
    // One hash for all telephones: the demo need not wait for two hundred.
    let hashed = bcrypt::hash(password, 8).map_err(|error| error.to_string())?;
    let one = |name: &str, designs, documents: Vec<Value>, told: String| Wanted {
        name: name.to_owned(),
        designs,
        documents,
        told,
    };
    let nodes = company.nodes(&hashed);
    let mut wanted = vec![
        one(
            "provisioning",
            Some("provisioning"),
            company.records(),
            format!("master records of {SUBSCRIBERS} subscribers"),
        ),
        one(
            "catconf",
            None,
            nodes,
            "the tree of configuration".to_owned(),
        ),
        one(
            "cdrs",
            Some("cdrs"),
            company.calls(),
            format!("{CALLS} call detail records"),
        ),
    ];
    for owner in &company.subscribers {
        if let Some(mailbox) = &owner.mailbox {
            let told = format!("the mailbox of {}", owner.name);
            wanted.push(one(
                mailbox,
                Some("u{uuid}"),
                company.voicemail(owner),
                told,
            ));
        }
    }
    Ok(wanted)
}

/// Is there anything that somebody else has made?
fn check(backend: &Backend, wanted: &[Wanted], accounts: &[Account]) -> Result<(), String> {
    for Wanted { name, .. } in wanted {
        let there = backend.ask("GET", &format!("/{name}"), None)?.status == 200;
        if there && marker(backend, name)?.is_none() {
            return Err(format!(
                "there is a database `{name}` which this demo did not make; nothing was changed"
            ));
        }
    }
    for Account { name, .. } in accounts {
        let found = backend.ask("GET", &user_path(name), None)?;
        if found.status == 200 && found.json()["made_by"] != "couchwarden demo" {
            return Err(format!(
                "there is a user `{name}` whom this demo did not make; nothing was changed"
            ));
        }
    }
    Ok(())
}

fn marker(backend: &Backend, name: &str) -> Result<Option<Value>, String> {
    let reply = backend.ask("GET", &format!("/{name}/{MARKER}"), None)?;
    Ok((reply.status == 200).then(|| reply.json()))
}

fn make_users(backend: &Backend, accounts: &[Account]) -> Result<(), String> {
    let progress = Progress::begin("users");
    // A CouchDB that was never set up has no `_users` yet.
    backend.ask("PUT", "/_users", None)?;
    for Account {
        name,
        password,
        roles,
    } in accounts
    {
        let path = user_path(name);
        let mut user = json!({ "name": name, "type": "user", "roles": roles, "password": password, "made_by": "couchwarden demo" });
        let found = backend.ask("GET", &path, None)?;
        if found.status == 200 {
            user["_rev"] = found.json()["_rev"].clone();
            // A database of his own from the last time stays his.
            let kept = found.json()["roles"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let kept = kept
                .into_iter()
                .filter(|role| !roles.iter().any(|own| *role == **own));
            user["roles"]
                .as_array_mut()
                .into_iter()
                .for_each(|roles| roles.extend(kept.clone()));
        }
        expect(backend, "PUT", &path, &user)?;
    }
    let names: Vec<&str> = accounts.iter().map(|account| account.name).collect();
    progress.end(&names.join(", "));
    Ok(())
}

fn put(backend: &Backend, wanted: &Wanted) -> Result<(), String> {
    let Wanted {
        name,
        designs,
        documents,
        told,
    } = wanted;
    let short = if name.len() > 30 {
        name.get(..9).unwrap_or(name)
    } else {
        name
    };
    let mut progress = Progress::begin(&if short == name {
        short.to_owned()
    } else {
        format!("{short}…")
    });
    if let Some(marker) = marker(backend, name)? {
        if marker["complete"] == true && marker["edition"] == EDITION {
            progress.end(&format!("{told} (kept from the last time)"));
            return Ok(());
        }
        expect(backend, "DELETE", &format!("/{name}"), &Value::Null)?;
    }
    expect(backend, "PUT", &format!("/{name}"), &Value::Null)?;
    expect(
        backend,
        "PUT",
        &format!("/{name}/{MARKER}"),
        &json!({ "complete": false, "edition": EDITION }),
    )?;
    // couchwarden presents each caller with this role; nobody gets in past it.
    let role = backend.role(name);
    let security = json!({ "members": { "names": [], "roles": [role] }, "admins": { "names": [], "roles": ["_admin"] } });
    expect(backend, "PUT", &format!("/{name}/_security"), &security)?;
    for (index, batch) in documents.chunks(BATCH).enumerate() {
        let path = format!("/{name}/_bulk_docs");
        let stored = expect(backend, "POST", &path, &json!({ "docs": batch }))?;
        if let Some(row) = stored
            .as_array()
            .into_iter()
            .flatten()
            .find(|row| !row["error"].is_null())
        {
            return Err(format!("`{name}`: a document was not stored: {row}"));
        }
        progress.at(index * BATCH + batch.len(), documents.len());
    }
    if let Some(folder) = designs {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/ddocs");
        for design in ddocs::read(&Path::new(root).join(folder))? {
            let id = design["_id"].as_str().unwrap_or_default();
            expect(backend, "PUT", &format!("/{name}/{id}"), &design)?;
        }
    }
    let marker = marker(backend, name)?.unwrap_or_default();
    let complete = json!({ "complete": true, "edition": EDITION, "_rev": marker["_rev"] });
    expect(backend, "PUT", &format!("/{name}/{MARKER}"), &complete)?;
    progress.end(told);
    Ok(())
}

/// Asks once for each view, so that the first `curl` need not wait for an index.
fn index(backend: &Backend) -> Result<(), String> {
    let progress = Progress::begin("views");
    for view in [
        "cdrs/_design/cdr/_view/by_number",
        "cdrs/_design/cdr/_view/by_day",
        "provisioning/_design/records/_view/by_domain",
    ] {
        let reply = backend.ask("GET", &format!("/{view}?limit=1&reduce=false"), None)?;
        if reply.status != 200 {
            return Err(format!("`{view}` can't be asked: {}", reply.text.trim()));
        }
    }
    progress.end("indexed");
    Ok(())
}

/// Ends the replications that were begun: who would go on with them is gone.
pub(crate) fn tidy(backend: &Backend) -> Result<(), String> {
    let list = "/_replicator/_all_docs?startkey=%22couchwarden:%22&endkey=%22couchwarden%3B%22";
    let found = backend.ask("GET", list, None)?.json();
    for row in found["rows"].as_array().into_iter().flatten() {
        let (Some(id), Some(rev)) = (row["id"].as_str(), row["value"]["rev"].as_str()) else {
            continue;
        };
        backend.ask("DELETE", &format!("/_replicator/{id}?rev={rev}"), None)?;
    }
    Ok(())
}

fn user_path(name: &str) -> String {
    format!("/_users/org.couchdb.user:{name}")
}

fn expect(backend: &Backend, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let reply = backend.ask(method, path, (!body.is_null()).then_some(body))?;
    if (200..300).contains(&reply.status) {
        return Ok(reply.json());
    }
    Err(format!(
        "{method} {path} answered {}: {}",
        reply.status,
        reply.text.trim()
    ))
}
