//! From a configuration to a running couchwarden: every part is put together here; `warnings` says what is wrong with the
//! CouchDB behind it.

mod warnings;

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;

use crate::client::{Client, ClientError};
use crate::config::{Config, SentRoles};
use crate::cors::Cors;
use crate::couch::{Couch, CouchError, ServiceAccount};
use crate::exchange::Exchange;
use crate::exchange::doc_locks::DocLocks;
use crate::exchange::gaps::Gaps;
use crate::exchange::local_names::Locals;
use crate::exchange::read::design::Designs;
use crate::exchange::rewrite::Rewrite;
use crate::exchange::upstream::Upstream;
use crate::identity::present::Presenter;
use crate::identity::{AskedRoles, Identity, IdentityError, Jar, SameSite};
use crate::intake::Door;
use crate::mistake::Mistake;
use crate::own::{Own, uuid};
use crate::pipeline::Pipeline;
use crate::policy::{Policy, PolicySettings};
use crate::route::DbName;
use crate::secret::Seal;
use crate::server::{Server, ServerError, fit_descriptors};
use crate::services::ddocs::{Target, read};
use crate::services::node::{Nodes, Settings};
use crate::services::provision::Provisioning;
use crate::services::session::Session;

/// How long `check` waits for CouchDB.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why couchwarden does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Configuration or policies have mistakes; all of them.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Mistake>),
    /// The design documents of user databases have mistakes.
    #[error("{}", .0.join("\n"))]
    Designs(Vec<String>),
    /// The client for CouchDB can't be made.
    #[error("the way to CouchDB can't be prepared: {0}")]
    Client(#[from] ClientError),
    /// The service account can't be told to CouchDB.
    #[error("the service account can't be used: {0}")]
    Couch(#[from] CouchError),
    /// Identities can't be established.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// Certificates can't be used.
    #[error("{0}")]
    Server(#[from] ServerError),
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Reads the policies of a configuration.
///
/// # Errors
///
/// All mistakes of all files.
pub fn check(config: &Config) -> Result<Policy, Vec<Mistake>> {
    let files = policy_files(&config.policies)?;
    let settings = PolicySettings {
        attributes: config.nodes.attributes.clone(),
    };
    Policy::load(&files, &settings)
}

/// Whether the ends of sessions can be kept, so that a logout holds on every couchwarden: what keeps CouchDB from it,
/// if it says so within a few seconds.
pub async fn check_ends(config: &Config) -> Option<String> {
    let couchdb = &config.couchdb;
    let own = DbName::own();
    let ask = async {
        let client = Client::new(couchdb, &config.limits)?;
        let couch = Couch::new(client, ServiceAccount::new(couchdb)?, config.limits.body);
        couch.info(&own).await
    };
    let why = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(Some(_))) => return None,
        Ok(Ok(None)) => "it is made when couchwarden starts".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "CouchDB does not answer".to_owned(),
    };
    Some(format!(
        "CouchDB has not shown the database `{own}`, in which ends of sessions are kept ({why}). Without it a logout \
         holds on the couchwarden that it was sent to, and on no other."
    ))
}

fn policy_files(directory: &Path) -> Result<Vec<(String, String)>, Vec<Mistake>> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        let message = format!("can't be read: {error}");
        vec![Mistake {
            file: path.display().to_string(),
            line: 0,
            message,
        }]
    };
    let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(directory, &error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(files)
}

/// Serves until `stop` resolves, then drains.
///
/// # Errors
///
/// Whatever keeps it from starting; once it runs, requests fail one by one.
pub async fn serve(
    mut config: Config,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    config.limits = fit_descriptors(config.limits);
    let server = Server::new(
        &config.listen,
        &config.limits,
        &config.trusted,
        &config.shared_networks,
    )?;
    let pipeline = Arc::new(assemble(&config)?);
    let identity = Arc::clone(&pipeline.identity);
    let (watched, provisioning) = (Arc::clone(&pipeline), pipeline.provisioning.clone());
    let nodes = async move {
        match &watched.nodes {
            Some(nodes) => nodes.watch().await,
            None => std::future::pending().await,
        }
    };
    let looking_after = async {
        match provisioning {
            Some(provisioning) => {
                tokio::join!(provisioning.watch(), provisioning.wake());
            }
            None => std::future::pending().await,
        }
    };
    let (couch, couchdb) = (pipeline.exchange.couch.clone(), config.couchdb.clone());
    let policy = pipeline.policy.load_full();
    let reloading = reload(Arc::clone(&pipeline), config);
    let handle = move |request, peer| {
        let pipeline = Arc::clone(&pipeline);
        // Boxed, because hyper keeps as much room for it as long as a connection lives, idle or not.
        Box::pin(async move { pipeline.handle(request, peer).await })
    };
    // The watchers never return; they end with the server.
    tokio::select! {
        _ = server.run(listener, stop, handle) => {}
        () = identity.watch() => {}
        () = looking_after => {}
        () = Box::pin(warnings::tell(&couch, &couchdb, &policy)) => {}
        () = reloading => {}
        () = nodes => {}
    }
    Ok(())
}

