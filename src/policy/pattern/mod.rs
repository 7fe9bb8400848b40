//! Patterns and templates: text with `*`, `{name}`, `{user}`, `{node:PATH}` and `{claim:NAME}`.
//!
//! A pattern matches whole strings. In the callers of a rule a variable captures; everywhere else it stands
//! for what was captured, literally, compared code point by code point. A capture is never empty.
//!
//! Invariant: a text that a pattern can split in two ways is [`Ways::Many`], never a match of one choice.

pub(in crate::policy) mod binding;
pub(in crate::policy) mod pattern_match;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use crate::policy::pattern::binding::Binding;
use crate::policy::pattern::pattern_match::{Part, Ways, ways};

/// What stands between braces. Its place in [`Names`] is its number in a [`Binding`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Variable {
    /// `{name}`: captured by a role or a name.
    Capture(Box<str>),
    /// `{user}`: the caller's name.
    User,
    /// `{node:PATH}`: a value of the caller's own node.
    Node(Box<str>),
    /// `{claim:NAME}`: comes from a token.
    Claim(Box<str>),
}

/// The variables of one rule, numbered as they appear.
#[derive(Debug, Clone, Default)]
pub(in crate::policy) struct Names {
    variables: Vec<Variable>,
    /// Those that have been met since [`Self::met`] was last asked.
    met: Vec<usize>,
}

/// A parsed text with variables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Text(Box<str>),
    Star,
    Variable(usize),
}

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Reading {
    /// `*` is a wildcard, `\` escapes, a stray brace is a mistake.
    Pattern,
    /// As a pattern, but a wildcard is a mistake.
    Text,
    /// Variables alone are special; everything else is as it stands.
    Constant,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum PatternError {
    #[error("`{0}` has a brace that is not part of `{{name}}`; write `\\{{` or `\\}}` for a brace")]
    Brace(String),
    #[error("`{0}` has two wildcards side by side, so that no text has one reading")]
    Adjacent(String),
    #[error("`{0}` captures `{{{1}}}` twice")]
    Twice(String, String),
    #[error("`{0}` has a `*`, which has no meaning here")]
    Star(String),
    #[error("`{0}` ends with a backslash")]
    Backslash(String),
    #[error("`{0}` is empty")]
    Empty(String),
}

impl Variable {
    fn parse(text: &str) -> Option<Self> {
        if text == "user" {
            return Some(Self::User);
        }
        if let Some(path) = text.strip_prefix("node:") {
            return (!path.is_empty()).then(|| Self::Node(path.into()));
        }
        if let Some(name) = text.strip_prefix("claim:") {
            return (!name.is_empty()).then(|| Self::Claim(name.into()));
        }
        let word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (word && text.starts_with(|c: char| c.is_ascii_alphabetic()))
            .then(|| Self::Capture(text.into()))
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture(name) => f.write_str(name),
            Self::User => f.write_str("user"),
            Self::Node(path) => write!(f, "node:{path}"),
            Self::Claim(name) => write!(f, "claim:{name}"),
        }
    }
}

impl Names {
    fn number(&mut self, variable: Variable) -> usize {
        let number = self
            .variables
            .iter()
            .position(|own| *own == variable)
            .unwrap_or(self.variables.len());
        if number == self.variables.len() {
            self.variables.push(variable);
        }
        self.met.push(number);
        number
    }

    /// The variables with their numbers.
    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = (usize, &Variable)> {
        self.variables.iter().enumerate()
    }

    pub(in crate::policy) fn variable(&self, number: usize) -> Option<&Variable> {
        self.variables.get(number)
    }

    /// Which variables have been met since this was last asked.
    pub(in crate::policy) fn met(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.met)
    }
}

