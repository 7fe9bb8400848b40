//! From a route back to a path and a query: what was judged is what CouchDB receives.
//!
//! Unreserved characters stay, every other byte becomes `%XX`. Only a slash that separates is a slash:
//! the one behind `_design`, and those inside an attachment's name.
//!
//! Invariant: CouchDB splits and decodes the text into exactly the names of the route.

use std::fmt::Write as _;

use super::name::{AttachmentName, DesignName, DocId, Rev, Text};
use super::path::is_unreserved;
use super::query::Query;
use super::{
    Call, ClusterNodeCall, DatabaseCall, DesignCall, Maintenance, NodeCall, Registry, RegistryCall,
    ReshardCall, Route, ServerCall, WardenCall,
};

impl Route {
    /// The path and query for CouchDB (`path?query`), in the one canonical spelling.
    pub fn render(&self) -> String {
        let mut out = Path(String::with_capacity(64));
        match &self.call {
            Call::Server(call) => server(&mut out, call),
            Call::Database { db, call } => database(out.name(db.as_str()), call),
            Call::Node(NodeCall::List) => out.word("node"),
            Call::Node(NodeCall::One(id)) => out.word("node").name(id.as_str()),
            Call::NodeSession => out.word("session"),
            Call::Warden(call) => warden(&mut out, call),
        };
        out.query(&self.query);
        out.0
    }

    /// The header `Destination` of a `COPY`.
    pub fn destination(&self) -> Option<String> {
        let Call::Database { call, .. } = &self.call else {
            return None;
        };
        let mut out = Path(String::new());
        if let DatabaseCall::CopyDocument { to, to_rev, .. } = call {
            out.document(to).rev(to_rev.as_ref());
        }
        if let DatabaseCall::CopyLocal { to, to_rev, .. } = call {
            out.word("_local").name(to.as_str()).rev(to_rev.as_ref());
        }
        // The paths of this module begin with a slash; a document id does not.
        out.0.strip_prefix('/').map(str::to_owned)
    }
}

/// A path that grows, one segment after the other.
struct Path(String);

impl Path {
    /// A segment that is a word of the grammar.
    fn word(&mut self, word: &str) -> &mut Self {
        self.0.push('/');
        self.0.push_str(word);
        self
    }

    /// A segment that is a name.
    fn name(&mut self, name: &str) -> &mut Self {
        self.0.push('/');
        self.escape(name);
        self
    }

    fn texts(&mut self, texts: &[Text]) -> &mut Self {
        texts.iter().for_each(|text| _ = self.name(text.as_str()));
        self
    }

    fn design(&mut self, ddoc: &DesignName) -> &mut Self {
        self.word("_design").name(ddoc.as_str())
    }

    fn index(&mut self, ddoc: &DesignName, names: [&Text; 2]) -> &mut Self {
        self.word("_index").design(ddoc);
        names.iter().for_each(|name| _ = self.name(name.as_str()));
        self
    }

    fn document(&mut self, id: &DocId) -> &mut Self {
        match id.design() {
            Some(ddoc) => self.design(&ddoc),
            None => self.name(id.as_str()),
        }
    }

    fn attachment(&mut self, name: &AttachmentName) -> &mut Self {
        name.as_str()
            .split('/')
            .for_each(|part| _ = self.name(part));
        self
    }

    /// Not escaped: CouchDB does not decode it.
    fn rev(&mut self, rev: Option<&Rev>) {
        if let Some(rev) = rev {
            self.0.push_str("?rev=");
            self.0.push_str(rev.as_str());
        }
    }

    fn query(&mut self, query: &Query) {
        let mut separator = '?';
        for (name, value) in query.iter() {
            self.0.push(separator);
            self.escape(name);
            if !value.is_empty() {
                self.0.push('=');
                self.escape(value);
            }
            separator = '&';
        }
    }

    fn escape(&mut self, text: &str) {
        for byte in text.bytes() {
            if is_unreserved(byte) {
                self.0.push(char::from(byte));
            } else {
                // Writing to a string can't fail.
                _ = write!(self.0, "%{byte:02X}");
            }
        }
    }
}

