//! From the grammar's own list of endpoints to requests: each endpoint with everything that it can name, every
//! parameter that matters, every body.
//!
//! Invariant: what a call is asked with is decided by a match without a wildcard, so a new call does not compile
//! before it has its cases; `every_kind_of_route_is_asked` holds that each of them is sent.

use couchwarden::route::{
    Call, ClusterNodeCall, DatabaseCall, DesignCall, List, Method, NodeCall, Route, ServerCall,
    WardenCall,
};

use super::ground::Names;
use super::words::{self, Words};
use crate::support::Ask;

/// One request, and the endpoint that it is a case of.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) kind: &'static str,
    pub(crate) ask: Ask,
    pub(crate) writes: bool,
    /// It may stay open for ever.
    pub(crate) feed: bool,
}

/// The lines of the corpus; `ANY` stands for each method.
pub(crate) fn endpoints() -> Vec<(&'static str, &'static str)> {
    let corpus = include_str!("../../corpus/endpoints.txt");
    let lines = corpus
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(' ').unwrap());
    pairs
        .flat_map(|(method, path)| match method {
            "ANY" => ["GET", "HEAD", "POST", "PUT", "DELETE"]
                .map(|method| (method, path))
                .to_vec(),
            _ => vec![(method, path)],
        })
        .collect()
}

/// All requests of the sweep.
pub(crate) fn probes(names: &Names) -> Vec<Probe> {
    endpoints()
        .into_iter()
        .flat_map(|(method, template)| {
            let places = places(names, template);
            assert!(!places.is_empty(), "no sample for {method} {template}");
            places
                .into_iter()
                .flat_map(move |path| of_place(names, method, &path))
        })
        .collect()
}

/// Every path that a template stands for here.
fn places(names: &Names, template: &str) -> Vec<String> {
    let mut paths = vec![template.replace("_design/{design_doc}", "_design/{ddoc}")];
    while paths.iter().any(|path| path.contains('{')) {
        paths = paths
            .iter()
            .flat_map(|path| {
                let (before, rest) = path.split_once('{').unwrap();
                let (name, after) = rest.split_once('}').unwrap();
                samples(names, before, name)
                    .into_iter()
                    .map(move |value| format!("{before}{value}{after}"))
            })
            .collect();
    }
    paths
}

fn samples(names: &Names, before: &str, name: &str) -> Vec<String> {
    let db = names.db.clone();
    let one = |text: &str| vec![text.to_owned()];
    // Other databases, and what nobody of the cast may call, are asked for one thing of each kind.
    let main = before.starts_with(&format!("/{db}/"));
    let closed = ["_list/", "_show/", "_update/", "_shards/", "_partition/"]
        .iter()
        .any(|word| before.contains(word));
    match name {
        "db" => vec![db, names.hidden_db.clone(), "_users".into()],
        "docid" if before.ends_with("/_local/") => names.locals.clone(),
        "docid" if before.starts_with("/_users/") => {
            vec![format!("org.couchdb.user:{}", names.hidden_user)]
        }
        "docid" if closed || !main => one("red-1"),
        "docid" => names
            .documents
            .keys()
            .cloned()
            .chain(one("absent"))
            .collect(),
        "attname" => names.files.clone(),
        "other-ddoc" => one("app"),
        "ddoc" if closed || !main => one("app"),
        "ddoc" => vec!["app".into(), names.hidden_ddoc.clone()],
        "design_doc" => one(&names.index),
        "view" if closed || !main => one("by_number"),
        "view" => ["by_number", "by_team", "seconds", "words", "linked"]
            .map(str::to_owned)
            .to_vec(),
        "name" => one(&names.index),
        "id" => vec!["phone".into(), "branch".into()],
        "replicator_db" => one("_replicator"),
        "partition_id" => one("red"),
        "node-name" => one("_local"),
        "section" => one("chttpd_auth"),
        "key" => one("secret"),
        "entry" => one(&db),
        "index" | "func" | "path" | "jobid" | "file" => one("any"),
        other => panic!("no sample for {{{other}}}"),
    }
}

