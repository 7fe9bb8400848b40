//! A CouchDB that reads as little of a request as it may before it answers, and then reads on.
//!
//! What it has not read of a request it would take for the head of the next one. So it goes on reading by the framing of
//! that request, and whatever comes behind its end on the same connection is a fault: there somebody else's request has
//! been put behind bytes that nobody has judged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::requests::Dice;
use crate::support::{Seen, Step, errand};

pub(super) struct Lazy {
    pub(super) address: SocketAddr,
    log: Log,
}

/// What has come, and what was wrong with it.
#[derive(Clone, Default)]
struct Log {
    /// Who, the method, and the target.
    lines: Arc<Mutex<Vec<String>>>,
    faults: Arc<Mutex<Vec<String>>>,
}

/// How much of a body is read before the answer.
#[derive(Debug, Clone, Copy)]
enum Reads {
    Nothing,
    Some(usize),
    ToBoundary,
    Whole,
}

/// Who has come by a connection.
#[derive(Default)]
struct Guests {
    account: bool,
    caller: bool,
    /// Somebody who said that the connection ends with them.
    last: bool,
}

impl Guests {
    /// What is wrong with one more.
    fn admit(&mut self, message: &Message) -> Option<&'static str> {
        let account = message.is_account();
        let behind_the_last = self.last;
        self.account |= account;
        self.caller |= !account;
        self.last |= message.head.contains("\r\nconnection: close\r\n");
        let accounts = ["/_users", "/_session"];
        let accounts = accounts
            .iter()
            .any(|path| message.target().starts_with(path));
        let writes = account && message.method() == "PUT";
        if behind_the_last {
            Some("a request on a connection that had ended")
        } else if self.account && self.caller {
            Some("the service account and a caller share a connection")
        } else if (accounts || writes) && !self.last {
            Some("what is about accounts, or written by ours, leaves its connection open")
        } else {
            None
        }
    }
}

impl Lazy {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let kept = log.clone();
        tokio::spawn(async move {
            for number in 0_u64.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let log = log.clone();
                tokio::spawn(async move {
                    // What breaks off is the client's own affair.
                    let _ = converse(tcp, &log, Dice::new(number)).await;
                });
            }
        });
        Self { address, log: kept }
    }

    /// Nothing has gone wrong.
    #[track_caller]
    pub(super) fn is_content(&self) {
        let faults = self.log.faults.lock().unwrap();
        let first = faults.iter().take(3).collect::<Vec<_>>();
        assert!(faults.is_empty(), "{} faults: {first:#?}", faults.len());
    }

    /// Somebody has asked for this.
    #[track_caller]
    pub(super) fn has_seen(&self, line: &str) {
        let lines = self.log.lines.lock().unwrap();
        let seen = |target: &String| target.split('?').next() == Some(line);
        assert!(lines.iter().any(seen), "{line}: {lines:?}");
    }
}

impl Log {
    fn wrong(&self, fault: &str, message: &Message) {
        let fault = format!("{fault}: {}", message.head);
        self.faults.lock().unwrap().push(fault);
    }
}

async fn converse(mut tcp: TcpStream, log: &Log, mut dice: Dice) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let mut guests = Guests::default();
    while let Some(mut message) = Message::receive(&mut tcp, &mut buffer).await? {
        let seen = message.seen();
        let who = if message.is_account() {
            "account"
        } else {
            "caller"
        };
        let line = format!("{who} {} {}", seen.method, seen.target);
        log.lines.lock().unwrap().push(line);
        if let Some(fault) = guests.admit(&message) {
            log.wrong(fault, &message);
        }
        if let Some(steps) = errand(&seen) {
            message.read(&mut tcp, &mut buffer, Reads::Whole).await?;
            for step in steps {
                match step {
                    Step::Send(bytes) => tcp.write_all(&bytes).await?,
                    Step::Close => return Ok(()),
                    Step::Hang => {
                        while tcp.read(&mut [0; 64]).await? > 0 {}
                        return Ok(());
                    }
                }
            }
            continue;
        }
        let (reads, answer) = message.answer(&mut dice);
        message.read(&mut tcp, &mut buffer, reads).await?;
        let unread = !message.is_read();
        tcp.write_all(&answer).await?;
        if unread {
            message.read(&mut tcp, &mut buffer, Reads::Whole).await?;
            let behind = !buffer.is_empty() || tcp.read_u8().await.is_ok();
            if behind {
                let fault = format!("a request behind one of which was read {reads:?}");
                log.wrong(&fault, &message);
            }
            return Ok(());
        }
    }
    Ok(())
}

