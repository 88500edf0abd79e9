//! Space for payload bytes.
//!
//! A *slab* is a file of fixed size, written once with zeros when it is made and then overwritten in place, never
//! truncated: a sync of such a file writes data and no metadata, which is what makes it twice as fast as a file for each
//! payload. Rows say (slab, offset, length); a slab is never parsed, so a torn write is free space. Space is given out in
//! extents of whole pages and is free again when its row is gone. A slab that holds nothing is removed when the disk is
//! short of room, and only then.
//!
//! A payload above [`SHARED_LEN_MAX`] has a file of its own, named by our number, for as long as it lives: the cost of
//! making and removing a file is spread over many megabytes, and slabs are not torn apart by it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::extents::Extents;
use super::place::{FileError, Place, Reserved};
use super::shared::lock;
use super::spool::SpoolConfig;
use crate::disk::Disk;

/// Payloads up to 4 MiB share slabs.
pub(super) const SHARED_LEN_MAX: u64 = 4 << 20;
/// Extents are whole pages, so that no page belongs to two payloads.
pub(super) const PAGE_LEN: u64 = 4096;
/// A shorter slab is not made.
const SLAB_LEN_MIN: u64 = 64 * 1024;
/// Zeros are written in pieces of 1 MiB.
const ZEROS_LEN: u64 = 1 << 20;

/// All slabs of a folder, and which of their pages are free.
#[derive(Debug)]
pub(super) struct Slabs {
    folder: PathBuf,
    /// Kept open: a sync of the folder must not fail for want of a descriptor.
    folder_file: File,
    slab_len: u64,
    /// Bytes of the file system that are never used.
    reserve: u64,
    pub(super) disk: Arc<dyn Disk>,
    inner: Mutex<Inner>,
    /// One slab is made at a time, and `inner` is not locked meanwhile.
    making: Mutex<()>,
    next_own: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    slabs: HashMap<u32, Slab>,
    free: Extents,
}

#[derive(Debug)]
struct Slab {
    file: Arc<File>,
    length: u64,
}

