//! A CouchDB that answers everything with `ok`, and writes down each byte it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One complete request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What arrived so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upstream(Arc<Mutex<Vec<Captured>>>);

impl Upstream {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self::default();
        let seen = upstream.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(seen.clone().serve(tcp));
            }
        });
        (upstream, address)
    }

    /// The complete requests. An aborted one is not among them.
    pub(crate) fn captured(&self) -> Vec<Captured> {
        self.0.lock().unwrap().clone()
    }

    async fn serve(self, mut tcp: TcpStream) {
        let mut bytes = Vec::new();
        while let Some(captured) = read_request(&mut tcp, &mut bytes).await {
            let head_only = captured.head.starts_with("HEAD ");
            self.0.lock().unwrap().push(captured);
            let body = if head_only { "" } else { "ok" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
            if tcp.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Reads one request strictly; `None` at the end of the connection, however it came.
async fn read_request(tcp: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Captured> {
    let end = loop {
        if let Some(end) = find(bytes, b"\r\n\r\n") {
            break end + 4;
        }
        more(tcp, bytes).await?;
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
    assert!(
        !head.replace("\r\n", "").contains(['\r', '\n', '\0']),
        "malformed: {head:?}"
    );
    let length = field(&head, "content-length");
    let chunked = field(&head, "transfer-encoding");
    assert!(
        length.is_none() || chunked.is_none(),
        "two framings: {head}"
    );
    let body = match (length, chunked) {
        (Some(length), _) => {
            let length: usize = length.parse().unwrap();
            while bytes.len() < length {
                more(tcp, bytes).await?;
            }
            bytes.drain(..length).collect()
        }
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            read_chunks(tcp, bytes).await?
        }
        (None, None) => Vec::new(),
    };
    Some(Captured { head, body })
}

async fn read_chunks(tcp: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            if let Some(end) = find(bytes, b"\r\n") {
                break bytes.drain(..end + 2).collect::<Vec<u8>>();
            }
            more(tcp, bytes).await?;
        };
        let size = usize::from_str_radix(str::from_utf8(&line).unwrap().trim_end(), 16).unwrap();
        while bytes.len() < size + 2 {
            more(tcp, bytes).await?;
        }
        body.extend(bytes.drain(..size));
        assert_eq!(
            bytes.drain(..2).collect::<Vec<u8>>(),
            b"\r\n",
            "trailers or bad chunk"
        );
        if size == 0 {
            return Some(body);
        }
    }
}

async fn more(tcp: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    (tcp.read_buf(bytes).await.ok()? > 0).then_some(())
}

pub(crate) fn field(head: &str, name: &str) -> Option<String> {
    let mut values = head.lines().skip(1).filter_map(|line| {
        let (field, value) = line.split_once(':')?;
        field
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    });
    let value = values.next();
    assert!(values.next().is_none(), "twice: {name}");
    value
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
