//! Reduce inside a pin. `_sum`, `_count` and `_stats` are made here from rows whose keys have been checked one
//! by one: CouchDB's own groups hold every key that collates alike, so that its sum for `alice` would hold
//! what stands under `ali\u00ADce` too. Other functions are asked with `group=true`, once `exact` has seen that there is
//! no such row.

use std::mem;
use std::sync::Arc;

use crate::body::boxed;
use crate::exchange::context::Context;
use crate::exchange::read::pin_check;
use crate::exchange::redact::RowOutcome;
use crate::exchange::revisions::RevisionCache;
use crate::exchange::rewrite::Subrequest;
use crate::exchange::rows::filter::{PendingBody, RowFilter};
use crate::json::Row;
use crate::json::{JsonError, Number, Object, Value};
use crate::policy::{ViewLens, collate};
use crate::route::query::ViewQuery;

/// CouchDB's words for what `_sum` can't add.
const NO_SUM: &str = "builtin_reduce_error";
const SUMMANDS: &str = "The _sum function requires that map values be numbers, arrays of numbers, or objects. \
    Objects cannot be mixed with other data structures. Objects can be arbitrarily nested, provided that the values \
    for all fields are themselves numbers, arrays of numbers, or objects.";

/// The reduce functions whose results can be combined without the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reducer {
    /// `_sum`: numbers, lists of numbers, or objects of them.
    Sum,
    /// `_count`
    Count,
    /// `_stats`
    Stats,
    /// Any other: served with `group=true` only, never combined.
    Other,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// One row for all.
    None,
    /// One row for each key.
    Exact,
    /// Array keys by their first elements.
    Level(usize),
}

/// Combines rows that arrive in key order.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) lens: ViewLens,
    pub(crate) reducer: Reducer,
    pub(crate) grouping: Grouping,
    pub(crate) open: Option<(Value, Value)>,
    /// Whether keys are named: each page holds other ones, or the same once more.
    pub(crate) by_keys: bool,
    /// Whether the next row can't belong to the group before it.
    pub(crate) begins_anew: bool,
}

impl Reducer {
    /// Reads the `reduce` member of a view.
    pub(crate) fn named(source: &str) -> Self {
        match source.trim() {
            "_sum" => Self::Sum,
            "_count" => Self::Count,
            "_stats" => Self::Stats,
            _ => Self::Other,
        }
    }

    /// The result for one row of the map function.
    fn of_row(self, value: Value) -> Result<Value, JsonError> {
        match self {
            Self::Sum => Ok(Self::add(&Value::Number(Number::from(0_u64)), value)),
            Self::Other => Ok(value),
            Self::Count => Ok(Value::Number(Number::from(1_u64))),
            Self::Stats => stats_of(value),
        }
    }

    /// The result for a group and one more row.
    fn with_row(self, before: &Value, value: Value) -> Result<Value, JsonError> {
        match self {
            Self::Sum => Ok(Self::add(before, value)),
            Self::Count => Ok(Self::add(before, Value::Number(Number::from(1_u64)))),
            Self::Stats => stats(before, &stats_of(value)?),
            Self::Other => Err(JsonError::Expected(
                "a reduce function that can be combined",
            )),
        }
    }

    /// What can't be added takes the place of the sum, and stays.
    fn add(before: &Value, value: Value) -> Value {
        if is_no_sum(before) {
            return before.clone();
        }
        match is_no_sum(&value) {
            true => value,
            false => sum(before, &value).unwrap_or_else(no_sum),
        }
    }
}

impl RowFilter for Groups {
    fn begin(&mut self) {
        self.begins_anew = self.by_keys;
    }

