//! Evaluates a selector, clause by clause as `mango_selector:match` does.
//!
//! Invariant: what can't be evaluated is `Unknown`, and stays so through any negation.

use crate::json::{Number, Value};

use crate::policy::mango::collate::{self, Strings};
use crate::policy::mango::condition::{Comparison, Node, Test};
use crate::policy::mango::constant::Constant;
use crate::policy::mango::normal::integer;
use crate::policy::pattern::Template;
use crate::policy::pattern::binding::{Binding, Truth};
use crate::policy::pattern::pattern_match::Ways;

/// What is matched.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) enum Target<'a> {
    /// A JSON value, such as a whole document.
    Value(&'a Value),
    /// A document of which the id alone is known.
    Id(&'a Value),
    /// A row of a view; what is not known is `None`.
    Row {
        id: Option<&'a Value>,
        key: &'a Value,
        value: &'a Value,
        doc: Option<&'a Value>,
    },
}

/// What a path leads to.
enum Found<'a> {
    Value(&'a Value),
    Absent,
    /// Through something that has no fields, or past the end of an array.
    BadPath,
    Unknown,
}

impl Node {
    pub(in crate::policy) fn truth(&self, target: Target<'_>, binding: &Binding) -> Truth {
        match self {
            Self::Everything => Truth::Yes,
            Self::And(nodes) => Truth::all(nodes.iter().map(|node| node.truth(target, binding))),
            Self::Or(nodes) if nodes.is_empty() => Truth::Yes,
            Self::Or(nodes) => Truth::any(nodes.iter().map(|node| node.truth(target, binding))),
            Self::Not(node) => !node.truth(target, binding),
            Self::Field(path, condition) => match target.field(path) {
                Found::Value(value) => condition.truth(Target::Value(value), binding),
                Found::Absent => matches!(**condition, Self::Test(Test::Exists(false))).into(),
                Found::BadPath => Truth::No,
                Found::Unknown => Truth::Unknown,
            },
            Self::Test(test) => match target {
                Target::Value(value) => test.truth(value, binding),
                Target::Id(_) | Target::Row { .. } => Truth::Unknown,
            },
        }
    }
}

impl<'a> Target<'a> {
    fn field(self, path: &[String]) -> Found<'a> {
        let Some((first, rest)) = path.split_first() else {
            return match self {
                Self::Value(value) => Found::Value(value),
                Self::Id(_) | Self::Row { .. } => Found::Unknown,
            };
        };
        match self {
            Self::Value(value) => follow(value, path),
            Self::Id(id) if first == "_id" => follow(id, rest),
            Self::Id(_) => Found::Unknown,
            Self::Row {
                id,
                key,
                value,
                doc,
            } => {
                let known = match first.as_str() {
                    "id" => id,
                    "key" => Some(key),
                    "value" => Some(value),
                    "doc" => doc,
                    _ => return Found::Absent,
                };
                known.map_or(Found::Unknown, |value| follow(value, rest))
            }
        }
    }
}

/// `mango_doc:get_field`.
fn follow<'a>(value: &'a Value, path: &[String]) -> Found<'a> {
    let mut value = value;
    for name in path {
        value = match value {
            Value::Object(object) => match object.get(name) {
                Some(below) => below,
                None => return Found::Absent,
            },
            Value::Array(elements) => match index(name).and_then(|index| elements.get(index)) {
                Some(below) => below,
                None => return Found::BadPath,
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Found::BadPath;
            }
        };
    }
    Found::Value(value)
}

/// `binary_to_integer` takes a sign and leading zeros.
fn index(name: &str) -> Option<usize> {
    let digits = name.strip_prefix(['+', '-']).unwrap_or(name);
    let digits = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then_some(digits)?;
    let index: usize = digits.parse().ok()?;
    (index == 0 || !name.starts_with('-')).then_some(index)
}

