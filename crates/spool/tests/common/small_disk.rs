//! A disk that is soon full.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use packhorse_spool::{Disk, RealDisk};

/// A disk with so many bytes, of which slabs and files of their own take theirs.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    pub(crate) length: AtomicU64,
}

impl Disk for SmallDisk {
    fn write(&self, file: &std::fs::File, pieces: &mut [std::io::IoSlice<'_>], offset: u64) -> std::io::Result<()> {
        RealDisk.write(file, pieces, offset)
    }

    fn sync(&self, file: &std::fs::File) -> std::io::Result<()> {
        RealDisk.sync(file)
    }

    fn sync_folder(&self, folder: &std::fs::File) -> std::io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn free(&self, folder: &Path) -> std::io::Result<u64> {
        let mut used = 0;
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            let is_payload = !file.file_name().to_str().unwrap().starts_with("index");
            used += if is_payload { file.metadata()?.len() } else { 0 };
        }
        Ok(self.length.load(Ordering::SeqCst).saturating_sub(used))
    }
}