impl Slabs {
    /// Opens the folder's slabs with `used` as what rows point to; everything else is free. Files of their own that no
    /// row names are removed.
    pub(super) fn open(folder: &Path, config: &SpoolConfig, used: &[Place]) -> io::Result<Self> {
        let mut inner = Inner::default();
        let owns = used.iter().filter_map(|place| match place {
            Place::Own { number, .. } => Some(*number),
            Place::Extent { .. } => None,
        });
        let owns: HashSet<u64> = owns.collect();
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = |prefix: &str| name.strip_prefix(prefix).and_then(|number| number.parse::<u64>().ok());
            if let Some(number) = number("slab-").and_then(|number| u32::try_from(number).ok()) {
                inner.open_slab(number, &path)?;
            } else if number("payload-").is_some_and(|number| !owns.contains(&number)) {
                std::fs::remove_file(&path)?;
            }
        }
        for place in used {
            if let Place::Extent { slab, offset, length } = place
                && !inner.free.take_at(*slab, *offset, pages(*length))
            {
                tracing::error!(
                    slab,
                    offset,
                    length,
                    "a row points to bytes that are not there or not its own"
                );
            }
        }
        Ok(Self {
            folder: folder.into(),
            folder_file: File::open(folder)?,
            slab_len: pages(config.slab_len.max(SLAB_LEN_MIN)),
            reserve: config.reserve,
            disk: Arc::clone(&config.disk),
            inner: Mutex::new(inner),
            making: Mutex::default(),
            next_own: AtomicU64::new(owns.iter().max().map_or(1, |last| last + 1)),
        })
    }

    /// The longest payload that shares a slab.
    pub(super) fn shared_len_max(&self) -> u64 {
        SHARED_LEN_MAX.min(self.slab_len)
    }

    /// Space for `length` bytes, if a slab has it.
    pub(super) fn take(&self, length: u64) -> Option<Reserved> {
        if length > self.shared_len_max() {
            return None;
        }
        let mut inner = lock(&self.inner);
        let (slab, offset) = inner.free.take(pages(length))?;
        let file = Arc::clone(&inner.slabs.get(&slab)?.file);
        let (place, base) = (Place::Extent { slab, offset, length }, offset);
        Some(Reserved { place, file, base })
    }

    /// Space for `length` bytes: an extent, or a file of its own. When no slab has room it makes one, which takes a tenth of
    /// a second or more.
    pub(super) fn reserve(&self, length: u64) -> Result<Reserved, FileError> {
        if length > self.shared_len_max() {
            self.check_room(length)?;
            return self.own(length);
        }
        if let Some(taken) = self.take(length) {
            return Ok(taken);
        }
        let _making = lock(&self.making);
        // Somebody may have made one meanwhile.
        if let Some(taken) = self.take(length) {
            return Ok(taken);
        }
        let (slab, file) = self.add_slab(pages(length))?;
        let (offset, base) = (0, 0);
        let place = Place::Extent { slab, offset, length };
        Ok(Reserved { place, file, base })
    }

    /// An empty file for a payload that is, or may grow to be, `length` bytes long.
    pub(super) fn own(&self, length: u64) -> Result<Reserved, FileError> {
        let number = self.next_own.fetch_add(1, Ordering::Relaxed);
        let mut options = File::options();
        let made = options
            .create_new(true)
            .read(true)
            .write(true)
            .open(self.own_path(number));
        let (place, base) = (Place::Own { number, length }, 0);
        let file = Arc::new(made.map_err(FileError::Open)?);
        Ok(Reserved { place, file, base })
    }

    /// Makes durable which files the folder has.
    pub(super) fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder(&self.folder_file)
    }

    /// Whether the next reservations would have to wait for a slab to be written.
    pub(super) fn is_short(&self) -> bool {
        let inner = lock(&self.inner);
        inner.free.free_len() < self.slab_len / 2 || !inner.free.has(self.shared_len_max())
    }

    /// Makes a slab ahead of need.
    pub(super) fn prepare(&self) -> Result<(), FileError> {
        let _making = lock(&self.making);
        if self.is_short() {
            self.add_slab(0)?;
        }
        Ok(())
    }

    /// Removes slabs that hold nothing. Whether there was one.
    pub(super) fn release_empty(&self) -> bool {
        let mut inner = lock(&self.inner);
        let is_empty = |(number, slab): (&u32, &Slab)| (inner.free.free_in(*number) == slab.length).then_some(*number);
        let empty: Vec<u32> = inner.slabs.iter().filter_map(is_empty).collect();
        for number in &empty {
            inner.slabs.remove(number);
            inner.free.remove(*number);
            // One that stays is found and used at the next opening.
            drop(std::fs::remove_file(self.slab_path(*number)));
        }
        !empty.is_empty()
    }

    /// Frees what `place` holds.
    pub(super) fn free(&self, place: Place) {
        match place {
            Place::Extent { slab, offset, length } => self.give(slab, offset, pages(length)),
            // A file that stays is removed at the next opening.
            Place::Own { number, .. } => drop(std::fs::remove_file(self.own_path(number))),
        }
    }

    /// Gives back the end of an extent whose payload turned out shorter.
    pub(super) fn shorten(&self, place: Place, length: u64) -> Place {
        match place {
            Place::Extent {
                slab,
                offset,
                length: reserved,
            } => {
                let (kept, had) = (pages(length), pages(reserved));
                self.give(slab, offset + kept, had.saturating_sub(kept));
                Place::Extent { slab, offset, length }
            }
            Place::Own { number, .. } => Place::Own { number, length },
        }
    }

    fn give(&self, slab: u32, offset: u64, length: u64) {
        if !lock(&self.inner).free.give(slab, offset, length) {
            tracing::error!(slab, offset, length, "space was given back twice");
        }
    }

    /// The file that holds `place`, and where in it.
    pub(super) fn file(&self, place: Place) -> Result<(Arc<File>, u64), FileError> {
        match place {
            Place::Extent { slab, offset, .. } => {
                let file = lock(&self.inner).slabs.get(&slab).map(|slab| Arc::clone(&slab.file));
                let gone = || FileError::Read(io::ErrorKind::NotFound.into());
                Ok((file.ok_or_else(gone)?, offset))
            }
            Place::Own { number, .. } => {
                let opened = File::options().read(true).write(true).open(self.own_path(number));
                let failed = |error: io::Error| match error.kind() {
                    io::ErrorKind::NotFound => FileError::Read(error),
                    _ => FileError::Open(error),
                };
                Ok((Arc::new(opened.map_err(failed)?), 0))
            }
        }
    }

    pub(super) fn read(&self, place: Place, at: u64, length: usize) -> Result<Vec<u8>, FileError> {
        let (file, offset) = self.file(place)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset + at).map_err(FileError::Read)?;
        Ok(bytes)
    }

    /// A slab, none of `but`, that is less than a quarter live and has no room for the longest payload that shares one:
    /// what it holds is worth moving.
    pub(super) fn sparse(&self, but: &HashSet<u32>) -> Option<u32> {
        let inner = lock(&self.inner);
        let is_sparse = |(number, slab): (&u32, &Slab)| {
            let free = inner.free.free_in(*number);
            let is_quarter_live = free < slab.length && free > slab.length / 4 * 3;
            let is_worth_it = is_quarter_live && !inner.free.has_in(*number, self.shared_len_max());
            (is_worth_it && !but.contains(number)).then_some(*number)
        };
        inner.slabs.iter().find_map(is_sparse)
    }

    /// Space in another slab for what is at `place`; `None` when that would need a new one.
    pub(super) fn reserve_elsewhere(&self, place: Place) -> Option<Place> {
        let Place::Extent { slab, length, .. } = place else {
            return None;
        };
        let (slab, offset) = lock(&self.inner).free.take_but(pages(length), Some(slab))?;
        Some(Place::Extent { slab, offset, length })
    }

    fn own_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("payload-{number:016}"))
    }

    fn slab_path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("slab-{number:08}"))
    }

    fn check_room(&self, length: u64) -> Result<(), FileError> {
        let free = self.disk.free(&self.folder).map_err(FileError::Open)?;
        if free < self.reserve.saturating_add(length) {
            return Err(FileError::Open(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    /// Makes a slab, of which the first `taken` bytes are taken.
    fn add_slab(&self, taken: u64) -> Result<(u32, Arc<File>), FileError> {
        self.check_room(self.slab_len)?;
        let number = lock(&self.inner).slabs.keys().max().map_or(1, |last| last + 1);
        let path = self.slab_path(number);
        let mut options = File::options();
        let file = options.create_new(true).read(true).write(true).open(&path);
        let file = Arc::new(file.map_err(FileError::Open)?);
        let made = self.fill_with_zeros(&file).and_then(|()| self.sync_folder());
        if let Err(error) = made {
            drop(std::fs::remove_file(&path));
            return Err(FileError::Write(error));
        }
        let length = self.slab_len;
        let mut inner = lock(&self.inner);
        let slab = Slab {
            file: Arc::clone(&file),
            length,
        };
        inner.slabs.insert(number, slab);
        inner.free.give(number, taken, length - taken);
        Ok((number, file))
    }

    /// Zeros, written: allocated but unwritten blocks would cost a metadata write at the first sync of each.
    fn fill_with_zeros(&self, file: &File) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(ZEROS_LEN.min(self.slab_len)).unwrap_or(4096)];
        let mut at = 0;
        while at < self.slab_len {
            let length = usize::try_from(self.slab_len - at).map_or(zeros.len(), |rest| rest.min(zeros.len()));
            let piece = IoSlice::new(zeros.get(..length).unwrap_or(&zeros));
            self.disk.write(file, &mut [piece], at)?;
            at += u64::try_from(length).unwrap_or(ZEROS_LEN);
        }
        self.disk.sync(file)
    }
}

impl Inner {
    fn open_slab(&mut self, number: u32, path: &Path) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(path)?;
        // One whose making was cut short ends in the middle of a page.
        let length = file.metadata()?.len() / PAGE_LEN * PAGE_LEN;
        let file = Arc::new(file);
        self.slabs.insert(number, Slab { file, length });
        self.free.give(number, 0, length);
        Ok(())
    }
}

