//! Selectors from JSON to CouchDB's normal form: `mango_selector:normalize`.
//!
//! Invariant: fields stand directly above operators; a negation that could be pushed to a leaf has been, but
//! not inside elements, where CouchDB leaves them. Of a client's selector nothing is kept but the paths that it names,
//! and these take no more than [`MOST`], whatever was sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::json::{Object, Value};

use crate::policy::mango::condition::{Comparison, Node, Path, SelectorError, Test};
use crate::policy::mango::constant::Constant;
use crate::policy::mango::negation::{Raw, plain, settle};
use crate::policy::pattern::{Names, Reading, Template};

/// How far an operator may nest.
const MAX_DEPTH: usize = 64;
/// What the paths of a client's selector may take in all, in bytes: a path is told anew for each test below it, so
/// that they can take as much as the square of what was sent.
const MOST: usize = 8 * 1024 * 1024;
/// What a step of a path takes beside its name.
const STEP: usize = 32;

/// How the selector is read.
pub(in crate::policy) struct Reader<'n> {
    /// The variables of a policy rule; `None` where text is plain.
    pub(in crate::policy) names: Option<&'n mut Names>,
    /// Of a client's selector, the paths that it names; nothing else is kept of it.
    pub(in crate::policy) named: Option<Named>,
}

/// What a client's selector names.
#[derive(Default)]
pub(in crate::policy) struct Named {
    pub(in crate::policy) paths: BTreeSet<Path>,
    /// Those of them that it asks to be absent.
    pub(in crate::policy) absent: BTreeSet<Path>,
    /// What was made of it so far, in bytes.
    made: usize,
}

/// Where in the selector the reader is.
#[derive(Clone)]
struct Place {
    path: Path,
    inside: bool,
    /// Under an odd number of negations.
    negated: bool,
    depth: usize,
}

impl Reader<'_> {
    /// A whole selector.
    pub(in crate::policy) fn normal(&mut self, value: &Value) -> Result<Node, SelectorError> {
        let whole = Place {
            path: Path::default(),
            inside: false,
            negated: false,
            depth: 0,
        };
        let root = settle(self.read(value, whole)?);
        match Root::of(value) {
            Root::Whole => Err(SelectorError::MissingField("a condition".to_owned())),
            Root::Nothing | Root::Other => Ok(root),
        }
    }

    /// `norm_ops` and `norm_fields` in one walk.
    fn read(&mut self, value: &Value, place: Place) -> Result<Raw, SelectorError> {
        let members = value.as_object().map(|object| object.iter());
        match members {
            Some(mut members) if members.len() == 1 => match members.next() {
                Some((name, argument)) => self.member(name, argument, place),
                None => self.equal(value, place),
            },
            Some(members) if members.len() > 1 => {
                let place = place.below()?;
                self.all(members, |reader, (name, argument)| {
                    reader.member(name, argument, place.clone())
                })
                .map(Raw::And)
            }
            Some(_) | None => self.equal(value, place),
        }
    }

    fn equal(&mut self, value: &Value, place: Place) -> Result<Raw, SelectorError> {
        let empty = value.as_object().is_some_and(Object::is_empty);
        if self.named.is_some() && place.path.is_empty() && !place.inside && empty {
            // Whatever a document holds, it is not empty: this tells nothing of it.
            return Ok(Raw::And(Vec::new()));
        }
        let test = Test::Compare(Comparison::Eq, self.constant(value)?);
        self.put(place, test, "$eq")
    }

    fn member(&mut self, name: &str, argument: &Value, place: Place) -> Result<Raw, SelectorError> {
        if name.starts_with('$') {
            return self.operator(name, argument, place);
        }
        let below = field(name)?;
        if self
            .names
            .as_mut()
            .is_some_and(|names| has_variable(name, names))
        {
            return Err(SelectorError::Capture(name.to_owned()));
        }
        if let Some(named) = &mut self.named {
            let path = place.path.iter().chain(&below);
            named.make(path.map(|step| step.len().saturating_add(STEP)).sum())?;
        }
        let mut place = place.below()?;
        place.path = place.path.iter().cloned().chain(below).collect();
        self.read(argument, place)
    }

    /// Each part of several. Security: of a client's selector nothing is collected.
    /// (`a_selector_takes_no_more_than_its_paths`)
    fn all<'v, T>(
        &mut self,
        parts: impl Iterator<Item = T>,
        mut read: impl FnMut(&mut Self, T) -> Result<Raw, SelectorError>,
    ) -> Result<Vec<Raw>, SelectorError>
    where
        T: 'v,
    {
        let mut all = Vec::new();
        for part in parts {
            let raw = read(self, part)?;
            if self.named.is_none() {
                all.push(raw);
            }
        }
        Ok(all)
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
                .each(argument.as_array().ok_or_else(bad)?, &place.negated())
                .map(Raw::Nor),
            "$not" => {
                argument.as_object().ok_or_else(bad)?;
                let below = place.negated().below()?;
                Ok(Raw::Not(Box::new(self.read(argument, below)?)))
            }
            "$elemMatch" | "$allMatch" | "$keyMapMatch" => {
                argument.as_object().ok_or_else(bad)?;
                let inner = Place {
                    path: Path::default(),
                    inside: true,
                    ..place.clone().below()?
                };
                let inner = Box::new(plain(self.read(argument, inner)?));
                let test = match name {
                    "$elemMatch" => Test::ElemMatch(inner),
                    "$allMatch" => Test::AllMatch(inner),
                    _ => Test::KeyMapMatch(inner),
                };
                self.put(place, test, name)
            }
            _ => {
                let test = self.test(name, argument)?;
                self.put(place, test, name)
            }
        }
    }

    fn each(&mut self, arguments: &[Value], place: &Place) -> Result<Vec<Raw>, SelectorError> {
        let place = place.clone().below()?;
        self.all(arguments.iter(), |reader, argument| {
            reader.read(argument, place.clone())
        })
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
        match (&mut self.names, &self.named) {
            (Some(names), _) => Ok(Constant::rule(value, names)?),
            // No document is compared with it here.
            (None, Some(_)) => Ok(Constant::plain(&Value::Null)),
            (None, None) => Ok(Constant::plain(value)),
        }
    }

    fn constants(&mut self, values: &[Value]) -> Result<Vec<Constant>, SelectorError> {
        if self.named.is_some() {
            return Ok(Vec::new());
        }
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
        if self.named.is_some() {
            return Ok(Test::Regex(None));
        }
        let regex = regex::bytes::RegexBuilder::new(text)
            .unicode(false)
            .size_limit(1 << 20)
            .build();
        let regex = regex.map_err(|_| SelectorError::Regex(text.to_owned()))?;
        Ok(Test::Regex(Some(Box::new(regex))))
    }

    /// Puts a test where the path leads. Without a path it is about an element, or about the whole document, which no
    /// rule means.
    ///
    /// Security: what is compared with the whole document tells of every field.
    /// (`a_condition_on_the_whole_document_names_it`)
    fn put(&mut self, place: Place, test: Test, name: &str) -> Result<Raw, SelectorError> {
        match (place.path.is_empty(), place.inside, &mut self.named) {
            (true, false, _) if self.names.is_some() => {
                Err(SelectorError::MissingField(name.to_owned()))
            }
            (true, true, None) => Ok(Raw::Test(test)),
            (false, _, None) | (true, false, None) => Ok(Raw::Field(place.path, test)),
            (_, false, Some(named)) => {
                if matches!(test, Test::Exists(exists) if exists == place.negated) {
                    named.absent.insert(Arc::clone(&place.path));
                }
                named.paths.insert(place.path);
                Ok(Raw::And(Vec::new()))
            }
            // What stands inside is named by the field that it applies to.
            (_, true, Some(_)) => Ok(Raw::And(Vec::new())),
        }
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

/// What a selector is at its top, in CouchDB's normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// `$and` or `$or` of nothing.
    Nothing,
    /// A test of no field: CouchDB takes none at the top, and below compares whole documents.
    Whole,
    Other,
}

