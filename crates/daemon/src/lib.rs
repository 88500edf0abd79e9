//! What every daemon of ours needs and no other crate should have: configuration loading, the admin door, the folder's
//! lock, logging, process limits, shutdown, exit codes, and the one place that prints.
//!
//! Knows no DICOM, no spool, no link.

pub mod admin;
pub mod config;
pub mod exit;
mod lock;
pub mod logging;
pub mod output;
pub mod process;
mod shutdown;
mod units;

pub use lock::{FolderLock, LockError};
pub use shutdown::{shutdown_signal, wait_at_most};
pub use units::{ByteSize, Span};
