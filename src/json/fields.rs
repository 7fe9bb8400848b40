//! Which fields of a document a caller sees: what rules hide and show, combined.
//!
//! Invariant: a union shows nothing that none of its parts shows, and nothing shows what [`Fields::hiding`] hides.

use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use super::JsonError;
use super::cut;
use super::path::FieldPath;
use super::scan::Balance;
use super::search::{self, Search};
use super::spot::Spot;
use super::token::Cursor;
use super::value::Value;

/// What one rule shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Clause {
    /// Every field.
    All,
    /// All fields but these.
    Except(Vec<FieldPath>),
    /// Only these fields, and the containers on the way to them.
    Only(Vec<FieldPath>),
}

/// Which fields of a document a caller sees: those that one clause shows, less those that are always hidden, and of
/// them those that `both` shows too, where there is such a thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fields {
    clauses: Vec<Clause>,
    hidden: Vec<FieldPath>,
    both: Option<Box<Self>>,
    searched: Searched,
}

/// How to search for what is hidden, worked out at the first cut. Says nothing that the other fields do not.
#[derive(Debug, Default)]
struct Searched(OnceLock<Option<Search>>);

impl Searched {
    fn get(&self, fields: &Fields) -> Option<&Search> {
        self.0.get_or_init(|| Search::of(fields)).as_ref()
    }
}

impl Clone for Searched {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Searched {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Searched {}

impl Hash for Searched {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What an attachment is made of, whichever way it is sent.
const ATTACHMENT: [&str; 5] = ["content_type", "data", "digest", "length", "revpos"];

/// What a JSON value is, to [`Fields::cut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A document: CouchDB's own members (`_id`, `_rev`, …, but not `_attachments`) always stay.
    Document,
    /// Any other value, such as a view's.
    Plain,
}

/// How much of a place is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// Nothing of it.
    Hidden,
    /// Something below it is hidden, or could be.
    Partly,
    /// All of it.
    Visible,
}

impl Clause {
    /// Do these show all that this one does, in every document?
    fn is_within(&self, others: &[Self]) -> bool {
        let one = |shown: &dyn Fn(&Self) -> bool| others.iter().any(shown);
        match self {
            Self::All => one(&Self::is_all),
            Self::Except(own) => one(&|wider| match wider {
                Self::All => true,
                Self::Except(paths) => paths.iter().all(|path| own.contains(path)),
                Self::Only(_) => false,
            }),
            Self::Only(own) => own
                .iter()
                .all(|path| one(&|wider| wider.shows_all_of(path))),
        }
    }

    fn is_all(&self) -> bool {
        match self {
            Self::All => true,
            Self::Except(paths) => paths.is_empty(),
            Self::Only(_) => false,
        }
    }

    fn shows_all_of(&self, path: &FieldPath) -> bool {
        match self {
            Self::All => true,
            Self::Except(paths) => paths.iter().all(|hidden| path.is_apart_from(hidden)),
            Self::Only(paths) => paths
                .iter()
                .any(|shown| shown == path || shown.covers_path(path)),
        }
    }
}

impl Fields {
    /// Shows everything.
    pub fn all() -> Self {
        Self::of(Clause::All)
    }

    /// Shows everything but these.
    pub fn except(paths: impl IntoIterator<Item = FieldPath>) -> Self {
        Self::of(Clause::Except(paths.into_iter().collect()))
    }

    /// Shows nothing but these.
    pub fn only(paths: impl IntoIterator<Item = FieldPath>) -> Self {
        Self::of(Clause::Only(paths.into_iter().collect()))
    }

    fn of(clause: Clause) -> Self {
        Self {
            clauses: vec![clause],
            hidden: Vec::new(),
            both: None,
            searched: Searched::default(),
        }
    }

    /// A field is hidden only if both sides hide it; what one side always hides stays hidden.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.searched = Searched::default();
        for clause in other.clauses {
            if !self.clauses.contains(&clause) {
                self.clauses.push(clause);
            }
        }
        if let Some(both) = other.both {
            self = self.and(&both);
        }
        self.hiding(other.hidden)
    }

