//! HTTP/2 by hand: libraries refuse to send what we want to see refused.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// How the server answered a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(String),
    /// The stream was reset, or the connection given up.
    Reset,
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

/// Greets, with these settings.
pub(crate) async fn greet<S: AsyncWrite + Unpin>(io: &mut S, settings: &[(u16, u32)]) {
    io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    write(io, SETTINGS, 0, 0, &payload).await;
}

pub(crate) async fn write<S: AsyncWrite + Unpin>(
    io: &mut S,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &[u8],
) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    // The server may have closed already; what it said is read later.
    let _ = io.write_all(&frame).await;
    let _ = io.flush().await;
}

pub(crate) async fn read<S: AsyncRead + Unpin>(io: &mut S) -> Option<Frame> {
    let mut head = [0; 9];
    io.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    io.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind: head[3],
        flags: head[4],
        payload,
    })
}

/// Fields without indexing or Huffman, so that every byte is ours.
pub(crate) fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

fn integer(block: &mut Vec<u8>, number: usize) {
    let Some(mut rest) = number.checked_sub(127) else {
        return block.push(u8::try_from(number).unwrap());
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// Sends the lines of a case on one stream: fields as `name=value`, then pieces of the body as `>bytes`, then trailers as
/// `<name=value`.
pub(crate) async fn exchange<S>(mut io: S, lines: &[Vec<u8>]) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    greet(&mut io, &[]).await;
    let fields: Vec<_> = lines.iter().filter_map(|line| split(line)).collect();
    let pieces: Vec<_> = lines.iter().filter(|line| line[0] == b'>').collect();
    let trailers: Vec<_> = lines
        .iter()
        .filter_map(|line| split(line.strip_prefix(b"<")?))
        .collect();
    let bare = pieces.is_empty();
    let block = block(&fields);
    let mut parts = block.chunks(16_000).peekable();
    let mut kind = HEADERS;
    let mut flags = if bare { END_STREAM } else { 0 };
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            flags |= END_HEADERS;
        }
        write(&mut io, kind, flags, 1, part).await;
        (kind, flags) = (9, 0);
    }
    for (index, piece) in pieces.iter().enumerate() {
        let last = index + 1 == pieces.len() && trailers.is_empty();
        write(&mut io, DATA, u8::from(last), 1, &piece[1..]).await;
    }
    if !trailers.is_empty() {
        let block = self::block(&trailers);
        write(&mut io, HEADERS, END_HEADERS | END_STREAM, 1, &block).await;
    }
    outcome(&mut io).await
}

/// Reads until the stream is answered.
pub(crate) async fn outcome<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) -> Outcome {
    while let Some(frame) = read(io).await {
        match frame.kind {
            HEADERS => return Outcome::Status(status(&frame.payload)),
            RESET | GOAWAY => return Outcome::Reset,
            SETTINGS if frame.flags & ACK == 0 => write(io, SETTINGS, ACK, 0, &[]).await,
            _ => {}
        }
    }
    Outcome::Reset
}

fn split(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if [b'>', b'<'].contains(&line[0]) {
        return None;
    }
    let middle = line.iter().position(|byte| *byte == b'=').unwrap();
    Some((line[..middle].to_vec(), line[middle + 1..].to_vec()))
}

/// `:status` is the first field: from the static table, or three digits in Huffman code.
fn status(payload: &[u8]) -> String {
    let index = usize::from(payload[0] & 0x7f);
    if payload[0] & 0x80 != 0 {
        return ["200", "204", "206", "304", "400", "404", "500"][index - 8].to_owned();
    }
    let (coded, length) = (payload[1] & 0x80 != 0, usize::from(payload[1] & 0x7f));
    let value = &payload[2..2 + length];
    if !coded {
        return String::from_utf8(value.to_vec()).unwrap();
    }
    let bits: String = value.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut digits = String::new();
    let mut rest = bits.as_str();
    while digits.len() < 3 {
        let number = |bits: &str| u32::from_str_radix(bits, 2).unwrap();
        // RFC 7541 appendix B: 0 to 2 have five bits, 3 to 9 have six.
        let (digit, length) = match number(&rest[..5]) {
            few @ 0..=2 => (few, 5),
            _ => (number(&rest[..6]) - 0x19 + 3, 6),
        };
        digits.push_str(&digit.to_string());
        rest = &rest[length..];
    }
    digits
}
