//! A disk that fails once.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use packhorse_spool::{Disk, RealDisk};

/// Fails its nth write or sync, and works otherwise.
#[derive(Debug)]
pub(crate) struct FailingDisk {
    nth: usize,
    count: AtomicUsize,
}

impl FailingDisk {
    pub(crate) fn at(nth: usize) -> Self {
        Self {
            nth,
            count: AtomicUsize::new(0),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.count.load(Ordering::SeqCst) >= self.nth
    }

    fn step(&self) -> io::Result<()> {
        let step = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if step == self.nth {
            Err(io::Error::other("injected"))
        } else {
            Ok(())
        }
    }
}

impl Disk for FailingDisk {
    fn write(&self, file: &File, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        // A failed write may have been done in part.
        let step = self.step();
        if step.is_err() {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            RealDisk.write(file, &mut [IoSlice::new(&bytes[..bytes.len() / 2])], offset)?;
            return step;
        }
        RealDisk.write(file, pieces, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        RealDisk.sync(file)
    }

    fn sync_folder(&self, folder: &File) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        RealDisk.free(folder)
    }
}
