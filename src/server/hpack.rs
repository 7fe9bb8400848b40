//! Header blocks of HTTP/2 (RFC 7541), as far as they must be read to mend their targets, and to know what h2 passes on
//! without a word: a fragment in a target, which it drops, and pseudo-header fields in trailers.
//!
//! A target is mended only where it stays out of the dynamic table, as curl and everything else of nghttp2 send it: a
//! table entry that the client does not know would shift all others.
//!
//! Invariant: the client's dynamic table is followed entry by entry, so that a field is known wherever it comes from. What
//! can't be read ends the connection.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::LazyLock;

use super::foreign::encoded_path;

/// The longest dynamic table that we have allowed, and what an entry takes beside its texts (section 4.1).
const LONGEST_TABLE: usize = 4096;
const ASIDE: usize = 32;

/// What the client's dynamic table holds (section 2.3.2), the newest first.
#[derive(Debug)]
pub(super) struct DynamicTable {
    entries: VecDeque<TableEntry>,
    size: usize,
    most: usize,
}

#[derive(Debug)]
struct TableEntry {
    name: Vec<u8>,
    size: usize,
    has_fragment: bool,
}

/// What a block was found to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HeaderBlock {
    /// The block with its target mended, if there was something to mend.
    pub(super) mended: Option<Vec<u8>>,
    /// It has pseudo-header fields.
    pub(super) has_pseudo: bool,
    /// Its target has a fragment.
    pub(super) has_fragment: bool,
}

impl HeaderBlock {
    fn note(&mut self, name: &[u8], has_fragment: bool) {
        self.has_pseudo |= name.starts_with(b":");
        self.has_fragment |= has_fragment;
    }
}

impl DynamicTable {
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            most: LONGEST_TABLE,
        }
    }

    /// Reads the next block of the client's; nothing if it can't be read.
    pub(super) fn read(&mut self, block: &[u8]) -> Option<HeaderBlock> {
        let mut read = HeaderBlock::default();
        let mut mended = Vec::with_capacity(block.len() + 16);
        let mut changed = false;
        let mut rest = block;
        while let Some(&first) = rest.first() {
            let field = rest;
            rest = match first {
                // Indexed, literal for the dynamic table, the table's size (section 6).
                0x80.. => {
                    let (index, after) = integer(field, 7)?;
                    let (name, has_fragment) = self.entry(index)?;
                    read.note(name, has_fragment);
                    after
                }
                0x40.. => {
                    let (name, value) = self.name(field, 6)?;
                    let (huffman, text, after) = string(value)?;
                    let (name, value) = (name.into_owned(), plain(huffman, text)?);
                    let has_fragment = is_fragment_in(&name, &value);
                    read.note(&name, has_fragment);
                    self.insert(name, value.len(), has_fragment);
                    after
                }
                0x20.. => {
                    let (most, after) = integer(field, 5)?;
                    self.resize(most)?;
                    after
                }
                ..0x20 => {
                    let (name, value) = self.name(field, 4)?;
                    let (huffman, text, after) = string(value)?;
                    let path = (*name == *PATH).then(|| plain(huffman, text));
                    let path = path.unwrap_or(Some(Cow::default()))?;
                    read.note(&name, is_fragment_in(&name, &path));
                    if let Some(path) = encoded_path(&path) {
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
        read.mended = changed.then_some(mended);
        Some(read)
    }

    /// The name of an entry of either table, and whether its value is a target with a fragment.
    fn entry(&self, index: usize) -> Option<(&[u8], bool)> {
        let place = index.checked_sub(1)?;
        if let Some(name) = STATIC.get(place) {
            return Some((name.as_bytes(), false));
        }
        let entry = self.entries.get(place - STATIC.len())?;
        Some((&entry.name, entry.has_fragment))
    }

    /// The name of a literal, and what follows it.
    fn name<'t, 'f: 't>(
        &'t self,
        field: &'f [u8],
        prefix: u32,
    ) -> Option<(Cow<'t, [u8]>, &'f [u8])> {
        let (index, rest) = integer(field, prefix)?;
        if index > 0 {
            return Some((Cow::Borrowed(self.entry(index)?.0), rest));
        }
        let (huffman, name, rest) = string(rest)?;
        Some((plain(huffman, name)?, rest))
    }

    /// An entry that is longer than the table only empties it (section 4.4).
    fn insert(&mut self, name: Vec<u8>, value: usize, has_fragment: bool) {
        let size = name.len() + value + ASIDE;
        self.shrink(self.most.saturating_sub(size));
        if size <= self.most {
            self.size += size;
            self.entries.push_front(TableEntry {
                name,
                size,
                has_fragment,
            });
        }
    }

    fn resize(&mut self, most: usize) -> Option<()> {
        self.most = Some(most).filter(|most| *most <= LONGEST_TABLE)?;
        self.shrink(most);
        Some(())
    }

    fn shrink(&mut self, most: usize) {
        while self.size > most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

const PATH: &[u8] = b":path";

fn is_fragment_in(name: &[u8], value: &[u8]) -> bool {
    name == PATH && value.contains(&b'#')
}

/// The names of the static table (appendix A).
const STATIC: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

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

fn plain(huffman: bool, text: &[u8]) -> Option<Cow<'_, [u8]>> {
    match huffman {
        true => decode(text).map(Cow::Owned),
        false => Some(Cow::Borrowed(text)),
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
