//! The payload files' I/O, behind a trait so that tests can fail each write and sync in turn.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What is done to payload files.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system said. The spool is poisoned then.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes durable what was written to `file`.
    ///
    /// # Errors
    /// What the system said. The spool is poisoned then, and the call never repeated.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Makes durable which files the open folder has.
    ///
    /// # Errors
    /// What the system said. The spool is poisoned then, and the call never repeated.
    fn sync_folder(&self, folder: &File) -> io::Result<()>;

    /// Bytes free on the file system of `folder`.
    ///
    /// # Errors
    /// What the system said.
    fn free(&self, folder: &Path) -> io::Result<u64>;
}

/// The disk itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, folder: &File) -> io::Result<()> {
        folder.sync_all()
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