    /// Takes one grouped row; writes the group before it when that one is complete.
    fn row(
        &mut self,
        row: Row<'_>,
        _known: &mut RevisionCache,
        out: &mut Vec<u8>,
    ) -> Result<RowOutcome, JsonError> {
        let (mut key, mut value) = (None, None);
        for member in row.members() {
            let member = member?;
            match &*member.key {
                "key" => key = Some(Value::parse(member.value)?),
                "value" => value = Some(Value::parse(member.value)?),
                "id" if self.reducer != Reducer::Other => {}
                _ => return Err(JsonError::Expected("a row of a reduced view")),
            }
        }
        let (Some(key), Some(value)) = (key, value) else {
            return Err(JsonError::Expected("a row of a reduced view"));
        };
        if !self.lens.key_is_inside(&key) {
            return Ok(RowOutcome::Hidden);
        }
        let group = self.group_of(key);
        // CouchDB has made its own groups: a key that was named twice comes twice.
        let begins = mem::take(&mut self.begins_anew) || self.reducer == Reducer::Other;
        match self.open.take() {
            Some((open, sum)) if !begins && collate(&open, &group).is_eq() => {
                self.open = Some((open, self.reducer.with_row(&sum, value)?));
                Ok(RowOutcome::Hidden)
            }
            Some((open, sum)) => {
                write(&open, &sum, out);
                self.open = Some((group, self.reducer.of_row(value)?));
                Ok(RowOutcome::Shown)
            }
            None => {
                self.open = Some((group, self.reducer.of_row(value)?));
                Ok(RowOutcome::Hidden)
            }
        }
    }

    /// Writes the last group.
    fn last(&mut self, out: &mut Vec<u8>) -> RowOutcome {
        match self.open.take() {
            Some((key, value)) => {
                write(&key, &value, out);
                RowOutcome::Shown
            }
            None => RowOutcome::Hidden,
        }
    }

    fn adds_up(&self) -> bool {
        true
    }

    /// Sums of CouchDB's, once their rows have been looked at.
    fn ask(
        &self,
        context: &Arc<Context>,
        part: Subrequest,
        range: Option<&ViewQuery>,
    ) -> PendingBody {
        let context = Arc::clone(context);
        match range.filter(|_| self.reducer == Reducer::Other) {
            Some(range) => {
                let (lens, range) = (self.lens.clone(), range.clone());
                Box::pin(async move { pin_check::groups(&context, &lens, &range).await })
            }
            None => Box::pin(async move { context.first(part).await.map(boxed) }),
        }
    }

    fn is_of_two_moments(&self) -> bool {
        false
    }
}

impl Groups {
    fn group_of(&self, key: Value) -> Value {
        match (self.grouping, key) {
            (Grouping::None, _) => Value::Null,
            (Grouping::Level(level), Value::Array(mut parts)) => {
                parts.truncate(level);
                Value::Array(parts)
            }
            (Grouping::Exact | Grouping::Level(_), key) => key,
        }
    }
}

fn write(key: &Value, value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"key\":");
    key.write(out);
    out.extend_from_slice(b",\"value\":");
    value.write(out);
    out.push(b'}');
}

