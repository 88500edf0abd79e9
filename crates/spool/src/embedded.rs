//! The embedded store: SQLite rows, slab payloads, one committer thread.

mod claim;
mod committer;
mod compact;
mod extents;
mod hold;
mod index;
mod leases;
mod payloads;
mod rows;
mod schema;
mod shared;
mod slab;
mod spool;
mod work;
mod writer;

pub(crate) use hold::Hold;
pub use spool::{Spool, SpoolConfig, SpoolStats};
