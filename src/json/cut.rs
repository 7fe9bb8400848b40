//! Cuts hidden fields out of bytes: walks only where a path leads, and copies the rest in long runs.
//!
//! Invariant: what comes out is a subsequence of what went in, valid JSON, and has no hidden member under any spelling,
//! and no member whose value is an object that had members and has none any more.

use super::fields::Visibility;
use super::names::Names;
use super::spot::Spot;
use super::token::Cursor;
use super::{JsonError, MAX_DEPTH};

/// Appends what is shown of one value.
pub(super) fn cut(spot: &Spot<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut cursor = Cursor::new(value)?;
    cursor.white();
    if !matches!(cursor.peek(), Some(b'{' | b'[')) && !spot.shows_scalar() {
        cursor.value(0)?;
        cursor.end()?;
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let mut knife = Knife {
        cursor,
        value,
        copied: 0,
        out,
    };
    knife.value(spot, 0)?;
    knife.cursor.end()?;
    knife.copy_to(value.len());
    Ok(())
}

/// What is left of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remains {
    /// It is hidden.
    Nothing,
    /// The braces of an object that had members.
    Braces,
    Something,
}

struct Knife<'a, 'o> {
    cursor: Cursor<'a>,
    value: &'a [u8],
    /// Up to here everything has been copied or cut out.
    copied: usize,
    out: &'o mut Vec<u8>,
}

impl Knife<'_, '_> {
    fn value(&mut self, spot: &Spot<'_>, depth: usize) -> Result<Remains, JsonError> {
        let below = depth.saturating_add(1);
        match self.cursor.peek() {
            _ if spot.shows_all() => self.cursor.value(depth).map(|_| Remains::Something),
            Some(b'{' | b'[') if below > MAX_DEPTH => Err(JsonError::TooDeep),
            Some(b'{') => self.object(spot, below),
            Some(b'[') => self.array(spot, below).map(|()| Remains::Something),
            Some(_) | None => self.cursor.value(depth).map(|_| Remains::Something),
        }
    }

    fn object(&mut self, spot: &Spot<'_>, depth: usize) -> Result<Remains, JsonError> {
        let mut names = Names::default();
        let (mut shown, mut had) = (false, false);
        // An entry begins right after the bracket or comma before it, and ends right before the next one.
        let mut start = self.cursor.offset().saturating_add(1);
        let mut more = self.cursor.open(b'{', b'}')?;
        while more {
            let key = self.cursor.string()?.unescape()?;
            names.add(key.clone())?;
            self.cursor.colon()?;
            had = true;
            let before = (self.out.len(), self.copied);
            let left = self.entry(spot, &key, depth)?;
            if left == Remains::Braces {
                // What has been copied of it goes as well.
                self.out.truncate(before.0);
                self.copied = before.1;
            }
            let kept = left == Remains::Something;
            (start, more) = self.close(b'}', start, kept, &mut shown)?;
        }
        Ok(match had && !shown {
            true => Remains::Braces,
            false => Remains::Something,
        })
    }

    fn array(&mut self, spot: &Spot<'_>, depth: usize) -> Result<(), JsonError> {
        let mut shown = false;
        let mut start = self.cursor.offset().saturating_add(1);
        let mut more = self.cursor.open(b'[', b']')?;
        let mut index = 0_usize;
        while more {
            // An emptied element stays: others stand behind it.
            let kept = self.entry(spot, &index.to_string(), depth)? != Remains::Nothing;
            (start, more) = self.close(b']', start, kept, &mut shown)?;
            index = index.saturating_add(1);
        }
        Ok(())
    }

    /// Passes over the value of an entry.
    fn entry(&mut self, spot: &Spot<'_>, name: &str, depth: usize) -> Result<Remains, JsonError> {
        match spot.fate(name) {
            Visibility::Visible => self.cursor.value(depth).map(|_| Remains::Something),
            Visibility::Hidden => self.cursor.value(depth).map(|_| Remains::Nothing),
            Visibility::Partly => {
                let below = spot.below(name);
                if matches!(self.cursor.peek(), Some(b'{' | b'[')) {
                    return self.value(&below, depth);
                }
                self.cursor.value(depth)?;
                Ok(match below.shows_scalar() {
                    true => Remains::Something,
                    false => Remains::Nothing,
                })
            }
        }
    }

    /// Ends an entry, and cuts it out with one comma if it does not stay. Gives the next one's start, if there is one.
    fn close(
        &mut self,
        close: u8,
        start: usize,
        kept: bool,
        shown: &mut bool,
    ) -> Result<(usize, bool), JsonError> {
        self.cursor.white();
        let end = self.cursor.offset();
        let more = self.cursor.more(close)?;
        let next = end.saturating_add(1);
        if kept {
            *shown = true;
        } else if *shown {
            // The comma before goes, too; the one after it stands for both.
            self.copy_to(start.saturating_sub(1));
            self.copied = end;
        } else {
            self.copy_to(start);
            self.copied = if more { next } else { end };
        }
        Ok((next, more))
    }

    fn copy_to(&mut self, end: usize) {
        self.out
            .extend_from_slice(self.value.get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }
}