impl Test {
    fn truth(&self, value: &Value, binding: &Binding) -> Truth {
        match self {
            Self::Compare(comparison, constant) => {
                compare(value, constant, binding, |order| comparison.holds(order))
            }
            Self::In(constants) => is_in(value, constants, binding),
            Self::NotIn(constants) => !is_in(value, constants, binding),
            Self::All(constants) => all(value, constants, binding),
            Self::Exists(should) => (*should).into(),
            Self::Type(kind) => (kind == kind_of(value)).into(),
            Self::Mod(divisor, remainder) => integer(value)
                .and_then(|number| number.checked_rem(*divisor))
                .is_some_and(|rest| rest == *remainder)
                .into(),
            Self::Size(size) => value
                .as_array()
                .is_some_and(|elements| u64::try_from(elements.len()).is_ok_and(|len| len == *size))
                .into(),
            Self::BeginsWith(prefix) => match (value, prefix.value(binding)) {
                (_, None) => Truth::Unknown,
                (Value::String(text), Some(prefix)) => prefix
                    .as_str()
                    .is_some_and(|prefix| text.starts_with(prefix))
                    .into(),
                (_, Some(_)) => Truth::No,
            },
            Self::Regex(regex) => value.as_str().map_or(Truth::No, |text| match regex {
                Some(regex) => regex.is_match(text.as_bytes()).into(),
                None => Truth::Unknown,
            }),
            Self::Pattern(patterns) => value.as_str().map_or(Truth::No, |text| {
                Truth::any(
                    patterns
                        .iter()
                        .map(|pattern| one_way(pattern, text, binding)),
                )
            }),
            Self::ElemMatch(node) => value.as_array().map_or(Truth::No, |elements| {
                Truth::any(
                    elements
                        .iter()
                        .map(|one| node.truth(Target::Value(one), binding)),
                )
            }),
            Self::AllMatch(node) => match value.as_array() {
                Some(all) if !all.is_empty() => Truth::all(
                    all.iter()
                        .map(|one| node.truth(Target::Value(one), binding)),
                ),
                Some(_) | None => Truth::No,
            },
            Self::KeyMapMatch(node) => value.as_object().map_or(Truth::No, |object| {
                let names = object.iter().map(|(key, _)| Value::String(key.to_owned()));
                Truth::any(names.map(|name| node.truth(Target::Value(&name), binding)))
            }),
        }
    }
}

fn one_way(pattern: &Template, text: &str, binding: &Binding) -> Truth {
    match pattern.matches(text, binding) {
        Some(Ways::One(_)) => Truth::Yes,
        Some(Ways::None) => Truth::No,
        Some(Ways::Many) | None => Truth::Unknown,
    }
}

impl Comparison {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Gte => order.is_ge(),
            Self::Gt => order.is_gt(),
        }
    }
}

fn compare(
    value: &Value,
    constant: &Constant,
    binding: &Binding,
    holds: impl Fn(std::cmp::Ordering) -> bool,
) -> Truth {
    match constant.value(binding) {
        Some(wanted) => holds(collate::compare(value, &wanted, constant.strings())).into(),
        None => Truth::Unknown,
    }
}

/// Of an array one element is enough.
fn is_in(value: &Value, constants: &[Constant], binding: &Binding) -> Truth {
    let equals = |value: &Value| {
        Truth::any(
            constants
                .iter()
                .map(|constant| compare(value, constant, binding, std::cmp::Ordering::is_eq)),
        )
    };
    match value.as_array() {
        Some(elements) => Truth::any(elements.iter().map(equals)),
        None => equals(value),
    }
}

/// Every argument is an element; or the only argument is the array itself.
fn all(value: &Value, constants: &[Constant], binding: &Binding) -> Truth {
    let (Value::Array(elements), false) = (value, constants.is_empty()) else {
        return Truth::No;
    };
    let same = |value: &Value, constant: &Constant| match constant.value(binding) {
        Some(wanted) => {
            let equal = collate::compare(value, &wanted, Strings::Exact).is_eq();
            (equal && alike(value, &wanted)).into()
        }
        None => Truth::Unknown,
    };
    let each = Truth::all(
        constants
            .iter()
            .map(|constant| Truth::any(elements.iter().map(|element| same(element, constant)))),
    );
    let whole = match constants {
        [only]
            if only
                .value(binding)
                .is_some_and(|wanted| wanted.as_array().is_some()) =>
        {
            same(value, only)
        }
        _ => Truth::No,
    };
    each.max(whole)
}

/// `$all` compares Erlang's terms, to which `1` and `1.0` are two.
fn alike(a: &Value, b: &Value) -> bool {
    let is_float = |number: &Number| number.as_str().contains(['.', 'e', 'E']);
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => is_float(a) == is_float(b),
        (Value::Array(a), Value::Array(b)) => a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => a
            .iter()
            .all(|(name, a)| b.get(name).is_none_or(|b| alike(a, b))),
        _ => true,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
