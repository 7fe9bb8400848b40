//! `open_revs`: the leaves of one document, all of them or those that a client has named.
//!
//! Invariant: of the revisions that were named, those that are hidden and those that are absent are answered alike:
//! as missing, behind all others, in the order of CouchDB.

use std::collections::HashSet;

use crate::exchange::gaps::LeftOut;
use crate::exchange::redact::{Piece, Seen, show};
use crate::exchange::rows::revisions::Known;
use crate::json::{JsonError, Row, Value, members, quote, string};
use crate::policy::Lens;
use crate::route::{History, Rev};

/// Revisions that a client has named and that nothing has answered yet.
#[derive(Debug)]
pub(crate) struct Unanswered {
    revs: Vec<String>,
    /// Whether the client wants the histories of what answers.
    histories: bool,
    /// Whether a descendant answers for those before it.
    latest: bool,
}

impl Unanswered {
    /// At first, all of them.
    pub(crate) fn new(asked: &[Rev], histories: bool, latest: bool) -> Self {
        let mut seen = HashSet::new();
        let revs = asked.iter().filter(|rev| seen.insert(rev.as_str()));
        let mut revs: Vec<&Rev> = revs.collect();
        revs.sort_by_key(|rev| (rev.generation(), rev.digest()));
        Self {
            revs: revs
                .into_iter()
                .map(|rev| rev.as_str().to_owned())
                .collect(),
            histories,
            latest,
        }
    }

    /// A document, as it is shown, answers for its own revision, and with `latest` for those before it: its history
    /// tells, which is taken out of it where the client has not asked for it.
    pub(crate) fn answered_by(&mut self, document: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut told = false;
        for member in members(document) {
            let member = member?;
            match &*member.key {
                "_rev" => {
                    let rev = string(member.value)?;
                    self.revs.retain(|asked| *asked != rev);
                }
                "_revisions" if self.latest => {
                    let history = History::read(&Value::parse(member.value)?);
                    let named: HashSet<&str> = history
                        .iter()
                        .flat_map(History::iter)
                        .map(Rev::as_str)
                        .collect();
                    self.revs.retain(|asked| !named.contains(asked.as_str()));
                    told = true;
                }
                _ => {}
            }
        }
        if told && !self.histories {
            *document = without_history(document)?;
        }
        Ok(())
    }

    /// Those that are missing.
    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.revs)
    }
}

/// The document without its `_revisions`.
fn without_history(document: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut rest = vec![b'{'];
    for member in members(document) {
        let member = member?;
        if member.key == "_revisions" {
            continue;
        }
        if rest.len() > 1 {
            rest.push(b',');
        }
        rest.extend_from_slice(document.get(member.whole).unwrap_or_default());
    }
    rest.push(b'}');
    Ok(rest)
}

/// How the leaves of one document are shown.
#[derive(Debug)]
pub(crate) struct OpenRevs {
    /// What the caller may see.
    pub(crate) lens: Lens,
    /// Those that were named; none where all are asked for.
    pub(crate) named: Option<Unanswered>,
    /// Those of them that are not given.
    pub(crate) left_out: LeftOut,
}

impl OpenRevs {
    pub(crate) fn row(
        &mut self,
        row: Row<'_>,
        known: &mut Known,
        out: &mut Vec<u8>,
    ) -> Result<Seen, JsonError> {
        let mut seen = Seen::Hidden;
        for member in row.members() {
            let member = member?;
            let mark = out.len();
            match &*member.key {
                "missing" => {}
                "ok" => {
                    out.extend_from_slice(b"{\"ok\":");
                    let start = out.len();
                    seen = show(&self.lens, Piece::Whole(member.value), known, out)?;
                    match (seen, &mut self.named) {
                        (Seen::Shown, Some(named)) => {
                            let mut shown = out.split_off(start);
                            named.answered_by(&mut shown)?;
                            out.append(&mut shown);
                        }
                        (Seen::Shown, None) => {}
                        (Seen::Hidden | Seen::Later, _) => {
                            out.truncate(mark);
                            continue;
                        }
                    }
                    out.push(b'}');
                }
                _ => return Err(JsonError::Expected("a row of this endpoint")),
            }
        }
        Ok(seen)
    }

    /// Behind the last leaf: what was named and is missing.
    pub(crate) fn last(&mut self, out: &mut Vec<u8>) -> Seen {
        let missing = self
            .named
            .as_mut()
            .map(Unanswered::take)
            .unwrap_or_default();
        for (index, rev) in missing.iter().enumerate() {
            out.extend_from_slice(if index > 0 {
                b",\r\n{\"missing\":"
            } else {
                b"{\"missing\":"
            });
            quote(rev, out);
            out.push(b'}');
        }
        if missing.is_empty() {
            return Seen::Hidden;
        }
        self.left_out.something();
        Seen::Shown
    }
}
