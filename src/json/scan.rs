//! The fast structure proof: where a container ends, and that its brackets balance and its strings close.
//!
//! Works on blocks of 64 bytes, as simdjson does, written so that the compiler vectorises it.
//! Invariant: may be fed in pieces of any size with the same result; nothing outside the container is judged.

use super::{JsonError, MAX_DEPTH};

const BLOCK: usize = 64;
/// The most brackets whose places are noted: what has more is told by walking.
const NOTED: usize = 4096;

/// The proof of one container, in progress.
#[derive(Debug, Clone)]
pub(super) struct Balance {
    /// One bit for each open container, the innermost lowest: is it an object?
    kinds: u128,
    open: usize,
    limit: usize,
    /// Where brackets stand, if that was asked for.
    noted: Option<Vec<usize>>,
    /// How many bytes came before.
    base: usize,
    /// All ones while a string is open, else zero.
    inside: u64,
    /// One if the next byte is escaped, else zero.
    escaped: u64,
}

/// What stands where in a block: one bit for each byte.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    quotes: u64,
    brackets: u64,
    backslashes: u64,
    controls: u64,
}

impl Balance {
    /// The proof of a container that stands inside `depth` others.
    pub(super) fn new(depth: usize) -> Self {
        Self {
            kinds: 0,
            open: 0,
            limit: MAX_DEPTH.saturating_sub(depth),
            noted: None,
            base: 0,
            inside: 0,
            escaped: 0,
        }
    }

    /// The same, and notes where brackets stand. Takes a vector whose memory it may use.
    pub(super) fn noting(mut spare: Vec<usize>) -> Self {
        spare.clear();
        Self {
            noted: Some(spare),
            ..Self::new(0)
        }
    }

    /// Where all brackets outside strings stand, if there are not too many.
    pub(super) fn into_brackets(self) -> Option<Vec<usize>> {
        self.noted
    }

    /// Takes the next bytes; the first ones begin with `{` or `[`. Gives the length up to the end of the container,
    /// once it is there. An error has no useful place: a stream has no start to count from.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, JsonError> {
        let (blocks, tail) = bytes.as_chunks::<BLOCK>();
        let mut done = 0_usize;
        for block in blocks {
            if let Some(end) = self.block(block, BLOCK)? {
                return Ok(Some(done.saturating_add(end)));
            }
            done = done.saturating_add(BLOCK);
            self.base = self.base.saturating_add(BLOCK);
        }
        let mut block = [b' '; BLOCK];
        for (slot, byte) in block.iter_mut().zip(tail) {
            *slot = *byte;
        }
        let end = self.block(&block, tail.len())?;
        self.base = self.base.saturating_add(tail.len());
        Ok(end.map(|end| done.saturating_add(end)))
    }

    #[inline]
    fn block(&mut self, block: &[u8; BLOCK], length: usize) -> Result<Option<usize>, JsonError> {
        let tags = Tags::of(block);
        if tags.any & (EACH * (BRACKET | RARE)) == 0 && self.escaped == 0 {
            // Each quote opens or closes a string, and nothing else happens here.
            self.inside ^= 0_u64.wrapping_sub(tags.odd());
            return Ok(None);
        }
        let marks = tags.marks();
        let escaped = self.escapes(marks.backslashes, length);
        let strings = between(marks.quotes & !escaped) ^ self.inside;
        let mut brackets = marks.brackets & !strings;
        let mut end = None;
        while brackets != 0 {
            let place = brackets.trailing_zeros() as usize;
            brackets &= brackets.wrapping_sub(1);
            if self.bracket(block.get(place).copied().unwrap_or_default(), place)? {
                end = Some(place.saturating_add(1));
                break;
            }
        }
        // Control characters are never raw in a string, backslashes never outside one.
        let broken = (marks.controls & strings) | (marks.backslashes & !strings);
        let judged = match end {
            Some(end) if end < BLOCK => (1_u64 << end).wrapping_sub(1),
            Some(_) | None => u64::MAX,
        };
        if broken & judged != 0 {
            return Err(JsonError::Syntax(0));
        }
        self.inside = 0_u64.wrapping_sub(strings >> 63);
        Ok(end)
    }

    /// The bytes that a backslash takes the meaning from.
    #[inline]
    fn escapes(&mut self, backslashes: u64, length: usize) -> u64 {
        if backslashes == 0 {
            return if length == 0 {
                0
            } else {
                std::mem::take(&mut self.escaped)
            };
        }
        // Odd and even runs told apart by one subtraction: simdjson, `json_escape_scanner`.
        const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let potential = backslashes & !self.escaped;
        let code = ((potential << 1) | ODD).wrapping_sub(potential) ^ ODD;
        let escaped = code ^ (backslashes | self.escaped);
        let next = code & backslashes;
        let last = u32::try_from(length).unwrap_or_default().saturating_sub(1);
        self.escaped = (next >> last) & 1;
        escaped
    }

    /// Opens or closes; true if that was the end of the whole container.
    #[inline]
    fn bracket(&mut self, byte: u8, place: usize) -> Result<bool, JsonError> {
        if let Some(noted) = &mut self.noted {
            if noted.len() < NOTED {
                noted.push(self.base.saturating_add(place));
            } else {
                self.noted = None;
            }
        }
        let object = u128::from(byte | 0x06 == b'{' | 0x06 && byte & 0x20 != 0);
        if byte & 0x02 != 0 && byte & 0x04 == 0 {
            if self.open >= self.limit {
                return Err(JsonError::TooDeep);
            }
            self.open = self.open.saturating_add(1);
            self.kinds = (self.kinds << 1) | object;
            return Ok(false);
        }
        if self.open == 0 || self.kinds & 1 != object {
            return Err(JsonError::Syntax(0));
        }
        self.kinds >>= 1;
        self.open = self.open.saturating_sub(1);
        Ok(self.open == 0)
    }
}