/// A request, and what has not been read of it.
struct Message {
    /// As it came; the names of fields in lower case, as hyper writes them.
    head: String,
    left: Left,
}

/// What is left of a body, by its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Bytes(usize),
    /// The line that says how long the next chunk is, and what of it has come.
    Size(usize),
    /// The rest of a chunk with its line end.
    Chunk(usize),
    /// The rest of the last line end.
    Last(usize),
}

impl Message {
    async fn receive(tcp: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Self>> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if tcp.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let left = if head.contains("\r\ntransfer-encoding: chunked\r\n") {
            Left::Size(0)
        } else {
            let length = head.split_once("\r\ncontent-length: ");
            let length = length.map(|(_, rest)| rest.split('\r').next().unwrap());
            match length.map_or(0, |length| length.parse().unwrap()) {
                0 => Left::Nothing,
                length => Left::Bytes(length),
            }
        };
        Ok(Some(Self { head, left }))
    }

    fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    fn seen(&self) -> Seen {
        Seen {
            method: self.method().to_owned(),
            target: self.target().to_owned(),
            head: self.head.to_ascii_lowercase(),
            body: String::new(),
        }
    }

    /// Does it come from the service account, or from a user who logs in?
    fn is_account(&self) -> bool {
        self.head.contains("\r\nauthorization: Basic ")
    }

    fn is_read(&self) -> bool {
        self.left == Left::Nothing
    }

    /// Reads so much, or to the end.
    async fn read(
        &mut self,
        tcp: &mut TcpStream,
        buffer: &mut Vec<u8>,
        reads: Reads,
    ) -> std::io::Result<()> {
        let mark = self.head.split_once("boundary=");
        let mark = mark.map(|(_, rest)| format!("--{}--", rest.split('\r').next().unwrap()));
        let mut read = Vec::new();
        while !self.is_read() {
            let enough = match (reads, &mark) {
                (Reads::Nothing, _) => true,
                (Reads::Some(most), _) => read.len() >= most,
                (Reads::ToBoundary, Some(mark)) => read.ends_with(mark.as_bytes()),
                (Reads::ToBoundary, None) | (Reads::Whole, _) => false,
            };
            if enough {
                return Ok(());
            }
            if buffer.is_empty() && tcp.read_buf(buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let known = match (reads, self.left) {
                (Reads::Whole, Left::Bytes(left)) => left.min(buffer.len()),
                _ => 1,
            };
            for byte in buffer.drain(..known) {
                self.left = self.left.after(byte);
                read.push(byte);
            }
        }
        Ok(())
    }

    /// What CouchDB may do with this request: how much it reads before which answer.
    fn answer(&self, dice: &mut Dice) -> (Reads, Vec<u8>) {
        let target = self.target();
        if let Some(number) = target.strip_prefix("/notes/mark-") {
            return (Reads::Whole, dice.told(200, &format!("mark {number}")));
        }
        if target.starts_with("/judged/") {
            return (Reads::Whole, dice.told(200, "yes"));
        }
        let error = [400, 401, 409, 412, 413, 415, 500];
        let json = self.head.contains("\r\ncontent-type: application/json\r\n");
        let by_head = target.contains("/_design/") || target.contains("_compact");
        let least = if self.head.contains("boundary=") {
            Reads::ToBoundary
        } else if (json && !by_head) || target.contains("/file") {
            Reads::Whole
        } else {
            Reads::Nothing
        };
        if dice.one_of(3) == 0 {
            let some = Reads::Some(dice.one_of(3000));
            let reads = [Reads::Nothing, some, least, Reads::Whole];
            let (reads, status) = (reads[dice.one_of(4)], error[dice.one_of(7)]);
            return (reads, dice.told(status, "no"));
        }
        (least, dice.told(201, "yes"))
    }
}

impl Left {
    fn after(self, byte: u8) -> Self {
        match self {
            Self::Nothing => panic!("there is no more"),
            Self::Bytes(1) | Self::Last(1) => Self::Nothing,
            Self::Bytes(left) => Self::Bytes(left - 1),
            Self::Last(left) => Self::Last(left - 1),
            Self::Size(0) if byte == b'\n' => Self::Last(2),
            Self::Size(size) if byte == b'\n' => Self::Chunk(size + 2),
            Self::Size(size) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Size(size * 16 + digit as usize),
                None => Self::Size(size),
            },
            Self::Chunk(1) => Self::Size(0),
            Self::Chunk(left) => Self::Chunk(left - 1),
        }
    }
}
