//! Who may hold how much of what all share: connections, streams, feeds, and memory for bodies.
//!
//! What is held counts to a name, or to an address as long as no name is known. None of them ever holds more than its
//! share of what the others leave. With a share of one half, the first gets half of everything and the next half of the
//! rest, so that however many are greedy, there is room for one more.
//!
//! Invariant: what is held is given back exactly once, when its [`Held`] is dropped, however that comes about; who holds
//! nothing is not remembered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::caller::{Caller, UserName};
use crate::refusal::{Refusal, Shared};

/// To whom it counts what is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// Who has a name, wherever they come from.
    Name(UserName),
    /// Who has none yet, by [`network`].
    Address(IpAddr),
    /// An address that stands for many: it has no share of its own.
    Many,
}

impl Holder {
    /// Who comes from this address, of which no one else is known to come.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// By name, if the caller has one.
    pub(crate) fn of(caller: &Caller) -> Option<Self> {
        caller.user().map(|user| Self::Name(user.name.clone()))
    }
}

/// Who has one IPv6 address has all of its /64.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

/// Why no more can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// This holder has its share.
    Share,
    /// Nobody gets more.
    All,
}

impl Full {
    /// The answer to who asked for one more of these.
    pub(crate) fn refusal(self, of: Shared) -> Refusal {
        let wait = match of {
            // Short requests end soon, what is long does not.
            Shared::Streams | Shared::Bodies => 1,
            Shared::Connections | Shared::Feeds => 10,
        };
        match self {
            Self::Share => Refusal::OverShare(of, wait),
            Self::All => Refusal::Unavailable(wait),
        }
    }
}

/// So many of one thing, for all.
#[derive(Debug)]
pub(crate) struct Capacity {
    most: usize,
    /// The share of one holder, in percent of what the others leave.
    percent: u8,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    all: usize,
    by: HashMap<Holder, usize>,
}

impl Ledger {
    fn of(&self, holder: &Holder) -> usize {
        self.by.get(holder).copied().unwrap_or_default()
    }

    fn add(&mut self, holder: &Holder, count: usize) {
        self.all = self.all.saturating_add(count);
        if *holder != Holder::Many && count > 0 {
            let held = self.by.entry(holder.clone()).or_default();
            *held = held.saturating_add(count);
        }
    }

    fn remove(&mut self, holder: &Holder, count: usize) {
        self.all = self.all.saturating_sub(count);
        if let Some(held) = self.by.get_mut(holder) {
            *held = held.saturating_sub(count);
            if *held == 0 {
                self.by.remove(holder);
            }
        }
        // A crowd that has gone leaves no empty ledger behind.
        if self.by.capacity() > 64 && self.by.len() * 8 < self.by.capacity() {
            self.by.shrink_to(self.by.len() * 2);
        }
    }
}

impl Capacity {
    pub(crate) fn new(most: usize, percent: u8) -> Arc<Self> {
        Arc::new(Self {
            most,
            percent,
            ledger: Mutex::default(),
        })
    }

    /// The most that this holder gets where nobody else holds anything.
    pub(crate) fn most_of(&self, holder: &Holder) -> usize {
        self.share(holder, self.most)
    }

    /// Takes so many of it, for as long as the result lives.
    pub(crate) fn take(self: &Arc<Self>, holder: Holder, count: usize) -> Result<Held, Full> {
        let mut held = Held {
            capacity: Arc::clone(self),
            holder,
            count: 0,
        };
        held.set(count)?;
        Ok(held)
    }

    /// Of what the others leave, what one may hold: at least one, so that a newcomer gets the last.
    fn share(&self, holder: &Holder, left: usize) -> usize {
        match holder {
            Holder::Many => left,
            Holder::Name(_) | Holder::Address(_) => {
                (left.saturating_mul(usize::from(self.percent)) / 100).max(1)
            }
        }
    }

