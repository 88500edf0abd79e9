//! Segments on their way in. A stream is accepted when there is a place for its segment, and keeps the place until the
//! custodian has written it: a slow disk so slows the peer down.
//!
//! A sender has as many streams open as there are places, at most, so what is being read never waits for one that is not
//! accepted yet.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::work::{Done, Segment};
use crate::driver::lane::{self, Lane, LaneError};
use crate::frame::{FrameError, SEGMENT_HEADER_LEN, SegmentHeader};

/// Bytes read at once.
const READ_MAX: usize = 64 << 10;

/// A stream that was accepted, and the place of its segment.
pub(super) struct Incoming<L: Lane> {
    stream: L::Incoming,
    permit: OwnedSemaphorePermit,
}

pub(super) async fn next<L: Lane>(lane: Arc<L>, permits: Arc<Semaphore>) -> Result<Incoming<L>, LaneError> {
    let permit = permits.acquire_owned().await.map_err(|_| LaneError::Gone)?;
    let stream = lane.accept().await?;
    Ok(Incoming { stream, permit })
}

pub(super) async fn receive<L: Lane>(incoming: Incoming<L>) -> Done<L> {
    let Incoming { mut stream, permit } = incoming;
    match read(&mut stream).await {
        Ok((header, bytes)) => Done::Arrived(Segment { header, bytes, permit }),
        // A kind of stream that we do not know is given up, like a frame that we do not know is skipped.
        Err(ReadError::Stream | ReadError::Header(FrameError::UnknownStream(_))) => Done::Broken,
        Err(ReadError::Header(error)) => Done::NoSegment(error),
    }
}

enum ReadError {
    /// The stream ended early, or goes on for too long.
    Stream,
    Header(FrameError),
}

impl From<LaneError> for ReadError {
    fn from(_: LaneError) -> Self {
        Self::Stream
    }
}

async fn read(stream: &mut impl lane::Incoming) -> Result<(SegmentHeader, Bytes), ReadError> {
    let mut header = BytesMut::with_capacity(SEGMENT_HEADER_LEN);
    fill(stream, &mut header, SEGMENT_HEADER_LEN).await?;
    let fixed = header.first_chunk().ok_or(ReadError::Stream)?;
    let header = SegmentHeader::decode(fixed).map_err(ReadError::Header)?;
    let length = usize::try_from(header.length).map_err(|_| ReadError::Stream)?;
    // A header alone is not worth a mebibyte: the rest is reserved once some of it came.
    let first = length.min(READ_MAX);
    let mut body = BytesMut::with_capacity(first);
    fill(stream, &mut body, first).await?;
    body.reserve(length.saturating_sub(body.len()));
    fill(stream, &mut body, length).await?;
    match stream.read(1).await? {
        None => Ok((header, body.freeze())),
        Some(_) => Err(ReadError::Stream),
    }
}

/// Reads until `buffer` has `length` bytes.
async fn fill(stream: &mut impl lane::Incoming, buffer: &mut BytesMut, length: usize) -> Result<(), ReadError> {
    while let Some(missing) = length.checked_sub(buffer.len()).filter(|missing| *missing > 0) {
        let bytes = stream.read(missing.min(READ_MAX)).await?.ok_or(ReadError::Stream)?;
        buffer.extend_from_slice(&bytes);
    }
    Ok(())
}
