//! JSON numbers, which are texts: what a double cannot hold is not lost.
//!
//! Invariant: the text is a number by JSON's grammar.

use std::fmt;

use compact_str::CompactString;

use super::token::Cursor;

/// A number, as the text that was sent; a short one takes no memory of its own. Equal when the decimal value is: `1`, `1.0` and `10e-1` are one number.
#[derive(Debug, Clone)]
pub struct Number(CompactString);

impl Number {
    /// The number that this text is, if it is one by JSON's grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let mut cursor = Cursor::new(text.as_bytes()).ok()?;
        let number = cursor.number().ok()?.into();
        cursor.is_done().then_some(Self(number))
    }

    /// The number of a text that the grammar has taken for one.
    pub(super) fn of(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest double, as JavaScript and CouchDB's collation see it.
    pub fn as_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// The integer, if the text is written as one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The integer, if the text is written as one that is not negative and fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// Does CouchDB keep this number where `other` is written, which is equal? As it is an integer by its spelling, or
    /// a double, they differ where a double can't hold all digits.
    pub(super) fn is_kept_as(&self, other: &Self) -> bool {
        let is_double = |number: &Self| number.0.contains(['.', 'e', 'E']);
        let nearest = self.as_f64();
        self.0 == other.0
            || is_double(self) == is_double(other)
            || (nearest.is_finite() && Self(format!("{nearest:.0}").into()) == *self)
    }

    /// Sign, digits without zeros at either end, power of ten: the same for all spellings of one value.
    fn canonical(&self) -> Option<(bool, String, i64)> {
        let (mantissa, exponent) = self.0.split_once(['e', 'E']).unwrap_or((&self.0, "0"));
        let (negative, mantissa) = mantissa
            .strip_prefix('-')
            .map_or((false, mantissa), |rest| (true, rest));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let short = digits.trim_end_matches('0');
        let dropped = i64::try_from(digits.len().saturating_sub(short.len())).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let short = short.trim_start_matches('0');
        if short.is_empty() {
            return Some((false, String::new(), 0));
        }
        let power = exponent
            .parse::<i64>()
            .ok()?
            .checked_sub(places)?
            .checked_add(dropped)?;
        Some((negative, short.to_owned(), power))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
            || matches!((self.canonical(), other.canonical()), (Some(a), Some(b)) if a == b)
    }
}

impl Eq for Number {}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(number.to_string().into())
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl From<u128> for Number {
    fn from(number: u128) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
