//! How much memory requests may take, over all of them and for each caller: bodies that are read whole, what is
//! derived from them, and what is read from CouchDB in order to judge them.
//!
//! Invariant: what JSON will take once it is parsed is counted before it is parsed, and given back when the last one
//! who holds it lets go.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::refusal::{Limit, Refusal, Shared};
use crate::shares::{Capacity, Full, Held, Holder, Holdings};

/// What is counted at once; the rest of a body is counted with its next bytes.
const UNIT: usize = 1024;
/// The first of every body, in units, counts to nobody as long as there is room for it: long ones must not keep short
/// ones out.
const FIRST: usize = 64;
/// What there is for those first ones, beside the budget: so much of it, in percent. Where it is used up they count like
/// the rest.
const FIRST_PERCENT: usize = 25;

/// The budget of one start of the program, or of one request, which counts to whom the request counts to.
#[derive(Debug)]
pub(crate) struct Budget {
    units: Arc<Capacity>,
    first: Arc<Capacity>,
    holdings: Option<Arc<Holdings>>,
}

/// What one body, or something that was derived from a request, has of it.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    weight: usize,
    first: Option<Held>,
    held: Option<Held>,
}

/// Why something can't be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    /// It takes more than one caller ever gets.
    #[error("it takes more memory than there is for one caller")]
    Ever,
    /// The caller holds too much.
    #[error("the caller holds too much for it now")]
    Share,
    /// Others hold too much.
    #[error("there is no memory left for it now")]
    Now,
}

impl From<NoRoom> for Refusal {
    fn from(reason: NoRoom) -> Self {
        match reason {
            NoRoom::Ever => Self::TooLarge(Limit::Body),
            NoRoom::Share => Full::Share.refusal(Shared::Bodies),
            NoRoom::Now => Full::All.refusal(Shared::Bodies),
        }
    }
}

impl From<Full> for NoRoom {
    fn from(full: Full) -> Self {
        match full {
            Full::Share => Self::Share,
            Full::All => Self::Now,
        }
    }
}

impl Budget {
    /// So many bytes, and so many percent of them for one caller.
    pub(crate) fn new(bytes: usize, percent: u8) -> Self {
        let units = bytes / UNIT;
        Self {
            units: Capacity::new(units, percent),
            first: Capacity::new(units.saturating_mul(FIRST_PERCENT) / 100, 100),
            holdings: None,
        }
    }

    /// The same budget for what this request needs.
    pub(crate) fn of_request(&self, holdings: &Arc<Holdings>) -> Arc<Self> {
        Arc::new(Self {
            units: Arc::clone(&self.units),
            first: Arc::clone(&self.first),
            holdings: Some(Arc::clone(holdings)),
        })
    }

    /// Whom it counts to by now.
    fn holder(&self) -> Holder {
        let holdings = self.holdings.as_ref();
        holdings.map_or(Holder::Many, |holdings| holdings.holder())
    }
}

impl Share {
    /// Nothing yet.
    pub(crate) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            weight: 0,
            first: None,
            held: None,
        }
    }

    /// Counts more bytes of JSON that will be parsed.
    pub(crate) fn count(&mut self, json: &[u8]) -> Result<(), NoRoom> {
        self.set(self.weight.saturating_add(weight(json)))
    }

    /// How much is counted.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Counts more bytes that are held as they are.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.set(self.weight.saturating_add(bytes))
    }

    /// Holds as much as this, whatever was held before. Where there is no room nothing changes.
    pub(crate) fn set(&mut self, weight: usize) -> Result<(), NoRoom> {
        let units = weight / UNIT;
        let before = self.first();
        let needed = units.saturating_sub(self.set_first(units.min(FIRST)));
        // What will fit once there is room for its first units is refused for now only.
        let least = units.saturating_sub(FIRST);
        let set = match &mut self.held {
            None if needed == 0 => Ok(()),
            None => {
                let (all, holder) = (&self.budget.units, self.budget.holder());
                match least > all.most_of(&holder) {
                    true => Err(NoRoom::Ever),
                    false => all.take(holder, needed).map_err(NoRoom::from).map(|held| {
                        self.held = Some(held);
                    }),
                }
            }
            Some(held) if least > held.most() => Err(NoRoom::Ever),
            Some(held) => held.set(needed).map_err(NoRoom::from),
        };
        match set {
            Ok(()) => self.weight = weight,
            Err(_) => {
                self.set_first(before);
            }
        }
        set
    }

    /// How many of its first units count to nobody.
    fn first(&self) -> usize {
        self.first.as_ref().map_or(0, Held::count)
    }

    /// So many from now on, or as many as before where there is no room for more.
    fn set_first(&mut self, count: usize) -> usize {
        match &mut self.first {
            None if count == 0 => {}
            None => self.first = self.budget.first.take(Holder::Many, count).ok(),
            Some(first) => {
                let _ = first.set(count);
            }
        }
        self.first()
    }

    /// The whole body, which keeps its share as long as somebody holds it.
    pub(crate) fn keep(self, body: Bytes) -> Bytes {
        match (&self.first, &self.held) {
            (None, None) => body,
            (Some(_), _) | (_, Some(_)) => Bytes::from_owner(Kept { body, _share: self }),
        }
    }
}

/// Something that was read for a request, with what it takes of the memory. Its copies are the same one.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    value: Arc<T>,
    /// Others that were read together with it may have the same. None where nobody counts.
    share: Option<Arc<Share>>,
}

impl<T> Counted<T> {
    /// It keeps this share as long as somebody holds it.
    pub(crate) fn new(value: T, share: Option<Arc<Share>>) -> Self {
        Self {
            value: Arc::new(value),
            share,
        }
    }

    /// It is counted elsewhere, or is our own.
    pub(crate) fn free(value: T) -> Self {
        Self::new(value, None)
    }
}

impl<T: Clone> Counted<T> {
    /// The value itself, which nobody counts any more.
    pub(crate) fn into_inner(self) -> T {
        Arc::unwrap_or_clone(self.value)
    }
}

impl<T> Clone for Counted<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            share: self.share.clone(),
        }
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

struct Kept {
    body: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// What bytes take, read as JSON: themselves, and the tree that they are parsed to. A comma stands for one more
/// element or member in a list that may have grown to twice its length, a bracket for a list that may hold few.
pub(crate) fn weight(bytes: &[u8]) -> usize {
    let of = |byte: &u8| match byte {
        b',' => 64,
        b'[' => 128,
        b'{' => 256,
        _ => 1,
    };
    bytes.iter().map(of).sum()
}
