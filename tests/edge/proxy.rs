//! The real server on a free port, with the shortest handler that can stand between intake and client.
//! `forward` is where the pipeline can be put instead.

use couchwarden::body::{self, Arriving, Body};
use couchwarden::client::{Client, Kind, Reuse};
use couchwarden::config::{Config, Limits};
use couchwarden::intake::{Door, Intake, Peer};
use couchwarden::refusal::Refusal;
use couchwarden::server::{self, Server};
use http::{Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A running server; it stops when this is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<server::Drained>>,
}

/// Short where a case waits for it, and long enough for a busy machine.
pub(crate) fn limits() -> Limits {
    Limits {
        body: 4096,
        body_idle: Duration::from_millis(1500),
        head_time: Duration::from_secs(5),
        idle_time: Duration::from_secs(5),
        grace: Duration::from_secs(2),
        ..Limits::default()
    }
}

impl Proxy {
    /// Forwards whatever intake lets through.
    pub(crate) async fn forwarding(upstream: SocketAddr) -> Self {
        let config = config(upstream);
        let client = Client::new(&config.couchdb, &limits()).unwrap();
        let door = Arc::new(Door::new(&limits(), &config.listen.names, &[], &[]));
        Self::start(limits(), move |request, peer| {
            forward(request, peer, client.clone(), Arc::clone(&door))
        })
        .await
    }

    pub(crate) async fn start<H, F>(limits: Limits, handle: H) -> Self
    where
        H: Fn(Request<Arriving>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::with(limits, "", "", handle).await
    }

    /// The same with more about the listener, and more sections.
    pub(crate) async fn with<H, F>(limits: Limits, listen: &str, more: &str, handle: H) -> Self
    where
        H: Fn(Request<Arriving>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let directory = tempfile::tempdir().unwrap();
        server::cert::make(directory.path(), &["other.example".to_owned()]).unwrap();
        let Config {
            mut listen,
            trusted,
            shared_networks,
            ..
        } = config_with("127.0.0.1:1".parse().unwrap(), listen, more);
        listen.certificates = directory.path().to_owned();
        let server = Server::new(&listen, &limits, &trusted, &shared_networks).unwrap();
        let listener = server::bind(listen.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(server.run(listener, stopped, handle));
        Self {
            address,
            directory,
            stop: Some(stop),
            ended: Some(ended),
        }
    }

    /// A connection with this protocol chosen.
    pub(crate) async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let stream = self.shake(tcp, alpn).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
        stream
    }

    /// TLS over this connection.
    pub(crate) async fn shake(
        &self,
        tcp: TcpStream,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        let authority = self.directory.path().join("ca.crt");
        roots
            .add(CertificateDer::from_pem_file(authority).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, tcp).await
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) -> server::Drained {
        drop(self.stop.take());
        self.ended.take().unwrap().await.unwrap()
    }
}

pub(crate) fn config(upstream: SocketAddr) -> Config {
    config_with(upstream, "", "")
}

fn config_with(upstream: SocketAddr, listen: &str, more: &str) -> Config {
    let text = format!(
        r#"
[listen]
address = "127.0.0.1:0"
{listen}
names = ["localhost", "127.0.0.1"]
[couchdb]
nodes = ["http://{upstream}"]
user = "warden"
password = "errand"
present = "service"
[identity.session]
secret = "0123456789abcdef"
[policies]
directory = "policies"
{more}
"#
    );
    Config::parse(&text, Path::new("couchwarden.toml")).unwrap()
}

async fn forward(
    request: Request<Arriving>,
    peer: Peer,
    client: Client,
    door: Arc<Door>,
) -> Response<Body> {
    match try_forward(request, peer, client, &door).await {
        Ok(response) => response,
        Err(refusal) => Response::builder()
            .status(refusal.status())
            .body(body::full(refusal.reason().to_owned()))
            .unwrap(),
    }
}

async fn try_forward(
    request: Request<Arriving>,
    peer: Peer,
    client: Client,
    door: &Door,
) -> Result<Response<Body>, Refusal> {
    let intake = Intake::accept(request, peer, door)?;
    if intake.target == "*" {
        return Ok(Response::new(body::empty()));
    }
    let reuse = match intake.body.is_empty() {
        true => Reuse::IfWhole,
        false => Reuse::Never,
    };
    let mut outbound = Request::builder()
        .method(intake.method)
        .uri(intake.target)
        .body(intake.body.stream())
        .unwrap();
    *outbound.headers_mut() = intake.headers;
    let answer = client.send(outbound, Kind::Request, reuse).await?;
    Ok(answer.map(body::boxed))
}
