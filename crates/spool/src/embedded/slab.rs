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
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::extents::Extents;
use super::shared::lock;
use super::spool::SpoolConfig;
use crate::disk::Disk;
use crate::store::Locator;

/// Payloads up to 4 MiB share slabs.
pub(super) const SHARED_LEN_MAX: u64 = 4 << 20;
/// Extents are whole pages, so that no page belongs to two payloads.
const PAGE_LEN: u64 = 4096;
/// A shorter slab is not made.
const SLAB_LEN_MIN: u64 = 64 * 1024;
/// Zeros are written in pieces of 1 MiB.
const ZEROS_LEN: u64 = 1 << 20;

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a slab.
    Extent { slab: u32, offset: u64, length: u64 },
    /// In a file of their own.
    Own { number: u64, length: u64 },
}

impl Place {
    pub(super) const fn length(&self) -> u64 {
        match self {
            Self::Extent { length, .. } | Self::Own { length, .. } => *length,
        }
    }

    /// The slab it is in; `None` for a file of its own.
    pub(super) const fn slab(&self) -> Option<u32> {
        match self {
            Self::Extent { slab, .. } => Some(*slab),
            Self::Own { .. } => None,
        }
    }

    /// Version 1: a tag, then big-endian numbers.
    pub(super) fn to_locator(self) -> Locator {
        let mut bytes = Vec::with_capacity(21);
        match self {
            Self::Extent { slab, offset, length } => {
                bytes.push(1);
                bytes.extend_from_slice(&slab.to_be_bytes());
                bytes.extend_from_slice(&offset.to_be_bytes());
                bytes.extend_from_slice(&length.to_be_bytes());
            }
            Self::Own { number, length } => {
                bytes.push(2);
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        Locator::new(bytes)
    }

    pub(super) fn from_locator(locator: &Locator) -> Option<Self> {
        let (tag, rest) = locator.bytes.split_first()?;
        match (tag, rest.len()) {
            (1, 20) => Some(Self::Extent {
                slab: u32::from_be_bytes(*rest.first_chunk()?),
                offset: u64::from_be_bytes(*rest.get(4..)?.first_chunk()?),
                length: u64::from_be_bytes(*rest.last_chunk()?),
            }),
            (2, 16) => Some(Self::Own {
                number: u64::from_be_bytes(*rest.first_chunk()?),
                length: u64::from_be_bytes(*rest.last_chunk()?),
            }),
            _ => None,
        }
    }

    /// What locators of places in `slab` begin with.
    pub(super) fn locators_of(slab: u32) -> [u8; 5] {
        let [a, b, c, d] = slab.to_be_bytes();
        [1, a, b, c, d]
    }
}

/// All slabs of a folder, and which of their pages are free.
#[derive(Debug)]
pub(super) struct Slabs {
    folder: PathBuf,
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

    /// Space for `length` bytes: an extent, or a file of its own. Makes a slab when none has room.
    pub(super) fn reserve(&self, length: u64) -> io::Result<Place> {
        if length > self.shared_len_max() {
            self.check_room(length)?;
            return self.own(length);
        }
        let take = || lock(&self.inner).free.take(pages(length));
        let (slab, offset) = match take() {
            Some(taken) => taken,
            None => {
                let _making = lock(&self.making);
                // Somebody may have made one meanwhile.
                match take() {
                    Some(taken) => taken,
                    None => (self.add_slab(pages(length))?, 0),
                }
            }
        };
        Ok(Place::Extent { slab, offset, length })
    }

    /// An empty file for a payload that is, or may grow to be, `length` bytes long.
    pub(super) fn own(&self, length: u64) -> io::Result<Place> {
        let number = self.next_own.fetch_add(1, Ordering::Relaxed);
        File::options()
            .create_new(true)
            .write(true)
            .open(self.own_path(number))?;
        Ok(Place::Own { number, length })
    }

    /// Whether the next reservations would have to wait for a slab to be written.
    pub(super) fn is_short(&self) -> bool {
        let inner = lock(&self.inner);
        inner.free.free_len() < self.slab_len / 2 || !inner.free.has(self.shared_len_max())
    }

    /// Makes a slab ahead of need.
    pub(super) fn prepare(&self) -> io::Result<()> {
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
    pub(super) fn file(&self, place: Place) -> io::Result<(Arc<File>, u64)> {
        match place {
            Place::Extent { slab, offset, .. } => {
                let file = lock(&self.inner).slabs.get(&slab).map(|slab| Arc::clone(&slab.file));
                Ok((file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?, offset))
            }
            Place::Own { number, .. } => {
                let file = File::options().read(true).write(true).open(self.own_path(number))?;
                Ok((Arc::new(file), 0))
            }
        }
    }

    pub(super) fn read(&self, place: Place, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let (file, offset) = self.file(place)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset + at)?;
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

    fn check_room(&self, length: u64) -> io::Result<()> {
        let free = self.disk.free(&self.folder)?;
        if free < self.reserve.saturating_add(length) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Makes a slab, of which the first `taken` bytes are taken. Gives its number.
    fn add_slab(&self, taken: u64) -> io::Result<u32> {
        self.check_room(self.slab_len)?;
        let number = lock(&self.inner).slabs.keys().max().map_or(1, |last| last + 1);
        let path = self.slab_path(number);
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        let made = self
            .fill_with_zeros(&file)
            .and_then(|()| self.disk.sync_folder(&self.folder));
        if let Err(error) = made {
            drop(std::fs::remove_file(&path));
            return Err(error);
        }
        let (file, length) = (Arc::new(file), self.slab_len);
        let mut inner = lock(&self.inner);
        inner.slabs.insert(number, Slab { file, length });
        inner.free.give(number, taken, length - taken);
        Ok(number)
    }

    /// Zeros, written: allocated but unwritten blocks would cost a metadata write at the first sync of each.
    fn fill_with_zeros(&self, file: &File) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(ZEROS_LEN.min(self.slab_len)).unwrap_or(4096)];
        let mut at = 0;
        while at < self.slab_len {
            let length = usize::try_from(self.slab_len - at).map_or(zeros.len(), |rest| rest.min(zeros.len()));
            self.disk.write(file, zeros.get(..length).unwrap_or(&zeros), at)?;
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
                    live.push(slabs.reserve(length).unwrap());
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
    fn locators_read_back_and_garbage_does_not() {
        let own = Place::Own { number: 7, length: 5 };
        for place in [
            Place::Extent {
                slab: 3,
                offset: 4096,
                length: 99,
            },
            own,
        ] {
            assert_eq!(Place::from_locator(&place.to_locator()), Some(place));
        }
        assert_eq!(Place::from_locator(&Locator::new([9; 21])), None);
    }

    #[test]
    fn a_file_of_its_own_that_no_row_names_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let place = slabs(folder.path(), &[]).reserve(1 << 20).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let next = slabs(folder.path(), &[place]).reserve(1 << 20).unwrap();
        assert_ne!(place, next, "a number is not given twice");
        drop(slabs(folder.path(), &[]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn empty_slabs_are_given_back_to_a_full_disk_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let slabs = slabs(folder.path(), &[]);
        let (first, second) = (slabs.reserve(60_000).unwrap(), slabs.reserve(60_000).unwrap());
        assert!(!slabs.release_empty());
        slabs.free(second);
        assert!(slabs.release_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(slabs.file(first).is_ok());
    }
}