fn server<'a>(out: &'a mut Path, call: &ServerCall) -> &'a mut Path {
    match call {
        ServerCall::Welcome => out.word(""),
        ServerCall::Favicon
        | ServerCall::Up
        | ServerCall::Uuids
        | ServerCall::Session
        | ServerCall::AllDbs
        | ServerCall::DbsInfo
        | ServerCall::ActiveTasks
        | ServerCall::DbUpdates
        | ServerCall::Membership
        | ServerCall::ClusterSetup
        | ServerCall::Replicate
        | ServerCall::SearchAnalyze
        | ServerCall::NouveauAnalyze
        | ServerCall::ReloadQueryServers => fixed(out, call.kind()),
        ServerCall::SchedulerJobs(None) => out.word("_scheduler").word("jobs"),
        ServerCall::SchedulerJobs(Some(id)) => {
            out.word("_scheduler").word("jobs").name(id.as_str())
        }
        ServerCall::SchedulerDocs(db, id) => {
            out.word("_scheduler").word("docs");
            if let Some(db) = db {
                out.name(db.as_str());
            }
            if let (Some(_), Some(id)) = (db, id) {
                out.name(id.as_str());
            }
            out
        }
        ServerCall::Reshard(call) => reshard(out.word("_reshard"), call),
        ServerCall::ClusterNode { node, call } => {
            cluster_node(out.word("_node").name(node.as_str()), call)
        }
        ServerCall::Utils(files) => out.word("_utils").texts(files),
    }
}

/// A path without names in it is its own template.
fn fixed<'a>(out: &'a mut Path, path: &str) -> &'a mut Path {
    out.0.push_str(path);
    out
}

fn reshard<'a>(out: &'a mut Path, call: &ReshardCall) -> &'a mut Path {
    match call {
        ReshardCall::Summary => out,
        ReshardCall::State => out.word("state"),
        ReshardCall::Jobs => out.word("jobs"),
        ReshardCall::Job(id) => out.word("jobs").name(id.as_str()),
        ReshardCall::JobState(id) => out.word("jobs").name(id.as_str()).word("state"),
    }
}

fn cluster_node<'a>(out: &'a mut Path, call: &ClusterNodeCall) -> &'a mut Path {
    match call {
        ClusterNodeCall::Name => out,
        ClusterNodeCall::Stats(path) => out.word("_stats").texts(path),
        ClusterNodeCall::Prometheus => out.word("_prometheus"),
        ClusterNodeCall::System => out.word("_system"),
        ClusterNodeCall::Restart => out.word("_restart"),
        ClusterNodeCall::Versions => out.word("_versions"),
        ClusterNodeCall::SmooshStatus => out.word("_smoosh").word("status"),
        ClusterNodeCall::Config(section, key) => {
            out.word("_config");
            if let Some(section) = section {
                out.name(section.as_str());
            }
            if let (Some(_), Some(key)) = (section, key) {
                out.name(key.as_str());
            }
            out
        }
        ClusterNodeCall::ConfigReload => out.word("_config").word("_reload"),
        ClusterNodeCall::Registry { of, call } => {
            out.word(match of {
                Registry::Dbs => "_dbs",
                Registry::Nodes => "_nodes",
            });
            match call {
                RegistryCall::Info => out,
                RegistryCall::AllDocs => out.word("_all_docs"),
                RegistryCall::Entry(id) => out.name(id.as_str()),
            }
        }
    }
}

fn warden<'a>(out: &'a mut Path, call: &WardenCall) -> &'a mut Path {
    match call {
        WardenCall::Provisioning => out.word("_warden").word("provisioning"),
        WardenCall::ProvisioningEvents => out.word("_warden").word("provisioning").word("events"),
        WardenCall::Voicemail(db) => out.word("_warden").word("voicemail").name(db.as_str()),
    }
}

