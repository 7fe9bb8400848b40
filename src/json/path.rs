//! Field paths: the one grammar in which policies and queries name places in documents.
//!
//! Invariant: a path has at least one step, no empty step, and prints as it parses.

use std::fmt;

/// A place, or a family of places, in a document: `a.b`, `calls.*.password`, `**.password`, `cf*`, `list.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The member of this name; a number is an array index too.
    Name(String),
    /// `cf*`: members whose names have these pieces in this order, with any text between them.
    Like(Vec<String>),
    /// `*`: any one step.
    Any,
    /// `**`: any number of steps, none too.
    Deep,
}

/// Why a text is no field path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing between two dots, or nothing at all.
    #[error("the field path `{0}` has an empty step")]
    EmptyStep(String),
    /// A backslash must stand before a dot, a star or a backslash.
    #[error("the field path `{0}` has a backslash before something other than `.`, `*` or `\\`")]
    BadEscape(String),
    /// `**` stands alone between dots.
    #[error("the field path `{0}` has `**` inside a name")]
    DeepInName(String),
}

impl FieldPath {
    /// Reads a path. `\.`, `\*` and `\\` are a dot, a star and a backslash of the name.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        let mut pieces = vec![String::new()];
        let mut letters = text.chars();
        loop {
            let letter = letters.next();
            match (letter, pieces.last_mut()) {
                (None | Some('.'), _) => {
                    let step = Step::of(std::mem::replace(&mut pieces, vec![String::new()]), text)?;
                    // `**.**` is `**`.
                    if step != Step::Deep || steps.last() != Some(&Step::Deep) {
                        steps.push(step);
                    }
                    if letter.is_none() {
                        return Ok(Self(steps));
                    }
                }
                (Some('*'), _) => pieces.push(String::new()),
                (Some('\\'), Some(piece)) => match letters.next() {
                    Some(plain @ ('.' | '*' | '\\')) => piece.push(plain),
                    Some(_) | None => return Err(PathError::BadEscape(text.to_owned())),
                },
                (Some(plain), Some(piece)) => piece.push(plain),
                (Some(_), None) => (),
            }
        }
    }

    /// The path of these names, each taken literally. None if there is none, or an empty one.
    pub fn concrete<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Option<Self> {
        let steps: Vec<Step> = names
            .into_iter()
            .map(|name| Step::Name(name.into()))
            .collect();
        (!steps.is_empty()).then_some(Self(steps))
    }

    /// The path of these steps.
    pub fn from_steps(steps: &[Step]) -> Self {
        Self(steps.to_vec())
    }

    /// The path of the whole document: `**`.
    pub fn everything() -> Self {
        Self(vec![Step::Deep])
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The first step, if it is a plain name: the top-level field that the path lies in.
    pub fn top(&self) -> Option<&str> {
        if let Some(Step::Name(name)) = self.0.first() {
            Some(name)
        } else {
            None
        }
    }

    /// The names, if every step is one.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.0
            .iter()
            .map(|step| {
                if let Step::Name(name) = step {
                    Some(name.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    /// The same for a place that is itself written as a path; one that is not concrete is covered by nothing.
    pub fn covers_path(&self, place: &Self) -> bool {
        place.names().is_some_and(|names| self.covers(&names))
    }

    /// Do the two part at a name, so that no place lies in both? Not where the paths alone can't tell.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        let mut steps = self.0.iter().zip(&other.0);
        let parting = steps.find(|(own, others)| own != others);
        matches!(parting, Some((Step::Name(_), Step::Name(_))))
    }

    /// Does this path name the concrete place, or a place above it?
    pub fn covers(&self, place: &[&str]) -> bool {
        let mut tails = Tails::of(std::slice::from_ref(self));
        tails.ended
            || place.iter().any(|name| {
                tails = tails.step(name);
                tails.ended
            })
    }
}

impl Step {
    fn of(pieces: Vec<String>, text: &str) -> Result<Self, PathError> {
        let bare = pieces.iter().all(String::is_empty);
        match <[String; 1]>::try_from(pieces) {
            Ok(_) if bare => Err(PathError::EmptyStep(text.to_owned())),
            Ok([name]) => Ok(Self::Name(name)),
            Err(pieces) if bare && pieces.len() == 2 => Ok(Self::Any),
            Err(pieces) if bare && pieces.len() == 3 => Ok(Self::Deep),
            Err(pieces) if pieces.iter().skip(1).rev().skip(1).any(String::is_empty) => {
                Err(PathError::DeepInName(text.to_owned()))
            }
            Err(pieces) => Ok(Self::Like(pieces)),
        }
    }

    /// Could it be a step to the member of this name?
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Like(pieces) => like(pieces, name),
            Self::Any | Self::Deep => true,
        }
    }
}

/// The first piece begins the name, the last one ends it, the others follow each other in between.
fn like(pieces: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return false;
    };
    let Some(rest) = name.strip_prefix(first.as_str()) else {
        return false;
    };
    let Some(rest) = rest.strip_suffix(last.as_str()) else {
        return false;
    };
    let after = middle.iter().try_fold(rest, |rest, piece| {
        rest.split_once(piece.as_str()).map(|(_, after)| after)
    });
    after.is_some()
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            match step {
                Step::Name(name) => f.write_str(&escape(name))?,
                Step::Like(pieces) => {
                    let pieces: Vec<String> = pieces.iter().map(|piece| escape(piece)).collect();
                    f.write_str(&pieces.join("*"))?;
                }
                Step::Any => f.write_str("*")?,
                Step::Deep => f.write_str("**")?,
            }
        }
        Ok(())
    }
}

