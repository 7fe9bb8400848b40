//! A relay between couchwarden and the backend that writes down what couchwarden asks, and can stop it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const METHODS: [&str; 6] = ["GET /", "HEAD /", "POST /", "PUT /", "DELETE /", "COPY /"];

pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    gate: Arc<Gate>,
}

/// Stops one request on its way.
#[derive(Default)]
struct Gate {
    /// The request that has this in it.
    stops: Mutex<Option<String>>,
    stopped: Notify,
    goes: Notify,
}

impl Tap {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::<Gate>::default();
        let (written, stops) = (Arc::clone(&log), Arc::clone(&gate));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (log, gate) = (Arc::clone(&written), Arc::clone(&stops));
                tokio::spawn(async move {
                    let _ = relay(client, upstream, log, gate).await;
                });
            }
        });
        Self { address, log, gate }
    }

    /// The next request that has this in it does not go on before `release`.
    pub(crate) fn stop(&self, within: &str) {
        *self.gate.stops.lock().unwrap() = Some(within.to_owned());
    }

    /// Waits until that request has come.
    pub(crate) async fn stopped(&self) {
        self.gate.stopped.notified().await;
    }

    pub(crate) fn release(&self) {
        self.gate.goes.notify_one();
    }

    /// Method and target of each request since the last time, errands about users aside.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut log = std::mem::take(&mut *self.log.lock().unwrap());
        log.retain(|line| !line.contains(" /_users"));
        log
    }
}

async fn relay(
    client: TcpStream,
    upstream: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    gate: Arc<Gate>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut line = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from_client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        for byte in &buffer[..read] {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            // A body has no line end of its own, so what stands before a method is the end of one.
            if let Some(asked) = String::from_utf8_lossy(&line).strip_suffix(" HTTP/1.1\r") {
                let begin = METHODS
                    .iter()
                    .filter_map(|method| asked.rfind(method))
                    .max();
                log.lock().unwrap().push(asked[begin.unwrap()..].to_owned());
            }
            line.clear();
        }
        let within =
            |stops: &mut String| String::from_utf8_lossy(&buffer[..read]).contains(stops.as_str());
        let stops = gate.stops.lock().unwrap().take_if(within).is_some();
        if stops {
            gate.stopped.notify_one();
            gate.goes.notified().await;
        }
        to_server.write_all(&buffer[..read]).await?;
    }
}
