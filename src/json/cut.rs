//! Cuts hidden fields out of bytes: walks only where a path leads, and copies the rest in long runs.
//!
//! Invariant: what comes out is a subsequence of what went in, valid JSON, and has no hidden member under any spelling.

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

struct Knife<'a, 'o> {
    cursor: Cursor<'a>,
    value: &'a [u8],
    /// Up to here everything has been copied or cut out.
    copied: usize,
    out: &'o mut Vec<u8>,
}

impl Knife<'_, '_> {
    fn value(&mut self, spot: &Spot<'_>, depth: usize) -> Result<(), JsonError> {
        let below = depth.saturating_add(1);
        match self.cursor.peek() {
            _ if spot.shows_all() => self.cursor.value(depth).map(|_| ()),
            Some(b'{' | b'[') if below > MAX_DEPTH => Err(JsonError::TooDeep),
            Some(b'{') => self.object(spot, below),
            Some(b'[') => self.array(spot, below),
            Some(_) | None => self.cursor.value(depth).map(|_| ()),
        }
    }

    fn object(&mut self, spot: &Spot<'_>, depth: usize) -> Result<(), JsonError> {
        let mut names = Names::default();
        let mut shown = false;
        // An entry begins right after the bracket or comma before it, and ends right before the next one.
        let mut start = self.cursor.offset().saturating_add(1);
        let mut more = self.cursor.open(b'{', b'}')?;
        while more {
            let key = self.cursor.string()?.unescape()?;
            names.add(key.clone())?;
            self.cursor.colon()?;
            let kept = self.entry(spot, &key, depth)?;
            (start, more) = self.close(b'}', start, kept, &mut shown)?;
        }
        Ok(())
    }

    fn array(&mut self, spot: &Spot<'_>, depth: usize) -> Result<(), JsonError> {
        let mut shown = false;
        let mut start = self.cursor.offset().saturating_add(1);
        let mut more = self.cursor.open(b'[', b']')?;
        let mut index = 0_usize;
        while more {
            let kept = self.entry(spot, &index.to_string(), depth)?;
            (start, more) = self.close(b']', start, kept, &mut shown)?;
            index = index.saturating_add(1);
        }
        Ok(())
    }

    /// Passes over the value of an entry; true if the entry stays.
    fn entry(&mut self, spot: &Spot<'_>, name: &str, depth: usize) -> Result<bool, JsonError> {
        match spot.fate(name) {
            Visibility::Visible => self.cursor.value(depth).map(|_| true),
            Visibility::Hidden => self.cursor.value(depth).map(|_| false),
            Visibility::Partly => {
                let below = spot.below(name);
                if !matches!(self.cursor.peek(), Some(b'{' | b'[')) {
                    return self.cursor.value(depth).map(|_| below.shows_scalar());
                }
                self.value(&below, depth).map(|()| true)
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
