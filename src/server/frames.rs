//! The client's frames of HTTP/2 (RFC 9113 section 4.1), for [`DynamicTable`] to read their header blocks.
//!
//! A block is held until all of it is there, in however many frames; everything else passes as it comes. A target is
//! mended in its block. What h2 would take though it means nothing (a fragment in a target, pseudo-header fields in
//! trailers) gets a field that makes it malformed (section 8.2.2): h2 resets its stream.
//!
//! Invariant: nothing but such blocks changes, however the network cuts the stream. Blocks that can't be read, or which h2
//! would not read into its own table, end the connection: the two tables never differ.

use super::hpack::DynamicTable;

/// Before the first frame (section 3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;

/// The longest frame that we have allowed (section 4.2).
const LONGEST: usize = 16_384;
/// The frames of a block take no more than this, as the head of a request over HTTP/1.
const LONGEST_BLOCK: usize = 64 * 1024;

const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// What stands before the block where a stream depends on another.
const DEPENDENCY: usize = 5;

/// A field that no message has: `connection`.
const MALFORMED: &[u8] = b"\x00\x0aconnection\x00";
/// A frame that ends the connection: headers of no stream.
const END: [u8; HEAD] = [0, 0, 0, HEADERS, END_HEADERS, 0, 0, 0, 0];

/// Where the client's stream stands.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    /// The head of a frame, and its payload if that is of a header block.
    held: Vec<u8>,
    /// A block that goes on in the next frame.
    block: Option<Begun>,
    table: DynamicTable,
    /// The last stream that has begun: what follows in one are its trailers.
    last: u32,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// So many bytes pass.
    Passing(usize),
    /// So many bytes are held.
    Holding(usize),
    /// The connection ends, and nothing passes.
    Ended,
}

/// The frames of a header block.
#[derive(Debug)]
struct Begun {
    frames: Vec<u8>,
    stream: u32,
    /// Those that do not say how it is framed.
    flags: u8,
    dependency: Vec<u8>,
    block: Vec<u8>,
    trails: bool,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Passing(PREFACE),
            held: Vec::new(),
            block: None,
            table: DynamicTable::new(),
            last: 0,
        }
    }

    /// What is to be read instead of these bytes; nothing if they may stay.
    pub(super) fn follow(&mut self, read: &[u8]) -> Option<Vec<u8>> {
        if let Place::Passing(left) = self.place
            && read.len() < left
        {
            self.place = Place::Passing(left - read.len());
            return None;
        }
        let mut out = Vec::with_capacity(read.len());
        let mut rest = read;
        while !rest.is_empty() {
            let wanted = match self.place {
                Place::Passing(wanted) | Place::Holding(wanted) => wanted,
                Place::Ended => break,
            };
            let here = wanted.min(rest.len());
            let (piece, after) = rest.split_at_checked(here).unwrap_or((rest, &[]));
            rest = after;
            self.place = match self.place {
                Place::Passing(_) => {
                    out.extend(piece);
                    Place::Passing(wanted - here)
                }
                Place::Holding(_) => {
                    self.held.extend(piece);
                    Place::Holding(wanted - here)
                }
                Place::Ended => Place::Ended,
            };
            if here == wanted {
                self.place = self.next(&mut out).unwrap_or_else(|| {
                    out.extend(END);
                    Place::Ended
                });
            }
        }
        Some(out)
    }

    /// What comes after what is complete; nothing if the connection must end.
    fn next(&mut self, out: &mut Vec<u8>) -> Option<Place> {
        let held = std::mem::take(&mut self.held);
        let Some(head) = FrameHead::read(&held) else {
            return Some(Place::Holding(HEAD));
        };
        if held.len() == HEAD {
            match (head.kind, &self.block) {
                (HEADERS, None) | (CONTINUATION, Some(_)) => {}
                // h2 would read a promise into its table.
                (_, Some(_)) | (CONTINUATION | PUSH_PROMISE, None) => return None,
                (_, None) => {
                    out.extend(held);
                    return Some(match head.length {
                        0 => Place::Holding(HEAD),
                        length => Place::Passing(length),
                    });
                }
            }
            if head.length > LONGEST {
                return None;
            }
            if head.length > 0 {
                self.held = held;
                return Some(Place::Holding(head.length));
            }
        }
        let block = match self.block.take() {
            Some(block) => block.go_on(&head, &held)?,
            None => Begun::read(&head, held, self.last)?,
        };
        self.last = self.last.max(head.stream);
        match head.flags & END_HEADERS {
            0 => self.block = Some(block),
            _ => self.end(block, out)?,
        }
        Some(Place::Holding(HEAD))
    }

    /// A block is complete.
    fn end(&mut self, begun: Begun, out: &mut Vec<u8>) -> Option<()> {
        let read = self.table.read(&begun.block)?;
        let is_malformed = read.has_fragment || (begun.trails && read.has_pseudo);
        if !is_malformed && read.mended.is_none() {
            out.extend(begun.frames);
            return Some(());
        }
        let mut block = read.mended.unwrap_or(begun.block);
        if is_malformed {
            block.extend(MALFORMED);
        }
        let payload = [begun.dependency, block].concat();
        let mut pieces = payload.chunks(LONGEST).peekable();
        let (mut kind, mut flags) = (HEADERS, begun.flags);
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= END_HEADERS;
            }
            let length = u32::try_from(piece.len()).ok()?.to_be_bytes();
            out.extend(length.get(1..)?);
            out.extend([kind, flags]);
            out.extend(begun.stream.to_be_bytes());
            out.extend(piece);
            (kind, flags) = (CONTINUATION, 0);
        }
        Some(())
    }
}

impl Begun {
    /// Reads the first frame of a block.
    fn read(head: &FrameHead, frame: Vec<u8>, last: u32) -> Option<Self> {
        let mut payload = frame.get(HEAD..)?;
        let mut padding = 0;
        if head.flags & PADDED != 0 {
            let (&length, after) = payload.split_first()?;
            (padding, payload) = (usize::from(length), after);
        }
        let before = if head.flags & PRIORITY == 0 {
            0
        } else {
            DEPENDENCY
        };
        let (dependency, block) = payload.split_at_checked(before)?;
        let block = block.get(..block.len().checked_sub(padding)?)?;
        // h2 resets a stream that depends on itself before it has read the block.
        let depends_on = dependency.first_chunk().copied().map(stream);
        if head.stream == 0 || depends_on == Some(head.stream) {
            return None;
        }
        Some(Self {
            stream: head.stream,
            flags: head.flags & (END_STREAM | PRIORITY),
            dependency: dependency.to_vec(),
            block: block.to_vec(),
            trails: head.stream <= last,
            frames: frame,
        })
    }

    fn go_on(mut self, head: &FrameHead, frame: &[u8]) -> Option<Self> {
        self.frames.extend(frame);
        self.block.extend(frame.get(HEAD..)?);
        (head.stream == self.stream && self.frames.len() <= LONGEST_BLOCK).then_some(self)
    }
}

/// The head of a frame.
struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    fn read(frame: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream_id @ ..] = *frame.first_chunk::<HEAD>()?;
        Some(Self {
            length: usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?,
            kind,
            flags,
            stream: stream(stream_id),
        })
    }
}

/// The number of a stream: its first bit says something else.
fn stream(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & (u32::MAX >> 1)
}

#[cfg(test)]
mod tests;