    /// May this holder have so many, when all of them together have so many?
    fn fits(&self, holder: &Holder, has: usize, all: usize) -> Result<(), Full> {
        let others = all.saturating_sub(has);
        let left = self.most.saturating_sub(others);
        if *holder != Holder::Many && has > self.share(holder, left) {
            return Err(Full::Share);
        }
        if all > self.most {
            return Err(Full::All);
        }
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one holder has of a capacity.
#[derive(Debug)]
pub(crate) struct Held {
    capacity: Arc<Capacity>,
    holder: Holder,
    count: usize,
}

impl Held {
    /// How many it holds.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The most that its holder gets where nobody else holds anything.
    pub(crate) fn most(&self) -> usize {
        self.capacity.most_of(&self.holder)
    }

    /// Holds so many from now on; if more does not fit, nothing changes.
    pub(crate) fn set(&mut self, count: usize) -> Result<(), Full> {
        let mut ledger = self.capacity.ledger();
        if let more @ 1.. = count.saturating_sub(self.count) {
            let has = ledger.of(&self.holder).saturating_add(more);
            let all = ledger.all.saturating_add(more);
            self.capacity.fits(&self.holder, has, all)?;
            ledger.add(&self.holder, more);
        } else {
            ledger.remove(&self.holder, self.count.saturating_sub(count));
        }
        self.count = count;
        Ok(())
    }

    /// Counts it to somebody else from now on; if that does not fit, it stays where it is.
    pub(crate) fn hand_over(&mut self, holder: &Holder) -> Result<(), Full> {
        if self.holder == *holder {
            return Ok(());
        }
        let mut ledger = self.capacity.ledger();
        let has = ledger.of(holder).saturating_add(self.count);
        self.capacity.fits(holder, has, ledger.all)?;
        ledger.remove(&self.holder, self.count);
        ledger.add(holder, self.count);
        self.holder = holder.clone();
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.capacity.ledger().remove(&self.holder, self.count);
    }
}

/// Whom a request counts to, and what it holds until its answer has ended.
#[derive(Debug)]
pub(crate) struct Holdings(Mutex<Tally>);

#[derive(Debug)]
struct Tally {
    holder: Holder,
    held: Vec<Held>,
}

impl Holdings {
    pub(crate) fn new(holder: Holder) -> Arc<Self> {
        let held = Vec::new();
        Arc::new(Self(Mutex::new(Tally { holder, held })))
    }

    /// Whom it counts to by now.
    pub(crate) fn holder(&self) -> Holder {
        self.tally().holder.clone()
    }

    /// Takes one of these, to be held until the end.
    pub(crate) fn take(&self, capacity: &Arc<Capacity>) -> Result<(), Full> {
        let mut tally = self.tally();
        let one = capacity.take(tally.holder.clone(), 1)?;
        tally.held.push(one);
        Ok(())
    }

    /// It is known now whose all this is.
    pub(crate) fn hand_over(&self, holder: &Holder) -> Result<(), Full> {
        let mut tally = self.tally();
        for held in &mut tally.held {
            held.hand_over(holder)?;
        }
        tally.holder = holder.clone();
        Ok(())
    }

    /// Whether it holds anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.tally().held.is_empty()
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place that a connection takes.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    held: Mutex<Held>,
    user: ConnectionUser,
    _free: Option<OwnedSemaphorePermit>,
}

/// Who uses a connection.
#[derive(Debug, Clone, Copy)]
enum ConnectionUser {
    /// One client, whose name is learnt from a request.
    Client,
    /// A proxy, which brings the requests of many.
    Proxy,
}

impl ConnectionPlace {
    /// A client's, which counts to the name by which the client was known last.
    pub(crate) fn of_client(held: Held) -> Self {
        Self::new(held, ConnectionUser::Client)
    }

    /// A trusted proxy's: the callers that it brings are not counted by it.
    pub(crate) fn of_proxy(held: Held) -> Self {
        Self::new(held, ConnectionUser::Proxy)
    }

    fn new(held: Held, user: ConnectionUser) -> Self {
        Self {
            held: Mutex::new(held),
            user,
            _free: None,
        }
    }

    /// The permit that it was accepted by, which goes back with it.
    #[must_use]
    pub(crate) fn with(self, free: OwnedSemaphorePermit) -> Self {
        Self {
            _free: Some(free),
            ..self
        }
    }

    /// The connection has brought a request of this one.
    pub(crate) fn hand_over(&self, holder: &Holder) -> Result<(), Full> {
        match self.user {
            ConnectionUser::Proxy => Ok(()),
            ConnectionUser::Client => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                held.hand_over(holder)
            }
        }
    }
}

#[cfg(test)]
mod tests;