/// On `SIGHUP` the policies are read again; with mistakes the rules in force stay.
async fn reload(pipeline: Arc<Pipeline>, config: Config) {
    let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
    let Ok(mut hangup) = hangup else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        match check(&config) {
            Ok(policy) => {
                tracing::info!(rules = policy.len(), "policies reloaded");
                pipeline.adopt(policy);
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!(%mistake, "the policies stay as they were");
                }
            }
        }
    }
}

fn node_service(
    config: &Config,
    database: DbName,
    couch: &Couch,
    identity: &Arc<Identity>,
) -> Result<Nodes, CouchError> {
    let nodes = &config.nodes;
    let settings = Settings {
        database,
        listing: nodes.listing,
        creation: nodes.creation,
        creations: nodes.creations,
        self_service: nodes.self_service,
        attributes: nodes.attributes.clone(),
    };
    let tags = config.identity.session.secret.derive("node etag");
    Nodes::new(couch.clone(), Arc::clone(identity), settings, tags)
}

fn provisioning(
    config: &Config,
    couch: &Couch,
    identity: &Arc<Identity>,
    policy: &Arc<ArcSwap<Policy>>,
    nodes: Option<Arc<Nodes>>,
) -> Result<Option<Arc<Provisioning>>, StartError> {
    let Some(settings) = &config.provisioning else {
        return Ok(None);
    };
    let folders = read(&config.ddocs).map_err(StartError::Designs)?;
    let ours = folders.into_iter();
    let ours = ours.filter(|folder| folder.target == Target::UserDatabases);
    let designs = ours.flat_map(|folder| folder.designs).collect();
    let (identity, policy) = (Arc::clone(identity), Arc::clone(policy));
    let couch = couch.clone();
    let made = Provisioning::new(settings, config, couch, identity, policy, nodes, designs)?;
    Ok(Some(Arc::new(made)))
}

/// What everything else stands on.
struct Ground {
    client: Client,
    couch: Couch,
    presenter: Presenter,
    identity: Arc<Identity>,
    nodes: Option<Nodes>,
}

fn ground(config: &Config) -> Result<Ground, StartError> {
    let client = Client::new(&config.couchdb, &config.limits)?;
    let couchdb = &config.couchdb;
    let account = ServiceAccount::new(couchdb)?;
    let couch = Couch::new(client.clone(), account.clone(), config.limits.body);
    let presenter = Presenter::new(couchdb, account);
    let database = config
        .nodes
        .database
        .as_deref()
        .and_then(|name| DbName::parse(name).ok());
    let same_site = if config.cors.is_empty() {
        SameSite::Lax
    } else {
        SameSite::None
    };
    let jar = Jar {
        secure: !config.listen.insecure,
        same_site,
    };
    let identity = Arc::new(Identity::new(
        &config.identity,
        database.clone(),
        couch.clone(),
        (couchdb.roles == SentRoles::All).then(|| presenter.clone()),
        jar,
        config.limits.feed_lease / 2,
    )?);
    let nodes = database.map(|database| node_service(config, database, &couch, &identity));
    Ok(Ground {
        client,
        couch,
        presenter,
        identity,
        nodes: nodes.transpose()?,
    })
}

/// The node service by itself, if one is configured.
pub(crate) fn nodes(config: &Config) -> Result<Option<Nodes>, StartError> {
    Ok(ground(config)?.nodes)
}

fn assemble(config: &Config) -> Result<Pipeline, StartError> {
    let policy = check(config).map_err(StartError::Mistakes)?;
    let Ground {
        client,
        couch,
        presenter,
        identity,
        nodes,
    } = ground(config)?;
    let asked = config.couchdb.roles == SentRoles::Asked;
    let secret = &config.identity.session.secret;
    let policy = Arc::new(ArcSwap::from_pointee(policy));
    let nodes = nodes.map(Arc::new);
    let provisioning = provisioning(config, &couch, &identity, &policy, nodes.clone())?;
    let (locals, turns) = (
        Locals::new(secret.derive("checkpoints")),
        DocLocks::default(),
    );
    Ok(Pipeline {
        door: Door::new(
            &config.limits,
            &config.listen.names,
            &config.trusted,
            &config.shared_networks,
        ),
        listen: config.listen.clone(),
        cors: Cors::new(&config.cors),
        session: Session::new(Arc::clone(&identity)),
        identity,
        policy,
        nodes,
        provisioning,
        own: Own::new(uuid(&secret.derive("uuid").sign(&[]))),
        asked: asked.then(|| AskedRoles::new(couch.clone())),
        exchange: Exchange {
            couch,
            upstream: Upstream::new(client),
            rewrite: Rewrite::new(presenter),
            designs: Designs::new(),
            gaps: Gaps::new(locals.clone(), turns.clone()),
            locals,
            turns,
            seal: Arc::new(Seal::new(secret, "tokens")),
            limits: config.limits,
        },
    })
}
