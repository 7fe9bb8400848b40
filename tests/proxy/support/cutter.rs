//! What goes wrong between couchwarden and CouchDB: a forwarder that drops the connection at the write it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A CouchDB that is gone from some write on.
#[derive(Clone)]
pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    /// How many writes are still let through.
    left: Arc<AtomicI64>,
    /// Whether the first write that is not, is made and its answer lost.
    made: Arc<AtomicBool>,
    /// Told of the first write that is not let through; its sender waits in vain.
    held: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

impl Cutter {
    /// Before the CouchDB at this address; it lets everything through.
    pub(crate) async fn start(backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cutter = Self {
            address: listener.local_addr().unwrap(),
            left: Arc::new(AtomicI64::new(i64::MAX)),
            made: Arc::default(),
            held: Arc::default(),
        };
        let shared = cutter.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let cutter = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| cutter.pass(backend, request));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        cutter
    }

    /// Only so many writes get through from now on; `made`: the next one does as well, but nobody hears of it.
    pub(crate) fn arm(&self, writes: i64, made: bool) {
        self.made.store(made, Ordering::SeqCst);
        self.left.store(writes, Ordering::SeqCst);
    }

    /// The same, but who writes then waits; tells when it has come so far.
    pub(crate) fn hold(&self, writes: i64, made: bool) -> oneshot::Receiver<()> {
        let (held, told) = oneshot::channel();
        *self.held.lock().unwrap() = Some(held);
        self.arm(writes, made);
        told
    }

    /// Everything gets through again.
    pub(crate) fn disarm(&self) {
        self.arm(i64::MAX, false);
    }

    async fn pass(
        &self,
        backend: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let writes = matches!(request.method().as_str(), "PUT" | "DELETE");
        let left = if writes {
            self.left.fetch_sub(1, Ordering::SeqCst)
        } else {
            self.left.load(Ordering::SeqCst).saturating_add(1)
        };
        let lost = left <= 0;
        if lost && !(writes && left == 0 && self.made.load(Ordering::SeqCst)) {
            return Err(self.lose(writes).await);
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| gone())?.to_bytes();
        let stream = TcpStream::connect(backend).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| gone())?;
        tokio::spawn(connection);
        let answer = sender
            .send_request(Request::from_parts(head, Full::new(body)))
            .await;
        let (mut head, body) = answer.map_err(|_| gone())?.into_parts();
        let body = body.collect().await.map_err(|_| gone())?.to_bytes();
        head.headers.remove("transfer-encoding");
        if lost {
            return Err(self.lose(writes).await);
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }

    /// The connection ends; or that of a write is held for ever, where somebody waits for that.
    async fn lose(&self, writes: bool) -> std::io::Error {
        let held = self.held.lock().unwrap().take_if(|_| writes);
        if let Some(held) = held {
            let _ = held.send(());
            std::future::pending::<()>().await;
        }
        gone()
    }
}

fn gone() -> std::io::Error {
    std::io::Error::other("CouchDB is gone")
}