    /// Shows what these and the others show.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        if let Some(both) = &other.both {
            self = self.and(both);
        }
        let hidden = other.hidden.iter().cloned();
        match other.clauses.as_slice() {
            [Clause::All] => self.hiding(hidden),
            [Clause::Except(paths)] => self.hiding(hidden.chain(paths.iter().cloned())),
            clauses => {
                let mut single = Self {
                    clauses: clauses.to_vec(),
                    ..other.clone()
                };
                single.both = self.both.take();
                self.both = Some(Box::new(single));
                self.searched = Searched::default();
                self
            }
        }
    }

    /// These are hidden whatever any clause shows.
    #[must_use]
    pub fn hiding(mut self, paths: impl IntoIterator<Item = FieldPath>) -> Self {
        self.searched = Searched::default();
        for path in paths {
            if !self.hidden.contains(&path) {
                self.hidden.push(path);
            }
        }
        self
    }

    /// Is everything shown?
    pub fn is_all(&self) -> bool {
        self.hidden.is_empty()
            && self.clauses.iter().any(Clause::is_all)
            && self.both.as_ref().is_none_or(|both| both.is_all())
    }

    /// Do the others show all that these do, in every document? Not where the paths alone can't tell.
    pub fn is_within(&self, other: &Self) -> bool {
        let shown = |clause: &Clause| clause.is_within(&other.clauses);
        let hidden = |path: &FieldPath| {
            let leaves_out = |clause: &Clause| match clause {
                Clause::Except(paths) => paths.contains(path),
                Clause::Only(paths) => paths.iter().all(|shown| shown.is_apart_from(path)),
                Clause::All => false,
            };
            self.hidden.contains(path) || self.clauses.iter().all(leaves_out)
        };
        self.clauses.iter().all(shown)
            && other.hidden.iter().all(hidden)
            && other.both.as_ref().is_none_or(|both| self.is_within(both))
    }

    /// What the clauses are, for fingerprints and messages.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// What is always hidden.
    pub fn hidden(&self) -> &[FieldPath] {
        &self.hidden
    }

    /// Those that must show a field as well.
    pub(super) fn both(&self) -> Option<&Self> {
        self.both.as_deref()
    }

    /// How much of a concrete place in a document is shown.
    pub fn at(&self, place: &[&str]) -> Visibility {
        let mut spot = self.spot(Kind::Document);
        let mut steps = place.iter().peekable();
        while let Some(name) = steps.next() {
            match spot.fate(name) {
                Visibility::Partly if steps.peek().is_some() => spot = spot.below(name),
                seen @ (Visibility::Hidden | Visibility::Partly | Visibility::Visible) => {
                    return seen;
                }
            }
        }
        if self.is_all() {
            Visibility::Visible
        } else {
            Visibility::Partly
        }
    }

    /// Is an attachment shown, its bytes and all that CouchDB tells of it beside them? Paths that could hide
    /// something deeper have nothing to hide in it.
    pub fn shows_attachment(&self, name: &str) -> bool {
        ATTACHMENT
            .iter()
            .all(|member| self.shows_scalar(&["_attachments", name, member]))
    }

    /// Is a scalar shown that stands at this place?
    pub fn shows_scalar(&self, place: &[&str]) -> bool {
        let mut spot = self.spot(Kind::Document);
        for name in place {
            match spot.fate(name) {
                Visibility::Hidden => return false,
                Visibility::Visible => return true,
                Visibility::Partly => spot = spot.below(name),
            }
        }
        spot.shows_scalar()
    }

    /// May a query name this place? Only if all of it is shown.
    pub fn may_name(&self, place: &[&str]) -> bool {
        self.at(place) == Visibility::Visible
    }

    /// Cuts what is hidden out of one JSON value and appends the rest to `out`, byte for byte.
    /// A scalar of which nothing is shown becomes `null`. On an error, what `out` has grown by must not be used.
    pub fn cut(&self, value: &[u8], kind: Kind, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut cursor = Cursor::new(value)?;
        cursor.white();
        if let (Some(search), Some(b'{' | b'[')) = (self.search(), cursor.peek())
            && let Some(finds) = search.find(cursor.rest())
        {
            let (start, before) = (cursor.offset(), out.len());
            let mut balance = Balance::noting(Vec::new());
            let length = balance.feed(cursor.rest())?.ok_or(JsonError::Truncated)?;
            cursor.skip(length);
            let (text, end) = (cursor.since(start), cursor.offset());
            cursor.end()?;
            out.extend_from_slice(value.get(..start).unwrap_or_default());
            if let Some(brackets) = balance.into_brackets()
                && search::cut(self, kind, text, (&brackets, 0), &finds, out)?
            {
                out.extend_from_slice(value.get(end..).unwrap_or_default());
                return Ok(());
            }
            out.truncate(before);
        }
        cut::cut(&self.spot(kind), value, out)
    }

    /// The same on a tree.
    pub fn cut_value(&self, value: &Value, kind: Kind) -> Value {
        self.spot(kind).cut(value).unwrap_or(Value::Null)
    }

    /// How to search for what is hidden, if it can be searched for.
    pub(super) fn search(&self) -> Option<&Search> {
        self.searched.get(self)
    }

    /// The root of a value.
    pub(super) fn spot(&self, kind: Kind) -> Spot<'_> {
        Spot::root(self, kind)
    }
}
