//! How many reads of a warm node per second, beside CouchDB's own `GET` of one document, in one run.
//!
//! The node has five generations of ancestors; the document is that node as it is stored. Both are asked over
//! plain HTTP on loopback, by the same client in this process, with the same request and without a login, over as
//! many connections; rounds alternate, so that a busy machine hits both alike.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench says what went wrong by failing"
)]

#[path = "../backend/mod.rs"]
#[expect(dead_code, reason = "a bench needs less of it than the tests do")]
mod backend;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use couchwarden::config::Config;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use backend::Backend;

const DB: &str = "couchwarden_bench_nodes";
const DEPTH: usize = 5;
const CONNECTIONS: usize = 8;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let backend = Backend::start().unwrap();
    let _ = backend.ask("DELETE", &format!("/{DB}"), None);
    assert_eq!(
        backend
            .ask("PUT", &format!("/{DB}?q=1"), None)
            .unwrap()
            .status,
        201
    );
    let docs: Vec<Value> = (0..=DEPTH).map(node).collect();
    let open =
        json!({ "members": { "roles": [backend.role(DB)] }, "admins": { "roles": ["_admin"] } });
    let opened = backend.ask("PUT", &format!("/{DB}/_security"), Some(&open));
    assert_eq!(opened.unwrap().status, 200);
    let stored = backend.ask(
        "POST",
        &format!("/{DB}/_bulk_docs"),
        Some(&json!({ "docs": docs })),
    );
    assert_eq!(stored.unwrap().status, 201);
    let ours = serve(&backend).await;
    let couchdb: SocketAddr = backend.authority.parse().unwrap();
    let (mut direct, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.push(rate(couchdb, format!("/{DB}/n{DEPTH}")).await);
        warm.push(rate(ours, format!("/node/n{DEPTH}")).await);
    }
    let (direct, warm) = (median(&mut direct), median(&mut warm));
    let server = match backend.is_couchdb() {
        true => "CouchDB",
        false => "the embedded server",
    };
    println!("before {server}, {CONNECTIONS} connections");
    println!("its GET of one document: {direct:.0}/s");
    println!(
        "a warm node, depth {DEPTH}:         {warm:.0}/s, {:.1} times as many",
        warm / direct
    );
    let _ = backend.ask("DELETE", &format!("/{DB}"), None);
}

fn node(at: usize) -> Value {
    let parents: Vec<String> = at
        .checked_sub(1)
        .map(|parent| format!("n{parent}"))
        .into_iter()
        .collect();
    let own: Vec<String> = (0..10)
        .map(|number| format!("value {number} of {at}"))
        .collect();
    json!({
        "_id": format!("n{at}"),
        "metadata": { "nodeId": format!("n{at}"), "parents": parents },
        format!("own{at}"): own,
        "shared": { "level": at, format!("of{at}"): true },
    })
}

/// A couchwarden of its own, over plain HTTP.
async fn serve(backend: &Backend) -> SocketAddr {
    let folder = std::env::temp_dir();
    let policies = folder.join("couchwarden-bench-policies");
    std::fs::create_dir_all(&policies).unwrap();
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\ninsecure = true\n{}\n[identity]\n\
         session = {{ secret = \"0123456789abcdef0123456789abcdef\" }}\n\
         [policies]\ndirectory = {:?}\n[nodes]\ndatabase = \"{DB}\"\n",
        backend.section(),
        policies
    );
    let config = Config::parse(&text, Path::new("bench.toml"));
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let listener = TcpListener::bind(config.listen.address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(couchwarden::serve(config, listener, std::future::pending()));
    address
}

/// Requests per second over all connections.
async fn rate(address: SocketAddr, path: String) -> f64 {
    let begun = Instant::now();
    let readers: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(read(address, path.clone(), begun)))
        .collect();
    let mut count = 0_u32;
    for reader in readers {
        count += reader.await.unwrap();
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// One connection, one request after another.
async fn read(address: SocketAddr, path: String, begun: Instant) -> u32 {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut count = 0;
    while begun.elapsed() < ROUND {
        let request = Request::get(&path).header("host", address.to_string());
        sender.ready().await.unwrap();
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        count += 1;
    }
    count
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
