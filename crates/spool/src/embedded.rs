//! The embedded store: SQLite rows, slab payloads, one committer thread.

mod claim;
mod committer;
mod compact;
mod extents;
mod hold;
mod index;
mod leases;
mod log;
mod payloads;
mod pins;
mod place;
mod rows;
mod schema;
mod shared;
mod slab;
mod spool;
mod work;
mod writer;

pub(crate) use hold::Hold;
pub(crate) use pins::Pin;
pub use spool::{Room, Spool, SpoolConfig, SpoolStats};