/// Bytes in whole pages; at least one.
const fn pages(length: u64) -> u64 {
    let length = if length == 0 { 1 } else { length };
    length.div_ceil(PAGE_LEN) * PAGE_LEN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slabs(folder: &Path, used: &[Place]) -> Slabs {
        let config = SpoolConfig {
            slab_len: 64 * 1024,
            reserve: 0,
            ..SpoolConfig::default()
        };
        Slabs::open(folder, &config, used).unwrap()
    }

    fn page_numbers(place: Place) -> Vec<(u32, u64)> {
        match place {
            Place::Extent { slab, offset, length } => (offset / PAGE_LEN..(offset + pages(length)) / PAGE_LEN)
                .map(|page| (slab, page))
                .collect(),
            Place::Own { .. } => Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_page_belongs_to_two_payloads(steps in prop::collection::vec((1u64..20_000, any::<bool>()), 1..60)) {
            let folder = tempfile::tempdir().unwrap();
            let slabs = slabs(folder.path(), &[]);
            let mut live: Vec<Place> = Vec::new();
            for (length, frees) in steps {
                if frees && !live.is_empty() {
                    slabs.free(live.remove(0));
                } else {
                    live.push(slabs.reserve(length).unwrap().place);
                }
                let all: Vec<_> = live.iter().copied().flat_map(page_numbers).collect();
                prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
            }
            let before = lock(&slabs.inner).free.free_len();
            drop(slabs);
            prop_assert_eq!(lock(&self::slabs(folder.path(), &live).inner).free.free_len(), before);
        }
    }

    #[test]
    fn a_file_of_its_own_that_no_row_names_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let place = slabs(folder.path(), &[]).reserve(1 << 20).unwrap().place;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let next = slabs(folder.path(), &[place]).reserve(1 << 20).unwrap().place;
        assert_ne!(place, next, "a number is not given twice");
        drop(slabs(folder.path(), &[]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn empty_slabs_are_given_back_to_a_full_disk_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let slabs = slabs(folder.path(), &[]);
        let reserve = || slabs.reserve(60_000).unwrap().place;
        let (first, second) = (reserve(), reserve());
        assert!(!slabs.release_empty());
        slabs.free(second);
        assert!(slabs.release_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(slabs.file(first).is_ok());
    }
}
