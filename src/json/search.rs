//! Cuts members out by searching for their names, where the paths allow it: several times as fast as the walk of `cut`.
//!
//! A name that no escape but `\u` can spell stands literally in a text without `\u`. So its bytes are searched for, the
//! structure proof tells how deep each find lies, and the names around it are read backwards from the open brackets.
//! Invariant: cuts exactly what the walk cuts, or says that it cannot tell.

use memchr::memmem::Finder;

use super::JsonError;
use super::fields::{Clause, Fields, Kind};
use super::path::{FieldPath, Step};
use super::spot::is_couchdbs_own;
use super::token::Cursor;
use super::value::index;

/// With more names to search for, walking is faster.
const MOST: usize = 8;

/// The last names of all paths, quoted.
#[derive(Debug)]
pub(super) struct Search(Vec<Finder<'static>>);

/// A name, or an element whose index nobody asks for.
type Named<'a> = Option<&'a str>;

impl Search {
    /// None if the fields cannot be found by names alone.
    pub(super) fn of(fields: &Fields) -> Option<Self> {
        if fields.both().is_some() {
            return None;
        }
        let mut names: Vec<&str> = Vec::new();
        let mut paths: Vec<&FieldPath> = fields.hidden().iter().collect();
        for clause in fields.clauses() {
            match clause {
                Clause::All => (),
                Clause::Except(hidden) => paths.extend(hidden),
                Clause::Only(_) => return None,
            }
        }
        for path in paths {
            let searchable = path.steps().iter().all(|step| match step {
                Step::Name(name) => is_literal(name),
                Step::Any | Step::Deep => true,
                Step::Like(_) => false,
            });
            match path.steps().last() {
                Some(Step::Name(name)) if searchable => {
                    if !names.contains(&name.as_str()) {
                        names.push(name);
                    }
                }
                _ => return None,
            }
        }
        let finder = |name: &&str| Finder::new(&format!("\"{name}\"")).into_owned();
        (names.len() <= MOST).then(|| Self(names.iter().map(finder).collect()))
    }

    /// Where names stand that could be hidden, with their lengths, quotes included. None if that takes a walk.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<Vec<Find>> {
        if memchr::memchr_iter(b'\\', bytes)
            .any(|place| bytes.get(place.saturating_add(1)) == Some(&b'u'))
        {
            return None;
        }
        let mut finds = Vec::new();
        for finder in &self.0 {
            let length = finder.needle().len();
            let mut from = 0_usize;
            while let Some(place) = bytes.get(from..).and_then(|rest| finder.find(rest)) {
                let place = from.saturating_add(place);
                finds.push(Find { place, length });
                // The quote that ends one find can begin the next.
                from = place.saturating_add(length).saturating_sub(1);
            }
        }
        finds.sort_unstable();
        Some(finds)
    }
}

/// A quoted name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Find {
    place: usize,
    length: usize,
}

/// Appends what is shown of an object or array whose structure is proven, given the places of its brackets, counted
/// from so many bytes before the text. False if that takes a walk; then `out` is as it was.
pub(super) fn cut(
    fields: &Fields,
    kind: Kind,
    text: &str,
    (brackets, base): (&[usize], usize),
    finds: &[Find],
    out: &mut Vec<u8>,
) -> Result<bool, JsonError> {
    let start = out.len();
    let mut cutter = Cutter {
        text,
        brackets,
        base,
        opens: [0; NEAR],
        depth: 0,
        copied: 0,
    };
    for find in finds {
        if find.place < cutter.copied {
            continue;
        }
        match cutter.judge(fields, kind, *find) {
            Judged::Shown => (),
            Judged::Hidden if cutter.remove(*find, out)? => (),
            Judged::Hidden | Judged::Unknown => {
                out.truncate(start);
                return Ok(false);
            }
        }
    }
    cutter.copy_to(text.len(), out);
    Ok(true)
}

/// No escape but `\u` can spell it, and it is no array index.
fn is_literal(name: &str) -> bool {
    index(name).is_none()
        && !name
            .bytes()
            .any(|byte| matches!(byte, b'"' | b'\\' | b'/' | 0..0x20))
}

enum Judged {
    Shown,
    Hidden,
    Unknown,
}

/// The longest name of a container that is read backwards.
const LONGEST: usize = 256;
/// So many containers around a name are followed.
const NEAR: usize = 8;

struct Cutter<'a> {
    text: &'a str,
    /// Those that are still to come.
    brackets: &'a [usize],
    base: usize,
    /// Where the containers around the last find opened.
    opens: [usize; NEAR],
    depth: usize,
    /// Up to here everything has been copied or cut out.
    copied: usize,
}

