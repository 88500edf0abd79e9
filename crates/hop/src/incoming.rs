//! One payload on its way in.

use std::time::Instant;

use bytes::Bytes;
use packhorse_ids::{Digest, Routing, SEGMENT_LEN, SegmentSet, segment_len};
use packhorse_spool::{Body, INLINE_LEN_MAX, PayloadWriter, Store, StoreError};

/// Segments are remembered across restarts each time so many more have come.
const SAVE_EVERY: u32 = 8;
/// Segments that came before their turn and are hashed with a later one, at most: what they cost is spread over those that
/// come, and little is left for the end.
const CATCH_UP_MAX: u32 = 4;

/// A payload that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    bytes: Received,
    pub(crate) touched: Instant,
}

#[derive(Debug)]
enum Received {
    /// One segment that goes into the entry's row.
    Small(Option<Bytes>),
    Large(Box<Large>),
}

/// What the whole payload turned out to be.
pub(crate) enum Whole {
    Body(Body),
    /// The bytes are not those that were sealed; they are forgotten.
    WrongDigest,
}

impl Incoming {
    pub(crate) const fn small(now: Instant) -> Self {
        Self {
            bytes: Received::Small(None),
            touched: now,
        }
    }

    pub(crate) async fn begin(routing: &Routing, store: &dyn Store, now: Instant) -> Result<Self, StoreError> {
        if routing.length <= INLINE_LEN_MAX as u64 {
            return Ok(Self::small(now));
        }
        let writer = store.begin(routing.payload, Some(routing.length)).await?;
        let large = Large {
            writer,
            length: routing.length,
            hasher: blake3::Hasher::new(),
            hashed: 0,
            unsaved: 0,
        };
        Ok(Self {
            bytes: Received::Large(Box::new(large)),
            touched: now,
        })
    }

    /// The segments that need not come again.
    pub(crate) fn have(&self) -> SegmentSet {
        match &self.bytes {
            Received::Small(Some(_)) => SegmentSet::full(1),
            Received::Small(None) => SegmentSet::new(),
            Received::Large(large) => large.writer.written(),
        }
    }

    pub(crate) async fn write(&mut self, segment: u32, bytes: Bytes, now: Instant) -> Result<(), StoreError> {
        self.touched = now;
        match &mut self.bytes {
            Received::Small(place) => {
                *place = Some(bytes);
                Ok(())
            }
            Received::Large(large) => large.write(segment, bytes).await,
        }
    }

    /// Checks the whole payload against its routing.
    pub(crate) async fn finish(self, routing: &Routing) -> Result<Whole, StoreError> {
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
            Received::Large(large) => (*large).finish(routing).await,
        }
    }
}

/// A payload for the payload store.
#[derive(Debug)]
struct Large {
    writer: Box<dyn PayloadWriter>,
    length: u64,
    /// BLAKE3 of the segments below `hashed`.
    hasher: blake3::Hasher,
    hashed: u32,
    unsaved: u32,
}

impl Large {
    async fn write(&mut self, segment: u32, bytes: Bytes) -> Result<(), StoreError> {
        // What is here was hashed, or will be: other bytes in its place would pass for those.
        if self.writer.written().contains(segment) {
            return Ok(());
        }
        self.writer.write_segment(segment, bytes.clone()).await?;
        if segment == self.hashed {
            self.hash(bytes).await?;
        }
        self.catch_up(CATCH_UP_MAX).await?;
        self.unsaved += 1;
        if self.unsaved >= SAVE_EVERY {
            self.unsaved = 0;
            self.writer.save().await?;
        }
        Ok(())
    }

    async fn finish(mut self, routing: &Routing) -> Result<Whole, StoreError> {
        self.catch_up(u32::MAX).await?;
        if digest(&self.hasher.finalize()) != routing.blake3 {
            self.writer.discard().await?;
            return Ok(Whole::WrongDigest);
        }
        Ok(Whole::Body(Body::Stored(self.writer.finish().await?)))
    }

    /// Hashes segments that came before their turn.
    async fn catch_up(&mut self, max: u32) -> Result<(), StoreError> {
        let written = self.writer.written();
        for _ in 0..max {
            if !written.contains(self.hashed) {
                break;
            }
            let start = u64::from(self.hashed) * u64::from(SEGMENT_LEN);
            let length = segment_len(self.length, self.hashed).map_or(0, u64::from);
            let bytes = self.writer.read(start..start + length).await?;
            self.hash(bytes).await?;
        }
        Ok(())
    }

    /// Hashes the next segment, off the runtime. On a copy: broken off, it leaves the hash as it was.
    async fn hash(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let mut hasher = self.hasher.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            hasher.update(&bytes);
            hasher
        });
        self.hasher = hashed.await.map_err(|_| StoreError::Closed)?;
        self.hashed += 1;
        Ok(())
    }
}

fn digest(hash: &blake3::Hash) -> Digest {
    Digest::from_bytes(*hash.as_bytes())
}