impl Root {
    /// Of a selector that has been read, so that its depth is known.
    fn of(value: &Value) -> Self {
        let mut members = value.as_object().map(Object::iter).into_iter().flatten();
        match (members.next(), members.next()) {
            (Some(("$and" | "$or" | "$nor", parts)), None) => match parts.as_array() {
                Some([]) => Self::Nothing,
                Some(_) | None => Self::Other,
            },
            (Some(("$not", part)), None) => Self::of(part),
            (Some((name, part)), None) if !name.starts_with('$') => match Self::of(part) {
                Self::Nothing => Self::Nothing,
                Self::Whole | Self::Other => Self::Other,
            },
            (Some(_), None) | (None, _) => Self::Whole,
            (Some(_), Some(_)) => Self::Other,
        }
    }
}

/// Is there a combination of nothing in a selector that has been read? Above elements it lets CouchDB take any index there
/// is, and find what stands in that.
pub fn holds_empty_combination(selector: &Value) -> bool {
    let mut members = selector.as_object().map(Object::iter).into_iter().flatten();
    members.any(|(name, value)| match (name, value) {
        ("$and" | "$or" | "$nor", Value::Array(parts)) => {
            parts.is_empty() || parts.iter().any(holds_empty_combination)
        }
        (name, value) => {
            (name == "$not" || !name.starts_with('$')) && holds_empty_combination(value)
        }
    })
}

/// Does a selector combine nothing? `_find` selects nothing by that, though every document matches it.
pub fn combines_nothing(selector: &Value) -> bool {
    let empty = selector.as_object().is_some_and(Object::is_empty);
    !empty && Root::of(selector) == Root::Nothing
}

impl Named {
    fn make(&mut self, bytes: usize) -> Result<(), SelectorError> {
        self.made = self.made.saturating_add(bytes);
        match self.made > MOST {
            true => Err(SelectorError::TooLarge),
            false => Ok(()),
        }
    }
}

impl Place {
    fn below(mut self) -> Result<Self, SelectorError> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(SelectorError::BadArgument("nesting".to_owned())),
            false => Ok(self),
        }
    }

    fn negated(mut self) -> Self {
        self.negated = !self.negated;
        self
    }
}

/// The most steps of a field: more than the levels of any document that can be judged.
const STEPS: usize = 512;

/// The steps of a field as Mango names it, in selectors, `sort` and `fields` alike
/// (`mango_util:parse_field`): dots part, `\.` does not; every backslash is dropped.
///
/// # Errors
///
/// A name with an empty step, or with more steps than any document has levels.
pub fn field(text: &str) -> Result<Vec<String>, SelectorError> {
    // Security: each step takes many times the byte that it is written in. (`a_field_takes_no_more_than_its_steps`)
    let dots = text.bytes().filter(|byte| *byte == b'.');
    if dots.take(STEPS).count() == STEPS {
        return Err(SelectorError::TooLarge);
    }
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
pub(in crate::policy) fn integer(value: &Value) -> Option<i128> {
    value.as_number()?.as_str().parse().ok()
}

fn has_variable(text: &str, names: &Names) -> bool {
    let mut names = names.clone();
    let template = Template::parse(text, Reading::Constant, &mut names);
    template.is_ok_and(|template| template.variables().next().is_some())
}
