//! The shortest HTTP client that can talk to CouchDB, blocking, one connection for each request.
//!
//! Invariant: for tests and the demo's own set-up only, towards a server on this machine; what a CouchDB is told of its
//! configuration it forgets when it is started again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The CouchDB of a slow machine may build an index before it answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

pub(super) fn ask(
    authority: &str,
    (user, password): (&str, &str),
    method: &str,
    path: &str,
    body: Option<&str>,
) -> Result<Reply, String> {
    let failed = |error: std::io::Error| format!("{method} http://{authority}{path}: {error}");
    let login = STANDARD.encode(format!("{user}:{password}"));
    let body = body.unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Basic {login}\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nX-Couch-Persist: false\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(authority).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(head.as_bytes()).map_err(failed)?;
    stream.write_all(body.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    read(&answer)
        .ok_or_else(|| format!("{method} http://{authority}{path}: the answer can't be read"))
}

fn read(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        dechunk(body)?
    } else {
        body.to_vec()
    };
    Some(Reply {
        status,
        text: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// Undoes the percent-encoding that a URL needs.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let pair: Vec<u8> = if byte == b'%' {
            rest.clone().take(2).collect()
        } else {
            Vec::new()
        };
        let code = std::str::from_utf8(&pair)
            .ok()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        if let Some(code) = code {
            rest.nth(1);
            bytes.push(code);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
