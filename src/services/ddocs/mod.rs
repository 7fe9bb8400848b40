//! `couchwarden deploy`: the design documents of `ddocs/`, put into CouchDB where they differ.
//!
//! `folder` reads the files, `document` puts them together, `script` looks at the JavaScript, `difference`
//! compares; this file obeys. A design document with new views is first stored under another name, without
//! what would already take effect there. CouchDB names the file of an index by what it is made of, so when the
//! index of that copy is ready, so is the one of the real document, and dashboards never wait for it.
//!
//! Invariant: nothing is written before every file has been understood, and what is as it should be is not
//! written.

mod difference;
mod document;
mod folder;
mod script;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

pub(crate) use difference::{Change, compare};
pub(crate) use document::Design;
pub(crate) use folder::{Folder, Target, read};

use crate::client::Client;
use crate::config::Config;
use crate::couch::{Couch, CouchError, ServiceAccount};
use crate::json::{Object, Value};
use crate::route::{DbName, DesignName, DocId, FunctionName};

/// Before the name of a design document whose index is being built.
const NEXT: &str = "couchwarden-next:";

/// How often progress is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Tell the differences, write nothing.
    pub dry_run: bool,
    /// Delete design documents that have no folder any more, in databases that have one.
    pub prune: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployed {
    /// Everything is as it should be now.
    Done,
    /// Something differs, and nothing was to be written.
    Differs,
}

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Files that can't be meant, databases that are not there; all of them.
    #[error("{}", .0.join("\n"))]
    Mistakes(Vec<String>),
    /// CouchDB did not do it.
    #[error("`{at}`: {error}")]
    Couch {
        /// The database, and the design document if there is one.
        at: String,
        /// What CouchDB said.
        error: CouchError,
    },
}

/// Reads design documents without asking CouchDB anything.
///
/// # Errors
///
/// All mistakes, each as `path: what is wrong`.
pub fn check(directory: &Path) -> Result<(), Vec<String>> {
    read(directory).map(|_| ())
}

/// Puts design documents into CouchDB.
struct Deploy<'a> {
    couch: Couch,
    wish: Wish,
    tell: &'a mut (dyn FnMut(&str) + Send),
    differs: bool,
}

