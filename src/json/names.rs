//! The names of one object, to find the one that comes twice.
//!
//! Invariant: names are told apart after unescaping, and an object of any size costs no more than its length.

use std::borrow::Cow;
use std::collections::HashSet;

use super::JsonError;

/// The names of one object so far; finds the one that comes twice.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    /// A Bloom filter of one hash: a name whose bit is not set is new.
    seen: [u64; WORDS],
    few: Vec<&'a str>,
    /// All names, once there are more of them, or escaped ones.
    many: Option<HashSet<Cow<'a, str>>>,
}

const WORDS: usize = 8;
const FEW: usize = 64;

impl<'a> Names<'a> {
    /// Takes the next name, unless it is there already.
    #[inline]
    pub(super) fn add(&mut self, name: Cow<'a, str>) -> Result<(), JsonError> {
        let Cow::Borrowed(plain) = name else {
            return self.add_to_many(name);
        };
        if self.few.len() >= FEW || self.many.is_some() {
            return self.add_to_many(name);
        }
        let digest = digest(plain.as_bytes());
        let bit = 1_u64 << (digest & 63);
        let Some(word) = self.seen.get_mut((digest >> 6) as usize % WORDS) else {
            return Ok(());
        };
        let fresh = *word & bit == 0;
        *word |= bit;
        if !fresh && self.few.contains(&plain) {
            return Err(JsonError::DuplicateKey(plain.to_owned()));
        }
        if self.few.capacity() == 0 {
            self.few.reserve(FEW / 4);
        }
        self.few.push(plain);
        Ok(())
    }

    #[cold]
    fn add_to_many(&mut self, name: Cow<'a, str>) -> Result<(), JsonError> {
        let many = self
            .many
            .get_or_insert_with(|| self.few.iter().map(|name| Cow::Borrowed(*name)).collect());
        if many.contains(&name) {
            return Err(JsonError::DuplicateKey(name.into_owned()));
        }
        many.insert(name);
        Ok(())
    }
}

/// A cheap hash of length, start and end.
#[inline]
fn digest(name: &[u8]) -> u64 {
    let ends = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
        }
        _ => name
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    };
    let length = u64::try_from(name.len()).unwrap_or_default();
    (ends ^ (length << 56)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48
}
