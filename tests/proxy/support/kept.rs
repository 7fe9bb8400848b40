//! A connection that is kept for many requests, and a bound for answers that never end.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{Answer, Client};

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// For the head, which a feed too has at once; a busy machine may need a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody's connection to couchwarden, over TLS and HTTP/1.1.
pub(crate) struct Kept {
    client: Client,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Kept {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            sender: None,
        }
    }

    /// The answer, or what has come of its body within `bound`; then it is not whole, and says so.
    pub(crate) async fn ask(&mut self, ask: &Ask, bound: Duration) -> Answer {
        let mut answer = Answer {
            status: 0,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cut: true,
        };
        // A server may close a connection that it kept: then once more, on a new one.
        for _ in 0..2 {
            let mut sender = match self.sender.take() {
                Some(sender) if !sender.is_closed() => sender,
                Some(_) | None => self.connect().await,
            };
            let sent = sender.send_request(self.request(ask));
            let Ok(sent) = timeout(PATIENCE, sent).await else {
                return answer;
            };
            let Ok(response) = sent else {
                continue;
            };
            let (head, mut body) = response.into_parts();
            answer.status = head.status.as_u16();
            answer.headers = head.headers;
            let mut bytes = Vec::new();
            let until = Instant::now() + bound;
            loop {
                match timeout_at(until, body.frame()).await {
                    Ok(Some(Ok(frame))) => {
                        bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                    }
                    Ok(None) => {
                        answer.cut = false;
                        self.sender = Some(sender);
                        break;
                    }
                    Ok(Some(Err(_))) | Err(_) => break,
                }
            }
            answer.body = bytes.into();
            return answer;
        }
        answer
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let tcp = TcpStream::connect(self.client.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = self.client.tls.as_ref().expect("couchwarden speaks TLS");
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tls.connect(name, tcp).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.ready().await.unwrap();
        sender
    }

    fn request(&self, ask: &Ask) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(&ask.path)
            .header("host", format!("localhost:{}", self.client.address.port()));
        for (name, value) in &self.client.headers {
            request = request.header(name, value);
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        request
            .body(Full::new(ask.body.clone().into()))
            .unwrap_or_else(|error| panic!("{ask:?}: {error}"))
    }
}