fn escape(name: &str) -> String {
    name.replace('\\', "\\\\")
        .replace('.', "\\.")
        .replace('*', "\\*")
}

/// What is left of a set of paths on the way down into a document.
#[derive(Debug, Clone, Default)]
pub(super) struct Tails<'f> {
    /// Does a path end here? Then it names all that lies below, too.
    pub(super) ended: bool,
    open: Vec<&'f [Step]>,
    /// The lengths of the names that these paths go on with, one bit each: most names are told by it.
    lengths: u64,
}

/// What a step means to a set of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No path goes there.
    Away,
    /// A path leads on from there.
    Onward,
    /// A path ends there.
    Ended,
}

impl<'f> Tails<'f> {
    pub(super) fn of(paths: &'f [FieldPath]) -> Self {
        let mut tails = Self::default();
        for path in paths {
            tails.add(&path.0);
        }
        tails
    }

    fn add(&mut self, tail: &'f [Step]) {
        match tail.split_first() {
            None => self.ended = true,
            // The same tail can come by two ways once there is a `**`.
            Some(_) if self.open.iter().any(|known| std::ptr::eq(*known, tail)) => (),
            Some((first, after)) => {
                self.open.push(tail);
                self.lengths |= match first {
                    Step::Name(name) => length(name),
                    Step::Like(_) | Step::Any | Step::Deep => u64::MAX,
                };
                if *first == Step::Deep {
                    self.add(after);
                }
            }
        }
    }

    /// The paths that remain one step down.
    pub(super) fn step(&self, name: &str) -> Self {
        let mut below = Self::default();
        for tail in &self.open {
            if let Some((first, after)) = tail.split_first()
                && first.takes(name)
            {
                below.add(if *first == Step::Deep { tail } else { after });
            }
        }
        below
    }

    /// What [`Self::step`] would find, without building it.
    #[inline]
    pub(super) fn fate(&self, name: &str) -> Fate {
        if self.lengths & length(name) == 0 {
            return Fate::Away;
        }
        let mut fate = Fate::Away;
        for tail in &self.open {
            match tail.split_first() {
                Some((first, after)) if first.takes(name) => {
                    let ends = match after.split_first() {
                        None => true,
                        Some((Step::Deep, rest)) => rest.is_empty(),
                        Some(_) => false,
                    };
                    if ends {
                        return Fate::Ended;
                    }
                    fate = Fate::Onward;
                }
                Some(_) | None => (),
            }
        }
        fate
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

fn length(name: &str) -> u64 {
    1 << name.len().min(63)
}
