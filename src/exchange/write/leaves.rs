//! The leaves of a document's history, ranked as CouchDB ranks them.
//!
//! Invariant: what is asked of all leaves is found out once for each leaf, so that a row costs the same beside any
//! number of them.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher as _;

use crate::budget::{Counted, NoRoom, Share};
use crate::couch::{Couch, CouchError, Pace};
use crate::json::Value;
use crate::policy::{Denied, WriteRules};
use crate::refusal::Refusal;
use crate::route::{DbName, History, Rev};

/// The highest generation that is taken where nothing near it is stored: a thousand writes a second for more than
/// thirty years.
const HIGHEST: u128 = 1 << 40;

/// CouchDB's winner has the longest history, then the greater digest, byte by byte. No two leaves have one rank.
pub(crate) type Rank = (u128, Vec<u8>);

/// A leaf of a document's history: stored, or made by an earlier row of the same batch.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) document: Counted<Value>,
    pub(crate) stored: bool,
    /// In [`Ancestry`].
    place: usize,
}

impl Leaf {
    pub(crate) fn is_alive(&self) -> bool {
        self.document.get("_deleted").and_then(Value::as_bool) != Some(true)
    }

    pub(crate) fn rev(&self) -> Option<&str> {
        self.document.get("_rev").and_then(Value::as_str)
    }
}

/// The leaves of one document.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    all: BTreeMap<Rank, Leaf>,
    living: BTreeSet<Rank>,
    hidden: Findings,
    not_updated: Findings,
    not_deleted: Findings,
    ancestry: Option<Ancestry>,
    /// What rows were made of that continue no leaf, read for the next ones too.
    forks: HashMap<Rev, Option<Counted<Value>>>,
    pace: Pace,
}

/// Which leaf continues which revision, found out once for all rows that ask. Leaves have places here that outlive them.
#[derive(Debug)]
struct Ancestry {
    /// Revisions by their hashes.
    continued: HashMap<u64, usize>,
    hasher: RandomState,
    leaves: Vec<Rank>,
    share: Option<Share>,
}

/// What a revision takes in an [`Ancestry`], in bytes.
const REVISION: usize = 32;

impl Ancestry {
    fn new(share: Option<Share>) -> Self {
        Self {
            continued: HashMap::new(),
            hasher: RandomState::new(),
            leaves: Vec::new(),
            share,
        }
    }

    /// Takes in a leaf; one that replaces another takes its place.
    fn add(
        &mut self,
        rank: &Rank,
        document: &Value,
        place: Option<usize>,
    ) -> Result<usize, NoRoom> {
        let revisions = document.get("_revisions");
        let start = revisions.and_then(|told| told.get("start")?.as_number()?.as_u64());
        let ids = revisions.and_then(|told| told.get("ids")?.as_array());
        let ids = ids.unwrap_or_default();
        if let Some(share) = &mut self.share {
            share.add(ids.len().saturating_mul(REVISION))?;
        }
        let place = place.unwrap_or(self.leaves.len());
        match self.leaves.get_mut(place) {
            Some(replaced) => replaced.clone_from(rank),
            None => self.leaves.push(rank.clone()),
        }
        let generations = (1..=u128::from(start.unwrap_or_default())).rev();
        for (generation, id) in generations.zip(ids) {
            if let Some(id) = id.as_str() {
                let hash = self.hasher.hash_one((generation, id));
                self.continued.entry(hash).or_insert(place);
            }
        }
        Ok(place)
    }

    /// The leaf that continues this revision.
    fn leaf(&self, rev: &Rev) -> Option<&Rank> {
        let hash = self.hasher.hash_one((rev.generation(), rev.digest()));
        self.leaves.get(*self.continued.get(&hash)?)
    }
}

/// What rules have against living leaves.
#[derive(Debug, Default)]
struct Findings {
    /// Those that they have not been asked about.
    fresh: Vec<Rank>,
    against: BTreeMap<Rank, Denied>,
}

impl Findings {
    /// What they have against the best of those that they have anything against.
    fn ask(
        &mut self,
        leaves: &BTreeMap<Rank, Leaf>,
        judge: impl Fn(&Value) -> Result<(), Denied>,
    ) -> Option<&Denied> {
        for rank in self.fresh.drain(..) {
            let judged = leaves.get(&rank).map(|leaf| judge(&leaf.document));
            if let Some(Err(denied)) = judged {
                self.against.insert(rank, denied);
            }
        }
        self.against.last_key_value().map(|(_, denied)| denied)
    }
}

impl Leaves {
    /// Those that are stored; `None` where one has a revision that can't be told from others.
    pub(crate) fn stored(documents: impl IntoIterator<Item = Counted<Value>>) -> Option<Self> {
        let mut leaves = Self::default();
        for document in documents {
            let rank = rank(&revision(&document)?);
            leaves.add(rank, document, true, None);
        }
        Some(leaves)
    }

