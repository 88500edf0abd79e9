//! One payload on its way in.

use std::time::Instant;

use bytes::Bytes;
use packhorse_ids::{Digest, Routing, SEGMENT_LEN, SegmentSet, segment_count, segment_len};
use packhorse_spool::{Body, INLINE_LEN_MAX, PayloadWriter, Store, StoreError};

/// Segments are remembered across restarts each time so many more have come.
const SAVE_EVERY: u32 = 8;

/// A payload that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    bytes: Received,
    /// BLAKE3 of the segments below `hashed`, which came in order.
    hasher: blake3::Hasher,
    hashed: u32,
    unsaved: u32,
    pub(crate) touched: Instant,
}

#[derive(Debug)]
enum Received {
    /// One segment that goes into the entry's row.
    Small(Option<Bytes>),
    Large(Box<dyn PayloadWriter>),
}

/// What the whole payload turned out to be.
pub(crate) enum Whole {
    Body(Body),
    /// The bytes are not those that were sealed; they are forgotten.
    WrongDigest,
}

impl Incoming {
    pub(crate) async fn begin(routing: &Routing, store: &dyn Store, now: Instant) -> Result<Self, StoreError> {
        let bytes = if routing.length <= INLINE_LEN_MAX as u64 {
            Received::Small(None)
        } else {
            Received::Large(store.begin(routing.payload, Some(routing.length)).await?)
        };
        Ok(Self {
            bytes,
            hasher: blake3::Hasher::new(),
            hashed: 0,
            unsaved: 0,
            touched: now,
        })
    }

    /// The segments that need not come again.
    pub(crate) fn have(&self) -> SegmentSet {
        match &self.bytes {
            Received::Small(Some(_)) => SegmentSet::full(1),
            Received::Small(None) => SegmentSet::new(),
            Received::Large(writer) => writer.written(),
        }
    }

    pub(crate) async fn write(&mut self, segment: u32, bytes: Bytes, now: Instant) -> Result<(), StoreError> {
        self.touched = now;
        match &mut self.bytes {
            Received::Small(place) => *place = Some(bytes),
            Received::Large(writer) => {
                if segment == self.hashed {
                    self.hasher.update(&bytes);
                    self.hashed += 1;
                }
                writer.write_segment(segment, bytes).await?;
                self.unsaved += 1;
                if self.unsaved >= SAVE_EVERY {
                    self.unsaved = 0;
                    writer.save().await?;
                }
            }
        }
        Ok(())
    }

    /// Checks the whole payload against its routing.
    pub(crate) async fn finish(mut self, routing: &Routing) -> Result<Whole, StoreError> {
        match self.bytes {
            Received::Small(bytes) => {
                let bytes = bytes.unwrap_or_default();
                let is_right = bytes.len() as u64 == routing.length && digest(&blake3::hash(&bytes)) == routing.blake3;
                Ok(if is_right {
                    Whole::Body(Body::Inline(bytes))
                } else {
                    Whole::WrongDigest
                })
            }
            Received::Large(writer) => {
                let count = segment_count(routing.length).unwrap_or(0);
                for segment in self.hashed..count {
                    let start = u64::from(segment) * u64::from(SEGMENT_LEN);
                    let length = segment_len(routing.length, segment).map_or(0, u64::from);
                    self.hasher.update(&writer.read(start..start + length).await?);
                }
                if digest(&self.hasher.finalize()) != routing.blake3 {
                    writer.discard().await?;
                    return Ok(Whole::WrongDigest);
                }
                Ok(Whole::Body(Body::Stored(writer.finish().await?)))
            }
        }
    }
}

fn digest(hash: &blake3::Hash) -> Digest {
    Digest::from_bytes(*hash.as_bytes())
}
