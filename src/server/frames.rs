//! The client's frames of HTTP/2 (RFC 9113 section 4.1), for [`hpack`] to mend the targets in their header blocks.
//!
//! A block in one frame is held until it is there; everything else passes as it comes.
//!
//! Invariant: nothing but such blocks changes, however the network cuts the stream.

use super::hpack;

/// Before the first frame (section 3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;

/// The longest frame that we have allowed (section 4.2).
const LONGEST: usize = 16_384;

const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// What stands before the block where a stream depends on another.
const DEPENDENCY: usize = 5;

/// Where the client's stream stands.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    /// The head of a frame, and its payload if that is a header block.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// So many bytes pass.
    Passing(usize),
    /// So many bytes are held.
    Holding(usize),
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Passing(PREFACE),
            held: Vec::new(),
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
            let (Place::Passing(wanted) | Place::Holding(wanted)) = self.place;
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
            };
            if here == wanted {
                self.place = self.next(&mut out);
            }
        }
        Some(out)
    }

    /// What comes after what is complete.
    fn next(&mut self, out: &mut Vec<u8>) -> Place {
        let held = std::mem::take(&mut self.held);
        let Some((head, payload)) = held.split_at_checked(HEAD) else {
            return Place::Holding(HEAD);
        };
        if !payload.is_empty() {
            match mended(head, payload) {
                Some(frame) => out.extend(frame),
                None => out.extend(&held),
            }
            return Place::Holding(HEAD);
        }
        let (length, kind, flags) = read(head);
        if kind == HEADERS
            && flags & (END_HEADERS | PADDED) == END_HEADERS
            && (1..=LONGEST).contains(&length)
        {
            self.held = held;
            return Place::Holding(length);
        }
        out.extend(head);
        match length {
            0 => Place::Holding(HEAD),
            length => Place::Passing(length),
        }
    }
}

/// Length, type and flags of a frame.
fn read(head: &[u8]) -> (usize, u8, u8) {
    match *head {
        [a, b, c, kind, flags, ..] => {
            let length = u32::from_be_bytes([0, a, b, c]);
            (usize::try_from(length).unwrap_or(usize::MAX), kind, flags)
        }
        _ => (0, 0, 0),
    }
}

/// The frame with its block mended, if there is something to mend and it fits.
fn mended(head: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let (_, _, flags) = read(head);
    let before = if flags & PRIORITY == 0 { 0 } else { DEPENDENCY };
    let (dependency, block) = payload.split_at_checked(before)?;
    let block = hpack::mend(block)?;
    let length = dependency.len() + block.len();
    let length = u32::try_from(length).ok().filter(|_| length <= LONGEST)?;
    let mut frame = length.to_be_bytes().get(1..)?.to_vec();
    frame.extend(head.get(3..)?);
    frame.extend(dependency);
    frame.extend(block);
    Some(frame)
}

#[cfg(test)]
mod tests;
