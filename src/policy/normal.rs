//! Selectors from JSON to CouchDB's normal form: `mango_selector:normalize`.
//!
//! Invariant: fields stand directly above operators; a negation that could be pushed to a leaf has been, but
//! not inside elements, where CouchDB leaves them.

use crate::json::Object;
use crate::json::Value;

use super::constant::Constant;
use super::negation::{Raw, plain, settle};
use super::pattern::{Names, Reading, Template};
use super::selector::{Comparison, Node, SelectorError, Test};

/// How far an operator may nest.
const MAX_DEPTH: usize = 64;

/// How the selector is read.
pub(super) struct Reader<'n> {
    /// The variables of a policy rule; `None` for clients, whose text is plain.
    pub(super) names: Option<&'n mut Names>,
    /// Are regular expressions compiled?
    pub(super) compile: bool,
}

/// Where in the selector the reader is.
#[derive(Clone)]
struct Place {
    path: Vec<String>,
    inside: bool,
    depth: usize,
}

impl Reader<'_> {
    /// A whole selector.
    pub(super) fn normal(&mut self, value: &Value) -> Result<Node, SelectorError> {
        Ok(settle(self.read(
            value,
            Place {
                path: Vec::new(),
                inside: false,
                depth: 0,
            },
        )?))
    }

    /// `norm_ops` and `norm_fields` in one walk.
    fn read(&mut self, value: &Value, place: Place) -> Result<Raw, SelectorError> {
        if place.depth > MAX_DEPTH {
            return Err(SelectorError::BadArgument("nesting".to_owned()));
        }
        let members: Vec<(&str, &Value)> = value
            .as_object()
            .map(|o| o.iter().collect())
            .unwrap_or_default();
        match members.as_slice() {
            [] => Ok(at(
                place,
                Test::Compare(Comparison::Eq, self.constant(value)?),
                "$eq",
            )?),
            [(name, argument)] if name.starts_with('$') => self.operator(name, argument, place),
            [(name, argument)] => {
                let mut place = place.below();
                place.path.extend(field(name)?);
                if self
                    .names
                    .as_mut()
                    .is_some_and(|names| has_variable(name, names))
                {
                    return Err(SelectorError::Capture((*name).to_owned()));
                }
                self.read(argument, place)
            }
            several => {
                let parts = several.iter().map(|(name, argument)| {
                    let mut one = Object::new();
                    one.insert(*name, (*argument).clone());
                    self.read(&Value::Object(one), place.clone().below())
                });
                parts.collect::<Result<_, _>>().map(Raw::And)
            }
        }
    }

    fn operator(
        &mut self,
        name: &str,
        argument: &Value,
        place: Place,
    ) -> Result<Raw, SelectorError> {
        let bad = || SelectorError::BadArgument(name.to_owned());
        match name {
            "$and" => self
                .each(argument.as_array().ok_or_else(bad)?, &place)
                .map(Raw::And),
            "$or" => self
                .each(argument.as_array().ok_or_else(bad)?, &place)
                .map(Raw::Or),
            // CouchDB's matcher knows no `$nor` below an element: it never settles negations there.
            "$nor" if place.inside => Err(SelectorError::InvalidOperator(name.to_owned())),
            "$nor" => self
                .each(argument.as_array().ok_or_else(bad)?, &place)
                .map(Raw::Nor),
            "$not" => {
                argument.as_object().ok_or_else(bad)?;
                Ok(Raw::Not(Box::new(self.read(argument, place.below())?)))
            }
            "$elemMatch" | "$allMatch" | "$keyMapMatch" => {
                argument.as_object().ok_or_else(bad)?;
                let inner = Place {
                    path: Vec::new(),
                    inside: true,
                    depth: place.depth + 1,
                };
                let inner = Box::new(plain(self.read(argument, inner)?));
                let test = match name {
                    "$elemMatch" => Test::ElemMatch(inner),
                    "$allMatch" => Test::AllMatch(inner),
                    _ => Test::KeyMapMatch(inner),
                };
                at(place, test, name)
            }
            _ => {
                let test = self.test(name, argument)?;
                at(place, test, name)
            }
        }
    }

    fn each(&mut self, arguments: &[Value], place: &Place) -> Result<Vec<Raw>, SelectorError> {
        arguments
            .iter()
            .map(|argument| self.read(argument, place.clone().below()))
            .collect()
    }

    fn test(&mut self, name: &str, argument: &Value) -> Result<Test, SelectorError> {
        let bad = || SelectorError::BadArgument(name.to_owned());
        let comparison = match name {
            "$lt" => Some(Comparison::Lt),
            "$lte" => Some(Comparison::Lte),
            "$eq" => Some(Comparison::Eq),
            "$ne" => Some(Comparison::Ne),
            "$gte" => Some(Comparison::Gte),
            "$gt" => Some(Comparison::Gt),
            _ => None,
        };
        if let Some(comparison) = comparison {
            return Ok(Test::Compare(comparison, self.constant(argument)?));
        }
        match name {
            "$in" => self
                .constants(argument.as_array().ok_or_else(bad)?)
                .map(Test::In),
            "$nin" => self
                .constants(argument.as_array().ok_or_else(bad)?)
                .map(Test::NotIn),
            "$all" => self
                .constants(argument.as_array().ok_or_else(bad)?)
                .map(Test::All),
            "$exists" => argument.as_bool().map(Test::Exists).ok_or_else(bad),
            "$type" => argument
                .as_str()
                .map(|kind| Test::Type(kind.to_owned()))
                .ok_or_else(bad),
            "$mod" => match argument.as_array() {
                Some([divisor, remainder]) => match (integer(divisor), integer(remainder)) {
                    (Some(divisor), Some(remainder)) if divisor != 0 => {
                        Ok(Test::Mod(divisor, remainder))
                    }
                    _ => Err(bad()),
                },
                _ => Err(bad()),
            },
            "$size" => argument
                .as_number()
                .and_then(|n| n.as_u64())
                .map(Test::Size)
                .ok_or_else(bad),
            "$beginsWith" => {
                argument.as_str().ok_or_else(bad)?;
                self.constant(argument).map(Test::BeginsWith)
            }
            "$regex" => self.regex(argument.as_str().ok_or_else(bad)?),
            "$pattern" if self.names.is_some() => self.pattern(argument),
            _ => Err(SelectorError::InvalidOperator(name.to_owned())),
        }
    }

    fn constant(&mut self, value: &Value) -> Result<Constant, SelectorError> {
        match &mut self.names {
            Some(names) => Ok(Constant::rule(value, names)?),
            None => Ok(Constant::plain(value)),
        }
    }

    fn constants(&mut self, values: &[Value]) -> Result<Vec<Constant>, SelectorError> {
        values.iter().map(|value| self.constant(value)).collect()
    }

    /// PCRE as CouchDB runs it reads bytes, not characters.
    fn regex(&mut self, text: &str) -> Result<Test, SelectorError> {
        if self
            .names
            .as_mut()
            .is_some_and(|names| has_variable(text, names))
        {
            return Err(SelectorError::Capture("$regex".to_owned()));
        }
        if !self.compile {
            return Ok(Test::Regex(None));
        }
        let regex = regex::bytes::RegexBuilder::new(text)
            .unicode(false)
            .size_limit(1 << 20)
            .build();
        let regex = regex.map_err(|_| SelectorError::Regex(text.to_owned()))?;
        Ok(Test::Regex(Some(Box::new(regex))))
    }

    fn pattern(&mut self, argument: &Value) -> Result<Test, SelectorError> {
        let bad = || SelectorError::BadArgument("$pattern".to_owned());
        let texts = argument
            .as_array()
            .unwrap_or(std::slice::from_ref(argument));
        let Some(names) = self.names.as_deref_mut() else {
            return Err(bad());
        };
        let patterns = texts.iter().map(|text| {
            let text = text.as_str().ok_or_else(bad)?;
            Ok(Template::parse(text, Reading::Pattern, names)?.filled(text)?)
        });
        patterns
            .collect::<Result<Vec<_>, SelectorError>>()
            .map(Test::Pattern)
    }
}

