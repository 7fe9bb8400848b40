//! How much memory requests may take, over all of them: bodies that are read whole, what is derived from them, and
//! what is read from CouchDB in order to judge them.
//!
//! Invariant: what JSON will take once it is parsed is counted before it is parsed, and given back when the last one
//! who holds it lets go.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::{Limit, Refusal};

/// What is counted at once; the rest of a body is counted with its next bytes.
const UNIT: usize = 1024;
/// Until a body takes more than this, it is not counted: long ones must not keep short ones out.
const FREE: usize = 64 * UNIT;

/// The budget of one start of the program.
#[derive(Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    most: usize,
}

/// What one body, or something that was derived from a request, has of it.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    weight: usize,
    held: Option<OwnedSemaphorePermit>,
}

/// Why something can't be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    /// It takes more than there is for all.
    #[error("it takes more memory than there is for all bodies")]
    Ever,
    /// Others hold too much.
    #[error("there is no memory left for it now")]
    Now,
}

impl From<NoRoom> for Refusal {
    fn from(reason: NoRoom) -> Self {
        match reason {
            NoRoom::Ever => Self::TooLarge(Limit::Body),
            NoRoom::Now => Self::Unavailable(1),
        }
    }
}

impl Budget {
    /// So many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let most = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(most)),
            most,
        }
    }
}

impl Share {
    pub(crate) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            weight: 0,
            held: None,
        }
    }

    /// Counts more bytes of JSON that will be parsed.
    pub(crate) fn count(&mut self, json: &[u8]) -> Result<(), NoRoom> {
        self.set(self.weight.saturating_add(weight(json)))
    }

    /// Holds as much as this, whatever was held before. Where there is no room nothing changes.
    pub(crate) fn set(&mut self, weight: usize) -> Result<(), NoRoom> {
        let needed = weight.saturating_sub(FREE) / UNIT;
        if needed > self.budget.most {
            return Err(NoRoom::Ever);
        }
        let has = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if needed < has {
            let rest = has.saturating_sub(needed);
            drop(self.held.as_mut().and_then(|held| held.split(rest)));
        } else if let Ok(more @ 1..) = u32::try_from(needed.saturating_sub(has)) {
            let units = Arc::clone(&self.budget.units);
            let more = units.try_acquire_many_owned(more);
            let more = more.map_err(|_| NoRoom::Now)?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        }
        self.weight = weight;
        Ok(())
    }

    /// The whole body, which keeps its share as long as somebody holds it.
    pub(crate) fn keep(self, body: Bytes) -> Bytes {
        match self.held {
            None => body,
            Some(_) => Bytes::from_owner(Kept { body, _share: self }),
        }
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
fn weight(bytes: &[u8]) -> usize {
    let of = |byte: &u8| match byte {
        b',' => 64,
        b'[' => 128,
        b'{' => 256,
        _ => 1,
    };
    bytes.iter().map(of).sum()
}
