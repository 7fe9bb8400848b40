#![doc = include_str!("ARCHITECTURE.md")]

pub mod body;
pub mod caller;
pub mod refusal;
pub mod secret;

pub mod json;
pub mod route;

pub mod policy;

pub mod config;
pub mod observe;

pub mod client;
mod couch;
pub mod intake;
mod identity;

mod inspect;
pub mod rewrite;
mod upstream;
pub mod filter;

pub mod cors;
mod node;
mod session;

mod own;
mod pipeline;
pub mod server;
mod serve;

pub use serve::{StartError, check, serve};
