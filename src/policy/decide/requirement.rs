//! What each route needs: one exhaustive match over every call of the grammar.
//!
//! A new route does not compile until it is judged here.
//!
//! Invariant: a call that policy does not judge yet needs [`DatabaseNeed::Unjudged`], which nobody but an
//! administrator has.

use crate::route::Call;
use crate::route::ClusterNodeCall;
use crate::route::DatabaseCall;
use crate::route::DesignCall;
use crate::route::DesignName;
use crate::route::DocId;
use crate::route::FunctionName;
use crate::route::List;
use crate::route::Method;
use crate::route::Route;
use crate::route::ServerCall;
use crate::route::WardenCall;

use crate::policy::rules::action::Simple;

/// What a route needs of the policy.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) enum Need<'r> {
    /// Open to everyone, answered by couchwarden (for administrators by CouchDB).
    Open(&'static str),
    /// Judged where it is answered: sessions, nodes.
    Own,
    /// Our services for callers who have a name.
    Named,
    /// The databases of the server, cut to the caller's.
    Databases(&'static str),
    /// Another server endpoint.
    Server(&'static str),
    /// Something in a database.
    Database(DatabaseNeed<'r>),
}

/// What a route needs in its database.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) enum DatabaseNeed<'r> {
    /// One action, nothing to filter.
    Simple(Simple),
    /// Database info: something is shown to all who may do something here.
    Info,
    Document(&'r DocId),
    Documents(List),
    Changes,
    Find,
    Explain,
    /// The Mango indexes.
    Index,
    BulkGet,
    RevsDiff,
    /// Checkpoints of the caller's own.
    Local,
    /// `_ensure_full_commit`.
    Commit,
    View(&'r DesignName, &'r FunctionName),
    /// A document is written; its id if the path names it.
    Write(Option<&'r DocId>),
    BulkWrite,
    /// PUT or DELETE of an attachment, which is an update of its document.
    AttachmentWrite(&'r DocId),
    /// COPY: one document is read, another one written.
    Copy(&'r DocId, &'r DocId),
    Attachment(&'r DocId),
    /// Served untouched or not at all.
    Untouched(Untouched<'r>),
    /// Nobody's but an administrator's, so far.
    Unjudged,
}

/// Routes that run code of a design document, which answers what it likes: open only where there is nothing to
/// filter.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) enum Untouched<'r> {
    /// A show or a search.
    Function(&'r DesignName, &'r FunctionName),
    /// A list function over a view.
    List {
        ddoc: &'r DesignName,
        list: &'r FunctionName,
        other: &'r DesignName,
        view: &'r FunctionName,
    },
    /// An update function.
    Update(&'r DesignName, &'r FunctionName),
    /// A rewrite goes wherever its rules say.
    Rewrite(&'r DesignName),
}

/// What this route needs.
pub(in crate::policy) fn need(route: &Route) -> Need<'_> {
    match &route.call {
        Call::Server(call) => server(call),
        Call::Database { db: _, call } => Need::Database(database(call, route.method)),
        Call::Node(_) | Call::NodeSession => Need::Own,
        Call::Warden(
            WardenCall::Provisioning | WardenCall::ProvisioningEvents | WardenCall::Voicemail(_),
        ) => Need::Named,
    }
}

fn server(call: &ServerCall) -> Need<'_> {
    match call {
        ServerCall::Welcome => Need::Open("welcome"),
        ServerCall::Up => Need::Open("up"),
        ServerCall::Uuids => Need::Open("uuids"),
        ServerCall::Session => Need::Own,
        ServerCall::AllDbs => Need::Databases("all_dbs"),
        ServerCall::DbsInfo => Need::Databases("dbs_info"),
        ServerCall::Favicon => Need::Server("favicon"),
        ServerCall::ActiveTasks => Need::Server("active_tasks"),
        ServerCall::DbUpdates => Need::Server("db_updates"),
        ServerCall::Membership => Need::Server("membership"),
        ServerCall::ClusterSetup => Need::Server("cluster_setup"),
        ServerCall::Replicate => Need::Server("replicate"),
        ServerCall::SchedulerJobs(_) | ServerCall::SchedulerDocs(..) => Need::Server("scheduler"),
        ServerCall::SearchAnalyze => Need::Server("search_analyze"),
        ServerCall::NouveauAnalyze => Need::Server("nouveau_analyze"),
        ServerCall::ReloadQueryServers => Need::Server("reload_query_servers"),
        ServerCall::Reshard(_) => Need::Server("reshard"),
        ServerCall::Utils(_) => Need::Server("utils"),
        ServerCall::ClusterNode { node: _, call } => Need::Server(cluster_node(call)),
    }
}

fn cluster_node(call: &ClusterNodeCall) -> &'static str {
    match call {
        ClusterNodeCall::Name => "node_name",
        ClusterNodeCall::Stats(_) | ClusterNodeCall::Prometheus => "node_stats",
        ClusterNodeCall::System | ClusterNodeCall::SmooshStatus => "node_system",
        ClusterNodeCall::Restart => "node_restart",
        ClusterNodeCall::Versions => "node_versions",
        ClusterNodeCall::Config(..) | ClusterNodeCall::ConfigReload => "node_config",
        ClusterNodeCall::Registry { of: _, call: _ } => "node_registry",
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each call, nothing else")]
fn database(call: &DatabaseCall, method: Method) -> DatabaseNeed<'_> {
    let reads = matches!(method, Method::Get | Method::Head);
    match call {
        DatabaseCall::Itself => match method {
            Method::Get | Method::Head => DatabaseNeed::Info,
            Method::Put => DatabaseNeed::Simple(Simple::CreateDatabase),
            Method::Delete => DatabaseNeed::Simple(Simple::DeleteDatabase),
            Method::Post => DatabaseNeed::Write(None),
            Method::Copy => DatabaseNeed::Unjudged,
        },
        DatabaseCall::List(List::Local) | DatabaseCall::ListQueries(List::Local) => {
            DatabaseNeed::Local
        }
        DatabaseCall::List(list) | DatabaseCall::ListQueries(list) => {
            DatabaseNeed::Documents(*list)
        }
        DatabaseCall::BulkDocs => DatabaseNeed::BulkWrite,
        DatabaseCall::BulkGet => DatabaseNeed::BulkGet,
        DatabaseCall::Changes => DatabaseNeed::Changes,
        DatabaseCall::Find | DatabaseCall::PartitionFind(_) => DatabaseNeed::Find,
        DatabaseCall::Explain | DatabaseCall::PartitionExplain(_) => DatabaseNeed::Explain,
        DatabaseCall::Index | DatabaseCall::IndexNamed { .. } | DatabaseCall::IndexBulkDelete => {
            DatabaseNeed::Index
        }
        DatabaseCall::RevsDiff | DatabaseCall::MissingRevs => DatabaseNeed::RevsDiff,
        DatabaseCall::EnsureFullCommit => DatabaseNeed::Commit,
        DatabaseCall::Security => DatabaseNeed::Simple(Simple::Security),
        DatabaseCall::Maintain(_) | DatabaseCall::TempView => {
            DatabaseNeed::Simple(Simple::Maintain)
        }
        DatabaseCall::PartitionInfo(_) => DatabaseNeed::Simple(Simple::Info),
        DatabaseCall::PartitionAllDocs(_) => DatabaseNeed::Documents(List::All),
        DatabaseCall::PartitionView {
            partition: _,
            ddoc,
            view,
        } => DatabaseNeed::View(ddoc, view),
        DatabaseCall::Document(id) if reads => DatabaseNeed::Document(id),
        DatabaseCall::Document(id) => DatabaseNeed::Write(Some(id)),
        DatabaseCall::CopyDocument {
            from,
            to,
            to_rev: _,
        } => DatabaseNeed::Copy(from, to),
        DatabaseCall::Attachment { doc, name: _ } if reads => DatabaseNeed::Attachment(doc),
        DatabaseCall::Attachment { doc, name: _ } => DatabaseNeed::AttachmentWrite(doc),
        DatabaseCall::PartitionSearch {
            partition: _,
            ddoc,
            index,
        }
        | DatabaseCall::PartitionNouveau {
            partition: _,
            ddoc,
            index,
        } => DatabaseNeed::Untouched(Untouched::Function(ddoc, index)),
        DatabaseCall::Local(_)
        | DatabaseCall::CopyLocal {
            from: _,
            to: _,
            to_rev: _,
        } => DatabaseNeed::Local,
        DatabaseCall::Design { ddoc, call } => design(ddoc, call),
    }
}

fn design<'r>(ddoc: &'r DesignName, call: &'r DesignCall) -> DatabaseNeed<'r> {
    match call {
        DesignCall::View(view) | DesignCall::ViewQueries(view) => DatabaseNeed::View(ddoc, view),
        DesignCall::Info
        | DesignCall::SearchInfo(_)
        | DesignCall::SearchDiskSize(_)
        | DesignCall::NouveauInfo(_) => DatabaseNeed::Simple(Simple::Info),
        DesignCall::Search(name) | DesignCall::Nouveau(name) | DesignCall::Show(name, _) => {
            DatabaseNeed::Untouched(Untouched::Function(ddoc, name))
        }
        DesignCall::List { list, other, view } => {
            let other = other.as_ref().unwrap_or(ddoc);
            DatabaseNeed::Untouched(Untouched::List {
                ddoc,
                list,
                other,
                view,
            })
        }
        DesignCall::Update(name, _) => DatabaseNeed::Untouched(Untouched::Update(ddoc, name)),
        DesignCall::Rewrite(_) => DatabaseNeed::Untouched(Untouched::Rewrite(ddoc)),
    }
}
