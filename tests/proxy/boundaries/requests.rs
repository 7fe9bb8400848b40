//! Requests of every kind that has a body, and who sends them byte by byte.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The same throws in each run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn one_of(&mut self, many: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % many
    }

    /// A whole answer, framed in one way or the other.
    pub(super) fn told(&mut self, status: u16, word: &str) -> Vec<u8> {
        let body = format!("{{\"_id\":\"x\",\"_rev\":\"1-a\",\"word\":\"{word}\"}}");
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n");
        match self.one_of(2) {
            0 => format!("{head}content-length: {length}\r\n\r\n{body}"),
            _ => {
                format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")
            }
        }
        .into_bytes()
    }
}

/// What is sent, and what must come of it.
pub(super) struct Sending {
    pub(super) bytes: Vec<u8>,
    /// The word that the answer must hold: somebody else's plain `GET`.
    pub(super) word: Option<String>,
    /// So much of it is sent before the client goes away.
    pub(super) aborted_at: Option<usize>,
}

/// What an attacker leaves behind a message.
pub(super) fn smuggled(lines: usize) -> String {
    let blank = "\r\n".repeat(lines);
    format!("{blank}GET /victim/_all_docs?include_docs=true HTTP/1.1\r\nX-I: ")
}

const JSON: &str = "content-type: application/json\r\n";
const RELATED: &str = "content-type: multipart/related; boundary=b\r\n";
const FORM: &str = "content-type: multipart/form-data; boundary=b\r\n";

/// One request of any kind.
pub(super) fn sending(number: usize, dice: &mut Dice) -> Sending {
    if dice.one_of(3) == 0 {
        let bytes = request(&format!("GET /notes/mark-{number}"), "", None, dice);
        return Sending {
            bytes,
            word: Some(format!("mark {number}")),
            aborted_at: None,
        };
    }
    let (line, fields, body) = kind(number, dice);
    let bytes = request(&line, fields, Some(body), dice);
    let aborted_at = (dice.one_of(12) == 0).then(|| dice.one_of(bytes.len()));
    Sending {
        bytes,
        word: None,
        aborted_at,
    }
}

/// A request without a body, or with an empty document.
pub(super) fn asking(line: &str, user: &str) -> Sending {
    let body = (!line.starts_with("GET")).then(|| b"{}".to_vec());
    let length = body.as_ref().map_or(String::new(), |body| {
        format!("content-length: {}\r\n", body.len())
    });
    let mut bytes = format!("{}{JSON}{length}\r\n", head(line, user)).into_bytes();
    bytes.extend(body.unwrap_or_default());
    Sending {
        bytes,
        word: None,
        aborted_at: None,
    }
}

fn kind(number: usize, dice: &mut Dice) -> (String, &'static str, Vec<u8>) {
    let long = [10, 3_000, 40_000][dice.one_of(3)];
    let text = "x".repeat(long);
    let document = format!("{{\"_id\":\"d{number}\",\"text\":\"{text}\"}}");
    let batch = format!("{{\"docs\":[{document}]}}");
    let epilogue = match dice.one_of(2) {
        0 => String::new(),
        _ => smuggled(dice.one_of(40)),
    };
    let stub = format!(
        "{{\"_id\":\"d{number}\",\"_attachments\":{{\"a\":{{\"follows\":true,\"content_type\":\"text/plain\",\"length\":{long}}}}}}}"
    );
    let related = format!(
        "--b\r\ncontent-type: application/json\r\n\r\n{stub}\r\n--b\r\n\r\n{text}\r\n--b--{epilogue}"
    );
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"_attachments\"; filename=\"a\"\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b--{epilogue}"
    );
    let junk = smuggled(dice.one_of(40));
    let (line, fields, body) = match dice.one_of(16) {
        0 | 1 => (format!("PUT /notes/d{number}"), JSON, document),
        2 => ("POST /notes".to_owned(), JSON, document),
        3 | 4 => ("POST /notes/_bulk_docs".to_owned(), JSON, batch),
        5 => (
            "POST /notes/_find".to_owned(),
            JSON,
            "{\"selector\":{}}".to_owned(),
        ),
        6 | 7 => (format!("PUT /notes/d{number}"), RELATED, related),
        8 => (format!("POST /notes/d{number}"), FORM, form),
        9 | 10 => (
            format!("PUT /notes/d{number}/file"),
            "content-type: text/plain\r\n",
            text,
        ),
        // These have no body, whatever is sent as one.
        11 => (format!("GET /notes/d{number}"), JSON, junk),
        12 => (format!("DELETE /notes/d{number}?rev=1-a"), JSON, junk),
        13 => (
            format!("POST /notes/_design/d/_update/u/d{number}"),
            JSON,
            junk,
        ),
        14 => ("POST /notes/_compact".to_owned(), JSON, junk),
        _ => (format!("PUT /made{number}"), "", junk),
    };
    (line, fields, body.into_bytes())
}