/// Brings CouchDB to what `ddocs/` says; `tell` gets a line for each difference and each step.
///
/// # Errors
///
/// Mistakes in the files, and what CouchDB refuses. What was written before stays: the next run goes on.
pub async fn deploy(
    config: &Config,
    wish: Wish,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<Deployed, DeployError> {
    let folders = read(&config.ddocs).map_err(DeployError::Mistakes)?;
    let couch = Client::new(&config.couchdb, &config.limits)
        .map_err(CouchError::from)
        .and_then(|client| {
            let account = ServiceAccount::new(&config.couchdb)?;
            Ok(Couch::new(client, account, config.limits.body))
        })
        .map_err(at("CouchDB"))?;
    let mut deploy = Deploy {
        couch,
        wish,
        tell,
        differs: false,
    };
    deploy.all(&folders).await?;
    Ok(match (wish.dry_run, deploy.differs) {
        (true, true) => Deployed::Differs,
        (true, false) | (false, _) => Deployed::Done,
    })
}

fn at(place: &str) -> impl FnOnce(CouchError) -> DeployError {
    let at = place.to_owned();
    move |error| DeployError::Couch { at, error }
}

impl Deploy<'_> {
    async fn all(&mut self, folders: &[Folder]) -> Result<(), DeployError> {
        let mut missing = Vec::new();
        let mut work: Vec<(DbName, Vec<Value>, &Folder)> = Vec::new();
        for folder in folders {
            for db in self.databases(&folder.target).await? {
                match self.couch.designs(&db).await.map_err(at(db.as_str()))? {
                    Some(stored) => work.push((db, stored, folder)),
                    None => missing.push(format!("there is no database `{}`", db.as_str())),
                }
            }
        }
        if !missing.is_empty() {
            return Err(DeployError::Mistakes(missing));
        }
        for (db, stored, folder) in work {
            for design in &folder.designs {
                self.one(&db, &stored, design).await?;
            }
            self.tidy(&db, &stored, folder).await?;
        }
        Ok(())
    }

    async fn databases(&self, target: &Target) -> Result<Vec<DbName>, DeployError> {
        match target {
            Target::Database(db) => Ok(vec![db.clone()]),
            Target::UserDatabases => {
                let names = self.couch.all_dbs().await.map_err(at("_all_dbs"))?;
                let names = names.iter().filter_map(|name| DbName::parse(name).ok());
                Ok(names.filter(DbName::is_user_database).collect())
            }
        }
    }

    async fn one(
        &mut self,
        db: &DbName,
        stored: &[Value],
        wanted: &Design,
    ) -> Result<(), DeployError> {
        let place = format!("{}/_design/{}", db.as_str(), wanted.name.as_str());
        let before = find(stored, wanted.name.as_str());
        let (lines, build) = match compare(wanted, before) {
            Change::Nothing => return Ok(()),
            Change::Build(lines) => (lines, true),
            Change::Replace(lines) => (lines, false),
        };
        self.differs = true;
        let mark = if before.is_some() { '~' } else { '+' };
        (self.tell)(&format!("{mark} {place}"));
        for line in lines {
            (self.tell)(&format!("    {line}"));
        }
        if self.wish.dry_run {
            return Ok(());
        }
        if build {
            self.build(db, stored, wanted).await.map_err(at(&place))?;
        }
        let document = wanted.over(before);
        self.couch
            .put_design(db, &wanted.name, &document)
            .await
            .map_err(at(&place))?;
        Ok(())
    }

    /// Has the index made under another name. What takes effect by being there (`validate_doc_update`) is not
    /// in that document.
    async fn build(
        &mut self,
        db: &DbName,
        stored: &[Value],
        wanted: &Design,
    ) -> Result<(), CouchError> {
        let Some(view) = wanted.any_view() else {
            return Ok(());
        };
        let view = FunctionName::parse(view).map_err(|_| CouchError::Name)?;
        let name = format!("{NEXT}{}", wanted.name.as_str());
        let next = Design {
            name: DesignName::parse(&name).map_err(|_| CouchError::Name)?,
            fields: wanted.index(),
        };
        let document = next.over(find(stored, &name));
        let rev = self.couch.put_design(db, &next.name, &document).await?;
        self.wait(db, &next.name, &view).await?;
        let id = format!("_design/{name}");
        let id = DocId::parse(&id).map_err(|_| CouchError::Name)?;
        self.couch.delete(db, &id, rev.as_str()).await
    }

    /// Until the index is up to date, with a line for each percent.
    async fn wait(
        &mut self,
        db: &DbName,
        ddoc: &DesignName,
        view: &FunctionName,
    ) -> Result<(), CouchError> {
        let couch = self.couch.clone();
        let built = async {
            while !couch.is_built(db, ddoc, view).await? {}
            Ok(())
        };
        let mut built = std::pin::pin!(built);
        let mut shown = None;
        loop {
            tokio::select! {
                done = &mut built => return done,
                () = tokio::time::sleep(LOOK) => {}
            }
            // Progress is a comfort: where it can't be had, the index is built all the same.
            let percent = self.couch.indexing(db, ddoc).await.ok().flatten();
            if let Some(percent) = percent.filter(|percent| shown != Some(*percent)) {
                (self.tell)(&format!("    building the index: {percent} %"));
                shown = Some(percent);
            }
        }
    }

    /// Deletes what an earlier run has left behind and, where asked for, what has no folder any more. Mango's
    /// indexes are nobody's files and stay.
    async fn tidy(
        &mut self,
        db: &DbName,
        stored: &[Value],
        folder: &Folder,
    ) -> Result<(), DeployError> {
        for document in stored {
            let id = document.get("_id").and_then(Value::as_str);
            let id = id.and_then(|id| DocId::parse(id).ok());
            let Some((id, name)) = id.and_then(|id| Some((id.clone(), id.design()?))) else {
                continue;
            };
            let gone = folder.designs.iter().all(|design| design.name != name);
            let left_behind = name.as_str().starts_with(NEXT);
            if !(left_behind || gone && self.wish.prune && !is_mango(document)) {
                continue;
            }
            // A copy that was built in this run is gone already, at a later revision.
            let now = self.couch.read(db, &id).await.map_err(at(db.as_str()))?;
            let Some(now) = now else { continue };
            let place = format!("{}/{}", db.as_str(), id.as_str());
            self.differs = true;
            (self.tell)(&format!("- {place}"));
            if !self.wish.dry_run {
                let rev = now.get("_rev").and_then(Value::as_str).unwrap_or_default();
                let deleted = self.couch.delete(db, &id, rev).await;
                deleted.map_err(at(&place))?;
            }
        }
        Ok(())
    }
}

fn find<'v>(stored: &'v [Value], name: &str) -> Option<&'v Value> {
    stored.iter().find(|document| {
        let id = document.get("_id").and_then(Value::as_str);
        id.and_then(|id| id.strip_prefix("_design/")) == Some(name)
    })
}

fn is_mango(document: &Value) -> bool {
    let language = document
        .as_object()
        .and_then(|object: &Object| object.get("language"));
    language.and_then(Value::as_str) == Some("query")
}