fn database<'a>(out: &'a mut Path, call: &DatabaseCall) -> &'a mut Path {
    match call {
        DatabaseCall::Itself => out,
        DatabaseCall::List(_)
        | DatabaseCall::ListQueries(_)
        | DatabaseCall::BulkDocs
        | DatabaseCall::BulkGet
        | DatabaseCall::Changes
        | DatabaseCall::Find
        | DatabaseCall::Explain
        | DatabaseCall::Index
        | DatabaseCall::IndexBulkDelete
        | DatabaseCall::RevsDiff
        | DatabaseCall::MissingRevs
        | DatabaseCall::EnsureFullCommit
        | DatabaseCall::Security
        | DatabaseCall::TempView => below_database(out, call.kind()),
        DatabaseCall::IndexNamed { ddoc, kind, name } => out.index(ddoc, [kind, name]),
        DatabaseCall::Maintain(call) => maintain(out, call),
        DatabaseCall::PartitionInfo(partition) => out.partition(partition),
        DatabaseCall::PartitionAllDocs(partition) => out.partition(partition).word("_all_docs"),
        DatabaseCall::PartitionFind(partition) => out.partition(partition).word("_find"),
        DatabaseCall::PartitionExplain(partition) => out.partition(partition).word("_explain"),
        DatabaseCall::PartitionView {
            partition,
            ddoc,
            view,
        } => out
            .partition(partition)
            .design(ddoc)
            .word("_view")
            .name(view.as_str()),
        DatabaseCall::PartitionSearch {
            partition,
            ddoc,
            index,
        } => out
            .partition(partition)
            .design(ddoc)
            .word("_search")
            .name(index.as_str()),
        DatabaseCall::PartitionNouveau {
            partition,
            ddoc,
            index,
        } => out
            .partition(partition)
            .design(ddoc)
            .word("_nouveau")
            .name(index.as_str()),
        DatabaseCall::Document(id) | DatabaseCall::CopyDocument { from: id, .. } => {
            out.document(id)
        }
        DatabaseCall::Attachment { doc, name } => out.document(doc).attachment(name),
        DatabaseCall::Local(id) | DatabaseCall::CopyLocal { from: id, .. } => {
            out.word("_local").name(id.as_str())
        }
        DatabaseCall::Design { ddoc, call } => design(out.design(ddoc), call),
    }
}

impl Path {
    fn partition(&mut self, partition: &Text) -> &mut Self {
        self.word("_partition").name(partition.as_str())
    }
}

fn maintain<'a>(out: &'a mut Path, call: &Maintenance) -> &'a mut Path {
    match call {
        Maintenance::CompactViews(ddoc) => out.word("_compact").name(ddoc.as_str()),
        // One segment, also for a design document.
        Maintenance::ShardOf(id) => out.word("_shards").name(id.as_str()),
        Maintenance::Compact
        | Maintenance::ViewCleanup
        | Maintenance::SearchCleanup
        | Maintenance::NouveauCleanup
        | Maintenance::Purge
        | Maintenance::PurgedInfos
        | Maintenance::PurgedInfosLimit
        | Maintenance::RevsLimit
        | Maintenance::Shards
        | Maintenance::SyncShards
        | Maintenance::AutoPurge
        | Maintenance::TimeSeq => below_database(out, call.kind()),
    }
}

/// The same behind the name of a database.
fn below_database<'a>(out: &'a mut Path, template: &str) -> &'a mut Path {
    fixed(out, template.strip_prefix("/{db}").unwrap_or(template))
}

fn design<'a>(out: &'a mut Path, call: &DesignCall) -> &'a mut Path {
    match call {
        DesignCall::Info => out.word("_info"),
        DesignCall::View(view) => out.word("_view").name(view.as_str()),
        DesignCall::ViewQueries(view) => out.word("_view").name(view.as_str()).word("queries"),
        DesignCall::Search(index) => out.word("_search").name(index.as_str()),
        DesignCall::SearchInfo(index) => out.word("_search_info").name(index.as_str()),
        DesignCall::SearchDiskSize(index) => out.word("_search_disk_size").name(index.as_str()),
        DesignCall::Nouveau(index) => out.word("_nouveau").name(index.as_str()),
        DesignCall::NouveauInfo(index) => out.word("_nouveau_info").name(index.as_str()),
        DesignCall::Show(name, doc) => {
            function(out.word("_show").name(name.as_str()), doc.as_ref())
        }
        DesignCall::Update(name, doc) => {
            function(out.word("_update").name(name.as_str()), doc.as_ref())
        }
        DesignCall::List { list, other, view } => {
            out.word("_list").name(list.as_str());
            if let Some(other) = other {
                out.name(other.as_str());
            }
            out.name(view.as_str())
        }
        DesignCall::Rewrite(path) => out.word("_rewrite").texts(path),
    }
}

fn function<'a>(out: &'a mut Path, doc: Option<&DocId>) -> &'a mut Path {
    match doc {
        Some(id) => out.document(id),
        None => out,
    }
}
