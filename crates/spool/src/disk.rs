//! The payload files' I/O, behind a trait so that tests can fail each write and sync in turn.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::io::ReadWriteFlags;

/// Pieces in one call at most (`IOV_MAX` of Linux).
const PIECES_MAX: usize = 1024;

/// What is done to payload files.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Writes all of `pieces`, one after another, at `offset`.
    ///
    /// # Errors
    /// What the system said. The spool is poisoned then.
    fn write(&self, file: &File, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// As [`write`](Self::write), of bytes with more to come: where it can be asked to, the system begins to store them at
    /// once, so that the sync behind the last finds little to do. By default no different.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_early(&self, file: &File, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.write(file, pieces, offset)
    }

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

    /// Bytes of the file system of `folder`, used or not. By default not known: the largest number.
    ///
    /// # Errors
    /// What the system said.
    fn total(&self, _folder: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

fn write_all(
    mut pieces: &mut [IoSlice<'_>],
    mut offset: u64,
    write: impl Fn(&[IoSlice<'_>], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    // Empty ones in front would look like a disk that takes nothing.
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match write(pieces.get(..PIECES_MAX).unwrap_or(pieces), offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += u64::try_from(written).unwrap_or(u64::MAX);
                IoSlice::advance_slices(&mut pieces, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `RWF_DONTCACHE` (Linux 6.14, ext4 and XFS 6.16): what is written begins to be stored at once, and leaves the page cache
/// behind that unless it was there before. Four writes of 128 KiB, 0.1 ms apart, then cost a sync of 0.13 ms instead of
/// 0.30, and 15 µs more each.
#[cfg(target_os = "linux")]
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// The disk itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn write(&self, file: &File, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_all(pieces, offset, |pieces, offset| {
            rustix::io::pwritev(file, pieces, offset)
        })
    }

    #[cfg(target_os = "linux")]
    fn write_early(&self, file: &File, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_all(pieces, offset, |pieces, offset| {
            match rustix::io::pwritev2(file, pieces, offset, DONTCACHE) {
                // An older kernel, or a file system that has it not.
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => rustix::io::pwritev(file, pieces, offset),
                done => done,
            }
        })
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

    fn total(&self, folder: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}
