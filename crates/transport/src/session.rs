//! One side of a link: who was offered what, what was answered, and what is still owed.
//!
//! Both sides are alike: each offers its own deliveries and takes the other's. An offer is answered by Want (with the
//! segments that are durable already), Have, Refuse or Later; a wanted delivery's segments are sent in any order, and its
//! Ack comes once the taker has it durably. A new link begins from nothing: what was not acknowledged on the old one is
//! offered again, and only what is missing is sent again. Repeated offers, segments and answers are harmless.
//!
//! No I/O, no tokio, no clock: time is an input. Inputs are `handle_*`, commands are verbs, outputs are `poll_*`, to be
//! drained after each input.
//!
//! Limits: 1,024 deliveries offered and not yet acknowledged each way, and 64 more that are STAT.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod offering;
mod taking;
mod version;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_ids::{DeliveryId, PayloadId, Routing, SegmentSet, WallTime};

use crate::frame::{ACKS_PER_FRAME, Frame, FrameError, SegmentHeader, TEXT_LEN_MAX, Versions, clean};
use crate::schedule::Rank;
use offering::Offering;
use taking::Taking;

/// The protocol versions that this build speaks.
pub const VERSIONS: Versions = Versions { min: 1, max: 1 };
/// How long a peer may take for its hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Deliveries offered and not yet acknowledged, at most: two round trips of 100 ms at 5,000 small ones a second.
pub const OFFERS_MAX: usize = 1_024;
/// STAT deliveries that may be offered beyond these, so that they need not wait until others are acknowledged.
pub const URGENT_OFFERS_MAX: usize = 64;
/// Deliveries of the peer's that are open here, at most: what it withdrew may still be finishing.
pub const TAKES_MAX: usize = 2 * OFFERS_MAX;
/// Frames that may wait to be sent before no more of the peer's are wanted. Honest peers cause at most two for each
/// delivery that is open either way; a peer that repeats offers and reads no answers is stopped by it.
pub const TRANSMITS_MAX: usize = 4 * OFFERS_MAX;

/// Close code: the owner stops.
pub const CLOSE_STOPPED: u16 = 0;
/// Close code: no version in common.
pub const CLOSE_VERSION: u16 = 1;
/// Close code: the other side broke the protocol.
pub const CLOSE_VIOLATION: u16 = 2;
/// Close code: the closing side can take and give no more.
pub const CLOSE_CUSTODY: u16 = 3;

/// The next hop has a delivery on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Which.
    pub delivery: DeliveryId,
    /// When it became durable there, by that hop's clock.
    pub at: WallTime,
}

/// Why a delivery will never be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The custodian's own number; transport only carries it.
    pub code: u16,
    /// A sentence for an administrator: at most 256 bytes go over the wire.
    pub text: String,
}

/// The answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferAnswer {
    /// Send it, but for these segments, which are durable here already.
    Want(SegmentSet),
    /// It is here already, durable since then.
    Have(WallTime),
    /// It will never be taken.
    Refuse(Refusal),
    /// No room now: offer it again in a while.
    Later,
}

/// Why a custodian could not read, write or finish one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It will work another time.
    Later,
    /// It never will.
    Refused(Refusal),
}

/// How the peer broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Another frame came before the hello.
    #[error("a frame came before the hello")]
    NoHello,
    /// A second hello came.
    #[error("a second hello came")]
    SecondHello,
    /// The hello did not come in time.
    #[error("no hello within 10 s")]
    HelloTimedOut,
    /// More deliveries are offered than may be.
    #[error("more than 1,024 deliveries are offered at once")]
    TooManyOffers,
    /// A segment's length is not the one that the offer implies.
    #[error("segment {index} has {length} bytes, which its offer does not say")]
    SegmentLength {
        /// The segment's number.
        index: u32,
        /// The length in its header.
        length: u32,
    },
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// We closed it.
    ByUs,
    /// The peer closed it.
    ByPeer {
        /// The peer's number.
        code: u16,
        /// The peer's sentence, safe to print.
        sentence: String,
    },
    /// No version in common.
    VersionMismatch {
        /// Who speaks what, and who should be updated.
        sentence: String,
    },
    /// The peer broke the protocol.
    PeerMisbehaved(Violation),
}

