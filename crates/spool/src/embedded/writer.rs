//! Payload bytes on their way into slabs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{PayloadId, SEGMENT_LEN, SegmentSet, segment_count, segment_len};

use super::hold::Hold;
use super::payloads::Claimed;
use super::place::{Place, Reserved};
use super::shared::{Shared, ask};
use super::slab::PAGE_LEN;
use super::work::Work;
use crate::error::StoreError;
use crate::store::{Locator, PayloadWriter};

/// A payload that grows asks for room each 16 MiB.
const ROOM_EVERY: u64 = 16 << 20;
/// Appended bytes are written in whole pages when there are so many.
const WRITE_LEN: u64 = 64 * 1024;

/// Pieces in a row, and their bytes.
#[derive(Debug, Default)]
struct Pending {
    pieces: VecDeque<Bytes>,
    length: u64,
}

impl Pending {
    fn push(&mut self, piece: Bytes) {
        self.length += length_of(&piece);
        self.pieces.push_back(piece);
    }

    /// Takes the first `length` bytes.
    fn take(&mut self, length: u64) -> Vec<Bytes> {
        let (mut taken, mut left) = (Vec::new(), usize::try_from(length).unwrap_or(usize::MAX));
        while let Some(first) = self.pieces.front_mut().filter(|_| left > 0) {
            let piece = first.split_to(left.min(first.len()));
            if first.is_empty() {
                self.pieces.pop_front();
            }
            left -= piece.len();
            self.length -= length_of(&piece);
            taken.push(piece);
        }
        taken
    }
}

fn slices(pieces: &[Bytes]) -> Vec<IoSlice<'_>> {
    pieces.iter().map(|piece| IoSlice::new(piece)).collect()
}

/// A payload being written. Its place is free again when it is dropped unfinished, unless segments were saved.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    payload: PayloadId,
    place: Place,
    file: Arc<File>,
    /// Where the place begins in its file.
    base: u64,
    /// Bytes appended so far.
    length: u64,
    /// The last of them, which are not written yet.
    pending: Pending,
    /// Whether the length was known at the beginning: then segments come in any order.
    is_sized: bool,
    segments: SegmentSet,
    /// A row remembers the place: it outlives this writer.
    is_saved: bool,
    /// `None` once it is finished.
    claimed: Option<Claimed>,
}

impl Writer {
    /// Begins a payload; may have to make a slab for it first.
    pub(super) fn begin(claimed: Claimed, length: Option<u64>) -> Result<Self, StoreError> {
        let shared = Arc::clone(claimed.shared());
        let reserved = shared.slabs.reserve(reserved_len(&shared, length));
        let reserved = reserved.map_err(|error| shared.file_error(error))?;
        Ok(Self::at(claimed, reserved, length.is_some()))
    }

    /// Begins a payload that a slab has room for; gives back the claim when none has.
    pub(super) fn begin_at_once(claimed: Claimed, length: Option<u64>) -> Result<Self, Claimed> {
        let shared = claimed.shared();
        match shared.slabs.take(reserved_len(shared, length)) {
            Some(reserved) => Ok(Self::at(claimed, reserved, length.is_some())),
            None => Err(claimed),
        }
    }

    /// Goes on with a payload that has durable segments.
    pub(super) fn resume(claimed: Claimed, place: Place, segments: SegmentSet) -> Result<Self, StoreError> {
        let shared = claimed.shared();
        let (file, base) = shared.slabs.file(place).map_err(|error| shared.file_error(error))?;
        let mut writer = Self::at(claimed, Reserved { place, file, base }, true);
        (writer.segments, writer.is_saved) = (segments, true);
        Ok(writer)
    }

    fn at(claimed: Claimed, reserved: Reserved, is_sized: bool) -> Self {
        let Reserved { place, file, base } = reserved;
        Self {
            shared: Arc::clone(claimed.shared()),
            payload: claimed.payload(),
            claimed: Some(claimed),
            place,
            file,
            base,
            length: 0,
            pending: Pending::default(),
            is_sized,
            segments: SegmentSet::new(),
            is_saved: false,
        }
    }