impl Place {
    fn below(mut self) -> Self {
        self.depth += 1;
        self
    }
}

/// Puts a test where the path leads. Without a path only elements can be tested.
fn at(place: Place, test: Test, name: &str) -> Result<Raw, SelectorError> {
    match (place.path.is_empty(), place.inside) {
        (true, true) => Ok(Raw::Test(test)),
        (true, false) => Err(SelectorError::MissingField(name.to_owned())),
        (false, _) => Ok(Raw::Field(place.path, test)),
    }
}

/// The steps of a field as Mango names it, in selectors, `sort` and `fields` alike
/// (`mango_util:parse_field`): dots part, `\.` does not; every backslash is dropped.
///
/// # Errors
///
/// A name with an empty step.
pub fn field(text: &str) -> Result<Vec<String>, SelectorError> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for letter in text.chars() {
        match (letter, parts.last_mut()) {
            ('.', _) if !escaped => parts.push(String::new()),
            (letter, Some(part)) if letter != '\\' => part.push(letter),
            _ => (),
        }
        escaped = letter == '\\';
    }
    if parts.iter().any(String::is_empty) {
        return Err(SelectorError::InvalidField(text.to_owned()));
    }
    Ok(parts)
}

/// An integer as Erlang sees one: written without point and exponent.
pub(super) fn integer(value: &Value) -> Option<i128> {
    value.as_number()?.as_str().parse().ok()
}

fn has_variable(text: &str, names: &Names) -> bool {
    let mut names = names.clone();
    let template = Template::parse(text, Reading::Constant, &mut names);
    template.is_ok_and(|template| template.variables().next().is_some())
}