impl Template {
    pub(in crate::policy) fn parse(
        text: &str,
        reading: Reading,
        names: &mut Names,
    ) -> Result<Self, PatternError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let after = rest.get(letter.len_utf8()..).unwrap_or("");
            let escapes = reading != Reading::Constant;
            rest = match letter {
                '\\' if escapes => {
                    let escaped = after
                        .chars()
                        .next()
                        .ok_or_else(|| PatternError::Backslash(text.to_owned()))?;
                    plain.push(escaped);
                    after.get(escaped.len_utf8()..).unwrap_or("")
                }
                '*' if reading == Reading::Pattern => {
                    flush(&mut plain, &mut pieces);
                    pieces.push(Piece::Star);
                    after
                }
                '*' if reading == Reading::Text => return Err(PatternError::Star(text.to_owned())),
                '{' => match after
                    .split_once('}')
                    .and_then(|(name, more)| Some((Variable::parse(name)?, more)))
                {
                    Some((variable, more)) => {
                        flush(&mut plain, &mut pieces);
                        pieces.push(Piece::Variable(names.number(variable)));
                        more
                    }
                    None if escapes => return Err(PatternError::Brace(text.to_owned())),
                    None => {
                        plain.push('{');
                        after
                    }
                },
                '}' if escapes => return Err(PatternError::Brace(text.to_owned())),
                other => {
                    plain.push(other);
                    after
                }
            };
        }
        flush(&mut plain, &mut pieces);
        if pieces.is_empty() && escapes_empty(reading) {
            return Err(PatternError::Empty(text.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Checks that hold only where variables capture: none twice, no two wildcards side by side.
    pub(in crate::policy) fn captures(
        self,
        text: &str,
        names: &Names,
    ) -> Result<Self, PatternError> {
        let mut seen = HashSet::new();
        let mut wild = false;
        for piece in &self.0 {
            let is_wild = !matches!(piece, Piece::Text(_));
            if is_wild && wild {
                return Err(PatternError::Adjacent(text.to_owned()));
            }
            wild = is_wild;
            if let Piece::Variable(number) = piece
                && !seen.insert(*number)
            {
                let name = names
                    .variable(*number)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                return Err(PatternError::Twice(text.to_owned(), name));
            }
        }
        Ok(self)
    }

    /// Checks that hold where variables are filled in: no two stars side by side.
    pub(in crate::policy) fn filled(self, text: &str) -> Result<Self, PatternError> {
        let mut pieces = self.0.iter().zip(self.0.iter().skip(1));
        if pieces.any(|pair| matches!(pair, (Piece::Star, Piece::Star))) {
            return Err(PatternError::Adjacent(text.to_owned()));
        }
        Ok(self)
    }

    /// The text, if there is nothing but text.
    pub(in crate::policy) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text that it begins with, if it begins with one.
    pub(in crate::policy) fn head(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Star | Piece::Variable(_)) | None => "",
        }
    }

    /// The text that it ends with, if it ends with one.
    pub(in crate::policy) fn tail(&self) -> &str {
        match self.0.last() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Star | Piece::Variable(_)) | None => "",
        }
    }

    /// The numbers of the variables in it.
    pub(in crate::policy) fn variables(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().filter_map(|piece| {
            if let Piece::Variable(number) = piece {
                Some(*number)
            } else {
                None
            }
        })
    }

    /// Reads a text as a caller's: variables capture. Gives what each wildcard took, in order.
    pub(in crate::policy) fn split<'t>(&self, text: &'t str) -> Ways<'t> {
        // Most roles fail here, before anything is allocated.
        if let Some(Piece::Text(first)) = self.0.first()
            && !text.starts_with(&**first)
        {
            return Ways::None;
        }
        let parts = self.0.iter().map(|piece| match piece {
            Piece::Text(own) => Part::Text(own),
            Piece::Star => Part::Any,
            Piece::Variable(_) => Part::Some,
        });
        ways(&parts.collect::<Vec<_>>(), text)
    }

    /// Puts what [`Self::split`] found under the variables' numbers.
    pub(in crate::policy) fn bind(&self, taken: &[&str], binding: &mut Binding) {
        let wild = self
            .0
            .iter()
            .filter(|piece| !matches!(piece, Piece::Text(_)));
        for (piece, text) in wild.zip(taken) {
            if let Piece::Variable(number) = piece {
                binding.set(*number, text);
            }
        }
    }

    /// Matches a text with the variables filled in. `None`: a variable has no value.
    pub(in crate::policy) fn matches<'t>(
        &self,
        text: &'t str,
        binding: &Binding,
    ) -> Option<Ways<'t>> {
        if let [Piece::Text(own)] = self.0.as_slice() {
            return Some(if **own == *text {
                Ways::One(Vec::new())
            } else {
                Ways::None
            });
        }
        let parts: Option<Vec<Part<'_>>> = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(own) => Some(Part::Text(own)),
                Piece::Star => Some(Part::Any),
                Piece::Variable(number) => binding.get(*number).map(Part::Text),
            })
            .collect();
        Some(ways(&parts?, text))
    }

    /// Could it match this text with some values of the variables?
    pub(in crate::policy) fn could_match(&self, text: &str) -> bool {
        self.literal()
            .map_or_else(|| self.split(text) != Ways::None, |own| own == text)
    }

    /// The text with the variables filled in; a `*` stands for itself. `None`: a variable has no value.
    pub(in crate::policy) fn text<'a>(&'a self, binding: &'a Binding) -> Option<Cow<'a, str>> {
        match self.0.as_slice() {
            [Piece::Text(own)] => Some(Cow::Borrowed(own)),
            [Piece::Variable(number)] => binding.get(*number).map(Cow::Borrowed),
            pieces => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(own) => text.push_str(own),
                        Piece::Star => text.push('*'),
                        Piece::Variable(number) => text.push_str(binding.get(*number)?),
                    }
                }
                Some(Cow::Owned(text))
            }
        }
    }
}

fn escapes_empty(reading: Reading) -> bool {
    match reading {
        Reading::Pattern | Reading::Text => true,
        Reading::Constant => false,
    }
}

fn flush(plain: &mut String, pieces: &mut Vec<Piece>) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(std::mem::take(plain).into()));
    }
}

#[cfg(test)]
mod tests;
