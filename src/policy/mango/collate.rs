//! CouchDB's collation of JSON values, as `couch_ejson_compare` does it.
//!
//! null < false < true < numbers < strings < arrays < objects. Strings by the root collation of ICU; arrays
//! element by element; objects member by member in the order in which they are written, name before value.
//!
//! Invariant: total on all JSON values; equal in collation need not mean equal (`ali\u{AD}ce` and `alice`).

use std::cmp::Ordering;
use std::sync::LazyLock;

use icu_collator::CollatorBorrowed;
use icu_collator::options::CollatorOptions;

use crate::json::Number;
use crate::json::Value;

static ROOT: LazyLock<Option<CollatorBorrowed<'static>>> = LazyLock::new(|| {
    CollatorBorrowed::try_new(Default::default(), CollatorOptions::default()).ok()
});

/// How two strings compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Strings {
    /// By ICU.
    Collated,
    /// Code point by code point: whenever captured text is involved.
    Exact,
}

/// CouchDB's order of two JSON values, as in views and selectors.
pub fn collate(a: &Value, b: &Value) -> Ordering {
    compare(a, b, Strings::Collated)
}

pub(in crate::policy) fn compare(a: &Value, b: &Value, strings: Strings) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => compare_strings(a, b, strings),
        (Value::Array(a), Value::Array(b)) => {
            let unequal = a
                .iter()
                .zip(b)
                .map(|(a, b)| compare(a, b, strings))
                .find(|order| order.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let pairs = a
                .iter()
                .zip(b.iter())
                .map(|((key, value), (other_key, other))| {
                    compare_strings(key, other_key, strings)
                        .then_with(|| compare(value, other, strings))
                });
            let unequal = pairs.into_iter().find(|order| order.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

fn compare_strings(a: &str, b: &str, strings: Strings) -> Ordering {
    match (strings, ROOT.as_ref()) {
        (Strings::Collated, Some(root)) => root.compare(a, b),
        (Strings::Collated, None) | (Strings::Exact, _) => a.cmp(b),
    }
}

/// Integers have any size and compare exactly; what is written with a point or an exponent is a double.
fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (Whole::of(a), Whole::of(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(whole), None) => whole.cmp_double(b.as_f64()),
        (None, Some(whole)) => whole.cmp_double(a.as_f64()).reverse(),
        (None, None) => a
            .as_f64()
            .partial_cmp(&b.as_f64())
            .unwrap_or(Ordering::Equal),
    }
}

/// An integer of any size: sign and digits without leading zeros. Zero is not negative and has no digits.
#[derive(Debug, PartialEq, Eq)]
struct Whole<'n> {
    negative: bool,
    digits: &'n str,
}

impl<'n> Whole<'n> {
    fn of(number: &'n Number) -> Option<Self> {
        Self::parse(number.as_str())
    }

    fn parse(text: &'n str) -> Option<Self> {
        let (negative, digits) = text
            .strip_prefix('-')
            .map_or((false, text), |digits| (true, digits));
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = digits.trim_start_matches('0');
        Some(Self {
            negative: negative && !digits.is_empty(),
            digits,
        })
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.size(other),
            (true, true) => other.size(self),
        }
    }

    fn size(&self, other: &Self) -> Ordering {
        self.digits
            .len()
            .cmp(&other.digits.len())
            .then_with(|| self.digits.cmp(other.digits))
    }

    /// A double is an integer and a fraction: the integers decide, then the fraction.
    fn cmp_double(&self, double: f64) -> Ordering {
        if !double.is_finite() {
            return if double > 0.0 {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        }
        let text = format!("{:.0}", double.trunc());
        let Some(whole) = Whole::parse(&text) else {
            return Ordering::Equal;
        };
        let fraction = double.fract();
        self.cmp(&whole)
            .then_with(|| 0.0_f64.partial_cmp(&fraction).unwrap_or(Ordering::Equal))
    }
}

#[cfg(test)]
mod tests;
