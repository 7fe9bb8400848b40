#![doc = include_str!("ARCHITECTURE.md")]

pub mod body;
mod budget;
pub mod caller;
pub mod mistake;
pub mod refusal;
pub mod secret;
mod shares;

pub mod json;
pub mod route;

pub mod policy;

pub mod config;
pub mod observe;

pub mod client;
mod couch;
mod identity;
pub mod intake;

pub mod exchange;

pub mod cors;
mod services;

pub mod cli;
mod own;
mod pipeline;
mod serve;
pub mod server;

pub use serve::{StartError, check, check_ends, serve};
pub use services::ddocs::{DeployError, Deployed, Wish, check as check_ddocs, deploy};
