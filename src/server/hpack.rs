//! The target in a header block of HTTP/2 (RFC 7541), as far as it must be read to be mended.
//!
//! A block is a row of representations, each of which tells its own length, so that none but the literal
//! `:path` has to be understood. It is mended only where it stays out of the dynamic table, as curl and
//! everything else of nghttp2 send it: a table entry that the client does not know would shift all others.
//!
//! Invariant: what can't be read is left as it is, for h2 to refuse.

use super::foreign::encoded_path;
use std::sync::LazyLock;

/// The static table's `:path` (`/` and `/index.html`).
const PATH: [usize; 2] = [4, 5];

/// The block with its target mended; nothing if there is nothing to mend.
pub(super) fn mend(block: &[u8]) -> Option<Vec<u8>> {
    let mut mended = Vec::with_capacity(block.len() + 16);
    let mut changed = false;
    let mut rest = block;
    while let Some(&first) = rest.first() {
        let field = rest;
        rest = match first {
            // Indexed, literal for the dynamic table, the table's size (section 6).
            0x80.. => integer(field, 7)?.1,
            0x40.. => indexed(field)?,
            0x20.. => integer(field, 5)?.1,
            ..0x20 => {
                let (is_path, value) = name(field)?;
                let (huffman, text, after) = string(value)?;
                let path = is_path.then(|| plain(huffman, text)).flatten();
                if let Some(path) = path.and_then(|path| encoded_path(&path)) {
                    mended.extend(field.get(..field.len() - value.len())?);
                    write(&path, &mut mended);
                    changed = true;
                    rest = after;
                    continue;
                }
                after
            }
        };
        mended.extend(field.get(..field.len() - rest.len())?);
    }
    changed.then_some(mended)
}

/// Whether a literal is the target, and what follows its name.
fn name(field: &[u8]) -> Option<(bool, &[u8])> {
    let (index, rest) = integer(field, 4)?;
    if index > 0 {
        return Some((PATH.contains(&index), rest));
    }
    let (huffman, name, rest) = string(rest)?;
    Some((plain(huffman, name)? == b":path", rest))
}

/// What follows a literal for the dynamic table.
fn indexed(field: &[u8]) -> Option<&[u8]> {
    let (index, mut rest) = integer(field, 6)?;
    if index == 0 {
        rest = string(rest)?.2;
    }
    Some(string(rest)?.2)
}

/// An integer with a prefix of so many bits (section 5.1), and what follows it.
fn integer(bytes: &[u8], prefix: u32) -> Option<(usize, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let most = (1 << prefix) - 1;
    let mut value = usize::from(first) & most;
    if value < most {
        return Some((value, rest));
    }
    // Nothing within a frame is longer.
    for shift in [0, 7, 14] {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        value += usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some((value, rest));
        }
    }
    None
}

/// A string (section 5.2): whether it is Huffman's, its bytes, and what follows it.
fn string(bytes: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let huffman = *bytes.first()? >= 0x80;
    let (length, rest) = integer(bytes, 7)?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((huffman, text, rest))
}

/// Writes a string as it is.
fn write(text: &[u8], out: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 0x7F {
        out.push(u8::try_from(length).unwrap_or(0));
    } else {
        out.push(0x7F);
        length -= 0x7F;
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7F).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap_or(0));
    }
    out.extend(text);
}

fn plain(huffman: bool, text: &[u8]) -> Option<Vec<u8>> {
    if huffman {
        decode(text)
    } else {
        Some(text.to_vec())
    }
}

/// How many bits each byte has (appendix B).
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The shortest and the longest code of a byte.
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// The bytes that have codes of each length, in order: codes of one length count up, and a longer
/// code goes on where the shorter ones ended.
static CODES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let of = |length: usize| {
        let bytes = (0..=u8::MAX).zip(BITS);
        let own = bytes.filter(|(_, bits)| usize::from(*bits) == length);
        own.map(|(byte, _)| byte).collect()
    };
    (0..=LONGEST).map(of).collect()
});

/// Reads Huffman's code, which ends with fewer than eight ones.
fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 8 / SHORTEST);
    let bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    // The code so far, and the first code of its length.
    let (mut code, mut first, mut length, mut ones) = (0, 0, 0, true);
    for bit in bits {
        code = code << 1 | usize::from(bit);
        ones &= bit == 1;
        length += 1;
        first <<= 1;
        let own = CODES.get(length)?;
        match code.checked_sub(first).and_then(|index| own.get(index)) {
            Some(byte) => {
                text.push(*byte);
                (code, first, length, ones) = (0, 0, 0, true);
            }
            None => first += own.len(),
        }
    }
    (ones && length < 8).then_some(text)
}

#[cfg(test)]
mod tests;
