//! The whole HTTP API as one closed enum: CouchDB 3.5, `/node`, `/session`, `/_warden`.
//!
//! A request line is parsed once, here. Afterwards there is no path and no query text any more: policy
//! judges a [`Route`], and what is sent to CouchDB is rendered from the very same value.
//! What is not in the enum is refused ([`RouteError::UnknownEndpoint`]).
//!
//! The first path segments `node` and `session` are ours: databases of these names can't be reached
//! through couchwarden. No more can `couchwarden`, in which we keep what is for us alone.
//!
//! Invariant: `parse(render(route)) == route`, and two spellings of one path give the same route or a
//! refusal.

pub mod name;
pub mod query;

mod call;
mod copy;
mod database;
mod design;
mod history;
mod maintenance;
mod method;
mod path;
mod render;
mod server;

pub use history::History;
pub use method::Method;
pub(crate) use name::in_url;
pub use name::{
    AttachmentName, DbName, DesignName, DocId, FunctionName, LocalId, NodeId, Rev, Text,
};
pub(crate) use path::leads_to_own_database;
pub use query::{Query, QueryError};

/// A request line that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What is done to what.
    pub call: Call,
    /// The method, one of those that the call has.
    pub method: Method,
    /// The query parameters under their canonical names, none twice.
    pub query: Query,
}

/// What is done to what, by level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The server itself.
    Server(ServerCall),
    /// One database.
    Database { db: DbName, call: DatabaseCall },
    /// `/node` and `/node/ID`.
    Node(NodeCall),
    /// `/session`: the sessions of nodes.
    NodeSession,
    /// `/_warden/…`: couchwarden's own services.
    Warden(WardenCall),
}

/// Calls of the server level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCall {
    /// `/`
    Welcome,
    /// `/favicon.ico`
    Favicon,
    /// `/_up`
    Up,
    /// `/_uuids`
    Uuids,
    /// `/_session`
    Session,
    /// `/_all_dbs`
    AllDbs,
    /// `/_dbs_info`
    DbsInfo,
    /// `/_active_tasks`
    ActiveTasks,
    /// `/_db_updates`
    DbUpdates,
    /// `/_membership`
    Membership,
    /// `/_cluster_setup`
    ClusterSetup,
    /// `/_replicate`
    Replicate,
    /// `/_scheduler/jobs[/ID]`
    SchedulerJobs(Option<Text>),
    /// `/_scheduler/docs[/DB[/ID]]`
    SchedulerDocs(Option<DbName>, Option<Text>),
    /// `/_search_analyze`
    SearchAnalyze,
    /// `/_nouveau_analyze`
    NouveauAnalyze,
    /// `/_reload_query_servers`
    ReloadQueryServers,
    /// `/_reshard…`
    Reshard(ReshardCall),
    /// `/_node/NAME/…`
    ClusterNode { node: Text, call: ClusterNodeCall },
    /// `/_utils/…`: Fauxton's files. An empty last segment is a trailing slash, which matters here:
    /// `/_utils` is redirected to `/_utils/`.
    Utils(Vec<Text>),
}

/// Calls under `/_reshard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReshardCall {
    /// `/_reshard`
    Summary,
    /// `/_reshard/state`
    State,
    /// `/_reshard/jobs`
    Jobs,
    /// `/_reshard/jobs/ID`
    Job(Text),
    /// `/_reshard/jobs/ID/state`
    JobState(Text),
}

/// Calls under `/_node/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterNodeCall {
    /// the node itself
    Name,
    /// `_stats[/…]`
    Stats(Vec<Text>),
    /// `_prometheus`
    Prometheus,
    /// `_system`
    System,
    /// `_restart`
    Restart,
    /// `_versions`
    Versions,
    /// `_smoosh/status`
    SmooshStatus,
    /// `_config[/SECTION[/KEY]]`
    Config(Option<Text>, Option<Text>),
    /// `_config/_reload`
    ConfigReload,
    /// `_dbs…` and `_nodes…`: the databases in which a cluster keeps its own state.
    Registry { of: Registry, call: RegistryCall },
}

/// The databases that exist on one member of a cluster only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registry {
    /// `_dbs`: which shard of which database is where.
    Dbs,
    /// `_nodes`: the members of the cluster.
    Nodes,
}

/// Calls of such a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryCall {
    /// the database itself
    Info,
    /// `_all_docs`
    AllDocs,
    /// one document: the name of a database, or of a member
    Entry(Text),
}