/// Every request with this method and path.
fn of_place(names: &Names, method: &'static str, path: &str) -> Vec<Probe> {
    let destinations: &[Option<&str>] = match (method, path.contains("/_local/")) {
        ("COPY", true) => &[Some("_local/copied")],
        ("COPY", false) => &[
            Some("copied"),
            Some("red-1"),
            Some("linked?rev=1-0000000000000000000000000000000e"),
        ],
        _ => &[None],
    };
    let mut probes = Vec::new();
    for destination in destinations {
        let route = Route::parse(method, path, *destination)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let words = words(names, &route);
        let main = path.starts_with(&format!("/{}/", names.db.clone()))
            && !path.contains(&names.hidden_ddoc);
        let enough = match route.db() {
            // Of other databases and of what is not there a taste is enough; a HEAD is a GET without its body.
            Some(_) if !main || method == "HEAD" => 2,
            Some(_) if method == "POST" => 4,
            Some(_) | None => usize::MAX,
        };
        for query in words.queries.iter().take(enough) {
            for body in words.bodies.iter().take(if main { usize::MAX } else { 2 }) {
                // Revisions and attachments come in other forms where they are asked for.
                let formed = query.contains("open_revs") || query.contains("attachments");
                let forms = if formed { words.headers.len() } else { 1 };
                for headers in words.headers.iter().take(forms) {
                    let mut headers = headers.clone();
                    headers.extend(destination.map(|to| ("destination", to.to_owned())));
                    if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type")
                    {
                        headers.push(("content-type", "application/json".to_owned()));
                    }
                    let mark = if query.is_empty() { "" } else { "?" };
                    probes.push(Probe {
                        kind: route.kind(),
                        ask: Ask {
                            method,
                            path: format!("{path}{mark}{query}"),
                            headers,
                            body: body.clone(),
                        },
                        writes: words.writes,
                        feed: words.feed || query.contains("heartbeat="),
                    });
                }
            }
        }
    }
    probes
}

/// With what a route is asked.
fn words(names: &Names, route: &Route) -> Words {
    let reads = matches!(route.method, Method::Get | Method::Head);
    let words = match &route.call {
        Call::Server(call) => server(names, call),
        Call::Database { call, .. } => database(names, route, call),
        Call::Node(NodeCall::List) => Words::queries(&["", "domains", "users", "in-domain=branch"]),
        Call::Node(NodeCall::One(_)) if reads => Words::queries(&["", "single-level", "raw"]),
        Call::Node(NodeCall::One(id)) => words::node(id.as_str()).writing(),
        Call::NodeSession => Words::queries(&[""]),
        Call::Warden(WardenCall::Provisioning) => Words::queries(&[""]).writing(),
        Call::Warden(WardenCall::ProvisioningEvents) => Words::queries(&[""]).staying(),
        Call::Warden(WardenCall::Voicemail(_)) => Words::queries(&[""]).writing(),
    };
    if reads { words.bodyless() } else { words }
}

