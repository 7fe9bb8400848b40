//! In how many ways a text splits along a pattern.
//!
//! Invariant: the work is bound by parts × length, whatever the text; a match is reported only where it is the
//! only one.

/// In how many ways a pattern splits a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum Ways<'t> {
    /// It does not match.
    None,
    /// It matches, and the wildcards took these parts.
    One(Vec<&'t str>),
    /// Two readings or more.
    Many,
}

/// A piece with its variables settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Part<'p> {
    Text(&'p str),
    /// Any text, the empty one too.
    Any,
    /// Any text that is not empty.
    Some,
}

/// With one wildcard at most there is one reading at most; with more they are counted.
pub(in crate::policy) fn ways<'t>(parts: &[Part<'_>], text: &'t str) -> Ways<'t> {
    let mut rest = text;
    let mut parts = parts;
    while let [Part::Text(own), after @ ..] = parts {
        let Some(left) = rest.strip_prefix(own) else {
            return Ways::None;
        };
        (rest, parts) = (left, after);
    }
    while let [before @ .., Part::Text(own)] = parts {
        let Some(left) = rest.strip_suffix(own) else {
            return Ways::None;
        };
        (rest, parts) = (left, before);
    }
    match parts {
        [] if rest.is_empty() => Ways::One(Vec::new()),
        [Part::Any] => Ways::One(vec![rest]),
        [Part::Some] if !rest.is_empty() => Ways::One(vec![rest]),
        [] | [_] => Ways::None,
        parts => several(parts, rest),
    }
}

/// Counts readings from the right, up to two, then walks the only one. Work: parts × length.
fn several<'t>(parts: &[Part<'_>], text: &'t str) -> Ways<'t> {
    let width = text.len() + 1;
    // The last row: nothing is left of the pattern, so nothing may be left of the text.
    let mut rows = vec![
        (0..width)
            .map(|at| u8::from(at == text.len()))
            .collect::<Vec<u8>>(),
    ];
    for part in parts.iter().rev() {
        let below = rows.last().map_or(&[][..], Vec::as_slice);
        let row = match part {
            Part::Text(own) => (0..width)
                .map(|at| match text.get(at..) {
                    Some(rest) if rest.starts_with(own) => {
                        below.get(at + own.len()).copied().unwrap_or(0)
                    }
                    Some(_) | None => 0,
                })
                .collect(),
            Part::Any | Part::Some => {
                let mut row = vec![0; width];
                let mut sum = 0u8;
                for at in (0..width).rev() {
                    let here = if text.is_char_boundary(at) {
                        below.get(at).copied().unwrap_or(0)
                    } else {
                        0
                    };
                    let with = (sum + here).min(2);
                    if let Some(cell) = row.get_mut(at) {
                        *cell = if *part == Part::Any { with } else { sum };
                    }
                    sum = with;
                }
                row
            }
        };
        rows.push(row);
    }
    rows.reverse();
    match rows.first().and_then(|row| row.first()) {
        Some(0) | None => Ways::None,
        Some(1) => walk(parts, &rows, text),
        Some(_) => Ways::Many,
    }
}

/// Follows the only reading. `rows[n][at]`: in how many ways the parts from `n` on read the text from `at` on.
fn walk<'t>(parts: &[Part<'_>], rows: &[Vec<u8>], text: &'t str) -> Ways<'t> {
    let mut taken = Vec::new();
    let mut at = 0;
    for (part, below) in parts.iter().zip(rows.iter().skip(1)) {
        let from = match part {
            Part::Text(own) => {
                at += own.len();
                continue;
            }
            Part::Any => at,
            Part::Some => at + 1,
        };
        let Some(to) =
            (from..=text.len()).find(|to| text.is_char_boundary(*to) && below.get(*to) == Some(&1))
        else {
            return Ways::None;
        };
        taken.push(text.get(at..to).unwrap_or(""));
        at = to;
    }
    Ways::One(taken)
}
