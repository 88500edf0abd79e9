//! A durable spool: what was committed is there after any crash, and nothing else is.
//!
//! [`Index`] keeps entries (one obligation each), facts and leases; [`Payloads`] keeps the bytes. The embedded default,
//! [`Spool`], has SQLite for the first and preallocated slabs for the second, and one committer thread that syncs both
//! before it answers.
//!
//! ```text
//!   begin ─▶ PayloadWriter ── append / write_segment ──▶ slab (page cache)
//!                  │ finish: Locator
//!   commit ────────┴─▶ committer: fdatasync of each slab touched ─▶ one SQLite commit ─▶ answers
//! ```
//!
//! Limits: knows no DICOM, no site, no link. Files are named by our ids and numbers, never by anybody's text. One process
//! at a time owns a folder.

mod backoff;
mod disk;
mod embedded;
mod error;
pub mod stopping;
mod store;

pub use backoff::backoff;
pub use disk::{Disk, RealDisk};
pub use embedded::{Room, Spool, SpoolConfig, SpoolStats};
pub use error::{OpenError, StoreError};
pub use store::{
    Body, Committed, Custody, Entry, EntryState, Filter, INLINE_LEN_MAX, Index, InvalidQueueName, Locator, NewEntry,
    NewState, PayloadWriter, Payloads, QueueCount, QueueName, Seen, Settlement, Store,
};
