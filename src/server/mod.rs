//! The frame: accept, cap, one task for each connection, drain.
//!
//! What becomes of a request is the handler's business; this module brings it the request and carries its
//! answer away. The listener and the stop signal come from outside, so that tests own both.
//!
//! Invariant: tasks are started here only; each ends within its deadlines or is aborted when the grace is
//! over. A task that panics takes its own connection with it and nothing else.

pub mod cert;
mod connection;
mod descriptors;
mod foreign;
mod frames;
mod hpack;
mod socket;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod tls;

pub use descriptors::fit_descriptors;

use crate::body::{Arriving, Body};
use crate::config::{Limits, Listen, Network};
use crate::intake::{Peer, holder};
use crate::shares::{Capacity, ConnectionPlace, Holder};
use connection::Settings;
use http::{Request, Response};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How long accepting rests when the system has no descriptors left. Long enough for some to come back.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The log tells at most so often that an address was refused.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// A server that is ready to run.
#[derive(Clone)]
pub struct Server {
    acceptor: Option<TlsAcceptor>,
    limits: Limits,
    trusted: Vec<Network>,
    shared: Vec<Network>,
}

/// Why a server can't run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The certificates can't be used.
    #[error(transparent)]
    Certificates(#[from] tls::TlsError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// How a server that was told to stop has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because they were not done when the grace was over.
    pub cut: usize,
}

/// Binds the address, so that its port is known before anything runs.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Ready when the program is told to end, by `SIGTERM` or `SIGINT`.
pub fn told_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
}

impl Server {
    /// Reads the certificates, unless the listener is insecure. Connections from `trusted` proxies bring many callers,
    /// and addresses of `shared` networks have many each.
    pub fn new(
        listen: &Listen,
        limits: &Limits,
        trusted: &[Network],
        shared: &[Network],
    ) -> Result<Self, ServerError> {
        // The first use of the generator takes tens of milliseconds; no client should wait for it.
        aws_lc_rs::rand::fill(&mut [0; 32]).map_err(|_| ServerError::Random)?;
        let acceptor = if listen.insecure {
            None
        } else {
            let config = tls::server_config(listen)?;
            Some(TlsAcceptor::from(Arc::new(config)))
        };
        Ok(Self {
            acceptor,
            limits: *limits,
            trusted: trusted.to_vec(),
            shared: shared.to_vec(),
        })
    }

    /// Starts a task beside the connections, such as one that follows a database. It ends with the
    /// runtime, or when it is aborted.
    pub fn watch(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        #[expect(clippy::disallowed_methods, reason = "tasks are started here")]
        tokio::spawn(task).abort_handle()
    }

    /// Serves until `stop` is ready, then lets what has begun come to its end.
    pub async fn run<H, F>(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        handle: H,
    ) -> Drained
    where
        H: Fn(Request<Arriving>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, tls = self.acceptor.is_some(), "listening");
        }
        let (stopping, stopped) = watch::channel(false);
        let settings = Arc::new(Settings::new(&self.limits));
        let mut places = ConnectionPlaces::new(&self);
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let (tcp, address, free) = tokio::select! {
                () = &mut stop => break,
                Some(ended) = tasks.join_next() => {
                    note(&ended);
                    continue;
                }
                accepted = accept(&listener, &places.free) => accepted,
            };
            // Security: before the handshake, which costs more than all before it
            // (`connections_of_one_address_keep_nobody_else_out`).
            let place = free.and_then(|free| places.take(address.ip(), free));
            let Some(place) = place else {
                continue;
            };
            let acceptor = self.acceptor.clone();
            let (settings, stopped, handle) =
                (Arc::clone(&settings), stopped.clone(), handle.clone());
            // Boxed, so that an idle connection costs what it needs and not what a handshake needs.
            tasks.spawn(Box::pin(async move {
                let arrival = (address, Some(place));
                connection::serve(tcp, arrival, acceptor, settings, stopped, handle).await;
            }));
        }
        drop(listener);
        // Nobody listens if there are no connections.
        let _ = stopping.send(true);
        drain(tasks, self.limits.grace).await
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("tls", &self.acceptor.is_some())
            .field("limits", &self.limits)
            .finish()
    }
}

/// The places of connections.
struct ConnectionPlaces {
    /// As many permits as there are places: without one, nobody is accepted.
    free: Arc<Semaphore>,
    taken: Arc<Capacity>,
    trusted: Vec<Network>,
    shared: Vec<Network>,
    /// When the log has told last that there was none.
    told: Option<Instant>,
}

impl ConnectionPlaces {
    fn new(server: &Server) -> Self {
        let Limits {
            connections,
            shares,
            ..
        } = server.limits;
        Self {
            free: Arc::new(Semaphore::new(connections)),
            taken: Capacity::new(connections, shares.connections),
            trusted: server.trusted.clone(),
            shared: server.shared.clone(),
            told: None,
        }
    }

    /// A place for a connection from this address, unless that has its share already.
    fn take(
        &mut self,
        address: IpAddr,
        free: OwnedSemaphorePermit,
    ) -> Option<Arc<ConnectionPlace>> {
        let taken = match holder(address, &self.trusted) {
            Holder::Many => self
                .taken
                .take(Holder::Many, 1)
                .map(ConnectionPlace::of_proxy),
            Holder::Name(_) | Holder::Address(_) => {
                let holder = holder(address, &self.shared);
                self.taken.take(holder, 1).map(ConnectionPlace::of_client)
            }
        };
        if let Ok(place) = taken {
            return Some(Arc::new(place.with(free)));
        }
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told >= TELL_AGAIN) {
            self.told = Some(now);
            tracing::warn!(%address, "refused: this address has its share of the connections");
        }
        None
    }
}

/// The next connection, once there is a place for it. Clients beyond the cap wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is always a permit.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => return (tcp, address, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "can't accept connections for now");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Errors that only the connection at the head of the queue has; all others are ours, such as `EMFILE`.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn drain(mut tasks: JoinSet<()>, grace: Duration) -> Drained {
    let all_done = async {
        while let Some(ended) = tasks.join_next().await {
            note(&ended);
        }
    };
    if tokio::time::timeout(grace, all_done).await.is_ok() {
        return Drained { cut: 0 };
    }
    let cut = tasks.len();
    tracing::warn!(connections = cut, "cut when the grace was over");
    tasks.shutdown().await;
    Drained { cut }
}

fn note(ended: &Result<(), tokio::task::JoinError>) {
    if ended.as_ref().is_err_and(tokio::task::JoinError::is_panic) {
        tracing::error!("a connection was lost to a fault of ours");
    }
}
