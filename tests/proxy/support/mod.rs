//! What the tests stand on: a cast of callers, a couchwarden over TLS before a real backend, a client, a fake
//! CouchDB, a CouchDB behind TLS, and PouchDB in Node.

mod cast;
mod client;
mod cutter;
mod fake;
mod kept;
mod pipe;
mod pouch;
mod tap;
mod world;

pub(crate) use cast::{PASSWORD, backend, roles_of_user, set_roles, unique};
pub(crate) use client::{Answer, Client, Feed};
pub(crate) use cutter::Cutter;
pub(crate) use fake::{Fake, Seen, Step, chunked, errand, plain};
pub(crate) use kept::{Ask, Kept};
pub(crate) use pipe::Pipe;
pub(crate) use pouch::Pouch;
pub(crate) use tap::Tap;
pub(crate) use world::World;