    fn write(&self, at: u64, pieces: &mut [IoSlice<'_>]) -> Result<(), StoreError> {
        let written = self.shared.slabs.disk.write(&self.file, pieces, self.base + at);
        written.map_err(|error| self.shared.write_error(error))
    }

    /// Bytes appended and written.
    const fn written_len(&self) -> u64 {
        self.length.saturating_sub(self.pending.length)
    }

    /// Writes the whole pages of what is pending.
    fn write_pages(&mut self) -> Result<(), StoreError> {
        let at = self.written_len();
        let pages = self.pending.take(self.pending.length / PAGE_LEN * PAGE_LEN);
        let disk = &self.shared.slabs.disk;
        let written = disk.write_early(&self.file, &mut slices(&pages), self.base + at);
        written.map_err(|error| self.shared.write_error(error))
    }

    /// Writes what is left, and in an extent zeros up to the page's end: a page that is written in part is read first,
    /// when the system does not have it.
    fn write_rest(&mut self) -> Result<(), StoreError> {
        const ZEROS: &[u8; 4096] = &[0; 4096];
        let at = self.written_len();
        let rest = self.pending.take(self.pending.length);
        let mut slices = slices(&rest);
        let into_page = usize::try_from(self.length % PAGE_LEN).unwrap_or(0);
        if matches!(self.place, Place::Extent { .. }) && into_page > 0 {
            slices.push(IoSlice::new(ZEROS.get(into_page..).unwrap_or_default()));
        }
        self.write(at, &mut slices)
    }

    /// Moves a payload that has outgrown its extent to a file of its own.
    fn outgrow(&mut self) -> Result<(), StoreError> {
        let length = usize::try_from(self.written_len()).unwrap_or(usize::MAX);
        let slabs = &self.shared.slabs;
        let failed = |error| self.shared.file_error(error);
        let so_far = slabs.read(self.place, 0, length).map_err(failed)?;
        let own = slabs.own(u64::MAX).map_err(failed)?;
        slabs.free(std::mem::replace(&mut self.place, own.place));
        (self.file, self.base) = (own.file, own.base);
        self.write(0, &mut [IoSlice::new(&so_far)])
    }
}

/// What is reserved for a payload: one that does not say its length gets an extent, and a file of its own past that.
fn reserved_len(shared: &Shared, length: Option<u64>) -> u64 {
    length.unwrap_or_else(|| shared.slabs.shared_len_max())
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[async_trait]
impl PayloadWriter for Writer {
    async fn append(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.is_sized {
            return Err(StoreError::NotFound("a payload of known length comes in segments"));
        }
        let end = self.length.saturating_add(length_of(&bytes));
        // A file of its own uses up the disk as it grows; an extent has its place.
        if end > self.place.length() || end / ROOM_EVERY > self.length / ROOM_EVERY {
            self.shared.make_room(Shared::check_room).await?;
        }
        if end > self.place.length() {
            self.outgrow()?;
        }
        self.length = end;
        self.pending.push(bytes);
        if self.pending.length >= WRITE_LEN {
            self.write_pages()?;
        }
        Ok(())
    }

    async fn write_segment(&mut self, segment: u32, bytes: Bytes) -> Result<(), StoreError> {
        let expected = segment_len(self.place.length(), segment).map(u64::from);
        if !self.is_sized || expected != Some(length_of(&bytes)) {
            return Err(StoreError::NotFound("no such segment in this payload"));
        }
        let at = u64::from(segment) * u64::from(SEGMENT_LEN);
        self.write(at, &mut [IoSlice::new(&bytes)])?;
        self.segments.insert(segment);
        Ok(())
    }

    fn written(&self) -> SegmentSet {
        self.segments.clone()
    }

    async fn save(&mut self) -> Result<SegmentSet, StoreError> {
        if !self.is_sized {
            return Err(StoreError::NotFound("a payload of unknown length has no segments"));
        }
        let segments = self.segments.clone();
        let work = Work::Save {
            payload: self.payload,
            place: self.place,
            file: Arc::clone(&self.file),
            segments: segments.clone(),
        };
        // Before it is asked for: whether it was done is not known if the answer is lost, and space that a row remembers
        // must not be used again.
        self.is_saved = true;
        ask(&self.shared, None, work).await?;
        Ok(segments)
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        if range.end > self.place.length() {
            return Err(StoreError::NotFound("a range behind the payload's end"));
        }
        let (file, at) = (Arc::clone(&self.file), self.base + range.start);
        let read = move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at).map(|()| Bytes::from(bytes))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| StoreError::Closed)?.map_err(StoreError::Read)
    }

    async fn discard(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.is_saved {
            let payload = self.payload;
            ask(&self.shared, None, Work::Forget { payload }).await?;
            self.is_saved = false;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Locator, StoreError> {
        if self.is_sized {
            let whole = segment_count(self.place.length()).is_some_and(|count| self.segments.is_full(count));
            if !whole {
                return Err(StoreError::NotFound("segments of this payload are missing"));
            }
        } else {
            self.write_rest()?;
            self.place = self.shared.slabs.shorten(self.place, self.length);
        }
        if let Some(claimed) = self.claimed.take() {
            claimed.pass_on();
        }
        let file = Arc::clone(&self.file);
        let mut locator = self.place.to_locator();
        locator.hold = Some(Hold::new(&self.shared, self.payload, self.place, file, self.is_saved));
        Ok(locator)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A finished one goes on as its locator.
        if self.claimed.is_some() && !self.is_saved {
            self.shared.slabs.free(self.place);
        }
    }
}
