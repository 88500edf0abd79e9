//! The upper layer protocol machine (PS3.8 §9.2, Table 9-10), for both roles. No socket, no clock.
//!
//! Inputs are `handle_*` and are infallible: a PDU that cannot come becomes an A-ABORT and an event. Commands are
//! [`associate`](Machine::associate), [`answer`](Machine::answer), [`release`](Machine::release),
//! [`answer_release`](Machine::answer_release) and [`abort`](Machine::abort). Outputs are drained in the order
//! [`poll_transmit`](Machine::poll_transmit), [`poll_event`](Machine::poll_event),
//! [`poll_timeout`](Machine::poll_timeout).
//!
//! P-DATA-TF to the peer does not pass through: it is bulk, and may go whenever [`may_send`](Machine::may_send) says so.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packhorse_dicom::negotiation::Rejection;

use crate::codec::{Abort, AssociateAc, AssociateRq, Pdu, Violation};

#[cfg(test)]
mod tests;

/// A state of PS3.8 §9.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sta1: idle, or over.
    Idle,
    /// Sta2: transport connection open, awaiting an A-ASSOCIATE-RQ.
    AwaitingAssociateRq,
    /// Sta3: awaiting the local answer to an A-ASSOCIATE-RQ.
    AwaitingAnswer,
    /// Sta5: awaiting the peer's answer to our A-ASSOCIATE-RQ.
    AwaitingAssociateAnswer,
    /// Sta6: association established.
    Established,
    /// Sta7: awaiting an A-RELEASE-RP.
    AwaitingReleaseRp,
    /// Sta8: awaiting the local answer to an A-RELEASE-RQ.
    AwaitingReleaseAnswer,
    /// Sta9: release collision, requestor side; awaiting the local answer.
    CollisionRequestor,
    /// Sta10: release collision, acceptor side; awaiting an A-RELEASE-RP.
    CollisionAcceptor,
    /// Sta11: release collision, requestor side; awaiting an A-RELEASE-RP.
    CollisionRequestorAnswered,
    /// Sta12: release collision, acceptor side; awaiting the local answer.
    CollisionAcceptorAnswered,
    /// Sta13: awaiting the close of the transport connection.
    AwaitingClose,
}

impl State {
    /// Its number in PS3.8, for logs: `Sta6 established`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "Sta1 idle",
            Self::AwaitingAssociateRq => "Sta2 awaiting A-ASSOCIATE-RQ",
            Self::AwaitingAnswer => "Sta3 awaiting the local answer",
            Self::AwaitingAssociateAnswer => "Sta5 awaiting A-ASSOCIATE-AC or -RJ",
            Self::Established => "Sta6 established",
            Self::AwaitingReleaseRp => "Sta7 awaiting A-RELEASE-RP",
            Self::AwaitingReleaseAnswer => "Sta8 awaiting the local release answer",
            Self::CollisionRequestor => "Sta9 release collision",
            Self::CollisionAcceptor => "Sta10 release collision",
            Self::CollisionRequestorAnswered => "Sta11 release collision",
            Self::CollisionAcceptorAnswered => "Sta12 release collision",
            Self::AwaitingClose => "Sta13 awaiting close",
        }
    }
}

/// Which side asked for the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sent the A-ASSOCIATE-RQ.
    Requestor,
    /// Was sent it.
    Acceptor,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Acceptor: an A-ASSOCIATE-RQ came; [`Machine::answer`] is due.
    Requested(Box<AssociateRq>),
    /// Requestor: the association is established.
    Accepted(Box<AssociateAc>),
    /// Requestor: it was rejected.
    Rejected(Rejection),
    /// The variable field of a P-DATA-TF.
    Data(Bytes),
    /// The peer asks for release; [`Machine::answer_release`] is due.
    ReleaseRequested,
    /// Both sides agree that it is over.
    Released,
    /// The peer aborted.
    Aborted(Abort),
    /// We aborted because the peer broke the protocol.
    Violated(Violation),
    /// The peer closed the connection without release or abort.
    Lost,
    /// ARTIM expired while an A-ASSOCIATE-RQ or an answer was awaited.
    TimedOut,
}

