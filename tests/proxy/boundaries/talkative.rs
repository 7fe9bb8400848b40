//! A CouchDB that sends more than it should: behind answers whose end it leaves to a function, to a feed or to chance,
//! at once, a little later, or when the next request has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::requests::Dice;
use crate::support::{Seen, Step, errand};

/// What would be taken for the answer to somebody else.
const MORE: &[u8] = b"HTTP/1.1 200 Told\r\ncontent-length: 7\r\n\r\nforeign";

/// What is asked for, and the answer with more behind its end than it says.
const ANSWERS: [(&str, &str); 10] = [
    (
        "GET /notes/_changes?feed=eventsource",
        "HTTP/1.1 200 Told\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
    ),
    (
        "GET /notes/_changes?feed=continuous&timeout=1",
        "HTTP/1.1 200 Told\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
    ),
    (
        "GET /notes/_design/d/_list/l/v",
        "HTTP/1.1 204 Told\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ),
    (
        "GET /notes/_design/d/_show/s",
        "HTTP/1.1 304 Told\r\ncontent-length: 3\r\n\r\nxyz",
    ),
    (
        "GET /notes/_design/d/_show/t",
        "HTTP/1.1 200 Told\r\ncontent-length: 1\r\n\r\nxyz",
    ),
    (
        "GET /notes/_design/d/_rewrite/r",
        "HTTP/1.1 200 Told\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "POST /notes/_design/d/_update/u",
        "HTTP/1.1 201 Told\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "GET /notes/same",
        "HTTP/1.1 304 Told\r\ncontent-length: 3\r\n\r\nxyz",
    ),
    (
        "GET /notes/broken",
        "HTTP/1.1 500 Told\r\ncontent-length: 2\r\n\r\n{}",
    ),
    (
        "PUT /notes/refused",
        "HTTP/1.1 409 Told\r\ncontent-length: 2\r\n\r\n{}",
    ),
];

/// The requests to which it sends more than it should.
pub(super) fn requests() -> [&'static str; 10] {
    ANSWERS.map(|(request, _)| request)
}

pub(super) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0_u64.. {
            let (tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = converse(tcp, Dice::new(number)).await;
            });
        }
    });
    address
}

async fn converse(tcp: TcpStream, mut dice: Dice) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let (reader, writer) = tcp.into_split();
    let mut reader = BufReader::new(reader);
    let writer = Arc::new(Mutex::new(writer));
    let mut owed = false;
    while let Some(seen) = receive(&mut reader).await? {
        if std::mem::take(&mut owed) {
            writer.lock().await.write_all(MORE).await?;
        }
        let line = format!("{} {}", seen.method, seen.target);
        let loose = ANSWERS.iter().find(|(asked, _)| line.starts_with(asked));
        if let Some((_, answer)) = loose {
            writer.lock().await.write_all(answer.as_bytes()).await?;
            match dice.one_of(3) {
                0 => owed = true,
                1 => writer.lock().await.write_all(MORE).await?,
                _ => drop(tokio::spawn(later(Arc::clone(&writer), dice.one_of(50)))),
            }
        } else if let Some(steps) = errand(&seen) {
            for step in steps {
                if let Step::Send(bytes) = step {
                    writer.lock().await.write_all(&bytes).await?;
                }
            }
        } else {
            let word = seen.target.trim_start_matches("/notes/").replace('-', " ");
            let answer = dice.told(200, &word);
            writer.lock().await.write_all(&answer).await?;
        }
    }
    Ok(())
}

async fn later(writer: Arc<Mutex<OwnedWriteHalf>>, millis: usize) {
    tokio::time::sleep(Duration::from_millis(millis as u64)).await;
    let _ = writer.lock().await.write_all(MORE).await;
}

/// A request with its body, which has a length.
async fn receive(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<Seen>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let length = head.split_once("\r\ncontent-length: ");
    let length = length.map_or("0", |(_, rest)| rest.split('\r').next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).await?;
    let mut words = head.split(' ').map(str::to_owned);
    Ok(Some(Seen {
        method: words.next().unwrap(),
        target: words.next().unwrap(),
        head: head.to_ascii_lowercase(),
        body: String::new(),
    }))
}
