//! What the tests stand on: a cast of callers, a couchwarden over TLS before a real backend, a client, a fake
//! CouchDB, and PouchDB in Node.

mod cast;
mod client;
mod fake;
mod pouch;
mod world;

pub use cast::backend;
pub use client::{Answer, Client, Feed};
pub use fake::{Fake, Seen, Step, chunked, plain};
pub use pouch::Pouch;
pub use world::World;
