//! How much memory the bodies that are read whole may take, over all requests.
//!
//! Invariant: what a body will take once it is parsed is counted before it is parsed, and given back when the last
//! one who holds its bytes lets go of them.

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

/// What one body has of it.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    weight: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// So many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let most = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(most)),
            most,
        }
    }
}

impl Share {
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            weight: 0,
            held: None,
        }
    }

    /// Counts more bytes of the body, or says that there is no room for them: ever, or now.
    pub(super) fn count(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.weight = self.weight.saturating_add(weight(bytes));
        let needed = self.weight.saturating_sub(FREE) / UNIT;
        let has = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if needed > self.budget.most {
            return Err(Refusal::TooLarge(Limit::Body));
        }
        let Ok(more @ 1..) = u32::try_from(needed.saturating_sub(has)) else {
            return Ok(());
        };
        let units = Arc::clone(&self.budget.units);
        let more = units
            .try_acquire_many_owned(more)
            .map_err(|_| Refusal::Unavailable(1))?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// The whole body, which keeps its share as long as somebody holds it.
    pub(super) fn keep(self, body: Bytes) -> Bytes {
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
