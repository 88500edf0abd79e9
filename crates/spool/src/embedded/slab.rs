//! Space for payload bytes.
//!
//! A *slab* is a file of fixed size, written once with zeros when it is made and then overwritten in place, never
//! truncated: a sync of such a file writes data and no metadata, which is what makes it twice as fast as a file for each
//! payload. Rows say (slab, offset, length); a slab is never parsed, so a torn write is free space. Space is given out in
//! extents of whole pages and is free again when its row is gone.
//!
//! A payload above [`SHARED_LEN_MAX`] has a file of its own, named by its payload id, for as long as it lives: the cost of
//! making and removing a file is spread over many megabytes, and slabs are not torn apart by it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_ids::PayloadId;

use crate::disk::Disk;
use crate::store::Locator;

/// Payloads up to 4 MiB share slabs.
pub(super) const SHARED_LEN_MAX: u64 = 4 << 20;
/// Extents are whole pages, so that no page belongs to two payloads.
const PAGE_LEN: u64 = 4096;

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a slab.
    Extent { slab: u32, offset: u64, length: u64 },
    /// In a file of their own.
    Own { payload: PayloadId, length: u64 },
}

impl Place {
    pub(super) const fn length(&self) -> u64 {
        match self {
            Self::Extent { length, .. } | Self::Own { length, .. } => *length,
        }
    }

    /// Version 1: a tag, then big-endian numbers.
    pub(super) fn to_locator(self) -> Locator {
        let mut bytes = Vec::with_capacity(25);
        match self {
            Self::Extent { slab, offset, length } => {
                bytes.push(1);
                bytes.extend_from_slice(&slab.to_be_bytes());
                bytes.extend_from_slice(&offset.to_be_bytes());
                bytes.extend_from_slice(&length.to_be_bytes());
            }
            Self::Own { payload, length } => {
                bytes.push(2);
                bytes.extend_from_slice(payload.as_bytes());
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        Locator(bytes.into())
    }

    pub(super) fn from_locator(locator: &Locator) -> Option<Self> {
        let (tag, rest) = locator.0.split_first()?;
        match (tag, rest.len()) {
            (1, 20) => Some(Self::Extent {
                slab: u32::from_be_bytes(*rest.first_chunk()?),
                offset: u64::from_be_bytes(*rest.get(4..)?.first_chunk()?),
                length: u64::from_be_bytes(*rest.last_chunk()?),
            }),
            (2, 24) => Some(Self::Own {
                payload: PayloadId::from_bytes(*rest.first_chunk()?),
                length: u64::from_be_bytes(*rest.last_chunk()?),
            }),
            _ => None,
        }
    }
}

/// All slabs of a folder, and which of their pages are free.
#[derive(Debug)]
pub(super) struct Slabs {
    folder: PathBuf,
    slab_len: u64,
    pub(super) disk: Arc<dyn Disk>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<u32, Arc<File>>,
    /// Slab to offset to length.
    free: BTreeMap<u32, BTreeMap<u64, u64>>,
    free_len: u64,
}

impl Slabs {
    /// Opens the folder's slabs with `used` as what rows point to; everything else is free. Files of their own that no
    /// row names are removed.
    pub(super) fn open(folder: &Path, slab_len: u64, disk: Arc<dyn Disk>, used: &[Place]) -> io::Result<Self> {
        let mut inner = Inner::default();
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(number) = name.strip_prefix("slab-").and_then(|number| number.parse().ok()) {
                let file = File::options().read(true).write(true).open(&path)?;
                let length = file.metadata()?.len();
                inner.files.insert(number, Arc::new(file));
                inner.give(number, 0, length);
            } else if let Some(payload) = name
                .strip_prefix("payload-")
                .and_then(|id| id.parse::<PayloadId>().ok())
            {
                let is_used = |place: &Place| matches!(place, Place::Own { payload: used, .. } if *used == payload);
                if !used.iter().any(is_used) {
                    std::fs::remove_file(&path)?;
                }
            }
        }
        for place in used {
            if let Place::Extent { slab, offset, length } = place {
                inner.take_at(*slab, *offset, pages(*length));
            }
        }
        Ok(Self {
            folder: folder.into(),
            slab_len,
            disk,
            inner: Mutex::new(inner),
        })
    }

    /// Space for `length` bytes: an extent, or a file of its own. Makes a slab when none has room.
    pub(super) fn reserve(&self, payload: PayloadId, length: u64) -> io::Result<Place> {
        if length > SHARED_LEN_MAX.min(self.slab_len) {
            self.own_file(payload)?;
            return Ok(Place::Own { payload, length });
        }
        let mut inner = self.lock();
        if let Some((slab, offset)) = inner.take(pages(length)) {
            return Ok(Place::Extent { slab, offset, length });
        }
        self.add_slab(&mut inner)?;
        let (slab, offset) = inner
            .take(pages(length))
            .ok_or_else(|| io::Error::other("a new slab has no room"))?;
        Ok(Place::Extent { slab, offset, length })
    }

    /// Makes sure that the next reservations need not wait for a slab to be written.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.free_len < self.slab_len / 2 {
            self.add_slab(&mut inner)
        } else {
            Ok(())
        }
    }

    /// Frees what `place` holds.
    pub(super) fn free(&self, place: Place) {
        match place {
            Place::Extent { slab, offset, length } => self.lock().give(slab, offset, pages(length)),
            // A file that stays is removed at the next opening.
            Place::Own { payload, .. } => drop(std::fs::remove_file(self.own_path(payload))),
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
                if kept < had {
                    self.lock().give(slab, offset + kept, had - kept);
                }
                Place::Extent { slab, offset, length }
            }
            Place::Own { payload, .. } => Place::Own { payload, length },
        }
    }

    /// The file that holds `place`, and where in it.
    pub(super) fn file(&self, place: Place) -> io::Result<(Arc<File>, u64)> {
        match place {
            Place::Extent { slab, offset, .. } => {
                let file = self.lock().files.get(&slab).cloned();
                Ok((file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?, offset))
            }
            Place::Own { payload, .. } => {
                let file = File::options().read(true).write(true).open(self.own_path(payload))?;
                Ok((Arc::new(file), 0))
            }
        }
    }

    /// Makes durable what was written to `place`.
    pub(super) fn sync(&self, place: Place) -> io::Result<()> {
        self.disk.sync(&self.file(place)?.0)?;
        match place {
            Place::Extent { .. } => Ok(()),
            Place::Own { .. } => self.disk.sync_folder(&self.folder),
        }
    }

    pub(super) fn read(&self, place: Place, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let (file, offset) = self.file(place)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset + at)?;
        Ok(bytes)
    }

    fn own_path(&self, payload: PayloadId) -> PathBuf {
        self.folder.join(format!("payload-{payload}"))
    }

    fn own_file(&self, payload: PayloadId) -> io::Result<()> {
        File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .open(self.own_path(payload))
            .map(drop)
    }

    fn add_slab(&self, inner: &mut Inner) -> io::Result<()> {
        let number = inner.files.keys().max().map_or(1, |last| last + 1);
        let path = self.folder.join(format!("slab-{number:08}"));
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        let made = self
            .fill_with_zeros(&file)
            .and_then(|()| self.disk.sync_folder(&self.folder));
        if let Err(error) = made {
            drop(std::fs::remove_file(&path));
            return Err(error);
        }
        inner.files.insert(number, Arc::new(file));
        inner.give(number, 0, self.slab_len);
        Ok(())
    }

    /// Zeros, written: allocated but unwritten blocks would cost a metadata write at the first sync of each.
    fn fill_with_zeros(&self, file: &File) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.slab_len {
            let length = (self.slab_len - at).min(1 << 20);
            let piece = usize::try_from(length).unwrap_or(zeros.len());
            file.write_all_at(zeros.get(..piece).unwrap_or(&zeros), at)?;
            at += length;
        }
        file.sync_all()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// First fit, in the lowest slab that has it.
    fn take(&mut self, length: u64) -> Option<(u32, u64)> {
        let fits = |(slab, extents): (&u32, &BTreeMap<u64, u64>)| {
            extents
                .iter()
                .find(|(_, free)| **free >= length)
                .map(|(offset, _)| (*slab, *offset))
        };
        let (slab, offset) = self.free.iter().find_map(fits)?;
        self.take_at(slab, offset, length);
        Some((slab, offset))
    }

    /// Takes exactly these pages out of the free ones; those that are not free are left as they are.
    fn take_at(&mut self, slab: u32, offset: u64, length: u64) {
        let Some(extents) = self.free.get_mut(&slab) else {
            return;
        };
        let Some((&start, &free)) = extents.range(..=offset).next_back() else {
            return;
        };
        if offset + length > start + free {
            return;
        }
        extents.remove(&start);
        if start < offset {
            extents.insert(start, offset - start);
        }
        let rest = start + free - (offset + length);
        if rest > 0 {
            extents.insert(offset + length, rest);
        }
        self.free_len -= length;
    }

    fn give(&mut self, slab: u32, offset: u64, length: u64) {
        let extents = self.free.entry(slab).or_default();
        let (mut start, mut end) = (offset, offset + length);
        if let Some((&before, &free)) = extents.range(..offset).next_back()
            && before + free == offset
        {
            extents.remove(&before);
            start = before;
        }
        if let Some(&free) = extents.get(&end) {
            extents.remove(&end);
            end += free;
        }
        extents.insert(start, end - start);
        self.free_len += length;
    }
}

