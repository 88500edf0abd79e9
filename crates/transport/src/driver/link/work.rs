//! The custodian's work, in tasks beside the loop, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use packhorse_ids::{DeliveryId, Routing, WallTime};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinError;

use super::send::Writing;
use super::{Link, now};
use crate::driver::custodian::{Custodian, CustodianError};
use crate::driver::lane::{Lane, LaneError};
use crate::frame::{FrameError, SegmentHeader};
use crate::schedule::Rank;
use crate::session::{Acked, Arrival, OfferAnswer, Refusal, Subject};

/// What a task came to.
pub(super) enum Done<L: Lane> {
    Loaded(Rank, Result<Writing<L>, LoadError>),
    Sent(Rank, Result<(), LaneError>),
    Arrived(Segment),
    /// A stream ended before its segment was whole.
    Broken,
    NoSegment(FrameError),
    Written(Subject, u32, Result<(), CustodianError>),
    Answered(Subject, OfferAnswer),
    Finished(Subject, Result<WallTime, CustodianError>),
    Told,
    Panicked,
}

/// A whole segment, and the place that it takes.
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) bytes: Bytes,
    pub(super) permit: OwnedSemaphorePermit,
}

pub(super) enum LoadError {
    Custodian(CustodianError),
    Lane(LaneError),
}

/// The code of a refusal that transport makes itself: a payload's bytes are not what its routing says.
const REFUSED_LENGTH: u16 = 1;

impl<L: Lane> Link<L> {
    pub(super) fn handle_done(&mut self, done: Done<L>) -> Result<(), LaneError> {
        match done {
            Done::Loaded(rank, loaded) => return self.handle_loaded(rank, loaded),
            Done::Sent(rank, sent) => return self.handle_sent(rank, sent),
            Done::Arrived(segment) => self.handle_arrived(segment),
            Done::NoSegment(error) => self.session.handle_frame_error(error),
            Done::Answered(subject, answer) => self.session.answer(subject, answer),
            Done::Written(subject, index, result) => {
                let result = result.map_err(|error| self.trouble(error));
                if let Some(result) = transpose(result) {
                    self.session.handle_written(subject, index, result);
                }
            }
            Done::Finished(subject, result) => {
                let result = result.map_err(|error| self.trouble(error));
                if let Some(result) = transpose(result) {
                    self.session.handle_finished(subject, result);
                }
            }
            Done::Broken | Done::Told => {}
            Done::Panicked => self.fail("a task of the custodian panicked".to_owned()),
        }
        Ok(())
    }

    fn handle_loaded(&mut self, rank: Rank, loaded: Result<Writing<L>, LoadError>) -> Result<(), LaneError> {
        match loaded {
            Ok(writing) if self.session.handle_loaded(rank) => {
                self.writing.insert(rank, writing);
            }
            Ok(writing) => writing.abandon(),
            Err(LoadError::Lane(error)) => return Err(error),
            Err(LoadError::Custodian(error)) => {
                if let Some(trouble) = self.trouble(error) {
                    self.session.handle_read_failed(rank, trouble);
                }
            }
        }
        Ok(())
    }

    fn handle_sent(&mut self, rank: Rank, sent: Result<(), LaneError>) -> Result<(), LaneError> {
        if sent == Err(LaneError::Gone) {
            return Err(LaneError::Gone);
        }
        // A stream that the peer gave up is no longer under way either; its frames say what becomes of the delivery.
        if let Some(length) = self.session.handle_segment_sent(rank)
            && sent.is_ok()
        {
            self.counters.bytes_sent.fetch_add(length.into(), Ordering::Relaxed);
            self.counters.segments_sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn handle_arrived(&mut self, segment: Segment) {
        let length = u64::from(segment.header.length);
        self.counters.bytes_received.fetch_add(length, Ordering::Relaxed);
        self.counters.segments_received.fetch_add(1, Ordering::Relaxed);
        self.lane.adapt(now());
        if let Arrival::Take(routing) = self.session.handle_segment(&segment.header) {
            let custodian = Arc::clone(&self.custodian);
            self.passing.spawn(write(custodian, routing, segment));
        }
    }
}

/// `None` when the error ended the link.
fn transpose<T, E>(result: Result<T, Option<E>>) -> Option<Result<T, E>> {
    match result {
        Ok(value) => Some(Ok(value)),
        Err(error) => error.map(Err),
    }
}

pub(super) fn flat<L: Lane>(done: Result<Done<L>, JoinError>) -> Done<L> {
    done.unwrap_or(Done::Panicked)
}

pub(super) async fn load<L: Lane>(
    lane: Arc<L>,
    custodian: Arc<dyn Custodian>,
    rank: Rank,
    header: SegmentHeader,
) -> Done<L> {
    let read = custodian.read(header.delivery, header.payload, header.index).await;
    let body = match read {
        Ok(body) if u64::try_from(body.len()) == Ok(header.length.into()) => body,
        Ok(_) => {
            let why = Refusal {
                code: REFUSED_LENGTH,
                text: "the payload is not as long as its routing says".to_owned(),
            };
            return Done::Loaded(rank, Err(LoadError::Custodian(CustodianError::Refused(why))));
        }
        Err(error) => return Done::Loaded(rank, Err(LoadError::Custodian(error))),
    };
    let stream = lane.open(rank.stream_priority()).await;
    let writing = stream.map(|stream| Writing::new(stream, &header, body));
    Done::Loaded(rank, writing.map_err(LoadError::Lane))
}

async fn write<L: Lane>(custodian: Arc<dyn Custodian>, routing: Arc<Routing>, segment: Segment) -> Done<L> {
    let index = segment.header.index;
    let written = custodian.write(&routing, index, segment.bytes).await;
    drop(segment.permit);
    Done::Written(Subject::of(&routing), index, written)
}

pub(super) async fn offered<L: Lane>(custodian: Arc<dyn Custodian>, routing: Arc<Routing>) -> Done<L> {
    let answer = custodian.offered(&routing).await;
    Done::Answered(Subject::of(&routing), answer)
}

pub(super) async fn finish<L: Lane>(custodian: Arc<dyn Custodian>, routing: Arc<Routing>) -> Done<L> {
    let finished = custodian.finish(&routing).await;
    Done::Finished(Subject::of(&routing), finished)
}

pub(super) async fn acked<L: Lane>(custodian: Arc<dyn Custodian>, acks: Vec<Acked>) -> Done<L> {
    custodian.acked(acks).await;
    Done::Told
}

pub(super) async fn refused<L: Lane>(custodian: Arc<dyn Custodian>, delivery: DeliveryId, why: Refusal) -> Done<L> {
    custodian.refused(delivery, why).await;
    Done::Told
}

pub(super) async fn lost<L: Lane>(custodian: Arc<dyn Custodian>, deliveries: Vec<DeliveryId>) -> Done<L> {
    custodian.lost(deliveries).await;
    Done::Told
}
