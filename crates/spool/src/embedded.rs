//! The embedded store: SQLite rows, slab payloads, one committer thread.

mod committer;
mod rows;
mod schema;
mod slab;
mod spool;
mod writer;

pub use spool::{Spool, SpoolConfig, SpoolStats};