/// Bytes in whole pages; at least one.
const fn pages(length: u64) -> u64 {
    let length = if length == 0 { 1 } else { length };
    length.div_ceil(PAGE_LEN) * PAGE_LEN
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::RealDisk;

    fn slabs(folder: &Path, used: &[Place]) -> Slabs {
        Slabs::open(folder, 64 * 1024, Arc::new(RealDisk), used).unwrap()
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
                    live.push(slabs.reserve(PayloadId::from_bytes([1; 16]), length).unwrap());
                }
                let all: Vec<_> = live.iter().copied().flat_map(page_numbers).collect();
                prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
            }
            let before = slabs.lock().free_len;
            drop(slabs);
            prop_assert_eq!(self::slabs(folder.path(), &live).lock().free_len, before);
        }
    }

    #[test]
    fn locators_read_back_and_garbage_does_not() {
        let own = Place::Own {
            payload: PayloadId::from_bytes([7; 16]),
            length: 5,
        };
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
        assert_eq!(Place::from_locator(&Locator([9; 21].into())), None);
    }

    #[test]
    fn a_file_of_its_own_that_no_row_names_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let place = slabs(folder.path(), &[])
            .reserve(PayloadId::from_bytes([5; 16]), 1 << 20)
            .unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(slabs(folder.path(), &[place]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(slabs(folder.path(), &[]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