/// One association's protocol machine.
#[derive(Debug)]
pub struct Machine {
    side: Side,
    state: State,
    artim: Duration,
    deadline: Option<Instant>,
    transmit: VecDeque<Pdu>,
    events: VecDeque<Event>,
}

impl Machine {
    /// An acceptor whose transport connection has just opened: AE-5, ARTIM runs.
    #[must_use]
    pub fn acceptor(now: Instant, artim: Duration) -> Self {
        let mut machine = Self::new(Side::Acceptor, State::AwaitingAssociateRq, artim);
        machine.start_artim(now);
        machine
    }

    /// A requestor that asks: AE-1, AE-2. ARTIM bounds the wait for the answer, which PS3.8 leaves to the implementation.
    #[must_use]
    pub fn associate(now: Instant, artim: Duration, request: AssociateRq) -> Self {
        let mut machine = Self::new(Side::Requestor, State::AwaitingAssociateAnswer, artim);
        machine.transmit.push_back(Pdu::AssociateRq(Box::new(request)));
        machine.start_artim(now);
        machine
    }

    fn new(side: Side, state: State, artim: Duration) -> Self {
        Self {
            side,
            state,
            artim,
            deadline: None,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether P-DATA-TF may be sent (Sta6; Sta8 too, AR-7).
    #[must_use]
    pub const fn may_send(&self) -> bool {
        matches!(self.state, State::Established | State::AwaitingReleaseAnswer)
    }

    /// Whether the connection is to be closed once [`poll_transmit`](Self::poll_transmit) is drained.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Idle | State::AwaitingClose)
    }

    /// A PDU came.
    pub fn handle_pdu(&mut self, now: Instant, pdu: Pdu) {
        match (pdu, self.state) {
            // A PDU behind our A-ABORT or A-ASSOCIATE-RJ: AA-6, AA-7.
            (Pdu::Abort(_), State::AwaitingClose) => self.state = State::Idle,
            (_, State::AwaitingClose | State::Idle) => {}
            (Pdu::Abort(abort), State::AwaitingAssociateRq) => {
                // AA-2
                self.over(Event::Aborted(abort));
            }
            (Pdu::Abort(abort), _) => self.over(Event::Aborted(abort)),
            // AE-6
            (Pdu::AssociateRq(rq), State::AwaitingAssociateRq) => {
                self.deadline = None;
                self.state = State::AwaitingAnswer;
                self.events.push_back(Event::Requested(rq));
            }
            // AE-3, AE-4
            (Pdu::AssociateAc(ac), State::AwaitingAssociateAnswer) => {
                self.deadline = None;
                self.state = State::Established;
                self.events.push_back(Event::Accepted(ac));
            }
            (Pdu::AssociateRj(rejection), State::AwaitingAssociateAnswer) => self.over(Event::Rejected(rejection)),
            // DT-2, AR-6
            (Pdu::PDataTf(body), State::Established | State::AwaitingReleaseRp) => {
                self.events.push_back(Event::Data(body));
            }
            // AR-2
            (Pdu::ReleaseRq, State::Established) => {
                self.state = State::AwaitingReleaseAnswer;
                self.events.push_back(Event::ReleaseRequested);
            }
            // AR-8
            (Pdu::ReleaseRq, State::AwaitingReleaseRp) => {
                self.state = match self.side {
                    Side::Requestor => State::CollisionRequestor,
                    Side::Acceptor => State::CollisionAcceptor,
                };
                self.events.push_back(Event::ReleaseRequested);
            }
            // AR-3
            (Pdu::ReleaseRp, State::AwaitingReleaseRp | State::CollisionRequestorAnswered) => {
                self.over(Event::Released);
            }
            // AR-10
            (Pdu::ReleaseRp, State::CollisionAcceptor) => self.state = State::CollisionAcceptorAnswered,
            // AA-1, AA-8
            (
                pdu @ (Pdu::AssociateRq(_)
                | Pdu::AssociateAc(_)
                | Pdu::AssociateRj(_)
                | Pdu::PDataTf(_)
                | Pdu::ReleaseRq
                | Pdu::ReleaseRp),
                state,
            ) => self.handle_violation(
                now,
                Violation::Unexpected {
                    pdu: pdu.name(),
                    state: state.name(),
                },
            ),
        }
    }

    /// Bytes came that are no PDU, or no message: AA-1, AA-8.
    pub fn handle_violation(&mut self, now: Instant, violation: Violation) {
        if !self.is_over() {
            self.send_abort(now, violation.abort());
            self.events.push_back(Event::Violated(violation));
        }
    }

    /// The transport connection was closed: AA-4, AA-5, AR-5.
    pub fn handle_closed(&mut self) {
        match self.state {
            State::Idle | State::AwaitingClose => self.state = State::Idle,
            _ => self.over(Event::Lost),
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) gave has come: AA-2.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        match self.state {
            State::Idle | State::AwaitingClose => self.state = State::Idle,
            State::AwaitingAssociateRq => self.over(Event::TimedOut),
            _ => {
                self.send_abort(now, Abort::PROVIDER);
                self.events.push_back(Event::TimedOut);
            }
        }
    }

    /// Acceptor: the answer to an A-ASSOCIATE-RQ, an A-ASSOCIATE-AC (AE-7) or -RJ (AE-8). Anything else, or at another
    /// time, is passed over.
    pub fn answer(&mut self, now: Instant, answer: Pdu) {
        if self.state != State::AwaitingAnswer {
            return;
        }
        match answer {
            Pdu::AssociateAc(_) => self.state = State::Established,
            Pdu::AssociateRj(_) => {
                self.state = State::AwaitingClose;
                self.start_artim(now);
            }
            Pdu::AssociateRq(_) | Pdu::PDataTf(_) | Pdu::ReleaseRq | Pdu::ReleaseRp | Pdu::Abort(_) => return,
        }
        self.transmit.push_back(answer);
    }

    /// Asks for release: AR-1.
    pub fn release(&mut self, now: Instant) {
        if self.state == State::Established {
            self.state = State::AwaitingReleaseRp;
            self.transmit.push_back(Pdu::ReleaseRq);
            self.start_artim(now);
        }
    }

    /// Agrees to the peer's release: AR-4, AR-9.
    pub fn answer_release(&mut self, now: Instant) {
        match self.state {
            State::AwaitingReleaseAnswer | State::CollisionAcceptorAnswered => {
                self.transmit.push_back(Pdu::ReleaseRp);
                self.state = State::AwaitingClose;
                self.start_artim(now);
                self.events.push_back(Event::Released);
            }
            State::CollisionRequestor => {
                self.transmit.push_back(Pdu::ReleaseRp);
                self.state = State::CollisionRequestorAnswered;
            }
            _ => {}
        }
    }

    /// Aborts: AA-1.
    pub fn abort(&mut self, now: Instant, abort: Abort) {
        if !self.is_over() {
            self.send_abort(now, abort);
        }
    }

    /// The next PDU to send.
    pub fn poll_transmit(&mut self) -> Option<Pdu> {
        self.transmit.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn start_artim(&mut self, now: Instant) {
        self.deadline = now.checked_add(self.artim);
    }

    fn send_abort(&mut self, now: Instant, abort: Abort) {
        self.transmit.push_back(Pdu::Abort(abort));
        self.state = State::AwaitingClose;
        self.start_artim(now);
    }

    fn over(&mut self, event: Event) {
        self.state = State::Idle;
        self.deadline = None;
        self.events.push_back(event);
    }
}
