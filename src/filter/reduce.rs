//! Reduce inside a pin. `_sum`, `_count` and `_stats` are made here from rows whose keys have been checked one
//! by one: CouchDB's own groups hold every key that collates alike, so that its sum for `alice` would hold
//! what stands under `ali\u00ADce` too. Other functions are asked with `group=true`, once `exact` has seen that there is
//! no such row.

use crate::filter::exact::State;
use crate::filter::sight::Seen;
use crate::json::{JsonError, Number, Object, Value, members};
use crate::policy::ViewLens;

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
    /// For other functions: the state of the index in which all rows were seen to be inside the pin.
    pub(crate) state: Option<State>,
    /// Whether the page that is being read is of that state.
    pub(crate) confirmed: bool,
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
            Self::Sum | Self::Other => Ok(value),
            Self::Count => Ok(Value::Number(Number::from(1_u64))),
            Self::Stats => stats_of(value),
        }
    }

    fn combine(self, left: &Value, right: &Value) -> Result<Value, JsonError> {
        match self {
            Self::Sum | Self::Count => add(left, right),
            Self::Stats => stats(left, right),
            Self::Other => Err(JsonError::Expected(
                "a reduce function that can be combined",
            )),
        }
    }
}

impl Groups {
    /// A page begins.
    pub(crate) fn begin(&mut self) {
        self.confirmed = false;
    }

    /// Takes a member that stands in front of the rows.
    ///
    /// Security: what CouchDB has added up must be what was looked at.
    /// (`other_functions_are_not_run_over_rows_that_only_collate_like_the_pin`)
    pub(crate) fn member(&mut self, name: &str, value: &[u8]) -> Result<(), JsonError> {
        if name != "update_seq" || self.state.is_none() {
            return Ok(());
        }
        if self.state != Some(State::read(value)?) {
            return Err(JsonError::Expected(
                "the state of the index that was looked at",
            ));
        }
        self.confirmed = true;
        Ok(())
    }

    /// Takes one grouped row; writes the group before it when that one is complete.
    pub(crate) fn row(&mut self, row: &[u8], out: &mut Vec<u8>) -> Result<Seen, JsonError> {
        if self.reducer == Reducer::Other && !self.confirmed {
            return Err(JsonError::Expected("the state of the index"));
        }
        let (mut key, mut value) = (None, None);
        for member in members(row) {
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
            return Ok(Seen::Hidden);
        }
        let value = self.reducer.of_row(value)?;
        let group = self.group_of(key);
        match self.open.take() {
            Some((open, sum)) if open == group => {
                self.open = Some((open, self.reducer.combine(&sum, &value)?));
                Ok(Seen::Hidden)
            }
            Some((open, sum)) => {
                write(&open, &sum, out);
                self.open = Some((group, value));
                Ok(Seen::Shown)
            }
            None => {
                self.open = Some((group, value));
                Ok(Seen::Hidden)
            }
        }
    }

    /// Writes the last group.
    pub(crate) fn last(&mut self, out: &mut Vec<u8>) -> Seen {
        match self.open.take() {
            Some((key, value)) => {
                write(&key, &value, out);
                Seen::Shown
            }
            None => Seen::Hidden,
        }
    }

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

/// CouchDB's `_sum`: numbers add, lists add element by element (the shorter is padded), a number counts as
/// the first element of a list, objects add member by member.
fn add(left: &Value, right: &Value) -> Result<Value, JsonError> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Ok(Value::Number(plus(left, right))),
        (Value::Array(left), Value::Array(right)) => {
            let length = left.len().max(right.len());
            let zero = Value::Number(Number::from(0_u64));
            (0..length)
                .map(|at| {
                    add(
                        left.get(at).unwrap_or(&zero),
                        right.get(at).unwrap_or(&zero),
                    )
                })
                .collect::<Result<_, _>>()
                .map(Value::Array)
        }
        (Value::Array(list), Value::Number(number))
        | (Value::Number(number), Value::Array(list)) => add(
            &Value::Array(list.clone()),
            &Value::Array(vec![Value::Number(number.clone())]),
        ),
        (Value::Object(left), Value::Object(right)) => {
            let mut sum = left.clone();
            for (key, value) in right.iter() {
                let total = match left.get(key) {
                    Some(before) => add(before, value)?,
                    None => value.clone(),
                };
                sum.insert(key, total);
            }
            Ok(Value::Object(sum))
        }
        _ => Err(JsonError::Expected("values that `_sum` can add")),
    }
}

fn plus(left: &Number, right: &Number) -> Number {
    let exact = left
        .as_i64()
        .zip(right.as_i64())
        .and_then(|(left, right)| left.checked_add(right));
    match exact {
        Some(sum) => Number::from(sum),
        None => float(left.as_f64() + right.as_f64()),
    }
}

fn float(number: f64) -> Number {
    Number::parse(&format!("{number:?}")).unwrap_or_else(|| Number::from(0_u64))
}

/// `_stats` of one value: a number, a list of them, or what another `_stats` has made.
fn stats_of(value: Value) -> Result<Value, JsonError> {
    match value {
        Value::Number(number) => {
            let square = match number.as_i64().and_then(|whole| whole.checked_mul(whole)) {
                Some(square) => Number::from(square),
                None => float(number.as_f64() * number.as_f64()),
            };
            let mut stats = Object::new();
            let one = Number::from(1_u64);
            let members = [
                ("sum", number.clone()),
                ("count", one),
                ("min", number.clone()),
                ("max", number),
                ("sumsqr", square),
            ];
            for (name, number) in members {
                stats.insert(name, Value::Number(number));
            }
            Ok(Value::Object(stats))
        }
        Value::Array(list) => list
            .into_iter()
            .map(stats_of)
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(made) => Ok(Value::Object(made)),
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
