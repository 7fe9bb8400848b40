//! A CouchDB that answers what it is told to, in whatever pieces, and writes down what it was asked.
//!
//! couchwarden's own errands (who is this user, what has changed among users, what was not given, how CouchDB is set up)
//! are answered by itself, and are
//! not among what `seen` tells.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::cast::roles_of;

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What to do in answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sent at once, by itself.
    Send(Vec<u8>),
    /// The connection ends.
    Close,
    /// Nothing more comes, and the connection stays.
    Hang,
}

type Script = Arc<dyn Fn(&Seen) -> Vec<Step> + Send + Sync>;

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    given_up: Arc<AtomicUsize>,
}

/// A whole answer with its length.
pub(crate) fn plain(status: u16, body: &str) -> Vec<Step> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    vec![
        Step::Send(head.into_bytes()),
        Step::Send(body.as_bytes().to_vec()),
    ]
}

/// A chunked answer in these pieces, with its end.
pub(crate) fn chunked<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Step> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut steps = vec![Step::Send(head.into())];
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        steps.push(Step::Send(chunk));
    }
    steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
    steps
}

/// How far the body of a request is read before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Whole,
    /// As CouchDB reads several parts; what stands behind them is the next request.
    ToTheLastBoundary,
}

impl Fake {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::reading(Reads::Whole, script).await
    }

    pub(crate) async fn that_stops_at_the_last_boundary(
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::reading(Reads::ToTheLastBoundary, script).await
    }

    async fn reading(
        reads: Reads,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Script, _) = (Arc::new(script), Arc::clone(&seen));
        let given_up = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&given_up);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let _ = converse(stream, reads, script, log, count).await;
                });
            }
        });
        Self {
            address,
            seen,
            given_up,
        }
    }

    /// Nobody at all: the port is closed.
    pub(crate) async fn absent() -> Self {
        let address = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        Self {
            address,
            seen: Arc::default(),
            given_up: Arc::default(),
        }
    }

    /// How many answers that hang the other side has given up, errands aside.
    pub(crate) fn given_up(&self) -> usize {
        self.given_up.load(Ordering::Relaxed)
    }

    /// What arrived, errands aside.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn converse(
    mut stream: TcpStream,
    reads: Reads,
    script: Script,
    log: Arc<Mutex<Vec<Seen>>>,
    given_up: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(seen) = receive(&mut stream, reads, &mut buffer).await? {
        let errand = errand(&seen);
        let count = usize::from(errand.is_none());
        let steps = match errand {
            Some(steps) => steps,
            None => {
                log.lock().unwrap().push(seen.clone());
                script(&seen)
            }
        };
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                    tokio::task::yield_now().await;
                }
                Step::Close => return Ok(()),
                Step::Hang => {
                    // Until the other side gives up.
                    while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                    given_up.fetch_add(count, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// couchwarden's requests have a length or are chunked; both are read whole.
async fn receive(
    stream: &mut TcpStream,
    reads: Reads,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Seen>> {
    let end = loop {
        // As CouchDB does before a request.
        while buffer.starts_with(b"\r\n") {
            buffer.drain(..2);
        }
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut words = head.split(' ');
    let (method, target) = (
        words.next().unwrap().to_owned(),
        words.next().unwrap().to_owned(),
    );
    let head = head.to_ascii_lowercase();
    let last = boundary(&head).filter(|_| reads == Reads::ToTheLastBoundary);
    let body = if let Some(last) = last {
        let end = loop {
            let found = buffer.windows(last.len()).position(|text| text == last);
            if let Some(found) = found {
                break found + last.len();
            }
            if stream.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        };
        buffer.drain(..end).collect()
    } else if head.contains("transfer-encoding: chunked") {
        while !buffer.ends_with(b"0\r\n\r\n") && stream.read_buf(buffer).await? > 0 {}
        dechunk(&std::mem::take(buffer))
    } else {
        let length = head
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
        while buffer.len() < length && stream.read_buf(buffer).await? > 0 {}
        buffer.drain(..length).collect()
    };
    Ok(Some(Seen {
        method,
        target,
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
    }))
}

/// What ends a body of several parts, of a head in lower case.
fn boundary(head: &str) -> Option<Vec<u8>> {
    let (_, kind) = head.split_once("content-type: multipart/")?;
    let (_, boundary) = kind.split('\r').next()?.split_once("boundary=")?;
    Some(format!("--{}--", boundary.trim_matches('"')).into_bytes())
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let data = line + 2;
        body.extend_from_slice(&rest[data..data + size]);
        if size == 0 {
            break;
        }
        rest = &rest[data + size + 2..];
    }
    body
}

/// What couchwarden asks for itself. Everybody's password is right.
pub(crate) fn errand(seen: &Seen) -> Option<Vec<Step>> {
    let (path, _) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    if path == "/_users/_changes" {
        let waits = seen.target.contains("longpoll");
        return Some(if waits {
            vec![Step::Hang]
        } else {
            plain(200, r#"{"results":[],"last_seq":"1","pending":0}"#)
        });
    }
    if let Some(name) = path
        .strip_prefix("/_users/org.couchdb.user")
        .and_then(|rest| rest.strip_prefix([':', '%']))
    {
        let name = name.trim_start_matches("3A");
        let document = json!({ "_id": format!("org.couchdb.user:{name}"), "_rev": "1-a", "name": name, "type": "user", "roles": roles_of(name) });
        return Some(plain(200, &document.to_string()));
    }
    // Nobody has a gap, until one is noted; in the database `gapped` the test says which.
    if path.contains("/_local/couchwarden-gaps-") && !path.starts_with("/gapped/") {
        return Some(match seen.method.as_str() {
            "PUT" => plain(201, r#"{"ok":true,"id":"_local/told","rev":"0-1"}"#),
            _ => plain(404, r#"{"error":"not_found","reason":"missing"}"#),
        });
    }
    // This CouchDB keeps no ends of sessions.
    if path == "/couchwarden" || path.starts_with("/couchwarden/") {
        return Some(plain(403, r#"{"error":"forbidden","reason":"told"}"#));
    }
    if path == "/_node/_local/_config/vhosts" {
        return Some(plain(200, "{}"));
    }
    // Whom a database lets in is asked at the start.
    let service = STANDARD.encode("warden:errands").to_ascii_lowercase();
    if path.ends_with("/_security") && seen.head.contains(&service) {
        return Some(plain(200, "{}"));
    }
    if path == "/_session" {
        let encoded = seen
            .head
            .split("authorization: basic ")
            .nth(1)
            .map(|rest| rest.split('\r').next().unwrap());
        // The head was put in lower case, so the name is found among those we know by what their login would be.
        let known = ["rita", "walt", "sue", "sam", "tom", "ops"];
        let login = |name: &str| {
            STANDARD
                .encode(format!("{name}:{}", super::cast::PASSWORD))
                .to_ascii_lowercase()
        };
        let name = known
            .into_iter()
            .find(|name| encoded == Some(login(name).as_str()));
        let body = json!({ "ok": true, "userCtx": { "name": name, "roles": name.map_or(&[][..], roles_of) } });
        return Some(plain(200, &body.to_string()));
    }
    None
}