fn server(names: &Names, call: &ServerCall) -> Words {
    match call {
        ServerCall::Welcome
        | ServerCall::Favicon
        | ServerCall::Up
        | ServerCall::Uuids
        | ServerCall::ActiveTasks
        | ServerCall::Membership
        | ServerCall::SchedulerJobs(_)
        | ServerCall::SchedulerDocs(..)
        | ServerCall::Utils(_) => Words::queries(&[""]),
        ServerCall::Session => Words::queries(&["", "basic=true"]),
        ServerCall::AllDbs => Words::queries(words::NAMES),
        ServerCall::DbsInfo => words::databases_info(names),
        ServerCall::DbUpdates => {
            Words::queries(&["timeout=50", "since=0&feed=continuous&timeout=50"])
        }
        ServerCall::Replicate => words::replicate(names).writing(),
        ServerCall::ClusterSetup | ServerCall::ReloadQueryServers => {
            Words::queries(&[""]).bodies(&["{}"]).writing()
        }
        ServerCall::SearchAnalyze | ServerCall::NouveauAnalyze => {
            Words::queries(&[""]).bodies(&[r#"{"analyzer":"keyword","text":"any"}"#])
        }
        ServerCall::Reshard(_) => Words::queries(&[""])
            .bodies(&[r#"{"state":"stopped"}"#])
            .writing(),
        ServerCall::ClusterNode { call, .. } => match call {
            ClusterNodeCall::Name
            | ClusterNodeCall::Stats(_)
            | ClusterNodeCall::Prometheus
            | ClusterNodeCall::System
            | ClusterNodeCall::Versions
            | ClusterNodeCall::SmooshStatus => Words::queries(&[""]),
            ClusterNodeCall::Restart
            | ClusterNodeCall::Config(..)
            | ClusterNodeCall::ConfigReload
            | ClusterNodeCall::Registry { .. } => {
                Words::queries(&[""]).bodies(&["\"any\""]).writing()
            }
        },
    }
}

fn database(names: &Names, route: &Route, call: &DatabaseCall) -> Words {
    let reads = matches!(route.method, Method::Get | Method::Head);
    match call {
        DatabaseCall::Itself if reads => Words::queries(&[""]),
        DatabaseCall::Itself => words::created(names).writing(),
        DatabaseCall::List(List::All | List::Design | List::Local) => words::documents(names),
        DatabaseCall::ListQueries(List::All | List::Design | List::Local) => words::batches(names),
        DatabaseCall::BulkDocs => words::bulk_docs(names).writing(),
        DatabaseCall::BulkGet => words::bulk_get(names),
        DatabaseCall::Changes => words::changes(names),
        DatabaseCall::Find
        | DatabaseCall::Explain
        | DatabaseCall::PartitionFind(_)
        | DatabaseCall::PartitionExplain(_) => words::find(names),
        DatabaseCall::Index if reads => Words::queries(&["", "limit=1", "skip=1"]),
        DatabaseCall::Index => words::index().writing(),
        DatabaseCall::IndexNamed { .. } | DatabaseCall::IndexBulkDelete => Words::queries(&[""])
            .bodies(&[r#"{"docids":["_design/app"]}"#])
            .writing(),
        DatabaseCall::RevsDiff | DatabaseCall::MissingRevs => words::revs_diff(names),
        DatabaseCall::EnsureFullCommit => Words::queries(&["", "seq=0"]).bodies(&["{}"]),
        DatabaseCall::Security if reads => Words::queries(&[""]),
        DatabaseCall::Security => Words::queries(&[""])
            .bodies(&[r#"{"members":{"roles":[]}}"#])
            .writing(),
        DatabaseCall::Maintain(_) if reads => Words::queries(&[""]),
        DatabaseCall::Maintain(_) => words::maintain(names).writing(),
        DatabaseCall::PartitionInfo(_) => Words::queries(&[""]),
        DatabaseCall::PartitionAllDocs(_) => Words::queries(&["", "include_docs=true"]),
        DatabaseCall::PartitionView { .. } => Words::queries(&["", "include_docs=true"]),
        DatabaseCall::PartitionSearch { .. } | DatabaseCall::PartitionNouveau { .. } => {
            Words::queries(&["q=*:*"]).bodies(&[r#"{"q":"*:*"}"#])
        }
        DatabaseCall::Document(id) if reads => words::read(names, id.as_str()),
        DatabaseCall::Document(id) => words::write(names, route.method, id.as_str()).writing(),
        DatabaseCall::CopyDocument { from, .. } => words::copy(names, from.as_str()).writing(),
        DatabaseCall::Attachment { doc, .. } if reads => words::attachment(names, doc.as_str()),
        DatabaseCall::Attachment { doc, .. } => {
            words::attach(names, route.method, doc.as_str()).writing()
        }
        DatabaseCall::Local(_) if reads => Words::queries(&["", "revs=true", "rev=0-1"]),
        DatabaseCall::Local(_) => Words::queries(&["", "rev=0-1"]).bodies(&["{}"]).writing(),
        DatabaseCall::CopyLocal { .. } => Words::queries(&[""]).writing(),
        DatabaseCall::Design { call, .. } => design(names, call),
        DatabaseCall::TempView => Words::queries(&["", "include_docs=true"])
            .bodies(&[r#"{"map":"function (doc) { emit(doc.title, doc); }"}"#]),
    }
}

fn design(names: &Names, call: &DesignCall) -> Words {
    match call {
        DesignCall::Info | DesignCall::SearchInfo(_) | DesignCall::SearchDiskSize(_) => {
            Words::queries(&[""])
        }
        DesignCall::View(_) => words::view(names),
        DesignCall::ViewQueries(_) => words::view_batches(names),
        DesignCall::Search(_) | DesignCall::Nouveau(_) => {
            Words::queries(&["q=*:*", "q=*:*&include_docs=true"]).bodies(&[r#"{"q":"*:*"}"#])
        }
        DesignCall::NouveauInfo(_) => Words::queries(&[""]),
        DesignCall::Show(..) | DesignCall::List { .. } => {
            Words::queries(&["", "include_docs=true"]).bodies(&["{}"])
        }
        DesignCall::Update(..) | DesignCall::Rewrite(_) => {
            Words::queries(&[""]).bodies(&["{}"]).writing()
        }
    }
}
