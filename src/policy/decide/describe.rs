//! Plans in words, for the golden matrix and for `explain`: which rules show, which forbid, which hide.
//!
//! Invariant: names of rules only, never a capture or a value.

use std::fmt;

use crate::policy::grants::Applied;
use crate::policy::lens::Lens;
use crate::policy::lens::view::ViewLens;
use crate::policy::write::WriteRules;

fn names<'a>(rules: impl Iterator<Item = &'a Applied>) -> Vec<&'a str> {
    let mut names: Vec<&str> = rules.map(|applied| &*applied.rule.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn write_lens(
    f: &mut fmt::Formatter<'_>,
    everything: bool,
    shows: &[&str],
    forbids: &[&str],
    hides: &[&str],
) -> fmt::Result {
    let shown = match (everything, shows.is_empty()) {
        (true, _) => "everything".to_owned(),
        (false, true) => "nothing".to_owned(),
        (false, false) => shows.join("+"),
    };
    f.write_str(&shown)?;
    if !forbids.is_empty() {
        write!(f, " less {}", forbids.join("+"))?;
    }
    if !hides.is_empty() {
        write!(f, " hide {}", hides.join("+"))?;
    }
    Ok(())
}

impl fmt::Display for Lens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shows = names(self.permits.iter().map(|clause| &clause.applied));
        let forbids = names(self.forbids.iter().map(|clause| &clause.applied));
        let cuts = self.cuts.iter().map(|clause| &clause.applied);
        let hides = names(self.hides.iter().chain(cuts));
        write_lens(f, self.everything, &shows, &forbids, &hides)
    }
}

impl fmt::Display for ViewLens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shows, forbids) = (names(self.permits.iter()), names(self.forbids.iter()));
        write_lens(
            f,
            self.everything,
            &shows,
            &forbids,
            &names(self.hides.iter()),
        )?;
        if let Some(pins) = self.pins() {
            write!(f, " keys {}", pins.len())?;
        }
        if self.reduce_allowed() {
            f.write_str(" reduce")
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for WriteRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (permits, forbids) = (names(self.permits.iter()), names(self.forbids.iter()));
        write_lens(
            f,
            self.everything,
            &permits,
            &forbids,
            &names(self.hides.iter()),
        )
    }
}
