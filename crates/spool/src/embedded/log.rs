//! The index's write-ahead log, laid out ahead of need.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

use super::spool::SpoolConfig;

/// As much as the log grows between two checkpoints: 4,000 pages of 8 KiB.
const LOG_LEN_MAX: u64 = 32 << 20;
/// Zeros are written in pieces of 1 MiB.
const ZEROS_LEN: usize = 1 << 20;

/// Fills the log beside `index` with zeros, durably: 32 MiB at most, half a slab at most. SQLite deletes the log when it
/// closes and would let it grow commit by commit; the sync of a file that grows writes its metadata too, through the file
/// system's journal, and takes up to ten times as long as that of one that is overwritten. Zeros are no frames: SQLite
/// takes a log without its header for an empty one, and stops at a frame whose checksum is wrong. A disk that is short of
/// room keeps its log as it is.
///
/// To be called when all of the log is in the database and nobody writes.
///
/// # Errors
/// What the system said. `StorageFull` does no harm.
pub(super) fn lay_out(index: &Path, config: &SpoolConfig) -> io::Result<()> {
    let mut path = index.as_os_str().to_owned();
    path.push("-wal");
    let length = LOG_LEN_MAX.min(config.slab_len / 2);
    let folder = index.parent().unwrap_or_else(|| Path::new("."));
    if config.disk.free(folder)? < config.reserve.saturating_add(length) {
        return Ok(());
    }
    let file = File::options().write(true).open(path)?;
    let zeros = vec![0; ZEROS_LEN];
    let mut at = file.metadata()?.len();
    while at < length {
        let piece = usize::try_from(length - at).map_or(ZEROS_LEN, |rest| rest.min(ZEROS_LEN));
        let zeros = IoSlice::new(zeros.get(..piece).unwrap_or(&zeros));
        config.disk.write(&file, &mut [zeros], at)?;
        at += u64::try_from(piece).unwrap_or(u64::MAX);
    }
    config.disk.sync(&file)
}
