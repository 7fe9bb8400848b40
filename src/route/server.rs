//! The server level: what stands beside the databases.
//!
//! CouchDB finds its handler by the first segment (`chttpd_httpd_handlers` and its sisters in mem3,
//! setup, dreyfus, nouveau, global_changes) and ignores what follows; we don't.
//!
//! Invariant: a path with anything left over is refused.

use super::name::{DbName, Text, is_own_database};
use super::path::{Segment, is_unreserved};
use super::query::Names;
use super::{ClusterNodeCall, Registry, RegistryCall, ReshardCall, RouteError, ServerCall};

/// A name that stands where reserved words do. One that begins like a word is rendered as it was spelt, or refused.
fn name_or_word(segment: &Segment<'_>) -> Result<Text, RouteError> {
    let text = segment.word()?;
    if text.starts_with('_') && !text.bytes().all(is_unreserved) {
        return Err(RouteError::Ambiguous(
            "a name that begins like a reserved word needs escapes",
        ));
    }
    Text::parse(text)
}

fn texts(segments: &[Segment<'_>]) -> Result<Vec<Text>, RouteError> {
    segments
        .iter()
        .map(|segment| Text::parse(segment.text()))
        .collect()
}

fn words<'a>(segments: &'a [Segment<'_>]) -> Result<Vec<&'a str>, RouteError> {
    segments.iter().map(Segment::word).collect()
}

impl ServerCall {
    /// None if the first segment is not one of the server's words.
    pub(super) fn parse(
        first: &str,
        rest: &[Segment<'_>],
        slash: bool,
    ) -> Result<Option<Self>, RouteError> {
        let call = match first {
            "favicon.ico" => alone(Self::Favicon, rest)?,
            "_up" => alone(Self::Up, rest)?,
            "_uuids" => alone(Self::Uuids, rest)?,
            "_session" => alone(Self::Session, rest)?,
            "_all_dbs" => alone(Self::AllDbs, rest)?,
            "_dbs_info" => alone(Self::DbsInfo, rest)?,
            "_active_tasks" => alone(Self::ActiveTasks, rest)?,
            "_db_updates" => alone(Self::DbUpdates, rest)?,
            "_membership" => alone(Self::Membership, rest)?,
            "_cluster_setup" => alone(Self::ClusterSetup, rest)?,
            "_replicate" => alone(Self::Replicate, rest)?,
            "_search_analyze" => alone(Self::SearchAnalyze, rest)?,
            "_nouveau_analyze" => alone(Self::NouveauAnalyze, rest)?,
            "_reload_query_servers" => alone(Self::ReloadQueryServers, rest)?,
            "_scheduler" => Self::scheduler(rest)?,
            "_reshard" => Self::Reshard(ReshardCall::parse(rest)?),
            "_node" => Self::node(rest)?,
            "_utils" => return Self::utils(rest, slash).map(Some),
            _ => return Ok(None),
        };
        if slash {
            Err(RouteError::UnknownEndpoint)
        } else {
            Ok(Some(call))
        }
    }

    fn scheduler(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let Some((what, rest)) = rest.split_first() else {
            return Err(RouteError::UnknownEndpoint);
        };
        match (what.word()?, rest) {
            ("jobs", []) => Ok(Self::SchedulerJobs(None)),
            ("jobs", [id]) => Ok(Self::SchedulerJobs(Some(Text::parse(id.text())?))),
            ("docs", []) => Ok(Self::SchedulerDocs(None, None)),
            ("docs", rest) => Self::scheduler_docs(rest),
            _ => Err(RouteError::UnknownEndpoint),
        }
    }

    /// The replicator database's slashes may be escaped or not: `_replicator` is no document's id, so
    /// what stands behind it is the document.
    fn scheduler_docs(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let is_replicator = |text: &str| text == "_replicator" || text.ends_with("/_replicator");
        let end = rest
            .iter()
            .position(|segment| is_replicator(segment.text()));
        let (db, id) = match end.map(|end| rest.split_at(end + 1)) {
            Some((db, [])) => (db, None),
            Some((db, [id])) => (db, Some(Text::parse(id.text())?)),
            Some(_) | None => return Err(RouteError::Ambiguous("Invalid path")),
        };
        let db = db
            .iter()
            .map(Segment::word)
            .collect::<Result<Vec<_>, _>>()?
            .join("/");
        Ok(Self::SchedulerDocs(Some(DbName::parse(&db)?), id))
    }

    fn node(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let Some((name, rest)) = rest.split_first() else {
            return Err(RouteError::UnknownEndpoint);
        };
        let node = name_or_word(name)?;
        Ok(Self::ClusterNode {
            node,
            call: ClusterNodeCall::parse(rest)?,
        })
    }

    fn utils(rest: &[Segment<'_>], slash: bool) -> Result<Self, RouteError> {
        // The file is looked for by the whole decoded path, in which an escaped slash is a slash.
        if rest.iter().any(|segment| segment.text().contains('/')) {
            return Err(RouteError::Ambiguous(
                "an escaped slash in the name of a file",
            ));
        }
        let mut files = texts(rest)?;
        if slash {
            files.push(Text::parse("")?);
        }
        Ok(Self::Utils(files))
    }

    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Welcome
            | Self::Favicon
            | Self::Up
            | Self::AllDbs
            | Self::ActiveTasks
            | Self::SchedulerJobs(_)
            | Self::SchedulerDocs(..)
            | Self::Utils(_) => "GET,HEAD",
            Self::Uuids | Self::DbUpdates | Self::Membership => "GET",
            Self::Session => "GET,HEAD,POST,DELETE",
            Self::DbsInfo => "GET,HEAD,POST",
            Self::ClusterSetup | Self::SearchAnalyze => "GET,POST",
            Self::Replicate | Self::NouveauAnalyze | Self::ReloadQueryServers => "POST",
            Self::Reshard(call) => call.methods(),
            Self::ClusterNode { call, .. } => call.methods(),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Welcome => "/",
            Self::Favicon => "/favicon.ico",
            Self::Up => "/_up",
            Self::Uuids => "/_uuids",
            Self::Session => "/_session",
            Self::AllDbs => "/_all_dbs",
            Self::DbsInfo => "/_dbs_info",
            Self::ActiveTasks => "/_active_tasks",
            Self::DbUpdates => "/_db_updates",
            Self::Membership => "/_membership",
            Self::ClusterSetup => "/_cluster_setup",
            Self::Replicate => "/_replicate",
            Self::SchedulerJobs(None) => "/_scheduler/jobs",
            Self::SchedulerJobs(Some(_)) => "/_scheduler/jobs/{id}",
            Self::SchedulerDocs(None, _) => "/_scheduler/docs",
            Self::SchedulerDocs(Some(_), None) => "/_scheduler/docs/{db}",
            Self::SchedulerDocs(Some(_), Some(_)) => "/_scheduler/docs/{db}/{docid}",
            Self::SearchAnalyze => "/_search_analyze",
            Self::NouveauAnalyze => "/_nouveau_analyze",
            Self::ReloadQueryServers => "/_reload_query_servers",
            Self::Reshard(call) => call.kind(),
            Self::ClusterNode { call, .. } => call.kind(),
            Self::Utils(_) => "/_utils",
        }
    }

    pub(super) fn names(&self) -> Names {
        match self {
            // These read the parameters of `_all_docs`.
            Self::AllDbs | Self::DbsInfo | Self::SchedulerDocs(..) => Names::View,
            Self::Welcome
            | Self::Favicon
            | Self::Up
            | Self::Uuids
            | Self::Session
            | Self::ActiveTasks
            | Self::DbUpdates
            | Self::Membership
            | Self::ClusterSetup
            | Self::Replicate
            | Self::SchedulerJobs(_)
            | Self::SearchAnalyze
            | Self::NouveauAnalyze
            | Self::ReloadQueryServers
            | Self::Reshard(_)
            | Self::ClusterNode { .. }
            | Self::Utils(_) => Names::Exact,
        }
    }
}

fn alone(call: ServerCall, rest: &[Segment<'_>]) -> Result<ServerCall, RouteError> {
    if rest.is_empty() {
        Ok(call)
    } else {
        Err(RouteError::UnknownEndpoint)
    }
}

impl ReshardCall {
    fn parse(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        match words(rest)?.as_slice() {
            [] => Ok(Self::Summary),
            ["state"] => Ok(Self::State),
            ["jobs"] => Ok(Self::Jobs),
            ["jobs", id] => Ok(Self::Job(Text::parse(id)?)),
            ["jobs", id, "state"] => Ok(Self::JobState(Text::parse(id)?)),
            _ => Err(RouteError::UnknownEndpoint),
        }
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Summary => "GET,HEAD",
            Self::State | Self::JobState(_) => "GET,HEAD,PUT",
            Self::Jobs => "GET,HEAD,POST",
            Self::Job(_) => "GET,HEAD,DELETE",
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Summary => "/_reshard",
            Self::State => "/_reshard/state",
            Self::Jobs => "/_reshard/jobs",
            Self::Job(_) => "/_reshard/jobs/{id}",
            Self::JobState(_) => "/_reshard/jobs/{id}/state",
        }
    }
}

impl ClusterNodeCall {
    /// Whatever is not one of these, CouchDB passes to an older interface of that member
    /// (`couch_httpd`), where a database is one file and has no other guard than the administrator's
    /// password. Of that interface only the two databases that the documentation needs are here.
    fn parse(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let Some((what, rest)) = rest.split_first() else {
            return Ok(Self::Name);
        };
        match (what.word()?, rest) {
            ("_stats", rest) => Ok(Self::Stats(texts(rest)?)),
            ("_prometheus", []) => Ok(Self::Prometheus),
            ("_system", []) => Ok(Self::System),
            ("_restart", []) => Ok(Self::Restart),
            ("_versions", []) => Ok(Self::Versions),
            ("_smoosh", [status]) if status.text() == "status" => Ok(Self::SmooshStatus),
            ("_config", []) => Ok(Self::Config(None, None)),
            ("_config", [one]) if one.word()? == "_reload" => Ok(Self::ConfigReload),
            ("_config", [section]) => Ok(Self::Config(Some(name_or_word(section)?), None)),
            ("_config", [section, key]) => {
                let (section, key) = (name_or_word(section)?, Text::parse(key.text())?);
                Ok(Self::Config(Some(section), Some(key)))
            }
            ("_dbs", rest) => Self::registry(Registry::Dbs, rest),
            ("_nodes", rest) => Self::registry(Registry::Nodes, rest),
            _ => Err(RouteError::UnknownEndpoint),
        }
    }

    /// The documents of `_dbs` are databases, so their ids may be `_users` and such.
    fn registry(of: Registry, rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let call = match rest {
            [] => RegistryCall::Info,
            [one] => match one.word()? {
                "_all_docs" => RegistryCall::AllDocs,
                id if id.starts_with('_') && DbName::parse(id).is_err() => {
                    return Err(RouteError::UnknownEndpoint);
                }
                // Who could move or remove the shards of our own database would have it.
                id if is_own_database(id) => return Err(RouteError::UnknownEndpoint),
                id => RegistryCall::Entry(Text::parse(id)?),
            },
            _ => return Err(RouteError::UnknownEndpoint),
        };
        Ok(Self::Registry { of, call })
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Name
            | Self::Stats(_)
            | Self::Prometheus
            | Self::System
            | Self::Versions
            | Self::SmooshStatus
            | Self::Config(_, None) => "GET",
            Self::Restart | Self::ConfigReload => "POST",
            Self::Config(_, Some(_)) => "GET,PUT,DELETE",
            Self::Registry { call, .. } => match call {
                RegistryCall::Info => "GET,HEAD",
                RegistryCall::AllDocs => "GET,HEAD,POST",
                RegistryCall::Entry(_) => "GET,HEAD,PUT,DELETE",
            },
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Name => "/_node/{node}",
            Self::Stats(_) => "/_node/{node}/_stats",
            Self::Prometheus => "/_node/{node}/_prometheus",
            Self::System => "/_node/{node}/_system",
            Self::Restart => "/_node/{node}/_restart",
            Self::Versions => "/_node/{node}/_versions",
            Self::SmooshStatus => "/_node/{node}/_smoosh/status",
            Self::Config(None, _) => "/_node/{node}/_config",
            Self::Config(Some(_), None) => "/_node/{node}/_config/{section}",
            Self::Config(Some(_), Some(_)) => "/_node/{node}/_config/{section}/{key}",
            Self::ConfigReload => "/_node/{node}/_config/_reload",
            Self::Registry {
                of: Registry::Dbs, ..
            } => "/_node/{node}/_dbs",
            Self::Registry {
                of: Registry::Nodes,
                ..
            } => "/_node/{node}/_nodes",
        }
    }
}