fn head(line: &str, user: &str) -> String {
    let login = STANDARD.encode(format!("{user}:{}", crate::support::PASSWORD));
    format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nreferer: http://localhost/\r\nauthorization: Basic {login}\r\n"
    )
}

/// With a length, in chunks, or compressed.
fn request(line: &str, fields: &str, body: Option<Vec<u8>>, dice: &mut Dice) -> Vec<u8> {
    // Administrators' bodies go on as they come, others' are read.
    let user = ["ops", "rita"][dice.one_of(2)];
    let mut head = head(line, user) + fields;
    let Some(mut body) = body else {
        return format!("{head}\r\n").into_bytes();
    };
    if fields == JSON && dice.one_of(4) == 0 {
        head += "content-encoding: gzip\r\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&body).unwrap();
        body = gzip.finish().unwrap();
    }
    if dice.one_of(3) > 0 {
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        return [head.as_bytes(), &body].concat();
    }
    let mut whole = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(1 + dice.one_of(9_000)) {
        whole.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        whole.extend_from_slice(chunk);
        whole.extend_from_slice(b"\r\n");
    }
    whole.extend_from_slice(b"0\r\n\r\n");
    whole
}

/// A connection to couchwarden, which is made anew where it has ended.
pub(super) struct Caller {
    address: SocketAddr,
    tcp: Option<TcpStream>,
}

impl Caller {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, tcp: None }
    }

    /// Status and body; nothing where the connection ended before an answer.
    pub(super) async fn ask(&mut self, sending: &Sending) -> Option<(u16, String)> {
        if let Some(at) = sending.aborted_at {
            let mut tcp = self.connection().await;
            let _ = tcp.write_all(&sending.bytes[..at]).await;
            return None;
        }
        // One that was kept may have been closed meanwhile.
        let kept = self.tcp.is_some();
        match self.once(&sending.bytes).await {
            None if kept => self.once(&sending.bytes).await,
            answer => answer,
        }
    }

    async fn connection(&mut self) -> TcpStream {
        match self.tcp.take() {
            Some(tcp) => tcp,
            None => TcpStream::connect(self.address).await.unwrap(),
        }
    }

    async fn once(&mut self, bytes: &[u8]) -> Option<(u16, String)> {
        let mut tcp = self.connection().await;
        let (mut reader, mut writer) = tcp.split();
        // An answer may come before all is sent.
        let (_, answer) = tokio::join!(
            writer.write_all(bytes),
            timeout(Duration::from_secs(20), answer(&mut reader))
        );
        let (status, head, body) = answer.expect("no answer within 20 s")?;
        if !head.contains("\r\nconnection: close\r\n") {
            self.tcp = Some(tcp);
        }
        Some((status, body))
    }
}

async fn answer(tcp: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<(u16, String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = Vec::new();
    if status == 204 || status == 304 {
        return Some((status, head, String::new()));
    }
    if let Some((_, rest)) = head.split_once("\r\ncontent-length: ") {
        let length: usize = rest.split('\r').next().unwrap().parse().unwrap();
        body.resize(length, 0);
        tcp.read_exact(&mut body).await.ok()?;
    } else if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(tcp.read_u8().await.ok()?);
            }
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let mut chunk = vec![0; size + 2];
            tcp.read_exact(&mut chunk).await.ok()?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Some((status, head, String::from_utf8_lossy(&body).into_owned()))
}
