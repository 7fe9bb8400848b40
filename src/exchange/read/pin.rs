//! A view query inside the caller's pin: narrowed before CouchDB runs it, one range for each pinned value, in
//! the order in which CouchDB would answer.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use crate::json::{Object, Value};
use crate::policy::{ViewLens, collate};
use crate::refusal::Refusal;
use crate::route::query::{QueryError, ViewQuery};

/// Why a query outside the pin is refused.
const OUTSIDE: Refusal = Refusal::Forbidden("these keys are not open to you");

/// The queries of CouchDB that together answer a query under a lens.
pub(crate) fn narrow(query: ViewQuery, lens: &ViewLens) -> Result<VecDeque<ViewQuery>, Refusal> {
    let Some(pins) = lens.pins() else {
        return Ok(VecDeque::from([query]));
    };
    if let Some(keys) = &query.keys {
        let keys = json("keys", keys)?;
        let keys = keys
            .as_array()
            .ok_or_else(|| bad("`keys` must be an array"))?;
        if !keys.iter().all(|key| lens.key_is_inside(key)) {
            return Err(OUTSIDE);
        }
        return Ok(VecDeque::from([query]));
    }
    if let Some(key) = &query.key {
        if !lens.key_is_inside(&json("key", key)?) {
            return Err(OUTSIDE);
        }
        return Ok(VecDeque::from([query]));
    }
    let asked = Range::asked(&query)?;
    let mut ranges: Vec<Range> = pins.iter().flat_map(Range::pinned).collect();
    ranges.sort_by(|a, b| bound(&a.low, &b.low));
    ranges.dedup();
    let mut inside: VecDeque<ViewQuery> = ranges
        .iter()
        .filter_map(|range| range.within(&asked, &query))
        .collect();
    if inside.is_empty() && !pins.is_empty() {
        return Err(OUTSIDE);
    }
    if query.descending {
        inside.make_contiguous().reverse();
    }
    Ok(inside)
}

/// A query by keys as queries that name each key once: none of them has rows of one key twice.
pub(crate) fn once_each(query: ViewQuery) -> Vec<ViewQuery> {
    let keys = query
        .keys
        .as_deref()
        .map(|keys| Value::parse(keys.as_bytes()));
    let Some(Ok(Value::Array(keys))) = keys else {
        return vec![query];
    };
    let mut runs: Vec<Vec<Value>> = vec![Vec::new()];
    let mut seen: BTreeSet<Collated> = BTreeSet::new();
    for key in keys {
        if !seen.insert(Collated(key.clone())) {
            seen = BTreeSet::from([Collated(key.clone())]);
            runs.push(Vec::new());
        }
        if let Some(run) = runs.last_mut() {
            run.push(key);
        }
    }
    let part = |run| {
        let mut part = query.clone();
        part.keys = Some(Value::Array(run).to_string());
        part
    };
    runs.into_iter().map(part).collect()
}

/// A key, compared as CouchDB orders keys.
#[derive(Debug)]
struct Collated(Value);

impl Ord for Collated {
    fn cmp(&self, other: &Self) -> Ordering {
        collate(&self.0, &other.0)
    }
}

impl PartialOrd for Collated {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Collated {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Collated {}

/// Is a range of ids the right way round? CouchDB answers another one without rows. Ids stand in the order of their bytes.
pub(crate) fn ids_in_order(query: &ViewQuery) -> Result<bool, Refusal> {
    let Range { low, high } = Range::asked(query)?;
    Ok(match (low, high) {
        (Some(Value::String(low)), Some(Value::String(high))) => low <= high,
        _ => true,
    })
}

/// Keys from `low` to `high` in CouchDB's order; none is open.
#[derive(Debug, Clone, PartialEq)]
struct Range {
    low: Option<Value>,
    high: Option<Value>,
}

impl Range {
    /// What the client asked for, low end first.
    fn asked(query: &ViewQuery) -> Result<Self, Refusal> {
        let start = query
            .startkey
            .as_deref()
            .map(|key| json("startkey", key))
            .transpose()?;
        let end = query
            .endkey
            .as_deref()
            .map(|key| json("endkey", key))
            .transpose()?;
        Ok(match query.descending {
            false => Self {
                low: start,
                high: end,
            },
            true => Self {
                low: end,
                high: start,
            },
        })
    }

    /// The keys that a pinned value stands for: itself, and the arrays that begin with it.
    fn pinned(value: &Value) -> [Self; 2] {
        let mut last = Object::new();
        last.insert("\u{ffff}", Value::Object(Object::new()));
        let first = Value::Array(vec![value.clone()]);
        let beyond = Value::Array(vec![value.clone(), Value::Object(last)]);
        [
            Self {
                low: Some(value.clone()),
                high: Some(value.clone()),
            },
            Self {
                low: Some(first),
                high: Some(beyond),
            },
        ]
    }

    /// The part of this range that the client asked for, as a query.
    fn within(&self, asked: &Self, query: &ViewQuery) -> Option<ViewQuery> {
        let low_is_asked = asked.low.is_some() && bound(&asked.low, &self.low).is_gt();
        let high_is_asked = match (&asked.high, &self.high) {
            (Some(asked), Some(high)) => collate(asked, high).is_lt(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let low = if low_is_asked { &asked.low } else { &self.low };
        let high = if high_is_asked {
            &asked.high
        } else {
            &self.high
        };
        if let (Some(low), Some(high)) = (low, high)
            && collate(low, high).is_gt()
        {
            return None;
        }
        // An end that the client named keeps what they said about it.
        let low_same = low_is_asked || same(&asked.low, &self.low);
        let high_same = high_is_asked || same(&asked.high, &self.high);
        let (start_same, end_same) = if query.descending {
            (high_same, low_same)
        } else {
            (low_same, high_same)
        };
        let (start, end) = if query.descending {
            (high, low)
        } else {
            (low, high)
        };
        let mut part = query.clone();
        part.startkey = start.as_ref().map(ToString::to_string);
        part.endkey = end.as_ref().map(ToString::to_string);
        if !start_same {
            part.startkey_docid = None;
        }
        if !end_same {
            part.endkey_docid = None;
            part.inclusive_end = true;
        }
        Some(part)
    }
}

/// Low ends in CouchDB's order; an open one comes first.
fn bound(a: &Option<Value>, b: &Option<Value>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => collate(a, b),
    }
}

fn same(a: &Option<Value>, b: &Option<Value>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if collate(a, b).is_eq())
}

/// Reads a parameter that is JSON.
pub(crate) fn json(name: &str, text: &str) -> Result<Value, Refusal> {
    Value::parse(text.as_bytes())
        .map_err(|error| bad(&format!("invalid value for `{name}`: {error}")))
}

fn bad(reason: &str) -> Refusal {
    QueryError::Parse(reason.to_owned()).into()
}

#[cfg(test)]
mod tests;