/// CouchDB's `_sum`, which adds a value to what there is (`couch_query_servers:sum_values`): numbers add, lists add
/// element by element, objects member by member.
///
/// # Errors
///
/// What it can't add.
fn sum(before: &Value, value: &Value) -> Result<Value, Value> {
    match (value, before) {
        (Value::Number(value), Value::Number(before)) => Ok(Value::Number(plus(before, value))),
        (Value::Array(value), Value::Array(before)) => sum_lists(before, value),
        (Value::Number(_), Value::Array(before)) => sum_lists(before, std::slice::from_ref(value)),
        (Value::Array(value), Value::Number(_)) => sum_lists(std::slice::from_ref(before), value),
        (Value::Object(_), Value::Number(before)) if before.as_i64() == Some(0) => {
            Ok(value.clone())
        }
        (Value::Object(value), Value::Object(before)) => {
            let mut both = before.clone();
            for (name, value) in value.iter() {
                let total = match before.get(name) {
                    Some(before) => sum(before, value)?,
                    None => value.clone(),
                };
                both.insert(name, total);
            }
            Ok(Value::Object(both))
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => Err(value.clone()),
    }
}

/// The longer list goes on where the shorter one has ended, whatever it holds.
fn sum_lists(before: &[Value], value: &[Value]) -> Result<Value, Value> {
    let mut sums = Vec::with_capacity(before.len().max(value.len()));
    for (at, (left, right)) in before.iter().zip(value).enumerate() {
        let (Value::Number(left), Value::Number(right)) = (left, right) else {
            return Err(Value::Array(before.iter().skip(at).cloned().collect()));
        };
        sums.push(Value::Number(plus(left, right)));
    }
    let (before, value) = (
        before.iter().skip(sums.len()),
        value.iter().skip(sums.len()),
    );
    let rest: Vec<Value> = before.chain(value).cloned().collect();
    sums.extend(rest);
    Ok(Value::Array(sums))
}

/// What CouchDB puts in the place of a sum that can't be made.
fn no_sum(cause: Value) -> Value {
    let mut error = Object::new();
    error.insert("error", NO_SUM);
    error.insert("reason", SUMMANDS);
    error.insert("caused_by", cause);
    Value::Object(error)
}

fn is_no_sum(value: &Value) -> bool {
    value.get("error").and_then(Value::as_str) == Some(NO_SUM)
}

/// Whole numbers are added exactly, as in Erlang.
fn plus(left: &Number, right: &Number) -> Number {
    let exact = whole(left)
        .zip(whole(right))
        .and_then(|(left, right)| left.checked_add(right))
        .and_then(|sum| Number::parse(&sum.to_string()));
    exact.unwrap_or_else(|| float(left.as_f64() + right.as_f64()))
}

fn whole(number: &Number) -> Option<i128> {
    number.as_str().parse().ok()
}

fn float(number: f64) -> Number {
    Number::parse(&format!("{number:?}")).unwrap_or_else(|| Number::from(0_u64))
}

/// What `_stats` gives. Members beside them are not CouchDB's.
const STATS: [&str; 5] = ["sum", "count", "min", "max", "sumsqr"];

/// `_stats` of one value: a number, a list of them, or what another `_stats` has made.
fn stats_of(value: Value) -> Result<Value, JsonError> {
    match value {
        Value::Number(number) => {
            let square = whole(&number)
                .and_then(|whole| whole.checked_mul(whole))
                .and_then(|square| Number::parse(&square.to_string()))
                .unwrap_or_else(|| float(number.as_f64() * number.as_f64()));
            let mut stats = Object::new();
            let one = Number::from(1_u64);
            let numbers = [number.clone(), one, number.clone(), number, square];
            for (name, number) in STATS.into_iter().zip(numbers) {
                stats.insert(name, Value::Number(number));
            }
            Ok(Value::Object(stats))
        }
        Value::Array(list) => list
            .into_iter()
            .map(stats_of)
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(made) => {
            let mut stats = Object::new();
            for name in STATS {
                let number = made.get(name).filter(|value| value.as_number().is_some());
                let number = number.ok_or(JsonError::Expected("a result of `_stats`"))?;
                stats.insert(name, number.clone());
            }
            Ok(Value::Object(stats))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {
            Err(JsonError::Expected("a value that `_stats` can take"))
        }
    }
}

/// `_stats` of two groups: an object, or a list of objects.
fn stats(left: &Value, right: &Value) -> Result<Value, JsonError> {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .map(|(left, right)| stats(left, right))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        (Value::Object(left), Value::Object(right)) => {
            let mut both = Object::new();
            for (key, value) in left.iter() {
                let (Value::Number(a), Some(Value::Number(b))) = (value, right.get(key)) else {
                    return Err(JsonError::Expected("a result of `_stats`"));
                };
                let combined = match key {
                    "min" if b.as_f64() < a.as_f64() => b.clone(),
                    "max" if b.as_f64() > a.as_f64() => b.clone(),
                    "min" | "max" => a.clone(),
                    _ => plus(a, b),
                };
                both.insert(key, Value::Number(combined));
            }
            Ok(Value::Object(both))
        }
        _ => Err(JsonError::Expected("a result of `_stats`")),
    }
}

#[cfg(test)]
mod tests;
