//! Connections that nobody has used yet count to their address. Attackers come from 127.0.0.2, which is local too.

use crate::proxy::{Proxy, limits};
use couchwarden::body;
use couchwarden::config::Limits;
use http::Response;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Twenty connections, and half of them for one address.
async fn proxy(more: &str) -> Proxy {
    let limits = Limits {
        connections: 20,
        ..limits()
    };
    Proxy::with(limits, "", more, |_, _| async {
        Response::new(body::full("served"))
    })
    .await
}

async fn connect_from(address: &str, proxy: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let own: SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(own).unwrap();
    socket.connect(proxy).await.unwrap()
}

/// The status that is answered on this connection; nothing, if it was closed before the handshake.
async fn served(proxy: &Proxy, tcp: TcpStream) -> Option<String> {
    let mut tls = proxy.shake(tcp, b"http/1.1").await.ok()?;
    tls.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .ok()?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, tls.read_to_end(&mut answer));
    let _ = read.await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    text.split(' ').nth(1).map(str::to_owned)
}

/// So many idle connections; those after the first `open` ones must be closed at once.
async fn idle(proxy: &Proxy, address: &str, count: usize, open: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(connect_from(address, proxy.address).await);
    }
    for mut refused in all.split_off(open) {
        let mut none = [0; 1];
        let closed = tokio::time::timeout(PATIENCE, refused.read(&mut none));
        assert!(closed.await.unwrap().is_ok_and(|read| read == 0));
    }
    all
}

#[tokio::test]
async fn connections_of_one_address_keep_nobody_else_out() {
    let proxy = proxy("").await;
    let mut open = idle(&proxy, "127.0.0.2", 25, 10).await;
    let more = connect_from("127.0.0.2", proxy.address).await;
    assert_eq!(served(&proxy, more).await, None);
    // Another attacker does not get the rest.
    let others = idle(&proxy, "127.0.0.3", 25, 5).await;
    for _ in 0..20 {
        let modest = connect_from("127.0.0.1", proxy.address).await;
        assert_eq!(served(&proxy, modest).await.as_deref(), Some("200"));
    }
    // What was let in is served.
    let first = open.remove(0);
    assert_eq!(served(&proxy, first).await.as_deref(), Some("200"));
    // What they have comes back when they go.
    drop((open, others));
    let again = async {
        loop {
            let tcp = connect_from("127.0.0.2", proxy.address).await;
            if served(&proxy, tcp).await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn what_stands_for_many_has_no_share_by_address() {
    for more in [
        "[trusted]\nproxies = [\"127.0.0.2\"]",
        "[limits]\nshared_networks = [\"127.0.0.2/31\"]",
    ] {
        let proxy = proxy(more).await;
        let mut open = idle(&proxy, "127.0.0.2", 18, 18).await;
        let last = open.remove(17);
        let last = served(&proxy, last).await;
        assert_eq!(last.as_deref(), Some("200"), "{more}");
        let modest = connect_from("127.0.0.1", proxy.address).await;
        assert_eq!(served(&proxy, modest).await.as_deref(), Some("200"));
    }
}