impl<'a> Cutter<'a> {
    /// What of a find? Is it a name at all, and does a path lead to it?
    fn judge(&mut self, fields: &Fields, kind: Kind, find: Find) -> Judged {
        let bytes = self.text.as_bytes();
        let end = find.place.saturating_add(find.length);
        let after = bytes.get(end..).unwrap_or_default().trim_ascii_start();
        let before = bytes.get(..find.place).unwrap_or_default().trim_ascii_end();
        // Inside a string the quotes would be escaped, and a value has no colon behind it.
        if after.first() != Some(&b':') || !matches!(before.last(), Some(b'{' | b',')) {
            return Judged::Shown;
        }
        self.open_to(find.place);
        let mut names: [Named<'a>; NEAR] = [None; NEAR];
        let Some(opens) = self.opens.get(..self.depth) else {
            return Judged::Unknown;
        };
        let Some((innermost, _)) = opens.split_last() else {
            return Judged::Unknown;
        };
        if bytes.get(*innermost) != Some(&b'{') {
            return Judged::Unknown;
        }
        for (slot, open) in names.iter_mut().zip(opens.iter().skip(1)) {
            *slot = match self.name_before(*open) {
                Ok(name) => name,
                Err(Unreadable) => return Judged::Unknown,
            };
        }
        if let Some(slot) = names.get_mut(opens.len().saturating_sub(1)) {
            *slot = self
                .text
                .get(find.place.saturating_add(1)..end.saturating_sub(1));
        }
        let place = names.get(..opens.len()).unwrap_or_default();
        if is_hidden(fields, kind, place) {
            Judged::Hidden
        } else {
            Judged::Shown
        }
    }

    /// Opens and closes what stands before this place.
    fn open_to(&mut self, place: usize) {
        while let Some((bracket, rest)) = self.brackets.split_first() {
            let bracket = bracket.wrapping_sub(self.base);
            if bracket >= place {
                return;
            }
            self.brackets = rest;
            if let Some(b'{' | b'[') = self.text.as_bytes().get(bracket) {
                if let Some(slot) = self.opens.get_mut(self.depth) {
                    *slot = bracket;
                }
                self.depth = self.depth.saturating_add(1);
            } else {
                self.depth = self.depth.saturating_sub(1);
            }
        }
    }

    /// The name of the container that opens here; none if it is the element of an array.
    fn name_before(&self, open: usize) -> Result<Named<'a>, Unreadable> {
        let before = self
            .text
            .as_bytes()
            .get(..open)
            .unwrap_or_default()
            .trim_ascii_end();
        let Some((b':', before)) = before.split_last() else {
            return Ok(None);
        };
        let Some((b'"', name)) = before.trim_ascii_end().split_last() else {
            return Err(Unreadable);
        };
        // Bounded, so that a giant name with many finds below it is read once, by the walk.
        let near = name.len().saturating_sub(LONGEST);
        let quote =
            memchr::memrchr(b'"', name.get(near..).unwrap_or_default()).ok_or(Unreadable)?;
        let start = near.saturating_add(quote).saturating_add(1);
        let name = self.text.get(start..name.len()).ok_or(Unreadable)?;
        // An escaped quote is none, and an escaped name has to be read by the grammar.
        let quote = start
            .checked_sub(2)
            .and_then(|place| self.text.as_bytes().get(place));
        if quote == Some(&b'\\') || name.contains('\\') {
            Err(Unreadable)
        } else {
            Ok(Some(name))
        }
    }

    /// Cuts a member out, with one comma, as the walk does it. False if its object would have none any more.
    fn remove(&mut self, find: Find, out: &mut Vec<u8>) -> Result<bool, JsonError> {
        let before = self
            .text
            .as_bytes()
            .get(..find.place)
            .unwrap_or_default()
            .trim_ascii_end();
        let Some((mark @ (b'{' | b','), before)) = before.split_last() else {
            return Err(JsonError::Syntax(find.place));
        };
        let mut cursor = Cursor::within(self.text, find.place.saturating_add(find.length));
        cursor.colon()?;
        cursor.value(0)?;
        cursor.white();
        let end = cursor.offset();
        let more = cursor.more(b'}')?;
        // A comma that has gone already stood after other hidden members, with none shown before them.
        let shown = *mark == b',' && before.len() >= self.copied;
        if !shown && !more && self.depth > 1 {
            return Ok(false);
        }
        let start = if shown {
            before.len()
        } else {
            before.len().saturating_add(1)
        };
        self.copy_to(start, out);
        self.copied = if more && !shown {
            end.saturating_add(1)
        } else {
            end
        };
        Ok(true)
    }

    fn copy_to(&mut self, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(
            self.text
                .as_bytes()
                .get(self.copied..end)
                .unwrap_or_default(),
        );
    }
}

/// A name that has to be read from its start.
struct Unreadable;

fn is_hidden(fields: &Fields, kind: Kind, place: &[Named<'_>]) -> bool {
    if kind == Kind::Document
        && place
            .first()
            .copied()
            .flatten()
            .is_some_and(is_couchdbs_own)
    {
        return false;
    }
    let covered = |paths: &[FieldPath]| paths.iter().any(|path| covers(path.steps(), place));
    covered(fields.hidden())
        || fields.clauses().iter().all(|clause| match clause {
            Clause::All | Clause::Only(_) => false,
            Clause::Except(paths) => covered(paths),
        })
}

/// Does the path name this place, or one above it?
fn covers(steps: &[Step], place: &[Named<'_>]) -> bool {
    match (steps, place) {
        ([], _) => true,
        ([Step::Deep, rest @ ..], _) if covers(rest, place) => true,
        ([Step::Deep, ..], [_, below @ ..]) => covers(steps, below),
        ([Step::Name(own), rest @ ..], [Some(name), below @ ..]) => {
            own == name && covers(rest, below)
        }
        ([Step::Any, rest @ ..], [_, below @ ..]) => covers(rest, below),
        _ => false,
    }
}
