//! What can go wrong with a store.

use std::io;
use std::path::PathBuf;

/// An operation on the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room: nothing was taken. Room may come again.
    #[error("the spool's disk is full ({free} bytes free, {reserve} kept in reserve)")]
    Full {
        /// Bytes free on the file system.
        free: u64,
        /// Bytes that payloads never use.
        reserve: u64,
    },
    /// A file cannot be opened or made now, for want of descriptors for instance: nothing was written, and it may work
    /// another time.
    #[error("the spool cannot open a file now")]
    Busy(#[source] io::Error),
    /// An earlier write or sync failed. What the disk holds is not known, so nothing is acknowledged until the spool is
    /// opened again: after a failed fsync the kernel forgets what it could not write.
    #[error("the spool is out of order since a write failed; restart to open it again")]
    Poisoned,
    /// The caller's epoch is not the current one: somebody else owns the store now.
    #[error("the store has a new owner")]
    Stale,
    /// A payload, locator or range that is not there.
    #[error("no such bytes in the spool: {_0}")]
    NotFound(&'static str),
    /// The store is closing.
    #[error("the spool is closed")]
    Closed,
    /// Reading failed.
    #[error("the spool cannot be read")]
    Read(#[source] io::Error),
    /// A write or sync failed; the store is poisoned from now on.
    #[error("the spool cannot be written")]
    Write(#[source] io::Error),
    /// The index failed.
    #[error("the spool's index failed")]
    Index(#[source] rusqlite::Error),
}

/// A spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process", _0.display())]
    Locked(PathBuf),
    /// It was written by a later version.
    #[error("{} is a spool of version {found}, this program knows up to {known}: update it", path.display())]
    Newer {
        /// The spool's folder.
        path: PathBuf,
        /// The spool's version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The folder or a file in it cannot be used.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The index cannot be opened.
    #[error("the index in {} cannot be opened", path.display())]
    Index {
        /// The spool's folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: rusqlite::Error,
    },
}