/// What happened, for the owner of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer's hello came, and there is a common version.
    Established {
        /// The version that is spoken.
        version: u16,
        /// What the peer calls itself.
        peer_build: String,
    },
    /// The peer offers a delivery: the custodian's answer goes to [`Session::answer`].
    Offered(Arc<Routing>),
    /// All segments of a delivery are written: the custodian finishes it, and the result goes to
    /// [`Session::handle_finished`].
    Complete(Arc<Routing>),
    /// The peer has these.
    Acked(Vec<Acked>),
    /// A delivery of ours will never be taken.
    Refused(DeliveryId, Refusal),
    /// A delivery of ours was withdrawn and goes back to the custodian.
    Lost(DeliveryId),
    /// These open segments are not to be sent to their end.
    Abandon(Vec<Rank>),
    /// The session is over; nothing comes after this. What [`Session::unacked`] says goes back to the custodian.
    Closed(Ending),
}

/// Whether a segment's bytes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// They are: to be written, with the result to [`Session::handle_written`].
    Take(Arc<Routing>),
    /// They are not: a double, or of a delivery that is not wanted any more.
    Drop,
}

/// Which delivery and bytes a custodian's result is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its bytes, as they were when the custodian was asked.
    pub payload: PayloadId,
}

impl Subject {
    /// The subject of an offer.
    #[must_use]
    pub const fn of(routing: &Routing) -> Self {
        Self {
            delivery: routing.delivery,
            payload: routing.payload,
        }
    }
}

/// One side of a link.
#[derive(Debug)]
pub struct Session {
    ours: Versions,
    build: String,
    state: State,
    offering: Offering,
    taking: Taking,
    acks: Vec<Acked>,
    transmits: VecDeque<Frame>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    AwaitingHello { until: Instant },
    Established,
    Closed,
}

impl Session {
    /// A session that begins now: its hello waits to be sent. `build` is what we call ourselves.
    #[must_use]
    pub fn new(now: Instant, build: &str, ours: Versions) -> Self {
        let hello = Frame::Hello {
            versions: ours,
            build: build.to_owned(),
        };
        Self {
            ours,
            build: build.to_owned(),
            state: State::AwaitingHello {
                until: now.checked_add(HELLO_TIMEOUT).unwrap_or(now),
            },
            offering: Offering::default(),
            taking: Taking::default(),
            acks: Vec::new(),
            transmits: VecDeque::from([hello]),
            events: VecDeque::new(),
        }
    }

    /// Whether the next frame of the peer should be read now.
    #[must_use]
    pub fn wants_frames(&self) -> bool {
        self.transmits.len() < TRANSMITS_MAX
    }