/// Calls of the database level and below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseCall {
    /// `GET`/`HEAD` info, `PUT` create, `DELETE` delete, `POST` a document.
    Itself,
    /// `_all_docs`, `_design_docs`, `_local_docs`
    List(List),
    /// the same with `/queries`
    ListQueries(List),
    /// `_bulk_docs`
    BulkDocs,
    /// `_bulk_get`
    BulkGet,
    /// `_changes`
    Changes,
    /// `_find`
    Find,
    /// `_explain`
    Explain,
    /// `_index`
    Index,
    /// `_index/DDOC/TYPE/NAME`
    IndexNamed {
        ddoc: DesignName,
        kind: Text,
        name: Text,
    },
    /// `_index/_bulk_delete`
    IndexBulkDelete,
    /// `_revs_diff`
    RevsDiff,
    /// `_missing_revs`
    MissingRevs,
    /// `_ensure_full_commit`
    EnsureFullCommit,
    /// `_security`
    Security,
    /// Everything that keeps a database in order and is nobody's but an administrator's.
    Maintain(Maintenance),
    /// `_partition/P`
    PartitionInfo(Text),
    /// `_partition/P/_all_docs`
    PartitionAllDocs(Text),
    /// `_partition/P/_find`
    PartitionFind(Text),
    /// `_partition/P/_explain`
    PartitionExplain(Text),
    /// `_partition/P/_design/DDOC/_view/VIEW`
    PartitionView {
        partition: Text,
        ddoc: DesignName,
        view: FunctionName,
    },
    /// `_partition/P/_design/DDOC/_search/INDEX`
    PartitionSearch {
        partition: Text,
        ddoc: DesignName,
        index: FunctionName,
    },
    /// `_partition/P/_design/DDOC/_nouveau/INDEX`
    PartitionNouveau {
        partition: Text,
        ddoc: DesignName,
        index: FunctionName,
    },
    /// A document.
    Document(DocId),
    /// `COPY` of a document to another id of the same database.
    CopyDocument {
        from: DocId,
        to: DocId,
        to_rev: Option<Rev>,
    },
    /// An attachment of a document.
    Attachment { doc: DocId, name: AttachmentName },
    /// `_local/ID`
    Local(LocalId),
    /// `COPY` of a local document to another one of the same database.
    CopyLocal {
        from: LocalId,
        to: LocalId,
        to_rev: Option<Rev>,
    },
    /// Something below `_design/DDOC` that is not the document or an attachment.
    Design { ddoc: DesignName, call: DesignCall },
    /// `_temp_view`, gone since CouchDB 2 but still answered.
    TempView,
}

/// The three lists of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// `_all_docs`
    All,
    /// `_design_docs`
    Design,
    /// `_local_docs`
    Local,
}

/// Endpoints that keep a database in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maintenance {
    /// `_compact`
    Compact,
    /// `_compact/DDOC`
    CompactViews(DesignName),
    /// `_view_cleanup`
    ViewCleanup,
    /// `_search_cleanup`
    SearchCleanup,
    /// `_nouveau_cleanup`
    NouveauCleanup,
    /// `_purge`
    Purge,
    /// `_purged_infos`
    PurgedInfos,
    /// `_purged_infos_limit`
    PurgedInfosLimit,
    /// `_revs_limit`
    RevsLimit,
    /// `_shards`
    Shards,
    /// `_shards/DOC`
    ShardOf(DocId),
    /// `_sync_shards`
    SyncShards,
    /// `_auto_purge`
    AutoPurge,
    /// `_time_seq`
    TimeSeq,
}

/// Calls below a design document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DesignCall {
    /// `_info`
    Info,
    /// `_view/VIEW`
    View(FunctionName),
    /// `_view/VIEW/queries`
    ViewQueries(FunctionName),
    /// `_search/INDEX`
    Search(FunctionName),
    /// `_search_info/INDEX`
    SearchInfo(FunctionName),
    /// `_search_disk_size/INDEX`
    SearchDiskSize(FunctionName),
    /// `_nouveau/INDEX`
    Nouveau(FunctionName),
    /// `_nouveau_info/INDEX`
    NouveauInfo(FunctionName),
    /// `_show/NAME[/DOC]`
    Show(FunctionName, Option<DocId>),
    /// `_list/NAME/[DDOC/]VIEW`
    List {
        list: FunctionName,
        other: Option<DesignName>,
        view: FunctionName,
    },
    /// `_update/NAME[/DOC]`
    Update(FunctionName, Option<DocId>),
    /// `_rewrite/…`
    Rewrite(Vec<Text>),
}

/// Calls of the node service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeCall {
    /// `/node`
    List,
    /// `/node/ID`
    One(NodeId),
}

/// couchwarden's own services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WardenCall {
    /// `/_warden/provisioning`
    Provisioning,
    /// `/_warden/provisioning/events`
    ProvisioningEvents,
    /// `/_warden/voicemail/DB`
    Voicemail(DbName),
}

/// Why a request line is not a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No such endpoint in CouchDB 3.5 or here.
    #[error("unknown endpoint")]
    UnknownEndpoint,
    /// The endpoint exists but not with this method; the methods that it has.
    #[error("only {0} allowed")]
    Method(&'static str),
    /// The path, the query or `Destination` could be read in more than one way.
    #[error("{0}")]
    Ambiguous(&'static str),
    /// CouchDB's `bad_request`, in its words.
    #[error("{0}")]
    Bad(&'static str),
    /// The name of a database that is to be created is not one that CouchDB takes.
    #[error("illegal database name")]
    IllegalDatabase,
    /// The same for what can only be in a database that exists.
    #[error("no such database")]
    NoDatabase,
    /// The id of a document that is to be written is not one that CouchDB takes.
    #[error("illegal document id")]
    IllegalDocument,
    /// The name of a partition is not one that CouchDB takes.
    #[error("illegal partition")]
    IllegalPartition,
    /// A show, list or update function that is not named; CouchDB's word for it.
    #[error("{0}")]
    NoFunction(&'static str),
}

#[cfg(test)]
mod tests;
