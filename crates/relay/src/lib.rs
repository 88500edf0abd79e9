//! The relay: stores and forwards between sites, and reads none of it.
//!
//! It links nothing that could: no AE title, UID, transfer syntax or name stands outside an envelope, and this crate knows
//! only routings. Each site dials in with a certificate of the relay's own CA; what it sends waits in the queue
//! `@SITE` of its destination until that site is there.

mod args;
mod commands;
mod config;
mod custody;
mod daemon;
mod enroll;
mod sites;

pub use args::{Cli, Command, Output};
pub use commands::{CommandError, run, told};
pub use config::{Config, RawConfig};
pub use daemon::{Relay, Running, StartError};
