//! Segments on their way out: written by rank, a piece at a time, never more than the schedule allows.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};

use super::work::Done;
use crate::driver::lane::{Lane, LaneError, Outgoing};
use crate::frame::SegmentHeader;
use crate::schedule::Rank;
use crate::session::Session;

/// A segment that is being written.
pub(super) struct Writing<L: Lane> {
    stream: L::Outgoing,
    header: Bytes,
    body: Bytes,
}

impl<L: Lane> Writing<L> {
    pub(super) fn new(stream: L::Outgoing, header: &SegmentHeader, body: Bytes) -> Self {
        Self {
            stream,
            header: Bytes::copy_from_slice(&header.encode()),
            body,
        }
    }

    pub(super) fn abandon(self) {
        self.stream.abandon();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, len_max: u64) -> Poll<Result<usize, LaneError>> {
        let rest = if self.header.is_empty() {
            &mut self.body
        } else {
            &mut self.header
        };
        let length = rest.len().min(usize::try_from(len_max).unwrap_or(usize::MAX));
        let written = self.stream.poll_write(cx, &rest.slice(..length));
        if let Poll::Ready(Ok(written)) = written {
            rest.advance(written);
        }
        written
    }
}

pub(super) fn abandon<L: Lane>(writing: &mut HashMap<Rank, Writing<L>>, rank: Rank) {
    if let Some(writing) = writing.remove(&rank) {
        writing.abandon();
    }
}

/// Writes as much as the schedule allows, the most urgent first. Resolves with a segment that is wholly written,
/// for then there may be another to open; otherwise waits. Cancel-safe: whatever was written is told to the session.
pub(super) async fn pump<L: Lane>(
    writing: &mut HashMap<Rank, Writing<L>>,
    session: &mut Session,
    lane: &L,
) -> Result<Option<(Rank, Writing<L>)>, LaneError> {
    poll_fn(|cx| {
        while let Some((rank, len_max)) = session.poll_write(lane.window()) {
            let Some(segment) = writing.get_mut(&rank) else {
                // Not possible while segments are loaded and abandoned together; the link would stand still.
                return Poll::Ready(Err(LaneError::Gone));
            };
            match segment.poll_write(cx, len_max) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(LaneError::Gone)) => return Poll::Ready(Err(LaneError::Gone)),
                Poll::Ready(Err(LaneError::GivenUp)) => {
                    writing.remove(&rank);
                    session.handle_segment_sent(rank);
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(written)) => {
                    if session.handle_wrote(rank, u64::try_from(written).unwrap_or(u64::MAX)) {
                        return Poll::Ready(Ok(writing.remove(&rank).map(|segment| (rank, segment))));
                    }
                }
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits until the peer's transport has a segment.
pub(super) async fn finish<L: Lane>(rank: Rank, segment: Writing<L>) -> Done<L> {
    Done::Sent(rank, segment.stream.finish().await)
}