/// Looks for the end of any value that comes in pieces.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    shape: Shape,
    seen: usize,
}

#[derive(Debug, Clone)]
enum Shape {
    Container(Balance),
    String { escaped: bool },
    Scalar,
}

impl Ending {
    /// For a value that begins with this byte.
    pub(super) fn of(first: Option<u8>, spare: Vec<usize>) -> Self {
        match first {
            Some(b'{' | b'[') => Self {
                shape: Shape::Container(Balance::noting(spare)),
                seen: 0,
            },
            Some(b'"') => Self {
                shape: Shape::String { escaped: false },
                seen: 1,
            },
            Some(_) | None => Self {
                shape: Shape::Scalar,
                seen: 0,
            },
        }
    }

    /// Where the brackets of a container stand, as [`Balance::into_brackets`] says it.
    pub(super) fn into_brackets(self) -> Option<Vec<usize>> {
        match self.shape {
            Shape::Container(balance) => balance.into_brackets(),
            Shape::String { .. } | Shape::Scalar => None,
        }
    }

    /// The length of the value, once its end is there. `bytes` is all of the value so far.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, JsonError> {
        let fresh = bytes.get(self.seen..).unwrap_or_default();
        let end = match &mut self.shape {
            Shape::Container(balance) => balance.feed(fresh)?,
            Shape::String { escaped } => {
                let quote = fresh.iter().position(|byte| {
                    let closes = *byte == b'"' && !*escaped;
                    *escaped = *byte == b'\\' && !*escaped;
                    closes
                });
                quote.map(|place| place.saturating_add(1))
            }
            Shape::Scalar => fresh
                .iter()
                .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')),
        };
        let end = end.map(|end| self.seen.saturating_add(end));
        self.seen = bytes.len();
        Ok(end)
    }
}

const EACH: u64 = u64::MAX / 255;
const BRACKET: u64 = 2;
const BACKSLASH: u64 = 4;
const CONTROL: u64 = 8;
const RARE: u64 = BACKSLASH | CONTROL;

/// What each byte of a block is, as bits of a byte.
struct Tags {
    words: [u64; 8],
    any: u64,
}

impl Tags {
    #[inline]
    fn of(block: &[u8; BLOCK]) -> Self {
        let mut tags = [0_u8; BLOCK];
        for (tag, byte) in tags.iter_mut().zip(block) {
            // `[` and `{`, `]` and `}` differ in one bit.
            *tag = u8::from(*byte == b'"')
                | (u8::from(matches!(*byte | 0x20, b'{' | b'}')) << 1)
                | (u8::from(*byte == b'\\') << 2)
                | (u8::from(*byte < 0x20) << 3);
        }
        let mut words = [0; 8];
        let (eights, _) = tags.as_chunks::<8>();
        for (word, eight) in words.iter_mut().zip(eights) {
            *word = u64::from_le_bytes(*eight);
        }
        Self {
            words,
            any: words.iter().fold(0, |any, word| any | word),
        }
    }

    /// One if the number of quotes is odd, else zero.
    #[inline]
    fn odd(&self) -> u64 {
        let sum = self.words.iter().fold(0, |sum, word| sum ^ word) & EACH;
        u64::from(sum.count_ones() & 1)
    }

    #[inline]
    fn marks(&self) -> Marks {
        let mut marks = Marks {
            quotes: self.gather(0),
            brackets: self.gather(1),
            ..Marks::default()
        };
        if self.any & (EACH * RARE) != 0 {
            marks.backslashes = self.gather(2);
            marks.controls = self.gather(3);
        }
        marks
    }

    /// One bit for each byte that has this tag. The product moves each of eight bits to its own place in a byte.
    #[inline]
    fn gather(&self, tag: u32) -> u64 {
        self.words.iter().rev().fold(0, |bits, word| {
            let byte = ((word >> tag) & EACH).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            (bits << 8) | byte
        })
    }
}

/// The end of the container that opens at this place, by the places of all brackets; drops those before it.
pub(super) fn closing(text: &[u8], brackets: &mut &[usize], open: usize) -> Option<usize> {
    // Where a value is missing, the bracket that stands there closes the object around it.
    let opens = matches!(text.get(open), Some(b'{' | b'['));
    let start = brackets
        .iter()
        .position(|place| *place >= open)
        .filter(|_| opens)?;
    *brackets = brackets
        .get(start..)
        .filter(|rest| rest.first() == Some(&open))?;
    let mut depth = 0_usize;
    brackets.iter().find_map(|place| {
        match text.get(*place)? {
            b'{' | b'[' => depth = depth.saturating_add(1),
            _ => depth = depth.saturating_sub(1),
        }
        (depth == 0).then(|| place.saturating_add(1))
    })
}

/// Ones from each odd bit up to, and without, the next even one: from opening to closing quote.
#[inline]
fn between(quotes: u64) -> u64 {
    [1, 2, 4, 8, 16, 32]
        .into_iter()
        .fold(quotes, |bits, shift| bits ^ (bits << shift))
}

#[cfg(test)]
mod tests;
