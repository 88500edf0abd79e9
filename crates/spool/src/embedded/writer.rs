//! Payload bytes on their way into slabs.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{PayloadId, SEGMENT_LEN, SegmentSet, segment_count, segment_len};

use super::hold::Hold;
use super::shared::{Shared, ask};
use super::slab::Place;
use super::work::Work;
use crate::error::StoreError;
use crate::store::{Locator, PayloadWriter};

/// A payload that grows asks for room each 16 MiB.
const ROOM_EVERY: u64 = 16 << 20;

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
    /// Whether the length was known at the beginning: then segments come in any order.
    is_sized: bool,
    segments: SegmentSet,
    /// A row remembers the place: it outlives this writer.
    is_saved: bool,
    is_finished: bool,
}

impl Writer {
    pub(super) fn begin(shared: &Arc<Shared>, payload: PayloadId, length: Option<u64>) -> Result<Self, StoreError> {
        let reserved = length.unwrap_or_else(|| shared.slabs.shared_len_max());
        let place = shared
            .slabs
            .reserve(reserved)
            .map_err(|error| shared.write_error(error))?;
        Self::at(shared, payload, place, length.is_some(), SegmentSet::new())
    }

    /// Goes on with a payload that has durable segments.
    pub(super) fn resume(
        shared: &Arc<Shared>,
        payload: PayloadId,
        place: Place,
        segments: SegmentSet,
    ) -> Result<Self, StoreError> {
        let mut writer = Self::at(shared, payload, place, true, segments)?;
        writer.is_saved = true;
        Ok(writer)
    }

    fn at(
        shared: &Arc<Shared>,
        payload: PayloadId,
        place: Place,
        is_sized: bool,
        segments: SegmentSet,
    ) -> Result<Self, StoreError> {
        let (file, base) = shared.slabs.file(place).map_err(StoreError::Read)?;
        let shared = Arc::clone(shared);
        let (is_saved, is_finished) = (false, false);
        Ok(Self {
            shared,
            payload,
            place,
            file,
            base,
            length: 0,
            is_sized,
            segments,
            is_saved,
            is_finished,
        })
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.shared.slabs.disk.write(&self.file, bytes, self.base + at);
        written.map_err(|error| self.shared.write_error(error))
    }

    /// Moves a payload that has outgrown its extent to a file of its own.
    fn outgrow(&mut self) -> Result<(), StoreError> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let slabs = &self.shared.slabs;
        let so_far = slabs.read(self.place, 0, length).map_err(StoreError::Read)?;
        let own = slabs.own(u64::MAX).map_err(|error| self.shared.write_error(error))?;
        slabs.free(std::mem::replace(&mut self.place, own));
        (self.file, self.base) = slabs.file(own).map_err(StoreError::Read)?;
        self.write(0, &so_far)
    }
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
            self.shared.check_room()?;
        }
        if end > self.place.length() {
            self.outgrow()?;
        }
        self.write(self.length, &bytes)?;
        self.length = end;
        Ok(())
    }

    async fn write_segment(&mut self, segment: u32, bytes: Bytes) -> Result<(), StoreError> {
        let expected = segment_len(self.place.length(), segment).map(u64::from);
        if !self.is_sized || expected != Some(length_of(&bytes)) {
            return Err(StoreError::NotFound("no such segment in this payload"));
        }
        self.write(u64::from(segment) * u64::from(SEGMENT_LEN), &bytes)?;
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
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, self.base + range.start)
            .map_err(StoreError::Read)?;
        Ok(Bytes::from(bytes))
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
            self.place = self.shared.slabs.shorten(self.place, self.length);
        }
        self.is_finished = true;
        let file = Arc::clone(&self.file);
        let mut locator = self.place.to_locator();
        locator.hold = Some(Hold::new(&self.shared, self.payload, self.place, file, self.is_saved));
        Ok(locator)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.is_finished {
            // The locator goes on with it.
            return;
        }
        if !self.is_saved {
            self.shared.slabs.free(self.place);
        }
        self.shared.writing().remove(&self.payload);
    }
}