    /// A frame of the peer.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame) {
        match (&self.state, frame) {
            (State::Closed, _) => {}
            (_, Frame::Close { code, sentence }) => self.end(peer_ending(code, sentence)),
            (State::AwaitingHello { .. }, Frame::Hello { versions, build }) => self.handle_hello(versions, build),
            (State::AwaitingHello { .. }, _) => self.misbehaved(Violation::NoHello),
            (State::Established, Frame::Hello { .. }) => self.misbehaved(Violation::SecondHello),
            (State::Established, frame) => self.handle_established(now, frame),
        }
    }

    /// The peer's bytes are no frames.
    pub fn handle_frame_error(&mut self, error: FrameError) {
        self.misbehaved(Violation::Frame(error));
    }

    /// It is `now`: to be called when [`poll_timeout`](Self::poll_timeout) has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::AwaitingHello { until } if until <= now => self.misbehaved(Violation::HelloTimedOut),
            State::Established => {
                let again = self.offering.due(now);
                self.transmits.extend(offers(again));
            }
            State::AwaitingHello { .. } | State::Closed => {}
        }
    }

    /// How many deliveries should be asked of the custodian now, given the lane's congestion window in bytes; 0 when enough
    /// is offered.
    #[must_use]
    pub fn offer_room(&self, window: u64) -> usize {
        match self.state {
            State::Established => self.offering.room(window),
            State::AwaitingHello { .. } | State::Closed => 0,
        }
    }

    /// How many STAT deliveries may be offered now, also when [`offer_room`](Self::offer_room) is 0.
    #[must_use]
    pub fn urgent_room(&self) -> usize {
        match self.state {
            State::Established => self.offering.urgent_room(),
            State::AwaitingHello { .. } | State::Closed => 0,
        }
    }

    /// Offers deliveries to the peer. Those that are offered already are left out.
    pub fn offer(&mut self, deliveries: Vec<Routing>) {
        let new = self.offering.offer(deliveries);
        self.transmits.extend(offers(new));
    }

    /// The custodian's answer to [`Event::Offered`].
    pub fn answer(&mut self, subject: Subject, answer: OfferAnswer) {
        let outcome = self.taking.answer(subject, answer);
        self.settle(outcome);
    }

    /// The header of a segment whose bytes are here.
    pub fn handle_segment(&mut self, header: &SegmentHeader) -> Arrival {
        match self.taking.arrived(header) {
            Ok(arrival) => arrival,
            Err(violation) => {
                self.misbehaved(violation);
                Arrival::Drop
            }
        }
    }

    /// A taken segment was written, or not.
    pub fn handle_written(&mut self, subject: Subject, index: u32, result: Result<(), Trouble>) {
        let outcome = self.taking.written(subject, index, result);
        self.settle(outcome);
    }

    /// A complete delivery is durable since then, or could not be finished.
    pub fn handle_finished(&mut self, subject: Subject, result: Result<WallTime, Trouble>) {
        let outcome = self.taking.finished(subject, result);
        self.settle(outcome);
    }

    /// The next segment to read and to open a stream for; then [`handle_loaded`](Self::handle_loaded) or
    /// [`handle_read_failed`](Self::handle_read_failed).
    pub fn poll_segment(&mut self, window: u64) -> Option<(Rank, SegmentHeader)> {
        match self.state {
            State::Established => self.offering.schedule.open_next(window),
            State::AwaitingHello { .. } | State::Closed => None,
        }
    }

    /// A segment's bytes are at hand and its stream is open. False when it is not to be sent any more.
    pub fn handle_loaded(&mut self, rank: Rank) -> bool {
        self.offering.schedule.loaded(rank)
    }

    /// The segment to write next, and how many bytes of it, header included.
    #[must_use]
    pub fn poll_write(&self, window: u64) -> Option<(Rank, u64)> {
        self.offering.schedule.next_write(window)
    }

    /// So many bytes of a segment were written. True when that was the last of it.
    pub fn handle_wrote(&mut self, rank: Rank, bytes: u64) -> bool {
        self.offering.schedule.wrote(rank, bytes)
    }

    /// The peer's transport has all of a segment, or wants no more of it. Says how many bytes it has, without the header;
    /// `None` when the segment had been abandoned.
    pub fn handle_segment_sent(&mut self, rank: Rank) -> Option<u32> {
        self.offering.sent(rank)
    }

    /// The lane that carried a segment is gone, and others are left: it will go again.
    pub fn handle_segment_lost(&mut self, rank: Rank) {
        self.offering.schedule.lost(rank);
    }

    /// A segment could not be read: its delivery is withdrawn.
    pub fn handle_read_failed(&mut self, rank: Rank, trouble: Trouble) {
        let Some((delivery, ranks)) = self.offering.read_failed(rank) else {
            return;
        };
        self.transmits.push_back(Frame::Withdraw(vec![delivery]));
        self.abandon(ranks);
        self.events.push_back(match trouble {
            Trouble::Later => Event::Lost(delivery),
            Trouble::Refused(why) => Event::Refused(delivery, why),
        });
    }

    /// Closes the session: acknowledgements that wait go first, then the code and the sentence.
    pub fn close(&mut self, code: u16, sentence: &str) {
        if !self.is_closed() {
            self.transmit_close(code, sentence);
            self.end(Ending::ByUs);
        }
    }

    /// Whether the session is over.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// What was offered and is not acknowledged.
    #[must_use]
    pub fn unacked(&self) -> Vec<DeliveryId> {
        self.offering.unacked()
    }

    /// The next frame to send. Acknowledgements are gathered until this is called, so that one frame has many.
    pub fn poll_transmit(&mut self) -> Option<Frame> {
        if let Some(frame) = self.transmits.pop_front() {
            return Some(frame);
        }
        let batch: Vec<Acked> = self.acks.drain(..self.acks.len().min(ACKS_PER_FRAME)).collect();
        (!batch.is_empty()).then_some(Frame::Ack(batch))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` for never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::AwaitingHello { until } => Some(until),
            State::Established => self.offering.next_due(),
            State::Closed => None,
        }
    }

    fn handle_hello(&mut self, theirs: Versions, peer_build: String) {
        match version::common(self.ours, theirs) {
            Some(version) => {
                self.state = State::Established;
                self.events.push_back(Event::Established { version, peer_build });
            }
            None => {
                let sentence = version::mismatch((&self.build, self.ours), (&peer_build, theirs));
                self.transmit_close(CLOSE_VERSION, &sentence);
                self.end(Ending::VersionMismatch { sentence });
            }
        }
    }

    fn handle_established(&mut self, now: Instant, frame: Frame) {
        match frame {
            Frame::Offer(batch) => {
                for routing in batch {
                    match self.taking.offered(routing) {
                        Ok(outcome) => self.settle(outcome),
                        Err(violation) => return self.misbehaved(violation),
                    }
                }
            }
            Frame::Withdraw(batch) => batch.into_iter().for_each(|delivery| self.taking.withdrawn(delivery)),
            Frame::Want { delivery, have } => self.offering.wanted(delivery, &have),
            Frame::Have(acked) => self.handle_acks(vec![acked]),
            Frame::Ack(batch) => self.handle_acks(batch),
            Frame::Refuse { delivery, why } => {
                if let Some(ranks) = self.offering.done(delivery) {
                    self.abandon(ranks);
                    self.events.push_back(Event::Refused(delivery, why));
                }
            }
            Frame::Later { delivery } => {
                let ranks = self.offering.put_off(delivery, now);
                self.abandon(ranks);
            }
            // Both are seen to before.
            Frame::Hello { .. } | Frame::Close { .. } => {}
        }
    }

    fn handle_acks(&mut self, batch: Vec<Acked>) {
        let mut news = Vec::new();
        for acked in batch {
            if let Some(ranks) = self.offering.done(acked.delivery) {
                self.abandon(ranks);
                news.push(acked);
            }
        }
        if !news.is_empty() {
            self.events.push_back(Event::Acked(news));
        }
    }

    fn settle(&mut self, outcome: taking::Outcome) {
        match outcome {
            taking::Outcome::Nothing => {}
            taking::Outcome::Tell(frame) => self.transmits.push_back(frame),
            taking::Outcome::Ack(acked) => self.acks.push(acked),
            taking::Outcome::Happened(event) => self.events.push_back(event),
        }
    }

    fn abandon(&mut self, ranks: Vec<Rank>) {
        if !ranks.is_empty() {
            self.events.push_back(Event::Abandon(ranks));
        }
    }

    fn misbehaved(&mut self, violation: Violation) {
        if !self.is_closed() {
            self.transmit_close(CLOSE_VIOLATION, &violation.to_string());
            self.end(Ending::PeerMisbehaved(violation));
        }
    }

    fn transmit_close(&mut self, code: u16, sentence: &str) {
        while let Some(batch) = self.acks.len().checked_sub(1).map(|last| last.min(ACKS_PER_FRAME - 1)) {
            let batch = self.acks.drain(..=batch).collect();
            self.transmits.push_back(Frame::Ack(batch));
        }
        let sentence = clean(sentence, TEXT_LEN_MAX);
        self.transmits.push_back(Frame::Close { code, sentence });
    }

    fn end(&mut self, ending: Ending) {
        self.state = State::Closed;
        self.events.push_back(Event::Closed(ending));
    }
}

fn peer_ending(code: u16, sentence: String) -> Ending {
    match code {
        CLOSE_VERSION => Ending::VersionMismatch { sentence },
        _ => Ending::ByPeer { code, sentence },
    }
}

fn offers(deliveries: Vec<Routing>) -> impl Iterator<Item = Frame> {
    let mut left = deliveries.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<Routing> = left.by_ref().take(crate::frame::OFFERS_PER_FRAME).collect();
        (!batch.is_empty()).then_some(Frame::Offer(batch))
    })
}

#[cfg(test)]
mod tests;
