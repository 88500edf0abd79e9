//! The edge gateway: takes instances from the source PACS into custody, and delivers what other sites send to the target
//! PACS.
//!
//! - [`Config`]: `edge.toml`; all its errors at once.
//! - [`Gateway`]: build (addresses are known), spawn, finish.
//! - [`commands`]: what the command line does.
//! - [`fuzzing`]: the decoder of messages as a fuzz target calls it.
//!
//! Inside: `ingest` (association, policy, header scan, envelope, commit), `place` (where what arrives belongs), `deliver`
//! (one task for each destination), `messages` (announcements and receipts between edges), `asking` (questions across the
//! link), `echo` (C-ECHO), `mirror` (what PACS take), `custody` (what an operator does with instances), `ledger` (facts into
//! the projection), `notices` (what a person should hear of, and who is told), `doctor` (what is wrong, and what to do).

mod admin;
mod arrivals;
mod asking;
pub mod commands;
pub mod config;
mod conformance;
mod consent;
mod custody;
mod deliver;
mod directory;
mod doctor;
mod echo;
pub mod fuzzing;
mod gateway;
mod hold;
mod holds;
mod ingest;
mod ledger;
mod link;
mod messages;
mod mirror;
mod names;
mod notices;
mod pacs;
mod place;
mod quiet;
mod shared;
#[cfg(test)]
mod testing;
mod watch;

pub use commands::{Cli, Command, CommandError, run, told};
pub use config::Config;
pub use directory::DirectoryError;
pub use gateway::{Gateway, Running, StartError};