    /// The best of all, living or not.
    pub(crate) fn last(&self) -> Option<&Leaf> {
        self.all.last_key_value().map(|(_, leaf)| leaf)
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Leaf> {
        self.all.values()
    }

    fn add(&mut self, rank: Rank, document: Counted<Value>, stored: bool, place: Option<usize>) {
        let ancestry = self.ancestry.take();
        let added = ancestry.and_then(|mut ancestry| {
            let place = ancestry.add(&rank, &document, place).ok()?;
            Some((ancestry, place))
        });
        // Where there was no room for it, it is found out again by the next who asks.
        let (ancestry, place) = added.unzip();
        self.ancestry = ancestry;
        let leaf = Leaf {
            document,
            stored,
            place: place.unwrap_or_default(),
        };
        if leaf.is_alive() {
            self.living.insert(rank.clone());
            for findings in self.findings() {
                findings.fresh.push(rank.clone());
            }
        }
        self.all.insert(rank, leaf);
    }

    /// Takes a leaf out; which place it had in the ancestry.
    fn remove(&mut self, rank: &Rank) -> Option<usize> {
        let removed = self.all.remove(rank);
        self.living.remove(rank);
        for findings in self.findings() {
            findings.against.remove(rank);
        }
        let cache = self.ancestry.is_some();
        removed.filter(|_| cache).map(|leaf| leaf.place)
    }

    fn findings(&mut self) -> [&mut Findings; 3] {
        [
            &mut self.hidden,
            &mut self.not_updated,
            &mut self.not_deleted,
        ]
    }

    /// Whether a living one is not there for the writer.
    pub(crate) fn is_hidden(&mut self, rules: &WriteRules) -> bool {
        let cache = |leaf: &Value| rules.knows(leaf).then_some(()).ok_or(Denied::Missing);
        self.hidden.ask(&self.all, cache).is_some()
    }

    /// Whether each living one may be updated, or deleted.
    pub(crate) fn are_covered(&mut self, rules: &WriteRules, deletes: bool) -> Result<(), Denied> {
        let findings = match deletes {
            true => &mut self.not_deleted,
            false => &mut self.not_updated,
        };
        let denied = findings.ask(&self.all, |leaf| rules.covers(leaf, deletes));
        denied.cloned().map_or(Ok(()), Err)
    }

    /// The living leaf that CouchDB serves.
    pub(crate) fn winner(&self) -> Option<&Leaf> {
        self.all.get(self.living.last()?)
    }

    /// The one that it would serve without that revision.
    pub(crate) fn winner_without(&self, rev: Option<&str>) -> Option<&Leaf> {
        let mut best = self.living.iter().rev();
        best.find_map(|rank| self.all.get(rank).filter(|leaf| leaf.rev() != rev))
    }

    /// The leaf that this history continues: the nearest one that it names.
    pub(crate) fn extended(&self, history: &History) -> Option<(&Rank, &Leaf)> {
        let mut named = history.iter();
        named.find_map(|rev| self.all.get_key_value(&rank(rev)))
    }

    /// The leaf that what may not change is compared with: the living one that is extended; the winner where there is
    /// none, or where the document will win over it.
    pub(crate) fn base(&self, document: &Value) -> Option<&Leaf> {
        self.base_of(&History::of(document)?, deletes(document))
    }

    /// Security: a losing leaf may be as the document was long ago.
    /// (`no_losing_leaf_brings_back_what_its_writer_may_not_change`)
    pub(crate) fn base_of(&self, history: &History, deletes: bool) -> Option<&Leaf> {
        let best = self.living.last()?;
        let wins = rank(history.own()) > *best;
        let extended = self.extended(history).map(|(_, leaf)| leaf);
        extended
            .filter(|leaf| leaf.is_alive() && (deletes || !wins))
            .or_else(|| self.winner())
    }

    /// The leaf that a tombstone ends, or whose end it repeats.
    pub(crate) fn ended(&self, document: &Value) -> Option<&Leaf> {
        let history = History::of(document)?;
        let extended = || self.extended(&history).map(|(_, leaf)| leaf);
        let last = || self.last();
        self.base_of(&history, true).or_else(extended).or_else(last)
    }

    /// Where this document continues no leaf, and nothing is alive or it is a tombstone: the nearest revision that it was
    /// made of and that a leaf continues, and that leaf.
    pub(crate) fn fork(
        &mut self,
        document: &Value,
        share: impl FnOnce() -> Option<Share>,
    ) -> Result<Option<(Rev, &Leaf)>, NoRoom> {
        let Some(history) = History::of(document) else {
            return Ok(None);
        };
        let lives_on = !self.living.is_empty() && !deletes(document);
        if lives_on || self.extended(&history).is_some() {
            return Ok(None);
        }
        if self.ancestry.is_none() {
            let mut ancestry = Ancestry::new(share());
            for (rank, leaf) in &mut self.all {
                leaf.place = ancestry.add(rank, &leaf.document, None)?;
            }
            self.ancestry = Some(ancestry);
        }
        let leaf = |rev: &Rev| self.all.get(self.ancestry.as_ref()?.leaf(rev)?);
        let mut named = history.iter();
        Ok(named.find_map(|rev| Some((rev.clone(), leaf(rev)?))))
    }

    /// The body of what a document forks from (see [`Self::fork`]), as far as CouchDB still has it, and the leaf beside
    /// it. What the writes behind it fork from is read together with it: CouchDB reads all of a document for each request.
    pub(crate) async fn read_fork(
        &mut self,
        couch: &Couch,
        (db, id): (&DbName, &str),
        document: &Value,
        behind: impl Iterator<Item = &Value>,
    ) -> Result<Option<(Option<Counted<Value>>, &Leaf)>, CouchError> {
        let Some((rev, _)) = self.fork(document, || couch.share())? else {
            return Ok(None);
        };
        if !self.forks.contains_key(&rev) {
            let mut next = vec![rev.clone()];
            for one in behind.take(self.pace.most()) {
                let fork = self.fork(one, || couch.share())?;
                next.extend(fork.map(|(rev, _)| rev));
            }
            let named: Vec<_> = next.iter().map(|rev| (id, Some(rev.as_str()))).collect();
            let found = couch
                .read_some_revisions(db, &named, &mut self.pace)
                .await?;
            let found = found.into_iter().map(|found| found?.into_iter().next());
            self.forks = next.into_iter().zip(found).collect();
        }
        let body = self.forks.get(&rev).cloned().flatten();
        let fork = self.fork(document, || couch.share())?;
        Ok(fork.map(|(_, leaf)| (body, leaf)))
    }

    /// Whether the generation can have been reached from what is stored, as far as the writer knows it.
    ///
    /// Security: CouchDB takes any number, and each one after it must be greater. Near the greatest that a reader can
    /// hold nobody could write any more. (`a_forged_generation_leaves_room_for_those_after_it`)
    pub(crate) fn has_room_for(&self, history: &History, hidden: bool) -> bool {
        let last = self.all.last_key_value().filter(|_| !hidden);
        let stored = last.map_or(0, |((generation, _), _)| *generation);
        let after = stored.saturating_add(history.length());
        history.own().generation() <= after.max(HIGHEST)
    }

    /// A row of a batch was taken: it replaces the leaf that it extends.
    pub(crate) fn grow(&mut self, document: Value) {
        let Some(history) = History::of(&document) else {
            return;
        };
        let own = rank(history.own());
        if self.all.contains_key(&own) {
            return; // It is there already.
        }
        let extended = self.extended(&history).map(|(rank, _)| rank.clone());
        let place = extended.and_then(|extended| self.remove(&extended));
        self.add(own, Counted::free(document), false, place);
    }
}

/// The revisions by which this write of somebody whom no rule binds would be stored above the highest generation. It
/// names them in its document, elsewhere in the request, or by `If-Match`.
///
/// Security: see `has_room_for`. An ordinary write is stored above the revision that it names, also where nothing is
/// stored.
/// (`a_forged_generation_leaves_room_for_those_after_it`, `no_way_to_write_stores_a_forged_generation`)
pub(crate) fn far_revisions(
    document: Option<&Value>,
    named: &[Option<&Rev>],
    if_match: Option<&str>,
    forced: bool,
) -> Result<Vec<Rev>, Refusal> {
    const INVALID: Refusal = Refusal::BadRequest("Invalid rev format");
    let names =
        |document: &&Value| document.get("_rev").is_some() || document.get("_revisions").is_some();
    let own = document.filter(names).map(|document| {
        let history = History::of(document).ok_or(INVALID)?;
        Ok(history.own().clone())
    });
    let tag = if_match.map(|tag| Rev::parse(tag.trim_matches('"')).map_err(|_| INVALID));
    let named = named.iter().flatten().map(|rev| Ok((*rev).clone()));
    let mut far = Vec::new();
    for rev in named.chain(own).chain(tag) {
        let rev = rev?;
        let stored_as = rev.generation().saturating_add(u128::from(!forced));
        match (rev.generation(), stored_as) {
            (0, _) => return Err(INVALID),
            (_, ..=HIGHEST) => {}
            _ => far.push(rev),
        }
    }
    Ok(far)
}

/// The answer to a generation that can't have been reached.
pub(crate) const FAR: Refusal = Refusal::Forbidden(
    "the generation is far above what `_revisions` and the stored revisions account for",
);

fn deletes(document: &Value) -> bool {
    document.get("_deleted").and_then(Value::as_bool) == Some(true)
}

fn revision(document: &Value) -> Option<Rev> {
    Rev::parse(document.get("_rev")?.as_str()?).ok()
}

fn rank(rev: &Rev) -> Rank {
    (rev.generation(), digest(rev.digest()))
}

/// As CouchDB keeps it: 32 hexadecimal digits are 16 bytes, anything else is what it is.
fn digest(text: &str) -> Vec<u8> {
    let nibbles: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    match nibbles {
        Some(nibbles) if nibbles.len() == 32 => nibbles
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, nibble| (byte << 4) | nibble))
            .collect(),
        Some(_) | None => text.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests;
