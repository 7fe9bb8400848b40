//! Which of the revisions that a client has named are missing from an answer.

use std::collections::HashSet;

use crate::json::{JsonError, Value, members, string};
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
